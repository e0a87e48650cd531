"""What the hub reads from a schema beside Avro: the properties of its fields, which docs/schemas.md tells.

A property that is ours must mean something, since a grade that nobody can read protects nothing: its value is one of a closed set,
and a name that is nearly one of ours is a slip. Properties of other tools stay: any name with a dot (``connect.name``), and any
that is not close to one of ours.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from hub.catalogue.schema_names import Fault, declarations, join
from hub.model.dataset import GRADES
from hub.model.identifiers import is_identifier_kind, kind_fix

ROLES: Final = ("subject", "region", "event_time", "source_id")
_AVRO: Final = ("name", "type", "doc", "default", "order", "aliases")
_SLIPS_OF_AVRO: Final = ("default", "aliases")
"""Attributes of Avro whose misspelling would silently change what readers fill in."""
_ON_FIELDS_ONLY: Final = ("grade", "personal", "sensitive", "identifier", "role")


def annotation_faults(schema: Any, *, known: Collection[str]) -> Iterator[Fault]:
    """Yield properties that mean nothing, at any depth, and titles that two fields of the whole share.

    ``known``: identifier kinds of versions registered before the list was closed.
    """
    for path, field, space in declarations(schema, "", ""):
        if space is None:
            yield from _properties(field, path, known)
            yield from _misplaced(field.get("type"), f"{path}.type")
    yield from _titles(schema)


def kinds_in(schema: Any) -> frozenset[str]:
    """Return every identifier kind that a schema declares."""
    found = (field.get("identifier") for _, field, space in declarations(schema, "", "") if space is None)
    return frozenset(kind for kind in found if isinstance(kind, str))


def _properties(field: Mapping[str, Any], path: str, known_kinds: Collection[str]) -> Iterator[Fault]:
    for key, (fits, fix) in _PROPERTIES.items():
        if key in field and not fits(field[key]):
            yield f"{path}.{key}", f"`{key}` is not valid", fix
    kind = field.get("identifier")
    if "identifier" in field and not (isinstance(kind, str) and (is_identifier_kind(kind) or kind in known_kinds)):
        yield f"{path}.identifier", "is no identifier kind", kind_fix(kind)
    for key in field:
        near = _slip(key)
        if near is not None:
            fix = f"did you mean `{near}`? A property of another tool has a dot in its name, such as `tool.name`"
            yield f"{path}.{key}", f"is nearly `{near}`, and means nothing here", fix


def _misplaced(kind: Any, path: str) -> Iterator[Fault]:
    """Yield properties of ours that stand on a type, where nobody reads them."""
    if isinstance(kind, list):
        for number, branch in enumerate(kind):
            yield from _misplaced(branch, f"{path}[{number}]")
    elif isinstance(kind, Mapping):
        for key in _ON_FIELDS_ONLY:
            if key in kind:
                yield join(path, key), f"`{key}` stands on a type, where it means nothing", "write it on the field, beside `name`"
        for key in ("type", "items", "values"):
            yield from _misplaced(kind.get(key), join(path, key))


def _titles(schema: Any) -> Iterator[Fault]:
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    titles: dict[str, Any] = {}
    for number, field in enumerate(fields if isinstance(fields, list) else ()):
        title = field.get("title") if isinstance(field, Mapping) else None
        if isinstance(title, str) and title in titles:
            message = f"fields `{titles[title]}` and `{field.get('name')}` have one title"
            yield f"fields[{number}].title", message, "titles are column names: give each its own"
        elif isinstance(title, str):
            titles[title] = field.get("name")


def _slip(key: str) -> str | None:
    """Return the property that ``key`` is a slip of, None where it is one of ours, of Avro's or of another tool's."""
    if key in _PROPERTIES or key == "identifier" or key in _AVRO or "." in key:
        return None
    plain = "".join(letter for letter in key.casefold() if letter not in "-_ ")
    for wanted in (*_PROPERTIES, "identifier", *_SLIPS_OF_AVRO):
        bare = wanted.replace("_", "")
        if slips(plain, bare) <= (1 if len(bare) <= SHORT_MAX else 2):
            return wanted
    return None


SHORT_MAX: Final = 6
"""Letters of a word in which one slip makes another word."""


def slips(one: str, other: str) -> int:
    """Return how many letters must be added, left out, changed or swapped with their neighbour (optimal string alignment)."""
    if abs(len(one) - len(other)) > 2:  # more than any caller forgives, told without the table
        return abs(len(one) - len(other))
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        last, before, row = before, row, [place]
        for column, wanted in enumerate(other, 1):
            cost = min(row[-1] + 1, before[column] + 1, before[column - 1] + (letter != wanted))
            if place > 1 and column > 1 and letter == other[column - 2] and one[place - 2] == wanted:
                cost = min(cost, last[column - 2] + 1)
            row.append(cost)
    return row[-1]


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


_PROPERTIES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "grade": (lambda value: value in GRADES, f"write one of {', '.join(GRADES)}"),
    "role": (lambda value: value in ROLES, f"write one of {', '.join(ROLES)}"),
    "personal": (_is_flag, "write true or false, without quotes"),
    "sensitive": (_is_flag, "write true or false, without quotes"),
    "title": (_is_text, "write some text or leave it out"),
    "standard_ref": (_is_text, "write the standard, or `local`"),
}
