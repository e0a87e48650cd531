"""The gate: a schema that could make a decoder run away, or that means nothing to the hub, never gets an id."""

import json
from typing import Any

import pytest

from hub.catalogue.gate import SCHEMA_BYTES_MAX, check_schema
from hub.model.errors import HubError

FIELD = {"name": "plate", "type": "string", "grade": "L3", "identifier": "plate", "title": "号牌"}


def record(*fields: Any, **more: Any) -> str:
    """Return a record schema as text."""
    return json.dumps({"type": "record", "name": "Vehicle", "namespace": "registry", "fields": list(fields) or [FIELD], **more})


def refusal_of(text: str) -> HubError:
    """Return what the gate says."""
    with pytest.raises(HubError) as refusal:
        check_schema(text, where="vehicles")
    return refusal.value


def test_a_flat_record_with_field_properties_passes() -> None:
    """The schemas that departments are asked to write."""
    fields = (
        FIELD,
        {"name": "built", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
        {"name": "class", "type": {"type": "enum", "name": "Class", "symbols": ["passenger", "lorry"]}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}},
    )
    assert check_schema(record(*fields), where="vehicles")["name"] == "Vehicle"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"string"',
        "{}",
        '{"type": "string"}',
        '{"type":"record","name":"A"}',
        "[" * 9000,
        '{"type":"record","type":"record"}',
    ],
)
def test_what_is_no_avro_record_is_refused(text: str) -> None:
    """Whatever is sent, the answer is a refusal with a code."""
    assert refusal_of(text).code == "HUB-SCHEMA-001"


@pytest.mark.parametrize(
    "field",
    [
        {"name": "a b", "type": "string"},
        {"name": "a"},
        {"name": "a", "type": "strin"},
        {"name": "a", "type": 7},
        {"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["a b"]}},
        {"name": "a", "type": {"type": "array"}},
        {"type": "string"},
        "plate",
    ],
)
def test_a_field_that_avro_does_not_know_is_refused(field: Any) -> None:
    """Each fault has a place."""
    assert refusal_of(record(field)).code in {"HUB-SCHEMA-001", "HUB-SCHEMA-002"}


def test_a_schema_of_64_kib_passes_and_one_byte_more_does_not() -> None:
    """The bound itself, and one past it."""
    text = record(FIELD, doc="")
    whole = text.replace('"doc": ""', f'"doc": "{"x" * (SCHEMA_BYTES_MAX - len(text.encode()))}"')
    assert len(whole.encode()) == SCHEMA_BYTES_MAX
    assert check_schema(whole, where="vehicles")
    assert refusal_of(whole.replace('"x', '"xx')).code == "HUB-SCHEMA-002"


def test_a_record_that_contains_itself_is_refused() -> None:
    """5,000 nested levels crash a decoder."""
    found = refusal_of(record({"name": "parent", "type": ["null", "Vehicle"]}))
    assert found.code == "HUB-SCHEMA-002"
    assert "contains itself" in found.problems[0].message


@pytest.mark.parametrize(
    "items",
    ["null", {"type": "fixed", "name": "F", "size": 0}, {"type": "record", "name": "E", "fields": [{"name": "n", "type": "null"}]}],
)
def test_a_list_of_items_that_take_no_bytes_is_refused(items: Any) -> None:
    """A body of five bytes could claim a billion of them."""
    found = refusal_of(record({"name": "many", "type": {"type": "array", "items": items}}))
    assert found.code in {"HUB-SCHEMA-001", "HUB-SCHEMA-002"}


@pytest.mark.parametrize(
    ("precision", "scale", "passes"), [(38, 38, True), (39, 0, False), (None, 0, False), (5, 6, False), (True, 0, False)]
)
def test_decimals_are_bounded(precision: Any, scale: int, passes: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """Huge ones take quadratic time."""
    kind: dict[str, Any] = {"type": "bytes", "logicalType": "decimal", "scale": scale}
    if precision is not None:
        kind["precision"] = precision
    text = record({"name": "price", "type": kind})
    if passes:
        assert check_schema(text, where="vehicles")
    else:
        assert refusal_of(text).code in {"HUB-SCHEMA-001", "HUB-SCHEMA-002"}


def test_nesting_is_bounded() -> None:
    """33 levels are one too many, whatever they are of."""
    kind: Any = "string"
    for _ in range(40):
        kind = {"type": "array", "items": kind}
    assert "nested" in refusal_of(record({"name": "deep", "type": kind})).problems[0].message


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "error", "name": "Inner", "fields": [{"name": "a", "type": "string"}]},
        ["null", {"type": ["null", "int"]}],
    ],
)
def test_what_the_exchange_cannot_carry_is_refused_with_its_place(kind: Any) -> None:
    """Better at registration than at the first record."""
    found = refusal_of(record(FIELD, {"name": "extra", "type": kind}))
    assert found.code in {"HUB-SCHEMA-001", "HUB-SCHEMA-002"}


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "array", "items": "string"},
        {"type": "map", "values": "string"},
        {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "string"}]},
        ["string", "int"],
    ],
)
def test_every_shape_of_avro_passes(kind: Any) -> None:
    """Departments need not flatten what they have."""
    assert check_schema(record(FIELD, {"name": "extra", "type": kind}), where="vehicles")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grade", "L5"),
        ("grade", 3),
        ("identifier", "Plate Number"),
        ("identifier", True),
        ("role", "owner"),
        ("personal", "yes"),
        ("sensitive", 1),
        ("title", ""),
        ("standard_ref", 7),
    ],
)
def test_a_field_property_that_means_nothing_is_refused(name: str, value: Any) -> None:
    """A grade that nobody can read protects nothing."""
    found = refusal_of(record({"name": "plate", "type": "string", name: value}))
    assert [problem.field for problem in found.problems] == [f"fields[0].{name}"]


def test_a_default_that_canonical_json_cannot_hold_is_refused() -> None:
    """Its fingerprint, and the signature over its entry, could not be made."""
    assert refusal_of(record({"name": "big", "type": "long", "default": 2**53 + 1})).code == "HUB-SCHEMA-002"
    assert check_schema(record({"name": "big", "type": "long", "default": 2**53 - 1}), where="vehicles")


def test_two_fields_cannot_share_a_column_title() -> None:
    """Files name their columns by it."""
    assert "one title" in refusal_of(record(FIELD, {"name": "other", "type": "string", "title": "号牌"})).problems[0].message


def test_a_property_of_a_nested_field_is_held_too() -> None:
    """A grade protects wherever it stands."""
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "string", "grade": "L9"}]}
    found = refusal_of(record(FIELD, {"name": "extra", "type": ["null", {"type": "array", "items": inner}]}))
    assert [problem.field for problem in found.problems] == ["fields[1].type[1].items.fields[0].grade"]


def test_references_that_unfold_to_billions_are_refused() -> None:
    """28 records that each name the one before twice fit into 64 KiB."""
    kinds: list[dict[str, Any]] = [{"type": "record", "name": "T0", "fields": [{"name": "f", "type": "int"}]}]
    kinds += [
        {"type": "record", "name": f"T{level}", "fields": [{"name": name, "type": f"T{level - 1}"} for name in "ab"]}
        for level in range(1, 28)
    ]
    found = refusal_of(record(*({"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds))))
    assert found.code == "HUB-SCHEMA-002"
