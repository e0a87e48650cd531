"""What a new writer schema makes of the fields that live agreements name: a value of another kind, or another field's value.

Compatibility looks at types and at how readers find fields, not at what stands in them. A pseudonym under a new identifier kind is
another pseudonym of the same person, and a field that takes over another's name by an alias is another field: neither may happen
under an agreement that was signed for what was there before.
"""

from collections.abc import Iterator, Sequence

from hub.catalogue.registry import Registered
from hub.model.agreement import Agreement, All, Any, Condition, Every, Grant, Not, Rule
from hub.model.errors import Problem
from hub.model.field_types import FieldType, SourceField, SourceSchema, without_null
from hub.model.paths import EACH_ITEM, EACH_VALUE, NoPlace, parse_path
from hub.model.source_schema import read_schema

_VALUE_GONE = ("nullify", "constant")
_NEW_FIELD = "keep it as it was, and give the new values a field of their own; or end the agreement first"


class Meanings:
    """Compares one candidate with the versions before it, for any number of agreements."""

    def __init__(self, candidate: str, earlier: Sequence[Registered]) -> None:
        """Read the schemas once; ``earlier`` is oldest first."""
        self._candidate = read_schema(candidate)
        self._earlier = [read_schema(version.schema) for version in reversed(earlier)]

    def changed(self, terms: Agreement) -> tuple[Problem, ...]:
        """Return every field of ``terms`` that would mean something else, with its path in the agreement; ``where`` is left open."""
        out: list[Problem] = []
        for number, grant in enumerate(terms.fields):
            out.extend(self._field(grant.name, f"fields[{number}]", grant))
        if terms.rows is not None:
            for name in sorted(set(_fields_of(terms.rows))):
                out.extend(self._field(name, "rows", None))
        return tuple(out)

    def _field(self, name: str, path: str, grant: Grant | None) -> Iterator[Problem]:
        now = _trail(name, self._candidate)
        before = [trail for trail in (_trail(name, schema) for schema in self._earlier) if trail]
        if not now or not before or (grant is not None and grant.transform in _VALUE_GONE):
            return
        taken = next((alias for trail in before for alias in _taken_over(now, trail)), None)
        if taken is not None:
            message = f"field `{name}` takes over the values of field `{taken}`, by an alias in the new schema"
            yield Problem("", path, message, _NEW_FIELD)
        yield from _other_kind(name, path, grant, [trail[-1][1].identifier for trail in before], now[-1][1].identifier)


def mixed_kinds(terms: Agreement, versions: Sequence[Registered]) -> tuple[Problem, ...]:
    """Return pseudonyms whose kind the versions of a schema say differently, so that one person would have several."""
    wanted = [(place, grant) for place, grant in enumerate(terms.fields) if grant.transform == "pseudonym" and grant.identifier is None]
    schemas = [read_schema(version.schema) for version in versions] if wanted else []
    out: list[Problem] = []
    for place, grant in wanted:
        trails = [_trail(grant.name, schema) for schema in schemas]
        kinds = dict.fromkeys(trail[-1][1].identifier for trail in trails if trail)
        if len(kinds) > 1 and None not in kinds:
            shown = ", ".join(f"`{kind}`" for kind in kinds)
            message = f"field `{grant.name}` identifies by {shown} in versions of the schema, and each would give other pseudonyms"
            out.append(Problem("", f"fields[{place}].pseudonym", message, "name the kind, as `pseudonym: {identifier: phone}`"))
    return tuple(out)


def _other_kind(name: str, path: str, grant: Grant | None, before: list[str | None], now: str | None) -> Iterator[Problem]:
    """Tell an identifier kind that is not the one that was declared last; one that was added says only what was true before."""
    was = next((kind for kind in before if kind is not None), None)
    pseudonym = grant is not None and grant.transform == "pseudonym"
    if was == now or was is None or (grant is not None and grant.identifier is not None) or (now is None and not pseudonym):
        return
    message = f"field `{name}` identifies by `{was}`, in the new schema by {f'`{now}`' if now else 'nothing'}"
    fix = f"keep `identifier: {was}`, or first sign a version of the agreement that says `pseudonym: {{identifier: {was}}}`"
    yield Problem("", path, message, fix if pseudonym else _NEW_FIELD)


Trail = tuple[tuple[FieldType, SourceField], ...]
"""Each field that a path names, with the record that it stands in."""


def _trail(name: str, schema: SourceSchema) -> Trail:
    """Return the fields on a path; empty where it leads nowhere, which the agreement's own check tells."""
    out: list[tuple[FieldType, SourceField]] = []
    kind = schema.record
    try:
        parts = parse_path(name)
    except NoPlace:
        return ()
    for part in parts:
        if part in (EACH_ITEM, EACH_VALUE):
            if kind.inner is None:
                return ()
            kind = kind.inner
            continue
        field = next((field for field in kind.fields if field.name == part), None)
        if field is None:
            return ()
        out.append((kind, field))
        kind = without_null(field.type)
    return tuple(out)


def _taken_over(now: Trail, before: Trail) -> Iterator[str]:
    """Yield names of fields of ``before`` that a field on the path claims by an alias, though a field of its own name was there."""
    for (_, field), (record, _) in zip(now, before, strict=False):
        names = {other.name for other in record.fields} - {field.name}
        yield from sorted(names & set(field.declared.get("aliases", ())))


def _fields_of(rule: Rule) -> Iterator[str]:
    stack = [rule]
    while stack:
        here = stack.pop()
        if isinstance(here, Condition):
            yield here.field
        elif isinstance(here, Not | Every):
            stack.append(here.rule)
        elif isinstance(here, All | Any):
            stack.extend(here.rules)
