"""The benchmark's checks: positions in share topics, windows, arrivals. Each must fail on what is wrong."""

import dataclasses
import itertools
import uuid
from collections.abc import Sequence

import pytest
from benchmarks.drawn import draw
from benchmarks.figures import weighted_percentile
from benchmarks.job import PARTITIONS, terms
from benchmarks.latency import Arrived, Sent, latencies
from benchmarks.peer_runs import OUTPUT_PARTITIONS, fits, source_partitions
from benchmarks.records import Grantee, Observation, Source, make_source
from benchmarks.sample import SAMPLED, Window, hold_compared, index_of, windows
from benchmarks.town import Failed
from benchmarks.usage import Metered, check_usage, intervals, markers_before

from hub.model.usage import ZERO_HASH, UsageEntry, UsageStep

TOPIC = "dept.traffic.observations"


@pytest.fixture(scope="module")
def source() -> Source:
    """Return some records."""
    return make_source(3_000, schema_id=1)


def steps(source: Source, count: int = 2) -> list[Metered]:
    """Return the usage steps of a run that delivered everything it should, each partition in two steps."""
    found = []
    for partition in range(PARTITIONS):
        cuts = [0, source.count(partition) // 2, source.count(partition)]
        for number, (first, after) in enumerate(itertools.pairwise(cuts), start=1):
            entries = []
            for who in terms(count):
                delivered = index_of(source, who, partition, after) - index_of(source, who, partition, first)
                entries.append(UsageEntry(who.id, 1, delivered=delivered, filtered=after - first - delivered))
            found.append(Metered(1_000 + 120 * number, step(partition, number, first, after, tuple(entries))))
    return found


def step(partition: int, number: int, first: int, after: int, entries: tuple[UsageEntry, ...], *, lost: int = 0) -> UsageStep:
    """Return one usage step."""
    return UsageStep(
        "330100", TOPIC, uuid.UUID(int=1), partition, number, first, after, after - first - lost, 0, lost, 1, "w", ZERO_HASH, entries
    )


def test_a_run_that_delivered_what_it_should_passes(source: Source) -> None:
    """The sum over agreements is what is divided by."""
    assert check_usage(steps(source), source, terms(2), topic=TOPIC) == sum(sum(source.delivered(who)) for who in terms(2))


@pytest.mark.parametrize("fault", ["one too few", "one quarantined", "a hole", "an end too early", "a stranger"])
def test_a_run_that_did_not_has_no_number(source: Source, fault: str) -> None:
    """A check that cannot fail is none."""
    found = steps(source)
    at_ms, good = found[3]
    entry = good.entries[0]
    first, after, entries = good.first_offset, good.next_offset, good.entries
    if fault == "one too few":
        entries = (UsageEntry(entry.agreement_id, 1, delivered=entry.delivered - 1, filtered=entry.filtered + 1), *entries[1:])
    elif fault == "one quarantined":
        entries = (UsageEntry(entry.agreement_id, 1, delivered=entry.delivered, filtered=entry.filtered - 1, quarantined=1), *entries[1:])
    elif fault == "a hole":
        first += 1
    elif fault == "an end too early":
        after -= 1
    else:
        entries = (*entries, UsageEntry("stranger", 1, delivered=1, filtered=after - first - 1))
    found[3] = Metered(at_ms, step(good.source_partition, good.step, first, after, entries))
    with pytest.raises(Failed):
        check_usage(found, source, terms(2), topic=TOPIC)


def test_the_interval_is_that_between_steps_of_one_lane(source: Source) -> None:
    """Steps of different lanes lie between each other."""
    assert intervals(steps(source), TOPIC) == (120.0, 120.0)


def test_each_step_that_delivered_left_a_marker(source: Source) -> None:
    """It takes an offset in the share topic, by which a record is found there."""
    lane = [one for one in steps(source) if one.step.source_partition == 0]
    before = markers_before(lane, terms(1)[0].id)
    half, end = (one.step.next_offset for one in lane)
    assert (before(0), before(half - 1), before(half), before(end)) == (0, 0, 1, 2)


def test_a_small_source_is_compared_whole(source: Source) -> None:
    """Fewer than were asked for are all there are."""
    assert sum(window.end - window.begin for window in windows(source, terms(2), seed=1)) == source.records


@pytest.fixture(scope="module")
def large(source: Source) -> Source:
    """Return many records: the few, again and again."""
    return Source(540_000, 1, [list(base) * 60 for base in source.partitions], base=180_000)


def delivered_of(source: Source, agreements: Sequence[Grantee], found: Sequence[Window]) -> int:
    """Return how many deliveries lie in windows."""
    return sum(
        index_of(source, who, window.partition, window.end) - index_of(source, who, window.partition, window.begin)
        for window in found
        for who in agreements
    )


def test_windows_of_a_large_source_hold_what_was_asked_for(large: Source) -> None:
    """20,000 deliveries, whatever the number of agreements, at other places in other rounds; and not many times as much work."""
    for n in (1, 5, 20):
        delivered = delivered_of(large, terms(n), windows(large, terms(n), seed=n))
        assert SAMPLED <= delivered < 1.5 * SAMPLED
    assert windows(large, terms(5), seed=1) != windows(large, terms(5), seed=2)


def test_windows_of_a_drawn_plan_hold_as_much(source: Source) -> None:
    """Its rules pass another share of the rows than the job's."""
    many = Source(600_000, 1, [list(base) * 10 for base in source.partitions], base=30_000)
    for seed in (1, 2, 20_261_129):
        plan = draw(seed, 2, source.partitions[0])
        delivered = delivered_of(many, plan, windows(many, plan, seed=seed))
        assert SAMPLED <= delivered < 1.5 * SAMPLED


@dataclasses.dataclass(frozen=True)
class Few:
    """Somebody who receives the rows of a few sensors, which stand in a few partitions."""

    keys: frozenset[bytes]
    id: str = "few"

    def admits(self, one: Observation) -> bool:
        """Tell whether a row may cross."""
        return one.key in self.keys


def test_windows_grow_where_a_rule_passes_little_in_most_partitions(large: Source) -> None:
    """The mean share of all rows says nothing of the partitions that are drawn: one that has them all may be left out."""
    few = Few(frozenset(one.key for one in large.partitions[0]))
    for seed in range(20):
        assert delivered_of(large, [few], windows(large, [few], seed=seed)) >= SAMPLED


@pytest.mark.parametrize(
    ("compared", "delivered", "enough"),
    [(SAMPLED, 10 * SAMPLED, True), (SAMPLED - 1, 10 * SAMPLED, False), (7, 7, True), (6, 7, False), (0, 0, True)],
)
def test_a_run_of_which_too_little_was_compared_has_no_number(compared: int, delivered: int, enough: object) -> None:
    """The report tells of 20,000 records of every run."""
    try:
        hold_compared(compared, delivered=delivered)
    except Failed:
        assert enough is False
    else:
        assert enough is True


@pytest.mark.parametrize(
    ("ends", "transactions", "whole"),
    [
        (100, 0, True),
        (99, 0, False),
        (101, 0, False),
        (100, 3, True),
        (99, 3, False),
        (100 + 3 * OUTPUT_PARTITIONS, 3, True),
        (101 + 3 * OUTPUT_PARTITIONS, 3, False),
    ],
)
def test_a_topic_of_a_peer_is_longer_than_its_records_by_markers_alone(ends: int, transactions: int, whole: object) -> None:
    """One more would be a record that is there twice; of a peer that has no transactions any."""
    assert fits(ends, delivered=100, transactions=transactions) is whole


def test_latency_counts_records_and_not_batches() -> None:
    """Arrivals are matched to what was due in order: two batches may arrive in one transaction, one in two."""
    sent = [[Sent(0.0, 10), Sent(10.0, 10), Sent(20.0, 0), Sent(30.0, 5)]]
    arrived = [[Arrived(100.0, 15), Arrived(130.0, 10)]]
    found = latencies(sent, arrived, from_ms=0.0)
    assert found == [(100.0, 10), (90.0, 5), (120.0, 5), (100.0, 5)]
    assert weighted_percentile(found, 0.5) == 100.0
    assert sum(count for _, count in latencies(sent, arrived, from_ms=10.0)) == 15


def test_every_source_partition_goes_to_one_output_partition_of_the_peers() -> None:
    """Their output is read partition by partition."""
    assert sorted(number for output in range(4) for number in source_partitions(output)) == list(range(PARTITIONS))
