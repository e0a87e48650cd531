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
        (
            "header",
            "none of its 3 columns is the schema's: the first line may be a row of data",
            "put the names of the columns into the first line",
        ),
        ("column 1", "its heading, 2 characters long, is none of the schema's", "did you mean `号牌`?"),
        ("column 2", "its heading, 2 characters long, is none of the schema's", "did you mean `座位数`?"),
        ("column 3", "the column has no name", "take it out, add it to the schema, or set `policy: discard_value`"),
        ("plate", "no column `号牌`, and the field has no default that can be taken", "add the column to the file"),
    ]


def test_unknown_columns_are_left_out_only_where_the_policy_says_so() -> None:
    """Freeze is the default: a new column is a decision."""
    assert fitted("号牌", "电话", policy="discard_value") == Fit((0, None, None), None)
    assert [field for field, *_ in problems("号牌", "电话")] == ["column 2"]


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
    assert problems("号牌", "photo") == [("photo", "field `photo` is of type bytes, which no cell can fill", "take the column out")]


def test_a_key_needs_a_column() -> None:
    """With the nearest field."""
    assert problems("号牌", key="plat") == [("key", "the key is no field of the schema", "did you mean `plate`?")]
    assert problems("号牌", key="seats")[0][:2] == ("key", "field `seats` has no column")


def test_a_file_without_header_is_refused() -> None:
    """One fault, not one per field."""
    assert problems() == [("header", "the file has no header", "put the names of the columns into the first line")]


def test_nothing_of_a_row_that_stands_where_headings_should_is_said() -> None:
    """A file without a header: its first row is a person's."""
    row = ("330106199001011258", "王小明", "13800001258", "wang@example.cn", "1990-01-01")
    with pytest.raises(HubError) as raised:
        fitted(*row)
    said = str(raised.value) + raised.value.fix + str(raised.value.problems)
    assert not [cell for cell in row if cell in said]
    assert "none of its 5 columns is the schema's, and 4 look like values" in said
    assert "column 2" in said


def test_a_heading_is_said_only_where_it_is_a_word_of_the_schema() -> None:
    """A column too many in a file that has a header: its place is enough to find it."""
    found = problems("号牌", "seats", "王小明")
    assert found == [
        (
            "column 3",
            "its heading, 3 characters long, is none of the schema's",
            "take it out, add it to the schema, or set `policy: discard_value`",
        )
    ]


def test_thousands_of_unknown_columns_are_refused_with_a_bound() -> None:
    """The first ones are named, the rest is counted; only the named ones are compared with the schema's words."""
    wide = read_schema({"type": "record", "name": "R", "fields": [{"name": f"field_{number}", "type": "string"} for number in range(450)]})
    found = problems("field_0", *(f"other_{number}" for number in range(3_000)), schema=wide)
    assert sum(where.startswith("column") for where, *_ in found) == 50
    assert ("header", "and 2950 more columns that the schema does not know") in [row[:2] for row in found]


LISTS = read_schema(
    {
        "type": "record",
        "name": "Tree",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
            {"name": "must", "type": {"type": "map", "values": "int"}},
        ],
    }
)


def test_what_is_said_of_a_list_is_true() -> None:
    """With its column, without it, with a default and without one: each fix leads out."""
    full = read_schema({**LISTS.declared, "fields": LISTS.declared["fields"][:2]})
    assert fitted("id", schema=full) == Fit((0, None), None)
    assert problems("id", "tags", schema=full) == [("tags", "field `tags` is an array, which no cell can fill", "take the column out")]
    assert problems("id", schema=LISTS) == [
        ("must", "no column `must`, and the field has no default that can be taken", "give the field a default: no column can fill it")
    ]
