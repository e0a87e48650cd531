"""Entries of hub.plan: what their bodies say, and the bytes that are signed.

An entry is the state of one object at one revision. Bodies are canonical JSON (RFC 8785) of the structs below; unknown
members are refused, so that a worker never acts on a body that it understands in part. A body that asks more of its reader than
``LEVEL`` says so by its ``level``; a body of level 1 carries none. What a reader that does not understand a body may still take
from it is its ``Head``: the level, and the datasets that must stop until a newer entry of the same object can be read.
"""

import json
import struct
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
import rfc8785

from hub.model.agreement import Agreement
from hub.model.lifecycle import State
from hub.model.records import PlanEntry

LEVEL: Final = 1
"""The newest level of bodies that this hub reads. It grows with every member, kind or meaning that a reader must know."""
_UNSAID: Final = 1
Level: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class Kind(StrEnum):
    """What an entry is about."""

    KEYS = "keys"
    SCHEMA = "schema"
    DATASET = "dataset"
    AGREEMENT = "agreement"


class KeysBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The check value of one master key, so that a worker with another key takes no lane."""

    key_epoch: int
    check_value: str
    """Hex of the key's check value, see ``hub.model.pseudonym``."""
    level: Level = _UNSAID


class SchemaBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One registered schema: a department's, or the output schema of an agreement."""

    schema_id: int
    schema: str
    """Avro schema, JSON text as registered."""
    level: Level = _UNSAID


class DatasetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published dataset: its topic, and the writer schema ids that its records may carry."""

    dataset: str
    topic: str
    quarantine_topic: str
    partitions: int
    schema_ids: tuple[int, ...]
    key_identifier: str | None = None
    level: Level = _UNSAID


class AgreementBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agreement's state and terms, compiled as far as the registry can: output schema ids by writer schema id."""

    state: State
    terms: Agreement
    share_topic: str
    key_epoch: int
    output_schema_ids: dict[str, int]
    """Writer schema id (decimal text, JSON has no other keys) to output schema id."""
    since_ms: int
    """When the state was entered, UTC milliseconds."""
    level: Level = _UNSAID


class Head(NamedTuple):
    """What can be told of a body whatever else stands in it."""

    level: int | None
    """None where none can be read: the body is no JSON object, or its level is no positive number."""
    datasets: frozenset[str]
    """Datasets that the body names; empty where it names none."""


Body: TypeAlias = KeysBody | SchemaBody | DatasetBody | AgreementBody

_BODY_OF: dict[Kind, type[Any]] = {
    Kind.KEYS: KeysBody,
    Kind.SCHEMA: SchemaBody,
    Kind.DATASET: DatasetBody,
    Kind.AGREEMENT: AgreementBody,
}


def plan_key(kind: Kind, object_id: str) -> bytes:
    """Return the record key in hub.plan, such as ``agreement/parking-vehicles``."""
    return f"{kind}/{object_id}".encode()


def encode_body(body: Body) -> str:
    """Return the canonical JSON of ``body``."""
    members = msgspec.to_builtins(body)
    if body.level == _UNSAID:
        del members["level"]  # as hubs wrote it that knew no levels, so that their workers read it
    return rfc8785.dumps(members).decode()


def decode_body(kind: Kind, text: str) -> Body:
    """Read a body; msgspec.ValidationError (a ValueError) when it is not one of ``kind``."""
    body: Body = msgspec.json.decode(text, type=_BODY_OF[kind])
    return body


def read_head(text: str) -> Head:
    """Return the head of a body, as much of it as can be read. Never raises."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        return Head(None, frozenset())
    level = members.get("level", _UNSAID)
    terms = members.get("terms")
    named = (members.get("dataset"), terms.get("dataset") if isinstance(terms, dict) else None)
    sound = isinstance(level, int) and not isinstance(level, bool) and level >= 1
    return Head(level if sound else None, frozenset(name for name in named if isinstance(name, str)))


def signing_bytes(entry: PlanEntry) -> bytes:
    """Return what the signature of ``entry`` covers: every field before it, length-prefixed, revision as 8 bytes."""
    out = bytearray()
    for part in (
        entry.kind.encode(),
        entry.object_id.encode(),
        struct.pack(">q", entry.revision),
        entry.scope.encode(),
        entry.body.encode(),
        entry.key_id.encode(),
    ):
        out += struct.pack(">I", len(part)) + part
    return bytes(out)
