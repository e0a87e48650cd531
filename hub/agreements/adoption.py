"""Adopting hub.plan: after a restored backup, SQL takes over what hub.plan says beyond it.

hub.plan holds the newest signed entry of every object, and earlier ones until compaction takes them, so states, terms, schemas and
their ids come back whole, and signed versions as far as they are there. What was never in it does not: drafts, the text of agreement
files, acts, and the catalogue's words about a dataset. A dataset that SQL does not know
gets an entry that says so, and its department applies the real one again.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.agreements.wiring import Wiring
from hub.broker.plan_log import LogEntry
from hub.catalogue.registry import fingerprint
from hub.catalogue.tables import schema_forms, schemas, subject_versions
from hub.model.dataset import DatasetEntry
from hub.model.entry import AgreementBody, DatasetBody, Kind, SchemaBody, decode_body
from hub.model.lifecycle import State
from hub.model.records import PlanEntry, decode_plan_entry
from hub.store.tables import agreements, plan_entries

LOST = "(lost with the database)"


class Adoption:
    """Puts entries of hub.plan into SQL, in one transaction."""

    def __init__(self, w: Wiring, connection: Connection, *, correlation_id: str, at_ms: int) -> None:
        """Write within ``connection``."""
        self._w = w
        self._connection = connection
        self._correlation_id = correlation_id
        self._at_ms = at_ms
        self._scope = w.names.scope

    def take(self, entries: Iterable[tuple[LogEntry, PlanEntry]]) -> None:
        """Adopt verified entries, of each revision the last in the log: of an object the highest decides, and what it was stays known.

        An agreement's earlier versions come back as far as hub.plan still holds them: what was used under them is billed by them.
        """
        last = {(at.key, entry.revision): (at, entry) for at, entry in entries}
        order = (Kind.KEYS, Kind.SCHEMA, Kind.DATASET, Kind.AGREEMENT)
        newest: dict[bytes | None, int] = {}
        for key, revision in last:
            newest[key] = max(revision, newest.get(key, revision))
        for at, entry in sorted(last.values(), key=lambda pair: (order.index(Kind(pair[1].kind)), pair[1].revision, pair[0].offset)):
            body = decode_body(Kind(entry.kind), entry.body)
            if isinstance(body, AgreementBody):
                self._adopt_agreement(at, entry, body)
            elif entry.revision == newest[at.key]:
                self._remember(at, entry)
                if isinstance(body, SchemaBody):
                    self._schema(body)
                elif isinstance(body, DatasetBody):
                    self._dataset(body)

    def missing_versions(self) -> list[str]:
        """Return the agreement versions below the newest of which SQL has no signed entry: compaction took them, or they never were."""
        rows = self._connection.execute(sa.select(plan_entries.c.value).where(self._entries(Kind.AGREEMENT)))
        there: dict[str, set[int]] = {}
        for row in rows:
            body = decode_body(Kind.AGREEMENT, decode_plan_entry(row.value).body)
            if isinstance(body, AgreementBody):
                there.setdefault(body.terms.id, set()).add(body.terms.version)
        return [f"{name} version {one}" for name, found in sorted(there.items()) for one in range(1, max(found)) if one not in found]

    def _entries(self, kind: Kind) -> sa.ColumnElement[bool]:
        return sa.and_(plan_entries.c.scope == self._scope, plan_entries.c.kind == str(kind))

    def _adopt_agreement(self, at: LogEntry, entry: PlanEntry, body: AgreementBody) -> None:
        """Take an agreement's entry; one that is older than what SQL has only brings its version back, as one that ended."""
        mine = sa.select(sa.func.max(plan_entries.c.revision)).where(
            self._entries(Kind.AGREEMENT), plan_entries.c.object_id == entry.object_id
        )
        known = self._connection.scalar(mine)
        self._remember(at, entry)
        if known is None or entry.revision > known:
            self._agreement(body)
            return
        key = {"scope": self._scope, "agreement_id": body.terms.id, "version": body.terms.version}
        there = sa.select(agreements.c.version).where(*(agreements.c[name] == value for name, value in key.items()))
        if self._connection.scalar(there) is None:
            self._connection.execute(agreements.insert().values(**key, **_row(body, State.ENDED)))

    def _remember(self, at: LogEntry, entry: PlanEntry) -> None:
        key = {"scope": self._scope, "kind": entry.kind, "object_id": entry.object_id, "revision": entry.revision}
        self._connection.execute(plan_entries.delete().where(*(plan_entries.c[name] == value for name, value in key.items())))
        row = {"value": at.value, "appended_offset": at.offset, "correlation_id": self._correlation_id}
        self._connection.execute(plan_entries.insert().values(**key, **row))

    def _schema(self, body: SchemaBody) -> None:
        where = (schemas.c.scope == self._scope, schemas.c.schema_id == body.schema_id)
        row = {"fingerprint": fingerprint(body.schema), "text": body.schema}
        if self._connection.scalar(sa.select(schemas.c.schema_id).where(*where)) is None:
            self._connection.execute(schemas.insert().values(scope=self._scope, schema_id=body.schema_id, **row))
        else:
            form = (schema_forms.c.scope == self._scope, schema_forms.c.schema_id == body.schema_id)
            self._connection.execute(schema_forms.delete().where(*form))
            self._connection.execute(schemas.update().where(*where).values(**row))

    def _dataset(self, body: DatasetBody) -> None:
        w = self._w
        known = w.catalogue.find(self._connection, body.dataset)
        path = f"{body.dataset}/v1.avsc"
        lost = DatasetEntry(dataset=body.dataset, title=LOST, accountable_person=LOST, sharing="conditional", schema=path)
        before = known.entry if known is not None else lost
        entry = msgspec.structs.replace(before, partitions=body.partitions, key_identifier=body.key_identifier)
        w.catalogue.put(self._connection, entry, at_ms=self._at_ms)
        w.catalogue.mark_published(self._connection, body.dataset, at_ms=self._at_ms)
        self._versions(w.names.dept_subject(body.dataset), body.schema_ids)

    def _agreement(self, body: AgreementBody) -> None:
        terms = body.terms
        whole = {"scope": self._scope, "agreement_id": terms.id}
        mine = sa.and_(*(agreements.c[name] == value for name, value in whole.items()))
        self._connection.execute(agreements.delete().where(mine, agreements.c.version >= terms.version))
        live = agreements.c.state.in_([str(State.ACTIVE), str(State.SUSPENDED)])
        self._connection.execute(agreements.update().where(mine, live).values(state=str(State.ENDED), since_ms=body.since_ms))
        self._connection.execute(agreements.insert().values(**whole, version=terms.version, **_row(body, body.state)))
        subject = self._w.names.share_subject(consumer=terms.consumer, agreement=terms.id)
        self._versions(subject, dict.fromkeys(body.output_schema_ids.values()))

    def _versions(self, subject: str, schema_ids: Iterable[int]) -> None:
        """Put each id under ``subject`` that is not there yet, in order."""
        known = [version.schema_id for version in self._w.registry.versions(self._connection, subject)]
        for schema_id in schema_ids:
            if schema_id not in known:
                known.append(schema_id)
                row = {"subject": subject, "version": len(known), "schema_id": schema_id, "since_ms": self._at_ms}
                self._connection.execute(subject_versions.insert().values(scope=self._scope, **row))


def _row(body: AgreementBody, state: State) -> dict[str, Any]:
    terms = body.terms
    return {
        "dataset": terms.dataset,
        "consumer": terms.consumer,
        "terms": msgspec.json.encode(terms).decode(),
        "file_name": LOST,
        "file_text": "",
        "state": str(state),
        "since_ms": body.since_ms,
    }
