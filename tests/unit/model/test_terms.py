"""Terms against a schema: all faults at once, each with its place in the agreement's file."""

from typing import Any

import pytest
from kernel_kit import VEHICLE, schema_of, terms

from hub.model import agreement as words
from hub.model.agreement import All, Condition, Grant, Not, Rule
from hub.model.terms import RULE_CONDITIONS_MAX, RULE_DEPTH_MAX, RULE_VALUES_MAX, check_terms


def faults_of(*fields: str | Grant, key_identifier: str | None = "plate", **changes: Any) -> list[tuple[str, str]]:
    """Return path and message of each fault; each has a fix."""
    found = check_terms(terms("parking", *fields, **changes), VEHICLE, key_identifier=key_identifier)
    assert all(fault.fix for fault in found)
    return [(fault.field, fault.message) for fault in found]


def test_terms_that_fit_have_no_faults() -> None:
    """The agreement of the README."""
    rows = All((Condition("class", "eq", "passenger"), Condition("region", "isAnyOf", ("330106", "330108"))))
    grants = ("plate", Grant("owner_id", "pseudonym"), Grant("phone", "mask", keep_last=4), Grant("class", "mask"))

    assert faults_of(*grants, rows=rows, key="pseudonym") == []


@pytest.mark.parametrize(
    ("grant", "path", "message"),
    [
        (Grant("colour"), "fields[1].name", "is not in the schema"),
        (Grant("plate"), "fields[1].name", "granted twice"),
        (Grant("seats", "mask"), "fields[1].mask", "only text and enums"),
        (Grant("seats", "pseudonym"), "fields[1].pseudonym", "only text has a pseudonym"),
        (Grant("class", "pseudonym"), "fields[1].pseudonym", "only text has a pseudonym"),
        (Grant("region", "pseudonym"), "fields[1].pseudonym", "declares no identifier kind"),
        (Grant("model", "mask", keep_first=-1), "fields[1].mask.keep_first", "out of range"),
        (Grant("model", "mask", keep_last=1001), "fields[1].mask.keep_last", "out of range"),
        (Grant("model", "shuffle"), "fields[1]", "no transform"),
    ],
)
def test_a_grant_that_does_not_fit_is_named(grant: Grant, path: str, message: str) -> None:
    """Officers see the place in their file."""
    ((where, what),) = faults_of("plate", grant)

    assert where == path
    assert message in what


def test_a_grant_may_name_the_identifier_kind_itself() -> None:
    """Not every schema declares one."""
    assert faults_of(Grant("region", "pseudonym", identifier="region-code")) == []


def test_granting_nothing_is_a_fault() -> None:
    """An empty record would be metered and mean nothing."""
    assert faults_of() == [("fields", "no field is granted")]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (Condition("colour", "eq", "red"), "rows.field"),
        (Condition("class", "equals", "bus"), "rows"),
        (Condition("class", "eq", None), "rows.eq"),
        (Condition("class", "eq", ("bus",)), "rows.eq"),
        (Condition("class", "isAnyOf", "bus"), "rows.isAnyOf"),
        (Condition("class", "isAnyOf", ()), "rows.isAnyOf"),
        (Condition("class", "isAnyOf", ("bus", 5)), "rows.isAnyOf[1]"),
        (Condition("class", "isAnyOf", ("bus",) * (RULE_VALUES_MAX + 1)), "rows.isAnyOf"),
        (Condition("seats", "gt", "many"), "rows.gt"),
        (Condition("seats", "startsWith", "1"), "rows.startsWith"),
        (Condition("taxed", "lt", True), "rows.lt"),
        (Condition("taxed", "isNull", "yes"), "rows.isNull"),
        (All(()), "rows.all"),
        (All((Condition("seats", "eq", 5), words.Any((Not(Condition("x", "eq", 1)),)))), "rows.all[1].any[0].not.field"),
    ],
)
def test_a_rule_that_does_not_fit_is_named(rule: Rule, path: str) -> None:
    """A rule that cannot be evaluated would deliver nothing, silently."""
    assert [where for where, _ in faults_of("plate", rows=rule)] == [path]


def test_every_fault_is_told_at_once_in_the_order_of_the_file() -> None:
    """Officers mend a file in one go."""
    rows = All((Condition("a", "eq", 1), Condition("b", "eq", 1)))

    found = faults_of("colour", Grant("seats", "mask"), rows=rows, key="keep", key_identifier=None)

    assert [where for where, _ in found] == ["fields[0].name", "fields[1].mask", "rows.all[0].field", "rows.all[1].field", "key"]


def test_a_rule_is_bounded_in_depth_and_size() -> None:
    """Nothing is unbounded: at the bound, and one past it."""
    deep: Rule = Condition("seats", "eq", 5)
    for _ in range(RULE_DEPTH_MAX - 1):
        deep = Not(deep)
    wide = All((Condition("seats", "eq", 5),) * (RULE_CONDITIONS_MAX - 1))

    assert faults_of("plate", rows=deep) == []
    assert len(faults_of("plate", rows=Not(deep))) == 1
    assert faults_of("plate", rows=wide) == []
    assert len(faults_of("plate", rows=All((wide,)))) == 1


@pytest.mark.parametrize("rule", ["keep", "pseudonym"])
def test_the_key_is_granted_only_where_the_dataset_says_what_it_is(rule: str) -> None:
    """Law 2: the record key is a field too."""
    assert faults_of("plate", key=rule) == []
    assert [where for where, _ in faults_of("plate", key=rule, key_identifier=None)] == ["key"]


def test_an_unknown_key_rule_is_a_fault() -> None:
    """Deny is the default."""
    assert [where for where, _ in faults_of("plate", key="hash")] == ["key"]


def test_bytes_can_only_be_asked_for_null() -> None:
    """A file has no way to write bytes."""
    schema = schema_of(["null", "bytes"])

    def found(rule: Rule) -> list[str]:
        return [fault.field for fault in check_terms(terms("parking", "f0", rows=rule), schema, key_identifier=None)]

    assert found(Condition("f0", "isNull", value=True)) == []
    assert found(Condition("f0", "eq", "a")) == ["rows.eq"]
