"""Encode: one value as Avro writes it, compiled once per type. Only for what a transform makes; what is kept is copied."""

import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hub.model.field_types import FieldType

Encode: TypeAlias = Callable[[Any], bytes]


def varint(number: int) -> bytes:
    """Return a zigzag varint in its shortest form."""
    raw = (number << 1) ^ (number >> 63)
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def compile_encoder(kind: FieldType) -> Encode:
    """Return the function that writes values of ``kind`` that are not null, the union around them left out."""
    if kind.logical == "decimal":
        return _fixed_decimal(kind.size) if kind.base == "fixed" else _decimal
    return _ENCODERS[kind.base]


def _decimal(units: int) -> bytes:
    """Return the shortest two's complement."""
    size = (units if units >= 0 else ~units).bit_length() // 8 + 1
    return varint(size) + units.to_bytes(size, "big", signed=True)


def _fixed_decimal(size: int) -> Encode:
    return lambda units: units.to_bytes(size, "big", signed=True)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return varint(len(encoded)) + encoded


_ENCODERS: Final[dict[str, Encode]] = {
    "boolean": lambda value: b"\x01" if value else b"\x00",
    "int": varint,
    "long": varint,
    "float": struct.Struct("<f").pack,
    "double": struct.Struct("<d").pack,
    "string": _text,
}
