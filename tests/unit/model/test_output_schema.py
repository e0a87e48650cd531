"""Output schemas hold exactly what is granted, and every Avro library can read them."""

import json
from typing import Any

import avro.schema
import fastavro
import pytest
from kernel_kit import VEHICLE, schema_of, terms

from hub.model.agreement import Grant
from hub.model.errors import HubError
from hub.model.output_schema import output_schema

ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}


def derive(*fields: str | Grant, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the output schema; both Avro libraries must read it."""
    text = output_schema(terms("parking-1", *fields, version=3), json.dumps(VEHICLE if schema is None else schema), key_epoch=2)
    fastavro.parse_schema(json.loads(text))
    avro.schema.parse(text)
    found: dict[str, Any] = json.loads(text)
    return found


def test_name_namespace_and_properties_say_whose_it_is() -> None:
    """A consumer who holds a schema can find the agreement behind it."""
    found = derive("plate")

    assert found["name"] == "Vehicle"
    assert found["namespace"] == "share.parking_office.parking_1"
    assert (found["agreement"], found["agreement_version"], found["key_epoch"]) == ("parking-1", 3, 2)


def test_only_granted_fields_are_there_in_the_sources_order() -> None:
    """Law 2; the order of the file must not change a schema."""
    assert [field["name"] for field in derive("region", "plate", "seats")["fields"]] == ["plate", "region", "seats"]


def test_a_field_added_to_the_source_changes_nothing() -> None:
    """Law 2: a new source field is invisible until it is granted."""
    grown = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "criminal_record", "type": "string", "default": ""}]}

    assert derive("plate", "seats", schema=grown) == derive("plate", "seats")


def test_a_kept_field_stays_as_it_is_declared() -> None:
    """Types, defaults, aliases and annotations are the department's word."""
    declared = {
        "name": "f",
        "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}],
        "default": None,
        "doc": "d",
        "aliases": ["g"],
        "grade": "L2",
        "title": "时间",
    }

    assert derive("f", schema={"type": "record", "name": "R", "fields": [declared]})["fields"] == [declared]


@pytest.mark.parametrize("transform", ["mask", "pseudonym"])
@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ({"type": "string"}, {"type": "string"}),
        ({"type": {"type": "string", "avro.java.string": "String"}}, {"type": "string"}),
        ({"type": ["null", "string"], "default": None}, {"type": ["null", "string"], "default": None}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": ["string", "null"], "default": "浙A12345"}, {"type": ["string", "null"], "default": ""}),
        ({"type": "string", "default": "浙A12345"}, {"type": "string", "default": ""}),
        ({"type": {"type": "string", "logicalType": "uuid"}}, {"type": "string"}),
    ],
)
def test_masked_and_pseudonymised_fields_are_text_nullable_where_the_source_is(
    transform: str, source: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """A default of the source is a value of the source: it may not travel in the schema."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "identifier": "plate", "grade": "L3", **source}]}

    assert derive(Grant("f", transform), schema=schema)["fields"] == [{"name": "f", "grade": "L3", **wanted}]


def test_a_masked_enum_is_text() -> None:
    """A masked symbol is no symbol."""
    assert derive(Grant("class", "mask"))["fields"] == [{"name": "class", "type": "string"}]


def test_a_named_type_is_defined_where_it_is_first_granted() -> None:
    """The field that defines it in the source may not be granted."""
    schema = {**schema_of(ENUM, "E", ["null", "E"]), "namespace": "a.b"}

    found = derive("f1", "f2", schema=schema)["fields"]

    assert found[0]["type"] == {**ENUM, "namespace": "a.b"}
    assert found[1]["type"] == ["null", "a.b.E"]


def test_a_type_without_namespace_takes_the_outputs() -> None:
    """Parsers do not agree on an empty namespace inside a namespaced record."""
    assert derive("f0", "f1", schema=schema_of(ENUM, "E"))["fields"][1]["type"] == "E"


def test_the_text_is_the_same_each_time() -> None:
    """The plan compiler compares it, and the registry gives equal texts one id."""
    agreement = terms("parking", "plate", "model")

    assert output_schema(agreement, json.dumps(VEHICLE), key_epoch=1) == output_schema(agreement, VEHICLE, key_epoch=1)


def test_a_granted_field_that_the_schema_lacks_is_refused() -> None:
    """An agreement must fit every writer schema of its dataset."""
    with pytest.raises(HubError) as refused:
        derive("colour")

    assert refused.value.code == "HUB-AGREE-005"


def test_a_type_named_like_a_primitive_is_named_in_full_wherever_it_is_used_again() -> None:
    """Its short name would mean the primitive."""
    schema = {
        "type": "record",
        "name": "R",
        "namespace": "dept.reg",
        "fields": [
            {"name": "a", "type": {"type": "array", "items": {"type": "enum", "name": "dept.reg.string", "symbols": ["x"]}}},
            {"name": "b", "type": {"type": "dept.reg.string"}},
            {"name": "o", "type": {"type": "record", "name": "O", "fields": [{"name": "c", "type": "dept.reg.string"}]}},
        ],
    }
    first, second, third = derive("a", "b", "o.c", schema=schema)["fields"]
    assert first["type"]["items"]["name"] == "string"
    assert (second["type"], third["type"]["fields"][0]["type"]) == ("dept.reg.string", "dept.reg.string")
