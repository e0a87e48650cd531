"""Text to Avro: one strict conversion per field, compiled once per schema.

Text stays text. Elsewhere a text is converted only where nothing is lost: ``007`` is no whole number, ``5.10`` fits a decimal
of scale 2 and no double rounds it away unseen. A null value is null where the field knows null, else it is read like any text.
A conversion returns the field's bytes on the wire. Source: Apache Avro 1.12 specification, binary encoding.
"""

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from connectors.kit.faults import RowFault, Unfit
from connectors.kit.times import TIMES
from hub.model.field_types import CONTAINERS
from hub.model.source_schema import FieldType, SourceField

Convert: TypeAlias = Callable[[str], bytes]
"""Returns a text's bytes on the wire, or raises Unfit."""

DIGITS_MAX: Final = 400
"""Characters of a number; a longer text is no number of any type here, and is not handed to the parser of big integers."""
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
_DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_BOOLEANS: Final = {"true": b"\x01", "1": b"\x01", "false": b"\x00", "0": b"\x00"}
_INT: Final = 2**31
_LONG: Final = 2**63


def zigzag(number: int) -> bytes:
    """Return a number of at most 64 bits as Avro's variable-length integer."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def converter(field: SourceField, *, null_values: frozenset[str]) -> Convert | None:
    """Return the conversion of ``field``; None where a text cannot fill its type (bytes and fixed that are no decimal)."""
    inner = _converter(field.type)
    if inner is None or field.type.base == "null":
        return inner
    return _with_nulls(inner, field.type.null_branch, null_values, is_text=field.type.base == "string")


def default_bytes(field: SourceField) -> bytes | None:
    """Return the bytes of the field's default; None where it has none that is null or one value. It is of the union's first branch."""
    if "default" not in field.declared:
        return None
    value = field.declared["default"]
    if field.type.base in {*CONTAINERS, "union"} and field.type.null_branch != 0:
        return None
    if field.type.null_branch is not None:
        return zigzag(0) + (b"" if field.type.null_branch == 0 else _default(field.type, value))
    return _default(field.type, value)


def _with_nulls(inner: Convert, null_branch: int | None, null_values: frozenset[str], *, is_text: bool) -> Convert:
    if null_branch is None:

        def required(text: str) -> bytes:
            if text in null_values and not is_text:
                raise Unfit(RowFault.MISSING)
            return inner(text)

        return required
    null, value = zigzag(null_branch), zigzag(1 - null_branch)

    def nullable(text: str) -> bytes:
        return null if text in null_values else value + inner(text)

    return nullable


def _converter(kind: FieldType) -> Convert | None:
    if kind.logical in TIMES:
        read = TIMES[str(kind.logical)]
        return lambda text: zigzag(read(text))
    if kind.logical == "decimal":
        return _decimal(kind)
    if kind.logical == "uuid":
        return _uuid
    if kind.base == "enum":
        return _enum(kind.symbols)
    return _PLAIN.get(kind.base)


def _text(text: str) -> bytes:
    raw = text.encode()
    return zigzag(len(raw)) + raw


def _whole(limit: int) -> Convert:
    def convert(text: str) -> bytes:
        if len(text) > DIGITS_MAX or _WHOLE.match(text) is None or text == "-0":
            raise Unfit(RowFault.NOT_WHOLE)
        number = int(text)
        if not -limit <= number < limit:
            raise Unfit(RowFault.OUT_OF_RANGE)
        return zigzag(number)

    return convert


def _floating(layout: str) -> Convert:
    pack = struct.Struct(layout).pack

    def convert(text: str) -> bytes:
        if len(text) > DIGITS_MAX or _NUMBER.match(text) is None:
            raise Unfit(RowFault.NOT_NUMBER)
        number = float(text)
        try:
            packed = pack(number)
        except OverflowError:
            raise Unfit(RowFault.OUT_OF_RANGE) from None
        if math.isinf(number):
            raise Unfit(RowFault.OUT_OF_RANGE)
        return packed

    return convert


def _boolean(text: str) -> bytes:
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise Unfit(RowFault.NOT_BOOLEAN)
    return found


def _nothing(_text: str) -> bytes:
    return b""


def _uuid(text: str) -> bytes:
    if _UUID.match(text) is None:
        raise Unfit(RowFault.NOT_UUID)
    return _text(text)


def _enum(symbols: tuple[str, ...]) -> Convert:
    known = {symbol: zigzag(place) for place, symbol in enumerate(symbols)}

    def convert(text: str) -> bytes:
        found = known.get(text)
        if found is None:
            raise Unfit(RowFault.NOT_SYMBOL)
        return found

    return convert


def _decimal(kind: FieldType) -> Convert:
    precision = int(kind.definition["precision"])
    scale = kind.scale

    def convert(text: str) -> bytes:
        match = _DECIMAL.match(text) if len(text) <= DIGITS_MAX else None
        if match is None:
            raise Unfit(RowFault.NOT_NUMBER)
        sign, whole, fraction = match[1], match[2], match[3] or ""
        if len(fraction.rstrip("0")) > scale:
            raise Unfit(RowFault.TOO_PRECISE)
        unscaled = int(sign + whole + fraction[:scale].ljust(scale, "0"))
        if abs(unscaled) >= 10**precision:
            raise Unfit(RowFault.OUT_OF_RANGE)
        size = kind.size or max(1, (unscaled + (unscaled < 0)).bit_length() // 8 + 1)
        try:
            raw = unscaled.to_bytes(size, "big", signed=True)
        except OverflowError:
            raise Unfit(RowFault.OUT_OF_RANGE) from None
        return raw if kind.size else zigzag(len(raw)) + raw

    return convert


_PLAIN: Final[dict[str, Convert]] = {
    "string": _text,
    "int": _whole(_INT),
    "long": _whole(_LONG),
    "float": _floating("<f"),
    "double": _floating("<d"),
    "boolean": _boolean,
    "null": _nothing,
}


def _default(kind: FieldType, value: Any) -> bytes:
    """Encode a default of the schema: JSON, with bytes as text of code points 0 to 255."""
    if kind.base == "null":
        return b""
    if kind.base == "string":
        return _text(str(value))
    if kind.base in {"bytes", "fixed"}:
        raw = str(value).encode("latin-1")
        return raw if kind.base == "fixed" else zigzag(len(raw)) + raw
    if kind.base == "boolean":
        return b"\x01" if value else b"\x00"
    if kind.base == "enum":
        return zigzag(kind.symbols.index(value))
    return struct.pack("<f" if kind.base == "float" else "<d", value) if kind.base in {"float", "double"} else zigzag(int(value))
