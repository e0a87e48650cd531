"""Output schemas: what an agreement's consumer reads, derived from a writer schema and the terms, and from nothing else.

Holds exactly the granted fields, in the source's order. ``keep`` keeps a field as it is declared: type, nullability, logical
type, default, aliases and properties. ``pseudonym`` and ``mask`` give string, nullable where the source is; properties stay but
``identifier`` (a pseudonym is no value of that kind), a default that is not null becomes the empty text, which says nothing.
The record keeps its name and ``doc``; aliases, which would name the source's record, go. Source: SHAPES "Output schema".

Enums and fixed keep their full names, written out, since the namespace around them is another; a type that had no namespace
takes the output's, as parsers do not agree on how to say "none" inside a namespace.
"""

import json
from collections.abc import Mapping
from typing import Any

from hub.model.agreement import Agreement, Grant
from hub.model.errors import HubError
from hub.model.names import share_namespace
from hub.model.source_schema import FieldType, SourceField, read_schema


def output_schema(agreement: Agreement, source_schema: str | Mapping[str, Any], *, key_epoch: int) -> str:
    """Return the Avro schema (JSON text, the same for the same arguments) of what ``agreement`` delivers.

    HUB-AGREE-005 when the schema cannot be carried or lacks a granted field (``check_terms`` tells all faults).
    """
    source = read_schema(source_schema)
    grants = {grant.name: grant for grant in agreement.fields}
    for name in grants:
        if source.field(name) is None:
            raise HubError(
                "HUB-AGREE-005",
                f"agreement `{agreement.id}` grants field `{name}`, which is not in the schema `{source.name}`",
                "grant fields of every registered version of the dataset's schema",
            )
    defined: set[str] = set()
    output: dict[str, Any] = {
        "type": "record",
        "name": source.name,
        "namespace": share_namespace(consumer=agreement.consumer, agreement=agreement.id),
        "agreement": agreement.id,
        "agreement_version": agreement.version,
        "key_epoch": key_epoch,
        "fields": [_field(field, grants[field.name], defined) for field in source.fields if field.name in grants],
    }
    if isinstance(source.declared.get("doc"), str):
        output["doc"] = source.declared["doc"]
    return json.dumps(output, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _field(field: SourceField, grant: Grant, defined: set[str]) -> dict[str, Any]:
    declared = dict(field.declared)
    if grant.transform == "keep":
        declared["type"] = _in_union(field.type, _kept_type(field.type, defined))
        return declared
    declared.pop("identifier", None)
    declared["type"] = _in_union(field.type, "string")
    if declared.get("default") is not None:
        declared["default"] = ""
    return declared


def _in_union(kind: FieldType, inner: Any) -> Any:
    if kind.null_branch is None:
        return inner
    return ["null", inner] if kind.null_branch == 0 else [inner, "null"]


def _kept_type(kind: FieldType, defined: set[str]) -> Any:
    """Return the type's definition where it stands first, and its name from then on."""
    if kind.full_name is None:
        return kind.definition
    namespace, _, name = kind.full_name.rpartition(".")
    if kind.full_name in defined:
        return kind.full_name
    defined.add(kind.full_name)
    definition = {key: value for key, value in kind.definition.items() if key != "namespace"} | {"name": name}
    return definition | {"namespace": namespace} if namespace else definition
