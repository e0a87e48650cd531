"""Forms: how a granted part of a record is written, compiled from the grant tree beside the schema's.

A part is written from the source's own bytes: what is kept is copied as it stands (exact, also for a NaN's payload and for an
array's blocks), what is not granted is passed over, what is transformed is read and written anew. An array or map whose elements
change is written as one block, as its items' sizes do. Bytes have passed the decoder before they come here.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from hub.exchange.reference.decode import Read, compile_reader, read_block
from hub.exchange.reference.encode import Encode, compile_encoder, varint
from hub.exchange.reference.transforms import Change, bucket, text_change, truncation
from hub.model.agreement import Bucket, Constant, Truncate
from hub.model.field_types import FieldType, without_null
from hub.model.granted import Each, Granted, Leaf, Members, copies
from hub.model.transforms import constant_value, gives_text

Write: TypeAlias = Callable[[bytes, int, bytearray], int]
"""Writes what is granted of the value at a position; returns the position behind the value."""
Pseudonyms: TypeAlias = Callable[[str], Change]
"""The pseudonyms of an identifier kind under the agreement."""


def compile_write(granted: Granted, kind: FieldType, pseudonyms: Pseudonyms) -> Write:
    """Return the function that writes ``granted`` of values of ``kind``."""
    if copies(granted, kind):
        return _copy(compile_reader(kind))
    if isinstance(granted, Leaf):
        return _leaf(compile_reader(kind), compile_leaf(granted, kind, pseudonyms))
    inner = _elements(granted, kind, pseudonyms) if isinstance(granted, Each) else _members(granted, kind, pseudonyms)
    return inner if kind.null_branch is None else _nullable(inner, null=2 * kind.null_branch)


def compile_leaf(leaf: Leaf, kind: FieldType, pseudonyms: Pseudonyms) -> Encode:
    """Return the function that writes what a transform makes of a decoded value, null or not, its union's branch included."""
    found = leaf.grant.parameters
    if isinstance(found, Constant):
        written = compile_encoder(FieldType(base=found.avro_type))(constant_value(found))
        return lambda _value: written
    if leaf.grant.transform == "nullify":
        null = b"" if kind.base == "null" else b"\x00"
        return lambda _value: null
    if isinstance(found, Truncate) and not gives_text(leaf.grant):
        return _in_union(_written(truncation(found, kind), compile_encoder(without_null(kind))), kind)
    if isinstance(found, Bucket):
        return _text(bucket(found, kind), kind)
    change = pseudonyms(str(leaf.identifier)) if leaf.grant.transform == "pseudonym" else text_change(leaf.grant)
    return _text(_of_branch(change) if kind.base == "union" else change, kind)


def _written(change: Change, encode: Encode) -> Encode:
    return lambda value: encode(change(value))


def _of_branch(change: Change) -> Change:
    """Take the value of a general union whatever its branch: the output has one type for all of them."""
    return lambda value: change(value[1])


def _text(change: Change, kind: FieldType) -> Encode:
    """Write text: the common case, in one call."""
    null, other = _branches(kind)

    def write(value: Any) -> bytes:
        if value is None:
            return null
        encoded: bytes = change(value).encode()
        return other + varint(len(encoded)) + encoded

    return write


def _in_union(encode: Encode, kind: FieldType) -> Encode:
    if kind.null_branch is None:
        return encode
    null, other = _branches(kind)
    return lambda value: null if value is None else other + encode(value)


def _branches(kind: FieldType) -> tuple[bytes, bytes]:
    """Return what stands before null and before a value: null is first where the source has it first, else last of two."""
    if kind.null_branch is None:
        return b"", b""
    return (b"\x00", b"\x02") if kind.null_branch == 0 else (b"\x02", b"\x00")


def _nothing(_value: object) -> None:
    pass


def _copy(read: Read) -> Write:
    def write(data: bytes, position: int, out: bytearray) -> int:
        end = read(data, position, _nothing)
        out += data[position:end]
        return end

    return write


def _pass_over(read: Read) -> Write:
    return lambda data, position, _out: read(data, position, _nothing)


def _leaf(read: Read, encode: Encode) -> Write:
    def write(data: bytes, position: int, out: bytearray) -> int:
        held: list[Any] = []
        end = read(data, position, held.append)
        out += encode(held[0])
        return end

    return write


def _nullable(inner: Write, *, null: int) -> Write:
    def write(data: bytes, position: int, out: bytearray) -> int:
        branch = data[position]
        out.append(branch)
        return position + 1 if branch == null else inner(data, position + 1, out)

    return write


def _members(granted: Members, kind: FieldType, pseudonyms: Pseudonyms) -> Write:
    parts = dict(granted.fields)
    writes = tuple(
        compile_write(parts[place], field.type, pseudonyms) if place in parts else _pass_over(compile_reader(field.type))
        for place, field in enumerate(kind.fields)
    )

    def write(data: bytes, position: int, out: bytearray) -> int:
        for member in writes:
            position = member(data, position, out)
        return position

    return write


def _elements(granted: Each, kind: FieldType, pseudonyms: Pseudonyms) -> Write:
    element = compile_write(granted.inner, kind.element, pseudonyms)
    key = None if kind.base == "array" else _copy(compile_reader(FieldType(base="string")))

    def write(data: bytes, position: int, out: bytearray) -> int:
        items, total = bytearray(), 0
        while True:
            count, position, _ = read_block(data, position)
            if count == 0:
                break
            total += count
            for _ in range(count):
                if key is not None:
                    position = key(data, position, items)
                position = element(data, position, items)
        if total:
            out += varint(total) + items
        out.append(0)
        return position

    return write
