"""Compatibility of schema versions: FULL_TRANSITIVE by Apache Avro's own checker, and logical types that stay as they are.

Every version must read, and be read by, every earlier one. The checker looks at wire types only, so a decimal could change its
scale and every amount with it: a logical type, its precision and its scale may not change under one field name.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

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
        for name in _changed_meaning(json.loads(candidate), json.loads(text)):
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


def _changed_meaning(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[str]:
    before = {field["name"]: _meaning(field["type"]) for field in old["fields"]}
    for field in new["fields"]:
        if field["name"] in before and before[field["name"]] != _meaning(field["type"]):
            yield field["name"]


def _meaning(node: Any) -> list[Any]:
    """Return the logical types in a field's type, in order."""
    if isinstance(node, list):
        return [part for branch in node for part in _meaning(branch)]
    if isinstance(node, dict):
        own = [tuple(node.get(key) for key in _LOGICAL)] if "logicalType" in node else []
        return own + _meaning(node.get("type"))
    return []
