"""Specs of single values: a condition on a value and a transform of one, worked out so that the kernel looks up no name.

A spec says which bytes are read and what they are held against, and leaves nothing to interpret: on whole numbers and decimals
every order is a range with both ends in it (``gt 4.5`` begins at 5, ``gt`` of the highest long is empty), on enums and booleans
a table of answers, labels stand ready as text. Numbers are text: longs in decimal, floating ones as the hex digits of their bits,
decimals as those of 32 bytes, so that no reader of JSON rounds them. Steps and widths of floating numbers are the decimals of the
agreement, in units of their last digit.
The meaning is ``hub.exchange.reference.authorise`` and ``transforms``; the Rust side is ``native/src/values``.
"""

import math
import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, TypeAlias

from hub.exchange.reference.decimals import lower_ends
from hub.exchange.reference.transforms import mask_text
from hub.model.agreement import Bucket, Condition, Prefix, Truncate
from hub.model.field_types import DECIMAL_BYTES_MAX, PER_SECOND, FieldType
from hub.model.granted import Leaf
from hub.model.operands import Operand, operand
from hub.model.transforms import bucket_labels, exact, in_units

Spec: TypeAlias = dict[str, Any]

_LONG_BITS: Final = 64
_DECIMAL_BITS: Final = 8 * DECIMAL_BYTES_MAX
_LISTED: Final[Mapping[str, bool]] = {"eq": True, "isAnyOf": True, "neq": False, "isNoneOf": False}
_PYTHON: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "startsWith": str.startswith,
    "isAnyOf": lambda value, listed: value in listed,
    "isNoneOf": lambda value, listed: value not in listed,
}


def test_spec(condition: Condition, kind: FieldType) -> Spec:
    """Return the test of values of ``kind`` that are not null, no union and no container; the plan compiler has held that it fits.

    ``isNull`` is asked of a union's branch and is no test of a value.
    """
    if condition.operator == "isNull":
        raise AssertionError(condition.operator)
    listed = isinstance(condition.value, tuple)
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    found = [operand(value, kind=kind) for value in values]
    if kind.base in {"enum", "boolean"}:
        wanted = frozenset(found) if listed else found[0]
        answers = [_PYTHON[condition.operator](value, wanted) for value in (kind.symbols or (False, True))]
        return {"test": "symbols" if kind.base == "enum" else "boolean", "holds": answers}
    if kind.base == "string":
        return _text_test(condition.operator, found)
    if kind.base in {"float", "double"}:
        return _floating_test(condition.operator, found, narrow=kind.base == "float")
    if kind.logical == "decimal":
        return _whole_test("decimal", condition.operator, found, bits=_DECIMAL_BITS, write=_wide) | {"fixed": kind.base == "fixed"}
    return _whole_test("integer", condition.operator, found, bits=_LONG_BITS, write=str)


def _text_test(name: str, operands: Sequence[Operand]) -> Spec:
    if name in _LISTED:
        return {"test": "text_set", "values": sorted({str(value) for value in operands}), "listed": _LISTED[name]}
    if name == "startsWith":
        return {"test": "text_prefix", "prefix": operands[0]}
    return {"test": "text", "compare": name, "operand": operands[0]}


def _floating_test(name: str, operands: Sequence[Operand], *, narrow: bool) -> Spec:
    bits = [_bits(float(value)) for value in operands]
    if name in {"isAnyOf", "isNoneOf"}:
        return {"test": "floating_set", "narrow": narrow, "values": bits, "listed": _LISTED[name]}
    return {"test": "floating", "narrow": narrow, "compare": name, "operand": bits[0]}


def _whole_test(word: str, name: str, operands: Sequence[Operand], *, bits: int, write: Callable[[int], str]) -> Spec:
    """Return a set or a range of whole numbers of ``bits`` bits; operands may be fractions, and any size."""
    exacts = [Fraction(value) for value in operands]
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if name in _LISTED and name != "eq":
        values = sorted({int(value) for value in exacts if value.denominator == 1 and least <= value <= most})
        return {"test": f"{word}_set", "values": [write(value) for value in values], "listed": _LISTED[name]}
    low, high = _ends(name, exacts[0])
    low, high = max(least, least if low is None else low), min(most, most if high is None else high)
    return {"test": f"{word}_range", "least": write(low if low <= high else 1), "most": write(high if low <= high else 0)}


def _ends(name: str, wanted: Fraction) -> tuple[int | None, int | None]:
    """Return the least and the most whole number of which the order holds; None: without end."""
    if name == "eq":
        return math.ceil(wanted), math.floor(wanted)
    if name == "gt":
        return math.floor(wanted) + 1, None
    if name == "gteq":
        return math.ceil(wanted), None
    return None, math.ceil(wanted) - 1 if name == "lt" else math.floor(wanted)


def change_spec(leaf: Leaf, kind: FieldType) -> Spec:
    """Return the change that ``mask``, ``prefix``, ``truncate`` or ``bucket`` makes of values of ``kind`` that are not null.

    ``kind`` is no union: in one, each branch has a change of its own.
    """
    grant, found = leaf.grant, leaf.grant.parameters
    if grant.transform == "mask":
        if kind.base == "enum":
            return _symbols(mask_text(symbol, keep_first=grant.keep_first, keep_last=grant.keep_last) for symbol in kind.symbols)
        return {"change": "mask", "keep_first": grant.keep_first, "keep_last": grant.keep_last}
    count = found.characters if isinstance(found, Prefix | Truncate) else None
    if count is not None:
        return _symbols(symbol[:count] for symbol in kind.symbols) if kind.base == "enum" else {"change": "prefix", "characters": count}
    if isinstance(found, Truncate):
        return _step(found, kind) if found.step is not None else _calendar(str(found.to), kind)
    if isinstance(found, Bucket):
        return _width(found, kind) if found.width is not None else _edges(found, kind)
    raise AssertionError(grant.transform)


def _symbols(texts: Iterable[str]) -> Spec:
    return {"change": "symbols", "texts": list(texts)}


def _step(found: Truncate, kind: FieldType) -> Spec:
    if kind.base in {"float", "double"}:
        return {"change": "floor_floating", "narrow": kind.base == "float"} | _decimal_fraction(exact(found.step or 0))
    step = in_units(found.step or 0, kind)
    if kind.logical == "decimal":
        return {"change": "floor_decimal", "size": kind.size, "step": str(step)}
    return _floor(int(step), kind)


def _floor(width: int, kind: FieldType) -> Spec:
    return {"change": "floor", "bits": _bits_of(kind), "width": str(width)}


def _bits_of(kind: FieldType) -> int:
    return 32 if kind.base == "int" else _LONG_BITS


_SECONDS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_MONTHS: Final[Mapping[str, int]] = {"month": 1, "quarter": 3, "year": 12}


def _calendar(unit: str, kind: FieldType) -> Spec:
    logical = str(kind.logical)
    per_second = PER_SECOND.get(logical.rpartition("-")[2], 0)
    if logical.startswith("timestamp"):
        return {"change": "shanghai", "per_second": str(per_second), "unit": unit}
    if unit in _SECONDS:
        return _floor(_SECONDS[unit] * per_second, kind)
    day = _SECONDS["day"] * per_second if per_second else 1
    return {"change": "calendar", "bits": _bits_of(kind), "months": _MONTHS[unit], "day": str(day)}


def _edges(found: Bucket, kind: FieldType) -> Spec:
    labels = list(bucket_labels(found))
    if kind.base in {"float", "double"}:
        narrow = kind.base == "float"
        ends = [_bits(edge) for edge in lower_ends([exact(edge) for edge in found.edges], narrow=narrow)]
        return {"change": "edges_floating", "narrow": narrow, "edges": ends, "labels": labels}
    edges = [in_units(edge, kind) for edge in found.edges]
    bits = _DECIMAL_BITS if kind.logical == "decimal" else _LONG_BITS
    whole = [int(edge) for edge in edges]
    below, above = sum(edge < -(1 << (bits - 1)) for edge in whole), sum(edge >= 1 << (bits - 1) for edge in whole)
    whole, labels = whole[below : len(whole) - above], labels[below : len(labels) - above]
    if kind.logical == "decimal":
        return {"change": "edges_decimal", "fixed": kind.base == "fixed", "edges": [_wide(edge) for edge in whole], "labels": labels}
    return {"change": "edges", "edges": [str(edge) for edge in whole], "labels": labels}


def _width(found: Bucket, kind: FieldType) -> Spec:
    if found.width is None:
        raise AssertionError(found)
    if kind.base in {"float", "double"}:
        return {"change": "width_floating", "narrow": kind.base == "float"} | _decimal_fraction(exact(found.width))
    width = in_units(found.width, kind)
    if kind.logical == "decimal":
        return {"change": "width_decimal", "fixed": kind.base == "fixed", "width": str(width), "scale": kind.scale}
    return {"change": "width", "width": str(width)}


def _decimal_fraction(number: Fraction) -> Spec:
    """Return a decimal fraction as units of its last digit, and that digit's place behind the point."""
    scale = 0
    while (number * 10**scale).denominator != 1:
        scale += 1
    return {"units": str(int(number * 10**scale)), "scale": scale}


def _bits(number: float) -> str:
    return struct.pack(">d", number).hex()


def _wide(number: int) -> str:
    return number.to_bytes(DECIMAL_BYTES_MAX, "big", signed=True).hex()
