"""How the columns of a file meet the fields of a schema: by the field's ``title``, or by its name. HUB-CONN-003 names every misfit.

A first row may be data: nothing of it is ever said that is not a word of the schema. A misfit names the column by its place, the
length of its heading and the schema's word that is nearest to it.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from connectors.kit.defaults import default_bytes
from connectors.kit.records import unfillable
from hub.model.errors import HubError, Problem
from hub.model.source_schema import SourceField, SourceSchema

COLUMNS_SAID_MAX: Final = 50
"""Columns that the schema does not know and that are said one by one; of the rest the number."""
NEAR_CHARACTERS_MAX: Final = 60
NEAR: Final = 0.5
"""Headings in Chinese are short: one character of two that differs is near."""
_DATA = re.compile(r"[-+]?[0-9][0-9.,:/ TZX+-]*\Z|[^@ ]+@[^@ ]+\.[^@ ]+\Z|(?=.*[0-9]{6})", re.IGNORECASE)
"""A number, a day or time, an address of e-mail, or anything with six digits in a row."""


class Fit(msgspec.Struct, frozen=True):
    """Where each field finds its column."""

    columns: tuple[int | None, ...]
    key: int | None

    def words(self, schema: SourceSchema) -> Mapping[int, str]:
        """Return the schema's words for the columns that its fields are filled from."""
        return {at: heading(field) for field, at in zip(schema.fields, self.columns, strict=True) if at is not None}


def fit(header: Sequence[str], schema: SourceSchema, *, policy: str, key: str | None, file: str) -> Fit:
    """Return the places of the fields' columns."""
    names = [cell.strip() for cell in header]
    places = _places(names, schema)
    problems = [*_of_header(names, places), *_of_columns(names, places, schema, policy=policy), *_of_fields(names, places, schema)]
    if key is not None and not places.get(key):
        near = difflib.get_close_matches(key, [field.name for field in schema.fields], n=1)
        named = f"field `{key}` has no column" if schema.field(key) else "the key is no field of the schema"
        problems.append(("key", named, f"did you mean `{near[0]}`?" if near else "name a field with a column"))
    if problems:
        found = tuple(Problem(f"{file}:1", where, message, fix) for where, message, fix in problems)
        many = "1 misfit" if len(found) == 1 else f"{len(found)} misfits"
        raise HubError("HUB-CONN-003", f"header of `{file}` has {many}", "mend the file, the schema or the policy", problems=found)
    columns = tuple(places[field.name][0] if places[field.name] else None for field in schema.fields)
    return Fit(columns, places[key][0] if key is not None else None)


def heading(field: SourceField) -> str:
    """Return the heading that people know a field by."""
    title = field.declared.get("title")
    return title.strip() if isinstance(title, str) and title.strip() else field.name


def looks_like_data(names: Iterable[str]) -> int:
    """Return how many headings look like values: numbers, days, times, addresses, or digits in a row."""
    return sum(_DATA.match(name) is not None for name in names)


def _headings(field: SourceField) -> tuple[str, str]:
    return heading(field), field.name


def _places(names: Sequence[str], schema: SourceSchema) -> dict[str, list[int]]:
    """Return the places of each field's columns."""
    at: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        at.setdefault(name, []).append(place)
    return {field.name: sorted({place for name in _headings(field) for place in at.get(name, ())}) for field in schema.fields}


def _of_header(names: Sequence[str], places: Mapping[str, list[int]]) -> Iterator[tuple[str, str, str]]:
    if not any(names):
        yield "header", "the file has no header", "put the names of the columns into the first line"
    elif not any(places.values()):
        data = looks_like_data(names)
        seen = f", and {data} look like values" if data else ""
        message = f"none of its {len(names)} columns is the schema's{seen}: the first line may be a row of data"
        yield "header", message, "put the names of the columns into the first line"


def _of_columns(
    names: Sequence[str], places: Mapping[str, list[int]], schema: SourceSchema, *, policy: str
) -> Iterator[tuple[str, str, str]]:
    if policy == "discard_value" or not any(names):
        return
    known = [name for field in schema.fields for name in dict.fromkeys(_headings(field))]
    taken = {at for found in places.values() for at in found}
    unknown = [(at, name) for at, name in enumerate(names) if at not in taken]
    for at, name in unknown[:COLUMNS_SAID_MAX]:
        near = difflib.get_close_matches(name[:NEAR_CHARACTERS_MAX], known, n=1, cutoff=NEAR)
        fix = f"did you mean `{near[0]}`?" if near else "take it out, add it to the schema, or set `policy: discard_value`"
        what = f"its heading, {len(name)} characters long, is none of the schema's" if name else "the column has no name"
        yield f"column {at + 1}", what, fix
    if len(unknown) > COLUMNS_SAID_MAX:
        message = f"and {len(unknown) - COLUMNS_SAID_MAX} more columns that the schema does not know"
        yield "header", message, "take them out, add them to the schema, or set `policy: discard_value`"


def _of_fields(names: Sequence[str], places: Mapping[str, list[int]], schema: SourceSchema) -> Iterator[tuple[str, str, str]]:
    claimed: dict[int, str] = {}
    for field in schema.fields:
        found = places[field.name]
        why = unfillable(field)
        if len(found) > 1:
            yield field.name, f"columns {' and '.join(str(at + 1) for at in found)} are both this field", "keep one of them"
        elif not found and default_bytes(field) is None and any(names):
            fix = "add the column to the file" if why is None else "give the field a default: no column can fill it"
            yield field.name, f"no column `{heading(field)}`, and the field has no default that can be taken", fix
        elif found and why is not None:
            has_default = default_bytes(field) is not None
            yield field.name, why, "take the column out" if has_default else "take the column out and give the field a default"
        for at in found:
            if claimed.setdefault(at, field.name) != field.name:
                yield field.name, f"column {at + 1} is also field `{claimed[at]}`", "give the two fields different titles"
