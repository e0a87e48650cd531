"""Text to Avro: one strict conversion per field, compiled once per schema.

Text stays text. Elsewhere a text is converted only where nothing is lost: ``007`` is no whole number, nor a number of any other
type, ``5.10`` fits a decimal of scale 2, and a whole number that a double would round is set aside. A null value is null where
the field knows null, else it is read like any text.
A conversion returns the field's bytes on the wire. Source: Apache Avro 1.12 specification, binary encoding.
"""

import math
import re
import struct
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Final, NamedTuple, TypeAlias

from connectors.kit.faults import RowFault, Unfit
from connectors.kit.times import TIMES
from hub.model.source_schema import FieldType, SourceField

Convert: TypeAlias = Callable[[str], bytes]
"""Returns a text's bytes on the wire, or raises Unfit."""

DIGITS_MAX: Final = 400
"""Characters of a number; a longer text is no number of any type here, and is not handed to the parser of big integers."""
_EXACT: Final = Context(prec=DIGITS_MAX)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
_LEADING_ZEROS = re.compile(r"-?0[0-9]+\Z")
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


class _Binary(NamedTuple):
    """A binary floating-point type."""

    layout: str
    whole_digits: int
    """Every whole number of so many digits is one of its values."""
    exact_to: int
    """From here on not even every whole number is."""
    digits_max: int
    """Digits that tell any two of its values apart: what its shortest form in scientific notation has at most."""


def _floating(kind: _Binary) -> Convert:
    packing = struct.Struct(kind.layout)

    def convert(text: str) -> bytes:
        if len(text) > DIGITS_MAX or _NUMBER.match(text) is None or _LEADING_ZEROS.match(text) is not None:
            raise Unfit(RowFault.NOT_NUMBER)
        try:
            packed = packing.pack(float(text))
        except OverflowError:
            raise Unfit(RowFault.OUT_OF_RANGE) from None
        (number,) = packing.unpack(packed)
        if math.isinf(number):
            raise Unfit(RowFault.OUT_OF_RANGE)
        if len(text) > kind.whole_digits or "e" in text or "E" in text:
            _hold_value(Decimal(text), number, kind, scientific="e" in text.lower())
        return packed

    return convert


def _hold_value(value: Decimal, number: float, kind: _Binary, *, scientific: bool) -> None:
    """Hold that a number kept its whole part, did not fall to 0, and in scientific notation says no more digits than are kept."""
    if number == 0 and value != 0:
        raise Unfit(RowFault.OUT_OF_RANGE)
    if scientific:
        lost = len(value.normalize(_EXACT).as_tuple().digits) > kind.digits_max
    else:
        at_stake = abs(value) >= kind.exact_to or value == value.to_integral_value()
        lost = at_stake and Decimal(number) != value
    if lost:
        raise Unfit(RowFault.TOO_PRECISE)


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
    "float": _floating(_Binary("<f", whole_digits=7, exact_to=2**24, digits_max=9)),
    "double": _floating(_Binary("<d", whole_digits=15, exact_to=2**53, digits_max=17)),
    "boolean": _boolean,
    "null": _nothing,
}
