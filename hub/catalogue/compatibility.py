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
from hub.model.source_schema import read_schema

LEVEL: Final = "FULL_TRANSITIVE"
_LOGICAL: Final = ("logicalType", "precision", "scale")


def incompatibilities(candidate: str, earlier: Mapping[int, str]) -> tuple[str, ...]:
    """Return what stands between ``candidate`` and each earlier version (by number), as texts; empty when nothing does."""
    return tuple(_differences(candidate, earlier))


def _differences(candidate: str, earlier: Mapping[int, str]) -> Iterator[str]:
    new = _parsed(candidate)
    for version, text in sorted(earlier.items()):
        old = _parsed(text)
        for reader, writer, direction in ((new, old, "cannot read"), (old, new, "cannot be read by")):
            result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
            if result.compatibility is not SchemaCompatibilityType.compatible:
                places = ", ".join(sorted(str(place) for place in result.locations)) or "/"
                kinds = ", ".join(sorted(str(kind.value) for kind in result.incompatibilities))
                yield f"the new schema {direction} version {version}: {kinds} at {places}"
        for name in _changed_meaning(candidate, text):
            yield f"field `{name}` changes its logical type since version {version}"


def _parsed(text: str) -> Any:
    """Parse for the checker, without logical types: it does not look at them, and the library warns of those it does not know."""
    return avro.schema.parse(json.dumps(_plain(json.loads(text))))


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, dict):
        return {key: value if key == "default" else _plain(value) for key, value in node.items() if key != "logicalType"}
    return node


def _changed_meaning(new: str, old: str) -> Iterator[str]:
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
