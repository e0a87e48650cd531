"""Schema versions must read each other, both ways, however far apart."""

import json
from typing import Any

import pytest

from hub.catalogue.compatibility import incompatibilities


def record(*fields: dict[str, Any]) -> str:
    """Return a record schema as text."""
    return json.dumps({"type": "record", "name": "Flight", "fields": list(fields)})


A = {"name": "a", "type": "string"}


@pytest.mark.parametrize(
    "more",
    [
        {"name": "b", "type": ["null", "string"], "default": None},
        {"name": "b", "type": "long", "default": 0},
        {"name": "b", "type": {"type": "long", "logicalType": "local-timestamp-millis"}, "default": 0},
    ],
)
def test_a_field_with_a_default_may_be_added(more: dict[str, Any]) -> None:
    """The ordinary way a schema grows."""
    assert incompatibilities(record(A, more), {1: record(A)}) == ()


@pytest.mark.parametrize(
    "changed",
    [record(A, {"name": "b", "type": "string"}), record({"name": "b", "type": "string"}), record({"name": "a", "type": "int"})],
)
def test_a_change_that_a_version_cannot_read_is_named(changed: str) -> None:
    """A field without default, one that is gone, one of another type."""
    assert incompatibilities(changed, {1: record(A)})


def test_every_earlier_version_counts_not_only_the_last() -> None:
    """Records of version 1 are still in the topic."""
    with_b = record(A, {"name": "b", "type": "string", "default": ""})
    assert incompatibilities(record(A, {"name": "b", "type": "int", "default": 0}), {1: record(A)}) == ()
    assert incompatibilities(record(A, {"name": "b", "type": "int", "default": 0}), {1: record(A), 2: with_b})


def test_a_decimal_cannot_change_its_scale() -> None:
    """The checker of wire types would let every amount grow tenfold."""
    old, new = ({"name": "p", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale}} for scale in (2, 3))
    assert incompatibilities(record(new), {1: record(old)}) == ("field `p` changes its logical type since version 1",)


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda kind: ["null", kind], "p"),
        (lambda kind: {"type": "array", "items": kind}, "p[]"),
        (lambda kind: {"type": "map", "values": ["null", kind]}, "p{}"),
        (lambda kind: {"type": "record", "name": "N", "fields": [{"name": "q", "type": kind}]}, "p.q"),
        (lambda kind: ["string", kind, "null"], "p<bytes>"),
    ],
)
def test_a_decimal_cannot_change_its_scale_wherever_it_stands(wrap: Any, path: str) -> None:
    """Nested amounts are amounts."""
    old, new = (
        {"name": "p", "type": wrap({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale})} for scale in (2, 3)
    )
    assert incompatibilities(record(new), {1: record(old)}) == (f"field `{path}` changes its logical type since version 1",)
    assert incompatibilities(record(old), {1: record(old)}) == ()


PLAIN = [{"name": f"p{number}", "type": ["null", "string"], "default": None} for number in range(20)]
LEANING = {
    "a field found by its alias": ({"name": "new_name", "aliases": ["p3"], "type": ["null", "string"], "default": None}, None),
    "an alias of the wrong type": ({"name": "new_name", "aliases": ["p3"], "type": ["null", "long"], "default": None}, None),
    "a type that two fields name": (
        {"name": "x", "type": {"type": "enum", "name": "E", "symbols": ["A"]}, "default": "A"},
        {"name": "y", "type": "E", "default": "A"},
    ),
    "a default that is another": ({**PLAIN[5], "name": "p25", "default": None}, {**PLAIN[5], "name": "p26"}),
    "no default": ({"name": "bare", "type": "string"}, None),
}


@pytest.mark.parametrize("name", LEANING)
def test_fields_that_are_equal_change_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty equal fields are left out before the checker runs: what it answers, and where it says so, is what it says of all."""
    more = [field for field in LEANING[name] if field is not None]
    new, old = record(*PLAIN, *more), record(*PLAIN)
    found = {text: incompatibilities(text, {1: other}) for text, other in ((new, old), (old, new))}
    monkeypatch.setattr("hub.catalogue.compatibility._without_equal_fields", lambda one, other: (one, other))
    assert found == {text: incompatibilities(text, {1: other}) for text, other in ((new, old), (old, new))}
    assert any(found.values()) == (name in {"an alias of the wrong type", "no default"})


def test_one_schema_in_other_words_is_compatible_with_itself() -> None:
    """Types and references written as objects, and names that were registered before Avro's rule was held."""
    kind = {"type": "enum", "name": "类别", "symbols": ["A"]}
    old = record({"name": "a", "type": "string"}, {"name": "b", "type": kind}, {"name": "c", "type": "类别", "default": "A"})
    new = record(
        {"name": "a", "type": {"type": {"type": "string"}, "about": "a"}},
        {"name": "b", "type": kind},
        {"name": "c", "type": {"type": "类别"}},
    )
    assert incompatibilities(new, {1: old}) == ()
    assert incompatibilities(record({"name": "a", "type": {"type": "int"}}), {1: record(A)})
