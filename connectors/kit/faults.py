"""Why a row was set aside: stable codes that end up in the report of rejects, in metrics and nowhere with a value."""

from enum import StrEnum


class RowFault(StrEnum):
    """What is wrong with one row, or with one of its columns. The words never change meaning."""

    SYNTAX = "csv_syntax"
    """The row cannot be read as CSV: text after a closing quote, or a quote that is never closed."""
    COLUMNS = "column_count"
    """The row has more or fewer columns than the header."""
    TOO_LARGE = "row_too_large"
    """The row, or its record, is over the bound."""
    MISSING = "value_missing"
    """The value is one of the null values, and the field knows no null."""
    NOT_WHOLE = "not_a_whole_number"
    """Not a whole number in its plain form: digits, a minus before it where it is negative, no leading zeros."""
    NOT_NUMBER = "not_a_number"
    """Not a decimal number: digits, at most one point, at most one exponent; a whole one has no leading zeros."""
    OUT_OF_RANGE = "out_of_range"
    """A number or time that the field's type cannot hold, or that would become 0 in it."""
    TOO_PRECISE = "too_precise"
    """More digits than the field keeps: behind the point, or of a whole number in binary."""
    NOT_BOOLEAN = "not_a_boolean"
    """Not ``true``, ``false``, ``1`` or ``0``."""
    NOT_DATE = "not_a_date"
    """Not a day as ``2026-11-24``."""
    NOT_TIME = "not_a_time"
    """Not a time as ``2026-11-24T09:30:00+08:00``, or a time of day as ``09:30:00``."""
    ZONE = "zone_not_allowed"
    """A time with a zone for a field that holds local time."""
    NOT_SYMBOL = "not_a_symbol"
    """Not one of the enum's symbols."""
    NOT_UUID = "not_a_uuid"
    """Not a UUID in its usual form of 36 characters."""


class Unfit(Exception):  # noqa: N818 (a refusal of one value, and no bug of the program)
    """A text does not fit the field's type; carries the code and never the text."""

    def __init__(self, fault: RowFault) -> None:
        """Keep the code."""
        super().__init__(fault)
        self.fault = fault
