"""Transforms of one value: what each makes of a value that is not null, compiled once per grant and type.

The same on every machine: integers round down (towards minus infinity), floating numbers by one IEEE 754 division and its floor (so
that a number within the rounding of an edge may come to lie beyond it),
dates and times by the proleptic Gregorian calendar on integers, timestamps in Asia/Shanghai at its fixed +08:00 (no zone database,
whose versions differ). A value that has no such form, as NaN has no bucket, is refused for that agreement.
"""

import bisect
import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from hub.exchange.reference.decode import Rejected
from hub.model.agreement import Bucket, Grant, Prefix, Truncate
from hub.model.field_types import DECIMAL_BYTES_MAX, PER_SECOND, FieldType
from hub.model.reasons import Reject
from hub.model.transforms import bucket_labels, exact, in_units, plain

Change: TypeAlias = Callable[[Any], Any]
"""Makes the granted value of a source value. Raises Rejected."""

EXACT_FLOAT_MAX: Final = 2**53
"""Above it floating numbers are not whole any more: no bucket of a width is told apart."""
LABELS_KEPT: Final = 1_024
_DAY_SECONDS: Final = 86_400
_SHANGHAI_SECONDS: Final = 8 * 3_600
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}


def mask_text(text: str, *, keep_first: int, keep_last: int) -> str:
    """Return ``text`` with `*` for every character but the kept ones; all of it where the kept parts would cover it."""
    hidden = len(text) - keep_first - keep_last
    if hidden <= 0:
        return "*" * len(text)
    return text[:keep_first] + "*" * hidden + text[len(text) - keep_last :]


def text_change(grant: Grant) -> Change:
    """Return what a grant that shortens or masks makes of text."""
    if grant.transform == "mask":
        return lambda text: mask_text(text, keep_first=grant.keep_first, keep_last=grant.keep_last)
    found = grant.parameters
    count = found.characters if isinstance(found, Prefix | Truncate) else None
    if count is None:
        raise AssertionError(grant.transform)
    return lambda text: text[:count]


def truncation(found: Truncate, kind: FieldType) -> Change:
    """Return what ``truncate`` makes of numbers, dates and times."""
    if found.step is not None:
        step = in_units(found.step, kind)
        return _stepped_float(float(step), narrow=kind.base == "float") if kind.base in {"float", "double"} else _stepped(int(step), kind)
    logical, unit = str(kind.logical), str(found.to)
    if logical == "date":
        return _within(lambda day: _first_day(day, _MONTHS[unit]), kind)
    per_second = PER_SECOND[logical.rpartition("-")[2]]
    zone = _SHANGHAI_SECONDS * per_second if logical.startswith("timestamp") else 0
    if unit in _MONTHS:
        day = _DAY_SECONDS * per_second
        return _within(lambda at: _first_day((at + zone) // day, _MONTHS[unit]) * day - zone, kind)
    width = _SECONDS.get(unit, _DAY_SECONDS) * per_second
    return _within(lambda at: (at + zone) // width * width - zone, kind)


def bucket(found: Bucket, kind: FieldType) -> Change:
    """Return the name of the interval that a number lies in; an edge belongs to the interval above it."""
    if found.width is None:
        edges, labels = [in_units(edge, kind) for edge in found.edges], bucket_labels(found)
        return lambda number: labels[bisect.bisect_right(edges, _no_nan(number))]
    width, shown = in_units(found.width, kind), exact(found.width)

    @lru_cache(maxsize=LABELS_KEPT)
    def label(place: int) -> str:
        return f"[{plain(place * shown)},{plain((place + 1) * shown)})"

    return lambda number: label(number // width if isinstance(number, int) else _floor(number / width))


def _stepped(step: int, kind: FieldType) -> Change:
    return _within(lambda number: number // step * step, kind)


def _stepped_float(step: float, *, narrow: bool) -> Change:
    """Keep the infinities as they are; what leaves the range on its way down is refused; a zero is positive.

    NaN stays NaN without what its other bits may hold: nobody agreed to those, and not every Python keeps them.
    """

    def change(number: float) -> float:
        if not math.isfinite(number):
            return math.nan if math.isnan(number) else number
        quotient = number / step
        if not math.isfinite(quotient):
            raise Rejected(Reject.TRANSFORM_FAILED)
        found = float(math.floor(quotient)) * step
        try:
            found = float(struct.unpack("<f", struct.pack("<f", found))[0]) if narrow else found
        except OverflowError:
            found = math.inf
        if not math.isfinite(found):
            raise Rejected(Reject.TRANSFORM_FAILED)
        return found

    return change


def _floor(quotient: float) -> int:
    if not abs(quotient) <= EXACT_FLOAT_MAX:
        raise Rejected(Reject.TRANSFORM_FAILED)
    return math.floor(quotient)


def _no_nan(number: float) -> float:
    if isinstance(number, float) and math.isnan(number):
        raise Rejected(Reject.TRANSFORM_FAILED)
    return number


def _within(change: Callable[[int], int], kind: FieldType) -> Change:
    """Hold the result within the range of its type, which rounding down may leave at its lower end."""
    bits = 32 if kind.base == "int" else 64 if kind.base == "long" else 8 * (kind.size or DECIMAL_BYTES_MAX)
    least = -(1 << (bits - 1))

    def held(number: int) -> int:
        found = change(number)
        if found < least:
            raise Rejected(Reject.TRANSFORM_FAILED)
        return found

    return held


def _first_day(day: int, months: int) -> int:
    """Return the first day of the month, quarter or year that ``day`` lies in; days since 1970-01-01, any number of them.

    Source: H. Hinnant, chrono-compatible low-level date algorithms; years begin in March, so that a leap day ends one.
    """
    era, day_of_era = divmod(day + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    year, month = year_of_era + era * 400 + (march_month >= 10), (march_month + 2) % 12
    return _days_to(year, month // months * months)


def _days_to(year: int, month: int) -> int:
    """Return the days from 1970-01-01 to the first of ``month`` (January 0)."""
    year -= month < 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 10) % 12) + 2) // 5
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
