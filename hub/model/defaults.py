"""Defaults by Avro's rule: a default is a value of its field's type, and of the first branch where that is a union.

Avro 1.12 allows a value of any branch; most readers hold to the first, and a reader that does not fills in what nobody wrote.
Bytes are code points 0 to 255, a fixed has its size, an enum one of its symbols, a record every field without a default of its
own; numbers are JSON numbers within their range, so that ``"NaN"`` is none; what a logical type stands for must be such a value.
Source: Apache Avro 1.12 specification, "Complex Types". No value of a default stands in a fault.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from hub.model.field_types import DECIMAL_BYTES_MAX, DECIMAL_PRECISION_MAX, FieldType, type_words, without_null

_FLOAT_MAX: Final = 3.4028234663852886e38
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_DAY_OF: Final = {"time-millis": 86_400_000, "time-micros": 86_400_000_000}
_RANGE: Final = {"int": 2**31, "long": 2**63}
_NULL: Final = FieldType(base="null")


class Unfit(NamedTuple):
    """Where inside a default no value of the type stands, and what would."""

    place: str
    """Behind the default's own path: ``.city``, ``[2]``, or nothing."""
    message: str
    fix: str


def unfit_default(value: Any, kind: FieldType) -> Unfit | None:
    """Return the first place at which ``value``, a default as JSON, is no value of ``kind``; None when it is one."""
    return next(_unfit(value, kind, ""), None)


def _unfit(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if kind.base != "union" and kind.null_branch is None:
        yield from _READERS[kind.base](value, kind, place)
        return
    branches = _branches(kind)
    if any(_LOOKS[branch.base](value) for branch in branches[1:]) and not _LOOKS[branches[0].base](value):
        yield Unfit(place, "is a value of a later branch of the union, and a default is one of the first", _FIRST_FIX)
    else:
        yield from _unfit(value, branches[0], place)


_FIRST_FIX: Final = 'put that branch first, as `["null", "string"]` for null: most readers know no other order'


def _branches(kind: FieldType) -> tuple[FieldType, ...]:
    if kind.base == "union":
        return kind.branches
    return (_NULL, without_null(kind)) if kind.null_branch == 0 else (without_null(kind), _NULL)


def _no_value(kind: FieldType, place: str, fix: str) -> Unfit:
    return Unfit(place, f"is no value of its type, which is {type_words(kind).removeprefix('of type ')}", fix)


def _null(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if value is not None:
        yield _no_value(kind, place, "write null, or put the branch that it is of first")


def _boolean(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if not isinstance(value, bool):
        yield _no_value(kind, place, "write true or false, without quotes")


def _integer(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    bound = _RANGE[kind.base]
    if not _whole(value) or not -bound <= value < bound:
        yield _no_value(kind, place, f"write a whole number from {-bound} to {bound - 1}, without quotes and point")
    elif kind.logical in _DAY_OF and not 0 <= value < _DAY_OF[kind.logical]:
        yield _no_value(kind, place, f"write a time of the day, from 0 to {_DAY_OF[kind.logical] - 1}")


def _number(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    number = isinstance(value, float) or _whole(value)
    if not number or value != value or abs(value) > (_FLOAT_MAX if kind.base == "float" else 1.7976931348623157e308):  # noqa: PLR0124 - NaN
        yield _no_value(kind, place, "write a JSON number within its range, without quotes; what JSON has no number for is no default")


def _text(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        yield _no_value(kind, place, "write text in quotes")
    elif kind.logical == "uuid" and _UUID.match(value) is None:
        yield _no_value(kind, place, "write a UUID of 32 hexadecimal digits and four dashes, or leave the default out")


def _bytes(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if not isinstance(value, str) or any(letter > "\xff" for letter in value):
        yield _no_value(kind, place, r"write text of the code points 0 to 255, one for each byte, as `\u00ff`")
    elif kind.base == "fixed" and len(value) != kind.size:
        yield _no_value(kind, place, f"write exactly {kind.size} code points, one for each byte")
    elif kind.logical == "decimal":
        yield from _decimal(value.encode("latin-1"), kind, place)


def _decimal(value: bytes, kind: FieldType, place: str) -> Iterator[Unfit]:
    precision = kind.definition.get("precision") if isinstance(kind.definition, Mapping) else None
    digits = precision if isinstance(precision, int) and 0 < precision <= DECIMAL_PRECISION_MAX else DECIMAL_PRECISION_MAX
    if not 1 <= len(value) <= DECIMAL_BYTES_MAX or abs(int.from_bytes(value, "big", signed=True)) >= 10**digits:
        yield _no_value(kind, place, r"write the bytes of its unscaled number, such as `\u0000` for nothing, within its precision")


def _symbol(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if value not in kind.symbols:
        yield _no_value(kind, place, "write one of the enum's symbols")


def _items(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if not isinstance(value, list):
        yield _no_value(kind, place, "write a list, such as `[]`")
        return
    for number, item in enumerate(value):
        yield from _unfit(item, kind.element, f"{place}[{number}]")


def _values(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if not isinstance(value, Mapping):
        yield _no_value(kind, place, "write an object, such as `{}`")
        return
    for number, item in enumerate(value.values()):
        yield from _unfit(item, kind.element, f"{place}{{{number}}}")


def _members(value: Any, kind: FieldType, place: str) -> Iterator[Unfit]:
    if not isinstance(value, Mapping):
        yield _no_value(kind, place, "write an object with a value for each field that has no default")
        return
    for field in kind.fields:
        if field.name in value:
            yield from _unfit(value[field.name], field.type, f"{place}.{field.name}")
        elif "default" not in field.declared:
            yield Unfit(place, f"lacks field `{field.name}` of its record, which has no default", "give it a value there")
    if not value.keys() <= {field.name for field in kind.fields}:
        yield Unfit(place, "has a member that is no field of its record", "name the record's own fields only")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _whole(value)


_READERS: Final[Mapping[str, Callable[[Any, FieldType, str], Iterator[Unfit]]]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _number,
    "double": _number,
    "string": _text,
    "bytes": _bytes,
    "fixed": _bytes,
    "enum": _symbol,
    "array": _items,
    "map": _values,
    "record": _members,
}
_LOOKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "int": _whole,
    "long": _whole,
    "float": _is_number,
    "double": _is_number,
    "string": _is_text,
    "bytes": _is_text,
    "fixed": _is_text,
    "enum": _is_text,
    "array": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, Mapping),
    "record": lambda value: isinstance(value, Mapping),
}
"""What kind of JSON a branch takes: enough to say which branch a default was meant for, without walking it once for each."""
