"""Output schemas: what an agreement's consumer reads, derived from a writer schema and the terms, and from nothing else.

Holds exactly the granted fields, in the source's order, inside the records, arrays and maps that they stand in; a record
without a granted field is absent. ``keep`` keeps a field as it is declared: type, nullability, logical type, default, aliases
and properties. ``mask pseudonym prefix bucket``, and ``truncate`` of text, give string, nullable where the source is; ``truncate``
of anything else keeps the type; ``nullify`` puts null before it; ``constant`` gives its own type. Under any transform but
``keep`` properties stay but ``identifier`` (the value is of that kind no longer), and a default of the source, which is a value
of the source, becomes one that says nothing: null, the empty text or the constant; where there is none such, it goes.
A default of a record loses what is not granted. Records keep their name and ``doc``; aliases, which would name the source's
record, go. Told in docs/reference/shapes.md "Output schemas".

Named types keep their full names, written out where the namespace around them is another; a type that had no namespace takes the
output's, as parsers do not agree on how to say "none" inside a namespace. Where one record type of the source is granted in two
forms, the second form's name ends in ``_2``, a third's in ``_3``: one name has one meaning.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hub.model.agreement import Agreement, Constant
from hub.model.errors import HubError
from hub.model.field_types import PRIMITIVES, FieldType, SourceField, SourceSchema, parts_of
from hub.model.granted import Each, Granted, Leaf, Members, granted_of
from hub.model.names import share_namespace
from hub.model.operands import JSON_INTEGER_MAX
from hub.model.paths import NoPlace, find_place
from hub.model.source_schema import read_schema
from hub.model.transforms import constant_value, gives_text, output_type

_NONE: Final = object()


def output_schema(agreement: Agreement, source_schema: str | Mapping[str, Any], *, key_epoch: int) -> str:
    """Return the Avro schema (JSON text, the same for the same arguments) of what ``agreement`` delivers.

    HUB-AGREE-005 when the schema cannot be carried or lacks a granted field (``check_terms`` tells all faults).
    """
    source = read_schema(source_schema)
    for grant in agreement.fields:
        try:
            find_place(grant.name, source)
        except NoPlace as refusal:
            raise HubError(
                "HUB-AGREE-005",
                f"agreement `{agreement.id}` grants field `{grant.name}`, which is not in the schema `{source.name}`",
                "grant fields of every registered version of the dataset's schema",
            ) from refusal
    namespace = share_namespace(consumer=agreement.consumer, agreement=agreement.id)
    writer = _Writer(namespace, source)
    output: dict[str, Any] = {
        "type": "record",
        "name": source.name,
        "namespace": namespace,
        "agreement": agreement.id,
        "agreement_version": agreement.version,
        "key_epoch": key_epoch,
        "fields": writer.fields(source.record, granted_of(source, agreement.fields), namespace),
    }
    if isinstance(source.declared.get("doc"), str):
        output["doc"] = source.declared["doc"]
    return json.dumps(output, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _Writer:
    """Writes the types of one output schema; knows which names are taken, and for what."""

    def __init__(self, namespace: str, source: SourceSchema) -> None:
        self._namespace = namespace
        self._source_names = {self._qualified(name) for name in _names(source.record, set())}
        self._names: dict[tuple[str, str], str] = {}
        self._taken = {f"{namespace}.{source.name}"}

    def fields(self, kind: FieldType, granted: Members, space: str) -> list[dict[str, Any]]:
        return [self._field(kind.fields[place], part, space) for place, part in granted.fields]

    def _field(self, field: SourceField, granted: Granted, space: str) -> dict[str, Any]:
        declared = dict(field.declared)
        declared["type"] = self._type(field.type, granted, space)
        if not _is_kept(granted):
            declared.pop("identifier", None)
        if "default" in declared:
            default = _default(declared.pop("default"), field.type, granted)
            if default is not _NONE:
                declared["default"] = default
        elif isinstance(granted, Leaf) and granted.grant.transform == "nullify":
            declared["default"] = None
        return declared

    def _type(self, kind: FieldType, granted: Granted, space: str) -> Any:
        if isinstance(granted, Leaf):
            return output_type(granted.grant, kind, lambda kept: self._kept(kept, space))
        if isinstance(granted, Each):
            key = "items" if kind.base == "array" else "values"
            return _in_union(kind, {**_properties(kind), key: self._type(kind.element, granted.inner, space)})
        return _in_union(kind, self._named(kind, _form_of(granted, kind), space, granted))

    def _kept(self, kind: FieldType, space: str) -> Any:
        """Return a type that holds no record as it is, its definitions written out where they stand first."""
        if kind.base == "union":
            return [self._kept(branch, space) for branch in kind.branches]
        if kind.base in {"array", "map"}:
            key = "items" if kind.base == "array" else "values"
            return _in_union(kind, {**_properties(kind), key: self._kept(kind.element, space)})
        return _in_union(kind, kind.definition if kind.full_name is None else self._named(kind, "", space, None))

    def _named(self, kind: FieldType, form: str, space: str, members: Members | None) -> Any:
        """Return the type's definition where its form stands first, and its name from then on."""
        source_name = str(kind.full_name)
        known = self._names.get((source_name, form))
        if known is not None:
            around, _, short = known.rpartition(".")
            return short if around == space and short not in PRIMITIVES else known
        full = self._name_for(source_name)
        self._names[source_name, form] = full
        namespace, _, name = full.rpartition(".")
        inside = {} if namespace == space else {"namespace": namespace}
        if members is None:
            return {key: value for key, value in kind.definition.items() if key != "namespace"} | {"name": name} | inside
        doc = kind.definition.get("doc")
        about = {"doc": doc} if isinstance(doc, str) else {}
        return {"type": "record", "name": name, **inside, **about, "fields": self.fields(kind, members, namespace)}

    def _qualified(self, source_name: str) -> str:
        return source_name if "." in source_name else f"{self._namespace}.{source_name}"

    def _name_for(self, source_name: str) -> str:
        full = self._qualified(source_name)
        name, number = full, 1
        while name in self._taken or (number > 1 and name in self._source_names):
            number += 1
            name = f"{full}_{number}"
        self._taken.add(name)
        return name


def _names(kind: FieldType, met: set[str]) -> Iterator[str]:
    if kind.full_name is not None:
        if kind.full_name in met:
            return
        met.add(kind.full_name)
        yield kind.full_name
    for part in parts_of(kind):
        yield from _names(part, met)


def _form_of(granted: Granted, kind: FieldType) -> str:
    """Return what tells two output forms of one record type apart, whatever paths their grants have."""
    if isinstance(granted, Members):
        parts = [f"{place}:{_form_of(part, kind.fields[place].type)}" for place, part in granted.fields]
        return f"{{{','.join(parts)}}}"
    if isinstance(granted, Each):
        return f"[{_form_of(granted.inner, kind.element)}]"
    if isinstance(granted.grant.parameters, Constant):
        return json.dumps([granted.grant.parameters.avro_type, granted.grant.parameters.value])
    return "text" if gives_text(granted.grant) else granted.grant.transform


def _is_kept(granted: Granted) -> bool:
    """Tell whether the values that a field's identifier kind is about are kept."""
    if isinstance(granted, Each):
        return _is_kept(granted.inner)
    return isinstance(granted, Members) or granted.grant.transform == "keep"


def _properties(kind: FieldType) -> dict[str, Any]:
    return {key: value for key, value in kind.definition.items() if key not in {"items", "values"}}


def _in_union(kind: FieldType, inner: Any) -> Any:
    if kind.null_branch is None:
        return inner
    return ["null", inner] if kind.null_branch == 0 else [inner, "null"]


def _default(value: Any, kind: FieldType, granted: Granted) -> Any:
    """Return the default of the output's field for the source's default; ``_NONE`` where nothing can be said."""
    if isinstance(granted, Leaf):
        return _leaf_default(value, granted)
    if value is None and kind.null_branch == 0:
        return None
    if isinstance(granted, Each):
        return value if value in ([], {}) else _NONE
    if not isinstance(value, Mapping):
        return _NONE
    members = {
        kind.fields[place].name: _default(value[kind.fields[place].name], kind.fields[place].type, part)
        for place, part in granted.fields
        if kind.fields[place].name in value
    }
    return _NONE if len(members) < len(granted.fields) or _NONE in members.values() else members


def _leaf_default(value: Any, leaf: Leaf) -> Any:
    if leaf.grant.transform == "keep":
        return value
    if leaf.grant.transform == "nullify":
        return None
    if isinstance(leaf.grant.parameters, Constant):
        constant = constant_value(leaf.grant.parameters)
        return _NONE if isinstance(constant, int) and abs(constant) > JSON_INTEGER_MAX else constant
    if value is None:
        return None
    return "" if gives_text(leaf.grant) else _NONE
