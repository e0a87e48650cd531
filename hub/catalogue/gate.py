"""The gate: what a schema must be before any record of it may enter the hub. Static, bounded, every fault at once.

Decoders of Avro can be led into deep recursion, into lists of a billion items that take no bytes, and into quadratic decimals:
a schema that allows one of these is refused, so that no record can. What the exchange cannot carry is refused here
too, with its path, rather than at the first record.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import fastavro
import rfc8785
from fastavro.schema import SchemaParseException, UnknownType

from hub.catalogue.annotations import annotation_faults, kinds_in
from hub.catalogue.schema_names import NAME, Fault, join, name_faults, names_in
from hub.model.defaults import unfit_default
from hub.model.errors import HubError, Problem
from hub.model.field_types import PRIMITIVES
from hub.model.normal_form import normal_form
from hub.model.source_schema import declared_fields
from hub.model.terms import unsupported_schema

SCHEMA_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 32
FIELDS_MAX: Final = 1_000
DECIMAL_PRECISION_MAX: Final = 38
FAULTS_TOLD_MAX: Final = 200
"""Faults of one schema that are told with their places; all are counted."""
_NAMED: Final = ("record", "error", "enum", "fixed")


def check_schema(text: str, *, where: str, earlier: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the schema's JSON; every fault at once, under HUB-SCHEMA-001 when it is no valid Avro record, else HUB-SCHEMA-002.

    ``earlier`` are the versions that the subject has: names and identifier kinds with which one of them was registered, before their
    rules were held, are allowed to a further one.
    """
    raw = _load(text)
    shape = [*_shape_faults(raw, "", 0)]
    invalid = [*shape, *_unless_kept(raw, earlier, name_faults, names_in), *(() if shape else _default_faults(raw))]
    refused = [*_unless_kept(raw, earlier, annotation_faults, kinds_in), *(() if shape else _Widths(raw).faults())]
    if not shape:
        told = [path for path, *_ in (*invalid, *refused)]
        refused += (fault for fault in _unread(raw) if not any(path.startswith(fault[0]) for path in told))
    _refuse("HUB-SCHEMA-001" if invalid else "HUB-SCHEMA-002", where, [*invalid, *refused])
    _require_canonical(raw, where)
    _require_parsed(raw, where)
    return raw


class _Rule(Protocol):
    def __call__(self, schema: Any, *, known: Collection[str]) -> Iterator[Fault]: ...


def _unless_kept(raw: Any, earlier: Sequence[str], rule: _Rule, words: Callable[[Any], Collection[str]]) -> list[Fault]:
    """Return the faults of ``rule``; earlier versions, which may be many, are read only where there are any."""
    found = list(rule(raw, known=()))
    if not found or not earlier:
        return found
    known = {word for text in earlier for word in words(json.loads(text))}
    return list(rule(raw, known=known))


def _require_canonical(raw: Mapping[str, Any], where: str) -> None:
    try:
        rfc8785.dumps(raw)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        fix = "keep whole numbers within 2^53 and text free of lone surrogates; leave larger defaults out"
        raise HubError("HUB-SCHEMA-002", f"schema of `{where}` holds what canonical JSON cannot hold", fix) from error


def _require_parsed(raw: Mapping[str, Any], where: str) -> None:
    """Ask a parser that connectors use, which must find nothing that the rules here have not told with its place."""
    try:
        fastavro.parse_schema(normal_form(raw))
    except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HubError("HUB-SCHEMA-001", f"schema of `{where}` is not valid Avro", "see the Avro 1.12 specification") from error


def _unread(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what the exchange cannot carry."""
    for path, message in unsupported_schema(raw):
        yield path, message, "write it in another way: see README, schemas"


def _default_faults(raw: Mapping[str, Any]) -> Iterator[Fault]:
    for path, field in declared_fields(raw):
        unfit = unfit_default(field.declared["default"], field.type) if "default" in field.declared else None
        if unfit is not None:
            yield f"{path}.default{unfit.place}", f"the default of field `{field.name}` {unfit.message}", unfit.fix


def _refuse(code: str, where: str, faults: list[Fault]) -> None:
    told: dict[str, Problem] = {}
    for path, message, fix in faults:
        told.setdefault(path, Problem(where, path, message, fix))
    problems = tuple(told.values())
    if problems:
        noun = "fault" if len(problems) == 1 else "faults"
        message = f"schema of `{where}` has {len(problems)} {noun}"
        raise HubError(code, message, "mend each of them", problems=problems[:FAULTS_TOLD_MAX])


def _load(text: str) -> dict[str, Any]:
    size = len(text.encode())
    if size > SCHEMA_BYTES_MAX:
        raise HubError("HUB-SCHEMA-002", f"schema has {size} bytes", f"keep it within {SCHEMA_BYTES_MAX}")
    try:
        raw = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise HubError("HUB-SCHEMA-001", "schema is not readable as JSON", "send a JSON object, each key once") from error
    if not isinstance(raw, dict) or raw.get("type") != "record":
        raise HubError("HUB-SCHEMA-001", "schema is no record", "the records of a dataset are Avro records at the top")
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key stands twice")
    return out


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _shape_faults(node: Any, path: str, depth: int) -> Iterator[Fault]:
    """Bound the nesting and hold the shapes that the walks below rely on."""
    if depth > DEPTH_MAX:
        yield path, "is nested too deeply", f"keep types within {DEPTH_MAX} levels"
        return
    if isinstance(node, list):
        for number, branch in enumerate(node):
            yield from _shape_faults(branch, f"{path}[{number}]", depth + 1)
        return
    if not isinstance(node, dict):
        if not isinstance(node, str):
            yield path, "is no type", "write a type name, a list of types or an object with `type`"
        return
    kind = node.get("type")
    if isinstance(kind, dict | list):
        yield from _shape_faults(kind, join(path, "type"), depth + 1)
    elif kind in {"record", "error"}:
        yield from _record_shape(node, path, depth)
    elif kind in {"array", "map"}:
        inner = "items" if kind == "array" else "values"
        yield from _shape_faults(node.get(inner), join(path, inner), depth + 1)
    elif not isinstance(kind, str):
        yield path, "has no type", "add `type`"


def _record_shape(node: Mapping[str, Any], path: str, depth: int) -> Iterator[Fault]:
    fields = node.get("fields")
    if not isinstance(fields, list) or not fields or len(fields) > FIELDS_MAX:
        yield join(path, "fields"), "is no list of fields", f"declare 1 to {FIELDS_MAX} fields"
        return
    names: set[str] = set()
    for number, field in enumerate(fields):
        here = join(path, f"fields[{number}]")
        name = field.get("name") if isinstance(field, dict) else None
        if not isinstance(name, str) or NAME.match(name) is None:
            yield here, "is no field with an Avro name", "write `name` of letters, digits and underscores, and `type`"
            continue
        if name in names:
            yield here, f"field `{name}` stands twice", "keep one of the two"
        names.add(name)
        yield from _shape_faults(field.get("type"), join(here, "type"), depth + 1)


class _Widths:
    """Walks every type once: recursion, lists of items that take no bytes, decimals without bound."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.zero_width: dict[str, bool] = {}
        self.open: list[str] = []
        self.found: list[Fault] = []

    def faults(self) -> list[Fault]:
        self._is_zero(self.root, "", None)
        return self.found

    def _is_zero(self, node: Any, path: str, space: str | None) -> bool:
        """Tell whether every value of the type takes no bytes, noting faults on the way."""
        if isinstance(node, list):
            for number, branch in enumerate(node):
                self._is_zero(branch, f"{path}[{number}]", space)
            return False
        if isinstance(node, str):
            return self._named(node, path, space)
        kind = node["type"]
        if isinstance(kind, dict | list):
            return self._is_zero(kind, join(path, "type"), space)
        if kind in {"array", "map"}:
            self._container(node, kind, path, space)
            return False
        self._decimal(node, path)
        if kind not in _NAMED:
            return self._named(kind, path, space)
        return self._definition(node, kind, path, space)

    def _named(self, name: str, path: str, space: str | None) -> bool:
        if name in PRIMITIVES:
            return name == "null"
        for full in (_full(name, space), name):
            if full in self.open:
                self.found.append((path, f"type `{name}` contains itself", "flatten it: a record must have a bounded depth"))
                return False
            if full in self.zero_width:
                return self.zero_width[full]
        return False

    def _container(self, node: Mapping[str, Any], kind: str, path: str, space: str | None) -> None:
        inner = "items" if kind == "array" else "values"
        zero = self._is_zero(node[inner], join(path, inner), space)
        if zero and kind == "array":
            self.found.append((join(path, inner), "items take no bytes", "give them a type with a value: five bytes could claim a billion"))

    def _definition(self, node: Mapping[str, Any], kind: str, path: str, space: str | None) -> bool:
        full = _full(str(node.get("name", "")), str(node["namespace"]) if node.get("namespace") is not None else space)
        zero = False
        if kind == "fixed":
            zero = node.get("size") == 0
        elif kind != "enum":
            inner = full.rpartition(".")[0] or None
            self.open.append(full)
            widths = [
                self._is_zero(field["type"], join(path, f"fields[{number}].type"), inner) for number, field in enumerate(node["fields"])
            ]
            self.open.pop()
            zero = all(widths)
        self.zero_width[full] = zero
        return zero

    def _decimal(self, node: Mapping[str, Any], path: str) -> None:
        if node.get("logicalType") != "decimal":
            return
        precision, scale = node.get("precision"), node.get("scale", 0)
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (precision, scale))
        if not whole or not 1 <= precision <= DECIMAL_PRECISION_MAX or not 0 <= scale <= precision:  # type: ignore[operator]  # whole
            fix = f"give `precision` from 1 to {DECIMAL_PRECISION_MAX} and `scale` from 0 to it"
            self.found.append((path, "is a decimal without bounds", fix))


def _full(name: str, space: str | None) -> str:
    return name if "." in name or not space else f"{space}.{name}"
