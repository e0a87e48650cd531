"""Which writer schemas the exchange carries, and what it makes of them."""

import json
from typing import Any

import pytest
from kernel_kit import VEHICLE, schema_of

from hub.model.errors import HubError
from hub.model.source_schema import read_schema, unsupported_schema

FIXED = {"type": "fixed", "name": "F", "size": 4}
ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"type": "record", "name": "N", "fields": []}, "nested records"),
        ({"type": "array", "items": "int"}, "arrays"),
        ({"type": "map", "values": "int"}, "maps"),
        (["null", {"type": "array", "items": "int"}], "arrays"),
        (["int", "string"], "a union is carried only of null"),
        (["null", "int", "string"], "a union is carried only of null"),
        (["null", "null"], "a union is carried only of null"),
        (["int"], "a union is carried only of null"),
        ([], "a union is carried only of null"),
        (["null", ["null", "int"]], "no type that can be carried"),
        ("R", "names no type"),
        ("Unknown", "names no type"),
        (None, "no type"),
        (7, "no type"),
        ({"type": ["null", "int"]}, "such types"),
        ({"type": "enum", "name": "E", "symbols": []}, "no list of symbols"),
        ({"type": "enum", "name": "E", "symbols": ["a", "a"]}, "twice"),
        ({"type": "enum", "symbols": ["a"]}, "no name"),
        ({"type": "fixed", "name": "F", "size": 0}, "no size"),
        ({"type": "fixed", "name": "F", "size": True}, "no size"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 1000}, "decimal"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 5}, "decimal"),
        ({"type": "bytes", "logicalType": "decimal"}, "decimal"),
        ({"type": "fixed", "name": "F", "size": 33, "logicalType": "decimal", "precision": 4}, "at most 32 bytes"),
    ],
)
def test_a_type_that_cannot_be_carried_is_named_with_its_path(declared: Any, message: str) -> None:
    """Nested data comes in a later issue; until then it is refused, never half carried."""
    faults = unsupported_schema(schema_of("int", declared))

    assert len(faults) == 1
    assert faults[0][0].startswith("fields[1].type")
    assert message in faults[0][1]


@pytest.mark.parametrize(
    "schema", ["{", "[]", '"string"', '{"type": "record"}', '{"type": "record", "name": "R", "fields": []}', "[" * 100_000]
)
def test_what_is_no_record_with_fields_is_refused(schema: str) -> None:
    """Whatever the registry is sent."""
    assert len(unsupported_schema(schema)) == 1


def test_every_fault_is_told_at_once() -> None:
    """A publisher mends a schema in one go."""
    faults = unsupported_schema(schema_of({"type": "map", "values": "int"}, "int", ["int", "string"], "Nowhere"))

    assert [path for path, _ in faults] == ["fields[0].type", "fields[2].type", "fields[3].type"]


def test_a_refused_schema_lists_its_faults_as_problems() -> None:
    """The control plane shows them as a table."""
    with pytest.raises(HubError) as refused:
        read_schema(schema_of({"type": "map", "values": "int"}))

    assert refused.value.code == "HUB-AGREE-005"
    assert [problem.field for problem in refused.value.problems] == ["fields[0].type"]


def test_types_are_read_with_nullability_in_either_order_and_names_resolved() -> None:
    """Departments write both orders, and name a type once."""
    kinds = [field.type for field in read_schema(schema_of(["null", ENUM], ["E", "null"], FIXED, "F")).fields]

    assert [kind.base for kind in kinds] == ["enum", "enum", "fixed", "fixed"]
    assert [kind.null_branch for kind in kinds] == [0, 1, None, None]
    assert [kind.nullable for kind in kinds] == [True, True, False, False]
    assert kinds[1].symbols == ("a", "b")
    assert kinds[3].size == 4


def test_a_logical_type_on_a_strange_base_is_carried_as_its_base() -> None:
    """The specification: implementations must ignore a logical type that is not valid."""
    (field,) = read_schema(schema_of({"type": "string", "logicalType": "date"})).fields

    assert (field.type.base, field.type.logical) == ("string", None)


def test_names_live_in_their_namespaces() -> None:
    """An output schema writes full names out."""
    schema = {**schema_of(ENUM, {**ENUM, "namespace": "other"}, "E", "other.E"), "namespace": "a.b"}

    names = [field.type.full_name for field in read_schema(schema).fields]

    assert names == ["a.b.E", "other.E", "a.b.E", "other.E"]


def test_text_and_read_json_are_the_same_schema() -> None:
    """The gate has read the JSON already, the plan holds text."""
    assert read_schema(json.dumps(VEHICLE)) == read_schema(VEHICLE)
    assert unsupported_schema(VEHICLE) == ()
