"""What a rule's value becomes, by the type of the field that it is compared with."""

from fractions import Fraction
from typing import Any

import pytest
from kernel_kit import schema_of

from hub.model.operands import UnfitOperand, comparable, operand
from hub.model.source_schema import FieldType, read_schema

TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
LOCAL_NANOS = {"type": "long", "logicalType": "local-timestamp-nanos"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
DATE = {"type": "int", "logicalType": "date"}
TIME = {"type": "int", "logicalType": "time-millis"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
ENUM = {"type": "enum", "name": "E", "symbols": ["a"]}


def kind_of(declared: Any) -> FieldType:
    """Return the type of a field as declared."""
    return read_schema(schema_of(declared)).fields[0].type


@pytest.mark.parametrize(
    ("declared", "value", "wanted"),
    [
        ("string", "a", "a"),
        (ENUM, "a", "a"),
        ("boolean", True, True),
        ("int", 5, 5),
        ("int", 2.5, 2.5),
        ("long", "9223372036854775807", 2**63 - 1),
        ("double", 1, 1.0),
        ("float", 0.1, 0.10000000149011612),
        (DATE, "1970-01-02", 1),
        (DATE, "1969-12-31", -1),
        (DATE, 20_000, 20_000),
        (TIME, "08:30", 30_600_000),
        (TIME, "00:00:00.250", 250),
        (TIMESTAMP, "1970-01-01", -8 * 3_600_000),
        (TIMESTAMP, "1970-01-01T08:00:00", 0),
        (TIMESTAMP, "1970-01-01T00:00:00Z", 0),
        (TIMESTAMP, "1970-01-01T09:00:00+09:00", 0),
        (TIMESTAMP, "1986-07-01T09:00:00", 520_560_000_000),
        (MICROS, "1970-01-01T08:00:00.000001", 1),
        (MICROS, "1970-01-01T08:00:00.000001000", 1),
        (MICROS, "1970-01-01T07:59:59.999999", -1),
        (NANOS, "1970-01-01T08:00:00.000000001", 1),
        (NANOS, "1970-01-01T07:59:59.999999999", -1),
        (NANOS, "2026-11-24T08:30:15.123456789+08:00", 1_795_480_215_123_456_789),
        (NANOS, "2026-11-24T00:30:15.1Z", 1_795_480_215_100_000_000),
        (NANOS, "1986-07-01T09:00:00", 520_560_000_000_000_000),
        (NANOS, "9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999_999),
        (NANOS, "1795480215123456789", 1_795_480_215_123_456_789),
        (NANOS, "-9223372036854775808", -(2**63)),
        (NANOS, 0, 0),
        (LOCAL_NANOS, "2026-11-24 08:30:15.123456789", 1_795_509_015_123_456_789),
        (LOCAL_NANOS, "1969-12-31T23:59:59.999999999", -1),
        (LOCAL, "1970-01-01T08:00:00", 28_800_000),
        (MONEY, "12.50", 1250),
        (MONEY, 12.5, 1250),
        (MONEY, -3, -300),
        (MONEY, "0.005", Fraction(1, 2)),
        (["null", "int"], 5, 5),
    ],
)
def test_a_value_becomes_what_the_field_is_compared_with(declared: Any, value: Any, wanted: Any) -> None:
    """Shanghai had summer time in 1986: nine hours from UTC."""
    found = operand(value, kind=kind_of(declared))

    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("string", 5),
        ("string", None),
        ("boolean", 1),
        ("int", True),
        ("int", "five"),
        ("int", 2**53),
        ("long", "99999999999999999999"),
        ("double", float("nan")),
        ("double", float("inf")),
        ("double", "1.5"),
        ("float", 1e300),
        (DATE, "2026-02-30"),
        (DATE, "20260228"),
        (DATE, "2026-02-28T00:00"),
        (TIME, "25:00"),
        (TIMESTAMP, "2026-W48-2"),
        (TIMESTAMP, "2026-11-24T08:30:00.0001"),
        (TIMESTAMP, 1.5),
        (TIMESTAMP, "1795480215123"),
        (MICROS, "2026-11-24T08:30:00.0000001"),
        (NANOS, "2026-11-24T08:30:00.0000000001"),
        (NANOS, "2026-02-30T08:30:00.000000001"),
        (NANOS, 2**53),
        (NANOS, 1.5),
        (LOCAL_NANOS, "2026-11-24T08:30:00.000000001Z"),
        (LOCAL, "2026-11-24T08:30:00Z"),
        (MONEY, "1e9"),
        (MONEY, "12.5 yuan"),
        (MONEY, float("inf")),
        ("bytes", "0x41"),
        ("null", "nothing"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_without_repeating_it(declared: Any, value: Any) -> None:
    """A rule's value may be a person's; the message goes to logs."""
    with pytest.raises(UnfitOperand) as refused:
        operand(value, kind=kind_of(declared))

    assert value is None or str(value) not in str(refused.value)


def test_bytes_fixed_and_null_cannot_be_compared() -> None:
    """A file has no way to write bytes; decimals are numbers whatever they stand on."""
    kinds = ("bytes", "null", {"type": "fixed", "name": "F", "size": 4})

    assert [comparable(kind_of(kind)) for kind in (*kinds, MONEY, "string")] == [False, False, False, True, True]
