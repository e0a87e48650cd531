"""Operands of row rules: what an agreement's file says, as the value that a field of that type is compared with.

Fields compare by their declared type: numbers as numbers, text and enums as text by code point, dates and times as the
integers that Avro stores, decimals as exact numbers. Rules may write dates and times as ISO 8601 text, down to the nanosecond; text
without an offset is time on Shanghai's clock, with its history, a bare date 00:00 there. Integers beyond 2^53 are written as text, since
canonical JSON has no others.
"""

import datetime as dt
import math
import re
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final, TypeAlias

from hub.model.agreement import Scalar
from hub.model.field_types import PER_SECOND, FieldType
from hub.model.shanghai import instant_of

Operand: TypeAlias = str | int | float | bool | Fraction

JSON_INTEGER_MAX: Final = 2**53 - 1
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}\Z")
_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,76}(\.[0-9]{1,76})?\Z")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?\Z")
_STAMP: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[-+][0-9]{2}:[0-9]{2})?)?\Z")
_FRACTION: Final = re.compile(r"\.([0-9]+)")
_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (the origin of local timestamps, which have no zone)
_SECOND: Final = dt.timedelta(seconds=1)
_NANOS: Final = 1_000_000_000


class UnfitOperand(ValueError):  # noqa: N818 (a refusal, and no bug of the program)
    """A rule's value cannot be compared with the field. Says what is wanted, never the value."""


def comparable(kind: FieldType) -> bool:
    """Tell whether values of ``kind`` can be compared at all; bytes, fixed, null and containers only know ``isNull``."""
    return kind.logical == "decimal" or kind.base in _BASE


def operand(value: Scalar, *, kind: FieldType) -> Operand:
    """Return what values of ``kind`` are compared with for the rule's ``value``; UnfitOperand says what is wanted instead."""
    if value is None:
        raise UnfitOperand("null equals nothing: use `isNull`")
    if kind.logical in _LOGICAL:
        return _LOGICAL[kind.logical](value, kind)
    if kind.base in _BASE:
        return _BASE[kind.base](value, kind)
    raise UnfitOperand(f"a field of {kind.base} can only be tested with `isNull`")


def _text(value: Scalar, _kind: FieldType) -> Operand:
    if isinstance(value, str):
        return value
    raise UnfitOperand("write text, in quotes")


def _boolean(value: Scalar, _kind: FieldType) -> Operand:
    if isinstance(value, bool):
        return value
    raise UnfitOperand("write true or false")


def _integer(value: Scalar, _kind: FieldType) -> Operand:
    if isinstance(value, str) and _INTEGER.match(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnfitOperand("write a number")
    if isinstance(value, int) and abs(value) > JSON_INTEGER_MAX:
        raise UnfitOperand("write an integer beyond 2^53 as text, in quotes")
    return value


def _double(value: Scalar, _kind: FieldType) -> Operand:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnfitOperand("write a finite number")
    return float(value)


def _float(value: Scalar, kind: FieldType) -> Operand:
    """Return the nearest value of the field's 32 bits, so that ``eq: 0.1`` finds a field that was written as 0.1."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", _double(value, kind)))[0])
    except OverflowError:
        raise UnfitOperand("write a number within the range of float") from None


def _decimal(value: Scalar, kind: FieldType) -> Operand:
    """Return the number in units of the field's last digit, as the field's unscaled integer is."""
    text = repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _DECIMAL.match(text):
        raise UnfitOperand('write a number, best as text: "12.50"')
    exact = Fraction(text) * 10**kind.scale
    return int(exact) if exact.denominator == 1 else exact


def _date(value: Scalar, _kind: FieldType) -> Operand:
    if isinstance(value, str) and _DATE.match(value):
        return (_moment(value)[0] - _EPOCH).days
    return _raw(value, 'write a date as "2026-11-24", or days since 1970-01-01')


def _time(value: Scalar, kind: FieldType) -> Operand:
    wanted = 'write a time of day as "08:30" or "08:30:00.250", or the raw integer'
    if isinstance(value, str) and _TIME.match(value):
        moment, nanos = _moment(f"1970-01-01T{value}")
        return _units((moment - _EPOCH) // _SECOND, nanos, kind)
    return _raw(value, wanted)


def _timestamp(value: Scalar, kind: FieldType) -> Operand:
    if isinstance(value, str) and _STAMP.match(value):
        moment, nanos = _moment(value)
        if moment.tzinfo is not None:
            return _units((moment - _EPOCH.replace(tzinfo=dt.UTC)) // _SECOND, nanos, kind)
        return _units(instant_of((moment - _EPOCH) // _SECOND), nanos, kind)
    return _raw(value, 'write a time as "2026-11-24T08:30:00+08:00" (without offset: Asia/Shanghai), or the raw integer')


def _local_timestamp(value: Scalar, kind: FieldType) -> Operand:
    wanted = 'write a local time as "2026-11-24T08:30:00", without offset, or the raw integer'
    if isinstance(value, str) and _STAMP.match(value):
        moment, nanos = _moment(value)
        if moment.tzinfo is not None:
            raise UnfitOperand(wanted)
        return _units((moment - _EPOCH) // _SECOND, nanos, kind)
    return _raw(value, wanted)


def _moment(text: str) -> tuple[dt.datetime, int]:
    """Return the whole second and the nanoseconds beyond it, which ``datetime`` cannot hold."""
    fraction = "".join(_FRACTION.findall(text))
    try:
        return dt.datetime.fromisoformat(_FRACTION.sub("", text)), int(fraction.ljust(9, "0"))
    except ValueError:
        raise UnfitOperand("write a date and time that the calendar has") from None


def _units(seconds: int, nanos: int, kind: FieldType) -> int:
    """Return a time in units of the field; ``seconds`` since 1970-01-01, or since midnight."""
    unit = str(kind.logical).rpartition("-")[2]
    found, finer = divmod(nanos, _NANOS // PER_SECOND[unit])
    if finer:
        raise UnfitOperand(f"the field holds {unit.removesuffix('s')}seconds: write no finer time")
    return seconds * PER_SECOND[unit] + found


def _raw(value: Scalar, wanted: str) -> int:
    """Return the integer that Avro stores; beyond 2^53, where the nanoseconds of our time lie, it is written as text."""
    if isinstance(value, str) and _INTEGER.match(value) and abs(int(value)) > JSON_INTEGER_MAX:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnfitOperand(wanted)
    if abs(value) > JSON_INTEGER_MAX:
        raise UnfitOperand("write an integer beyond 2^53 as text, in quotes")
    return value


_LOGICAL: Final[Mapping[str | None, Callable[[Scalar, FieldType], Operand]]] = {
    "date": _date,
    "time-millis": _time,
    "time-micros": _time,
    "timestamp-millis": _timestamp,
    "timestamp-micros": _timestamp,
    "timestamp-nanos": _timestamp,
    "local-timestamp-millis": _local_timestamp,
    "local-timestamp-micros": _local_timestamp,
    "local-timestamp-nanos": _local_timestamp,
    "uuid": _text,
    "decimal": _decimal,
}
_BASE: Final[Mapping[str, Callable[[Scalar, FieldType], Operand]]] = {
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _float,
    "double": _double,
    "string": _text,
    "enum": _text,
}
