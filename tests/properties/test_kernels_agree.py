"""Every kernel is the reference, faster: over random schemas, plans and records, whole and damaged, byte by byte.

Hypothesis draws the plan; the records come from a seed, a thousand for each plan, 300,000 in a run. A kernel may end a step where
it likes once a limit is reached, so each is driven until all is decided, and the sums are compared.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from kernel_kit import LANE, NOW, sealed, source_at
from kernels import KERNELS
from plan_cases import Case, cases
from random_records import body_maker, message_sets, records

from hub.broker.batches import read_records
from hub.broker.codecs import available
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict

RECORDS_PER_PLAN: Final = 1_000
PLANS: Final = int(os.environ.get("CITYHUB_AGREE_PLANS", "300"))
"""For a longer search: ``CITYHUB_AGREE_PLANS=10000``."""
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
@settings(deadline=None, max_examples=PLANS, suppress_health_check=list(HealthCheck), derandomize=False)
@given(case=cases())
def test_a_kernel_gives_what_the_reference_gives(name: str, case: Case) -> None:
    """Records, counts, bytes, quarantined rows and unknown schema ids, all the same, and in the same order."""
    rng = random.Random(case.seed)
    rows = records(rng, RECORDS_PER_PLAN, bodies={writer: body_maker(schema) for writer, schema in case.schemas.items()})
    codec = rng.choice(sorted(available()))
    first = rng.choice((0, 100, 2**40))
    chunks = [
        Chunk(partition=LANE, data=data, first_offset=begin, next_offset=end, gaps=0)
        for data, begin, end in message_sets(rng, rows, first_offset=first, codec=codec)
    ]
    position = first if rng.random() < 0.7 else rng.randint(first, chunks[-1].next_offset)

    found = driven(KERNELS[name], case, chunks, position)
    wanted = driven(KERNELS["reference"], case, chunks, position)

    assert found.quarantined == wanted.quarantined
    assert found.entries == wanted.entries
    for topic, outputs in wanted.outputs.items():
        assert found.outputs.get(topic) == outputs
    assert found == wanted


def driven(kernel: Kernel, case: Case, chunks: list[Chunk], position: int) -> Sums:
    """Run a kernel until everything is decided; each call must move, and stay within the limits of a batch."""
    entries: dict[str, tuple[Any, ...]] = {}
    outputs: dict[str, list[tuple[bytes | None, bytes | None]]] = {}
    quarantined: list[Any] = []
    unknown: frozenset[int] = frozenset()
    total = 0
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
