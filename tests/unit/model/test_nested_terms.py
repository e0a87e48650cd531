"""Terms on nested data: what may be granted, and what an output schema makes of it."""

import json
import warnings
from typing import Any

import avro.errors
import avro.schema
import fastavro
import pytest
from kernel_kit import schema_of, terms

from hub.model.agreement import Bucket, Constant, Grant, Prefix, Truncate
from hub.model.output_schema import output_schema
from hub.model.terms import check_terms

CITY = {
    "type": "record",
    "name": "City",
    "doc": "a city",
    "aliases": ["Town"],
    "fields": [{"name": "zip", "type": "string", "grade": "L2"}, {"name": "area", "type": "int"}],
}
PERSON = {"type": "record", "name": "Person", "fields": [{"name": "home", "type": CITY}, {"name": "work", "type": ["null", "City"]}]}


def derive(schema: dict[str, Any], *fields: str | Grant) -> list[dict[str, Any]]:
    """Return the output's fields; both Avro libraries must read the schema, and the terms must fit."""
    agreement = terms("parking", *fields)
    assert check_terms(agreement, schema, key_identifier=None) == ()
    text = output_schema(agreement, schema, key_epoch=1)
    fastavro.parse_schema(json.loads(text))
    with warnings.catch_warnings(action="ignore", category=avro.errors.IgnoredLogicalType):
        avro.schema.parse(text)
    found: list[dict[str, Any]] = json.loads(text)["fields"]
    return found


def faults_of(schema: dict[str, Any], *fields: str | Grant) -> list[tuple[str, str]]:
    """Return place and fix of each fault."""
    return [(fault.field, fault.fix) for fault in check_terms(terms("parking", *fields), schema, key_identifier=None)]


def test_a_record_is_never_granted_whole_and_the_fix_names_its_leaves() -> None:
    """Law 2: a field that its schema gains later would be in the grant, granted by nobody."""
    people = {"type": "array", "items": PERSON}

    ((place, fix),) = faults_of(schema_of(people), "f0")

    assert place == "fields[0].name"
    assert fix == "grant its fields: `f0[].home.zip`, `f0[].home.area`, `f0[].work.zip`, `f0[].work.area`"


def test_a_union_that_holds_a_record_cannot_be_granted() -> None:
    """Paths do not enter it, and the record would come whole."""
    ((place, fix),) = faults_of(schema_of(["null", "string", CITY]), "f0")

    assert place == "fields[0].name"
    assert "a field of its own" in fix


def test_arrays_and_maps_of_plain_values_are_granted_by_their_name() -> None:
    """They gain no fields: with or without the mark of elements it is the same grant."""
    kinds: list[Any] = [{"type": "array", "items": "string", "x": 1}, {"type": "map", "values": {"type": "array", "items": "int"}}]

    whole = derive(schema_of(*kinds), "f0", "f1")

    assert [field["type"] for field in whole] == kinds
    assert derive(schema_of(*kinds), "f0[]", "f1{}[]") == whole


@pytest.mark.parametrize(("one", "other"), [("f0", "f0[]"), ("f0[]", "f0"), ("f0", "f0")])
def test_one_part_has_one_grant(one: str, other: str) -> None:
    """Two would contradict each other."""
    assert [place for place, _ in faults_of(schema_of({"type": "array", "items": "int"}), one, other)] == ["fields[1].name"]


def test_only_granted_fields_of_a_record_are_there_in_the_sources_order() -> None:
    """A record keeps its name and doc; what stands around it is kept; a record without a granted field is absent."""
    (field,) = derive(schema_of(["null", PERSON]), "f0.home.area", "f0.home.zip")

    city = {"type": "record", "name": "City", "doc": "a city", "fields": CITY["fields"]}
    assert field == {"name": "f0", "type": ["null", {"type": "record", "name": "Person", "fields": [{"name": "home", "type": city}]}]}


def test_a_field_added_to_a_nested_record_changes_nothing() -> None:
    """Law 2, at any depth."""
    grown = {**CITY, "fields": [{"name": "mayor", "type": "string"}, *CITY["fields"]]}
    people, later = ({"type": "array", "items": {**PERSON, "fields": [{"name": "home", "type": city}]}} for city in (CITY, grown))

    assert derive(schema_of(people), "f0[].home.zip") == derive(schema_of(later), "f0[].home.zip")


def test_two_forms_of_one_record_type_have_two_names() -> None:
    """A name has one meaning in a schema; the same form is written once and named from then on."""
    fields = derive(schema_of(PERSON, "City", ["null", "City"]), "f0.home.zip", "f0.work.area", "f1.zip", "f2.area")

    person = fields[0]["type"]["fields"]
    assert person[0]["type"]["name"] == "City"
    assert person[1]["type"][1]["name"] == "City_2"
    assert fields[1]["type"] == "City"
    assert fields[2]["type"] == ["null", "City_2"]


def test_a_second_name_is_none_that_the_source_has() -> None:
    """A source may well call a type `City_2`."""
    other = {"type": "record", "name": "City_2", "fields": [{"name": "a", "type": "int"}]}
    fields = derive(schema_of(CITY, "City", other), "f0.zip", "f1.area", "f2.a")

    assert [field["type"]["name"] for field in fields] == ["City", "City_3", "City_2"]


def test_nested_names_keep_their_namespace() -> None:
    """Written out where the namespace around them is another."""
    enum = {"type": "enum", "name": "E", "symbols": ["a"]}
    inner = {"type": "record", "name": "x.N", "fields": [{"name": "a", "type": enum}, {"name": "b", "type": "E"}]}
    fields = derive({**schema_of(inner, "x.E"), "namespace": "top"}, "f0.a", "f0.b", "f1")

    nested = fields[0]["type"]
    assert (nested["name"], nested["namespace"]) == ("N", "x")
    assert nested["fields"][0]["type"] == {"type": "enum", "name": "E", "symbols": ["a"]}
    assert nested["fields"][1]["type"] == "E"
    assert fields[1]["type"] == "x.E"


@pytest.mark.parametrize(
    ("kind", "grant", "wanted"),
    [
        ("string", Grant("f0", "prefix", parameters=Prefix(characters=2)), "string"),
        (["string", "null"], Grant("f0", "truncate", parameters=Truncate(characters=2)), ["string", "null"]),
        (["null", "int"], Grant("f0", "bucket", parameters=Bucket(width=10)), ["null", "string"]),
        (["null", "int"], Grant("f0", "truncate", parameters=Truncate(step=10)), ["null", "int"]),
        (
            {"type": "int", "logicalType": "date"},
            Grant("f0", "truncate", parameters=Truncate(to="year")),
            {"type": "int", "logicalType": "date"},
        ),
        ("int", Grant("f0", "nullify"), ["null", "int"]),
        (["int", "null"], Grant("f0", "nullify"), ["null", "int"]),
        (["int", "string"], Grant("f0", "nullify"), ["null", "int", "string"]),
        ("null", Grant("f0", "nullify"), "null"),
        (["null", "string"], Grant("f0", "constant", parameters=Constant(value=1, avro_type="int")), "int"),
        (["null", "string", {"type": "enum", "name": "E", "symbols": ["a"]}], Grant("f0", "mask"), ["null", "string"]),
    ],
)
def test_the_type_under_each_transform(kind: Any, grant: Grant, wanted: Any) -> None:
    """Exact: a consumer's code is made from it."""
    (field,) = derive(schema_of(kind), grant)

    assert field["type"] == wanted


@pytest.mark.parametrize(
    ("kind", "default", "grant", "wanted"),
    [
        ("int", 5, Grant("f0", "truncate", parameters=Truncate(step=10)), "gone"),
        ("int", 5, Grant("f0", "bucket", parameters=Bucket(width=10)), ""),
        ("int", 5, Grant("f0", "nullify"), None),
        ("int", 5, Grant("f0", "constant", parameters=Constant(value=7, avro_type="int")), 7),
        ("long", 5, Grant("f0", "constant", parameters=Constant(value="9007199254740993", avro_type="long")), "gone"),
        (["null", "string"], None, Grant("f0", "prefix", parameters=Prefix(characters=1)), None),
        (CITY, {"zip": "310000", "area": 5}, Grant("f0.zip"), {"zip": "310000"}),
        (CITY, {"zip": "310000", "area": 5}, Grant("f0.zip", "mask"), {"zip": ""}),
        (CITY, {"zip": "310000", "area": 5}, Grant("f0.area", "truncate", parameters=Truncate(step=2)), "gone"),
        (["null", CITY], None, Grant("f0.zip"), None),
        ({"type": "array", "items": CITY}, [], Grant("f0[].zip"), []),
        ({"type": "array", "items": CITY}, [{"zip": "310000", "area": 5}], Grant("f0[].zip"), "gone"),
        ({"type": "array", "items": "int"}, [5], Grant("f0"), [5]),
        ({"type": "array", "items": "int"}, [5], Grant("f0[]", "truncate", parameters=Truncate(step=10)), "gone"),
    ],
)
def test_a_default_of_the_source_says_no_more_than_is_granted(kind: Any, default: Any, grant: Grant, wanted: Any) -> None:
    """A default is a value of the source: it may not travel in the schema past a transform or a grant."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "f0", "type": kind, "default": default}]}

    (field,) = derive(schema, grant)

    assert field.get("default", "gone") == wanted


def test_the_identifier_kind_goes_with_the_values() -> None:
    """A prefix of a resident id is no resident id."""
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "f0", "type": {"type": "array", "items": "string"}, "identifier": "phone"}],
    }

    assert "identifier" not in derive(schema, Grant("f0[]", "prefix", parameters=Prefix(characters=3)))[0]
    assert derive(schema, "f0[]")[0]["identifier"] == "phone"
