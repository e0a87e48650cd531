"""The normal form of an Avro schema: one form for every spelling of one schema, so that one schema is known under any spelling.

Equal by it are ``"string"`` and ``{"type": "string"}``, dotted names and names with a namespace, inherited and repeated namespaces,
a reference written as text or as an object, ``"order": "ascending"`` and none, an empty list of aliases and none, a scale of 0 and
none. Kept apart is what means something to a reader: ``doc``, properties, logical types, defaults, aliases, other orders. Unlike
Avro's Parsing Canonical Form nothing of a schema is lost. Source: Apache Avro 1.12 specification.
"""

from collections.abc import Mapping
from typing import Any, Final

from hub.model.field_types import PRIMITIVES

NAMED: Final = ("record", "error", "enum", "fixed")


def normal_form(schema: Any) -> Any:
    """Return the normal form of a schema's JSON. Total: what is no part of Avro stays as it is; RecursionError beyond all bounds."""
    return _Writer().type(schema, "")


def qualified(name: str, space: str) -> str:
    """Return the full name that ``name`` has in a definition inside ``space``; no namespace is the empty text."""
    return name if "." in name or not space else f"{space}.{name}"


def names_of(node: Mapping[str, Any], space: str) -> tuple[str, str]:
    """Return the full name of a definition that stands inside ``space``, and the namespace that holds inside it."""
    declared = node.get("namespace")
    full = qualified(str(node.get("name", "")), declared if isinstance(declared, str) else space)
    return full, full.rpartition(".")[0]


class _Writer:
    def __init__(self) -> None:
        self._defined: set[str] = set()

    def type(self, node: Any, space: str) -> Any:
        if isinstance(node, list):
            return [self.type(branch, space) for branch in node]
        if isinstance(node, str):
            return self._reference(node, space)
        if not isinstance(node, Mapping):
            return node
        kind = node.get("type")
        if kind in NAMED:
            return self._definition(node, space)
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            return {**node, inner: self.type(node.get(inner), space)}
        about = {key: value for key, value in _plain(node).items() if key != "type"}
        return {**about, "type": self.type(kind, space)} if about else self.type(kind, space)

    def _reference(self, name: str, space: str) -> str:
        if name in PRIMITIVES:
            return name
        full = qualified(name, space)
        return full if full in self._defined or name not in self._defined else name

    def _definition(self, node: Mapping[str, Any], space: str) -> dict[str, Any]:
        full, inside = names_of(node, space)
        self._defined.add(full)
        out = {key: value for key, value in _plain(node).items() if key != "namespace"} | {"name": full}
        if isinstance(out.get("aliases"), list):
            out["aliases"] = [qualified(alias, inside) if isinstance(alias, str) else alias for alias in out["aliases"]]
        if isinstance(out.get("fields"), list):
            out["fields"] = [self._field(field, inside) for field in out["fields"]]
        return out

    def _field(self, field: Any, space: str) -> Any:
        if not isinstance(field, Mapping):
            return field
        out = {key: value for key, value in _plain(field).items() if (key, value) != ("order", "ascending")}
        return {**out, "type": self.type(field.get("type"), space)}


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that say more than their absence does."""
    left_out = {"aliases"} if node.get("aliases") == [] else set()
    if node.get("logicalType") == "decimal" and node.get("scale") == 0:
        left_out.add("scale")
    return {key: value for key, value in node.items() if key not in left_out}
