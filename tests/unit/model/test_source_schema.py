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
        ({"type": "record", "name": "N", "fields": []}, "no fields"),
        ({"type": "record", "fields": [{"name": "a", "type": "int"}]}, "no name"),
        ({"type": "record", "name": "N", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}, "stands there twice"),
        ({"type": "record", "name": "N", "fields": [{"name": "a", "type": ["null", "N"]}]}, "contains itself"),
        ({"type": "error", "name": "N", "fields": [{"name": "a", "type": "int"}]}, "names no type"),
        ({"type": "array"}, "no type that can be carried"),
        ({"type": "array", "items": "null"}, "take no bytes"),
        ({"type": "array", "items": {"type": "record", "name": "N", "fields": [{"name": "a", "type": "null"}]}}, "take no bytes"),
        ({"type": "map", "values": "Nowhere"}, "names no type"),
        (["null", "null"], "names a type twice"),
        (["int", {"type": "int", "logicalType": "date"}], "names a type twice"),
        ([{"type": "array", "items": "int"}, {"type": "array", "items": "string"}], "names a type twice"),
        ([], "no branches"),
        (["null", ["null", "int"]], "directly in a union"),
        ("R", "contains itself"),
        ("Unknown", "names no type"),
        (None, "no type"),
        (7, "no type"),
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
    """What cannot be carried is refused, never half carried."""
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
    faults = unsupported_schema(schema_of({"type": "map", "values": 7}, "int", ["int", "int"], "Nowhere"))

    assert [path for path, _ in faults] == ["fields[0].type.values", "fields[2].type", "fields[3].type"]


def test_a_refused_schema_lists_its_faults_as_problems() -> None:
    """The control plane shows them as a table."""
    with pytest.raises(HubError) as refused:
        read_schema(schema_of({"type": "map", "values": 7}))

    assert refused.value.code == "HUB-AGREE-005"
    assert [problem.field for problem in refused.value.problems] == ["fields[0].type.values"]


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


def test_records_arrays_maps_and_unions_are_read_as_a_tree() -> None:
    """A union of null and one other type is that type, nullable; every other union keeps its branches."""
    inner = {"type": "record", "name": "N", "fields": [{"name": "a", "type": ["null", "int"]}]}
    kinds = [
        field.type
        for field in read_schema(
            schema_of(
                ["null", inner], {"type": "array", "items": "N"}, {"type": "map", "values": "string"}, ["int", "null", "string"], ["int"]
            )
        ).fields
    ]

    assert [kind.base for kind in kinds] == ["record", "array", "map", "union", "union"]
    assert [kind.null_branch for kind in kinds] == [0, None, None, 1, None]
    assert kinds[1].element.fields == kinds[0].fields
    assert [branch.base for branch in kinds[3].branches] == ["int", "null", "string"]


def test_a_nested_type_takes_the_namespace_around_it() -> None:
    """Of the record that it stands in, which may have another than the whole."""
    nested = {
        "type": "record",
        "name": "x.N",
        "fields": [{"name": "a", "type": ENUM}, {"name": "b", "type": "x.E"}, {"name": "c", "type": "E"}],
    }
    (field,) = read_schema({**schema_of(nested), "namespace": "top"}).fields

    assert [inner.type.full_name for inner in field.type.fields] == ["x.E"] * 3


def test_types_are_bounded_once_every_reference_is_written_out() -> None:
    """32 records that each name the one before twice would be four billion fields; a chain of 40 would be 40 deep."""

    def tower(height: int, width: int) -> Any:
        kinds: list[Any] = [{"type": "record", "name": "T0", "fields": [{"name": "f0", "type": "int"}]}]
        for level in range(1, height):
            fields = [{"name": f"f{place}", "type": f"T{level - 1}"} for place in range(width)]
            kinds.append({"type": "record", "name": f"T{level}", "fields": fields})
        return schema_of(*kinds)

    assert unsupported_schema(tower(9, 2)) == ()
    assert any("types once" in message for _, message in unsupported_schema(tower(28, 2)))
    assert unsupported_schema(tower(30, 1)) == ()
    assert any("levels once" in message for _, message in unsupported_schema(tower(40, 1)))
