"""Names, annotations and defaults at the gate: whatever it takes, parsers of every language read, and nothing of ours is a slip."""

import json
from collections.abc import Sequence
from typing import Any

import avro.schema
import fastavro
import pytest

from hub.catalogue.annotations import slips
from hub.catalogue.gate import FAULTS_TOLD_MAX, check_schema
from hub.model.errors import HubError
from hub.model.normal_form import normal_form

ID = {"name": "id", "type": "string"}


def record(*fields: Any, **more: Any) -> str:
    """Return a record schema as text."""
    return json.dumps({"type": "record", "name": "Vehicle", "namespace": "dept.reg", "fields": [ID, *fields], **more})


def faults_of(text: str, earlier: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Return the code and the paths of what the gate tells."""
    with pytest.raises(HubError) as refusal:
        check_schema(text, where="vehicles", earlier=earlier)
    return refusal.value.code, [problem.field for problem in refusal.value.problems]


def field(kind: Any, **more: Any) -> dict[str, Any]:
    """Return a field of that type."""
    return {"name": "a", "type": kind, **more}


ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}
INNER = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (record(name="Vehicle-Info"), "name"),
        (record(name="车辆"), "name"),
        (record(name="a..b"), "name"),
        (record(name=".b"), "name"),
        (record(name=""), "name"),
        (record(name=7), "name"),
        (record(name="1a"), "name"),
        (record(namespace="dept.vehicle-registry"), "namespace"),
        (record(namespace="部门"), "namespace"),
        (record(namespace=7), "namespace"),
        (record(namespace="", name="int"), "name"),
        (record(aliases=["Old-Name"]), "aliases"),
        (record(aliases="Old"), "aliases"),
        (record(aliases=["Old", "Old"]), "aliases"),
        (record(aliases=[["Old"]]), "aliases"),
        (record(doc=7), "doc"),
        (record(field({**ENUM, "name": "e-1"})), "fields[1].type.name"),
        (record(field({**ENUM, "namespace": "city-1.v"})), "fields[1].type.namespace"),
        (record(field({**ENUM, "symbols": ["A", "B-1"]})), "fields[1].type.symbols[1]"),
        (record(field({**ENUM, "symbols": ["A", "客车"]})), "fields[1].type.symbols[1]"),
        (record(field({**ENUM, "symbols": ["a.b"]})), "fields[1].type.symbols[0]"),
        (record(field({**ENUM, "default": "B"})), "fields[1].type.default"),
        (record(field({**FIXED, "name": "指纹"})), "fields[1].type.name"),
        (record(field(["null", {"type": "array", "items": {**INNER, "name": "owner-info"}}])), "fields[1].type[1].items.name"),
        (record(field({"type": "map", "values": {**INNER, "aliases": ["o-1"]}})), "fields[1].type.values.aliases"),
        (record(field("int", aliases=["b-1"])), "fields[1].aliases"),
        (record(field("int", aliases=["dept.b"])), "fields[1].aliases"),
        (record(field("int", aliases=["id"])), "fields[1].aliases"),
        (record(field("int", aliases=["b", "b"])), "fields[1].aliases"),
        (record(field("int", aliases="b")), "fields[1].aliases"),
        (record(field("int", order="up")), "fields[1].order"),
        (record(field("int", doc=["x"])), "fields[1].doc"),
    ],
)
def test_a_name_that_avro_forbids_is_refused_with_its_path(text: str, path: str) -> None:
    """Parsers in Go, JavaScript and Rust refuse it, and a name cannot be changed later."""
    assert faults_of(text) == ("HUB-SCHEMA-001", [path])


@pytest.mark.parametrize(
    "text",
    [
        record(name="dept.reg.Vehicle"),
        record(namespace=""),
        record(aliases=["Car", "dept.old.Car"]),
        record(field("int", aliases=["b"], order="ignore")),
        record(field({**ENUM, "default": "A"})),
        record(field({**INNER, "name": "string"}), {"name": "b", "type": "dept.reg.string"}, {"name": "c", "type": "string"}),
        record(field({**ENUM, "name": "city.long"}), {"name": "b", "type": "long"}),
        record(field(ENUM), {"name": "b", "type": {"type": "E"}}, {"name": "c", "type": ["null", {"type": "dept.reg.E"}]}),
        record(field("int", **{"connect.default": 1, "avro.java.string": "String", "customer": True})),
    ],
)
def test_what_avro_allows_passes(text: str) -> None:
    """Also types named like a primitive inside a namespace, and references written as objects; two parsers read the normal form."""
    assert check_schema(text, where="vehicles")
    written = normal_form(json.loads(text))
    fastavro.parse_schema(json.loads(json.dumps(written)))
    avro.schema.parse(json.dumps(written))


@pytest.mark.parametrize(
    ("kind", "default", "place"),
    [
        (FIXED, "a", ""),
        ("int", 3_000_000_000, ""),
        ({"type": "enum", "name": "K", "symbols": ["CAR"]}, "TRUCK", ""),
        ("bytes", "中", ""),
        ("double", "NaN", ""),
        ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, "", ""),
        (INNER, {}, ""),
        ({"type": "array", "items": "int"}, ["x"], "[0]"),
        (["string", "null"], None, ""),
        ([ENUM, "null"], None, ""),
    ],
)
def test_a_default_that_is_no_value_is_refused_with_the_fields_path(kind: Any, default: Any, place: str) -> None:
    """Else the records of a file without that column are quarantined one by one, or hold what nobody wrote."""
    assert faults_of(record(field(kind, default=default))) == ("HUB-SCHEMA-001", [f"fields[1].default{place}"])
    inner = {"type": "record", "name": "Outer", "fields": [field(kind, default=default)]}
    assert faults_of(record({"name": "o", "type": inner}))[1] == [f"fields[1].type.fields[0].default{place}"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("titel", "title"),
        ("Title", "title"),
        ("grad", "grade"),
        ("identifer", "identifier"),
        ("personnal", "personal"),
        ("sensitiv", "sensitive"),
        ("standardRef", "standard_ref"),
        ("roles", "role"),
        ("defualt", "default"),
        ("alias", "aliases"),
    ],
)
def test_a_misspelt_annotation_is_a_fault_that_names_what_was_meant(written: str, meant: str) -> None:
    """A grade that nobody can read protects nothing."""
    with pytest.raises(HubError) as refusal:
        check_schema(record(field("string", **{written: "x"})), where="vehicles")
    (found,) = refusal.value.problems
    assert (found.field, f"did you mean `{meant}`?" in found.fix) == (f"fields[1].{written}", True)


def test_an_annotation_on_a_type_is_told_since_nobody_reads_it_there() -> None:
    """It belongs to the field."""
    text = record(field(["null", {"type": "string", "grade": "L3", "identifier": "phone"}]))
    assert faults_of(text) == ("HUB-SCHEMA-002", ["fields[1].type[1].grade", "fields[1].type[1].identifier"])


@pytest.mark.parametrize("kind", ["resident-id", "phone", "plate", "credit-code", "name", "x-aircraft-registration"])
def test_the_kinds_of_the_list_and_ones_own_pass(kind: str) -> None:
    """Closed but for ``x-``."""
    assert check_schema(record(field("string", identifier=kind)), where="vehicles")


@pytest.mark.parametrize(
    ("kind", "hint"), [("resident", "`resident-id`"), ("credit_code", "`credit-code`"), ("x-", ""), ("x-A", ""), (7, "")]
)
def test_another_identifier_kind_is_refused_with_the_list(kind: Any, hint: str) -> None:
    """A misspelt kind would be a kind of its own, whose pseudonyms join with nobody's."""
    with pytest.raises(HubError) as refusal:
        check_schema(record(field("string", identifier=kind)), where="vehicles")
    (found,) = refusal.value.problems
    assert (found.field, hint in found.fix, "credit-code" in found.fix) == ("fields[1].identifier", True, True)


def test_faults_of_every_kind_are_told_in_one_round() -> None:
    """Names, defaults, bounds and annotations; invalid Avro gives the code."""
    text = record(
        field("int", default="x", grade="L9"),
        {"name": "b", "type": {"type": "enum", "name": "E-1", "symbols": ["A"]}, "titel": "x"},
        {"name": "c", "type": {"type": "array", "items": "null"}},
        name="Vehicle-1",
    )
    code, paths = faults_of(text)
    assert code == "HUB-SCHEMA-001"
    assert sorted(paths) == [
        "fields[1].default",
        "fields[1].grade",
        "fields[2].titel",
        "fields[2].type.name",
        "fields[3].type.items",
        "name",
    ]


def test_the_faults_that_are_told_are_bounded() -> None:
    """A schema of 900 wrong fields is answered with some of them, and their number."""
    many = [{"name": f"f{number}", "type": "int", "grade": "L9"} for number in range(FAULTS_TOLD_MAX + 1)]
    with pytest.raises(HubError, match=f"{FAULTS_TOLD_MAX + 1} faults") as refusal:
        check_schema(record(*many), where="vehicles")
    assert len(refusal.value.problems) == FAULTS_TOLD_MAX


def test_a_version_may_keep_the_names_and_kinds_of_those_before_it() -> None:
    """They were registered before these rules were held, and neither a name nor a kind can be changed later."""
    old = record(field("string", identifier="citizen"), name="车辆", aliases=["Car-1"])
    assert faults_of(old)[0] == "HUB-SCHEMA-001"
    earlier = [old]
    grown = record(field("string", identifier="citizen"), field("int", default=0) | {"name": "b"}, name="车辆", aliases=["Car-1"])
    assert check_schema(grown, where="vehicles", earlier=earlier)
    assert faults_of(record(field("string", identifier="sensor"), name="车"), earlier)[1] == ["name", "fields[1].identifier"]


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("", "", 0),
        ("title", "title", 0),
        ("titel", "title", 1),
        ("tile", "title", 1),
        ("titles", "title", 1),
        ("abc", "", 3),
        ("trade", "title", 3),
    ],
)
def test_slips_are_counted_by_letters_and_by_swaps_of_neighbours(one: str, other: str, found: int) -> None:
    """Optimal string alignment."""
    assert slips(one, other) == slips(other, one) == found
