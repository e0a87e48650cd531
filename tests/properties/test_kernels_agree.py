"""Every kernel is the reference, faster: over random schemas, plans and records, whole and damaged, byte by byte.

Hypothesis draws the plan; the records come from a seed, a thousand for each plan, 300,000 in a run. A kernel may end a step where
it likes once a limit is reached, so each is driven until all is decided, and the sums are compared.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest
from avro_cases import Drawn, drawn_schemas, fits, grants_for, rules_for
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kernel_kit import LANE, NOW, plan_of, sealed, source_at, terms
from kernels import KERNELS
from random_records import body_maker, message_sets, records

from hub.broker.batches import read_records
from hub.broker.codecs import available
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.agreement import Agreement
from hub.model.lifecycle import State

RECORDS_PER_PLAN: Final = 1_000
PLANS: Final = int(os.environ.get("CITYHUB_AGREE_PLANS", "300"))
"""For a longer search: ``CITYHUB_AGREE_PLANS=10000``."""
IDS: Final = ("b", "a", "d", "c", "e", "f")
SMALL: Final = (
    {},
    {},
    {},
    {"record_bytes_max": 40},
    {"batch_bytes_max": 2_000},
    {"step_plain_bytes_max": 9_000},
    {"step_quarantined_max": 20},
)
OTHERS: Final = [name for name in KERNELS if name != "reference"]

Kernel = Callable[[Plan, Sequence[Chunk], Source, Moment], Verdict]


class Case(NamedTuple):
    """One plan, and what its records are made of."""

    plan: Plan
    schemas: dict[int, dict[str, Any]]
    moment: Moment
    seed: int


class Sums(NamedTuple):
    """What a kernel made of all records, however many steps it took."""

    records: int
    entries: dict[str, tuple[Any, ...]]
    outputs: dict[str, list[tuple[bytes | None, bytes | None]]]
    quarantined: list[Any]
    unknown: frozenset[int]


@st.composite
def agreements_on(draw: st.DrawFn, case: Drawn) -> list[Agreement]:
    """Draw one to six agreements that fit; rules and grants come twice, as they do in a city."""
    grants = [found for found in (draw(grants_for(case)) for _ in range(draw(st.integers(1, 3)))) if found]
    rules = [None, *(draw(rules_for(case)) for _ in range(draw(st.integers(0, 3))))]
    assume(grants)
    made = [
        terms(
            agreement_id,
            *draw(st.sampled_from(grants)),
            rows=draw(st.sampled_from(rules)),
            key=draw(st.sampled_from(["drop", "keep", "pseudonym"])),
            consumer=draw(st.sampled_from(["parking-office", "tax-office"])),
            valid_until_ms=draw(st.sampled_from([NOW + 1] * 5 + [NOW])),
        )
        for agreement_id in IDS[: draw(st.integers(1, len(IDS)))]
    ]
    assume(all(fits(case, agreement) for agreement in made))
    return made


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a plan over one writer schema, or two with the second unknown to some agreements."""
    case = draw(drawn_schemas())
    agreements = draw(agreements_on(case))
    schemas = {7: case.schema}
    without: list[tuple[str, int]] = []
    if draw(st.integers(0, 3)) == 0:
        schemas[8] = {**case.schema, "fields": [*case.schema["fields"], {"name": "added", "type": "string"}]}
        without = [(agreement.id, 8) for agreement in agreements if draw(st.booleans())]
    states = {agreement.id: draw(st.sampled_from([State.ACTIVE] * 6 + [State.SUSPENDED])) for agreement in agreements}
    limits = draw(st.sampled_from(SMALL)) | {"output_codec": draw(st.sampled_from(["none", "source", "lz4", "zstd", "gzip", "snappy"]))}
    plan = plan_of(
        *agreements, schemas=schemas, states=states, without=without, key_identifier=draw(st.sampled_from(["other", "plate"])), **limits
    )
    undeliverable = frozenset(draw(st.sampled_from([(), (), (), ("a",)])))
    return Case(plan, schemas, Moment(now_ms=NOW, undeliverable=undeliverable), draw(st.integers(0, 2**32)))


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
