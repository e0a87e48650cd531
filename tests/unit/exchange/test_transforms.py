"""Transforms on whole ranges of values, against Python's own calendar and exact fractions."""

import datetime as dt
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.exchange.reference.decode import Rejected
from hub.exchange.reference.encode import compile_encoder, varint
from hub.exchange.reference.transforms import bucket, truncation
from hub.model.agreement import Bucket, Truncate
from hub.model.field_types import FieldType
from hub.model.transforms import UNITS, plain

DATE = FieldType(base="int", logical="date")
MILLIS = FieldType(base="long", logical="timestamp-millis")
SHANGHAI = ZoneInfo("Asia/Shanghai")
FINER = {"timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}
EPOCH = dt.date(1970, 1, 1)
ANY_DAY = st.dates()
ANY_TIME = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29)).map(lambda moment: moment.replace(tzinfo=SHANGHAI))  # noqa: DTZ001


@given(day=ANY_DAY, unit=st.sampled_from(["month", "quarter", "year"]))
def test_dates_begin_their_month_quarter_or_year_as_the_calendar_says(day: dt.date, unit: str) -> None:
    """The years 1 to 9999, leap days among them."""
    month = {"month": day.month, "quarter": (day.month - 1) // 3 * 3 + 1, "year": 1}[unit]

    found = truncation(Truncate(to=unit), DATE)((day - EPOCH).days)

    assert EPOCH + dt.timedelta(days=found) == day.replace(month=month, day=1)


@given(moment=ANY_TIME, unit=st.sampled_from(UNITS["timestamp-millis"]))
def test_timestamps_begin_their_unit_as_clocks_in_shanghai_show(moment: dt.datetime, unit: str) -> None:
    """At +08:00: the day of a record is the day that the department saw."""
    origin = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    units = ("second", "minute", "hour", "day", "month", "quarter", "year")
    wanted = moment.replace(microsecond=0)
    for done, (name, value) in enumerate((("second", 0), ("minute", 0), ("hour", 0), ("day", 1)), start=1):
        wanted = wanted.replace(**{name: value}) if units.index(unit) >= done else wanted
    if unit in {"quarter", "year"}:
        wanted = wanted.replace(month=(wanted.month - 1) // 3 * 3 + 1 if unit == "quarter" else 1)

    found = truncation(Truncate(to=unit), MILLIS)((moment - origin) // dt.timedelta(milliseconds=1))

    assert dt.timedelta(milliseconds=found) == wanted - origin


@pytest.mark.parametrize("logical", ["timestamp-micros", "timestamp-nanos", "local-timestamp-micros", "local-timestamp-nanos"])
@given(at=st.integers(-(2**62) // 1_000_000, 2**62 // 1_000_000), unit=st.sampled_from(UNITS["timestamp-millis"]), data=st.data())
def test_a_finer_timestamp_begins_its_unit_where_milliseconds_do(logical: str, at: int, unit: str, data: st.DataObject) -> None:
    """What lies below the millisecond never moves a day; also before 1970, and with no zone."""
    finer = FINER[logical.removeprefix("local-")]
    beyond = data.draw(st.integers(0, finer - 1))
    coarse = FieldType(base="long", logical=logical.replace("micros", "millis").replace("nanos", "millis"))

    found = truncation(Truncate(to=unit), FieldType(base="long", logical=logical))(at * finer + beyond)

    assert found == truncation(Truncate(to=unit), coarse)(at) * finer


@pytest.mark.parametrize("logical", ["timestamp-nanos", "local-timestamp-nanos"])
def test_a_unit_that_begins_before_the_first_nanosecond_is_refused(logical: str) -> None:
    """A long of nanoseconds begins in September 1677, so that the year's first day is none of its values."""
    change = truncation(Truncate(to="year"), FieldType(base="long", logical=logical))
    with pytest.raises(Rejected):
        change(-(2**63))
    assert change(2**63 - 1) <= 2**63 - 1


@given(day=st.integers(-(2**31), 2**31 - 1), unit=st.sampled_from(["month", "quarter", "year"]))
def test_any_day_that_avro_can_say_is_truncated_or_refused(day: int, unit: str) -> None:
    """Five million years either way: truncated twice is truncated once, and never later."""
    change = truncation(Truncate(to=unit), DATE)
    try:
        found = change(day)
    except Rejected:
        assert day < -(2**31) + 366
    else:
        assert found <= day < found + 367
        assert change(found) == found


@given(number=st.floats(-1e12, 1e12), width=st.sampled_from(["0.1", "0.25", "3", "10"]))
def test_a_number_lies_in_its_bucket(number: float, width: str) -> None:
    """Up to the rounding of one division, which may take a number next to an edge across it."""
    low, high = bucket(Bucket(width=width), FieldType(base="double"))(number)[1:-1].split(",")

    slack = abs(Fraction(number)) / 2**50 + Fraction(1, 10**300)
    assert Fraction(low) - slack <= Fraction(number) <= Fraction(high) + slack
    assert Fraction(high) - Fraction(low) == Fraction(width)


@pytest.mark.parametrize(
    ("number", "text"),
    [("0", "0"), ("-0.50", "-0.5"), ("100", "100"), ("0.001", "0.001"), ("-12.5", "-12.5"), ("10.0", "10"), ("1e3", "1000")],
)
def test_numbers_are_shown_plainly(number: str, text: str) -> None:
    """The same on every machine: no exponent, no needless zero."""
    assert plain(Fraction(number)) == text


@given(number=st.integers(-(2**63), 2**63 - 1))
def test_integers_are_written_in_their_shortest_form(number: int) -> None:
    """As the strict decoder asks."""
    written = varint(number)
    raw = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(written))

    assert (raw >> 1) ^ -(raw & 1) == number
    assert len(written) == max(1, (raw.bit_length() + 6) // 7)


@given(units=st.integers(-(2**200), 2**200))
def test_decimals_are_written_in_their_shortest_form(units: int) -> None:
    """Two's complement without a needless byte."""
    written = compile_encoder(FieldType(base="bytes", logical="decimal"))(units)
    body = written[1:]

    assert int.from_bytes(body, "big", signed=True) == units
    assert len(body) == 1 or int.from_bytes(body[1:], "big", signed=True) != units
