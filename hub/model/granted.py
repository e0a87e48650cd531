"""What an agreement grants of a writer schema, as a tree beside the schema's own: one reading for output schemas and kernels.

A record in the tree holds its granted fields and no others; an array or map the granted form of its elements; a leaf its grant.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, Union

import msgspec

from hub.model.agreement import Grant
from hub.model.field_types import FieldType, SourceField, SourceSchema
from hub.model.paths import EACH_ITEM, EACH_VALUE, Path, parse_path

Tree: TypeAlias = dict[str, Union["Tree", Grant]]


class Leaf(msgspec.Struct, frozen=True):
    """Ends at a grant."""

    grant: Grant
    identifier: str | None
    """The identifier kind that a pseudonym is made for: the grant's own, else the field's."""


class Each(msgspec.Struct, frozen=True):
    """An array or map whose elements are granted in a form of their own."""

    inner: Union[Leaf, "Each", "Members"]


class Members(msgspec.Struct, frozen=True):
    """A record of which these fields are granted, by their place in it, in the schema's order."""

    fields: tuple[tuple[int, Union[Leaf, Each, "Members"]], ...]


Granted: TypeAlias = Leaf | Each | Members


def granted_of(schema: SourceSchema, grants: Sequence[Grant]) -> Members:
    """Return what ``grants`` give of ``schema``; fields that the schema lacks are left out (``check_terms`` tells them)."""
    root: Tree = {}
    for grant in grants:
        _plant(root, parse_path(grant.name), grant)
    return _members(schema.fields, root)


def copies(granted: Granted, kind: FieldType) -> bool:
    """Tell whether the granted form has the source's bytes: everything in it is kept."""
    if isinstance(granted, Leaf):
        return granted.grant.transform == "keep"
    if isinstance(granted, Each):
        return copies(granted.inner, kind.element)
    return len(granted.fields) == len(kind.fields) and all(copies(part, kind.fields[place].type) for place, part in granted.fields)


def _plant(root: Tree, path: Path, grant: Grant) -> None:
    here = root
    for part in path[:-1]:
        under = here.get(part)
        if not isinstance(under, dict):
            under = here[part] = {}
        here = under
    here[path[-1]] = grant


def _members(fields: Sequence[SourceField], tree: Mapping[str, Tree | Grant]) -> Members:
    return Members(
        tuple(
            (place, found)
            for place, field in enumerate(fields)
            if field.name in tree and (found := _granted(field, field.type, tree[field.name])) is not None
        )
    )


def _granted(field: SourceField, kind: FieldType, tree: Tree | Grant) -> Granted | None:
    if isinstance(tree, Grant):
        return Leaf(tree, tree.identifier or field.identifier)
    if kind.base == "record":
        members = _members(kind.fields, tree)
        return members if members.fields else None
    under = tree.get({"array": EACH_ITEM, "map": EACH_VALUE}.get(kind.base, ""))
    if under is None:
        return None
    inner = _granted(field, kind.element, under)
    return None if inner is None else Each(inner)
