"""Paths: how an agreement names a part of a record, and what stands there in a schema.

``a.b`` is field b of record a; ``a[]`` is each element of array a and ``a{}`` each value of map a, so ``phones[].number`` is the
number in each element of phones. A union of null and one other type is passed through: a null on the way counts as a null at
the end. Paths do not enter unions of several types. Map keys have no path: they go with the map.
"""

import difflib
import re
from typing import Final, TypeAlias

import msgspec

from hub.model.field_types import FieldType, SourceField, SourceSchema, type_words, without_null

Path: TypeAlias = tuple[str, ...]
"""Field names, and ``[]`` and ``{}``."""
EACH_ITEM: Final = "[]"
EACH_VALUE: Final = "{}"
PATH_CHARACTERS_MAX: Final = 1_000
PATH_FIX: Final = "write a name of the dataset's schema, such as `plate`, `address.city`, `phones[].number` or `tags{}`"
_SHAPE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[\]|\{\}|\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
_PART: Final = re.compile(r"\[\]|\{\}|[A-Za-z0-9_]+")
_ELEMENTS: Final = {EACH_ITEM: "array", EACH_VALUE: "map"}


class Place(msgspec.Struct, frozen=True):
    """What a path leads to."""

    path: Path
    field: SourceField
    """The field named last, whose identifier kind holds for its elements too."""
    type: FieldType

    @property
    def elements(self) -> bool:
        """Tell whether the path runs through elements, so that a record may have any number of values there."""
        return any(part in _ELEMENTS for part in self.path)


class NoPlace(ValueError):  # noqa: N818 (a refusal, and no bug of the program)
    """A path leads nowhere in a schema; carries the fix too."""

    def __init__(self, message: str, fix: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.fix = fix


def is_path(text: str) -> bool:
    """Tell whether ``text`` has the shape of a path."""
    return len(text) <= PATH_CHARACTERS_MAX and _SHAPE.match(text) is not None


def parse_path(text: str) -> Path:
    """Return the parts of a path; NoPlace when it has not the shape of one."""
    if not is_path(text):
        raise NoPlace(f"`{text[:PATH_CHARACTERS_MAX]}` is no path", PATH_FIX)
    return tuple(_PART.findall(text))


def find_place(text: str, schema: SourceSchema) -> Place:
    """Return what ``text`` leads to in ``schema``; NoPlace says where it stops, and what to write instead."""
    path = parse_path(text)
    kind, above, field = schema.record, "", None
    for part in path:
        if part in _ELEMENTS:
            if without_null(kind).base != _ELEMENTS[part]:
                raise NoPlace(f"`{above}` is {type_words(kind)}, and `{part}` is for {_ELEMENTS[part]}s", _way_on(kind, above))
            kind, above = kind.element, above + part
            continue
        field = _member(kind, part, above, schema.name)
        kind, above = field.type, f"{above}.{part}" if above else part
    if field is None:
        raise AssertionError(text)
    return Place(path, field, kind)


def _member(kind: FieldType, name: str, above: str, record: str) -> SourceField:
    if kind.base != "record":
        raise NoPlace(f"`{above}` is {type_words(kind)} and has no fields", _way_on(kind, above))
    names = [field.name for field in kind.fields]
    if name in names:
        return kind.fields[names.index(name)]
    where = f"record `{above}`" if above else f"the schema `{record}`"
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    raise NoPlace(f"field `{name}` is not in {where}", f"{hint}its fields: {', '.join(names)}")


def _way_on(kind: FieldType, above: str) -> str:
    if kind.base == "record":
        return f"name its fields: {', '.join(f'`{above}.{field.name}`' for field in kind.fields)}"
    if kind.base == "array":
        return f"write `{above}[]` for its elements"
    if kind.base == "map":
        return f"write `{above}{{}}` for its values"
    if kind.base == "union":
        return f"end the path at `{above}`: paths do not enter a union of several types"
    return f"end the path at `{above}`"


def leaves(kind: FieldType, above: str) -> tuple[str, ...]:
    """Return the paths of everything under ``above`` that can be granted: what holds no record."""
    if kind.base == "record":
        return tuple(path for field in kind.fields for path in leaves(field.type, f"{above}.{field.name}" if above else field.name))
    if kind.base in {"array", "map"} and _reaches_record(kind):
        return leaves(kind.element, above + (EACH_ITEM if kind.base == "array" else EACH_VALUE))
    return (above,)


def _reaches_record(kind: FieldType) -> bool:
    while kind.base in {"array", "map"}:
        kind = kind.element
    return kind.base == "record"
