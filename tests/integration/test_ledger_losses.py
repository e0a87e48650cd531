"""hub.usage lost for good, on real Kafka: told, accepted by an act, and the ledger goes on and is held to its steps again.

What was posted stays posted; what was lost unread is billed to nobody and named.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hall import until
from ledger_town import AGREEMENT, LedgerTown
from usage_losses import accepted, count, extra, hold, lose, lost_of_a_quiet_lane, lost_unread, resumed, stand, told, town_with_positions

from hub.broker.admin import Admin
from hub.ledger.collector import Collector
from hub.ledger.tables import USAGE_HOURS, USAGE_REFUSED
from hub.model.errors import HubError
from hub.model.names import Names

pytestmark = pytest.mark.broker
HOWS = ("cut", "made again")


@pytest.fixture
def ledger(names: Names, admin: Admin, tmp_path: Path) -> Iterator[LedgerTown]:
    """Give a ledger, and lanes that have positions."""
    with town_with_positions(names, admin, tmp_path) as town:
        yield town


@pytest.mark.parametrize("how", HOWS)
def test_a_loss_is_accepted_and_the_ledger_goes_on_and_is_sound_again(ledger: LedgerTown, how: str) -> None:
    """The way out that works: told, shown, accepted, chain resumed, and then each count equals the others, the loss named."""
    lane, _ = lost_unread(ledger, how)
    for look in (ledger.collect, ledger.check):
        with pytest.raises(HubError, match="HUB-LEDGER-006") as raised:
            look()
        assert "accept-loss" in raised.value.fix

    done = accepted(ledger)

    assert done.accepted
    assert {part.how for part in done.partitions} == {how}
    assert ledger.collect().held == 1
    assert ledger.sums() == {"delivered": 5 + 4 + 3, "steps": 3, "held": 1}
    assert {found.between for found in ledger.check().differences} == {"chain"}
    found = resumed(ledger)
    assert (found.posted, found.held_at) == (1, None)
    lane.step(2)
    ledger.collect()
    report = ledger.check()
    assert told(report) == []
    assert ledger.sums() == {"delivered": 5 + 4 + 3 + 7 + 2, "steps": 5, "held": 0}
    assert (report.metered, report.posted, report.delivered, report.unmetered) == (21, 21, 27, 6)
    assert {(one.how, one.act) for one in report.losses} == {(how, done.act)}
    assert [(one.first_offset, one.next_offset) for one in report.unmetered_offsets] == [(5, 11)]
    assert ledger.check(full=True).sound
    lane.step(1)
    assert ledger.check().sound, "a ledger that lags is none the worse"


@pytest.mark.parametrize("how", HOWS)
def test_where_everything_lost_was_posted_nothing_is_held(ledger: LedgerTown, how: str) -> None:
    """The next step continues what the ledger has: no chain waits, no record is lost."""
    lane, other = ledger.lane(0), ledger.lane(1)
    lane.step(5)
    other.step(4)
    ledger.collect()
    assert ledger.check().sound
    lose(ledger, how)
    lane.step(7)

    accepted(ledger)

    ledger.collect()
    assert ledger.sums() == {"delivered": 16, "steps": 3, "held": 0}
    report = ledger.check()
    assert told(report) == []
    assert (report.metered, report.posted, report.delivered, report.unmetered) == (16, 16, 16, 0)


def test_a_running_collector_goes_on_by_itself(ledger: LedgerTown) -> None:
    """Nobody has to start anything again."""
    lost_unread(ledger, "made again")
    collector, stop = Collector(ledger.bootstrap, ledger.names, ledger.engine), threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    try:
        until(lambda: "HUB-LEDGER-006" in (collector.trouble() or ""))
        accepted(ledger)
        until(lambda: collector.trouble() is None and ledger.sums()["delivered"] == 12)
    finally:
        stop.set()
        thread.join()

    assert ledger.sums()["held"] == 1


def test_a_part_that_was_posted_is_cut_while_the_rest_can_be_read(ledger: LedgerTown) -> None:
    """The steps that are left are held to the ledger still; a chain that waits among them loses none of them."""
    lane, other = ledger.lane(0), ledger.lane(1)
    lane.step(5)
    other.step(4)
    ledger.collect()
    places = {number: offset for number, offset in ledger.collect().positions.items() if offset}
    hold(ledger, 1)
    lane.step(6)
    other.step(2)
    assert ledger.collect().held == 1
    for number, offset in places.items():
        ledger.forget(ledger.names.usage, number, before=offset)
    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        ledger.check()

    done = accepted(ledger)

    assert all(part.ledger_stands_at >= part.lost_to for part in done.partitions)
    assert not any(row.may_lack_steps for part in done.partitions for row in part.chains)
    assert resumed(ledger, 1).posted == 1
    report = ledger.check()
    assert (told(report), report.posted, report.unmetered) == ([], 17, 0)
    lane.step(1)
    ledger.collect()
    assert ledger.check().sound
    ledger.alter(USAGE_HOURS, delivered=18, offsets=18)
    assert "ledger" in {found.between for found in ledger.check().differences}


def test_a_chain_that_no_step_follows_any_more_is_sound_after_acceptance(ledger: LedgerTown) -> None:
    """A lane that has nothing to do makes no next step: how far it delivered is known by its position."""
    lane = lost_of_a_quiet_lane(ledger)

    accepted(ledger)

    ledger.collect()
    report = ledger.check()
    assert told(report) == []
    assert (report.posted, report.delivered, report.unmetered) == (5, 11, 6)
    lane.step(2)
    ledger.collect()
    assert resumed(ledger).held_at is None
    assert (ledger.check().sound, ledger.check(full=True).sound) == (True, True)


def test_a_chain_whose_first_steps_are_lost_begins_behind_them(ledger: LedgerTown) -> None:
    """Nobody had read step 1: the ledger begins with the first step that there is."""
    ledger.collect()
    lane = ledger.lane(0)
    lane.step(6)
    lose(ledger, "made again")
    lane.step(7)
    stand(ledger, lane)

    accepted(ledger)

    assert ledger.collect().held == 1
    assert resumed(ledger).posted == 1
    report = ledger.check()
    assert (told(report), report.posted, report.unmetered) == ([], 7, 6)
    assert [(one.first_offset, one.next_offset) for one in report.unmetered_offsets] == [(0, 6)]


@pytest.mark.parametrize("how", HOWS)
def test_a_chain_that_was_held_before_the_loss_waits_behind_it(ledger: LedgerTown, how: str) -> None:
    """Its break is gone with the loss; what follows is judged as ever, and only missing steps are bridged."""
    lane = ledger.lane(0)
    lane.step(5)
    lane.writer.next_offset += 10
    lane.step(1)
    assert ledger.collect().held == 1
    stand(ledger, lane)
    lose(ledger, how)

    accepted(ledger)

    for _ in range(2):
        assert [(one.between, "ledger resume" in one.found) for one in ledger.check().differences] == [("chain", True)]
        lane.step(1)
        stand(ledger, lane)
        ledger.collect()
    looked = [resumed(ledger) for _ in range(2)]
    assert looked[-1].held_at is None
    assert ledger.sums() == {"delivered": 7, "steps": 3, "held": 0}
    report = ledger.check()
    assert (told(report), report.unmetered) == ([], 1)


def test_offsets_of_a_topic_that_was_made_again_are_used_again(ledger: LedgerTown) -> None:
    """Refused records and hours of the old topic stand at offsets that the new one has too."""
    lane = ledger.lane(0)
    for _ in range(3):
        lane.step(2)
    step = lane.step(1)
    lane.producer.begin_transaction()
    lane.producer.send(ledger.names.usage, key=step.key, value=b"garbage")
    lane.producer.commit_transaction()
    assert ledger.collect().refused == 1
    lose(ledger, "made again")
    done = accepted(ledger)
    for _ in range(4):
        lane.step(1)
    lane.producer.begin_transaction()
    for _ in range(4):
        lane.producer.send(ledger.names.usage, key=step.key, value=b"garbage")
    lane.producer.commit_transaction()

    found = ledger.collect()

    assert sum(part.refused_gone for part in done.partitions) == 1
    assert (found.posted, found.refused, count(ledger, USAGE_REFUSED)) == (4, 4, 4)
    assert ledger.sums() == {"delivered": 11, "steps": 8, "held": 0}
    assert told(ledger.check()) == []


def test_what_is_lost_with_its_source_topic_is_settled_too(ledger: LedgerTown) -> None:
    """How far the lane was is gone with the topic; what its share topic holds is counted once, and the next loss apart from it."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    lane.step(6)
    ledger.admin.delete_topics([ledger.topic])
    until(lambda: ledger.topic not in ledger.admin.topic_ids([ledger.topic]))
    lose(ledger, "cut")
    accepted(ledger)
    assert told(ledger.check()) == []

    extra(lane, AGREEMENT, partition=0)
    assert [one.between for one in ledger.check().differences] == ["deliveries"]


def test_the_loss_is_lost_again(ledger: LedgerTown) -> None:
    """Twice cut, and made again in the end: each time accepted, each bridged, all named."""
    lane = ledger.lane(0)
    for how in ("cut", "cut", "made again"):
        lane.step(3)
        ledger.collect()
        lane.step(4)
        lose(ledger, how)
        lane.step(5)
        stand(ledger, lane)
        accepted(ledger)
        ledger.collect()
        assert resumed(ledger).held_at is None
        assert told(ledger.check()) == []

    report = ledger.check(full=True)
    assert (report.sound, report.posted, report.unmetered, len(report.unmetered_offsets)) == (True, 24, 12, 3)
    assert len({one.act for one in report.losses}) == 3
