"""Who has a right, and which rows: three-valued logic, table by table."""

from typing import Any

import pytest
from kernel_kit import NOW, plan_of, schema_of, terms

from hub.exchange.reference.authorise import Truth, compile_rule, denials
from hub.exchange.verdict import Moment
from hub.model import agreement as words
from hub.model.agreement import All, Condition, Not, Rule
from hub.model.lifecycle import State
from hub.model.reasons import DeniedBy
from hub.model.source_schema import read_schema

T, F, U = True, False, None
NAN = float("nan")
TRUTHS = schema_of(["null", "boolean"], ["null", "boolean"])


def truth(rule: Rule, kind: Any, value: Any) -> Truth:
    """Return what a rule on field f0 says of one value."""
    return compile_rule(rule, read_schema(schema_of(kind)))([value])


def is_true(place: int) -> Condition:
    """Return a condition that is as true, false or unknown as its field."""
    return Condition(f"f{place}", "eq", value=True)


CONJUNCTION = {(T, T): T, (T, F): F, (T, U): U, (F, T): F, (F, F): F, (F, U): F, (U, T): U, (U, F): F, (U, U): U}
DISJUNCTION = {(T, T): T, (T, F): T, (T, U): T, (F, T): T, (F, F): F, (F, U): U, (U, T): T, (U, F): U, (U, U): U}


@pytest.mark.parametrize("pair", CONJUNCTION, ids=str)
def test_all_is_true_only_where_both_are_and_false_as_soon_as_one_is(pair: tuple[Truth, Truth]) -> None:
    """Kleene's table of conjunction."""
    assert compile_rule(All((is_true(0), is_true(1))), read_schema(TRUTHS))(list(pair)) is CONJUNCTION[pair]


@pytest.mark.parametrize("pair", DISJUNCTION, ids=str)
def test_any_is_true_as_soon_as_one_is_and_false_only_where_both_are(pair: tuple[Truth, Truth]) -> None:
    """Kleene's table of disjunction."""
    assert compile_rule(words.Any((is_true(0), is_true(1))), read_schema(TRUTHS))(list(pair)) is DISJUNCTION[pair]


@pytest.mark.parametrize(("inner", "negated"), [(T, F), (F, T), (U, U)])
def test_not_keeps_unknown(inner: Truth, negated: Truth) -> None:
    """Else ``not`` would deliver records whose field is missing."""
    assert compile_rule(Not(is_true(0)), read_schema(TRUTHS))([inner, None]) is negated


@pytest.mark.parametrize(
    ("operator", "below", "same", "above"),
    [("eq", F, T, F), ("neq", T, F, T), ("gt", F, F, T), ("gteq", F, T, T), ("lt", T, F, F), ("lteq", T, T, F)],
)
@pytest.mark.parametrize(
    ("kind", "value", "values"),
    [
        ("int", 5, (4, 5, 6)),
        ("long", 5, (-(2**63), 5, 2**63 - 1)),
        ("long", "9007199254740993", (2**53, 2**53 + 1, 2**53 + 2)),
        ("float", 0.1, (0.0, 0.10000000149011612, 0.2)),
        ("double", 0.1, (0.0, 0.1, 0.2)),
        ("string", "b", ("a", "b", "c")),
        ("string", "浙B", ("浙A99999", "浙B", "浙Ba")),
        ({"type": "enum", "name": "E", "symbols": ["c", "b", "a"]}, "b", ("a", "b", "c")),
        ({"type": "int", "logicalType": "date"}, "1970-01-03", (1, 2, 3)),
        ({"type": "long", "logicalType": "timestamp-millis"}, "1970-01-01T08:00:01", (999, 1000, 1001)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "12.50", (1249, 1250, 1251)),
    ],
)
def test_operators_compare_by_the_fields_type(
    operator: str, below: Truth, same: Truth, above: Truth, kind: Any, value: Any, values: tuple[Any, Any, Any]
) -> None:
    """Text and enums by code point, dates and times by the calendar, decimals as numbers."""
    rule = Condition("f0", operator, value)

    assert tuple(truth(rule, kind, found) for found in values) == (below, same, above)


@pytest.mark.parametrize(
    ("rule", "value", "wanted"),
    [
        (Condition("f0", "isAnyOf", ("a", "b")), "a", T),
        (Condition("f0", "isAnyOf", ("a", "b")), "c", F),
        (Condition("f0", "isNoneOf", ("a", "b")), "a", F),
        (Condition("f0", "isNoneOf", ("a", "b")), "c", T),
        (Condition("f0", "startsWith", "ab"), "abc", T),
        (Condition("f0", "startsWith", "ab"), "ba", F),
        (Condition("f0", "startsWith", ""), "", T),
        (Condition("f0", "isNull", value=True), "a", F),
        (Condition("f0", "isNull", value=False), "a", T),
        (Condition("f0", "isNull", value=True), None, T),
        (Condition("f0", "isNull", value=False), None, F),
    ],
)
def test_lists_prefixes_and_null(rule: Rule, value: str | None, wanted: Truth) -> None:
    """The rest of the operators."""
    assert truth(rule, ["null", "string"], value) is wanted


@pytest.mark.parametrize("operator", ["eq", "neq", "gt", "gteq", "lt", "lteq", "startsWith", "isAnyOf", "isNoneOf"])
def test_null_makes_every_operator_but_is_null_unknown(operator: str) -> None:
    """A field that is not there has no value to be unlike another."""
    value = ("a",) if operator in words.LIST_OPERATORS else "a"

    assert truth(Condition("f0", operator, value), ["null", "string"], None) is None


@pytest.mark.parametrize(
    ("operator", "wanted"),
    [("eq", F), ("neq", T), ("gt", F), ("gteq", F), ("lt", F), ("lteq", F), ("isAnyOf", F), ("isNoneOf", T)],
)
def test_nan_equals_nothing(operator: str, wanted: Truth) -> None:
    """IEEE 754, as every native kernel will have it."""
    value = (1.0,) if operator in words.LIST_OPERATORS else 1.0

    assert truth(Condition("f0", operator, value), "double", NAN) is wanted


def test_minus_zero_is_zero() -> None:
    """IEEE 754."""
    assert truth(Condition("f0", "eq", 0), "double", -0.0) is True
    assert truth(Condition("f0", "isAnyOf", (0,)), "double", -0.0) is True


@pytest.mark.parametrize(
    ("state", "in_term", "reachable", "denied"),
    [
        (State.ACTIVE, T, T, None),
        (State.ACTIVE, T, F, DeniedBy.UNDELIVERABLE),
        (State.ACTIVE, F, T, DeniedBy.TERM),
        (State.ACTIVE, F, F, DeniedBy.TERM),
        (State.SUSPENDED, T, T, DeniedBy.STATE),
        (State.SUSPENDED, F, F, DeniedBy.STATE),
    ],
)
def test_the_first_missing_right_in_the_order_of_decision_denies(
    *, state: State, in_term: bool, reachable: bool, denied: DeniedBy | None
) -> None:
    """Law 1: state, then term, then whether the topic takes records."""
    plan = plan_of(terms("a", "plate", valid_until_ms=NOW + 1 if in_term else NOW), states={"a": state})

    found = denials(plan, Moment(now_ms=NOW, undeliverable=frozenset() if reachable else frozenset({"a"})))

    assert found == (denied,)
