"""The words that rows of the table are written in: types, their values, grants and conditions, and bytes made by fastavro."""

import io
import math
import struct
from typing import Any

import fastavro

NULL = object()
ENUM = {"type": "enum", "name": "E", "symbols": ["red", "green", "blue"]}
FIXED = {"type": "fixed", "name": "F", "size": 4}
DATE = {"type": "int", "logicalType": "date"}
TIME_MS = {"type": "int", "logicalType": "time-millis"}
TIME_US = {"type": "long", "logicalType": "time-micros"}
STAMP_MS = {"type": "long", "logicalType": "timestamp-millis"}
STAMP_US = {"type": "long", "logicalType": "timestamp-micros"}
STAMP_NS = {"type": "long", "logicalType": "timestamp-nanos"}
LOCAL_MS = {"type": "long", "logicalType": "local-timestamp-millis"}
LOCAL_US = {"type": "long", "logicalType": "local-timestamp-micros"}
LOCAL_NS = {"type": "long", "logicalType": "local-timestamp-nanos"}
DURATION = {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}
FIXED_UUID = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
UUID = {"type": "string", "logicalType": "uuid"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
FIXED_MONEY = {"type": "fixed", "name": "M", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 2}
PERSON = {"type": "record", "name": "Person", "fields": [{"name": "name", "type": "string"}, {"name": "age", "type": ["null", "int"]}]}
NAME = {"type": "record", "name": "Person", "fields": [{"name": "name", "type": "string"}]}
INTS = {"type": "array", "items": "int"}
TEXTS = {"type": "array", "items": ["null", "string"]}
TAGS = {"type": "map", "values": "string"}
PEOPLE = {"type": "array", "items": PERSON}
NAMES = {"type": "array", "items": NAME}
MIXED = ["null", "int", "string", ENUM]
ID = "11111111-1111-4111-8111-111111111111"
NAN, INF = math.nan, math.inf
NAN_WITH_BITS = struct.unpack("<d", bytes.fromhex("efcdab8967f5ffff"))[0]


def encode(kind: Any, value: Any) -> str:
    """Return the bytes of a value as another library writes them."""
    if isinstance(kind, list) and value is NULL:
        value = None
    out = io.BytesIO()
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {"f": value})
    return out.getvalue().hex()


def money(units: int, size: int | None = None) -> bytes:
    """Return the two's complement of a decimal."""
    return units.to_bytes(size or (units if units >= 0 else ~units).bit_length() // 8 + 1, "big", signed=True)


def grant(transform: str = "keep", name: str = "f", **parameters: Any) -> dict[str, Any]:
    """Return a grant as a signed body has it."""
    if transform in {"truncate", "bucket", "prefix", "constant"}:
        return {"name": name, "transform": transform, "parameters": {"type": transform, **parameters}}
    return {"name": name, "transform": transform, **parameters}


def when(operator: str, value: Any, field: str = "f") -> dict[str, Any]:
    """Return a condition as a signed body has it."""
    return {"type": "condition", "field": field, "operator": operator, "value": value}


def every(operator: str, value: Any, field: str) -> dict[str, Any]:
    """Return a condition on every element."""
    return {"type": "every", "rule": when(operator, value, field)}


# Every type, a value of it, and what can be done with it.
ALIKE: list[tuple[Any, Any, str]] = [
    ("boolean", True, "boolean"),
    ("int", 1, "number"),
    ("long", 1, "number"),
    ("float", 1.5, "number"),
    ("double", 1.5, "number"),
    ("bytes", b"x", "other"),
    ("string", "x", "text"),
    (ENUM, "red", "enum"),
    (FIXED, b"abcd", "other"),
    (DATE, 1, "date"),
    (TIME_MS, 1, "clock"),
    (TIME_US, 1, "clock"),
    (STAMP_MS, 1, "stamp"),
    (STAMP_US, 1, "stamp"),
    (STAMP_NS, 1, "stamp"),
    (LOCAL_MS, 1, "stamp"),
    (LOCAL_US, 1, "stamp"),
    (LOCAL_NS, 1, "stamp"),
    (UUID, ID, "text"),
    (MONEY, money(1), "number"),
    (FIXED_MONEY, money(1, 4), "number"),
    (DURATION, bytes(12), "other"),
    (FIXED_UUID, bytes(16), "other"),
    (INTS, [1], "other"),
    (TAGS, {"a": "b"}, "other"),
]
UNITS = {
    "date": ("month", "quarter", "year"),
    "clock": ("second", "minute", "hour"),
    "stamp": ("second", "minute", "hour", "day", "month", "quarter", "year"),
}
