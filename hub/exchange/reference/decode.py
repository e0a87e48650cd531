"""Decode: a strict reader of Avro bodies, compiled to closures once per writer schema.

One byte sequence per record is accepted and no other: varints in their shortest form and within the range of their type,
booleans 0 or 1, union and enum indexes in range, UTF-8 strict, the body ends where the last field does. The exception are arrays
and maps, which Avro lets a writer cut into blocks as it likes; a block's size in bytes, where it is given, must be right, and a
map may hold a key once. Lengths and counts are held against the rest of the body before anything is allocated, so a body that
claims a billion bytes or items costs nothing; every block holds an item at least, and every item takes a byte.
Logical types are not looked into, but for a decimal's length. Source: Apache Avro 1.12 specification, binary encoding.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from hub.model.field_types import DECIMAL_BYTES_MAX, FieldType, SourceSchema
from hub.model.framing import HEADER_BYTES
from hub.model.reasons import Reject

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
    """In the schema's order: null None, enums their symbol, decimals their unscaled integer, dates and times Avro's integer,
    records and arrays lists, maps dicts, values of a general union (branch, value)."""
    ends: list[int]
    """Field i stands in bytes ``ends[i]`` to ``ends[i + 1]`` of the framed value."""


Decode: TypeAlias = Callable[[bytes], Decoded]

RECORD_BYTES_MAX: Final = 1_048_576
"""A longer value is refused: a compressed batch may hold records of any size, and each item of a list may be one byte of it."""
ITEMS_MAX: Final = 65_536
"""Items of one array, entries of one map."""


def compile_decoder(schema: SourceSchema) -> Decode:
    """Return a function that reads a framed value of ``schema`` or raises Rejected, whatever the bytes are."""
    readers = tuple(compile_reader(field.type) for field in schema.fields)

    def decode(value: bytes) -> Decoded:
        if len(value) > RECORD_BYTES_MAX:
            raise Rejected(Reject.LIMIT)
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


def compile_reader(kind: FieldType) -> Read:
    """Return a function that reads one value of ``kind``."""
    inner = _inner_reader(kind)
    if kind.logical == "decimal":
        inner = _decimal(inner)
    return inner if kind.null_branch is None or kind.base == "union" else _nullable(inner, null=2 * kind.null_branch)


def _inner_reader(kind: FieldType) -> Read:
    compiled = _COMPOUND.get(kind.base)
    return _PRIMITIVES[kind.base] if compiled is None else compiled(kind)


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


def _record(readers: tuple[Read, ...]) -> Read:
    def read(data: bytes, position: int, append: Append) -> int:
        values: list[Any] = []
        add = values.append
        for member in readers:
            position = member(data, position, add)
        append(values)
        return position

    return read


def _union(readers: tuple[Read, ...], *, null: int | None) -> Read:
    count = len(readers)

    def read(data: bytes, position: int, append: Append) -> int:
        branch, position = _varint(data, position)
        if not 0 <= branch < count:
            raise Rejected(Reject.VALUE_INVALID)
        if branch == null:
            append(None)
            return position
        held: list[Any] = []
        end = readers[branch](data, position, held.append)
        append((branch, held[0]))
        return end

    return read


def read_block(data: bytes, position: int) -> tuple[int, int, int | None]:
    """Return the count of a block of items, where they begin, and where the block says that they end."""
    count, position = _varint(data, position)
    if count >= 0:
        return count, position, None
    begin, end = _extent(data, position)
    return -count, begin, end


def _blocks(data: bytes, position: int, item: Callable[[int], int]) -> int:
    """Read items block by block until the empty block; the counts are bounded before the first item of each block is read."""
    left = ITEMS_MAX
    while True:
        count, position, end = read_block(data, position)
        if count == 0:
            return position
        left -= count
        if left < 0:
            raise Rejected(Reject.LIMIT)
        if count > len(data) - position:
            raise Rejected(Reject.TRUNCATED)
        for _ in range(count):
            position = item(position)
        if end is not None and position != end:
            raise Rejected(Reject.VALUE_INVALID)


def _array(item: Read) -> Read:
    def read(data: bytes, position: int, append: Append) -> int:
        items: list[Any] = []
        add = items.append
        position = _blocks(data, position, lambda at: item(data, at, add))
        append(items)
        return position

    return read


def _map(value: Read) -> Read:
    def read(data: bytes, position: int, append: Append) -> int:
        keys: list[str] = []
        values: list[Any] = []
        add_key, add_value = keys.append, values.append
        position = _blocks(data, position, lambda at: value(data, _string(data, at, add_key), add_value))
        entries = dict(zip(keys, values, strict=True))
        if len(entries) < len(keys):
            raise Rejected(Reject.VALUE_INVALID)
        append(entries)
        return position

    return read


_COMPOUND: Final[dict[str, Callable[[FieldType], Read]]] = {
    "fixed": _fixed,
    "enum": lambda kind: _enum(kind.symbols),
    "record": lambda kind: _record(tuple(compile_reader(field.type) for field in kind.fields)),
    "union": lambda kind: _union(tuple(compile_reader(branch) for branch in kind.branches), null=kind.null_branch),
    "array": lambda kind: _array(compile_reader(kind.element)),
    "map": lambda kind: _map(compile_reader(kind.element)),
}
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
