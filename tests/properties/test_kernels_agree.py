"""Every kernel is the reference, faster: over random schemas, plans and records, whole and damaged, byte by byte.

Hypothesis draws the plan; the records come from a seed, a thousand that are decided for each plan, and at least 300,000 in a run, which
is counted and asserted. A kernel may end a step where it likes once a limit is reached, so each is driven until all is decided, and
the sums are compared.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from kernel_kit import LANE, NOW, batch_at, chunk_of, plan_of, sealed, source_at, terms, vehicle
from kernels import KERNELS
from plan_cases import Case, cases
from random_records import body_maker, message_sets, records

from hub.broker.batches import HEADER_BYTES, read_records
from hub.broker.codecs import available
from hub.exchange.plan import Plan
from hub.exchange.reference.route import output_bytes
from hub.exchange.verdict import Chunk, Moment, Source, Verdict

RECORDS_PER_PLAN: Final = 1_000
"""Decided, at least: those that lie before the position come on top."""
LEFT_OUT_MAX: Final = 400
PLANS_OF_A_RUN: Final = 320
"""Some more than the records need: a few plans begin in their last chunk or behind it, and decide little or nothing."""
PLANS: Final = int(os.environ.get("CITYHUB_AGREE_PLANS", str(PLANS_OF_A_RUN)))
"""For a longer search: ``CITYHUB_AGREE_PLANS=10000``. A shorter one promises no number of records."""
RECORDS_MIN: Final = 300_000 if PLANS >= PLANS_OF_A_RUN else 0
FRAME_BYTES_MIN: Final = 7
"""Around key and value of a record in a batch, whatever they are."""
OTHERS: Final = [name for name in KERNELS if name != "reference"]

Kernel = Callable[[Plan, Sequence[Chunk], Source, Moment], Verdict]


class Sums(NamedTuple):
    """What a kernel made of all records, however many steps it took."""

    records: int
    entries: dict[str, tuple[Any, ...]]
    outputs: dict[str, list[tuple[bytes | None, bytes | None]]]
    quarantined: list[Any]
    unknown: frozenset[int]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OTHERS or [pytest.param("native", marks=pytest.mark.skip(reason="the native kernel is not built"))])
def test_a_kernel_gives_what_the_reference_gives(name: str) -> None:
    """Records, counts, bytes, quarantined rows and unknown schema ids, all the same, and in the same order, over enough records.

    The records are counted here and not in a test behind this one: then a search that ends early fails whichever tests are selected,
    and on whichever worker they run.
    """
    decided: list[int] = []

    @settings(deadline=None, max_examples=PLANS, suppress_health_check=list(HealthCheck), derandomize=False)
    @given(case=cases())
    def agrees(case: Case) -> None:
        decided.append(agreed(name, case))

    agrees()

    assert sum(decided) >= RECORDS_MIN, f"{len(decided)} plans decided {sum(decided)} records: the search ended early"


def agreed(name: str, case: Case) -> int:
    """Hold a kernel against the reference over the records of one plan; how many were decided."""
    rng = random.Random(case.seed)
    left_out = 0 if rng.random() < 0.7 else rng.randint(1, LEFT_OUT_MAX)
    rows = records(rng, left_out + RECORDS_PER_PLAN, bodies={writer: body_maker(schema) for writer, schema in case.schemas.items()})
    codec = rng.choice(sorted(available()))
    first = rng.choice((0, 100, 2**40))
    chunks = [
        Chunk(partition=LANE, data=data, first_offset=begin, next_offset=end, gaps=0)
        for data, begin, end in message_sets(rng, rows, first_offset=first, codec=codec)
    ]
    position = first + left_out if rng.random() < 0.98 else rng.randint(chunks[-1].first_offset, chunks[-1].next_offset)

    found = driven(KERNELS[name], case, chunks, position)
    wanted = driven(KERNELS["reference"], case, chunks, position)

    assert found.quarantined == wanted.quarantined
    assert found.entries == wanted.entries
    for topic, outputs in wanted.outputs.items():
        assert found.outputs.get(topic) == outputs
    assert found == wanted
    return wanted.records


def driven(kernel: Kernel, case: Case, chunks: list[Chunk], position: int) -> Sums:
    """Run a kernel until everything is decided; each call must move, and stay within the limits of a batch."""
    entries: dict[str, tuple[Any, ...]] = {}
    outputs: dict[str, list[tuple[bytes | None, bytes | None]]] = {}
    quarantined: list[Any] = []
    unknown: frozenset[int] = frozenset()
    total, most = 0, case.plan.limits.batch_bytes_max
    while True:
        verdict = kernel(case.plan, chunks, source_at(position), case.moment)
        total += verdict.records
        for entry in verdict.entries:
            assert entry.accounted == verdict.records
            counts = (
                entry.delivered,
                entry.filtered,
                entry.denied,
                entry.suppressed,
                entry.quarantined,
                entry.bytes_source,
                entry.bytes_delivered,
            )
            before = entries.get(entry.agreement_id, (entry.agreement_version, None, *(0 for _ in counts)))
            entries[entry.agreement_id] = (before[0], entry.denied_by or before[1], *map(sum, zip(before[2:], counts, strict=True)))
        for topic, batches in verdict.deliveries.items():
            for batch in batches:
                read = read_records(sealed(batch))
                plain_bytes = HEADER_BYTES + sum(FRAME_BYTES_MIN + output_bytes(row.key, row.value) for row in read)
                assert max(len(batch.data), plain_bytes) <= most  # a record that alone is over it was quarantined
                assert [row.offset for row in read] == list(range(batch.records))
                assert {(row.timestamp_ms, row.headers) for row in read} == {(NOW, ())}
                outputs.setdefault(topic, []).extend((row.key, row.value) for row in read)
        quarantined += verdict.quarantined
        unknown |= verdict.unknown_schema_ids
        if verdict.next_offset >= chunks[-1].next_offset:
            assert verdict.next_offset == chunks[-1].next_offset
            return Sums(total, entries, outputs, quarantined, unknown)
        assert verdict.next_offset > position
        position = verdict.next_offset


def test_a_batch_over_the_bound_would_be_seen() -> None:
    """The check can fail: a kernel that cuts by another bound than the plan's is no kernel."""
    small, large = (plan_of(terms("a", "plate"), batch_bytes_max=most) for most in (300, 2_000))
    case = Case(small, {}, Moment(now_ms=NOW), seed=0)
    chunk = chunk_of(batch_at(100, [(None, vehicle())] * 20), first_offset=100, next_offset=120)
    run = KERNELS["reference"]

    assert driven(run, case, [chunk], 100).records == 20
    with pytest.raises(AssertionError, match="<= 300"):
        driven(lambda _plan, *rest: run(large, *rest), case, [chunk], 100)
