"""Writer schemas as the exchange reads them: every part of Avro but recursion, bounded, with every fault at once.

Bounds hold here as well as at the gate, since a worker reads schemas from ``hub.plan`` without passing it: types at most
``DEPTH_MAX`` deep, at most ``TYPES_MAX`` of them once each reference is written out (32 lines of references would unfold to
billions), no array whose items take no bytes. Source: Apache Avro 1.12 specification.

Defaults and aliases of a writer schema never touch a record: a record is read by the schema that wrote it, in which every field
is there. They matter to readers of the output schema, which keeps them (``output_schema``), and to the registry's compatibility.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from hub.model.errors import HubError, Problem
from hub.model.field_types import (
    DECIMAL_BYTES_MAX,
    DECIMAL_PRECISION_MAX,
    LOGICAL,
    PRIMITIVES,
    FieldType,
    SourceField,
    SourceSchema,
    parts_of,
)

__all__ = ["DECIMAL_BYTES_MAX", "FieldType", "SourceField", "SourceSchema", "declared_fields", "read_schema", "unsupported_schema"]

DEPTH_MAX: Final = 32
TYPES_MAX: Final = 10_000
TEXTS_KEPT: Final = 32
"""Schemas of up to 64 KiB that are kept as they were read."""


class _Measure(NamedTuple):
    """What a type is once every reference in it is written out."""

    types: int
    depth: int
    """Levels below it."""
    bytes_least: int
    """The fewest bytes that a value takes."""


def read_schema(schema: object) -> SourceSchema:
    """Read a writer schema (JSON text, or JSON read already); HUB-AGREE-005 lists every part that cannot be carried."""
    return _read_text(schema) if isinstance(schema, str) else _read(schema)


def _read(schema: object) -> SourceSchema:
    found = _Reader()
    source = found.read(_loaded(schema))
    if source is None or found.faults:
        raise HubError(
            "HUB-AGREE-005",
            f"the writer schema has {len(found.faults)} parts that the exchange cannot carry",
            "use Avro types within the bounds that README names, and no type that contains itself",
            problems=tuple(Problem("schema", path, message, "see README, schemas") for path, message in found.faults),
        )
    return source


@lru_cache(maxsize=TEXTS_KEPT)
def _read_text(text: str) -> SourceSchema:
    """Read a text, or return what was read of it: thousands of agreements are held against the same few schemas."""
    return _read(text)


def unsupported_schema(schema: object) -> tuple[tuple[str, str], ...]:
    """Return (path, message) of every part of ``schema`` that the exchange cannot carry; empty when it can carry all."""
    found = _Reader()
    found.read(_loaded(schema))
    return tuple(found.faults)


def declared_fields(schema: object) -> tuple[tuple[str, SourceField], ...]:
    """Return every field that ``schema`` declares, at any depth, with its place in the JSON; what has faults is left out."""
    found = _Reader()
    found.read(_loaded(schema))
    return tuple(found.declared)


def _loaded(schema: object) -> object:
    if not isinstance(schema, str):
        return schema
    try:
        return json.loads(schema)
    except (ValueError, RecursionError):
        return None


class _Reader:
    """Reads one schema; gathers faults as (path, message) instead of stopping at the first."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []
        self.declared: list[tuple[str, SourceField]] = []
        self._named: dict[str, FieldType] = {}
        self._open: set[str] = set()
        self._measures: dict[str, _Measure] = {}

    def read(self, schema: object) -> SourceSchema | None:
        if not isinstance(schema, Mapping) or schema.get("type") != "record" or not isinstance(schema.get("name"), str):
            self._fault("", "the schema is no record with a name")
            return None
        record = self._record(schema, "", None, 0)
        if record is None:
            return None
        namespace, _, name = str(record.full_name).rpartition(".")
        return SourceSchema(name=name, namespace=namespace or None, fields=record.fields, declared=schema)

    def _record(self, node: Mapping[str, Any], path: str, space: str | None, depth: int) -> FieldType | None:
        full = self._new_name("record", node, path, space)
        if full is None:
            return None
        declared = node.get("fields")
        if not isinstance(declared, list) or not declared:
            self._fault(_join(path, "fields"), "the record has no fields")
            return None
        self._open.add(full)
        fields = tuple(self._fields(declared, path, full.rpartition(".")[0] or None, depth))
        self._open.discard(full)
        kind = FieldType(base="record", full_name=full, definition=node, fields=fields)
        if not self._bounded(kind, full, path):
            return None
        self._named[full] = kind
        return kind if len(fields) == len(declared) or not path else None

    def _fields(self, declared: list[Any], above: str, space: str | None, depth: int) -> Iterator[SourceField]:
        seen: set[str] = set()
        for place, field in enumerate(declared):
            path = _join(above, f"fields[{place}]")
            if not isinstance(field, Mapping) or not isinstance(field.get("name"), str):
                self._fault(path, "the field has no name")
                continue
            if field["name"] in seen:
                self._fault(f"{path}.name", f"field `{field['name']}` stands there twice")
            seen.add(field["name"])
            if not _is_json(field):
                self._fault(path, f"field `{field['name']}` holds a number that JSON cannot say")
            identifier = field.get("identifier")
            if identifier is not None and (not isinstance(identifier, str) or not identifier):
                self._fault(f"{path}.identifier", f"the identifier kind of field `{field['name']}` is no text")
                identifier = None
            kind = self._type(field.get("type"), f"{path}.type", space, depth + 1)
            if kind is not None:
                self.declared.append((path, SourceField(name=field["name"], type=kind, identifier=identifier, declared=field)))
                yield self.declared[-1][1]

    def _type(self, node: object, path: str, space: str | None, depth: int) -> FieldType | None:
        if depth > DEPTH_MAX:
            self._fault(path, f"the type is nested over {DEPTH_MAX} deep")
            return None
        if isinstance(node, list):
            return self._union(node, path, space, depth)
        if isinstance(node, str):
            return self._named_type(node, path, space)
        if not isinstance(node, Mapping):
            self._fault(path, "this is no type that can be carried")
            return None
        base = node.get("type")
        if isinstance(base, Mapping | list):
            return self._type(base, f"{path}.type", space, depth + 1)
        return self._object(str(base), node, path, space, depth)

    def _object(self, base: str, node: Mapping[str, Any], path: str, space: str | None, depth: int) -> FieldType | None:
        if base in PRIMITIVES:
            return self._logical(FieldType(base=base, definition=node), node, path)
        if base == "record":
            return self._record(node, path, space, depth)
        if base in {"enum", "fixed"}:
            return self._definition(base, node, path, space)
        if base in {"array", "map"}:
            return self._container(base, node, path, space, depth)
        return self._named_type(base, path, space)

    def _union(self, node: list[Any], path: str, space: str | None, depth: int) -> FieldType | None:
        if not node:
            self._fault(path, "the union has no branches")
            return None
        found = [
            None if isinstance(item, list) else self._type(item, f"{path}[{place}]", space, depth + 1) for place, item in enumerate(node)
        ]
        if any(isinstance(item, list) for item in node):
            self._fault(path, "a union stands directly in a union")
        branches = tuple(kind for kind in found if kind is not None)
        if len(branches) < len(node):
            return None
        words = [kind.full_name or kind.base for kind in branches]
        if len(set(words)) < len(words) or any(kind.base == "union" or kind.null_branch is not None for kind in branches):
            self._fault(path, "a union names a type twice, or holds a union")
            return None
        null = next((place for place, kind in enumerate(branches) if kind.base == "null"), None)
        if len(branches) == 2 and null is not None:
            return msgspec.structs.replace(branches[1 - null], null_branch=null)
        return FieldType(base="union", branches=branches, null_branch=null, definition=node)

    def _named_type(self, name: str, path: str, space: str | None) -> FieldType | None:
        if name in PRIMITIVES:
            return FieldType(base=name, definition=name)
        for full in (f"{space}.{name}" if space and "." not in name else name, name):
            if full in self._open:
                self._fault(path, f"type `{name}` contains itself")
                return None
            if full in self._named:
                return self._named[full]
        self._fault(path, f"`{name}` names no type defined before")
        return None

    def _container(self, base: str, node: Mapping[str, Any], path: str, space: str | None, depth: int) -> FieldType | None:
        key = "items" if base == "array" else "values"
        inner = self._type(node.get(key), f"{path}.{key}", space, depth + 1)
        if inner is None:
            return None
        if base == "array" and self._measure(inner).bytes_least == 0:
            self._fault(f"{path}.{key}", "items that take no bytes: five bytes could claim a billion of them")
            return None
        return FieldType(base=base, inner=inner, definition=node)

    def _new_name(self, base: str, node: Mapping[str, Any], path: str, space: str | None) -> str | None:
        if not isinstance(node.get("name"), str):
            self._fault(path, f"the {base} has no name")
            return None
        full = _full_name(node, space)
        if full in self._named or full in self._open:
            self._fault(path, f"type `{full}` is defined twice")
            return None
        return full

    def _definition(self, base: str, node: Mapping[str, Any], path: str, space: str | None) -> FieldType | None:
        full = self._new_name(base, node, path, space)
        if full is None:
            return None
        kind = self._enum(full, node, path) if base == "enum" else self._fixed(full, node, path)
        if kind is not None:
            self._named[full] = kind
        return kind

    def _enum(self, full: str, node: Mapping[str, Any], path: str) -> FieldType | None:
        symbols = node.get("symbols")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) and symbol for symbol in symbols):
            self._fault(path, f"enum `{full}` has no list of symbols")
            return None
        if len(set(symbols)) != len(symbols):
            self._fault(path, f"enum `{full}` names a symbol twice")
            return None
        return FieldType(base="enum", symbols=tuple(symbols), full_name=full, definition=node)

    def _fixed(self, full: str, node: Mapping[str, Any], path: str) -> FieldType | None:
        size = node.get("size")
        if not _whole(size) or int(str(size)) < 1:
            self._fault(path, f"fixed `{full}` has no size of at least 1")
            return None
        return self._logical(FieldType(base="fixed", size=int(str(size)), full_name=full, definition=node), node, path)

    def _logical(self, kind: FieldType, node: Mapping[str, Any], path: str) -> FieldType:
        logical = node.get("logicalType")
        if not isinstance(logical, str) or kind.base not in LOGICAL.get(logical, ()):
            return kind
        scale = self._scale(kind, node, path) if logical == "decimal" else 0
        return msgspec.structs.replace(kind, logical=logical, scale=scale)

    def _scale(self, kind: FieldType, node: Mapping[str, Any], path: str) -> int:
        precision, scale = node.get("precision"), node.get("scale", 0)
        if kind.size > DECIMAL_BYTES_MAX:
            self._fault(path, f"a decimal takes at most {DECIMAL_BYTES_MAX} bytes")
        if _whole(precision) and _whole(scale) and 0 <= int(scale) <= int(precision or 0) <= DECIMAL_PRECISION_MAX and precision:
            return int(scale)
        self._fault(path, f"a decimal needs a precision of 1 to {DECIMAL_PRECISION_MAX} and a scale from 0 to its precision")
        return 0

    def _bounded(self, kind: FieldType, full: str, path: str) -> bool:
        """Measure a record that has just been read; a reference to it is reckoned without walking it again."""
        found = self._measure(kind)
        if found.types <= TYPES_MAX and found.depth <= DEPTH_MAX:
            self._measures[full] = found
            return True
        what = f"{TYPES_MAX} types" if found.types > TYPES_MAX else f"{DEPTH_MAX} levels"
        self._fault(path, f"the record has more than {what} once every reference is written out")
        return False

    def _measure(self, kind: FieldType) -> _Measure:
        known = self._measures.get(kind.full_name or "")
        if known is None:
            parts = [self._measure(part) for part in parts_of(kind)]
            known = _Measure(
                types=1 + sum(part.types for part in parts),
                depth=max((1 + part.depth for part in parts), default=0),
                bytes_least=sum(part.bytes_least for part in parts) if kind.base == "record" else _BYTES_LEAST.get(kind.base, 1),
            )
        null_or_index = kind.null_branch is not None or kind.base == "union"
        return known._replace(bytes_least=1) if null_or_index else known

    def _fault(self, path: str, message: str) -> None:
        self.faults.append((path, message))


_BYTES_LEAST: Final[Mapping[str, int]] = {"null": 0, "float": 4, "double": 8}
"""Of types that are no record; all others take a byte at least, a fixed too."""


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _full_name(node: Mapping[str, Any], enclosing: str | None) -> str:
    name = str(node["name"])
    if "." in name:
        return name
    namespace = node.get("namespace", enclosing)
    return f"{namespace}.{name}" if isinstance(namespace, str) and namespace else name
