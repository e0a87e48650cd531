"""The registry as others may see it: an id is answered only once hub.plan carries it, with everything that its records need.

A department writes with an id as soon as it has it, and a worker that was not told of it quarantines the record. So a version of a
published dataset is shown from the moment on at which hub.plan has acknowledged the dataset's entry that lists it: the last entry of
a registration, behind the output schemas and the agreements. An output schema is shown once its own entry was acknowledged. Before,
reads see the version before. SQL holds all of this, so that a serve which leads, stands by or takes over answers alike.
Records of a dataset that is not published meet no worker: its versions are shown at once.
"""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import Connection

from hub.catalogue.registry import Registered, Registry
from hub.model.entry import DatasetBody, Kind, decode_body
from hub.model.names import Names
from hub.model.records import decode_plan_entry
from hub.store.tables import plan_entries


class Told:
    """Finds schemas of one scope that may be shown."""

    def __init__(self, registry: Registry, names: Names) -> None:
        """Look in ``registry``."""
        self._registry = registry
        self._names = names

    def versions(self, connection: Connection, subject: str) -> tuple[Registered, ...]:
        """Return the versions of ``subject`` that may be shown, oldest first."""
        return self._shown(connection, self._registry.versions(connection, subject))

    def find(self, connection: Connection, *, subject: str, schema: str) -> Registered | None:
        """Return the version of ``subject`` that is ``schema`` in any spelling, None where none may be shown."""
        found = self._registry.find(connection, subject=subject, schema=schema)
        return next(iter(self._shown(connection, () if found is None else (found,))), None)

    def uses(self, connection: Connection, schema_id: int) -> tuple[Registered, ...]:
        """Return the subjects and versions that a schema id stands under and that may be shown."""
        return self._shown(connection, self._registry.uses(connection, schema_id))

    def text(self, connection: Connection, schema_id: int) -> str | None:
        """Return the schema of an id, None where it is not known or may not be shown.

        One that stands under no subject any more is shown where hub.plan carries it: records of it may still be read.
        """
        if self._registry.uses(connection, schema_id):
            return next((use.schema for use in self.uses(connection, schema_id)), None)
        return self._registry.text(connection, schema_id) if schema_id in self._acknowledged(connection, [schema_id]) else None

    def _shown(self, connection: Connection, found: Iterable[Registered]) -> tuple[Registered, ...]:
        by_subject: dict[str, list[Registered]] = {}
        for version in found:
            by_subject.setdefault(version.subject, []).append(version)
        ids = {subject: self._ids(connection, subject, versions) for subject, versions in by_subject.items()}
        return tuple(version for subject, versions in by_subject.items() for version in versions if version.schema_id in ids[subject])

    def _ids(self, connection: Connection, subject: str, versions: list[Registered]) -> frozenset[int]:
        dataset = self._names.dataset_of_subject(subject)
        if dataset is None:
            return self._acknowledged(connection, [version.schema_id for version in versions])
        listed = self._listed(connection, dataset)
        return frozenset(version.schema_id for version in versions) if listed is None else listed

    def _listed(self, connection: Connection, dataset: str) -> frozenset[int] | None:
        """Return the ids that hub.plan is known to list for ``dataset``; None where nothing was ever said of it.

        Where nothing is acknowledged yet the first entry counts: the dataset is just being published, and no lane runs without it.
        """
        table = plan_entries
        mine = (table.c.scope == self._names.scope, table.c.kind == str(Kind.DATASET), table.c.object_id == dataset)
        value = connection.scalar(
            sa.select(table.c.value).where(*mine, table.c.appended_offset.is_not(None)).order_by(table.c.revision.desc()).limit(1)
        )
        if value is None:
            value = connection.scalar(sa.select(table.c.value).where(*mine).order_by(table.c.revision).limit(1))
        if value is None:
            return None
        body = decode_body(Kind.DATASET, decode_plan_entry(value).body)
        return frozenset(body.schema_ids) if isinstance(body, DatasetBody) else frozenset()

    def _acknowledged(self, connection: Connection, schema_ids: list[int]) -> frozenset[int]:
        table = plan_entries
        wanted = sa.select(table.c.object_id).where(
            table.c.scope == self._names.scope,
            table.c.kind == str(Kind.SCHEMA),
            table.c.object_id.in_([str(schema_id) for schema_id in schema_ids]),
            table.c.appended_offset.is_not(None),
        )
        return frozenset(int(object_id) for object_id in connection.scalars(wanted))
