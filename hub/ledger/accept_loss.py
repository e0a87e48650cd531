"""Accepting that a part of hub.usage is lost for good: position, chains, base and act in one SQL transaction.

The collector's position moves under the lock that the collector posts by, so one that runs meanwhile is ``Overtaken``. A kill leaves
all of it or nothing. The base is read and packed before, outside of any lock, and kept where nothing has moved since.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, insert, select, update

from hub.broker.admin import Admin
from hub.broker.topics import usage_partition
from hub.catalogue.topics import topic_names
from hub.ledger.books import ChainRow, Overtaken, is_chain, read_chains, read_hours, read_positions, read_refused
from hub.ledger.chain import Chain, ChainId
from hub.ledger.known_topics import known_topics
from hub.ledger.loss_rows import held_since, keep_loss, read_bridges, read_last
from hub.ledger.losses import ACCEPT_LOSS, Base, BaseChain, Loss, Lost, Seen, base_chain, find_lost, loss_id, require_end
from hub.ledger.periods import utc
from hub.ledger.tables import USAGE_CHAINS, USAGE_POSITIONS, USAGE_REFUSED
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position
from hub.observe.failpoints import failpoint
from hub.store.acts import content_hash
from hub.store.engine import reading, writing

MISSING_FIX: Final = "`cityhub serve` makes the topic, and adds the partitions that it lacks, when it starts"
OUTSIDE_MAX: Final = 3
"""How often the base is read outside of the write lock; where the collector moved on each time, it is read within it."""


class LostChain(msgspec.Struct, frozen=True):
    """A chain that stands in a partition of hub.usage that has lost something."""

    chain: str
    source: str
    last_step: int
    next_offset: int | None
    last_metered_at: str
    may_lack_steps: bool
    lane_at: int | None
    """Source offset where its lane stands; None: nobody can say."""


class LostPartition(msgspec.Struct, frozen=True):
    """What one partition of hub.usage has lost, for who has to accept it."""

    usage_partition: int
    how: str
    """``cut`` or ``made again``."""
    old_topic_id: str
    topic_id: str
    lost_from: int
    lost_to: int
    ledger_stands_at: int
    goes_on_at: int
    delivered_posted: int
    """Delivered records of all that was posted: they stay posted and billed, whether their steps are gone or not."""
    refused_gone: int
    chains: tuple[LostChain, ...]


class AcceptedLoss(msgspec.Struct, frozen=True):
    """What hub.usage has lost, and whether the ledger goes on without it now."""

    loss: str
    """Names exactly this loss; accepting names it again."""
    accepted: bool
    act: str | None
    """Correlation id of the act."""
    partitions: tuple[LostPartition, ...]


def show_loss(engine: Engine, *, admin: Admin, names: Names) -> AcceptedLoss:
    """Return what hub.usage has lost since the last acceptance; see ``find_losses``."""
    return _look(engine, admin=admin, names=names).shown


def accept_loss(
    loss: str | None, *, engine: Engine, admin: Admin, names: Names, correlation_id: str, record: Callable[[Connection, str], None]
) -> AcceptedLoss:
    """Let the ledger go on without ``loss``, in one SQL transaction with ``record``, which gets what the act's hash has to cover.

    HUB-LEDGER-011 where something else is lost than ``loss`` names, and what ``find_losses`` raises.
    """
    looked = _look(engine, admin=admin, names=names)
    drafts: Mapping[int, Draft] | None = looked.drafts
    for tries in range(1, OUTSIDE_MAX + 2):
        try:
            with writing(engine) as connection:
                found = find_losses(connection, looked.seen, scope=names.scope)
                if loss != (name := loss_id(found, scope=names.scope)):
                    raise _another(name)
                if drafts is None:
                    drafts = draft_all(connection, found, looked.lanes, scope=names.scope)
                told = accept(connection, found, drafts, scope=names.scope, name=name, correlation_id=correlation_id)
                record(connection, told)
            return msgspec.structs.replace(looked.shown, accepted=True, act=correlation_id)
        except Overtaken:
            drafts = _draft_again(engine, looked, scope=names.scope) if tries < OUTSIDE_MAX else None
    with reading(engine) as connection:
        raise _another(loss_id(find_losses(connection, looked.seen, scope=names.scope), scope=names.scope))


class Lanes(NamedTuple):
    """Where lanes stand, in source offsets."""

    at: dict[ChainId, int]
    """Left out: nobody can say."""
    unmet: tuple[ChainRow, ...] = ()
    """Lanes whose chains the ledger has not met."""


class Draft(NamedTuple):
    """What will be kept of one partition, and what it was read from."""

    lost: Lost
    chains: list[ChainRow]
    base: Base
    packed: bytes


class _Looked(NamedTuple):
    """What is lost, as broker and ledger have it."""

    seen: dict[int, Seen]
    lanes: Lanes
    drafts: dict[int, Draft]
    shown: AcceptedLoss


def _look(engine: Engine, *, admin: Admin, names: Names) -> _Looked:
    """Look at hub.usage before its lanes, so that what follows behind the loss begins no further than they stand.

    Its ends are held to positions that were read before: the collector may run meanwhile.
    """
    with reading(engine) as connection:
        positions = read_positions(connection, scope=names.scope)
    seen = look(admin, names=names)
    for number in positions.keys() & seen.keys():
        require_end(number, position=positions[number], seen=seen[number])
    with reading(engine) as connection:
        chains = read_chains(connection, scope=names.scope)
        topics, counts = topic_names(connection, scope=names.scope), known_topics(connection, scope=names.scope)
    lanes = look_at_lanes(admin, chains, names=names, topics={one: (topics[one], counts[one]) for one in topics.keys() & counts.keys()})
    with reading(engine) as connection:
        found = find_losses(connection, seen, scope=names.scope)
        drafts = draft_all(connection, found, lanes, scope=names.scope)
    shown = AcceptedLoss(loss_id(found, scope=names.scope), accepted=False, act=None, partitions=tuple(map(show_lost, drafts.values())))
    return _Looked(seen, lanes, drafts, shown)


def _draft_again(engine: Engine, looked: _Looked, *, scope: str) -> dict[int, Draft]:
    with reading(engine) as connection:
        return draft_all(connection, find_losses(connection, looked.seen, scope=scope), looked.lanes, scope=scope)


def _another(loss: str) -> HubError:
    return HubError("HUB-LEDGER-011", f"what hub.usage has lost now is `{loss}`", ACCEPT_LOSS)


def look(admin: Admin, *, names: Names) -> dict[int, Seen]:
    """Return hub.usage as the broker has it; HUB-BROKER-009 when there is no such topic."""
    topic_id = admin.topic_ids([names.usage]).get(names.usage)
    if topic_id is None:
        raise HubError("HUB-BROKER-009", f"topic `{names.usage}` does not exist", MISSING_FIX)
    places = [TopicPartition(names.usage, number) for number in range(admin.partitions(names.usage))]
    begins, ends = admin.begin_offsets(places), admin.end_offsets(places)
    return {place.partition: Seen(str(topic_id), begins[place], ends[place]) for place in places}


def look_at_lanes(
    admin: Admin, chains: Iterable[ChainRow], *, names: Names, topics: Mapping[str, tuple[str, int | None]] | None = None
) -> Lanes:
    """Return where the lanes of ``chains`` stand, and those of ``topics``, by id with name and lanes, that the ledger has not met.

    Nobody can say where its source topic, and so its position, is gone, or where a lane that has metered has no position: where that is
    so, nor of a lane of the same topic that nobody has met. Else one without a position has delivered nothing.
    """
    known = {row.id: row for row in chains}
    wanted = {row.source_topic for row in known.values()} | {name for name, _ in (topics or {}).values()}
    ids, sizes = admin.topic_ids(wanted), admin.partition_counts(wanted)
    unmet = [
        ChainRow(chain_id, name, Chain())
        for topic_id, (name, count) in sorted((topics or {}).items())
        for partition in range(min(sizes.get(name, 0), sizes.get(name, 0) if count is None else count))
        if (chain_id := ChainId(topic_id, partition)) not in known
    ]
    alive = [row for row in (*known.values(), *unmet) if str(ids.get(row.source_topic)) == row.id.topic_id]
    places = {row.id: TopicPartition(row.source_topic, row.id.partition) for row in alive}
    committed = admin.committed(names.exchange_group, [place for place in places.values() if place.partition < sizes.get(place.topic, 0)])
    adrift = {row.source_topic for row in alive if row.chain != Chain() and places[row.id] not in committed}
    found = {}
    for row in alive:
        position = committed.get(places[row.id])
        if position is None and row.chain == Chain() and row.source_topic not in adrift:
            position = (0, "")
        if position is not None and (not position[1] or _is_of(position[1], position[0], row.id.topic_id)):
            found[row.id] = position[0]
    return Lanes(found, tuple(row for row in unmet if row.id in places))


def find_losses(connection: Connection, seen: Mapping[int, Seen], *, scope: str) -> list[Lost]:
    """Return what hub.usage has lost since the last acceptance, by partition.

    HUB-LEDGER-006 where that cannot be accepted, HUB-LEDGER-010 where nothing is lost.
    """
    positions = read_positions(connection, scope=scope)
    if gone := sorted(positions.keys() - seen.keys()):
        raise HubError("HUB-LEDGER-006", f"hub.usage has no partitions {gone}, which the ledger has read", MISSING_FIX)
    since = held_since(connection, scope=scope)
    found = [find_lost(number, position=positions.get(number), since=since.get(number, 0), seen=one) for number, one in seen.items()]
    lost = [one for one in found if one is not None]
    if not lost:
        raise HubError("HUB-LEDGER-010", "hub.usage has everything that the ledger is held to", "`cityhub ledger check` compares it")
    return lost


def draft_all(connection: Connection, lost: Iterable[Lost], lanes: Lanes, *, scope: str) -> dict[int, Draft]:
    """Return what will be kept of each partition that has lost something."""
    bridges = read_bridges(connection, scope=scope)
    refused = read_refused(connection, scope=scope)
    met = {row.id: row for row in read_chains(connection, scope=scope)}
    drafts = {}
    for one in lost:
        number = one.usage_partition
        previous = _previous(connection, number, scope=scope)
        rows = [row for row in met.values() if row.chain.usage_partition == number]
        unread = one.unread or (previous is not None and previous.unread)
        unmet = [row for row in lanes.unmet if unread and row.id not in met and _place_of(row.id) == number]
        base = Base(
            chains=tuple(
                base_chain(one, row.id, source_topic=row.source_topic, chain=row.chain, lane_at=lanes.at.get(row.id), previous=previous)
                for row in (*rows, *unmet)
            ),
            hours=tuple(read_hours(connection, scope=scope, usage_partition=number)),
            refused=tuple((offset, reason) for (partition, offset), reason in refused.items() if partition == number),
            bridges=tuple(bridge for bridge in bridges if bridge.usage_partition == number),
            unread_before=previous is not None and previous.unread,
        )
        drafts[number] = Draft(one, rows, base, base.pack())
    return drafts


def show_lost(draft: Draft) -> LostPartition:
    """Return what acceptance would keep and give up."""
    lost, base = draft.lost, draft.base
    return LostPartition(
        usage_partition=lost.usage_partition,
        how=lost.how,
        old_topic_id=lost.old_topic_id,
        topic_id=lost.usage_topic_id,
        lost_from=lost.lost_from,
        lost_to=lost.lost_to,
        ledger_stands_at=lost.position,
        goes_on_at=lost.goes_on_at,
        delivered_posted=sum(sums.delivered for _, sums in base.hours),
        refused_gone=sum(lost.made_again or offset < lost.lost_to for offset, _ in base.refused),
        chains=tuple(_shown(one) for one in base.chains if one.lost or not one.unmet),
    )


def accept(connection: Connection, lost: Sequence[Lost], drafts: Mapping[int, Draft], *, scope: str, name: str, correlation_id: str) -> str:
    """Let the ledger go on without ``lost``; returns what the act's ``after_hash`` has to be.

    Overtaken where anything of what the drafts were read from has moved: hours move only with position or chain.
    """
    digests = []
    for one in lost:
        _move(connection, one, scope=scope)
        draft = drafts.get(one.usage_partition)
        if draft is None or draft.lost != one or draft.chains != _chains_of(connection, one.usage_partition, scope=scope):
            raise Overtaken
        at_ms = time.time_ns() // 1_000_000
        digests.append(keep_loss(connection, one, draft.packed, scope=scope, loss_id=name, correlation_id=correlation_id, at_ms=at_ms))
        for chain in draft.base.chains:
            _hold_later(connection, chain, scope=scope)
        gone = [USAGE_REFUSED.c.scope == scope, USAGE_REFUSED.c.usage_partition == one.usage_partition]
        if not one.made_again:
            gone.append(USAGE_REFUSED.c.usage_offset < one.lost_to)
        connection.execute(sa.delete(USAGE_REFUSED).where(*gone))
    failpoint("ledger.loss_stored")
    return content_hash(digests)


def _move(connection: Connection, lost: Lost, *, scope: str) -> None:
    """Move the collector's position, which locks its partition, and the chains that a resume may be posting to."""
    table = USAGE_POSITIONS
    moved = connection.execute(
        update(table)
        .where(
            table.c.scope == scope,
            table.c.usage_partition == lost.usage_partition,
            table.c.usage_topic_id == lost.old_topic_id,
            table.c.next_offset == lost.position,
        )
        .values(usage_topic_id=lost.usage_topic_id, next_offset=lost.goes_on_at)
    )
    if moved.rowcount == 0 and (lost.position or lost.made_again):
        raise Overtaken
    if moved.rowcount == 0:
        place = {"usage_topic_id": lost.usage_topic_id, "next_offset": lost.goes_on_at}
        connection.execute(insert(table).values(place | {"scope": scope, "usage_partition": lost.usage_partition}))
    chains = USAGE_CHAINS
    here = (chains.c.scope == scope, chains.c.usage_partition == lost.usage_partition)
    connection.execute(select(chains.c.topic_id).where(*here).with_for_update()).all()


def _chains_of(connection: Connection, number: int, *, scope: str) -> list[ChainRow]:
    """Return the chains that stand in a partition of hub.usage."""
    return [row for row in read_chains(connection, scope=scope) if row.chain.usage_partition == number]


def _previous(connection: Connection, number: int, *, scope: str) -> Loss | None:
    """Return the loss before; one that is not as an act accepted it forgives nothing any more, and is told by the check."""
    try:
        return read_last(connection, number, scope=scope)
    except HubError as error:
        if error.code != "HUB-LEDGER-002":
            raise
        return None


def _place_of(chain_id: ChainId) -> int:
    """Return the partition of hub.usage where a lane writes its steps."""
    return usage_partition(f"{chain_id.topic_id}/{chain_id.partition}".encode())


def _hold_later(connection: Connection, one: BaseChain, *, scope: str) -> None:
    """Let a held chain wait at the first record that there is."""
    if one.chain.held is not None:
        held_at = one.chain.held.usage_offset
        connection.execute(update(USAGE_CHAINS).where(is_chain(one.id, scope)).values(held_at=held_at))


def _shown(one: BaseChain) -> LostChain:
    return LostChain(
        chain=str(one.id),
        source=f"{one.source_topic}-{one.id.partition}",
        last_step=one.chain.step,
        next_offset=one.chain.next_offset,
        last_metered_at=utc(one.chain.metered_ms),
        may_lack_steps=one.lost,
        lane_at=one.lane_at,
    )


def _is_of(metadata: str, offset: int, topic_id: str) -> bool:
    try:
        return str(Position.parse(offset=offset, metadata=metadata, lane="").topic_id) == topic_id
    except HubError:
        return False
