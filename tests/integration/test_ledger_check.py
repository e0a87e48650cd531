"""`ledger check` on real Kafka: silent while the three counts agree, and not silent about anything else."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_steps import Writer, entry
from ledger_town import AGREEMENT, LedgerTown, agreement
from sqlalchemy import delete, select, update

from hub.broker.admin import Admin
from hub.ledger.check import Report
from hub.ledger.deliveries import MADE_AGAIN
from hub.ledger.tables import DELIVERIES_VERIFIED, USAGE_CHAINS, USAGE_HOURS
from hub.model.errors import HubError
from hub.model.names import Names
from hub.store.engine import writing
from hub.store.topics_seen import note_topics

pytestmark = pytest.mark.broker


@pytest.fixture
def ledger(names: Names, admin: Admin, tmp_path: Path) -> Iterator[LedgerTown]:
    """Give hub.usage, share topics and a ledger of the test's own."""
    town = LedgerTown(names=names, admin=admin, folder=tmp_path)
    yield town
    town.close()


def told(report: Report) -> list[tuple[str, str, str]]:
    """Return what a report's differences say, without their places."""
    return [(found.between, found.expected, found.found) for found in report.differences]


def verified(ledger: LedgerTown) -> list[Any]:
    """Return what checks have verified, by partition."""
    with ledger.engine.connect() as connection:
        return list(connection.execute(select(DELIVERIES_VERIFIED).order_by(DELIVERIES_VERIFIED.c.share_partition)))


def test_three_counts_agree(ledger: LedgerTown) -> None:
    """Two partitions, two agreements, an aborted step, a step that delivers nothing."""
    ledger.agree(agreement("weather-use", consumer="weather"))
    lanes = [ledger.lane(partition) for partition in range(2)]
    for lane in lanes:
        lane.step_of({AGREEMENT: 5, "weather-use": 5}, filtered=1)
        lane.step_of({AGREEMENT: 9, "weather-use": 9}, commit=False)
        lane.step_of({AGREEMENT: 0, "weather-use": 0}, filtered=4)
    ledger.collect()

    report = ledger.check()

    assert told(report) == []
    assert (report.sound, report.metered, report.posted, report.delivered, report.unverifiable) == (True, 20, 20, 20, 0)
    assert (report.steps, report.chains) == (4, 2)


def test_an_empty_hub_is_sound(ledger: LedgerTown) -> None:
    """No usage, no deliveries."""
    assert ledger.check().sound


def test_a_hub_without_usage_topic_is_sound(ledger: LedgerTown) -> None:
    """Before the first dataset."""
    ledger.admin.delete_topics([ledger.names.usage])

    assert ledger.check().sound


def test_a_ledger_that_lags_is_no_difference(ledger: LedgerTown) -> None:
    """The ledger is compared at the usage offsets where it stands."""
    lane = ledger.lane()
    lane.step(5)
    ledger.collect()
    lane.step(7)

    report = ledger.check()

    assert (report.sound, report.metered, report.posted, report.delivered) == (True, 12, 5, 12)


def test_what_was_counted_is_not_counted_again(ledger: LedgerTown) -> None:
    """The next check begins where the last one was sure."""
    lane = ledger.lane()
    lane.step(5)
    ledger.check()
    before = verified(ledger)[0]
    lane.step(7)

    report = ledger.check()

    after = verified(ledger)[0]
    assert (report.sound, report.delivered) == (True, 12)
    assert (before.metered, before.counted, after.metered, after.counted) == (5, 5, 12, 12)
    assert after.next_offset == before.next_offset + 8


def test_a_record_counted_and_not_delivered_is_found(ledger: LedgerTown) -> None:
    """A kernel that counts but does not output."""
    lane = ledger.lane(1)
    lane.step(5)
    lane.step(5, deliver=4)

    report = ledger.check()

    assert told(report) == [("deliveries", "10 metered", "9 delivered")]
    assert report.differences[0].where == f"{ledger.share()}-1"
    assert report.differences[0].agreement_id == AGREEMENT
    assert report.code == "HUB-LEDGER-002"


def test_a_difference_stays_until_it_is_mended(ledger: LedgerTown) -> None:
    """A check that has found one does not believe its own count the next time."""
    lane = ledger.lane()
    lane.step(5, deliver=4)
    ledger.check()
    lane.step(5)

    assert told(ledger.check()) == [("deliveries", "10 metered", "9 delivered")]


def test_a_delivery_that_nobody_metered_is_found(ledger: LedgerTown) -> None:
    """Whoever writes to a share topic past the meter."""
    lane = ledger.lane()
    lane.step(5)
    lane.producer.begin_transaction()
    lane.producer.send(ledger.share(), value=b"unmetered", partition=0)
    lane.producer.commit_transaction()

    assert told(ledger.check()) == [("deliveries", "5 metered", "6 delivered")]


def test_a_delivery_under_an_agreement_without_usage_is_found(ledger: LedgerTown) -> None:
    """Its share topic is looked at although hub.usage does not know the agreement."""
    ledger.agree(agreement("weather-use", consumer="weather"))
    lane = ledger.lane()
    lane.step(5)
    lane.producer.begin_transaction()
    lane.producer.send(ledger.share("weather-use"), value=b"unmetered", partition=1)
    lane.producer.commit_transaction()

    assert told(ledger.check()) == [("deliveries", "0 metered", "1 delivered")]


def test_usage_that_commits_without_its_deliveries_is_found(ledger: LedgerTown) -> None:
    """The usage step outside the transaction: the retry meters the same records again."""
    lane = ledger.lane()
    lane.step(5)
    early = Writer(
        topic_id=lane.writer.topic_id,
        topic=lane.writer.topic,
        scope=lane.writer.scope,
        step=lane.writer.step,
        next_offset=lane.writer.next_offset,
        head=lane.writer.head,
    )
    lane.meter_only(early.next(entry(AGREEMENT, delivered=7)))
    lane.step(7)

    report = ledger.check()

    assert [between for between, _, _ in told(report)] == ["chain", "deliveries"]
    assert report.differences[0].found == "overlap"
    assert report.code == "HUB-LEDGER-001"


def test_a_gap_in_the_chain_is_found(ledger: LedgerTown) -> None:
    """Source offsets that no step accounts for."""
    lane = ledger.lane()
    lane.step(5)
    lane.writer.next_offset += 3
    lane.step(5)

    (found,) = ledger.check().differences

    assert (found.between, found.expected, found.found) == ("chain", "step 2 from offset 5", "gap")
    assert "usage offset" in found.where


@pytest.mark.parametrize("column", ["delivered", "bytes_delivered", "steps", "last_usage_offset"])
def test_an_altered_row_of_the_ledger_is_found(ledger: LedgerTown, column: str) -> None:
    """Whoever has the database cannot change a figure unseen."""
    ledger.lane().step(5, filtered=1)
    ledger.collect()
    also = {"filtered": USAGE_HOURS.c.filtered - 1} if column == "delivered" else {}

    ledger.alter(USAGE_HOURS, **{column: USAGE_HOURS.c[column] + 1}, **also)

    report = ledger.check()
    assert [found.between for found in report.differences] == ["ledger"]
    assert report.differences[0].expected.startswith(column)
    assert report.differences[0].agreement_id == AGREEMENT


def test_a_missing_row_of_the_ledger_is_found(ledger: LedgerTown) -> None:
    """Use that is not billed."""
    ledger.lane().step(5)
    ledger.collect()
    with ledger.engine.begin() as connection:
        connection.execute(delete(USAGE_HOURS))

    assert told(ledger.check()) == [("ledger", "a row", "none")]


def test_an_altered_chain_of_the_ledger_is_found(ledger: LedgerTown) -> None:
    """The head in SQL is the head that hub.usage gives."""
    ledger.lane().step(5)
    ledger.collect()

    ledger.alter(USAGE_CHAINS, head="00" * 32)

    assert [found.between for found in ledger.check().differences] == ["ledger"]


def test_usage_under_unknown_terms_is_found(ledger: LedgerTown) -> None:
    """It could not be billed."""
    lane = ledger.lane()
    lane.step_of({AGREEMENT: 2}, version=9, deliver=0)

    assert ("terms", "known terms", "version 9 is not known") in told(ledger.check())


def test_what_retention_took_before_any_check_is_unverifiable(ledger: LedgerTown) -> None:
    """Never a difference: nobody can know any more."""
    lane = ledger.lane()
    lane.step(5)
    lane.step(7)
    ledger.forget(ledger.share(), 0, before=6)

    report = ledger.check()

    assert told(report) == []
    assert (report.metered, report.delivered, report.unverifiable) == (12, 7, 5)
    lane.step(1)
    assert (ledger.check().delivered, ledger.check().unverifiable) == (8, 5)


def test_what_was_counted_stays_counted_when_retention_takes_it(ledger: LedgerTown) -> None:
    """A check now and then keeps everything verified."""
    lane = ledger.lane()
    lane.step(5)
    ledger.check()
    ledger.forget(ledger.share(), 0, before=6)
    lane.step(7)

    report = ledger.check()

    assert (told(report), report.delivered, report.unverifiable) == ([], 12, 0)


def test_retention_is_no_excuse_for_more_than_it_took(ledger: LedgerTown) -> None:
    """Six offsets are gone; they cannot have held seven records."""
    lane = ledger.lane()
    lane.step(5)
    lane.step(9, deliver=0)
    lane.step(7)
    ledger.forget(ledger.share(), 0, before=6)

    assert told(ledger.check()) == [("deliveries", "21 metered", "7 delivered")]


def test_a_share_topic_made_again_before_any_check_is_told_and_is_no_difference_for_ever(ledger: LedgerTown) -> None:
    """Serve has seen it under another id: what the first one held cannot be counted, what came since is compared."""
    lane = ledger.lane()
    lane.step(5)
    share = ledger.share()
    with writing(ledger.engine) as connection:
        note_topics(connection, {share: str(ledger.admin.topic_ids([share])[share])}, scope=ledger.names.scope)
    ledger.admin.delete_topics([share])
    ledger.agree(agreement())
    lane.step(7)

    report = ledger.check()

    assert (told(report), report.delivered, report.unverifiable) == ([], 7, 5)
    assert {gone.why for gone in report.unverifiable_partitions} == {MADE_AGAIN}
    lane.step(3, deliver=2)
    assert told(ledger.check()) == [("deliveries", "15 metered", "14 delivered")]


def test_a_share_topic_made_again_leaves_the_rest_unverifiable(ledger: LedgerTown) -> None:
    """Its deliveries went with it; what comes afterwards is compared again."""
    lane = ledger.lane()
    lane.step(5)
    ledger.check()
    lane.step(6)
    ledger.admin.delete_topics([ledger.share()])
    gone = ledger.check()
    ledger.agree(agreement())
    lane.step(7)

    report = ledger.check()

    assert (told(gone), gone.unverifiable) == ([], 6)
    assert (told(report), report.delivered, report.unverifiable) == ([], 12, 6)
    lane.step(3, deliver=2)
    assert told(ledger.check()) == [("deliveries", "21 metered", "20 delivered")]


def test_a_check_under_load_is_sound(ledger: LedgerTown) -> None:
    """Lanes go on while it counts: usage and deliveries are never read at one moment, and nothing differs."""
    stop = threading.Event()
    lanes = [ledger.lane(partition) for partition in range(2)]

    def work(lane: Any) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            lane.step(1 + number % 5, filtered=1, commit=number % 7 != 0)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    reports = [(ledger.collect() and ledger.check()) for _ in range(6)]
    stop.set()
    for thread in threads:
        thread.join()
    last = ledger.check()

    assert [told(report) for report in reports] == [[]] * 6
    assert reports[0].metered < reports[-1].metered
    assert (told(last), last.metered) == ([], last.delivered)


def test_a_check_under_load_still_finds_what_differs(ledger: LedgerTown) -> None:
    """The positive control of the test above: one record short, somewhere in between."""
    lanes = [ledger.lane(partition) for partition in range(2)]
    lanes[0].step(5, deliver=4)
    stop = threading.Event()

    def work(lane: Any) -> None:
        while not stop.is_set():
            lane.step(5)

    thread = threading.Thread(target=work, args=(lanes[0],))
    thread.start()
    reports = [ledger.check() for _ in range(3)]
    stop.set()
    thread.join()

    assert all([found.between for found in report.differences] == ["deliveries"] for report in reports)


def test_a_check_waits_for_deliveries_whose_marker_is_on_its_way(ledger: LedgerTown) -> None:
    """An open transaction in hub.usage is waited for, then it is said that the topic could not be read to its end."""
    lane, stranger = ledger.lane(0), ledger.lane(1)
    lane.step(5)
    stranger.producer.begin_transaction()
    for partition in range(4):
        stranger.producer.send(ledger.names.usage, value=b"open", partition=partition)
    stranger.producer.flush()

    with pytest.raises(HubError, match="HUB-LEDGER-007"):
        ledger.check(deadline_s=1)
    stranger.producer.abort_transaction()
    assert ledger.check().sound


def test_a_quick_check_finds_what_is_new_and_a_full_one_what_was_counted_before(ledger: LedgerTown) -> None:
    """Whoever forges what a check remembers hides missing deliveries from the next one, and from no full one."""
    lane = ledger.lane()
    lane.step(5)
    ledger.collect()
    assert ledger.check().sound
    lane.step(4, deliver=0)
    ledger.collect()
    quick = ledger.check()
    with ledger.engine.begin() as connection:
        behind = DELIVERIES_VERIFIED.c.metered == 5
        connection.execute(update(DELIVERIES_VERIFIED).where(behind).values(metered=9, counted=9))

    hidden, full = ledger.check(), ledger.check(full=True)

    assert [(row.expected, row.found) for row in quick.differences] == [("9 metered", "5 delivered")]
    assert hidden.sound
    assert [(row.expected, row.found) for row in full.differences] == [("9 metered", "5 delivered")]


def test_a_full_check_of_what_is_well_finds_nothing(ledger: LedgerTown) -> None:
    """Also where retention took what an earlier check had counted; the next quick one goes on from it."""
    lane = ledger.lane()
    lane.step(5)
    ledger.collect()
    assert ledger.check().sound
    ledger.forget(ledger.share(), 0, before=3)
    lane.step(2)
    ledger.collect()

    for report in (ledger.check(full=True), ledger.check(), ledger.check(full=True)):
        assert (report.sound, report.delivered, report.unverifiable) == (True, 7, 0)
