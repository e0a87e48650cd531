"""What the native kernel does its own way, held against the reference where the two ways part: blocks, bounds, buffers."""

import itertools
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from kernel_kit import NOW, VEHICLE, batch_at, chunk_of, framed, plan_of, schema_of, sealed, source_at, terms, vehicle
from kernels import KERNELS

from hub.broker.batches import build_batches, read_records
from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Verdict
from hub.model import agreement as words
from hub.model.agreement import All, Bucket, Condition, Constant, Grant, Not
from hub.model.framing import frame_header
from hub.model.reasons import Reject

pytestmark = pytest.mark.skipif("native" not in KERNELS, reason="the native kernel was not built: `make native`")

Record = tuple[bytes | None, bytes | None]


def run(kernel: str, plan: Plan, chunks: Sequence[Chunk], position: int = 100) -> Verdict:
    """Run one kernel at the moment of the tests."""
    return KERNELS[kernel](plan, chunks, source_at(position), Moment(now_ms=NOW))


def shown(verdict: Verdict) -> Any:
    """Return a verdict as it can be compared: output records, and everything else."""
    rows = {
        topic: [(row.key, row.value) for batch in batches for row in read_records(sealed(batch))]
        for topic, batches in verdict.deliveries.items()
    }
    return rows, verdict.records, verdict.entries, verdict.quarantined, verdict.next_offset, verdict.unknown_schema_ids


def assert_same(plan: Plan, chunks: Sequence[Chunk], position: int = 100) -> Verdict:
    """Hold the native kernel against the reference."""
    found = run("native", plan, chunks, position)
    assert shown(found) == shown(run("reference", plan, chunks, position))
    return found


def in_batches(records: Sequence[Record], size: int, *, codec: int = 0) -> list[bytes]:
    """Return batches of ``size`` records from offset 100 on."""
    found = []
    for at in range(0, len(records), size):
        (built,) = build_batches(records[at : at + size], bytes_max=100_000_000, timestamp_ms=NOW, codec=codec)
        found.append(struct.pack(">q", 100 + at) + built.data[8:])
    return found


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 3, 64, 65, 1_000])
def test_blocks_run_across_batches_of_every_codec(size: int, codec: int) -> None:
    """A block of 64 records has no border in common with a batch; what was decompressed must outlive its batch."""
    plan = plan_of(
        terms("a", "plate", Grant("owner_id", "pseudonym"), "seats", key="keep"),
        terms("b", Grant("model", "mask", keep_first=1), rows=Condition("seats", "gt", 40), key="pseudonym"),
    )
    keys = itertools.cycle([b"key", None, "浙A12345".encode(), b"\xff"])
    owners = itertools.cycle(["11010519491231002X", "nobody", None])
    records: list[Record] = [(next(keys), vehicle(seats=number % 80, owner_id=next(owners))) for number in range(300)]
    for place in range(0, 300, 7):
        records[place] = (records[place][0], (None, b"poison", frame_header(99) + b"\x00")[place % 3])

    verdict = assert_same(plan, [chunk_of(*in_batches(records, size, codec=codec), first_offset=100, next_offset=400)])

    assert verdict.records == 300


def test_a_writer_schema_that_changes_with_every_record() -> None:
    """Each change ends a block; order holds all the same."""
    wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "added", "type": "string"}]}
    plan = plan_of(terms("a", "plate"), terms("b", "model", rows=Condition("taxed", "eq", value=True)), schemas={7: VEHICLE, 8: wider})
    records: list[Record] = [
        (None, vehicle(model=str(number)) if number % 2 else framed({**ROW_OF_WIDER, "model": str(number)}, wider, writer=8))
        for number in range(200)
    ]

    assert_same(plan, [chunk_of(batch_at(100, records), first_offset=100, next_offset=300)])


ROW_OF_WIDER = {
    "plate": "浙A12345",
    "model": None,
    "class": "bus",
    "owner_id": None,
    "phone": None,
    "region": "330106",
    "seats": None,
    "weight": 0.0,
    "first_registered": 0,
    "taxed": False,
    "added": "x",
}


def test_more_conditions_on_one_field_than_a_word_has_bits() -> None:
    """Seventy agreements, each with conditions of its own: only speed may differ."""
    agreements = [
        terms(
            f"a{number:02}",
            "seats",
            rows=words.Any(
                (
                    All((Condition("seats", "gteq", number), Condition("model", "isAnyOf", (f"m{number}", "m1")))),
                    Not(Condition("region", "startsWith", f"33{number:02}")),
                )
            ),
            consumer=f"office-{number}",
        )
        for number in range(70)
    ]
    records: list[Record] = [
        (None, vehicle(seats=number % 90 if number % 5 else None, model=f"m{number % 71}", region=f"33{number % 99:02}00"))
        for number in range(150)
    ]

    assert_same(plan_of(*agreements), [chunk_of(batch_at(100, records), first_offset=100, next_offset=250)])


def test_what_is_too_large_is_refused_behind_every_other_reason() -> None:
    """The reference makes the whole record before it looks at its size."""
    kinds = schema_of({"type": "array", "items": "int"}, "double", {"type": "array", "items": "double"})
    large = Grant("f0[]", "constant", parameters=Constant(value="x" * 1_000, avro_type="string"))
    width = Grant("f1", "bucket", parameters=Bucket(width=1))
    widths = Grant("f2[]", "bucket", parameters=Bucket(width=1))
    plan = plan_of(terms("a", large), terms("b", large, width), terms("c", large, widths), schemas={7: kinds}, record_bytes_max=100_000)
    nan = float("nan")
    records: list[Record] = [
        (None, framed({"f0": [1] * items, "f1": number, "f2": [1.0] * items + [number]}, kinds))
        for items, number in ((1, 1.0), (2_000, 1.0), (2_000, nan), (1, nan))
    ]

    verdict = assert_same(plan, [chunk_of(batch_at(100, records), first_offset=100, next_offset=104)])

    assert [(row.first_offset, row.agreement_id, row.code) for row in verdict.quarantined] == [
        (101, "a", Reject.OUTPUT_TOO_LARGE),
        (101, "b", Reject.OUTPUT_TOO_LARGE),
        (101, "c", Reject.OUTPUT_TOO_LARGE),
        (102, "a", Reject.OUTPUT_TOO_LARGE),
        (102, "b", Reject.TRANSFORM_FAILED),
        (102, "c", Reject.TRANSFORM_FAILED),
        (103, "b", Reject.TRANSFORM_FAILED),
        (103, "c", Reject.TRANSFORM_FAILED),
    ]


def test_a_small_record_that_would_become_gigabytes_does_not() -> None:
    """A constant for each of 65,536 items, for each of twenty agreements: made to the limit and no further."""
    kinds = schema_of({"type": "array", "items": "boolean"})
    agreements = [
        terms(
            f"a{number:02}",
            Grant("f0[]", "constant", parameters=Constant(value=f"{number:02}" + "浙" * 998, avro_type="string")),
            consumer=f"office-{number}",
        )
        for number in range(20)
    ]
    plan = plan_of(*agreements, schemas={7: kinds})
    records: list[Record] = [(None, framed({"f0": [True] * 65_536}, kinds)) for _ in range(8)]

    verdict = run("native", plan, [chunk_of(batch_at(100, records), first_offset=100, next_offset=108)])

    assert {row.code for row in verdict.quarantined} == {Reject.OUTPUT_TOO_LARGE}
    assert len(verdict.quarantined) == 160


@pytest.mark.parametrize("view", [memoryview, bytes, bytearray], ids=lambda view: view.__name__)
def test_a_chunk_may_be_any_buffer(view: type) -> None:
    """The transport hands slices of a fetch answer on without copying them."""
    plan = plan_of(terms("a", "plate"))
    data = batch_at(100, [(b"k", vehicle())] * 3)
    chunk = Chunk(partition=source_at(0).partition, data=view(data), first_offset=100, next_offset=103, gaps=0)

    assert run("native", plan, [chunk]).entries[0].delivered == 3


def test_a_step_without_chunks_decides_nothing() -> None:
    """Its end is its beginning."""
    plan = plan_of(terms("a", "plate"))

    assert_same(plan, [])


@pytest.mark.parametrize("limit", ["step_plain_bytes_max", "step_output_bytes_max", "step_quarantined_max", "step_quarantined_bytes_max"])
def test_a_limit_ends_a_step_a_little_behind_it(limit: str) -> None:
    """A block is decided whole, and is small where a limit is; the next step goes on at the record that was left."""
    plan = plan_of(terms("a", "plate"), terms("b", Grant("owner_id", "pseudonym")), **{limit: 64})
    records: list[Record] = [(b"k", vehicle(owner_id="nobody" if number % 3 else None)) for number in range(500)]
    chunk = chunk_of(*in_batches(records, 90), first_offset=100, next_offset=600)
    position, steps, decided = 100, 0, 0

    while position < 600:
        verdict = run("native", plan, [chunk], position)
        assert verdict.next_offset > position
        assert len(verdict.quarantined) <= 64 + 128
        position, steps, decided = verdict.next_offset, steps + 1, decided + verdict.records

    assert (decided, steps > 5) == (500, True)


def test_a_record_that_is_kept_is_held_once_however_many_agreements_it_failed_for() -> None:
    """Rows of one record share its bytes."""
    plan = plan_of(*(terms(f"a{number}", Grant("owner_id", "pseudonym")) for number in range(5)))

    verdict = run("native", plan, [chunk_of(batch_at(100, [(b"k", vehicle(owner_id="nobody"))]), first_offset=100, next_offset=101)])

    assert len({id(row.value) for row in verdict.quarantined}) == 1
    assert len(verdict.quarantined) == 5


@pytest.mark.parametrize("spec", ["", "{}", "null", '{"limits": 1}', '{"SECRET": "SECRET"}'])
def test_a_program_that_is_none_is_refused_without_a_word_of_it(spec: str) -> None:
    """Programs hold operands of agreements."""
    from hub.exchange._native import Program  # noqa: PLC0415 - it is there only where the crate was built

    with pytest.raises(ValueError, match="program is no JSON") as refused:
        Program(spec, [])

    assert "SECRET" not in str(refused.value)


def test_keys_stand_beside_the_program_and_are_never_shown() -> None:
    """The program may be logged; keys may not."""
    from hub.exchange.native.lowering import lower  # noqa: PLC0415 - it is there only where the crate was built

    plan = plan_of(terms("a", Grant("plate", "pseudonym"), key="pseudonym"), terms("b", Grant("plate", "pseudonym")))
    lowered = lower(plan)

    assert len(lowered.keys) == 1
    for key in lowered.keys:
        assert key.hex() not in lowered.program
        assert repr(key) not in repr(lowered)


def test_the_reference_is_not_asked() -> None:
    """The table and the properties would pass if the native kernel were the reference under another name."""
    assert KERNELS["native"] is not reference.run
