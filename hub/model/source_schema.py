"""Writer schemas as the exchange reads them: a record of flat fields, each with its type, nullability and identifier kind.

Carried now: primitives, fixed, enums, unions of null and one of these in either order, and the logical types of ``LOGICAL``.
Nested records, arrays, maps and other unions are refused with their path. Source: Apache Avro 1.12 specification.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from hub.model.errors import HubError, Problem

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "uuid": ("string",),
    "decimal": ("bytes", "fixed"),
}
"""Logical types that rules understand, with the types that they stand on. Others are carried as their base type."""
DECIMAL_PRECISION_MAX: Final = 76
DECIMAL_BYTES_MAX: Final = 32
"""Holds every decimal of the precision above; a longer encoding is refused when it is read."""


class FieldType(msgspec.Struct, frozen=True, kw_only=True):
    """The type of one field: what stands on the wire, and what a rule compares."""

    base: str
    """One of ``PRIMITIVES``, ``fixed`` or ``enum``."""
    logical: str | None = None
    """One of ``LOGICAL``, where it stands on its own base type."""
    null_branch: int | None = None
    """Index of null in the field's union; None where the field is no union."""
    symbols: tuple[str, ...] = ()
    size: int = 0
    """Bytes of a fixed."""
    scale: int = 0
    """Digits behind the point of a decimal."""
    full_name: str | None = None
    """Of an enum or fixed; without a dot where it has no namespace."""
    definition: Any = None
    """The type's own JSON: of an enum or fixed its definition, also where the field only refers to it."""

    @property
    def nullable(self) -> bool:
        """Tell whether null is a value of the field."""
        return self.null_branch is not None or self.base == "null"


class SourceField(msgspec.Struct, frozen=True):
    """One field of a writer schema."""

    name: str
    type: FieldType
    identifier: str | None
    """The identifier kind that the schema declares."""
    declared: Mapping[str, Any]
    """The field's JSON as registered."""


class SourceSchema(msgspec.Struct, frozen=True):
    """A writer schema whose every field can be carried."""

    name: str
    namespace: str | None
    fields: tuple[SourceField, ...]
    declared: Mapping[str, Any]
    """The schema's JSON as registered."""

    def field(self, name: str) -> SourceField | None:
        """Return the field of that name, None where there is none."""
        return next((field for field in self.fields if field.name == name), None)


def read_schema(schema: object) -> SourceSchema:
    """Read a writer schema (JSON text, or JSON read already); HUB-AGREE-005 lists every part that cannot be carried."""
    found = _Reader()
    source = found.read(_loaded(schema))
    if source is None or found.faults:
        raise HubError(
            "HUB-AGREE-005",
            f"the writer schema has {len(found.faults)} parts that the exchange cannot carry",
            "use flat fields: primitives, enums, fixed, logical types, and unions of null and one of these",
            problems=tuple(Problem("schema", path, message, "see README, schemas") for path, message in found.faults),
        )
    return source


def unsupported_schema(schema: object) -> tuple[tuple[str, str], ...]:
    """Return (path, message) of every part of ``schema`` that the exchange cannot carry; empty when it can carry all."""
    found = _Reader()
    found.read(_loaded(schema))
    return tuple(found.faults)


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
        self._named: dict[str, FieldType] = {}
        self._namespace: str | None = None

    def read(self, schema: object) -> SourceSchema | None:
        if not isinstance(schema, Mapping) or schema.get("type") != "record" or not isinstance(schema.get("name"), str):
            self._fault("", "the schema is no record with a name")
            return None
        full = _full_name(schema, None)
        namespace, _, name = full.rpartition(".")
        self._namespace = namespace or None
        self._named[full] = FieldType(base="record")
        declared = schema.get("fields")
        if not isinstance(declared, list) or not declared:
            self._fault("fields", "the record has no fields")
            return None
        fields = tuple(self._fields(declared))
        return SourceSchema(name=name, namespace=self._namespace, fields=fields, declared=schema)

    def _fields(self, declared: list[Any]) -> Iterator[SourceField]:
        seen: set[str] = set()
        for place, field in enumerate(declared):
            path = f"fields[{place}]"
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
            kind = self._union(field.get("type"), f"{path}.type")
            if kind is not None:
                yield SourceField(name=field["name"], type=kind, identifier=identifier, declared=field)

    def _union(self, node: object, path: str) -> FieldType | None:
        if not isinstance(node, list):
            return self._type(node, path)
        nulls = [branch for branch, item in enumerate(node) if item in ("null", {"type": "null"})]
        if len(node) != 2 or len(nulls) != 1:
            self._fault(path, "a union is carried only of null and one other type")
            return None
        inner = self._type(node[1 - nulls[0]], f"{path}[{1 - nulls[0]}]")
        return None if inner is None else msgspec.structs.replace(inner, null_branch=nulls[0])

    def _type(self, node: object, path: str) -> FieldType | None:
        if isinstance(node, str):
            return self._named_type(node, path)
        if not isinstance(node, Mapping):
            self._fault(path, "this is no type that can be carried")
            return None
        base = str(node.get("type"))
        if base in PRIMITIVES:
            return self._logical(FieldType(base=base, definition=node), node, path)
        if base in {"enum", "fixed"}:
            return self._definition(base, node, path)
        words = {"record": "nested records", "error": "errors", "array": "arrays", "map": "maps"}
        self._fault(path, f"{words.get(base, 'such types')} are not carried yet")
        return None

    def _named_type(self, name: str, path: str) -> FieldType | None:
        if name in PRIMITIVES:
            return FieldType(base=name, definition=name)
        for full in (f"{self._namespace}.{name}" if self._namespace and "." not in name else name, name):
            kind = self._named.get(full)
            if kind is not None and kind.base != "record":
                return kind
        self._fault(path, f"`{name}` names no type defined before, or one that is not carried")
        return None

    def _definition(self, base: str, node: Mapping[str, Any], path: str) -> FieldType | None:
        if not isinstance(node.get("name"), str):
            self._fault(path, f"the {base} has no name")
            return None
        full = _full_name(node, self._namespace)
        if full in self._named:
            self._fault(path, f"type `{full}` is defined twice")
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
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            self._fault(path, f"fixed `{full}` has no size of at least 1")
            return None
        return self._logical(FieldType(base="fixed", size=size, full_name=full, definition=node), node, path)

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

    def _fault(self, path: str, message: str) -> None:
        self.faults.append((path, message))


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _full_name(node: Mapping[str, Any], enclosing: str | None) -> str:
    name = str(node["name"])
    if "." in name:
        return name
    namespace = node.get("namespace", enclosing)
    return f"{namespace}.{name}" if isinstance(namespace, str) and namespace else name
