"""What bounds a loss of hub.usage that was accepted, on real Kafka: lanes, later losses, and the hash of the act."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_town import AGREEMENT, Lane, LedgerTown
from sqlalchemy import Connection, delete, insert, select
from usage_losses import (
    accepted,
    chain,
    count,
    extra,
    hold,
    lose,
    lost_of_a_quiet_lane,
    lost_unread,
    resumed,
    stand,
    told,
    town_with_positions,
)

from hub.broker.admin import Admin
from hub.broker.topics import usage_partition
from hub.ledger.accept_loss import OUTSIDE_MAX, accept, accept_loss, draft_all, find_losses, look, look_at_lanes, show_loss
from hub.ledger.books import Overtaken, read_chains
from hub.ledger.loss_rows import keep_bridge, read_bridges
from hub.ledger.tables import USAGE_BRIDGES, USAGE_LOSSES
from hub.model.errors import HubError
from hub.model.names import Names
from hub.store.engine import reading, writing

pytestmark = pytest.mark.broker


@pytest.fixture
def ledger(names: Names, admin: Admin, tmp_path: Path) -> Iterator[LedgerTown]:
    """Give a ledger, and lanes that have positions."""
    with town_with_positions(names, admin, tmp_path) as town:
        yield town


def noise(lane: Lane) -> int:
    """Write a record that is no step beside the steps of a lane; returns its partition of hub.usage."""
    key = f"{lane.town.topic_id}/{lane.writer.partition}".encode()
    lane.producer.begin_transaction()
    lane.producer.send(lane.town.names.usage, key=key, value=b"no step", partition=usage_partition(key))
    lane.producer.commit_transaction()
    return usage_partition(key)


def forged(lane: Lane, *, step: int, first_offset: int) -> None:
    """Write a step that is sound in itself and that no lane wrote."""
    lane.writer.step, lane.writer.next_offset, lane.writer.head = step - 1, first_offset, b"\1" * 32
    lane.step(1)


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("met", [True, False])
def test_a_second_loss_of_what_was_read_forgets_nothing_of_the_first(ledger: LedgerTown, idle: bool, met: bool) -> None:  # noqa: FBT001
    """Whether the chain had gone on by then or not, and whether the ledger knew it or not."""
    lane = ledger.lane(0)
    lane.step(5 if met else 6)
    if met:
        ledger.collect()
        lane.step(6)
    stand(ledger, lane)
    lose(ledger, "cut")
    accepted(ledger)
    number = noise(lane)
    read_to = ledger.collect().positions[number]
    if not idle:
        lane.step(7)
        stand(ledger, lane)
        ledger.collect()
    ledger.forget(ledger.names.usage, number, before=read_to)

    accepted(ledger)
    if idle:
        assert told(ledger.check()) == []
        lane.step(7)
    ledger.collect()

    assert resumed(ledger).held_at is None
    report = ledger.check()
    assert (told(report), report.posted, report.unmetered) == ([], 12 if met else 7, 6)


@pytest.mark.parametrize("lacking", [True, False])
def test_no_chain_goes_on_beyond_where_its_lane_stood(ledger: LedgerTown, lacking: bool) -> None:  # noqa: FBT001
    """A step that nobody of this hub wrote is no more believed after a loss than before it."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    lane.step(6) if lacking else noise(lane)
    stand(ledger, lane)
    lose(ledger, "cut")

    done = accepted(ledger)

    assert [row.may_lack_steps for part in done.partitions for row in part.chains if row.last_step] == [lacking]
    forged(lane, step=9, first_offset=1_000)
    ledger.collect()
    assert resumed(ledger).held_reason == "gap"
    assert count(ledger, USAGE_BRIDGES) == 0
    for _ in range(12):
        extra(lane, AGREEMENT, partition=0)
    assert {"chain", "deliveries"} <= {one.between for one in ledger.check().differences}


def test_a_lane_that_never_delivered_begins_with_no_other_step_than_its_first(ledger: LedgerTown) -> None:
    """What was lost unread was of other lanes."""
    lane = ledger.lane(0)
    noise(lane)
    lose(ledger, "cut")
    accepted(ledger)
    forged(lane, step=9, first_offset=1_000)
    ledger.collect()

    assert resumed(ledger).held_reason == "opening"


def test_nobody_can_say_where_a_lane_stood_that_has_metered_and_has_no_position(ledger: LedgerTown) -> None:
    """Positions were lost: nor of its neighbour, which the ledger has not met."""
    ledger.lane(0).step(5)
    ledger.collect()
    with reading(ledger.engine) as connection:
        chains = read_chains(connection, scope=ledger.names.scope)
    topics = {str(ledger.topic_id): (ledger.topic, None)}

    lost = look_at_lanes(ledger.admin, chains, names=ledger.names, topics=topics)
    fresh = look_at_lanes(ledger.admin, [], names=ledger.names, topics=topics)

    assert (lost.at, [row.id.partition for row in lost.unmet]) == ({}, [1])
    assert [(chain.partition, at) for chain, at in fresh.at.items()] == [(0, 0), (1, 0)]


def test_a_dataset_whose_only_steps_are_lost_is_sound_after_acceptance(ledger: LedgerTown) -> None:
    """Delivered once while nobody collected, and no step follows: how far its lane came is known by its position."""
    ledger.collect()
    lane = ledger.lane(0)
    lane.step(6)
    stand(ledger, lane)
    lose(ledger, "cut")

    done = accepted(ledger)

    assert [(row.last_step, row.lane_at) for part in done.partitions for row in part.chains] == [(0, 6)]
    ledger.collect()
    report = ledger.check()
    assert (told(report), report.posted, report.delivered, report.unmetered) == ([], 0, 6, 6)
    extra(lane, AGREEMENT, partition=0)
    assert [one.between for one in ledger.check().differences] == ["deliveries"]


def bridged_twice(ledger: LedgerTown) -> Lane:
    """Lose hub.usage twice and go on behind it each time: twice 4 records are billed to nobody."""
    lane = ledger.lane(0)
    for _ in range(2):
        lane.step(3)
        ledger.collect()
        lane.step(4)
        stand(ledger, lane)
        lose(ledger, "cut")
        lane.step(5)
        accepted(ledger)
        ledger.collect()
        assert resumed(ledger).held_at is None
    assert ledger.check().unmetered == 8
    return lane


@pytest.mark.parametrize("number", [1, 2])
def test_a_bridge_that_somebody_widened_is_told_and_forgives_no_more(ledger: LedgerTown, number: int) -> None:
    """Of the last loss the step behind it proves it, of an earlier one the act of the last."""
    lane = bridged_twice(ledger)
    with ledger.engine.begin() as connection:
        table = USAGE_BRIDGES
        connection.execute(table.update().where(table.c.number == number).values(first_offset=10**6))
    assert [one.between for one in ledger.check().differences] == ["loss"]

    extra(lane, AGREEMENT, partition=0)

    for full in (False, True):
        assert {one.between for one in ledger.check(full=full).differences} == {"loss", "deliveries"}


def test_a_bridge_that_somebody_made_up_is_told_and_forgives_nothing(ledger: LedgerTown) -> None:
    """Of another source partition, whose chain lacks nothing."""
    lane, other = lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    assert resumed(ledger).held_at is None
    assert ledger.check().sound
    with ledger.engine.begin() as connection:
        row = dict(connection.execute(select(USAGE_BRIDGES)).one()._mapping)
        connection.execute(insert(USAGE_BRIDGES).values(row | {"source_partition": 1, "first_offset": 10**6, "usage_offset": 10**6}))
    assert [one.between for one in ledger.check().differences] == ["loss"]
    extra(other, AGREEMENT, partition=1)

    assert {(one.between) for one in ledger.check().differences} == {"loss", "deliveries"}
    assert lane.writer.next_offset == 18


def test_an_earlier_loss_that_somebody_deleted_is_told(ledger: LedgerTown) -> None:
    """By its act and by the number that is missing."""
    bridged_twice(ledger)
    with ledger.engine.begin() as connection:
        connection.execute(delete(USAGE_LOSSES).where(USAGE_LOSSES.c.number == 1))

    found = ledger.check().differences

    assert {one.between for one in found} == {"loss"}
    assert any("is gone" in one.found for one in found)
    assert any("lacks its losses number 1" in one.found for one in found)


@pytest.mark.parametrize("base", [b"", b"not packed", b"x\x9c+\xc8\xcb\x06\x00\x04_\x01\xb7"])
def test_a_base_that_somebody_broke_is_told_and_nothing_is_bridged_by_it(ledger: LedgerTown, base: bytes) -> None:
    """Nothing is unpacked that is not as it was accepted."""
    lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    ledger.alter(USAGE_LOSSES, base=base)

    report = ledger.check()

    assert {one.between for one in report.differences} == {"loss"}
    assert report.code == "HUB-LEDGER-002"
    with pytest.raises(HubError, match="HUB-LEDGER-002"):
        resumed(ledger)
    assert count(ledger, USAGE_BRIDGES) == 0


def test_nothing_is_bridged_by_a_loss_that_somebody_changed(ledger: LedgerTown) -> None:
    """It can be read, and is another than was accepted."""
    lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    ledger.alter(USAGE_LOSSES, at_ms=0)

    with pytest.raises(HubError, match="HUB-LEDGER-002"):
        resumed(ledger)


def test_a_loss_that_somebody_changed_keeps_nobody_from_accepting_the_next(ledger: LedgerTown) -> None:
    """The ledger goes on; what the changed one took is forgiven by nobody, and that it was changed is told for ever."""
    lane = lost_of_a_quiet_lane(ledger)
    accepted(ledger)
    ledger.alter(USAGE_LOSSES, base=b"not packed")
    number = noise(lane)
    ledger.forget(ledger.names.usage, number, before=ledger.collect().positions[number])

    accepted(ledger)

    lane.step(7)
    ledger.collect()
    assert resumed(ledger).held_reason == "gap"
    assert count(ledger, USAGE_BRIDGES) == 0
    assert "loss" in {one.between for one in ledger.check().differences}


def test_no_bridge_is_kept_of_a_loss_that_another_has_followed(ledger: LedgerTown) -> None:
    """Who resumes while the next loss is accepted looks again: what that one keeps has to have every bridge before it."""
    bridged_twice(ledger)
    with reading(ledger.engine) as connection:
        first = read_bridges(connection, scope=ledger.names.scope)[0]

    with writing(ledger.engine) as connection, pytest.raises(Overtaken):
        keep_bridge(connection, msgspec.structs.replace(first, chain_id=chain(ledger, 1)), scope=ledger.names.scope)

    assert count(ledger, USAGE_BRIDGES) == 2


def moved_on(ledger: LedgerTown, lane: Lane) -> None:
    """Post one step more."""
    lane.step(1)
    ledger.collect()


def held_meanwhile(ledger: LedgerTown, _: Lane) -> None:
    """Change a chain and not the position, as a resume does."""
    hold(ledger, 0)


@pytest.mark.parametrize("meanwhile", [moved_on, held_meanwhile])
def test_what_was_read_before_the_lock_is_kept_only_where_nothing_moved(
    ledger: LedgerTown, meanwhile: Callable[[LedgerTown, Lane], Any]
) -> None:
    """Reading takes long, so it is done while others post; what they posted has to be in what is kept."""
    lane, scope = ledger.lane(0), ledger.names.scope
    lane.step(5)
    ledger.collect()
    lose(ledger, "cut")
    lane.step(2)
    ledger.collect()
    seen = look(ledger.admin, names=ledger.names)
    with reading(ledger.engine) as connection:
        lanes = look_at_lanes(ledger.admin, read_chains(connection, scope=scope), names=ledger.names)
        drafts = draft_all(connection, find_losses(connection, seen, scope=scope), lanes, scope=scope)
    meanwhile(ledger, lane)

    with writing(ledger.engine) as connection:
        found = find_losses(connection, seen, scope=scope)
        with pytest.raises(Overtaken):
            accept(connection, found, drafts, scope=scope, name="0" * 12, correlation_id="act")

    assert count(ledger, USAGE_LOSSES) == 0
    shown = show_loss(ledger.engine, admin=ledger.admin, names=ledger.names)
    assert accepted(ledger, shown.loss).accepted


@pytest.mark.parametrize("overtaken", range(OUTSIDE_MAX + 2))
def test_a_collector_that_goes_on_and_on_keeps_nobody_from_accepting(ledger: LedgerTown, overtaken: int) -> None:
    """Where it was faster each time, what is kept is read once more, under its lock."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    lose(ledger, "cut")
    lane.step(1)
    name = show_loss(ledger.engine, admin=ledger.admin, names=ledger.names).loss
    tries = iter(range(overtaken))

    def record(_: Connection, __: str) -> None:
        if next(tries, None) is not None:
            raise Overtaken

    def attempt() -> bool:
        done = accept_loss(name, engine=ledger.engine, admin=ledger.admin, names=ledger.names, correlation_id="act", record=record)
        return done.accepted

    if overtaken > OUTSIDE_MAX:
        with pytest.raises(HubError, match="HUB-LEDGER-011"):
            attempt()
    else:
        assert attempt()
    assert count(ledger, USAGE_LOSSES) == (overtaken <= OUTSIDE_MAX)
