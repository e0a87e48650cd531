"""Compatibility of schema versions: FULL_TRANSITIVE by Apache Avro's own checker, and logical types that stay as they are.

Every version must read, and be read by, every earlier one. The checker looks at wire types only, so a decimal could change its
scale and every amount with it: a logical type, its precision and its scale may not change under one path.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from hub.model.field_types import FieldType
from hub.model.normal_form import normal_form
from hub.model.source_schema import read_schema

LEVEL: Final = "FULL_TRANSITIVE"
NO_LEVEL: Final = "NONE"
_LOGICAL: Final = ("logicalType", "precision", "scale")
_PLAIN: Final = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_CONTAINERS: Final = {"array", "map"}


def incompatibilities(candidate: str, earlier: Mapping[int, str]) -> tuple[str, ...]:
    """Return what stands between ``candidate`` and each earlier version (by number), as texts; empty when nothing does."""
    return tuple(_differences(candidate, earlier))


def _differences(candidate: str, earlier: Mapping[int, str]) -> Iterator[str]:
    new = normal_form(json.loads(candidate))  # since the checker does not read every spelling
    for version, text in sorted(earlier.items()):
        old = normal_form(json.loads(text))
        if any(_between(*_without_equal_fields(new, old), version)):
            yield from _between(new, old, version)


def _between(new: Any, old: Any, version: int) -> Iterator[str]:
    candidate, before = _parsed(new), _parsed(old)
    for reader, writer, direction in ((candidate, before, "cannot read"), (before, candidate, "cannot be read by")):
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            places = ", ".join(sorted(str(place) for place in result.locations)) or "/"
            kinds = ", ".join(sorted(str(kind.value) for kind in result.incompatibilities))
            yield f"the new schema {direction} version {version}: {kinds} at {places}"
    for name in _changed_meaning(new, old):
        yield f"field `{name}` changes its logical type since version {version}"


def _without_equal_fields(new: Any, old: Any) -> tuple[Any, Any]:
    """Return both schemas without the fields that are the same in both, of which nothing can stand between them.

    The checker takes 50 ms for 450 fields, and versions differ in few. A field stays where another could lean on it: by a named type
    that it defines or names, or by an alias that is its name; one field always stays, since a record has one.
    """
    known = {field["name"]: _meant(field) for field in old["fields"]}
    aliases = {alias for schema in (new, old) for field in schema["fields"] for alias in field.get("aliases", ())}
    equal = {
        field["name"]
        for field in new["fields"]
        if field["name"] not in aliases and known.get(field["name"]) == _meant(field) and _is_plain(field["type"])
    }
    left_out = set(sorted(equal)[1:])

    def shortened(schema: Any) -> Any:
        return {**schema, "fields": [field for field in schema["fields"] if field["name"] not in left_out]}

    return shortened(new), shortened(old)


def _meant(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the checks look at, as text, since 1 and true are equal in Python."""
    return {key: json.dumps(field[key], sort_keys=True) for key in ("type", "default", "aliases") if key in field}


def _is_plain(kind: Any) -> bool:
    """Tell whether a type is built of types without names."""
    if isinstance(kind, list):
        return all(_is_plain(branch) for branch in kind)
    if isinstance(kind, dict):
        inner = [kind[key] for key in ("items", "values") if key in kind]
        return isinstance(kind["type"], str) and kind["type"] in _CONTAINERS | _PLAIN and all(_is_plain(part) for part in inner)
    return kind in _PLAIN


def _parsed(schema: Any) -> Any:
    """Parse for the checker, without logical types: it does not look at them, and the library warns of those it does not know.

    Names were judged at the gate; those of versions that are older than its rule stay.
    """
    return avro.schema.parse(json.dumps(_plain(schema)), validate_names=False)


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, dict):
        return {key: value if key == "default" else _plain(value) for key, value in node.items() if key != "logicalType"}
    return node


def _changed_meaning(new: Any, old: Any) -> Iterator[str]:
    before = dict(_meanings(read_schema(old).record, ""))
    for path, meaning in _meanings(read_schema(new).record, ""):
        if before.get(path, meaning) != meaning:
            yield path


def _meanings(kind: FieldType, path: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the logical type of everything that is no container, by its path; branches of a union by their type or name."""
    if kind.base == "record":
        for field in kind.fields:
            yield from _meanings(field.type, f"{path}.{field.name}" if path else field.name)
    elif kind.base in {"array", "map"}:
        yield from _meanings(kind.element, path + ("[]" if kind.base == "array" else "{}"))
    elif kind.base == "union":
        for branch in kind.branches:
            yield from _meanings(branch, f"{path}<{branch.full_name or branch.base}>")
    else:
        declared = kind.definition if isinstance(kind.definition, Mapping) else {}
        yield path, tuple(declared.get(key) for key in _LOGICAL if "logicalType" in declared)
