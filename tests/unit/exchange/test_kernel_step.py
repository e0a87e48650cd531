"""One step: every record gets exactly one disposition for every agreement, and a bad one costs itself only."""

import gc
import hashlib
import importlib
import struct
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from kernel_kit import (
    LANE,
    NOW,
    ROW,
    TOPIC_ID,
    VEHICLE,
    WRITER,
    batch_at,
    chunk_of,
    decide,
    delivered,
    framed,
    plan_of,
    read_body,
    schema_of,
    sealed,
    source_at,
    terms,
    vehicle,
)

from hub.broker.batches import build_batches, headers, read_records
from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.exchange.reference.program import program_of
from hub.exchange.verdict import Batch, Moment, Verdict
from hub.model.agreement import Condition, Grant, Not, Rule
from hub.model.framing import frame_header
from hub.model.lifecycle import State
from hub.model.output_schema import output_schema
from hub.model.reasons import FAULT_OF, DeniedBy, Fault, Reject
from hub.model.records import QUARANTINED_VALUE_BYTES_MAX, decode_quarantined, encode_quarantined
from hub.model.usage import UsageEntry

pytestmark = pytest.mark.usefixtures("each_kernel")
KEY = b"key"
PLATES = ("浙A00001", "浙A00002", "浙A00003", "浙A00004")
PLATE_SCHEMA = output_schema(terms("parking", "plate"), VEHICLE, key_epoch=1)
BILLION = b"\x80\xa8\xd6\xb9\x07"


def plates(verdict: Verdict) -> list[str]:
    """Return the plates delivered to the agreement under test, in order."""
    return [read_body(value, PLATE_SCHEMA)["plate"] for _, value in delivered(verdict) if value is not None]


def counts(entry: UsageEntry) -> dict[str, Any]:
    """Return the counts that are not zero, without bytes."""
    names = ("delivered", "filtered", "denied", "denied_by", "suppressed", "quarantined")
    return {name: getattr(entry, name) for name in names if getattr(entry, name)}


@pytest.fixture
def plan() -> Plan:
    """One agreement that may see every plate."""
    return plan_of(terms("parking", "plate"))


def test_without_an_agreement_nothing_is_delivered_and_every_record_is_counted() -> None:
    """Law 1."""
    verdict = decide(plan_of(), (KEY, vehicle()), (None, None))

    assert verdict.records == 2
    assert (verdict.entries, verdict.deliveries, verdict.quarantined) == ((), {}, ())


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        (b"", Reject.FRAMING),
        (b"\x00\x00\x00", Reject.FRAMING),
        (b"\x01" + vehicle()[1:], Reject.FRAMING),
        (b'{"plate": 1}', Reject.FRAMING),
        (frame_header(99) + b"\x00", Reject.SCHEMA_UNKNOWN),
        (frame_header(2_000_000_001) + b"\x00", Reject.SCHEMA_UNKNOWN),
        (frame_header(1007) + vehicle()[5:], Reject.SCHEMA_UNKNOWN),
        (frame_header(WRITER), Reject.TRUNCATED),
        (vehicle()[:-1], Reject.TRUNCATED),
        (vehicle() + b"\x00", Reject.TRAILING),
        (frame_header(WRITER) + BILLION + b"x", Reject.TRUNCATED),
        (frame_header(WRITER) + b"\x02\xff" + vehicle()[5:], Reject.VALUE_INVALID),
        (frame_header(WRITER) + b"\x80" * 100_000, Reject.VALUE_INVALID),
    ],
)
def test_a_poison_record_is_quarantined_and_its_neighbours_are_delivered(plan: Plan, poison: bytes, code: Reject) -> None:
    """Law 9: it costs itself only, and no time."""
    began = time.perf_counter()

    verdict = decide(plan, (KEY, vehicle(plate=PLATES[0])), (KEY, poison), (KEY, vehicle(plate=PLATES[1])))

    assert time.perf_counter() - began < 1
    assert plates(verdict) == [PLATES[0], PLATES[1]]
    assert counts(verdict.entries[0]) == {"delivered": 2, "quarantined": 1}
    (record,) = verdict.quarantined
    assert (record.code, record.fault, record.agreement_id) == (code, FAULT_OF[code], None)
    assert (record.first_offset, record.next_offset, record.key) == (101, 102, KEY)
    assert (record.source_topic, record.source_partition, record.source_topic_id) == (LANE.topic, LANE.partition, TOPIC_ID)
    assert decode_quarantined(encode_quarantined(record)) == record


def test_a_bad_record_is_quarantined_once_for_all_and_denied_where_a_right_is_missing() -> None:
    """Quarantined for each agreement that had a right at that moment, denied for the others."""
    plan = plan_of(
        terms("a", "plate"),
        terms("b", "plate", rows=Condition("region", "eq", "x")),
        terms("c", "plate"),
        terms("d", "plate", valid_until_ms=NOW),
        terms("e", "plate"),
        states={"c": State.SUSPENDED},
    )

    verdict = decide(plan, (KEY, b"poison"), (KEY, vehicle()), undeliverable=frozenset({"e"}))

    assert {entry.agreement_id: counts(entry) for entry in verdict.entries} == {
        "a": {"delivered": 1, "quarantined": 1},
        "b": {"filtered": 1, "quarantined": 1},
        "c": {"denied": 2, "denied_by": DeniedBy.STATE},
        "d": {"denied": 2, "denied_by": DeniedBy.TERM},
        "e": {"denied": 2, "denied_by": DeniedBy.UNDELIVERABLE},
    }
    assert len(verdict.quarantined) == 1


def test_a_bad_record_is_quarantined_even_where_nobody_has_an_agreement() -> None:
    """The publisher learns of it all the same."""
    assert [record.code for record in decide(plan_of(), (KEY, b"poison")).quarantined] == [Reject.FRAMING]


def test_unknown_schema_ids_are_named_so_that_the_lane_can_read_on(plan: Plan) -> None:
    """Schemas travel in hub.plan: the lane reads it to its end and decides again."""
    verdict = decide(plan, (KEY, frame_header(8) + b"x"), (KEY, frame_header(9) + b"x"), (KEY, b"poison"), (KEY, vehicle()))

    assert verdict.unknown_schema_ids == {8, 9}


def test_records_under_a_schema_without_output_schema_are_quarantined_for_that_agreement_by_the_hubs_fault() -> None:
    """The control plane appends both together, so this is no fault of the publisher."""
    renamed = {**VEHICLE, "fields": VEHICLE["fields"][1:]}
    plan = plan_of(terms("a", "plate"), terms("b", "region"), schemas={7: VEHICLE, 8: renamed}, without=[("a", 8)])
    value = framed(_row(renamed), renamed, writer=8)

    verdict = decide(plan, (KEY, value))

    assert {entry.agreement_id: counts(entry) for entry in verdict.entries} == {"a": {"quarantined": 1}, "b": {"delivered": 1}}
    assert [(record.agreement_id, record.code, record.fault) for record in verdict.quarantined] == [
        ("a", Reject.OUTPUT_SCHEMA_MISSING, Fault.HUB)
    ]


@pytest.mark.parametrize("rule", [Condition("seats", "eq", 5), Condition("seats", "neq", 5), Not(Condition("seats", "eq", 5))])
def test_a_record_of_which_the_rule_is_unknown_is_filtered(rule: Rule) -> None:
    """Deny is the default: a missing field opens nothing, neither plainly nor by ``not``."""
    verdict = decide(plan_of(terms("parking", "plate", rows=rule)), (KEY, vehicle(seats=None)))

    assert counts(verdict.entries[0]) == {"filtered": 1}


def test_records_keep_the_order_of_their_offsets() -> None:
    """Over batches and chunks, with others left out between."""
    plan = plan_of(terms("parking", "plate", rows=Condition("seats", "gt", 0)))
    values = [vehicle(plate=f"浙A{place:05}", seats=place % 3) for place in range(60)]
    batches = [batch_at(base, [(KEY, value) for value in values[base : base + 10]]) for base in range(0, 60, 10)]
    chunks = [
        chunk_of(*batches[:4], first_offset=0, next_offset=40),
        chunk_of(*batches[4:], first_offset=40, next_offset=60),
    ]

    verdict = kernel.run(plan, chunks, source_at(0), Moment(now_ms=NOW))

    assert plates(verdict) == [f"浙A{place:05}" for place in range(60) if place % 3]
    assert counts(verdict.entries[0]) == {"delivered": 40, "filtered": 20}


def test_offsets_below_the_position_are_skipped_also_inside_a_batch(plan: Plan) -> None:
    """A broker always sends whole batches."""
    batches = (batch_at(96, [(KEY, vehicle())] * 4), batch_at(100, [(KEY, vehicle(plate=plate)) for plate in PLATES]))

    verdict = kernel.run(plan, [chunk_of(*batches, first_offset=96, next_offset=104)], source_at(102), Moment(now_ms=NOW))

    assert plates(verdict) == list(PLATES[2:])
    assert verdict.records == 2


def test_offsets_below_what_was_asked_for_are_skipped(plan: Plan) -> None:
    """The first batch of a chunk may begin below it, and was counted with the chunk before."""
    batch = batch_at(100, [(KEY, vehicle(plate=plate)) for plate in PLATES])

    verdict = kernel.run(plan, [chunk_of(batch, first_offset=103, next_offset=104)], source_at(100), Moment(now_ms=NOW))

    assert plates(verdict) == [PLATES[3]]


def test_a_step_of_gaps_alone_decides_nothing(plan: Plan) -> None:
    """Markers of transactions, or what compaction left."""
    verdict = kernel.run(plan, [chunk_of(first_offset=5, next_offset=9, gaps=4)], source_at(5), Moment(now_ms=NOW))

    assert (verdict.records, counts(verdict.entries[0]), verdict.deliveries) == (0, {}, {})


def corrupt(batch: bytes) -> bytes:
    """Flip a byte of the last record, so that the CRC fails."""
    return batch[:-3] + bytes((batch[-3] ^ 0xFF,)) + batch[-2:]


@pytest.mark.parametrize(
    ("position", "claimed", "first", "counted"),
    [(100, 4, 100, 4), (100, 3, 100, 3), (100, -1, 100, 4), (100, 2_000_000_000, 100, 4), (102, 4, 102, 2), (102, 3, 102, 2)],
)
def test_a_corrupt_batch_is_quarantined_whole_and_counted_as_the_transport_counts_it(
    plan: Plan, position: int, claimed: int, first: int, counted: int
) -> None:
    """Its neighbours are delivered; a forged count cannot make the kernel count more than the offsets hold."""
    broken = corrupt(batch_at(100, [(KEY, vehicle())] * 4))
    broken = broken[:57] + claimed.to_bytes(4, "big", signed=True) + broken[61:]
    chunk = chunk_of(broken, batch_at(104, [(KEY, vehicle(plate=PLATES[0]))]), first_offset=100, next_offset=105)

    verdict = kernel.run(plan, [chunk], source_at(position), Moment(now_ms=NOW))

    assert plates(verdict) == [PLATES[0]]
    assert verdict.records == counted + 1
    assert counts(verdict.entries[0]) == {"delivered": 1, "quarantined": counted}
    (record,) = verdict.quarantined
    assert (record.code, record.first_offset, record.next_offset) == (Reject.BATCH_CORRUPT, first, 104)
    assert record.value == broken


def test_a_long_value_is_quarantined_as_its_hash_and_a_long_key_not_at_all(plan: Plan) -> None:
    """Else the quarantine topic could not take what the source topic took; at the bound, and one past it."""
    at_bound, past_it = b"x" * QUARANTINED_VALUE_BYTES_MAX, b"x" * (QUARANTINED_VALUE_BYTES_MAX + 1)

    short, long = decide(plan, (at_bound, at_bound), (past_it, past_it)).quarantined

    assert (short.key, short.value, short.value_sha256, short.value_length) == (at_bound, at_bound, None, None)
    assert (long.key, long.value) == (None, None)
    assert (long.value_sha256, long.value_length) == (hashlib.sha256(past_it).digest(), QUARANTINED_VALUE_BYTES_MAX + 1)


def test_an_output_record_over_the_limit_is_quarantined_for_its_agreement() -> None:
    """At the bound, and one past it; the other agreement, which is not granted the long field, gets its record."""
    size = len(vehicle(model="x" * 500))
    plan = plan_of(terms("a", *_names(VEHICLE), key="keep"), terms("b", "plate"), record_bytes_max=size + 3)

    at_bound = decide(plan, (b"abc", vehicle(model="x" * 500)))
    past_it = decide(plan, (b"abcd", vehicle(model="x" * 500)))

    assert [counts(entry) for entry in at_bound.entries] == [{"delivered": 1}, {"delivered": 1}]
    assert [counts(entry) for entry in past_it.entries] == [{"quarantined": 1}, {"delivered": 1}]
    assert [(record.agreement_id, record.code) for record in past_it.quarantined] == [("a", Reject.OUTPUT_TOO_LARGE)]


def test_output_batches_are_cut_at_record_borders() -> None:
    """Every record once, in order, and no batch over the bound; a record that alone is over it is quarantined."""
    plan = plan_of(terms("parking", "plate", "model"), batch_bytes_max=2_000)
    records = [(None, vehicle(plate=f"浙A{place:05}", model="x" * 300)) for place in range(20)]

    verdict = decide(plan, *records, (None, vehicle(model="x" * 2_000)))

    batches = verdict.deliveries["share.parking-office.parking"]
    assert len(batches) > 1
    assert all(len(batch.data) <= 2_000 for batch in batches)
    assert sum(batch.records for batch in batches) == verdict.entries[0].delivered == 20
    assert [record.code for record in verdict.quarantined] == [Reject.OUTPUT_TOO_LARGE]


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({}, [103]),
        ({"step_plain_bytes_max": 1}, [101, 102, 103]),
        ({"step_output_bytes_max": 1}, [101, 103]),
        ({"step_quarantined_max": 1}, [102, 103]),
        ({"step_quarantined_bytes_max": 1}, [102, 103]),
    ],
)
def test_at_a_limit_of_the_step_the_kernel_stops_at_a_record_and_says_where(limits: dict[str, int], steps: list[int]) -> None:
    """However small a producer compressed them, a step holds no more; the next one goes on there, inside the batch too."""
    plan = plan_of(terms("parking", "plate"), **limits)
    chunk = chunk_of(batch_at(100, [(None, vehicle()), (None, b"poison"), (None, vehicle())]), first_offset=100, next_offset=103)

    ends, records, position = [], 0, 100
    while position < 103:
        verdict = kernel.run(plan, [chunk], source_at(position), Moment(now_ms=NOW))
        assert verdict.entries[0].accounted == verdict.records
        records += verdict.records
        position = verdict.next_offset
        ends.append(position)

    assert ends == steps
    assert records == 3


def test_a_batch_that_cannot_be_read_moves_the_step_too() -> None:
    """Whatever the limits: a lane that stood still before poison would stand there for ever."""
    plan = plan_of(terms("parking", "plate"), step_plain_bytes_max=1, step_quarantined_max=1)
    rotten = bytearray(batch_at(100, [(None, vehicle())]))
    rotten[-1] ^= 1
    chunk = chunk_of(bytes(rotten), batch_at(101, [(None, vehicle())]), first_offset=100, next_offset=102)

    verdict = kernel.run(plan, [chunk], source_at(100), Moment(now_ms=NOW))

    assert (verdict.next_offset, len(verdict.quarantined)) == (101, 1)


@pytest.mark.parametrize(("wanted", "codec"), [("source", 1), ("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)])
def test_output_batches_are_compressed_as_the_plan_says(wanted: str, codec: int) -> None:
    """`source` follows the first batch of the step; one that would not shrink goes as it is."""
    plan = plan_of(terms("parking", "plate", "model"), output_codec=wanted)
    records = [(None, vehicle(model="x" * 300)) for _ in range(50)]
    (built,) = build_batches(records, bytes_max=900_000, timestamp_ms=NOW, codec=1)
    chunk = chunk_of(struct.pack(">q", 100) + built.data[8:], first_offset=100, next_offset=150)

    verdict = kernel.run(plan, [chunk], source_at(100), Moment(now_ms=NOW))

    (batch,) = verdict.deliveries["share.parking-office.parking"]
    ((_, _, header),) = headers(bytes(batch.data))
    assert header.codec == codec
    assert len(delivered(verdict)) == 50


def test_bytes_are_those_of_delivered_records_at_both_ends() -> None:
    """Uncompressed key and value, framing included; filtered records cost nothing."""
    plan = plan_of(terms("parking", "plate", rows=Condition("seats", "gt", 4)))

    verdict = decide(plan, (KEY, vehicle()), (KEY, vehicle(seats=1)), (KEY, vehicle()))

    (entry,) = verdict.entries
    out = delivered(verdict)
    assert entry.bytes_source == 2 * (len(KEY) + len(vehicle()))
    assert entry.bytes_delivered == sum(len(value) for _, value in out if value is not None)


def test_output_batches_are_ready_to_be_stamped(plan: Plan) -> None:
    """Base offset 0, no producer, and the step's moment in place of the source's timestamp."""
    (batch,) = decide(plan, (KEY, vehicle()), (KEY, vehicle())).deliveries["share.parking-office.parking"]

    assert [(row.offset, row.timestamp_ms) for row in read_records(sealed(batch))] == [(0, NOW), (1, NOW)]


def test_a_field_added_to_the_source_schema_is_absent_downstream() -> None:
    """Law 2: a department may add what it likes."""
    grown = {**VEHICLE, "fields": [{"name": "criminal_record", "type": "string", "default": ""}, *VEHICLE["fields"]]}
    plan = plan_of(terms("parking", "plate"), schemas={7: VEHICLE, 8: grown})
    secret = framed({**ROW, "criminal_record": "SECRET"}, grown, writer=8)

    verdict = decide(plan, (KEY, secret), (KEY, vehicle()))

    assert [len(value) for _, value in delivered(verdict) if value is not None] == [len(frame_header(0)) + 1 + len("浙A12345".encode())] * 2
    assert all(b"SECRET" not in bytes(batch.data) for batches in verdict.deliveries.values() for batch in batches)


def test_the_same_call_gives_the_same_verdict() -> None:
    """A kernel is pure; a replayed step must be byte for byte the same."""
    plan = plan_of(terms("a", Grant("owner_id", "pseudonym"), "plate", key="pseudonym"), terms("b", Grant("phone", "mask", keep_last=2)))
    records = [("浙A12345".encode(), vehicle()), (b"bad", vehicle(owner_id="bad")), (None, None), (KEY, b"poison")]

    one, other = decide(plan, *records), decide(plan, *records)

    assert _with_bytes(one) == _with_bytes(other)


def test_what_a_plan_compiles_to_dies_with_it(each_kernel: str) -> None:
    """Plans change for as long as a worker runs; pseudonym keys and remembered pseudonyms must not pile up."""
    plan = plan_of(terms("parking", Grant("plate", "pseudonym")))
    decide(plan, (KEY, vehicle()))
    is_held = _compiled(plan, each_kernel)
    assert is_held()

    del plan
    gc.collect()

    assert not is_held()


def _compiled(plan: Plan, each_kernel: str) -> Callable[[], bool]:
    """Return what tells whether somebody holds what the kernel of this name has compiled ``plan`` to."""
    if each_kernel == "reference":
        decode = weakref.ref(program_of(plan).writers[frame_header(WRITER)].decode)
        return lambda: decode() is not None
    program = importlib.import_module("hub.exchange.native")._PROGRAMS[plan]
    nobodys = object()
    # The native type knows no weak references: what nobody else holds is held as often as an object of this function's own.
    return lambda: sys.getrefcount(program) > sys.getrefcount(nobodys)


def test_the_kernel_says_its_name(each_kernel: str) -> None:
    """``doctor``, the demo and a metric show it."""
    assert kernel.name() == each_kernel


def _with_bytes(verdict: Verdict) -> Verdict:
    """Return a verdict whose batches can be compared."""
    batches = {topic: tuple(Batch(sealed(batch), batch.records) for batch in some) for topic, some in verdict.deliveries.items()}
    return msgspec.structs.replace(verdict, deliveries=batches)


def _names(schema: dict[str, Any]) -> list[str]:
    return [field["name"] for field in schema["fields"]]


def _row(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: ROW[name] for name in _names(schema)}


def test_rules_that_python_takes_for_equal_are_two_rules() -> None:
    """`eq: 1` and `eq: true` ask different branches of a union: sharing them would deliver one agreement's rows to another."""
    schema = schema_of(["boolean", "int"])
    number, flag = (terms(name, "f0", rows=Condition("f0", "eq", value)) for name, value in (("number", 1), ("flag", True)))

    verdict = decide(plan_of(number, flag, schemas={7: schema}), (None, framed({"f0": 1}, schema)), (None, framed({"f0": True}, schema)))

    shown = {topic.rpartition(".")[2]: [(value or b"")[5:] for _, value in delivered(verdict, topic)] for topic in verdict.deliveries}
    assert shown == {"flag": [b"\x00\x01"], "number": [b"\x02\x02"]}
