"""Adopting hub.plan: after a restored backup, SQL takes over what hub.plan says beyond it.

hub.plan holds the newest signed entry of every object, so states, terms, schemas and their ids come back whole. What was never in
it does not: drafts, the text of agreement files, acts, and the catalogue's words about a dataset. A dataset that SQL does not know
gets an entry that says so, and its department applies the real one again.
"""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.agreements.wiring import Wiring
from hub.broker.plan_log import LogEntry
from hub.catalogue.registry import fingerprint
from hub.model.dataset import DatasetEntry
from hub.model.entry import AgreementBody, DatasetBody, Kind, SchemaBody, decode_body
from hub.model.lifecycle import State
from hub.model.records import PlanEntry
from hub.store.tables import agreements, plan_entries, schemas, subject_versions

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
        """Adopt verified entries in the order of the log; of each object the one with the highest revision decides."""
        newest: dict[bytes | None, tuple[LogEntry, PlanEntry]] = {}
        for at, entry in entries:
            if at.key not in newest or newest[at.key][1].revision <= entry.revision:
                newest[at.key] = (at, entry)
        order = (Kind.KEYS, Kind.SCHEMA, Kind.DATASET, Kind.AGREEMENT)
        for at, entry in sorted(newest.values(), key=lambda pair: (order.index(Kind(pair[1].kind)), pair[0].offset)):
            self._remember(at, entry)
            body = decode_body(Kind(entry.kind), entry.body)
            if isinstance(body, SchemaBody):
                self._schema(body)
            elif isinstance(body, DatasetBody):
                self._dataset(body)
            elif isinstance(body, AgreementBody):
                self._agreement(body)

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
        row = {
            "version": terms.version,
            "dataset": terms.dataset,
            "consumer": terms.consumer,
            "terms": msgspec.json.encode(terms).decode(),
            "file_name": LOST,
            "file_text": "",
            "state": str(body.state),
            "since_ms": body.since_ms,
        }
        self._connection.execute(agreements.insert().values(**whole, **row))
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
