"""The schema registry: schemas by id, and the versions of each subject. SQL only; publishing is the agreements' room.

An id names a text for ever: the same schema under several subjects has one id, as Confluent's registry does it. A schema is known
under any spelling (``hub.model.normal_form``): field properties (grade, identifier) count, white space, order of keys and ways of
writing types and names do not. It is found by its text first (canonical JSON, RFC 8785), then by its form; of several ids with one
form, given out before forms were known, the oldest answers. What is stored keeps its words. Output schemas are the hub's own texts
and go by text alone. Ids count from 1, and after a restore from above the largest that hub.plan has ever carried.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.catalogue.compatibility import incompatibilities
from hub.model.errors import HubError, Problem
from hub.model.framing import HUB_SCHEMA_IDS_FROM
from hub.model.normal_form import normal_form
from hub.store.tables import schema_forms, schemas, subject_versions

VERSIONS_MAX: Final = 1_000
"""Versions of one subject."""


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
        found = self._by_text(connection, subject, fingerprint(schema))
        if found is not None:
            return found
        schema_id = self._id_of(connection, schema)
        version = self._last_version(connection, subject) + 1
        if version > VERSIONS_MAX:
            raise HubError("HUB-SCHEMA-002", f"subject `{subject}` has {VERSIONS_MAX} versions", "publish a new dataset")
        row = {"scope": self.scope, "subject": subject, "version": version, "schema_id": schema_id, "since_ms": at_ms}
        connection.execute(subject_versions.insert().values(**row))
        return Registered(subject, version, schema_id, schema, new=True)

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

    def require_compatible(self, connection: Connection, *, subject: str, schema: str) -> None:
        """Hold FULL_TRANSITIVE compatibility with every version of ``subject``; HUB-SCHEMA-004 lists what stands between."""
        earlier = {found.version: found.schema for found in self.versions(connection, subject)}
        found = incompatibilities(schema, earlier)
        if found:
            fix = "give added fields a default, keep the fields that have none, and do not change types"
            problems = tuple(Problem(subject, "", message, fix) for message in found)
            raise HubError("HUB-SCHEMA-004", f"schema is not compatible with subject `{subject}`", fix, problems=problems)

    def _id_of(self, connection: Connection, schema: str) -> int:
        mark = fingerprint(schema)
        known = sa.select(schemas.c.schema_id).where(schemas.c.scope == self.scope, schemas.c.fingerprint == mark)
        found = connection.scalar(known)
        if found is not None:
            return int(found)
        largest = connection.scalar(sa.select(sa.func.max(schemas.c.schema_id)).where(schemas.c.scope == self.scope)) or 0
        schema_id = max(int(largest), self._floor) + 1
        connection.execute(schemas.insert().values(scope=self.scope, schema_id=schema_id, fingerprint=mark, text=schema))
        self._note_form(connection, schema_id, schema)
        return schema_id

    def _last_version(self, connection: Connection, subject: str) -> int:
        wanted = sa.select(sa.func.max(subject_versions.c.version)).where(
            subject_versions.c.scope == self.scope, subject_versions.c.subject == subject
        )
        return int(connection.scalar(wanted) or 0)

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


def _registered(row: Any) -> Registered:
    return Registered(row.subject, row.version, row.schema_id, row.text)


def latest(versions: Sequence[Registered]) -> Registered | None:
    """Return the newest of versions in order, None where there is none."""
    return versions[-1] if versions else None
