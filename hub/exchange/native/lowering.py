"""Lowering: a proven plan becomes the program that the crate runs, with every name resolved and every constant encoded.

A program is JSON in places and bytes: types without names, paths of field places (-1 is each element), conditions and changes as
``values`` says them, agreements in the plan's order. Pseudonym keys stand beside it, once each, and are referred to by index.
Rules and conditions that say the same are one, whichever agreements they come from; they are told apart by their text, since to
Python ``eq: 1`` and ``eq: true`` are equal. The Rust side is ``native/src/program.rs``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from hub.exchange.native.values import change_spec, test_spec
from hub.exchange.plan import Plan, PlannedAgreement
from hub.exchange.reference.anonymise import delivers_tombstones
from hub.exchange.reference.encode import compile_encoder
from hub.exchange.reference.route import output_limit
from hub.model.agreement import All, Condition, Constant, Every, Not, Rule
from hub.model.field_types import CONTAINERS, FieldType, SourceSchema, without_null
from hub.model.granted import Each, Granted, Leaf, copies, granted_of
from hub.model.paths import EACH_ITEM, EACH_VALUE, find_place
from hub.model.terms import fitting_branches
from hub.model.transforms import constant_value

EACH: Final = -1
"""In a path: each element of the array or map that stands there."""


class Lowered(NamedTuple):
    """A program, and the keys that it refers to."""

    program: str
    keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        """Keys are never shown."""
        return f"Lowered({len(self.program)} characters, {len(self.keys)} keys)"


def lower(plan: Plan) -> Lowered:
    """Return the program of ``plan``."""
    keys: dict[bytes, int] = {}
    rules = {writer: _Rules(schema) for writer, schema in plan.writers.items()}
    agreements = [_agreement(agreement, plan, rules, keys) for agreement in plan.agreements]
    program = {
        "limits": msgspec.to_builtins(plan.limits) | {"record_bytes_max": max(0, output_limit(plan))},
        "key_kind": plan.key_identifier,
        "writers": [
            {
                "id": writer,
                "fields": [node(field.type) for field in schema.fields],
                "leaves": rules[writer].leaves,
                "rules": rules[writer].rules,
            }
            for writer, schema in plan.writers.items()
        ],
        "agreements": agreements,
    }
    return Lowered(msgspec.json.encode(program).decode(), tuple(keys))


def node(kind: FieldType) -> Any:
    """Return a type as the walkers know it: what tells its bytes apart."""
    if kind.base == "union":
        return {"union": {"branches": [node(branch) for branch in kind.branches], "null": kind.null_branch}}
    if kind.null_branch is not None:
        return {"nullable": {"null": 2 * kind.null_branch, "inner": node(without_null(kind))}}
    if kind.base in CONTAINERS:
        return {kind.base: [node(field.type) for field in kind.fields] if kind.base == "record" else node(kind.element)}
    if kind.base in _SIZED:
        return _SIZED[kind.base](kind)
    return "decimal" if kind.logical == "decimal" else kind.base


_SIZED: Final[Mapping[str, Callable[[FieldType], Any]]] = {
    "enum": lambda kind: {"enum": len(kind.symbols)},
    "fixed": lambda kind: {"fixed": kind.size},
    "float": lambda _: {"fixed": 4},
    "double": lambda _: {"fixed": 8},
}


class _Rules:
    """The rules of one writer schema, and the conditions that they are made of, each once."""

    def __init__(self, schema: SourceSchema) -> None:
        self._schema = schema
        self._places: dict[bytes, int] = {}
        self._leaf_places: dict[bytes, int] = {}
        self.rules: list[Any] = []
        self.leaves: list[Any] = []

    def place(self, rule: Rule) -> int:
        """Return the place of ``rule``, entered where it is new."""
        place = self._places.setdefault(msgspec.json.encode(rule), len(self.rules))
        if place == len(self.rules):
            self.rules.append(self._lowered(rule))
        return place

    def _lowered(self, rule: Rule) -> Any:
        if isinstance(rule, Condition):
            return {"leaf": self._leaf(rule, every=False)}
        if isinstance(rule, Every):
            return {"leaf": self._leaf(rule.rule, every=True)}
        if isinstance(rule, Not):
            return {"not": self._lowered(rule.rule)}
        return {"all" if isinstance(rule, All) else "any": [self._lowered(part) for part in rule.rules]}

    def _leaf(self, rule: Condition, *, every: bool) -> int:
        found = find_place(rule.field, self._schema)
        leaf = {"path": _places(self._schema, found.path), "every": every, "ask": _ask(rule, found.type)}
        place = self._leaf_places.setdefault(msgspec.json.encode(leaf), len(self.leaves))
        if place == len(self.leaves):
            self.leaves.append(leaf)
        return place


def _places(schema: SourceSchema, path: Sequence[str]) -> list[int]:
    places: list[int] = []
    kind = schema.record
    for part in path:
        if part in {EACH_ITEM, EACH_VALUE}:
            places.append(EACH)
            kind = kind.element
        else:
            places.append([field.name for field in kind.fields].index(part))
            kind = kind.fields[places[-1]].type
    return places


def _ask(rule: Condition, kind: FieldType) -> Any:
    """Return what is asked of a value of ``kind``; of a null only ``isNull`` is known."""
    if rule.operator == "isNull":
        return {"is_null": rule.value is True}
    if kind.base == "union":
        fitting = fitting_branches(rule, kind)
        return {"branches": [_ask(rule, branch) if fits else None for branch, fits in zip(kind.branches, fitting, strict=True)]}
    return {"test": test_spec(rule, without_null(kind))}


def _agreement(agreement: PlannedAgreement, plan: Plan, rules: dict[int, _Rules], keys: dict[bytes, int]) -> Any:
    key: Any = "drop"
    if agreement.terms.key != "drop" and plan.key_identifier is not None:
        kept = agreement.terms.key == "keep"
        key = "keep" if kept else {"pseudonym": _key(agreement, plan.key_identifier, keys)}
    return {
        "key": key,
        "tombstones": delivers_tombstones(agreement),
        "shares": [_share(agreement, writer, schema, rules[writer], keys) for writer, schema in plan.writers.items()],
    }


def _share(agreement: PlannedAgreement, writer: int, schema: SourceSchema, rules: _Rules, keys: dict[bytes, int]) -> Any:
    """Return an agreement on one writer schema; None where it has no output schema for it."""
    if writer not in agreement.output_ids:
        return None
    rows = agreement.terms.rows
    granted = granted_of(schema, agreement.terms.fields)
    return {
        "output_id": agreement.output_ids[writer],
        "rule": None if rows is None else rules.place(rows),
        "grants": [[place, _grant(part, schema.fields[place].type, agreement, keys)] for place, part in granted.fields],
    }


def _grant(granted: Granted, kind: FieldType, agreement: PlannedAgreement, keys: dict[bytes, int]) -> Any:
    if copies(granted, kind):
        return "copy"
    if isinstance(granted, Leaf):
        return _leaf_grant(granted, kind, agreement, keys)
    if isinstance(granted, Each):
        return {"each": _grant(granted.inner, kind.element, agreement, keys)}
    return {"members": [[place, _grant(part, kind.fields[place].type, agreement, keys)] for place, part in granted.fields]}


def _leaf_grant(leaf: Leaf, kind: FieldType, agreement: PlannedAgreement, keys: dict[bytes, int]) -> Any:
    """Return what a transform makes of a part; of a union of several types, by branch."""
    found = leaf.grant.parameters
    if isinstance(found, Constant):
        return {"constant": compile_encoder(FieldType(base=found.avro_type))(constant_value(found)).hex()}
    if leaf.grant.transform == "nullify":
        return {"constant": "" if kind.base == "null" else "00"}
    if kind.base == "union":
        branches = (None if branch.base == "null" else _leaf_grant(leaf, branch, agreement, keys) for branch in kind.branches)
        return {"branches": list(branches)}
    if leaf.grant.transform == "pseudonym":
        identifier = str(leaf.identifier)
        return {"pseudonym": {"kind": identifier, "key": _key(agreement, identifier, keys)}}
    return {"change": change_spec(leaf, without_null(kind))}


def _key(agreement: PlannedAgreement, identifier: str, keys: dict[bytes, int]) -> int:
    return keys.setdefault(agreement.pseudonym_keys[identifier], len(keys))
