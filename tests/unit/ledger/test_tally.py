"""Sums per hour: every step that moves its chain is in exactly one row per agreement, and nothing else is."""

from hypothesis import given
from hypothesis import strategies as st
from ledger_steps import NOON_MS, SCOPE, TOPIC_ID, Log, Writer, entry, log_of

from hub.ledger.chain import HOUR_MS, Break, ChainId, Held, Refusal
from hub.ledger.tally import Tally

CHAIN = ChainId(str(TOPIC_ID), 0)
HOUR = NOON_MS // HOUR_MS


def test_steps_of_an_hour_add_up_per_agreement_version() -> None:
    """A row names the steps and the usage offsets that it sums: a bill line can be followed to its records."""
    writer = Writer()
    log = log_of([writer.next(entry("a", delivered=4, filtered=1), entry("b", denied=5), gaps=1) for _ in range(3)])
    tally = Tally(scope=SCOPE)

    tally.take(log.records)

    rows = {key.agreement_id: sums for key, sums in tally.hours.items()}
    assert {key.hour for key in tally.hours} == {HOUR}
    assert (rows["a"].delivered, rows["a"].filtered, rows["a"].gaps, rows["a"].offsets, rows["a"].steps) == (12, 3, 3, 18, 3)
    assert (rows["b"].delivered, rows["b"].denied) == (0, 15)
    assert (rows["a"].first_step, rows["a"].last_step, rows["a"].first_usage_offset, rows["a"].last_usage_offset) == (1, 3, 0, 2)


def test_a_new_version_has_a_row_of_its_own() -> None:
    """Terms are those of a version."""
    writer = Writer()
    tally = Tally(scope=SCOPE)

    tally.take(log_of([writer.next(entry(version=version, delivered=2)) for version in (1, 1, 2)]).records)

    assert {(key.agreement_version, sums.delivered) for key, sums in tally.hours.items()} == {(1, 4), (2, 2)}


def test_the_hour_is_that_of_the_metering_time() -> None:
    """A step that the broker stamped earlier than the one before counts in that one's hour."""
    writer = Writer()
    times = (NOON_MS - 1, NOON_MS, NOON_MS - 1)
    tally = Tally(scope=SCOPE)

    tally.take(log_of([writer.next(entry(delivered=1)) for _ in times], times=times).records)

    assert {(key.hour, sums.delivered) for key, sums in tally.hours.items()} == {(HOUR - 1, 1), (HOUR, 2)}


def test_a_held_chain_adds_nothing_while_another_goes_on() -> None:
    """One broken partition must not stop the billing of the city."""
    good, bad = Writer(partition=1), Writer(partition=0)
    log = Log()
    log.append(bad.next(entry(delivered=1)))
    bad.next(entry(delivered=1))
    log.append(bad.next(entry(delivered=100)))
    log.append(bad.next(entry(delivered=100)))
    log.append(good.next(entry(delivered=7)))
    tally = Tally(scope=SCOPE)

    tally.take(log.records)

    assert {key.source_partition: sums.delivered for key, sums in tally.hours.items()} == {0: 1, 1: 7}
    assert tally.held == [CHAIN]
    assert tally.chain(CHAIN).held == Held(1, Break.GAP)
    assert tally.posted == 2


def test_a_record_that_is_no_step_is_refused_and_the_partition_goes_on() -> None:
    """Its place and its reason are kept; it counts in nothing."""
    writer = Writer()
    log = Log()
    log.append_value(b"\0\0\0\0\7garbage", key=b"k")
    log.append(writer.next(entry(delivered=2)))
    tally = Tally(scope=SCOPE)

    tally.take(log.records)

    assert tally.refused == {(0, 0): Refusal.UNREADABLE}
    assert tally.posted == 1


@given(
    counts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    minutes=st.lists(st.integers(-90, 90), min_size=30, max_size=30),
)
def test_sums_conserve_and_do_not_depend_on_where_the_log_is_cut(
    counts: list[tuple[int, int, int, int]], cut: int, minutes: list[int]
) -> None:
    """The collector posts in stretches of any length; the ledger must come out the same."""
    writer = Writer(next_offset=11)
    steps = [writer.next(entry("a", delivered=d, filtered=f), entry("b", denied=d + f), gaps=g, lost=lost) for d, f, g, lost in counts]
    log = log_of(steps, times=[NOON_MS + minute * 60_000 for minute in minutes[: len(steps)]])
    whole = Tally(scope=SCOPE)

    whole.take(log.records)

    first = Tally(scope=SCOPE)
    second = Tally(scope=SCOPE, load=first.chain)
    first.take(log.records[:cut])
    second.take(log.records[cut:])
    for name in ("delivered", "denied", "gaps", "lost", "offsets", "steps"):
        parts = sum(getattr(sums, name) for tally in (first, second) for sums in tally.hours.values())
        assert parts == sum(getattr(sums, name) for sums in whole.hours.values())
    assert second.chain(CHAIN) == whole.chain(CHAIN)
    for sums in whole.hours.values():
        assert sums.delivered + sums.filtered + sums.denied + sums.suppressed + sums.quarantined + sums.gaps + sums.lost == sums.offsets
