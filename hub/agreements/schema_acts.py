"""Acts on schemas: register a writer schema under a dataset's subject.

On a published dataset the new writer schema, the output schemas that follow from it, each live agreement and, last of all, the
dataset are appended to hub.plan before the id is returned: no record can carry an id that a worker has not been told of, and no
worker lets a schema in before it knows what every agreement makes of it. What takes long runs before the write lock is taken, and
where the change needs several batches the lock is given back between them: a withdrawal waits for none of it.
"""

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from hub.agreements.dataset_acts import dataset_body
from hub.agreements.desk import OpenAct, now_ms
from hub.agreements.meanings import Meanings
from hub.agreements.outputs import Wanted, compile_entries, findings
from hub.agreements.publisher import Draft, Staged, in_order
from hub.agreements.shelf import AgreementRow
from hub.agreements.wiring import Wiring
from hub.catalogue.datasets import CatalogueRow
from hub.catalogue.gate import check_schema
from hub.catalogue.registry import Foreseen, Registered, fingerprint, require_compatible
from hub.model.entry import AgreementBody, Body, Kind, plan_key
from hub.model.errors import HubError, Problem
from hub.model.lifecycle import State
from hub.model.written import identifier
from hub.observe.failpoints import failpoint
from hub.store.acts import Act, Actor
from hub.store.engine import reading, writing


class _Seen(NamedTuple):
    """What a registration rests on."""

    row: CatalogueRow
    known: Registered | None
    versions: tuple[Registered, ...]
    next_id: int


class _Change(NamedTuple):
    """A registration, checked and signed, before anything of it stands."""

    row: CatalogueRow
    foreseen: tuple[Foreseen, ...]
    """The writer schema first."""
    drafts: dict[bytes, Draft]
    signed: tuple[Staged, ...]

    @property
    def registered(self) -> Registered:
        """The version that is registered."""
        registered = self.foreseen[0].registered
        return msgspec.structs.replace(registered, newest=registered.version)


class SchemaActs:
    """Registers writer schemas."""

    def __init__(self, wiring: Wiring) -> None:
        """Work with ``wiring``."""
        self._w = wiring

    def register(self, *, subject: str, schema: str, actor: Actor, dry_run: bool = False) -> Registered:
        """Return the version of ``subject`` that is ``schema``, registered now where it is new.

        HUB-SCHEMA-005 for a subject of no dataset, -001 and -002 from the gate, -004 where it is not compatible, or where a live
        agreement would not compile any more or would deliver something else under a name that it grants, -006 where it is registered
        and hub.plan does not carry it yet.
        """
        w = self._w
        act = Act(verb="register.schema", object_type="schema", object_id="(no subject of ours)")
        with w.desk.acting(act, actor=actor, dry_run=dry_run) as opened:
            with reading(w.desk.engine) as connection:
                self._dataset_of(connection, subject)
                opened.act = msgspec.structs.replace(act, object_id=subject)
                told = w.told.find(connection, subject=subject, schema=schema)
                shown = w.told.versions(connection, subject)
                earlier = [version.schema for version in w.registry.versions(connection, subject)]
            if told is not None:
                return msgspec.structs.replace(told, newest=shown[-1].version)
            check_schema(schema, where=subject, earlier=earlier)
            opened.act = msgspec.structs.replace(opened.act, after_hash=fingerprint(schema))
            with w.slow_lock:
                return self._register(opened, subject, schema, dry_run=dry_run)

    def _register(self, opened: OpenAct, subject: str, schema: str, *, dry_run: bool) -> Registered:
        w = self._w

        def look(connection: Connection) -> _Seen:
            known = w.registry.find(connection, subject=subject, schema=schema)
            versions = w.registry.versions(connection, subject)
            return _Seen(self._dataset_of(connection, subject), known, versions, w.registry.next_id(connection))

        def check(connection: Connection, seen: _Seen) -> _Change | Registered:
            if seen.known is not None:
                return self._told(connection, seen.known)
            require_compatible(schema, subject=subject, earlier=seen.versions)
            wording = w.registry.first_wording(connection, schema)
            return self._checked(connection, seen, subject, wording, correlation_id=opened.correlation_id)

        if dry_run:
            with reading(w.desk.engine) as connection:
                found = check(connection, look(connection))
                return found if isinstance(found, Registered) else msgspec.structs.replace(found.registered, schema_id=0)
        with w.desk.settled(look, check) as change:
            if isinstance(change, Registered):
                return change
            with writing(w.desk.engine) as connection:
                w.registry.keep(connection, change.foreseen, at_ms=now_ms())
                if not change.row.published:
                    w.desk.done_within(connection, opened)
                    return change.registered
                w.desk.intend(connection, opened)
                staged = self._store(connection, change, correlation_id=opened.correlation_id)
                opened.staged = True
        failpoint("plan.stored")
        w.append(staged)
        w.desk.done(opened)
        return change.registered

    def _checked(self, connection: Connection, seen: _Seen, subject: str, schema: str, *, correlation_id: str) -> _Change:
        """Hold the schema against the live agreements and sign what hub.plan gets: the dataset's entry, which lets it in, last."""
        w = self._w
        dataset = seen.row.entry.dataset
        live = w.shelf.live_on(connection, dataset)
        self._require_kept(seen.row, live, Registered(subject, len(seen.versions) + 1, 0, schema), seen.versions)
        if not seen.row.published:
            return _Change(seen.row, w.registry.foresee(connection, [(subject, schema)]), {}, ())
        bodies = w.publisher.bodies(connection, Kind.AGREEMENT, [row.terms.id for row in live])
        wanted = [Wanted(row, _kept(bodies.get(row.terms.id), row, key_epoch=w.key_epoch)) for row in live]
        compiled = compile_entries(w, connection, wanted, writers=seen.versions, candidate=(subject, schema))
        ids = (*(version.schema_id for version in seen.versions), compiled.foreseen[0].registered.schema_id)
        drafts = [*compiled.drafts(narrows=None), Draft(Kind.DATASET, dataset, dataset_body(w, seen.row.entry, ids))]
        by_key = {plan_key(draft.kind, draft.object_id): draft for draft in drafts}
        known = w.publisher.newest_revisions(connection, by_key)
        return _Change(seen.row, compiled.foreseen, by_key, w.publisher.sign(drafts, known, correlation_id=correlation_id))

    def _store(self, connection: Connection, change: _Change, *, correlation_id: str) -> tuple[Staged, ...]:
        """Store what was signed; an agreement that was suspended, resumed or ended meanwhile is signed anew in its state of now."""
        w = self._w
        known = w.publisher.newest_revisions(connection, change.drafts)
        staged = [entry for entry in change.signed if entry.revision == known.get(entry.key, 0) + 1]
        kept = {entry.key for entry in staged}
        moved = [self._of_now(connection, draft) for key, draft in change.drafts.items() if key not in kept]
        again = w.publisher.sign([draft for draft in moved if draft is not None], known, correlation_id=correlation_id)
        ordered = tuple(in_order([*staged, *again]))
        w.publisher.store(connection, ordered)
        return ordered

    def _of_now(self, connection: Connection, draft: Draft) -> Draft | None:
        body = self._w.publisher.body_of(connection, draft.kind, draft.object_id)
        if not isinstance(body, AgreementBody) or not isinstance(draft.body, AgreementBody):
            raise HubError("HUB-SERVE-004", f"`{draft.kind}/{draft.object_id}` was changed meanwhile", "ask again")
        if body.state is State.ENDED:
            return None
        return msgspec.structs.replace(draft, body=msgspec.structs.replace(body, output_schema_ids=draft.body.output_schema_ids))

    def _told(self, connection: Connection, known: Registered) -> Registered:
        """Return a version that is known by now, if hub.plan carries it: an id whose append failed must not reach a record."""
        if self._w.told.find(connection, subject=known.subject, schema=known.schema) is None:
            raise HubError("HUB-SCHEMA-006", f"schema `{known.schema_id}` is not in hub.plan yet", "try again in a second")
        return msgspec.structs.replace(known, newest=self._w.told.versions(connection, known.subject)[-1].version)

    def _dataset_of(self, connection: Connection, subject: str) -> CatalogueRow:
        dataset = self._w.names.dataset_of_subject(subject)
        found = self._w.catalogue.find(connection, dataset) if dataset is not None else None
        if found is None:
            raise HubError(
                "HUB-SCHEMA-005",
                f"subject `{identifier(subject)}` is not that of a dataset in the catalogue",
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


def _kept(body: Body | None, row: AgreementRow, *, key_epoch: int) -> dict[str, int]:
    """Return the output schema ids that stay: those of the same terms under the same keys."""
    same = isinstance(body, AgreementBody) and body.terms == row.terms and body.key_epoch == key_epoch
    return dict(body.output_schema_ids) if same and isinstance(body, AgreementBody) else {}


def _placed(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.where, problem.field)))
