"""Grants and rules on paths in agreement files, and the parameters of each transform."""

from typing import Any

import pytest

from hub.agreements.file import parse_agreement
from hub.model.agreement import Bucket, Condition, Constant, Every, Grant, Prefix, Rule, Truncate
from hub.model.errors import HubError

FILE = """apiVersion: cityhub/v1
kind: Agreement
id: parking
provider: registry
consumer: parking-office
dataset: registry/vehicles
purpose: enforcement
legal_basis: law
valid_until: 2027-12-31
tariff: per-record@1
"""


def grants_of(text: str) -> tuple[Grant, ...]:
    """Return what `fields: text` grants."""
    return parse_agreement(f"{FILE}fields: {text}\n", file="a.yaml").agreement.fields


def rule_of(text: str) -> Rule | None:
    """Return the rule of `rows: text`."""
    return parse_agreement(f"{FILE}fields: [plate]\nrows: {text}\n", file="a.yaml").agreement.rows


def faults_of(**parts: str) -> list[str]:
    """Return the paths of the faults."""
    text = FILE + "".join(f"{key}: {value}\n" for key, value in ({"fields": "[plate]"} | parts).items())
    with pytest.raises(HubError) as refused:
        parse_agreement(text, file="a.yaml")
    assert all(problem.fix for problem in refused.value.problems)
    return [problem.field for problem in refused.value.problems]


@pytest.mark.parametrize("path", ["address.city", "phones[].number", "tags{}", "a.b[].c{}.d"])
def test_fields_and_rules_are_named_by_paths(path: str) -> None:
    """Quoted, since YAML has a meaning for brackets of its own."""
    assert grants_of(f'["{path}", {{name: "{path}x", mask: {{}}}}]')[0] == Grant(path) if path[-1] not in "]}" else grants_of(f'["{path}"]')
    assert rule_of(f'{{field: "{path}", eq: 1}}') == Condition(path, "eq", 1)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("truncate: {to: month}", Grant("f", "truncate", parameters=Truncate(to="month"))),
        ("truncate: {step: 100}", Grant("f", "truncate", parameters=Truncate(step=100))),
        ('truncate: {step: "0.10"}', Grant("f", "truncate", parameters=Truncate(step="0.10"))),
        ("truncate: {characters: 20}", Grant("f", "truncate", parameters=Truncate(characters=20))),
        ("bucket: {width: 10}", Grant("f", "bucket", parameters=Bucket(width=10))),
        ("bucket: {edges: [18, 60]}", Grant("f", "bucket", parameters=Bucket(edges=(18, 60)))),
        ("bucket: {edges: [18], labels: [minor, 成年]}", Grant("f", "bucket", parameters=Bucket(edges=(18,), labels=("minor", "成年")))),
        ("prefix: {characters: 4}", Grant("f", "prefix", parameters=Prefix(characters=4))),
        ("nullify: {}", Grant("f", "nullify")),
        ("constant: {value: withheld}", Grant("f", "constant", parameters=Constant(value="withheld", avro_type="string"))),
        ("constant: {value: 0}", Grant("f", "constant", parameters=Constant(value=0, avro_type="long"))),
        ("constant: {value: 0, type: int}", Grant("f", "constant", parameters=Constant(value=0, avro_type="int"))),
        ("constant: {value: true}", Grant("f", "constant", parameters=Constant(value=True, avro_type="boolean"))),
        ("constant: {value: 0.5}", Grant("f", "constant", parameters=Constant(value=0.5, avro_type="double"))),
    ],
)
def test_each_transform_has_its_parameters(text: str, wanted: Grant) -> None:
    """As officers write them."""
    assert grants_of(f"[{{name: f, {text}}}]") == (wanted,)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("truncate: {}", "truncate"),
        ("truncate: {to: day, step: 1}", "truncate"),
        ("truncate: {step: true}", "truncate.step"),
        ("truncate: {characters: 0}", "truncate.characters"),
        ("truncate: day", "truncate"),
        ("bucket: {}", "bucket"),
        ("bucket: {width: 1, edges: [1]}", "bucket"),
        ("bucket: {edges: []}", "bucket.edges"),
        ("bucket: {edges: [1], labels: [1, 2]}", "bucket.labels[0]"),
        ("prefix: {}", "prefix.characters"),
        ("prefix: {characters: many}", "prefix.characters"),
        ("nullify: {now: true}", "nullify.now"),
        ("constant: {}", "constant.value"),
        ("constant: {value: null}", "constant.value"),
        ("constant: {value: [1]}", "constant.value"),
        ("constant: {value: 1, type: bytes}", "constant.type"),
    ],
)
def test_parameters_that_mean_nothing_are_refused_with_their_place(text: str, place: str) -> None:
    """A transform that does less than was meant is worse than none."""
    assert f"fields[0].{place}" in faults_of(fields=f"[{{name: f, {text}}}]")


@pytest.mark.parametrize("name", ["a[0]", "a.", "a..b", "a{k}", "*"])
def test_what_is_no_path_names_nothing(name: str) -> None:
    """In grants and in rules."""
    assert faults_of(fields=f'["{name}"]') == ["fields[0]"]
    assert faults_of(rows=f'{{field: "{name}", eq: 1}}') == ["rows.field"]


def test_every_holds_one_condition() -> None:
    """On each element by itself; groups stand around it."""
    assert rule_of('{every: {field: "codes[]", startsWith: "33"}}') == Every(Condition("codes[]", "startsWith", "33"))


@pytest.mark.parametrize("inner", ["[]", "{all: [{field: a, eq: 1}]}", "{every: {field: a, eq: 1}}", "x"])
def test_every_of_anything_else_is_refused(inner: Any) -> None:
    """`every` of a group would have to say which of its paths it runs over."""
    assert faults_of(rows=f"{{every: {inner}}}") == ["rows.every"]
