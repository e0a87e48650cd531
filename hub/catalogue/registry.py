"""The schema registry: schemas by id, and the versions of each subject. SQL only; publishing is the agreements' room.

An id names a text for ever: the same schema under several subjects has one id, as Confluent's registry does it. A schema is known
under any spelling (``hub.model.normal_form``): field properties (grade, identifier) count, white space, order of keys and ways of
writing types and names do not. It is found by its text first (canonical JSON, RFC 8785), then by its form; of several ids with one
form, given out before forms were known, the oldest answers. What is stored keeps its words. Output schemas are the hub's own texts
and go by text alone. Ids count from 1, and after a restore from above the largest that hub.plan has ever carried.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.catalogue.compatibility import incompatibilities
from hub.catalogue.tables import schema_forms, schemas, subject_versions
from hub.model.errors import HubError, Problem
from hub.model.framing import HUB_SCHEMA_IDS_FROM
from hub.model.normal_form import normal_form

VERSIONS_MAX: Final = 1_000
"""Versions of one subject."""
_ASKED_MAX: Final = 500


class Registered(msgspec.Struct, frozen=True):
    """One version of one subject."""

    subject: str
    version: int
    schema_id: int
    schema: str
    new: bool = False
    """True where this registration made the version."""
    newest: int | None = None
    """The newest version of the subject, where an act answers: a known version is not made the newest by registering it again."""


class Foreseen(NamedTuple):
    """What registering a schema would give."""

    registered: Registered
    mark: str
    """The schema's fingerprint."""
    form: str | None
    """The mark of its normal form where no subject has its text yet, so that it gets a new id; else None."""


class Registry:
    """Registers and finds schemas of one scope. Texts must have passed the gate."""

    def __init__(self, *, scope: str) -> None:
        """Begin ids at 1; ``raise_floor`` lifts them after a restore."""
        self.scope = scope
        self._floor = 0

    def raise_floor(self, schema_id: int) -> None:
        """Never give out ``schema_id`` or a smaller one again; ids of the hub's own records do not count."""
        if schema_id < HUB_SCHEMA_IDS_FROM:
            self._floor = max(self._floor, schema_id)

    def register(self, connection: Connection, *, subject: str, schema: str, at_ms: int) -> Registered:
        """Return the version of ``subject`` whose text is ``schema``, made now where there is none.

        Asked before: compatibility, and of a department's schema ``first_wording``.
        """
        (foreseen,) = self.foresee(connection, [(subject, schema)])
        self.keep(connection, [foreseen], at_ms=at_ms)
        return foreseen.registered

    def foresee(self, connection: Connection, wanted: Sequence[tuple[str, str]]) -> tuple[Foreseen, ...]:
        """Return what registering each (subject, schema) in order would give, without doing it: true as long as ``next_id`` stays.

        HUB-SCHEMA-002 where a subject has ``VERSIONS_MAX`` versions.
        """
        marks = [fingerprint(schema) for _, schema in wanted]
        ids = self._ids_of(connection, set(marks))
        versions = self._versions_of(connection, {subject for subject, _ in wanted})
        free = self.next_id(connection)
        found = []
        for (subject, schema), mark in zip(wanted, marks, strict=True):
            new_text = mark not in ids
            if new_text:
                ids[mark], free = free, free + 1
            known = versions.setdefault(subject, {})
            new = ids[mark] not in known
            if new:
                if len(known) >= VERSIONS_MAX:
                    raise HubError("HUB-SCHEMA-002", f"subject `{subject}` has {VERSIONS_MAX} versions", "publish a new dataset")
                known[ids[mark]] = max(known.values(), default=0) + 1
            registered = Registered(subject, known[ids[mark]], ids[mark], schema, new=new)
            found.append(Foreseen(registered, mark, form_mark(schema) if new_text else None))
        return tuple(found)

    def keep(self, connection: Connection, foreseen: Iterable[Foreseen], *, at_ms: int) -> None:
        """Register what was foreseen."""
        new = [one for one in foreseen if one.registered.new]
        texts = [
            {"scope": self.scope, "schema_id": one.registered.schema_id, "fingerprint": one.mark, "text": one.registered.schema}
            for one in new
            if one.form is not None
        ]
        forms = [{"scope": self.scope, "schema_id": one.registered.schema_id, "form": one.form} for one in new if one.form is not None]
        versions = [
            {
                "scope": self.scope,
                "subject": one.registered.subject,
                "version": one.registered.version,
                "schema_id": one.registered.schema_id,
                "since_ms": at_ms,
            }
            for one in new
        ]
        for table, rows in ((schemas, texts), (schema_forms, forms), (subject_versions, versions)):
            if rows:
                connection.execute(table.insert(), rows)

    def next_id(self, connection: Connection) -> int:
        """Return the id that the next new text gets."""
        largest = connection.scalar(sa.select(sa.func.max(schemas.c.schema_id)).where(schemas.c.scope == self.scope)) or 0
        return max(int(largest), self._floor) + 1

    def find(self, connection: Connection, *, subject: str, schema: str) -> Registered | None:
        """Return the version of ``subject`` that is ``schema`` in any spelling, None where there is none or it is no JSON."""
        mark = _readable(fingerprint, schema)
        found = self._by_text(connection, subject, mark) if mark is not None else None
        form = _readable(form_mark, schema) if found is None else None
        if form is None:
            return found
        same = sa.and_(schema_forms.c.scope == schemas.c.scope, schema_forms.c.schema_id == schemas.c.schema_id)
        wanted = self._joined().join(schema_forms, same).where(subject_versions.c.subject == subject, schema_forms.c.form == form)
        row = connection.execute(wanted.order_by(subject_versions.c.version).limit(1)).first()
        return _registered(row) if row is not None else None

    def first_wording(self, connection: Connection, schema: str) -> str:
        """Return the text under which ``schema`` has an id, the oldest of several; itself where it has none."""
        same = sa.and_(schema_forms.c.scope == schemas.c.scope, schema_forms.c.schema_id == schemas.c.schema_id)
        known = sa.select(schemas.c.fingerprint, schemas.c.text).join(schema_forms, same).where(schemas.c.scope == self.scope)
        found = connection.execute(known.where(schema_forms.c.form == form_mark(schema)).order_by(schemas.c.schema_id)).all()
        mark = fingerprint(schema)
        return schema if not found or any(row.fingerprint == mark for row in found) else str(found[0].text)

    def note_forms(self, connection: Connection) -> int:
        """Note the form of each schema whose form is not known yet; returns how many there were."""
        same = sa.and_(schema_forms.c.scope == schemas.c.scope, schema_forms.c.schema_id == schemas.c.schema_id)
        missing = sa.select(schemas.c.schema_id, schemas.c.text).outerjoin(schema_forms, same)
        rows = connection.execute(missing.where(schemas.c.scope == self.scope, schema_forms.c.schema_id.is_(None))).all()
        for row in rows:
            self._note_form(connection, row.schema_id, row.text)
        return len(rows)

    def _note_form(self, connection: Connection, schema_id: int, schema: str) -> None:
        connection.execute(schema_forms.insert().values(scope=self.scope, schema_id=schema_id, form=form_mark(schema)))

    def _by_text(self, connection: Connection, subject: str, mark: str) -> Registered | None:
        wanted = self._joined().where(subject_versions.c.subject == subject, schemas.c.fingerprint == mark)
        row = connection.execute(wanted).first()
        return _registered(row) if row is not None else None

    def versions(self, connection: Connection, subject: str) -> tuple[Registered, ...]:
        """Return every version of ``subject``, oldest first; empty where it is not known."""
        wanted = self._joined().where(subject_versions.c.subject == subject).order_by(subject_versions.c.version)
        return tuple(_registered(row) for row in connection.execute(wanted))

    def subjects(self, connection: Connection) -> tuple[str, ...]:
        """Return every subject, sorted."""
        wanted = sa.select(subject_versions.c.subject).where(subject_versions.c.scope == self.scope).distinct()
        return tuple(sorted(connection.scalars(wanted)))

    def text(self, connection: Connection, schema_id: int) -> str | None:
        """Return the schema of an id, None where it is not known."""
        wanted = sa.select(schemas.c.text).where(schemas.c.scope == self.scope, schemas.c.schema_id == schema_id)
        found: str | None = connection.scalar(wanted)
        return found

    def uses(self, connection: Connection, schema_id: int) -> tuple[Registered, ...]:
        """Return every subject and version that a schema id stands under."""
        wanted = self._joined().where(subject_versions.c.schema_id == schema_id)
        return tuple(_registered(row) for row in connection.execute(wanted.order_by(subject_versions.c.subject)))

    def _ids_of(self, connection: Connection, marks: Collection[str]) -> dict[str, int]:
        """Return the ids of the texts that are known, by fingerprint."""
        wanted = sa.select(schemas.c.fingerprint, schemas.c.schema_id).where(schemas.c.scope == self.scope)
        rows = (row for some in _runs(marks) for row in connection.execute(wanted.where(schemas.c.fingerprint.in_(some))))
        return {row.fingerprint: row.schema_id for row in rows}

    def _versions_of(self, connection: Connection, subjects: Collection[str]) -> dict[str, dict[int, int]]:
        """Return the version numbers of each subject by schema id."""
        table = subject_versions
        wanted = sa.select(table.c.subject, table.c.schema_id, table.c.version).where(table.c.scope == self.scope)
        found: dict[str, dict[int, int]] = {}
        for some in _runs(subjects):
            for row in connection.execute(wanted.where(table.c.subject.in_(some))):
                found.setdefault(row.subject, {})[row.schema_id] = row.version
        return found

    def _joined(self) -> sa.Select[Any]:
        columns = (subject_versions.c.subject, subject_versions.c.version, subject_versions.c.schema_id, schemas.c.text)
        same = sa.and_(schemas.c.scope == subject_versions.c.scope, schemas.c.schema_id == subject_versions.c.schema_id)
        return sa.select(*columns).join_from(subject_versions, schemas, same).where(subject_versions.c.scope == self.scope)


def fingerprint(schema: str) -> str:
    """Return the SHA-256 of a schema's canonical JSON."""
    return hashlib.sha256(rfc8785.dumps(json.loads(schema))).hexdigest()


def form_mark(schema: str) -> str:
    """Return the SHA-256 of a schema's normal form, the same for every spelling of it."""
    return hashlib.sha256(rfc8785.dumps(normal_form(json.loads(schema)))).hexdigest()


def _readable(mark: Callable[[str], str], schema: str) -> str | None:
    try:
        return mark(schema)
    except (ValueError, RecursionError):
        return None


def require_compatible(schema: str, *, subject: str, earlier: Iterable[Registered]) -> None:
    """Hold FULL_TRANSITIVE compatibility with every ``earlier`` version; HUB-SCHEMA-004 lists what stands between. Takes long."""
    found = incompatibilities(schema, {version.version: version.schema for version in earlier})
    if found:
        fix = "give added fields a default, keep the fields that have none, and do not change types"
        problems = tuple(Problem(subject, "", message, fix) for message in found)
        raise HubError("HUB-SCHEMA-004", f"schema is not compatible with subject `{subject}`", fix, problems=problems)


def _registered(row: Any) -> Registered:
    return Registered(row.subject, row.version, row.schema_id, row.text)


def _runs(values: Collection[str]) -> Iterator[list[str]]:
    """Cut values into runs that one statement can ask for."""
    ordered = sorted(values)
    yield from (ordered[start : start + _ASKED_MAX] for start in range(0, len(ordered), _ASKED_MAX))
