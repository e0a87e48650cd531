"""Days and times as text, to Avro's integers. A time without a zone is Asia/Shanghai, unless the field holds local time.

Shanghai is read with its history (summer time from 1986 to 1991), so that old registers keep their instants; a time that a
clock showed twice is the first of the two. The kernels cut times by the same clock: ``hub.model.shanghai``.
Source: ISO 8601; Apache Avro 1.12 specification, logical types.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

from connectors.kit.faults import RowFault, Unfit
from hub.model.shanghai import instant_of

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?(Z|[-+][0-9]{2}:[0-9]{2})?\Z")
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?\Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)
_LONG: Final = 2**63
"""Bound of a long: nanoseconds reach it in the years 1677 and 2262."""


def days(text: str) -> int:
    """Return days since 1970-01-01."""
    if _DAY.match(text) is None:
        raise Unfit(RowFault.NOT_DATE)
    try:
        return (date.fromisoformat(text) - _EPOCH_DAY).days
    except ValueError:
        raise Unfit(RowFault.NOT_DATE) from None


def _moment(digits: int, *, local: bool) -> Callable[[str], int]:
    """Return a reader of instants (or local times) in units of 10 to the power of -``digits`` seconds."""

    def read(text: str) -> int:
        match = _MOMENT.match(text)
        if match is None:
            raise Unfit(RowFault.NOT_TIME)
        day, clock, fraction, zone = match.groups()
        if local and zone is not None:
            raise Unfit(RowFault.ZONE)
        try:
            moment = datetime.fromisoformat(f"{day}T{clock}{zone or ''}")
        except ValueError:
            raise Unfit(RowFault.NOT_TIME) from None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _SECOND
        if moment.tzinfo is None and not local:
            seconds = instant_of(seconds)
        found = int(seconds * 10**digits + _fraction(fraction, digits))
        if not -_LONG <= found < _LONG:
            raise Unfit(RowFault.OUT_OF_RANGE)
        return found

    return read


def _clock(digits: int) -> Callable[[str], int]:
    """Return a reader of times of day in units of 10 to the power of -``digits`` seconds."""

    def read(text: str) -> int:
        match = _CLOCK.match(text)
        if match is None:
            raise Unfit(RowFault.NOT_TIME)
        hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or "0")
        if hours > 23 or minutes > 59 or seconds > 59:
            raise Unfit(RowFault.NOT_TIME)
        return int((hours * 3600 + minutes * 60 + seconds) * 10**digits + _fraction(match[4], digits))

    return read


def _fraction(fraction: str | None, digits: int) -> int:
    if fraction is None:
        return 0
    if len(fraction.rstrip("0")) > digits:
        raise Unfit(RowFault.TOO_PRECISE)
    return int(fraction[:digits].ljust(digits, "0"))


TIMES: Final[Mapping[str, Callable[[str], int]]] = {
    "date": days,
    "time-millis": _clock(3),
    "time-micros": _clock(6),
    "timestamp-millis": _moment(3, local=False),
    "timestamp-micros": _moment(6, local=False),
    "timestamp-nanos": _moment(9, local=False),
    "local-timestamp-millis": _moment(3, local=True),
    "local-timestamp-micros": _moment(6, local=True),
    "local-timestamp-nanos": _moment(9, local=True),
}
"""By logical type: a reader of text that returns Avro's integer or raises Unfit."""
