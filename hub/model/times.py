"""Times of agreement files: written in Asia/Shanghai, kept in UTC milliseconds.

China has had one offset and no summer time since 1991, and terms lie after that (earlier ones are refused): a fixed +08:00 is right.
Times of records, which may be of any year, are ``hub.model.shanghai``'s.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
TIME_FIX: Final = "write a date such as 2027-12-31, or a time such as 2027-12-31T18:00 (Asia/Shanghai)"
_YEARS: Final = range(1992, 2200)
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def begin_ms(text: str) -> int:
    """Return the UTC milliseconds of a ``valid_from``: a bare date is its 00:00; ValueError when it is no time."""
    return _ms(_moment(text, day_offset=timedelta(0)))


def end_ms(text: str) -> int:
    """Return the UTC milliseconds of an exclusive ``valid_until``: a bare date is the end of that day, 24:00."""
    return _ms(_moment(text, day_offset=timedelta(days=1)))


def shown_time(at_ms: int) -> str:
    """Return a time for people, in Asia/Shanghai and saying so: ``2028-01-01 00:00 +08:00``."""
    return datetime.fromtimestamp(at_ms / 1000, tz=SHANGHAI).strftime("%Y-%m-%d %H:%M +08:00")


def shown_end(at_ms: int) -> str:
    """Return an exclusive end for people: the end of a day is ``2027-12-31 24:00 +08:00``, as whoever wrote the day means it."""
    moment = datetime.fromtimestamp(at_ms / 1000, tz=SHANGHAI)
    if (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0):
        return f"{moment - timedelta(days=1):%Y-%m-%d} 24:00 +08:00"
    return shown_time(at_ms)


def _moment(text: str, *, day_offset: timedelta) -> datetime:
    if _DAY.match(text):
        moment = datetime.combine(date.fromisoformat(text), time(), tzinfo=SHANGHAI) + day_offset
    elif _MOMENT.match(text):
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=SHANGHAI)
    else:
        raise ValueError("no time")
    if moment.year not in _YEARS:
        raise ValueError("year out of range")
    return moment


def _ms(moment: datetime) -> int:
    return int((moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
