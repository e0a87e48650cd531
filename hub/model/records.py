"""The hub's own records on the wire: Avro in Confluent framing, by the released schemas of ``avro_schemas/hub``.

Their schema ids stand in the schema files (``cityhub.schema_id``), so no registry is needed to read them.
"""

import io
import json
import uuid
from functools import cache
from importlib.resources import files
from typing import Any, Final

import fastavro
import msgspec

from hub.model.framing import HEADER_BYTES, frame_header, schema_id_of
from hub.model.reasons import Fault
from hub.model.usage import UsageEntry, UsageStep

QUARANTINED_VALUE_BYTES_MAX: Final = 64 * 1024


class PlanEntry(msgspec.Struct, frozen=True):
    """One record of ``hub.plan``; see ``hub.model.entry`` for bodies and signing bytes."""

    kind: str
    object_id: str
    revision: int
    scope: str
    body: str
    key_id: str
    signature: bytes


class Quarantined(msgspec.Struct, frozen=True):
    """One record of ``quarantine.<org>.<dataset>``."""

    source_topic: str
    source_topic_id: uuid.UUID
    source_partition: int
    first_offset: int
    next_offset: int
    code: str
    fault: Fault
    agreement_id: str | None = None
    key: bytes | None = None
    value: bytes | None = None
    value_sha256: bytes | None = None
    value_length: int | None = None


@cache
def hub_schema(record: str, version: int = 1) -> tuple[int, Any]:
    """Return (schema id, parsed Avro schema) of a hub record such as ``usage-step``."""
    text = files("avro_schemas").joinpath(f"hub/{record}/v{version}.avsc").read_text(encoding="utf-8")
    raw = json.loads(text)
    return int(raw["cityhub.schema_id"]), fastavro.parse_schema(raw)


def _encode(record: str, value: dict[str, Any]) -> bytes:
    schema_id, schema = hub_schema(record)
    out = io.BytesIO()
    out.write(frame_header(schema_id))
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def _decode(record: str, framed: bytes) -> dict[str, Any]:
    schema_id, schema = hub_schema(record)
    if schema_id_of(framed) != schema_id:
        message = f"not a framed {record} record"
        raise ValueError(message)
    source = io.BytesIO(framed)
    source.seek(HEADER_BYTES)
    value = fastavro.schemaless_reader(source, schema, None)
    if source.tell() != len(framed) or not isinstance(value, dict):
        message = f"trailing bytes after a {record} record"
        raise ValueError(message)
    return value


def encode_usage_step(step: UsageStep) -> bytes:
    """Return the framed value of ``step``."""
    row = {field: getattr(step, field) for field in step.__struct_fields__ if field not in {"entries", "pass_id"}}
    row["pass"] = step.pass_id
    row["entries"] = [msgspec.structs.asdict(entry) for entry in step.entries]
    return _encode("usage-step", row)


def decode_usage_step(framed: bytes) -> UsageStep:
    """Read a framed usage step; ValueError when it is none."""
    row = _decode("usage-step", framed)
    entries = tuple(UsageEntry(**entry) for entry in row.pop("entries"))
    topic_id = row.pop("source_topic_id")
    return UsageStep(
        pass_id=row.pop("pass"),
        entries=entries,
        source_topic_id=topic_id if isinstance(topic_id, uuid.UUID) else uuid.UUID(topic_id),
        **row,
    )


def encode_plan_entry(entry: PlanEntry) -> bytes:
    """Return the framed value of ``entry``."""
    return _encode("plan-entry", msgspec.structs.asdict(entry))


def decode_plan_entry(framed: bytes) -> PlanEntry:
    """Read a framed plan entry; ValueError when it is none."""
    return PlanEntry(**_decode("plan-entry", framed))


def encode_quarantined(record: Quarantined) -> bytes:
    """Return the framed value of ``record``."""
    return _encode("quarantined", msgspec.structs.asdict(record))


def decode_quarantined(framed: bytes) -> Quarantined:
    """Read a framed quarantined record; ValueError when it is none."""
    row = _decode("quarantined", framed)
    row["fault"] = Fault(row["fault"])
    if not isinstance(row["source_topic_id"], uuid.UUID):
        row["source_topic_id"] = uuid.UUID(row["source_topic_id"])
    return Quarantined(**row)
