"""One schema in any spelling has one normal form; what means something to a reader keeps schemas apart."""

from typing import Any

import fastavro
import pytest

from hub.model.normal_form import normal_form

ENUM = {"type": "enum", "name": "Kind", "symbols": ["A"]}


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    """Return a record schema."""
    return {"type": "record", "name": "Person", "namespace": "dept.reg", "fields": list(fields), **more}


def field(kind: Any, **more: Any) -> dict[str, Any]:
    """Return a field of that type."""
    return {"name": "a", "type": kind, **more}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record(field("string")), record(field({"type": "string"}))),
        (record(field("string")), record(field({"type": {"type": "string"}}))),
        (record(field(["null", "string"])), record(field({"type": ["null", {"type": "string"}]}))),
        (record(field({"type": "array", "items": "int"})), record(field({"type": {"type": "array", "items": {"type": "int"}}}))),
        (record(field({"type": "map", "values": "int"})), record(field({"type": "map", "values": {"type": "int"}}))),
        (record(field("int")), record(field("int"), name="dept.reg.Person", namespace="elsewhere")),
        (record(field(ENUM)), record(field({**ENUM, "namespace": "dept.reg"}))),
        (record(field(ENUM)), record(field({**ENUM, "name": "dept.reg.Kind"}))),
        (record(field(ENUM), {"name": "b", "type": "Kind"}), record(field(ENUM), {"name": "b", "type": {"type": "dept.reg.Kind"}})),
        (record(field("int"), namespace=""), {"type": "record", "name": "Person", "fields": [field("int")]}),
        (record(field("int")), record(field("int", order="ascending", aliases=[]), aliases=[])),
        (record(field("int", aliases=["b"]), aliases=["Human"]), record(field("int", aliases=["b"]), aliases=["dept.reg.Human"])),
        (
            record(field({"type": "bytes", "logicalType": "decimal", "precision": 4})),
            record(field({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 0})),
        ),
        (
            record(field({"type": "record", "name": "string", "fields": [field("string")]}), {"name": "b", "type": "string"}),
            record(field({"type": "record", "name": "dept.reg.string", "fields": [field("string")]}), {"name": "b", "type": "string"}),
        ),
    ],
)
def test_other_words_for_one_schema_have_one_form(one: Any, other: Any) -> None:
    """Java's, Go's and Rust's libraries print what they read, each in words of its own."""
    assert normal_form(one) == normal_form(other) == normal_form(normal_form(one))
    marks = {
        fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema), "SHA-256") for schema in (normal_form(one), one)
    }
    assert len(marks) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record(field("int")), record(field("int", doc="years"))),
        (record(field("int")), record(field("int"), doc="")),
        (record(field("int")), record(field("int", grade="L2"))),
        (record(field("int")), record(field({"type": "int", "logicalType": "date"}))),
        (record(field("int")), record(field({"type": "int", "java.type": "Short"}))),
        (record(field("int")), record(field("int", default=0))),
        (record(field("int", default=0)), record(field("int", default=1))),
        (record(field("int")), record(field("int", order="descending"))),
        (record(field("int")), record(field("int", order="ignore"))),
        (record(field("int")), record(field("int", aliases=["b"]))),
        (record(field("int")), record(field("int"), aliases=["Human"])),
        (record(field("int")), record(field("int"), namespace="dept.other")),
        (record(field(["null", "int"])), record(field(["int", "null"]))),
        (record(field(ENUM)), record(field({**ENUM, "default": "A"}))),
        (record(field(ENUM)), record(field({**ENUM, "namespace": ""}))),
        (
            record(field({"type": "bytes", "logicalType": "decimal", "precision": 4})),
            record(field({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1})),
        ),
    ],
)
def test_what_means_something_keeps_schemas_apart(one: Any, other: Any) -> None:
    """Avro's Parsing Canonical Form would make one of most of these."""
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize(
    "junk", [None, 7, "x", [], [7], {}, {"type": 7}, {"type": "record"}, {"type": "record", "fields": [7, {"type": []}]}]
)
def test_what_is_no_schema_stays_what_it_is(junk: Any) -> None:
    """Clients may ask for anything."""
    assert normal_form(junk) == normal_form(normal_form(junk))
