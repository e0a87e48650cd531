"""Headers: columns by title or name, and every misfit at once."""

from typing import Any

import pytest

from connectors.sources.csv_file.header import Fit, fit
from hub.model.errors import HubError, Problem
from hub.model.source_schema import read_schema

SCHEMA = read_schema(
    {
        "type": "record",
        "name": "Car",
        "fields": [
            {"name": "plate", "type": "string", "title": "号牌"},
            {"name": "seats", "type": ["null", "int"], "default": None, "title": "座位数"},
            {"name": "photo", "type": "bytes", "default": ""},
        ],
    }
)


def fitted(*header: str, policy: str = "freeze", key: str | None = None, schema: Any = SCHEMA) -> Fit:
    """Fit a header."""
    return fit(header, schema, policy=policy, key=key, file="a.csv")


def problems(*header: str, **options: Any) -> list[tuple[str, str, str]]:
    """Return every misfit of a header."""
    with pytest.raises(HubError) as raised:
        fitted(*header, **options)
    assert raised.value.code == "HUB-CONN-003"
    assert all(isinstance(problem, Problem) and problem.where == "a.csv:1" for problem in raised.value.problems)
    return [(problem.field, problem.message, problem.fix) for problem in raised.value.problems]


def test_columns_are_found_by_title_or_by_name_in_any_order() -> None:
    """Spaces round a heading do not count; an absent column takes the default."""
    assert fitted("seats", " 号牌 ") == Fit((1, 0, None), None)
    assert fitted("plate", key="plate") == Fit((0, None, None), 0)


def test_every_misfit_is_named_at_once_with_what_was_meant() -> None:
    """Mending a header takes one look."""
    assert problems("号码", "座位", "") == [
        ("号码", "the schema does not know this column", "did you mean `号牌`?"),
        ("座位", "the schema does not know this column", "did you mean `座位数`?"),
        ("column 3", "the column has no name", "take it out, add it to the schema, or set `policy: discard_value`"),
        ("plate", "no column `号牌`, and the field has no default", "add the column to the file"),
    ]


def test_unknown_columns_are_left_out_only_where_the_policy_says_so() -> None:
    """Freeze is the default: a new column is a decision."""
    assert fitted("号牌", "电话", policy="discard_value") == Fit((0, None, None), None)
    assert [field for field, *_ in problems("号牌", "电话")] == ["电话"]


def test_a_field_with_two_columns_is_refused() -> None:
    """Which of them is meant is not guessed."""
    assert problems("号牌", "plate") == [("plate", "columns 1 and 2 are both this field", "keep one of them")]


def test_two_fields_of_one_title_are_refused() -> None:
    """A column belongs to one field."""
    twins = read_schema(
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "a", "type": "string", "title": "名"}, {"name": "b", "type": "string", "title": "名"}],
        }
    )
    assert problems("名", schema=twins) == [("b", "column 1 is also field `a`", "give the two fields different titles")]


def test_bytes_are_not_filled_from_a_column() -> None:
    """There is no one way to write them as text."""
    assert [message for _, message, _ in problems("号牌", "photo")] == ["field `photo` holds bytes, which text cannot fill"]


def test_a_key_needs_a_column() -> None:
    """With the nearest field."""
    assert problems("号牌", key="plat") == [("key", "field `plat` has no column", "did you mean `plate`?")]
    assert problems("号牌", key="seats")[0][:2] == ("key", "field `seats` has no column")


def test_a_file_without_header_is_refused() -> None:
    """One fault, not one per field."""
    assert problems() == [("header", "the file has no header", "put the names of the columns into the first line")]
