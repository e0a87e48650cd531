"""Authorise: who has a right at this moment, and whether a record lies in the rows that were agreed.

Order of decision (law 1): state, then term, then whether the share topic takes records; each denies for the whole step. Rows
come after, by record, in three-valued logic (SQL's, and Kleene's): a null field makes every operator but ``isNull`` unknown,
``not`` keeps unknown, ``all`` is false as soon as one is false and ``any`` true as soon as one is true. A record is delivered
only where the rule is true. NaN equals nothing: only ``neq``, ``isNoneOf`` and ``isNull: false`` are true of it (IEEE 754).
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from hub.exchange.plan import Plan, PlannedAgreement
from hub.exchange.verdict import Moment
from hub.model.agreement import All, Condition, Not, Rule
from hub.model.lifecycle import State
from hub.model.operands import operand
from hub.model.reasons import DeniedBy
from hub.model.source_schema import SourceSchema

Truth: TypeAlias = bool | None
Predicate: TypeAlias = Callable[[list[Any]], Truth]
"""Tells of a record's values whether a rule is true, false or unknown (None)."""


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
    place = next(index for index, field in enumerate(schema.fields) if field.name == rule.field)
    if rule.operator == "isNull":
        return _is_null(place, wanted=rule.value is True)
    kind = schema.fields[place].type
    if isinstance(rule.value, tuple):
        listed = frozenset(operand(value, kind=kind) for value in rule.value)
        return _listed(place, listed, wanted=rule.operator == "isAnyOf")
    return _compared(place, _COMPARE[rule.operator], operand(rule.value, kind=kind))


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
