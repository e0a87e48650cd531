"""Shanghai's clock with its history: its offset at every instant, and the instant of every time that it showed.

Local mean time (+08:05:43) until the end of 1900, +08:00 since, +09:00 in the summers of 1919, 1940 to 1949 and 1986 to 1991. The table is
ours, so that every process reckons alike, whatever zone database its machine has; the native kernel has the same one
(``native/src/values/shanghai.rs``). Source: the tz database, zone Asia/Shanghai, 2026f; a test compares it with the one installed.
"""

from bisect import bisect_right
from typing import Final

MEAN_TIME_S: Final = 29_143
"""Offset before the first entry of the table, in seconds."""
STANDARD_S: Final = 28_800
SUMMER_S: Final = 32_400
STANDARD_FROM: Final = -2_177_481_943
"""1901-01-01 00:00:00 by mean time, when clocks went back by 5:43."""
SUMMERS: Final = (
    (-1_600_675_200, -1_585_904_400),
    (-933_667_200, -922_093_200),
    (-908_870_400, -888_829_200),
    (-881_049_600, -767_869_200),
    (-745_833_600, -733_827_600),
    (-716_889_600, -699_613_200),
    (-683_884_800, -670_669_200),
    (-652_348_800, -650_019_600),
    (515_527_200, 527_014_800),
    (545_162_400, 558_464_400),
    (577_216_800, 589_914_000),
    (608_666_400, 621_968_400),
    (640_116_000, 653_418_000),
    (671_565_600, 684_867_600),
)
"""First second and end of each time at +09:00, in seconds since 1970."""
_CHANGES: Final = (
    (STANDARD_FROM, STANDARD_S),
    *(change for begin, end in SUMMERS for change in ((begin, SUMMER_S), (end, STANDARD_S))),
)
_INSTANTS: Final = [instant for instant, _ in _CHANGES]
_OFFSETS: Final = (MEAN_TIME_S, *(offset for _, offset in _CHANGES))
_SHOWN: Final = [instant + max(before, offset) for (instant, offset), before in zip(_CHANGES, _OFFSETS, strict=False)]
"""By entry: the first time on the clock that is reckoned with its offset."""


def offset_at(instant: int) -> int:
    """Return what the clock is ahead of UTC at ``instant``; both in seconds."""
    return _OFFSETS[bisect_right(_INSTANTS, instant)]


def instant_of(shown: int) -> int:
    """Return the instant at which the clock showed ``shown``, in seconds since 1970-01-01 00:00 on it.

    Of a time that it showed twice, the first; a time that it passed over counts on from the change, as if clocks had not yet been set: so
    the midnight that a summer time began with is the first instant of that day.
    """
    return shown - _OFFSETS[bisect_right(_SHOWN, shown)]
