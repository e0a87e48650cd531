"""Defaults: a value of the first branch of the field's type, in all its depth, or a fault with its place."""

import io
import json
from typing import Any

import avro.io
import avro.schema
import pytest

from hub.model.defaults import unfit_default
from hub.model.source_schema import read_schema

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}
PART = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "string", "default": ""}]}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}
CLOCK = {"type": "int", "logicalType": "time-millis"}
UUID = {"type": "string", "logicalType": "uuid"}

FIT: list[tuple[Any, Any]] = [
    ("null", None),
    ("boolean", False),
    ("int", -(2**31)),
    ("int", 2**31 - 1),
    ("long", 2**53),
    ("float", 3.5),
    ("double", 1.5),
    ("string", "名"),
    ("bytes", ""),
    ("bytes", "\x7f"),
    (FIXED, "ab"),
    (ENUM, "B"),
    ({"type": "array", "items": "int"}, []),
    ({"type": "array", "items": ["null", "int"]}, [None]),
    ({"type": "map", "values": "long"}, {"a": 1}),
    (PART, {"x": 1}),
    (PART, {"x": 1, "y": "z"}),
    (["null", "string"], None),
    (["string", "null"], ""),
    (["int", "string", "null"], 1),
    (["null", PART], None),
    ({"type": "long", "logicalType": "timestamp-millis"}, 0),
    (CLOCK, 86_399_999),
    (UUID, "00000000-0000-0000-0000-00000000000a"),
    ({"type": "string", "logicalType": "unheard-of"}, "x"),
]
UNFIT: list[tuple[Any, Any, str]] = [
    ("null", "none", ""),
    ("boolean", 0, ""),
    ("int", 3_000_000_000, ""),
    ("int", "7", ""),
    ("int", True, ""),
    ("int", 1.0, ""),
    ("int", None, ""),
    ("long", 2**63, ""),
    ("float", 1e39, ""),
    ("double", "NaN", ""),
    ("double", float("inf"), ""),
    ("string", 7, ""),
    ("string", "\ud800", ""),
    ("bytes", "中", ""),
    ("bytes", 7, ""),
    (FIXED, "a", ""),
    (FIXED, "abc", ""),
    (ENUM, "C", ""),
    (ENUM, ["A"], ""),
    ({"type": "array", "items": "int"}, ["x"], "[0]"),
    ({"type": "array", "items": "int"}, {}, ""),
    ({"type": "array", "items": ["int", "null"]}, [1, None], "[1]"),
    ({"type": "map", "values": "long"}, {"a": 1, "b": "2"}, "{1}"),
    ({"type": "map", "values": "long"}, [], ""),
    (PART, {}, ""),
    (PART, {"x": "1"}, ".x"),
    (PART, {"x": 1, "z": 2}, ""),
    (PART, None, ""),
    (["string", "null"], None, ""),
    (["boolean", "null"], None, ""),
    ([ENUM, "null"], None, ""),
    ([{"type": "long", "logicalType": "timestamp-millis"}, "null"], None, ""),
    (["null", "string"], "", ""),
    (["int", "string", "null"], "a", ""),
    (MONEY, "", ""),
    (MONEY, "\x7f\xff", ""),
    (CLOCK, 86_400_000, ""),
    (CLOCK, -1, ""),
    (UUID, "", ""),
]


def field_of(kind: Any) -> Any:
    """Return the type as the exchange reads it."""
    return read_schema({"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}).fields[0].type


@pytest.mark.parametrize(("kind", "default"), [*FIT, ("double", 3), (MONEY, "\x03\xe7"), ("bytes", "\xff"), (FIXED, "\x00\xff")])
def test_a_value_of_the_type_is_a_default(kind: Any, default: Any) -> None:
    """What readers may fill in."""
    assert unfit_default(default, field_of(kind)) is None


@pytest.mark.parametrize(("kind", "default", "place"), UNFIT)
def test_what_is_no_value_of_the_type_is_told_with_its_place_and_a_fix(kind: Any, default: Any, place: str) -> None:
    """Never with the value: it may be somebody's."""
    found = unfit_default(default, field_of(kind))
    assert found is not None
    assert (found.place, found.fix != "") == (place, True)
    assert not isinstance(default, str) or len(default) < 3 or default not in found.message + found.fix


def test_the_default_meant_for_a_later_branch_is_told_as_such() -> None:
    """The commonest slip in schemas that people write by hand."""
    found = unfit_default(None, field_of(["string", "null"]))
    assert found is not None
    assert "later branch" in found.message


def test_deep_unions_are_not_walked_once_for_each_branch() -> None:
    """30 levels of two records each would be a billion walks."""
    kind: Any = "int"
    for level in range(15):
        kind = [
            {"type": "record", "name": f"A{level}", "fields": [{"name": "f", "type": kind}]},
            {"type": "record", "name": f"B{level}", "fields": [{"name": "f", "type": "int"}]},
        ]
    default: Any = "wrong"
    for _ in range(15):
        default = {"f": default}
    found = unfit_default(default, field_of(kind))
    assert found is not None
    assert found.place == ".f" * 15


@pytest.mark.parametrize(("kind", "default"), FIT)
def test_avros_own_library_fills_in_what_is_taken(kind: Any, default: Any) -> None:
    """A foreign witness: it reads a record of before, and what it fills in is a value of the type by its own rule."""
    before = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "int"}]}
    after = {**before, "fields": [*before["fields"], {"name": "a", "type": kind, "default": default}]}
    writer, reader = (avro.schema.parse(json.dumps(_bare(schema))) for schema in (before, after))
    found = avro.io.DatumReader(writer, reader).read(avro.io.BinaryDecoder(io.BytesIO(b"\x02")))
    out = io.BytesIO()
    avro.io.DatumWriter(reader).write(found, avro.io.BinaryEncoder(out))
    assert out.getvalue().startswith(b"\x02")


def _bare(node: Any) -> Any:
    """Return a schema without logical types, whose defaults that library cannot fill in at all; bytes it takes as text."""
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return "string" if node == "bytes" else node
    if node.get("type") == "fixed":
        return "string"
    return {key: value if key in {"default", "name"} else _bare(value) for key, value in node.items() if key != "logicalType"}
