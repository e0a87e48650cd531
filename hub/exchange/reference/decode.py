"""Decode: a strict reader of Avro bodies, compiled to closures once per writer schema.

One byte sequence per record is accepted and no other: varints in their shortest form and within the range of their type,
booleans 0 or 1, union and enum indexes in range, UTF-8 strict, the body ends where the last field does. Lengths are held
against the rest of the body before anything is allocated, so a body that claims a billion bytes costs nothing.
Logical types are not looked into, but for a decimal's length. Source: Apache Avro 1.12 specification, binary encoding.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from hub.model.framing import HEADER_BYTES
from hub.model.reasons import Reject
from hub.model.source_schema import DECIMAL_BYTES_MAX, FieldType, SourceSchema

Append: TypeAlias = Callable[[Any], None]
Read: TypeAlias = Callable[[bytes, int, Append], int]
"""Reads a value at a position, appends it, returns the position behind it. IndexError where the body ends inside it."""


class Rejected(Exception):  # noqa: N818 (a refusal, and no bug of the program)
    """A record cannot be read or transformed; carries the code and never a value."""

    def __init__(self, code: Reject) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


class Decoded(NamedTuple):
    """One record: raw values by field, and where each field's bytes stand."""

    values: list[Any]
    """In the schema's order: null None, enums their symbol, decimals their unscaled integer, dates and times Avro's integer."""
    ends: list[int]
    """Field i stands in bytes ``ends[i]`` to ``ends[i + 1]`` of the framed value."""


Decode: TypeAlias = Callable[[bytes], Decoded]


def compile_decoder(schema: SourceSchema) -> Decode:
    """Return a function that reads a framed value of ``schema`` or raises Rejected, whatever the bytes are."""
    readers = tuple(_reader(field.type) for field in schema.fields)

    def decode(value: bytes) -> Decoded:
        values: list[Any] = []
        position = HEADER_BYTES
        ends = [position]
        append, mark = values.append, ends.append
        try:
            for read in readers:
                position = read(value, position, append)
                mark(position)
        except IndexError:
            raise Rejected(Reject.TRUNCATED) from None
        except UnicodeDecodeError:
            raise Rejected(Reject.VALUE_INVALID) from None
        if position != len(value):
            raise Rejected(Reject.TRAILING)
        return Decoded(values, ends)

    return decode


def _reader(kind: FieldType) -> Read:
    inner = _fixed(kind) if kind.base == "fixed" else _enum(kind.symbols) if kind.base == "enum" else _PRIMITIVES[kind.base]
    if kind.logical == "decimal":
        inner = _decimal(inner)
    return inner if kind.null_branch is None else _nullable(inner, null=2 * kind.null_branch)


def _nullable(inner: Read, *, null: int) -> Read:
    other = 2 - null

    def read(data: bytes, position: int, append: Append) -> int:
        branch = data[position]
        if branch == other:
            return inner(data, position + 1, append)
        if branch != null:
            raise Rejected(Reject.VALUE_INVALID)
        append(None)
        return position + 1

    return read


def _null(_data: bytes, position: int, append: Append) -> int:
    append(None)
    return position


def _boolean(data: bytes, position: int, append: Append) -> int:
    byte = data[position]
    if byte > 1:
        raise Rejected(Reject.VALUE_INVALID)
    append(byte == 1)
    return position + 1


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a zigzag varint of at most 64 bits, in its shortest form, and the position behind it."""
    raw = shift = 0
    while True:
        byte = data[position]
        position += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift == _VARINT_BITS:
            raise Rejected(Reject.VALUE_INVALID)
    if raw > _UNSIGNED_MAX or (byte == 0 and shift):
        raise Rejected(Reject.VALUE_INVALID)
    return (raw >> 1) ^ -(raw & 1), position


_VARINT_BITS: Final = 70
_UNSIGNED_MAX: Final = 2**64 - 1
_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1


def _long(data: bytes, position: int, append: Append) -> int:
    byte = data[position]
    if byte < 0x80:
        append((byte >> 1) ^ -(byte & 1))
        return position + 1
    number, position = _varint(data, position)
    append(number)
    return position


def _int(data: bytes, position: int, append: Append) -> int:
    byte = data[position]
    if byte < 0x80:
        append((byte >> 1) ^ -(byte & 1))
        return position + 1
    number, position = _varint(data, position)
    if not _INT_MIN <= number <= _INT_MAX:
        raise Rejected(Reject.VALUE_INVALID)
    append(number)
    return position


def _floating(pattern: str) -> Read:
    unpack, size = struct.Struct(pattern).unpack_from, struct.calcsize(pattern)

    def read(data: bytes, position: int, append: Append) -> int:
        end = position + size
        if end > len(data):
            raise Rejected(Reject.TRUNCATED)
        append(unpack(data, position)[0])
        return end

    return read


def _extent(data: bytes, position: int) -> tuple[int, int]:
    """Return where the bytes behind a length begin and end; the end is never behind the body's."""
    byte = data[position]
    if byte < 0x80:
        length, begin = (byte >> 1) ^ -(byte & 1), position + 1
    else:
        length, begin = _varint(data, position)
    if length < 0:
        raise Rejected(Reject.VALUE_INVALID)
    end = begin + length
    if end > len(data):
        raise Rejected(Reject.TRUNCATED)
    return begin, end


def _bytes(data: bytes, position: int, append: Append) -> int:
    begin, end = _extent(data, position)
    append(data[begin:end])
    return end


def _string(data: bytes, position: int, append: Append) -> int:
    begin, end = _extent(data, position)
    append(data[begin:end].decode())
    return end


def _fixed(kind: FieldType) -> Read:
    size = kind.size

    def read(data: bytes, position: int, append: Append) -> int:
        end = position + size
        if end > len(data):
            raise Rejected(Reject.TRUNCATED)
        append(data[position:end])
        return end

    return read


def _enum(symbols: tuple[str, ...]) -> Read:
    count = len(symbols)

    def read(data: bytes, position: int, append: Append) -> int:
        index, position = _varint(data, position)
        if not 0 <= index < count:
            raise Rejected(Reject.VALUE_INVALID)
        append(symbols[index])
        return position

    return read


def _decimal(inner: Read) -> Read:
    """Read bytes or fixed as the unscaled integer; bounded, since readers downstream turn it into text in quadratic time."""

    def read(data: bytes, position: int, append: Append) -> int:
        held: list[bytes] = []
        end = inner(data, position, held.append)
        if not held[0]:
            raise Rejected(Reject.VALUE_INVALID)
        if len(held[0]) > DECIMAL_BYTES_MAX:
            raise Rejected(Reject.LIMIT)
        append(int.from_bytes(held[0], "big", signed=True))
        return end

    return read


_PRIMITIVES: Final[dict[str, Read]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _floating("<f"),
    "double": _floating("<d"),
    "bytes": _bytes,
    "string": _string,
}
