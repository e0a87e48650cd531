"""Agreements: who may have which part of a dataset, for which purpose, until when, in which form, at what price.

``Agreement`` holds the terms of one version as they stand in the file (SHAPES "Agreement"), already checked for shape.
Rules are a small tree of ODRL operators; their three-valued meaning is in ``hub.exchange.reference.authorise``.
"""

from typing import Final, TypeAlias, Union

import msgspec

Scalar: TypeAlias = str | int | float | bool | None

OPERATORS: Final = ("eq", "neq", "gt", "gteq", "lt", "lteq", "isAnyOf", "isNoneOf", "isNull", "startsWith")
LIST_OPERATORS: Final = ("isAnyOf", "isNoneOf")
TRANSFORMS: Final = ("keep", "mask", "pseudonym")
KEY_RULES: Final = ("drop", "keep", "pseudonym")
CHARGE_BASES: Final = ("free", "shadow", "cost_allocation", "service_contract", "guided_price")


class Condition(msgspec.Struct, frozen=True, tag="condition"):
    """One operator on one field. ``value`` is a tuple for isAnyOf and isNoneOf, a bool for isNull."""

    field: str
    operator: str
    value: Scalar | tuple[Scalar, ...]


class All(msgspec.Struct, frozen=True, tag="all"):
    """True when every rule is true; false as soon as one is false."""

    rules: tuple[Union["Condition", "All", "Any", "Not"], ...]


class Any(msgspec.Struct, frozen=True, tag="any"):
    """True as soon as one rule is true; false when every rule is false."""

    rules: tuple[Union["Condition", "All", "Any", "Not"], ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """True when the rule is false; unknown stays unknown."""

    rule: Union["Condition", "All", "Any", "Not"]


Rule: TypeAlias = Condition | All | Any | Not


class Grant(msgspec.Struct, frozen=True):
    """One granted field and what happens to it."""

    name: str
    transform: str = "keep"
    keep_first: int = 0
    """``mask``: characters left readable at the front."""
    keep_last: int = 0
    """``mask``: characters left readable at the end."""
    identifier: str | None = None
    """``pseudonym``: the identifier kind, where the schema's own is overruled; None: the schema's."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of one version of an agreement. Immutable: a change of terms is a new version."""

    id: str
    version: int = 1
    provider: str
    consumer: str
    dataset: str
    purpose: str
    legal_basis: str
    valid_from_ms: int | None = None
    """UTC milliseconds, inclusive; None: from when it becomes active."""
    valid_until_ms: int
    """UTC milliseconds, exclusive."""
    tariff: str
    fields: tuple[Grant, ...]
    rows: Rule | None = None
    key: str = "drop"
    start: str = "now"
    payer: str
    charge_basis: str = "shadow"
    represented_org: str | None = None
    scenario: str | None = None
    service_item_code: str | None = None

    def in_term(self, now_ms: int) -> bool:
        """Tell whether ``now_ms`` lies in the term."""
        return (self.valid_from_ms is None or self.valid_from_ms <= now_ms) and now_ms < self.valid_until_ms
