"""Acts on schemas: register a writer schema under a dataset's subject.

On a published dataset the new writer schema, the output schemas that follow from it, the dataset and each live agreement are
appended to hub.plan together, before the id is returned: no record can carry an id that a worker has not been told of.
"""

import msgspec
from sqlalchemy import Connection

from hub.agreements.dataset_acts import dataset_body
from hub.agreements.desk import OpenAct, now_ms
from hub.agreements.meanings import Meanings
from hub.agreements.outputs import compile_entry, findings, schema_drafts
from hub.agreements.publisher import Draft
from hub.agreements.shelf import AgreementRow
from hub.agreements.wiring import Wiring
from hub.catalogue.datasets import CatalogueRow
from hub.catalogue.gate import check_schema
from hub.catalogue.registry import Registered, fingerprint
from hub.model.entry import Kind
from hub.model.errors import HubError, Problem
from hub.store.acts import Act, Actor
from hub.store.engine import writing


class SchemaActs:
    """Registers writer schemas."""

    def __init__(self, wiring: Wiring) -> None:
        """Work with ``wiring``."""
        self._w = wiring

    def register(self, *, subject: str, schema: str, actor: Actor, dry_run: bool = False) -> Registered:
        """Return the version of ``subject`` that is ``schema``, registered now where it is new.

        HUB-SCHEMA-005 for a subject of no dataset, -001 and -002 from the gate, -004 where it is not compatible, or where a live
        agreement would not compile any more or would deliver something else under a name that it grants.
        """
        w = self._w
        act = Act(verb="register.schema", object_type="schema", object_id="(no subject of ours)")
        with w.desk.acting(act, actor=actor, dry_run=dry_run) as opened, w.slow_lock:
            with writing(w.desk.engine) as connection:
                row = self._dataset_of(connection, subject)
                opened.act = msgspec.structs.replace(act, object_id=subject)
                known = w.registry.find(connection, subject=subject, schema=schema)
                versions = w.registry.versions(connection, subject)
                if known is not None:
                    self._require_told(connection, row, known)
                    return msgspec.structs.replace(known, newest=versions[-1].version)
                check_schema(schema, where=subject, earlier=[version.schema for version in versions])
                opened.act = msgspec.structs.replace(act, object_id=subject, after_hash=fingerprint(schema))
                w.registry.require_compatible(connection, subject=subject, schema=schema)
                candidate = Registered(subject, len(versions) + 1, 0, schema, new=True, newest=len(versions) + 1)
                self._require_kept(row, w.shelf.live_on(connection, row.entry.dataset), candidate, versions)
            return candidate if dry_run else self._write(opened, row, subject, schema)

    def _write(self, opened: OpenAct, row: CatalogueRow, subject: str, schema: str) -> Registered:
        w = self._w
        with w.desk.changing():
            with writing(w.desk.engine) as connection:
                wording = w.registry.first_wording(connection, schema)
                registered = w.registry.register(connection, subject=subject, schema=wording, at_ms=now_ms())
                registered = msgspec.structs.replace(registered, newest=w.registry.versions(connection, subject)[-1].version)
                if not row.published:
                    w.desk.done_within(connection, opened)
                    return registered
                w.desk.intend(connection, opened)
                staged = w.publisher.stage(connection, self._drafts(connection, row, registered), correlation_id=opened.correlation_id)
                opened.staged = True
            w.publisher.append(staged)
        w.desk.done(opened)
        return registered

    def _drafts(self, connection: Connection, row: CatalogueRow, registered: Registered) -> list[Draft]:
        w = self._w
        writers = w.registry.versions(connection, registered.subject)
        drafts = list(schema_drafts(w, connection, {registered.schema_id: registered.schema}))
        ids = tuple(writer.schema_id for writer in writers)
        agreements: list[Draft] = []
        for live in w.shelf.live_on(connection, row.entry.dataset):
            compiled = compile_entry(w, connection, live.terms, state=live.state, writers=writers, at_ms=live.since_ms)
            met = {draft.object_id for draft in drafts}
            drafts.extend(draft for draft in compiled.schemas if draft.object_id not in met)
            agreements.append(Draft(Kind.AGREEMENT, live.terms.id, compiled.body))
        return [*drafts, Draft(Kind.DATASET, row.entry.dataset, dataset_body(w, row.entry, ids)), *agreements]

    def _require_told(self, connection: Connection, row: CatalogueRow, known: Registered) -> None:
        """Hold that hub.plan carries the schema: an id whose append failed a moment ago must not reach a record before repair has come."""
        entry = self._w.publisher.newest_of(connection, Kind.SCHEMA, str(known.schema_id)) if row.published else None
        if entry is not None and entry.offset is None:
            raise HubError("HUB-BROKER-010", f"schema `{known.schema_id}` is not in hub.plan yet", "try again in a second")

    def _dataset_of(self, connection: Connection, subject: str) -> CatalogueRow:
        found = next((row for row in self._w.catalogue.all(connection) if self._w.names.dept_subject(row.entry.dataset) == subject), None)
        if found is None:
            raise HubError(
                "HUB-SCHEMA-005",
                f"subject `{subject}` is not that of a dataset in the catalogue",
                f"apply the dataset's entry first; its subject is `{self._w.names.prefix}dept.<org>.<dataset>-value`",
            )
        return found

    def _require_kept(
        self, row: CatalogueRow, live: tuple[AgreementRow, ...], candidate: Registered, earlier: tuple[Registered, ...]
    ) -> None:
        """Hold that each live agreement compiles under the new schema, and that what it names means what it meant."""
        meanings = Meanings(candidate.schema, earlier) if live else None
        problems = tuple(
            msgspec.structs.replace(found, where=f"agreement {agreement.terms.id}")
            for agreement in live
            for found in (*findings(agreement.terms, row.entry, (candidate,)), *(meanings.changed(agreement.terms) if meanings else ()))
        )
        if problems:
            fix = "keep what agreements grant, or end or change those agreements first"
            raise HubError("HUB-SCHEMA-004", f"schema breaks live agreements on `{row.entry.dataset}`", fix, problems=_placed(problems))


def _placed(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.where, problem.field)))
