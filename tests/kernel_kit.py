"""Plans, records and chunks for tests of the kernel. Records are written by fastavro, which is not the hub's decoder."""

import io
import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

from hub.broker.batches import build_batches, read_records, stamp
from hub.exchange import kernel
from hub.exchange.plan import Limits, Plan, compile_plan
from hub.exchange.verdict import Batch, Chunk, Moment, Source, Verdict
from hub.model.agreement import Agreement, Grant, Rule
from hub.model.entry import AgreementBody, DatasetBody
from hub.model.framing import frame_header
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.output_schema import output_schema

MASTER = bytes(range(32))
SCOPE = "330100"
NOW = 1_800_000_000_000
LANE = TopicPartition("dept.vehicle-registry.vehicles", 2)
TOPIC_ID = uuid.UUID("11111111-1111-4111-8111-111111111111")
WRITER = 7

VEHICLE: dict[str, Any] = {
    "type": "record",
    "name": "Vehicle",
    "namespace": "dept.vehicle_registry",
    "fields": [
        {"name": "plate", "type": "string", "identifier": "plate"},
        {"name": "model", "type": ["null", "string"], "default": None},
        {"name": "class", "type": {"type": "enum", "name": "Class", "symbols": ["passenger", "goods", "bus"]}},
        {"name": "owner_id", "type": ["string", "null"], "identifier": "resident-id"},
        {"name": "phone", "type": ["null", "string"], "default": None, "identifier": "phone"},
        {"name": "region", "type": "string"},
        {"name": "seats", "type": ["null", "int"], "default": None},
        {"name": "weight", "type": "double"},
        {"name": "first_registered", "type": {"type": "int", "logicalType": "date"}},
        {"name": "taxed", "type": "boolean"},
    ],
}
ROW: dict[str, Any] = {
    "plate": "浙A12345",
    "model": "Model 3",
    "class": "passenger",
    "owner_id": "11010519491231002X",
    "phone": "13800138000",
    "region": "330106",
    "seats": 5,
    "weight": 1500.5,
    "first_registered": 19_000,
    "taxed": True,
}


def schema_of(*types: Any) -> dict[str, Any]:
    """Return a record schema with fields f0, f1 … of the types."""
    return {"type": "record", "name": "R", "fields": [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]}


def terms(agreement_id: str = "parking", *fields: str | Grant, rows: Rule | None = None, **changes: Any) -> Agreement:
    """Return terms that grant the fields; text is a kept field."""
    values: dict[str, Any] = {
        "id": agreement_id,
        "provider": "vehicle-registry",
        "consumer": "parking-office",
        "dataset": "vehicle-registry/vehicles",
        "purpose": "enforcement",
        "legal_basis": "law",
        "valid_until_ms": NOW + 1,
        "tariff": "per-record@1",
        "payer": "parking-office",
        "fields": tuple(Grant(field) if isinstance(field, str) else field for field in fields),
        "rows": rows,
    }
    return Agreement(**(values | changes))


def plan_of(
    *agreements: Agreement,
    schemas: Mapping[int, Mapping[str, Any]] | None = None,
    states: Mapping[str, State] | None = None,
    key_identifier: str | None = "plate",
    without: Sequence[tuple[str, int]] = (),
    **limits: Any,
) -> Plan:
    """Compile a plan, or raise what refuses an agreement; ``without`` names (agreement, writer id) pairs that have no output schema."""
    writers = {WRITER: VEHICLE} if schemas is None else schemas
    texts = {writer: json.dumps(schema) for writer, schema in writers.items()}
    bodies = []
    for place, agreement in enumerate(agreements):
        outputs = {}
        for writer in writers:
            if (agreement.id, writer) in without:
                continue
            outputs[str(writer)] = 1000 + 100 * place + writer
            texts[outputs[str(writer)]] = output_schema(agreement, texts[writer], key_epoch=1)
        bodies.append(
            AgreementBody(
                state=(states or {}).get(agreement.id, State.ACTIVE),
                terms=agreement,
                share_topic=f"share.{agreement.consumer}.{agreement.id}",
                key_epoch=1,
                output_schema_ids=outputs,
                since_ms=0,
            )
        )
    plan = compile_plan(
        dataset=DatasetBody(
            dataset="vehicle-registry/vehicles",
            topic=LANE.topic,
            quarantine_topic="quarantine.vehicle-registry.vehicles",
            partitions=4,
            schema_ids=tuple(writers),
            key_identifier=key_identifier,
        ),
        agreements=bodies,
        schemas=texts,
        master_keys={1: MASTER},
        scope=SCOPE,
        plan_offset=11,
        limits=Limits(**limits),
    )
    for refusal in plan.refused.values():
        raise refusal
    return plan


def framed(row: Mapping[str, Any], schema: Mapping[str, Any] | None = None, *, writer: int = WRITER) -> bytes:
    """Return a framed value, written by fastavro."""
    out = io.BytesIO()
    out.write(frame_header(writer))
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(VEHICLE if schema is None else schema)), dict(row))
    return out.getvalue()


def vehicle(**changes: Any) -> bytes:
    """Return a framed vehicle."""
    return framed(ROW | changes)


def read_body(value: bytes, schema: str | Mapping[str, Any]) -> dict[str, Any]:
    """Read a framed value with fastavro; fails where bytes are left."""
    source = io.BytesIO(value[5:])
    parsed = fastavro.parse_schema(json.loads(schema) if isinstance(schema, str) else dict(schema))
    row = fastavro.schemaless_reader(source, parsed, None)
    assert source.read() == b""
    assert isinstance(row, dict)
    return row


def batch_at(base_offset: int, records: Sequence[tuple[bytes | None, bytes | None]]) -> bytes:
    """Return one record batch as a broker holds it; base offset and leader epoch lie outside its CRC."""
    (built,) = build_batches(records, bytes_max=100_000_000, timestamp_ms=NOW)
    return struct.pack(">q", base_offset) + built.data[8:]


def chunk_of(*batches: bytes, first_offset: int, next_offset: int, gaps: int = 0) -> Chunk:
    """Return a chunk of the lane under test."""
    return Chunk(partition=LANE, data=b"".join(batches), first_offset=first_offset, next_offset=next_offset, gaps=gaps)


def source_at(position: int) -> Source:
    """Return the lane under test at a position."""
    return Source(partition=LANE, topic_id=TOPIC_ID, position=position)


def decide(
    plan: Plan, *records: tuple[bytes | None, bytes | None], now_ms: int = NOW, undeliverable: frozenset[str] = frozenset()
) -> Verdict:
    """Run the kernel on one batch of records from offset 100 on."""
    chunk = chunk_of(batch_at(100, records), first_offset=100, next_offset=100 + len(records))
    return kernel.run(plan, [chunk], source_at(100), Moment(now_ms=now_ms, undeliverable=undeliverable))


def sealed(batch: Batch) -> bytes:
    """Return a batch with its CRC, which a native kernel leaves to the stamp."""
    if isinstance(batch.data, bytes):
        return batch.data
    return bytes(stamp(batch.data, producer_id=-1, epoch=-1, sequence=-1, transactional=False))


def delivered(verdict: Verdict, topic: str = "share.parking-office.parking") -> list[tuple[bytes | None, bytes | None]]:
    """Return key and value of every record that goes to a share topic, in order; headers must be empty."""
    found = []
    for batch in verdict.deliveries.get(topic, ()):
        rows = read_records(sealed(batch))
        assert len(rows) == batch.records
        assert not any(row.headers for row in rows)
        found += [(row.key, row.value) for row in rows]
    return found
