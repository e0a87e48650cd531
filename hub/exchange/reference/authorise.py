"""Authorise: who has a right at this moment, and whether a record lies in the rows that were agreed.

Order of decision (law 1): state, then term, then whether the share topic takes records; each denies for the whole step. Rows
come after, by record, in three-valued logic (SQL's, and Kleene's): a null field makes every operator but ``isNull`` unknown,
``not`` keeps unknown, ``all`` is false as soon as one is false and ``any`` true as soon as one is true. A record is delivered
only where the rule is true. NaN equals nothing: only ``neq``, ``isNoneOf`` and ``isNull: false`` are true of it (IEEE 754).

A null on the way of a path (``address.city`` where address is null) counts as a null at its end. A condition on elements is the
``any`` of the condition on each: of no element it is false, and ``neq`` is true where one element differs (``every`` and ``not``
say the rest). ``every`` is the ``all``: of no element it is true. In a general union a condition is asked of the branches that
it fits, and unknown of a value of another branch.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from hub.exchange.plan import Plan, PlannedAgreement
from hub.exchange.verdict import Moment
from hub.model.agreement import All, Condition, Every, Not, Rule
from hub.model.field_types import FieldType, SourceField, SourceSchema
from hub.model.lifecycle import State
from hub.model.operands import operand
from hub.model.paths import EACH_ITEM, EACH_VALUE, find_place
from hub.model.reasons import DeniedBy
from hub.model.terms import fitting_branches

Truth: TypeAlias = bool | None
Predicate: TypeAlias = Callable[[Any], Truth]
"""Tells of a record's values, or of what stands at a part of a path, whether a rule is true, false or unknown (None)."""


def denials(plan: Plan, moment: Moment) -> tuple[DeniedBy | None, ...]:
    """Return for each agreement, in order, which right is missing at ``moment``; None where it has one."""
    in_term = plan.in_term(moment.now_ms)
    return tuple(_denied_by(agreement, in_term=within, moment=moment) for agreement, within in zip(plan.agreements, in_term, strict=True))


def _denied_by(agreement: PlannedAgreement, *, in_term: bool, moment: Moment) -> DeniedBy | None:
    if agreement.state is not State.ACTIVE:
        return DeniedBy.STATE
    if not in_term:
        return DeniedBy.TERM
    return DeniedBy.UNDELIVERABLE if agreement.id in moment.undeliverable else None


def compile_rule(rule: Rule, schema: SourceSchema) -> Predicate:
    """Return the predicate of ``rule`` on records of ``schema``; the plan compiler has checked that it fits."""
    if isinstance(rule, Condition):
        return _condition(rule, schema)
    if isinstance(rule, Not):
        return _negated(compile_rule(rule.rule, schema))
    if isinstance(rule, Every):
        return _on_path(rule.rule, schema, decisive=False)
    inner = tuple(compile_rule(part, schema) for part in rule.rules)
    return _decided_by(inner, decisive=not isinstance(rule, All))


def _negated(inner: Predicate) -> Predicate:
    def test(values: list[Any]) -> Truth:
        truth = inner(values)
        return None if truth is None else not truth

    return test


def _decided_by(inner: tuple[Predicate, ...], *, decisive: bool) -> Predicate:
    """Return ``all`` (decided by one false) or ``any`` (decided by one true)."""

    def test(values: list[Any]) -> Truth:
        truth: Truth = not decisive
        for part in inner:
            found = part(values)
            if found is decisive:
                return decisive
            if found is None:
                truth = None
        return truth

    return test


def _condition(rule: Condition, schema: SourceSchema) -> Predicate:
    place = next((index for index, field in enumerate(schema.fields) if field.name == rule.field), None)
    if place is None or schema.fields[place].type.base == "union":
        return _on_path(rule, schema, decisive=True)
    kind = schema.fields[place].type
    if rule.operator == "isNull":
        return _is_null(place, wanted=rule.value is True)
    if isinstance(rule.value, tuple):
        listed = frozenset(operand(value, kind=kind) for value in rule.value)
        return _listed(place, listed, wanted=rule.operator == "isAnyOf")
    return _compared(place, _COMPARE[rule.operator], operand(rule.value, kind=kind))


def _on_path(rule: Condition, schema: SourceSchema, *, decisive: bool) -> Predicate:
    """Return the condition at the end of its path, from the end backwards: each part hands on what stands there.

    ``decisive`` is the truth of one element that decides for all: true for ``any``, false for ``every``.
    """
    found = find_place(rule.field, schema)
    steps: list[tuple[str, int]] = []
    kind = schema.record
    for part in found.path:
        if part in {EACH_ITEM, EACH_VALUE}:
            steps.append((part, 0))
            kind = kind.element
        else:
            place = [field.name for field in kind.fields].index(part)
            steps.append((".", place))
            kind = kind.fields[place].type
    test = _of_value(rule, found.type)
    for step, place in reversed(steps):
        test = _of_member(test, place) if step == "." else _of_elements(test, decisive=decisive)
    return test


def _of_value(rule: Condition, kind: FieldType) -> Predicate:
    """Return the condition on one value, which stands alone in a list."""
    if kind.base != "union" or rule.operator == "isNull":
        test = _condition(msgspec.structs.replace(rule, field="value"), _alone(kind if kind.base != "union" else _ANY_NULLABLE))
        return lambda value: test([value])
    tests = tuple(
        _of_value(rule, branch) if fits else None for branch, fits in zip(kind.branches, fitting_branches(rule, kind), strict=True)
    )

    def of_branch(value: Any) -> Truth:
        test = None if value is None else tests[value[0]]
        return None if test is None else test(value[1])

    return of_branch


def _alone(kind: FieldType) -> SourceSchema:
    return SourceSchema("value", None, (SourceField("value", kind, None, {}),), {})


_ANY_NULLABLE: Final = FieldType(base="string", null_branch=0)


def _of_member(inner: Predicate, place: int) -> Predicate:
    return lambda record: inner(None if record is None else record[place])


def _of_elements(inner: Predicate, *, decisive: bool) -> Predicate:
    def test(elements: Any) -> Truth:
        if elements is None:
            return inner(None)
        truth: Truth = not decisive
        for element in elements.values() if isinstance(elements, dict) else elements:
            found = inner(element)
            if found is decisive:
                return decisive
            if found is None:
                truth = None
        return truth

    return test


def _is_null(place: int, *, wanted: bool) -> Predicate:
    return lambda values: (values[place] is None) is wanted


def _listed(place: int, listed: frozenset[Any], *, wanted: bool) -> Predicate:
    def test(values: list[Any]) -> Truth:
        value = values[place]
        return None if value is None else (value in listed) is wanted

    return test


def _compared(place: int, compare: Callable[[Any, Any], bool], wanted: Any) -> Predicate:
    def test(values: list[Any]) -> Truth:
        value = values[place]
        return None if value is None else compare(value, wanted)

    return test


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "startsWith": str.startswith,
}
