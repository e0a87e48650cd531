"""What is lost of hub.usage, and when a chain may go on over it: the rule, case by case."""

import msgspec
import pytest
from ledger_steps import SCOPE, TOPIC, TOPIC_ID, Log, Writer, entry

from hub.ledger.chain import Break, Chain, ChainId, Held, Reading, follow, read_step
from hub.ledger.losses import (
    ROOM_MAX,
    Base,
    BaseChain,
    Bridge,
    Loss,
    Lost,
    Seen,
    base_chain,
    bridge_of,
    bridged,
    find_lost,
    is_loss_id,
    loss_id,
    lost_room,
    require_end,
)
from hub.ledger.tally import HourKey, HourSums
from hub.model.errors import HubError
from hub.model.usage import UsageStep

OLD, NEW = "old-topic", "new-topic"
CHAIN = ChainId(str(TOPIC_ID), 0)


@pytest.mark.parametrize(
    ("position", "since", "seen", "found"),
    [
        ((OLD, 7), 0, Seen(OLD, 0, 9), None),
        ((OLD, 7), 3, Seen(OLD, 3, 9), None),
        (None, 0, Seen(OLD, 0, 9), None),
        ((OLD, 7), 0, Seen(OLD, 5, 9), ("cut", 0, 5, 7, False, 7)),
        ((OLD, 7), 0, Seen(OLD, 7, 9), ("cut", 0, 7, 7, False, 7)),
        ((OLD, 7), 0, Seen(OLD, 8, 9), ("cut", 0, 8, 7, True, 8)),
        ((OLD, 7), 3, Seen(OLD, 8, 9), ("cut", 3, 8, 7, True, 8)),
        (None, 0, Seen(OLD, 8, 9), ("cut", 0, 8, 0, True, 8)),
        ((OLD, 7), 3, Seen(NEW, 0, 0), ("made again", 3, 0, 7, True, 0)),
        ((OLD, 7), 0, Seen(NEW, 9, 12), ("made again", 0, 9, 7, True, 9)),
    ],
)
def test_what_a_partition_has_lost(
    position: tuple[str, int] | None, since: int, seen: Seen, found: tuple[str, int, int, int, bool, int] | None
) -> None:
    """A beginning behind what the ledger is held to, or another topic; nothing else."""
    lost = find_lost(2, position=position, since=since, seen=seen)

    told = None if lost is None else (lost.how, lost.lost_from, lost.lost_to, lost.position, lost.unread, lost.goes_on_at)
    assert told == found


def test_a_log_that_ends_before_the_ledger_is_no_loss_to_accept() -> None:
    """Its offsets are used again, and nothing tells old from new."""
    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        require_end(2, position=(OLD, 7), seen=Seen(OLD, 0, 6))
    require_end(2, position=(OLD, 7), seen=Seen(OLD, 0, 7))
    require_end(2, position=(OLD, 7), seen=Seen(NEW, 0, 6))


def test_a_loss_keeps_its_name_while_it_is_the_same() -> None:
    """Posting goes on where only what was posted is lost; anything else is another loss."""
    posted = Lost(2, OLD, OLD, lost_from=0, lost_to=5, position=7)
    unread = Lost(2, OLD, OLD, lost_from=0, lost_to=9, position=7)
    name = loss_id([posted], scope=SCOPE)

    assert is_loss_id(name)
    assert loss_id([msgspec.structs.replace(posted, position=8)], scope=SCOPE) == name
    others = [[msgspec.structs.replace(posted, lost_to=6)], [unread], [msgspec.structs.replace(unread, position=6)], [posted, unread]]
    names = {loss_id(other, scope=SCOPE) for other in others} | {loss_id([posted], scope="110000")}
    assert len(names | {name}) == 6
    assert not any(map(is_loss_id, ("", "no loss id", name + "0", name.upper() + "Z", "../../../../.")))


def at(step: UsageStep, *, offset: int = 20, partition: int = 0) -> Reading:
    """Return a step as it stands in hub.usage."""
    log = Log(partition)
    found = read_step(log.append(step), scope=SCOPE)
    assert isinstance(found, Reading)
    return msgspec.structs.replace(found, usage_offset=offset, usage_partition=partition)


def posted(writer: Writer, steps: int) -> Chain:
    """Return the chain after steps of 10 records that the ledger has posted."""
    chain = Chain()
    for number in range(steps):
        chain = follow(chain, at(writer.next(entry(delivered=10)), offset=number))
    return chain


def loss(chain: Chain | None, *, lost: bool = True, made_again: bool = False, lane_at: int | None = 30, begin: int = 8) -> Loss:
    """Return a loss that found the one chain at ``chain``; None: it knew of none."""
    what = Lost(0, OLD, NEW if made_again else OLD, lost_from=0, lost_to=begin, position=5 if lost else 9)
    chains = () if chain is None else (BaseChain(CHAIN, TOPIC, chain, begin, lost, lane_at),)
    return Loss(what, 1, Base(chains, (), ()))


def missing(steps: int = 1) -> tuple[Chain, Reading]:
    """Return a chain of two steps, and the next step that is there when ``steps`` are not."""
    writer = Writer()
    chain = posted(writer, 2)
    for _ in range(steps):
        writer.next(entry(delivered=10))
    return chain, at(writer.next(entry(delivered=10)))


def test_a_chain_goes_on_behind_the_steps_that_were_lost() -> None:
    """From where it stood to where the next step says that the one before it ended."""
    chain, step = missing()
    assert follow(chain, step).held == Held(20, Break.GAP)

    after = bridged(chain, step, loss(chain))

    assert after is not None
    assert (after.step, after.next_offset, after.head) == (3, 30, step.step.prev_hash)
    assert follow(after, step).step == 4
    assert follow(after, step).held is None
    assert bridge_of(chain, step, loss(chain)) == Bridge(0, 1, CHAIN, 2, 20, 4, 30, step.step.prev_hash, 20)


def test_a_chain_that_nobody_knew_begins_behind_the_loss() -> None:
    """All its first steps were lost unread."""
    _, step = missing()

    after = bridged(Chain(), step, loss(None))

    assert after is not None
    assert (after.step, after.next_offset) == (3, 30)
    assert bridged(Chain(), step, loss(None, lost=False)) is None, "what was lost had been posted"


def test_what_a_loss_does_not_explain_is_not_bridged() -> None:
    """Each condition alone is enough to refuse."""
    chain, step = missing()
    assert bridged(chain, step, loss(chain)) is not None
    moved = msgspec.structs.replace(chain, head=b"\2" * 32)

    refused = {
        "nothing was lost unread": bridged(chain, step, loss(chain, lost=False)),
        "the chain has moved since": bridged(moved, step, loss(chain)),
        "it moved on by a step": bridged(msgspec.structs.replace(chain, step=3), step, loss(chain)),
        "it lies before the loss": bridged(chain, step, loss(chain, begin=21)),
        "another partition": bridged(chain, msgspec.structs.replace(step, usage_partition=1), loss(chain)),
        "no step is missing": bridged(chain, changed(step, step=3), loss(chain)),
        "no offset is missing": bridged(chain, changed(step, first_offset=20), loss(chain)),
        "metered again": bridged(chain, changed(step, first_offset=15), loss(chain)),
        "it begins beyond where its lane stood": bridged(chain, step, loss(chain, lane_at=29)),
        "it begins a chain": bridged(chain, changed(step, prev_hash=b"\0" * 32), loss(chain)),
    }

    assert {why: found for why, found in refused.items() if found is not None} == {}


def changed(reading: Reading, **fields: object) -> Reading:
    """Return a reading whose step says something else."""
    return msgspec.structs.replace(reading, step=msgspec.structs.replace(reading.step, **fields))


@pytest.mark.parametrize(
    ("held", "made_again", "begins_at", "lost"),
    [
        (None, False, 8, True),
        (Held(3, Break.HASH), False, 8, True),
        (None, True, 8, True),
        (Held(9, Break.HASH), True, 8, True),
        (Held(9, Break.TOPIC), True, 8, False),
    ],
)
def test_a_chain_waits_at_the_first_record_that_there_is(held: Held | None, made_again: bool, begins_at: int, lost: bool) -> None:  # noqa: FBT001
    """One that was held is held still, with its reason; one that is none of this hub's lost nothing."""
    what = Lost(0, OLD, NEW if made_again else OLD, lost_from=0, lost_to=8, position=5)
    chain = msgspec.structs.replace(posted(Writer(), 2), held=held)

    found = base_chain(what, CHAIN, source_topic=TOPIC, chain=chain, lane_at=30)

    assert (found.begins_at, found.lost) == (begins_at, lost)
    assert found.chain.held == (None if held is None else Held(8, held.reason))


def test_a_chain_that_is_held_among_steps_that_are_left_loses_none_of_them() -> None:
    """The log was cut below: it waits where it waited."""
    what = Lost(0, OLD, OLD, lost_from=0, lost_to=4, position=9)
    chain = msgspec.structs.replace(posted(Writer(), 2), held=Held(6, Break.HASH))

    found = base_chain(what, CHAIN, source_topic=TOPIC, chain=chain, lane_at=30)

    assert (found.begins_at, found.lost, found.chain.held) == (6, False, Held(6, Break.HASH))
    assert base_chain(what, CHAIN, source_topic=TOPIC, chain=posted(Writer(), 2), lane_at=30).begins_at == 9


def cut_again(to: int = 12, position: int = 30) -> Lost:
    """Return a second loss, of what was read."""
    return Lost(0, OLD, OLD, lost_from=8, lost_to=to, position=position)


@pytest.mark.parametrize(
    ("moved", "earlier", "lost", "lane_at"),
    [(False, True, True, 30), (True, True, False, 90), (False, False, False, 90)],
    ids=["stands where it stood", "went on since", "lacked nothing"],
)
def test_what_a_chain_lacks_it_lacks_still_after_the_next_loss(moved: bool, earlier: bool, lost: bool, lane_at: int) -> None:  # noqa: FBT001
    """The next loss took nothing of it; the first step behind the earlier one begins where the lane stood then, or before."""
    chain, step = missing()
    before = loss(chain, lost=earlier, lane_at=30)
    stands = msgspec.structs.replace(chain, step=3, next_offset=30) if moved else chain
    held = msgspec.structs.replace(stands, held=Held(20, Break.GAP))

    for one in (stands, held):
        found = base_chain(cut_again(), CHAIN, source_topic=TOPIC, chain=one, lane_at=90, previous=before)
        assert (found.lost, found.lane_at) == (lost, lane_at)
        again = Loss(cut_again(), 2, Base((found,), (), ()))
        assert (bridged(msgspec.structs.replace(one, held=None), step, again) is not None) is lost


def test_a_chain_that_nobody_knew_lacks_its_first_steps_still_after_the_next_loss() -> None:
    """It is held since, or not met yet."""
    _, step = missing()
    before = loss(None)
    opening = Chain(usage_partition=0, held=Held(20, Break.OPENING))

    found = base_chain(cut_again(), CHAIN, source_topic=TOPIC, chain=opening, lane_at=60, previous=before)
    unmet = Loss(cut_again(), 2, Base((), (), (), unread_before=before.unread))

    assert found.lost
    assert bridged(Chain(usage_partition=0), step, Loss(cut_again(), 2, Base((found,), (), ()))) is not None
    assert bridged(Chain(), step, unmet) is not None
    assert bridged(Chain(), step, Loss(cut_again(), 2, Base((), (), ()))) is None


def test_a_chain_whose_lane_stands_where_it_does_lost_nothing() -> None:
    """Whatever else of its partition was lost unread."""
    what = Lost(0, OLD, OLD, lost_from=0, lost_to=8, position=5)
    chain = posted(Writer(), 2)

    found = {at: base_chain(what, CHAIN, source_topic=TOPIC, chain=chain, lane_at=at).lost for at in (None, 19, 20, 21)}

    assert found == {None: True, 19: False, 20: False, 21: True}
    assert not base_chain(what, CHAIN, source_topic=TOPIC, chain=Chain(), lane_at=0).lost


@pytest.mark.parametrize(
    ("lane_at", "begun", "room"),
    [(33, None, 13), (33, 27, 7), (33, 90, 13), (33, 20, 0), (None, 27, 7), (None, None, ROOM_MAX), (20, None, 0)],
)
def test_the_room_ends_where_the_next_step_begins_or_the_lane_stood(lane_at: int | None, begun: int | None, room: int) -> None:
    """The lesser of the two; what nobody can say is unbounded."""
    chain, _ = missing()
    known = {} if begun is None else {CHAIN: begun}

    assert lost_room([loss(chain, lane_at=lane_at)], [], sources={CHAIN.topic_id: TOPIC}, begun=known) == {(TOPIC, 0): room}


def test_the_room_of_a_bridge_is_its_width_and_losses_add_up() -> None:
    """A loss behind which the chain went on without a bridge took nothing of it."""
    chain, step = missing()
    sources, place = {CHAIN.topic_id: TOPIC}, (TOPIC, 0)
    bridge = bridge_of(chain, step, loss(chain))
    first, second = loss(chain, lane_at=33), msgspec.structs.replace(loss(chain, lane_at=33), number=2)

    assert lost_room([first], [bridge], sources=sources, begun={}) == {place: 10}
    assert lost_room([loss(None)], [bridge], sources=sources, begun={}) == {place: 10}
    assert lost_room([second], [bridge], sources=sources, begun={}) == {place: 10 + 13}
    assert lost_room([second], [], sources=sources, begun={}) == {place: 13}
    assert lost_room([loss(chain, lost=False)], [], sources=sources, begun={}) == {place: 0}


def test_a_base_is_read_as_it_was_stored() -> None:
    """Chains, sums and refusals, hashes and reasons included."""
    chain = msgspec.structs.replace(posted(Writer(), 2), held=Held(6, Break.HASH))
    sums = HourSums(usage_partition=0, first_step=1, first_usage_offset=0, last_step=2, steps=2, delivered=20, offsets=20)
    base = Base(
        (BaseChain(CHAIN, TOPIC, chain, 8, lost=True, lane_at=None),),
        ((HourKey("a", 1, "live", str(TOPIC_ID), 0, 7), sums),),
        ((3, "key"),),
        (Bridge(0, 1, CHAIN, 2, 20, 4, 30, b"\1" * 32, 20),),
        unread_before=True,
    )

    assert Base.unpack(base.pack()) == base
