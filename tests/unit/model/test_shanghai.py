"""Shanghai's clock against the tz database that is installed: our table must say what everybody's says."""

import datetime as dt
from bisect import bisect_left
from importlib.resources import files
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model.shanghai import MEAN_TIME_S, STANDARD_FROM, SUMMERS, instant_of, offset_at

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LOCAL_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (times on a clock)
FIRST: Final = -62_135_510_000
"""Early in the year 1, where Python's calendar begins."""
LAST: Final = 4_133_980_800
"""2101."""
CHANGES: Final = [STANDARD_FROM, *(instant for summer in SUMMERS for instant in summer)]


def databases() -> list[ZoneInfo]:
    """Return Asia/Shanghai of the package ``tzdata`` and of this machine, which may be of other versions."""
    with (files("tzdata.zoneinfo") / "Asia" / "Shanghai").open("rb") as packaged:
        return [ZoneInfo.from_file(packaged), ZoneInfo("Asia/Shanghai")]


def told(zone: dt.tzinfo, instant: int) -> int:
    """Return a database's offset."""
    offset = (EPOCH + dt.timedelta(seconds=instant)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // dt.timedelta(seconds=1)


@pytest.mark.parametrize("zone", databases(), ids=["package", "machine"])
def test_every_change_of_the_database_is_in_the_table_and_no_other(zone: ZoneInfo) -> None:
    """Looked for by halving every week of the years 1 to 2101, so that a change that a newer database has is found."""
    found: list[int] = []
    weeks = [(week, told(zone, week)) for week in range(FIRST, LAST, 7 * 86_400)]
    for (begin, before), (end, behind) in pairwise(weeks):
        if before != behind:
            found.append(bisect_left(range(begin, end), True, key=lambda instant, before=before: told(zone, instant) != before) + begin)

    assert found == CHANGES
    assert told(zone, FIRST) == MEAN_TIME_S
    for instant in (second for change in CHANGES for second in (change - 1, change, change + 1)):
        assert offset_at(instant) == told(zone, instant)


NEAR_A_CHANGE = st.builds(lambda change, beyond: change + beyond, st.sampled_from(CHANGES), st.integers(-90_000, 90_000))


@given(shown=NEAR_A_CHANGE.map(lambda instant: instant + 28_800) | st.integers(FIRST + 90_000, LAST))
def test_a_time_on_the_clock_is_the_instant_that_the_database_says(shown: int) -> None:
    """Also one that the clock showed twice (the first), or passed over."""
    for zone in databases():
        moment = (LOCAL_EPOCH + dt.timedelta(seconds=shown)).replace(tzinfo=zone)
        assert instant_of(shown) == (moment - EPOCH) // dt.timedelta(seconds=1)


@given(instant=NEAR_A_CHANGE | st.integers(FIRST + 90_000, LAST))
def test_an_instant_comes_back_from_the_time_that_the_clock_showed(instant: int) -> None:
    """But for the second showing of an hour that came twice."""
    back = instant_of(instant + offset_at(instant))
    assert back == instant or (back < instant and back + offset_at(back) == instant + offset_at(instant))
