"""Text to Avro: what fits, what does not and why, and that the bytes are those of an Avro library."""

import contextlib
import io
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kit.defaults import VALUES_MAX, default_bytes
from connectors.kit.faults import RowFault, Unfit
from connectors.kit.values import converter, zigzag
from hub.model.source_schema import read_schema

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
ENUM = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
INNER = {
    "type": "record",
    "name": "Inner",
    "fields": [{"name": "n", "type": "int"}, {"name": "t", "type": {"type": "array", "items": "string"}, "default": []}],
}


def field_of(kind: Any, **more: Any) -> Any:
    """Return a field of one type, as a schema declares it."""
    return read_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind, **more}]}).fields[0]


def logical(name: str, base: str) -> dict[str, str]:
    """Return a logical type."""
    return {"type": base, "logicalType": name}


def bytes_of(kind: Any, text: str, *, nulls: tuple[str, ...] = ()) -> bytes:
    """Convert a text."""
    convert = converter(field_of(kind), null_values=frozenset(nulls))
    assert convert is not None
    return convert(text)


def read_back(kind: Any, raw: bytes) -> Any:
    """Read bytes with an Avro library that did not write them."""
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]})
    source = io.BytesIO(raw)
    value: dict[str, Any] = fastavro.schemaless_reader(source, schema, None)  # type: ignore[assignment]
    assert source.read() == b"", "nothing is left over"
    return value["f"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "0571-0001", "0571-0001"),
        ("string", " padded ", " padded "),
        ("string", "", ""),
        ("string", "浙A𠮷", "浙A𠮷"),
        ("int", "0", 0),
        ("int", "-2147483648", -(2**31)),
        ("int", "2147483647", 2**31 - 1),
        ("long", "9223372036854775807", 2**63 - 1),
        ("long", "-9223372036854775808", -(2**63)),
        ("double", "1e3", 1000.0),
        ("double", "-0.5", -0.5),
        ("double", "007.50", 7.5),
        ("float", "0.5", 0.5),
        ("float", "16777216", 16777216.0),
        ("float", "0.00", 0.0),
        ("double", "9007199254740992", 9007199254740992.0),
        ("double", "1e22", 1e22),
        ("double", "0e-999", 0.0),
        ("double", "0.10000000000000001", 0.1),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        (ENUM, "BLUE", "BLUE"),
        (DECIMAL, "-12.5", Decimal("-12.50")),
        (DECIMAL, "1.5000", Decimal("1.50")),
        (DECIMAL, "0", Decimal("0.00")),
        ({"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 6, "scale": 2}, "-12.5", Decimal("-12.50")),
        (logical("date", "int"), "1969-12-31", date(1969, 12, 31)),
        (logical("timestamp-millis", "long"), "2013-01-01T10:00:00Z", datetime(2013, 1, 1, 10, tzinfo=UTC)),
        (logical("timestamp-millis", "long"), "2013-01-01 10:00", datetime(2013, 1, 1, 2, tzinfo=UTC)),
        (logical("timestamp-millis", "long"), "1988-07-01T12:00:00", datetime(1988, 7, 1, 3, tzinfo=UTC)),
        (logical("timestamp-millis", "long"), "1969-12-31T23:59:59.999Z", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (logical("timestamp-micros", "long"), "2013-01-01T10:00:00.000001+08:00", datetime(2013, 1, 1, 2, 0, 0, 1, tzinfo=UTC)),
        (logical("uuid", "string"), "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", None),
        ("null", "anything", None),
    ],
)
def test_a_text_becomes_the_value_that_it_says(kind: Any, text: str, value: Any) -> None:
    """Leading zeros of text stay; bare times are Shanghai's, with the summer time of 1988."""
    found = read_back(kind, bytes_of(kind, text))
    assert found == value if value is not None else str(found or "").lower() == ("" if kind == "null" else text.lower())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("timestamp-nanos", "2026-11-24T08:30:15.123456789", 1_795_480_215_123_456_789),
        ("timestamp-nanos", "1969-12-31T23:59:59.999999999Z", -1),
        ("timestamp-nanos", "1988-07-01T12:00:00", 583_729_200_000_000_000),
        ("local-timestamp-nanos", "2026-11-24T08:30:15.123456789", 1_795_509_015_123_456_789),
        ("local-timestamp-micros", "1970-01-01T00:00:00.000001", 1),
    ],
)
def test_a_text_becomes_nanoseconds_to_the_last_digit(name: str, text: str, value: int) -> None:
    """The library that reads back has no nanoseconds: it reads the plain long."""
    assert read_back("long", bytes_of(logical(name, "long"), text)) == value


@pytest.mark.parametrize(
    ("kind", "text", "fault"),
    [
        ("int", "007", RowFault.NOT_WHOLE),
        ("int", "+7", RowFault.NOT_WHOLE),
        ("int", "-0", RowFault.NOT_WHOLE),
        ("int", " 7", RowFault.NOT_WHOLE),
        ("int", "7.0", RowFault.NOT_WHOLE),
        ("int", "1_000", RowFault.NOT_WHOLE),
        ("int", "٧", RowFault.NOT_WHOLE),
        ("int", "7\n", RowFault.NOT_WHOLE),
        ("int", "9" * 5000, RowFault.NOT_WHOLE),
        ("int", "2147483648", RowFault.OUT_OF_RANGE),
        ("long", "9223372036854775808", RowFault.OUT_OF_RANGE),
        ("double", "nan", RowFault.NOT_NUMBER),
        ("double", "inf", RowFault.NOT_NUMBER),
        ("double", "1,5", RowFault.NOT_NUMBER),
        ("double", "1e999", RowFault.OUT_OF_RANGE),
        ("float", "1e39", RowFault.OUT_OF_RANGE),
        ("double", "9007199254740993", RowFault.TOO_PRECISE),
        ("double", "9007199254740993.0", RowFault.TOO_PRECISE),
        ("double", "12345678901234567890", RowFault.TOO_PRECISE),
        ("double", "1234567890123456789.5", RowFault.TOO_PRECISE),
        ("double", "1e-400", RowFault.OUT_OF_RANGE),
        ("double", "-0." + "0" * 330 + "1", RowFault.OUT_OF_RANGE),
        ("double", "0571", RowFault.NOT_NUMBER),
        ("double", "1" * 399, RowFault.OUT_OF_RANGE),
        ("float", "16777217", RowFault.TOO_PRECISE),
        ("float", "1e-60", RowFault.OUT_OF_RANGE),
        ("boolean", "yes", RowFault.NOT_BOOLEAN),
        (ENUM, "red", RowFault.NOT_SYMBOL),
        (DECIMAL, "1.234", RowFault.TOO_PRECISE),
        (DECIMAL, "10000", RowFault.OUT_OF_RANGE),
        (DECIMAL, "1e2", RowFault.NOT_NUMBER),
        (logical("date", "int"), "20130101", RowFault.NOT_DATE),
        (logical("date", "int"), "2013-02-29", RowFault.NOT_DATE),
        (logical("timestamp-millis", "long"), "2013-01-01", RowFault.NOT_TIME),
        (logical("timestamp-millis", "long"), "2013-01-01T25:00:00Z", RowFault.NOT_TIME),
        (logical("timestamp-millis", "long"), "2013-01-01T10:00:00.0001Z", RowFault.TOO_PRECISE),
        (logical("timestamp-micros", "long"), "2013-01-01T10:00:00.0000001Z", RowFault.TOO_PRECISE),
        (logical("timestamp-nanos", "long"), "2013-01-01T10:00:00.0000000001Z", RowFault.NOT_TIME),
        (logical("timestamp-nanos", "long"), "2263-01-01T00:00:00Z", RowFault.OUT_OF_RANGE),
        (logical("local-timestamp-millis", "long"), "2013-01-01T10:00:00Z", RowFault.ZONE),
        (logical("local-timestamp-nanos", "long"), "2013-01-01T10:00:00Z", RowFault.ZONE),
        (logical("time-millis", "int"), "24:00:00", RowFault.NOT_TIME),
        (logical("uuid", "string"), "f81d4fae", RowFault.NOT_UUID),
    ],
)
def test_a_text_that_would_lose_or_gain_something_is_refused(kind: Any, text: str, fault: RowFault) -> None:
    """Each with its own word, and never with the text."""
    with pytest.raises(Unfit) as raised:
        bytes_of(kind, text)
    assert raised.value.fault is fault
    assert text not in str(raised.value)


def test_a_null_value_is_null_where_the_field_knows_null() -> None:
    """In either order of the union; elsewhere text stays text, and the rest is missing."""
    assert bytes_of(["null", "int"], "NA", nulls=("NA",)) == b"\x00"
    assert bytes_of(["int", "null"], "NA", nulls=("NA",)) == b"\x02"
    assert bytes_of(["int", "null"], "1", nulls=("NA",)) == b"\x00\x02"
    assert read_back("string", bytes_of("string", "NA", nulls=("NA",))) == "NA"
    with pytest.raises(Unfit) as raised:
        bytes_of("int", "NA", nulls=("NA",))
    assert raised.value.fault is RowFault.MISSING


@pytest.mark.parametrize("kind", ["bytes", {"type": "fixed", "name": "F", "size": 4}, ["null", "bytes"]])
def test_bytes_cannot_be_filled_from_text(kind: Any) -> None:
    """There is no one way to write them."""
    assert converter(field_of(kind), null_values=frozenset()) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "浙"),
        ("int", -3),
        ("boolean", True),
        ("double", 2.5),
        ("float", 2.5),
        (ENUM, "BLUE"),
        (["null", "int"], None),
        (["int", "null"], 4),
        (["string", "null"], None),
        (["int", "string", "null"], None),
        (["int", "string", "null"], 4),
        ({"type": "array", "items": "string"}, []),
        ({"type": "array", "items": "string"}, ["a", "浙"]),
        ({"type": "map", "values": "int"}, {}),
        ({"type": "map", "values": ["null", "int"]}, {"a": None}),
        (INNER, {"n": 1, "t": ["x"]}),
        (INNER, {"n": 1}),
        ("bytes", "\u00ff\u0001"),
        ({"type": "fixed", "name": "F", "size": 2}, "\u00ff\u0001"),
    ],
)
def test_a_default_is_written_as_the_schema_says_it(kind: Any, value: Any) -> None:
    """It stands for the first branch of a union."""
    raw = default_bytes(field_of(kind, default=value))
    assert raw is not None
    expected = {"n": 1, "t": []} if value == {"n": 1} else value
    assert read_back(kind, raw) == (value.encode("latin-1") if "\u0001" in str(value) else expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", None),
        ("boolean", 0),
        ("boolean", None),
        ("int", 2**31),
        ("int", 1.0),
        ("int", True),
        ("long", "5"),
        ("double", "1.5"),
        ("double", None),
        ("float", 1e300),
        ("double", 2**53 + 1),
        ("bytes", "浙"),
        ("bytes", None),
        ({"type": "fixed", "name": "F", "size": 2}, "a"),
        (ENUM, "GREEN"),
        (ENUM, None),
        (logical("timestamp-millis", "long"), None),
        (["null", "string"], "x"),
        (["null", "int"], 4),
        (["int", "string", "null"], "x"),
        ({"type": "array", "items": "int"}, {}),
        ({"type": "array", "items": "int"}, ["x"]),
        ({"type": "map", "values": "int"}, []),
        (INNER, {}),
        (INNER, {"n": 1, "other": 2}),
        ("string", "\ud800"),
    ],
)
def test_a_default_that_is_no_value_of_its_type_is_none(kind: Any, value: Any) -> None:
    """Nothing is made of it that nobody wrote, and nothing crashes."""
    assert default_bytes(field_of(kind, default=value)) is None


def test_a_default_that_asks_for_more_than_the_bound_is_none() -> None:
    """A few bytes of a schema can name millions of values."""
    twice = [{"type": "array", "items": "int"}, {"type": "array", "items": {"type": "array", "items": "int"}}]
    assert default_bytes(field_of(twice[0], default=[0] * (VALUES_MAX - 1))) is not None
    assert default_bytes(field_of(twice[0], default=[0] * VALUES_MAX)) is None
    assert default_bytes(field_of(twice[1], default=[[0] * 1_000] * 100)) is None


def test_a_field_without_a_default_has_none() -> None:
    """Null is no default unless it is declared."""
    assert default_bytes(field_of(["null", "int"])) is None


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_long_reads_back_as_itself(number: int) -> None:
    """Both ways of the variable-length integer."""
    assert read_back("long", bytes_of("long", str(number))) == number
    assert zigzag(number) == bytes_of("long", str(number))


@given(st.text())
def test_every_text_reads_back_as_itself(text: str) -> None:
    """Text stays text."""
    assert read_back("string", bytes_of("string", text)) == text


@given(st.decimals(min_value=-9999, max_value=9999, places=2))
def test_every_decimal_reads_back_as_itself_and_is_shortest(number: Decimal) -> None:
    """Two's complement without a byte too many; the library itself writes -1.28 with one."""
    written = bytes_of(DECIMAL, f"{number:f}")
    assert read_back(DECIMAL, written) == number
    assert len(written) - 1 == max(1, (int(number.scaleb(2)) + (number < 0)).bit_length() // 8 + 1)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_reads_back_as_itself(number: float) -> None:
    """Python's shortest form is one of those that are understood."""
    assert bytes_of("double", repr(number)) == struct.pack("<d", number)


@given(st.text(max_size=30), st.sampled_from(["int", "long", "double", "float", "boolean", "date", "timestamp-millis", "decimal", "uuid"]))
def test_no_text_raises_anything_but_unfit(text: str, kind: str) -> None:
    """A row costs itself only."""
    known: dict[str, Any] = {
        "date": logical("date", "int"),
        "timestamp-millis": logical("timestamp-millis", "long"),
        "decimal": DECIMAL,
        "uuid": logical("uuid", "string"),
    }
    with contextlib.suppress(Unfit):
        bytes_of(known.get(kind, kind), text)


def test_nested_types_are_filled_by_their_default_or_not_at_all() -> None:
    """A file of columns has no lists."""
    kinds: list[Any] = [{"type": "array", "items": "int"}, {"type": "map", "values": "int"}, ["int", "string"]]
    for kind in kinds:
        assert converter(field_of(kind), null_values=frozenset()) is None
    assert default_bytes(field_of(["null", kinds[0]], default=None)) == b"\x00"
    assert default_bytes(field_of(["null", "int", "string"], default=None)) == b"\x00"
