"""Paths: what a name in an agreement leads to, and what to write where it leads nowhere."""

import pytest
from kernel_kit import schema_of

from hub.model.paths import NoPlace, find_place, is_path, leaves
from hub.model.source_schema import read_schema

CITY = {"type": "record", "name": "City", "fields": [{"name": "zip", "type": "string", "identifier": "zip"}]}
HOME = {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", CITY]}, {"name": "door", "type": "int"}]}
SOURCE = read_schema(
    schema_of(
        HOME,
        {"type": "array", "items": "Home"},
        {"type": "map", "values": {"type": "array", "items": "string"}},
        ["null", "int", "City"],
        "int",
    )
)


@pytest.mark.parametrize("text", ["a", "_a9", "a.b.c", "a[].b", "a{}", "a[][]", "a{}[].b", "a" * 1_000])
def test_a_path_is_names_with_dots_and_marks_of_elements(text: str) -> None:
    """As close as possible to what people write for JSON."""
    assert is_path(text)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "[]", "a[0]", "a[]b", "a[", "a{x}", "a b", "浙", "a.[]", "a\n", "a" * 1_001])
def test_what_is_no_path_is_told_apart(text: str) -> None:
    """An index or a key would be another promise than `each element`."""
    assert not is_path(text)


@pytest.mark.parametrize(
    ("text", "base", "elements"),
    [
        ("f0", "record", False),
        ("f0.city.zip", "string", False),
        ("f1[]", "record", True),
        ("f1[].city", "record", True),
        ("f2{}", "array", True),
        ("f2{}[]", "string", True),
        ("f3", "union", False),
    ],
)
def test_a_path_leads_through_records_elements_and_nulls(text: str, base: str, elements: bool) -> None:  # noqa: FBT001 (of the table)
    """A union of null and one type is passed through."""
    found = find_place(text, SOURCE)

    assert (found.type.base, found.elements) == (base, elements)


def test_the_field_named_last_says_the_identifier_kind() -> None:
    """For its elements too."""
    assert find_place("f1[].city.zip", SOURCE).field.identifier == "zip"
    assert find_place("f2{}[]", SOURCE).field.name == "f2"


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("f44", "field `f44` is not in the schema `R`", "did you mean"),
        ("f0.town", "field `town` is not in record `f0`", "its fields: city, door"),
        ("f1.city", "`f1` is an array and has no fields", "write `f1[]` for its elements"),
        ("f2.city", "`f2` is a map and has no fields", "write `f2{}` for its values"),
        ("f2[]", "`f2` is a map, and `[]` is for arrays", "write `f2{}` for its values"),
        ("f0[]", "`f0` is a record, and `[]` is for arrays", "name its fields: `f0.city`, `f0.door`"),
        ("f3.zip", "`f3` is a union of several types and has no fields", "end the path at `f3`"),
        ("f4.x", "`f4` is of type int and has no fields", "end the path at `f4`"),
        ("f4[0]", "`f4[0]` is no path", "write a name of the dataset's schema"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_stops_and_how_to_go_on(text: str, message: str, fix: str) -> None:
    """Officers do not know schemas by heart."""
    with pytest.raises(NoPlace) as refused:
        find_place(text, SOURCE)

    assert str(refused.value) == message
    assert fix in refused.value.fix


def test_the_leaves_are_all_that_can_be_granted() -> None:
    """What holds no record is one leaf; a union that holds records has no way in and is named itself."""
    found = leaves(SOURCE.record, "")

    assert found == ("f0.city.zip", "f0.door", "f1[].city.zip", "f1[].door", "f2", "f3", "f4")
