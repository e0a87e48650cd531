"""Which narrower type a column of text would fit: one that changes nothing of how its values are written.

A number is no proposal where it would change a value (`0571`, `12e5`, `5.10`, twenty digits), nor for numbers that only name things:
whole numbers of one length, as postal codes, telephone numbers and invoices have. Amounts with the same digits behind the point
fit a decimal.
"""

import re
from collections.abc import Sequence
from typing import Final

from connectors.kit.faults import Unfit
from connectors.kit.values import Convert, converter
from hub.model.field_types import DECIMAL_PRECISION_MAX
from hub.model.source_schema import FieldType, SourceField

CODE_DIGITS_MIN: Final = 6
"""Whole numbers that all have so many digits or more, and all as many, are codes."""
DOUBLE_DIGITS_MAX: Final = 15
_TYPES: Final = ("int", "long", "boolean", "date", "timestamp-millis")
_AMOUNT: Final = re.compile(r"-?(0|[1-9][0-9]*)\.([0-9]+)\Z")
_PLAIN: Final = re.compile(r"(?!-0\Z)-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?\Z")


def would_fit(given: Sequence[str]) -> str:
    """Return the narrowest type of every value of ``given``: ``string`` where no other keeps each as it is."""
    if not given:
        return "string"
    if all(value.isascii() and value.isdigit() for value in given):
        lengths = {len(value) for value in given}
        if len(lengths) == 1 and lengths.pop() >= CODE_DIGITS_MIN:
            return "string"
    found = next((name for name in _TYPES if _fits(_candidate(name), given)), None)
    return found or _decimal(given) or _double(given) or "string"


def _decimal(given: Sequence[str]) -> str | None:
    """Return the decimal of amounts that all have the same digits behind the point."""
    parts = [_AMOUNT.match(value) for value in given]
    scales = {len(part[2]) for part in parts if part is not None}
    if None in parts or len(scales) != 1:
        return None
    scale = scales.pop()
    precision = max(len(part[1]) for part in parts if part is not None) + scale
    return f"decimal({precision},{scale})" if precision <= DECIMAL_PRECISION_MAX else None


def _double(given: Sequence[str]) -> str | None:
    keeps = all(_PLAIN.match(value) is not None and sum(map(str.isdigit, value)) <= DOUBLE_DIGITS_MAX for value in given)
    return "double" if keeps else None


def _candidate(name: str) -> Convert:
    base = {"date": "int", "timestamp-millis": "long"}.get(name, name)
    kind = FieldType(base=base, logical=name if base != name else None)
    convert = converter(SourceField(name="column", type=kind, identifier=None, declared={}), null_values=frozenset())
    if convert is None:
        raise AssertionError("every candidate can be filled from text")
    return convert


def _fits(convert: Convert, values: Sequence[str]) -> bool:
    try:
        for value in values:
            convert(value)
    except Unfit:
        return False
    return True
