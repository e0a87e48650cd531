"""How the columns of a file meet the fields of a schema: by the field's ``title``, or by its name. HUB-CONN-003 names every misfit."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from connectors.kit.records import unfillable
from connectors.kit.values import default_bytes
from hub.model.errors import HubError, Problem
from hub.model.source_schema import SourceField, SourceSchema

SHOWN_MAX: Final = 60
NEAR: Final = 0.5
"""Headings in Chinese are short: one character of two that differs is near."""


class Fit(msgspec.Struct, frozen=True):
    """Where each field finds its column."""

    columns: tuple[int | None, ...]
    key: int | None


def fit(header: Sequence[str], schema: SourceSchema, *, policy: str, key: str | None, file: str) -> Fit:
    """Return the places of the fields' columns."""
    names = [cell.strip() for cell in header]
    places = {field.name: [at for at, name in enumerate(names) if name in _headings(field)] for field in schema.fields}
    problems = [*_of_columns(names, places, schema, policy=policy), *_of_fields(names, places, schema)]
    if key is not None and not places.get(key):
        near = difflib.get_close_matches(key, [field.name for field in schema.fields], n=1)
        problems.append(("key", f"field `{key}` has no column", f"did you mean `{near[0]}`?" if near else "name a field with a column"))
    if problems:
        found = tuple(Problem(f"{file}:1", where, message, fix) for where, message, fix in problems)
        raise HubError(
            "HUB-CONN-003", f"header of `{file}` has {len(found)} misfits", "mend the file, the schema or the policy", problems=found
        )
    columns = tuple(places[field.name][0] if places[field.name] else None for field in schema.fields)
    return Fit(columns, places[key][0] if key is not None else None)


def heading(field: SourceField) -> str:
    """Return the heading that people know a field by."""
    title = field.declared.get("title")
    return title.strip() if isinstance(title, str) and title.strip() else field.name


def _headings(field: SourceField) -> tuple[str, str]:
    return heading(field), field.name


def _of_columns(names: Sequence[str], places: dict[str, list[int]], schema: SourceSchema, *, policy: str) -> Iterator[tuple[str, str, str]]:
    if not any(names):
        yield "header", "the file has no header", "put the names of the columns into the first line"
        return
    known = [name for field in schema.fields for name in dict.fromkeys(_headings(field))]
    taken = {at for found in places.values() for at in found}
    for at, name in enumerate(names):
        shown = name[:SHOWN_MAX]
        if at in taken or policy == "discard_value":
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
        fix = f"did you mean `{near[0]}`?" if near else "take it out, add it to the schema, or set `policy: discard_value`"
        yield shown or f"column {at + 1}", "the schema does not know this column" if name else "the column has no name", fix


def _of_fields(names: Sequence[str], places: dict[str, list[int]], schema: SourceSchema) -> Iterator[tuple[str, str, str]]:
    claimed: dict[int, str] = {}
    for field in schema.fields:
        found = places[field.name]
        if len(found) > 1:
            yield field.name, f"columns {' and '.join(str(at + 1) for at in found)} are both this field", "keep one of them"
        elif not found and default_bytes(field) is None and any(names):
            yield field.name, f"no column `{heading(field)}`, and the field has no default", "add the column to the file"
        elif found and (why := unfillable(field)) is not None:
            yield field.name, why, "take the column out and give the field a default"
        for at in found:
            if claimed.setdefault(at, field.name) != field.name:
                yield field.name, f"column {at + 1} is also field `{claimed[at]}`", "give the two fields different titles"
