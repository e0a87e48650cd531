"""Agreements: who may have which part of a dataset, for which purpose, until when, in which form, at what price.

``Agreement`` holds the terms of one version as they stand in the file (docs/reference/shapes.md "Agreement files"), already
checked for shape.
Rules are a small tree of ODRL operators; their three-valued meaning is in ``hub.exchange.reference.authorise``. Fields are named
by paths (``hub.model.paths``): ``phone``, ``address.city``, ``phones[].number``, ``tags{}``.

Signed bodies hold these structs: a member is only ever added, with a default, and unknown members are refused, so that a worker
never acts on terms that it understands in part. The parameters of a transform are a value of their own for that reason.
"""

from typing import Final, TypeAlias, Union

import msgspec

Scalar: TypeAlias = str | int | float | bool | None
Number: TypeAlias = str | int | float
"""A number as the file has it; text where it must be exact, as ``"0.10"``."""

OPERATORS: Final = ("eq", "neq", "gt", "gteq", "lt", "lteq", "isAnyOf", "isNoneOf", "isNull", "startsWith")
LIST_OPERATORS: Final = ("isAnyOf", "isNoneOf")
TRANSFORMS: Final = ("keep", "mask", "pseudonym", "truncate", "bucket", "prefix", "nullify", "constant")
KEY_RULES: Final = ("drop", "keep", "pseudonym")
CHARGE_BASES: Final = ("free", "shadow", "cost_allocation", "service_contract", "guided_price")


class Condition(msgspec.Struct, frozen=True, tag="condition", forbid_unknown_fields=True):
    """One operator on one field. ``value`` is a tuple for isAnyOf and isNoneOf, a bool for isNull.

    On the elements of an array or map (``phones[].number``) it is true as soon as it is true of one element.
    """

    field: str
    operator: str
    value: Scalar | tuple[Scalar, ...]


class All(msgspec.Struct, frozen=True, tag="all", forbid_unknown_fields=True):
    """True when every rule is true; false as soon as one is false."""

    rules: tuple[Union["Condition", "All", "Any", "Not", "Every"], ...]


class Any(msgspec.Struct, frozen=True, tag="any", forbid_unknown_fields=True):
    """True as soon as one rule is true; false when every rule is false."""

    rules: tuple[Union["Condition", "All", "Any", "Not", "Every"], ...]


class Not(msgspec.Struct, frozen=True, tag="not", forbid_unknown_fields=True):
    """True when the rule is false; unknown stays unknown."""

    rule: Union["Condition", "All", "Any", "Not", "Every"]


class Every(msgspec.Struct, frozen=True, tag="every", forbid_unknown_fields=True):
    """A condition on elements, true when it is true of every element, and of none where there is none."""

    rule: Condition


Rule: TypeAlias = Condition | All | Any | Not | Every


class Truncate(msgspec.Struct, frozen=True, tag="truncate", kw_only=True, forbid_unknown_fields=True):
    """``truncate``: exactly one of the three, as the field's type asks."""

    to: str | None = None
    """Dates and times: the unit whose beginning is kept."""
    step: Number | None = None
    """Numbers: kept down to a multiple of it."""
    characters: int | None = None
    """Text: as many characters are kept, from the front."""


class Bucket(msgspec.Struct, frozen=True, tag="bucket", kw_only=True, forbid_unknown_fields=True):
    """``bucket``: numbers become the name of the interval that they lie in; ``width``, or ``edges`` with or without ``labels``."""

    width: Number | None = None
    edges: tuple[Number, ...] = ()
    labels: tuple[str, ...] = ()
    """One more than there are edges."""


class Prefix(msgspec.Struct, frozen=True, tag="prefix", kw_only=True, forbid_unknown_fields=True):
    """``prefix``: the first characters of a code."""

    characters: int


class Constant(msgspec.Struct, frozen=True, tag="constant", kw_only=True, forbid_unknown_fields=True):
    """``constant``: the same value in every record, null or not at the source."""

    value: str | int | float | bool
    avro_type: str
    """Avro primitive that the value is written as."""


Parameters: TypeAlias = Truncate | Bucket | Prefix | Constant


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One granted field and what happens to it."""

    name: str
    """Path of the field."""
    transform: str = "keep"
    keep_first: int = 0
    """``mask``: characters left readable at the front."""
    keep_last: int = 0
    """``mask``: characters left readable at the end."""
    identifier: str | None = None
    """``pseudonym``: the identifier kind, where the schema's own is overruled; None: the schema's."""
    parameters: Parameters | None = None
    """Of the transform that is named as they are; None for the others."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
