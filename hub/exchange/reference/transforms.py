"""Transforms of one value: what each makes of a value that is not null, compiled once per grant and type.

The same on every machine: numbers round down (towards minus infinity), floating ones as the decimals that they were written as
(``decimals``), dates and times by the proleptic Gregorian calendar on integers, timestamps by Shanghai's clock with its history
(``hub.model.shanghai``, and no zone database, whose versions differ). Within the hour a timestamp keeps its offset, so that an hour that
came twice stays two; a day, and what is longer, begins at its first instant, whichever offset was in force then.
A value that has no such form, as NaN has no bucket, is refused for that agreement.
"""

import bisect
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from hub.exchange.reference.decimals import lower_ends, nearest, place_of
from hub.exchange.reference.decode import Rejected
from hub.model.agreement import Bucket, Grant, Prefix, Truncate
from hub.model.field_types import DECIMAL_BYTES_MAX, PER_SECOND, FieldType
from hub.model.reasons import Reject
from hub.model.shanghai import instant_of, offset_at
from hub.model.transforms import bucket_labels, exact, in_units, plain

Change: TypeAlias = Callable[[Any], Any]
"""Makes the granted value of a source value. Raises Rejected."""

PLACE_MAX: Final = 2**53
"""In buckets from zero: beyond it floating numbers lie further apart than one, and no bucket of a width is told from the next."""
LABELS_KEPT: Final = 1_024
_DAY_SECONDS: Final = 86_400
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
    if found.step is not None and kind.base in {"float", "double"}:
        return _stepped_float(exact(found.step), narrow=kind.base == "float")
    if found.step is not None:
        return _stepped(int(in_units(found.step, kind)), kind)
    logical, unit = str(kind.logical), str(found.to)
    if logical == "date":
        return _within(lambda day: _first_day(day, _MONTHS[unit]), kind)
    per_second = PER_SECOND[logical.rpartition("-")[2]]
    begin = _begin_in_shanghai if logical.startswith("timestamp") else _begin
    return _within(lambda at: begin(at // per_second, unit) * per_second, kind)


def bucket(found: Bucket, kind: FieldType) -> Change:
    """Return the name of the interval that a number lies in; an edge belongs to the interval above it."""
    floating, narrow = kind.base in {"float", "double"}, kind.base == "float"
    if found.width is None:
        labels, shown_edges = bucket_labels(found), [exact(edge) for edge in found.edges]
        edges = lower_ends(shown_edges, narrow=narrow) if floating else [in_units(edge, kind) for edge in found.edges]
        return lambda number: labels[bisect.bisect_right(edges, _no_nan(number))]
    shown = exact(found.width)

    @lru_cache(maxsize=LABELS_KEPT)
    def label(place: int) -> str:
        return f"[{plain(place * shown)},{plain((place + 1) * shown)})"

    if floating:
        return lambda number: label(_near_place(number, shown, narrow=narrow))
    width = in_units(found.width, kind)
    return lambda number: label(number // width)


def _stepped(step: int, kind: FieldType) -> Change:
    return _within(lambda number: number // step * step, kind)


def _stepped_float(step: Fraction, *, narrow: bool) -> Change:
    """Keep the infinities as they are; what leaves the range on its way down is refused; a zero is positive.

    NaN stays NaN without what its other bits may hold: nobody agreed to those, and not every Python keeps them.
    """

    def change(number: float) -> float:
        if not math.isfinite(number):
            return math.nan if math.isnan(number) else number
        try:
            return nearest(place_of(number, step, narrow=narrow) * step, narrow=narrow)
        except OverflowError:
            raise Rejected(Reject.TRANSFORM_FAILED) from None

    return change


def _near_place(number: float, width: Fraction, *, narrow: bool) -> int:
    if not math.isfinite(number):
        raise Rejected(Reject.TRANSFORM_FAILED)
    place = place_of(number, width, narrow=narrow)
    if abs(place) > PLACE_MAX:
        raise Rejected(Reject.TRANSFORM_FAILED)
    return place


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


def _begin(second: int, unit: str) -> int:
    """Return the first second of the unit that ``second`` lies in, on a clock that is never set."""
    if unit in _SECONDS:
        return second // _SECONDS[unit] * _SECONDS[unit]
    day = second // _DAY_SECONDS
    return (day if unit == "day" else _first_day(day, _MONTHS[unit])) * _DAY_SECONDS


def _begin_in_shanghai(second: int, unit: str) -> int:
    offset = offset_at(second)
    begin = _begin(second + offset, unit)
    return begin - offset if unit in _SECONDS else instant_of(begin)


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
