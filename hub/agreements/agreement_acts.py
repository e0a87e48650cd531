"""Acts on agreements: apply, sign, suspend, resume, end.

``sign`` makes a draft active: topics first, then output schemas and the agreement in one append. ``suspend`` and ``end`` are
law 6: one append, then a fence on every lane of the dataset, and the answer only when each fence has answered 0. A new version
that replaces a live one may narrow, so it is fenced as well.
"""

import time
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from hub.agreements.desk import OpenAct, now_ms
from hub.agreements.fences import PartitionAnswer
from hub.agreements.file import AgreementFile, AgreementReading
from hub.agreements.fit import fit_problems, judged
from hub.agreements.publisher import Draft, Staged, batches_of
from hub.agreements.shelf import AgreementRow, check_terms_kept
from hub.agreements.signing import Signing
from hub.agreements.wiring import Wiring
from hub.agreements.withdrawals import Withdrawal, require_none_pending
from hub.broker.topics import share_topic
from hub.catalogue.datasets import CatalogueRow
from hub.catalogue.registry import Registered
from hub.model.agreement import Agreement
from hub.model.entry import AgreementBody, Kind
from hub.model.errors import HubError, Problem
from hub.model.lifecycle import NARROWING, State, next_state
from hub.model.lifecycle import Act as Step
from hub.model.names import is_slug
from hub.model.times import shown_time
from hub.observe import metrics
from hub.observe.failpoints import failpoint
from hub.store.acts import Act, Actor, content_hash
from hub.store.engine import reading, writing

_AFTER = {Step.SIGN: State.ACTIVE, Step.SUSPEND: State.SUSPENDED, Step.END: State.ENDED}
"""The state that a withdrawal leaves."""
_PARTIES = ("provider", "consumer", "dataset")


class AgreementChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an act on an agreement came to."""

    id: str
    version: int
    outcome: str
    """``drafted``, ``exists``, or the state that was entered; ``would be …`` in a dry run."""
    state: State
    since_ms: int
    dataset: str
    share_topic: str
    plan_offset: int | None = None
    """Offset of the agreement's entry in hub.plan, where this act appended one."""
    output_schema_ids: dict[str, int] = {}
    partitions: tuple[PartitionAnswer, ...] = ()
    """Where the right ended, for acts that narrow; empty for others."""
    seconds: float | None = None
    """From the call to this answer, for acts that narrow."""


class _Applied(NamedTuple):
    """What a draft rests on."""

    versions: tuple[AgreementRow, ...]
    dataset: CatalogueRow | None
    writers: tuple[Registered, ...]


class AgreementActs:
    """Moves agreements through their life."""

    def __init__(self, wiring: Wiring) -> None:
        """Work with ``wiring``."""
        self._w = wiring

    def apply(self, text: str, *, file: str, actor: Actor, dry_run: bool = False) -> AgreementChange:
        """Store a draft; HUB-AGREE-001 and -005 list every fault of the file and against the schemas of its dataset."""
        w = self._w
        act = Act(verb="apply.agreement", object_type="agreement", object_id="(file)")
        with w.desk.acting(act, actor=actor, dry_run=dry_run) as opened:
            found = AgreementReading(text, file=file)
            with reading(w.desk.engine) as connection:
                beside = judged(w, connection, found, at_ms=now_ms())
            parsed = found.finish(beside)
            terms = parsed.agreement
            opened.act = _act(Step.APPLY, terms, before=None, after=content_hash(terms))

            def look(connection: Connection) -> _Applied:
                dataset = w.catalogue.find(connection, terms.dataset)
                return _Applied(w.shelf.versions(connection, terms.id), dataset, self._writers(connection, terms) if dataset else ())

            def check(connection: Connection, seen: _Applied) -> AgreementRow | None:
                """Return the row that is these terms already."""
                versions = seen.versions
                known = next((row for row in versions if row.terms.version == terms.version), None)
                if known is not None and known.terms == terms:
                    return known
                self._require_draft(versions, known, parsed)
                self._require_fit(connection, parsed)
                return None

            if dry_run:
                with reading(w.desk.engine) as connection:
                    known = check(connection, look(connection))
                return self._change(known or AgreementRow(terms, State.DRAFT, now_ms()), "exists" if known else "would be drafted")
            with w.desk.settled(look, check) as known:
                if known is not None:
                    return self._change(known, "exists")
                draft = AgreementRow(terms, State.DRAFT, now_ms())
                with writing(w.desk.engine) as connection:
                    w.shelf.put_draft(connection, parsed, at_ms=draft.since_ms)
                    w.desk.done_within(connection, opened)
                return self._change(draft, "drafted")

    def sign(self, agreement_id: str, *, actor: Actor, dry_run: bool = False) -> AgreementChange:
        """Make the newest version active and publish it; where that is under way and withdraws a right, wait for it and answer."""
        w = self._w
        started = time.monotonic()
        under_way = None if dry_run else self._asked_again(agreement_id, Step.SIGN, started)
        if under_way is not None:
            return under_way
        if not dry_run:
            w.withdrawals.join_all(agreement_id)
        with w.desk.acting(_unnamed(Step.SIGN, agreement_id), actor=actor, dry_run=dry_run) as opened, w.slow_lock:
            with reading(w.desk.engine) as connection:
                versions = w.shelf.require(connection, agreement_id)
                draft = versions[-1]
                opened.act = _act(Step.SIGN, draft.terms, before=_hash(draft), after=_hash(draft, State.ACTIVE))
                next_state(draft.state, Step.SIGN, agreement_id=agreement_id)
                partitions = self._require_signable(connection, draft)
            if dry_run:
                return self._change(draft, "would be active")
            with writing(w.desk.engine) as connection:
                w.desk.intend(connection, opened)
            topic = share_topic(
                w.names, consumer=draft.terms.consumer, agreement=agreement_id, partitions=partitions, replication=w.replication
            )
            w.admin.create_topics([topic])
            if not any(row.live for row in versions):
                w.gate.touch(topic.name, partitions=partitions, names=w.names)
            change = self._activate(opened, draft, started)
            self._done(opened, change)
            return change

    def suspend(self, agreement_id: str, *, actor: Actor, dry_run: bool = False) -> AgreementChange:
        """Take the right away for now; answers per partition where it ended, also when asked again."""
        return self._withdraw(agreement_id, Step.SUSPEND, actor=actor, dry_run=dry_run)

    def resume(self, agreement_id: str, *, actor: Actor, dry_run: bool = False) -> AgreementChange:
        """Give a suspended right back; a withdrawal of it that is under way is carried out before, or this is refused."""
        if not dry_run:
            self._w.withdrawals.join_all(agreement_id)
        return self._move(agreement_id, Step.RESUME, actor=actor, dry_run=dry_run)

    def end(self, agreement_id: str, *, actor: Actor, dry_run: bool = False) -> AgreementChange:
        """End the agreement for good; answers per partition where the right ended, also when asked again."""
        return self._withdraw(agreement_id, Step.END, actor=actor, dry_run=dry_run)

    def entries(self) -> tuple[AgreementRow, ...]:
        """Return every version of every agreement."""
        with reading(self._w.desk.engine) as connection:
            return self._w.shelf.all(connection)

    def versions(self, agreement_id: str) -> tuple[AgreementRow, ...]:
        """Return every version of one agreement; HUB-AGREE-002 where there is none."""
        with reading(self._w.desk.engine) as connection:
            return self._w.shelf.require(connection, agreement_id)

    def _withdraw(self, agreement_id: str, step: Step, *, actor: Actor, dry_run: bool) -> AgreementChange:
        """Carry a withdrawal out; asked again, also while another call is at it, answer with where the right ended."""
        started = time.monotonic()
        before = None if dry_run else self._asked_again(agreement_id, step, started)
        if before is not None:
            return before
        try:
            return self._move(agreement_id, step, actor=actor, dry_run=dry_run)
        except HubError as error:
            before = self._asked_again(agreement_id, step, started) if error.code == "HUB-AGREE-004" and not dry_run else None
            if before is None:
                raise
            return before

    def _move(self, agreement_id: str, step: Step, *, actor: Actor, dry_run: bool) -> AgreementChange:
        w = self._w
        started = time.monotonic()
        with w.desk.acting(_unnamed(step, agreement_id), actor=actor, dry_run=dry_run) as opened:
            opened.urgent = step in NARROWING
            with w.desk.changing(urgent=opened.urgent):
                with writing(w.desk.engine, urgent=opened.urgent) as connection:
                    row = w.shelf.current(connection, agreement_id)
                    opened.act = _act(step, row.terms, before=_hash(row), after=None)
                    after = next_state(row.state, step, agreement_id=agreement_id)
                    if step not in NARROWING:
                        require_none_pending(connection, scope=w.desk.scope, agreement_id=agreement_id)
                    if dry_run:
                        return self._change(row, f"would be {after}")
                    moved = msgspec.structs.replace(row, state=after, since_ms=now_ms())
                    opened.act = _act(step, row.terms, before=_hash(row), after=_hash(moved))
                    w.shelf.set_state(connection, row.terms, after, at_ms=moved.since_ms)
                    staged = self._stage_move(connection, opened, row, moved, narrows=step in NARROWING)
                    if not staged:
                        w.desk.done_within(connection, opened)
                        return self._change(moved, str(after))
                offset = w.publisher.append(staged, urgent=opened.urgent)
            return self._finish(opened, moved, plan_offset=offset, narrows=step in NARROWING, started=started)

    def _asked_again(self, agreement_id: str, step: Step, started: float) -> AgreementChange | None:
        """Return the answer of the same withdrawal that is under way or over, None where there is none."""
        w = self._w
        with reading(w.desk.engine) as connection:
            versions = w.shelf.versions(connection, agreement_id)
        row = next((found for found in versions if found.live), versions[-1] if versions else None)
        if row is None or row.state is not _AFTER[step] or (step is Step.SIGN and row is not versions[-1]):
            return None
        found = w.withdrawals.find(agreement_id, act=f"{step}.agreement", version=row.terms.version)
        over = isinstance(found, Withdrawal)
        if found is None or (over and step is Step.SIGN):
            return None
        kept = found if isinstance(found, Withdrawal) else w.withdrawals.join(found)
        change = self._change(row, "exists" if over else str(row.state))
        seconds = None if over else round(time.monotonic() - started, 4)
        return msgspec.structs.replace(change, plan_offset=kept.plan_offset, partitions=kept.partitions, seconds=seconds)

    def _stage_move(
        self, connection: Connection, opened: OpenAct, row: AgreementRow, moved: AgreementRow, *, narrows: bool
    ) -> tuple[Staged, ...]:
        """Stage the agreement's next entry; nothing for a draft, which never stood in the plan."""
        w = self._w
        if not row.live:
            return ()
        body = w.publisher.body_of(connection, Kind.AGREEMENT, row.terms.id)
        if not isinstance(body, AgreementBody):
            raise HubError("HUB-SERVE-003", f"agreement `{row.terms.id}` has no entry in the database", "restore the newest backup")
        w.desk.intend(connection, opened)
        after = msgspec.structs.replace(body, state=moved.state, since_ms=moved.since_ms)
        draft = Draft(Kind.AGREEMENT, row.terms.id, after, narrows=row.terms.dataset if narrows else None)
        staged = w.publisher.stage(connection, [draft], correlation_id=opened.correlation_id)
        opened.staged = True
        return staged

    def _activate(self, opened: OpenAct, draft: AgreementRow, started: float) -> AgreementChange:
        """Store and append the active version; fence where it takes the place of a live one."""
        w = self._w
        terms = draft.terms
        signing = Signing(w, draft, require_signable=self._require_signable, correlation_id=opened.correlation_id)
        while True:
            with w.desk.settled(signing.look, signing.check) as signed:
                whole = len(list(batches_of(signed.entries))) == 1
                with writing(w.desk.engine) as connection:
                    w.registry.keep(connection, signed.foreseen, at_ms=signed.at_ms)
                    for row in signed.replaced if whole else ():
                        w.shelf.set_state(connection, row.terms, State.ENDED, at_ms=signed.at_ms)
                    if whole:
                        w.shelf.set_state(connection, terms, State.ACTIVE, at_ms=signed.at_ms)
                    w.publisher.store(connection, signed.entries if whole else signed.schemas)
                    opened.staged = True
                if whole:
                    offset = w.publisher.append(signed.entries)
                    break
            failpoint("plan.stored")
            w.append(signed.schemas)
        active = AgreementRow(terms, State.ACTIVE, signed.at_ms)
        change = self._answered(active, plan_offset=offset, narrows=bool(signed.replaced), started=started)
        return msgspec.structs.replace(change, output_schema_ids=signed.body.output_schema_ids)

    def _finish(self, opened: OpenAct, moved: AgreementRow, *, plan_offset: int, narrows: bool, started: float) -> AgreementChange:
        change = self._answered(moved, plan_offset=plan_offset, narrows=narrows, started=started)
        self._done(opened, change)
        return change

    def _done(self, opened: OpenAct, change: AgreementChange) -> None:
        """Record the act as done, and with it where a right ended: the answer may be lost on its way, and is asked for again."""
        found = [
            Withdrawal(
                agreement_id=change.id,
                version=change.version,
                act=opened.act.verb,
                plan_offset=change.plan_offset or 0,
                partitions=change.partitions,
                at_ms=now_ms(),
            )
        ]
        keep = self._w.withdrawals.keep
        self._w.desk.done(opened, also=lambda connection: keep(connection, opened.correlation_id, found if change.partitions else []))

    def _answered(self, row: AgreementRow, *, plan_offset: int, narrows: bool, started: float) -> AgreementChange:
        change = msgspec.structs.replace(self._change(row, str(row.state)), plan_offset=plan_offset)
        if not narrows:
            return change
        w = self._w
        ended = w.withdrawals.answer(dataset=row.terms.dataset, share_topic=change.share_topic, plan_offset=plan_offset)
        seconds = time.monotonic() - started
        metrics.REVOCATION_SECONDS.observe(seconds)
        return msgspec.structs.replace(change, partitions=ended, seconds=round(seconds, 4))

    def _require_draft(self, versions: tuple[AgreementRow, ...], known: AgreementRow | None, parsed: AgreementFile) -> None:
        """Hold that the file may become a draft: not signed with other terms, the next version, for the same parties."""
        terms = parsed.agreement
        if known is not None and known.state is not State.DRAFT:
            check_terms_kept(known, terms, where=parsed)
        if known is not None:
            next_state(known.state, Step.APPLY, agreement_id=terms.id)
        last = versions[-1] if versions else None
        if last is None:
            return
        if last.state is State.ENDED:
            next_state(last.state, Step.APPLY, agreement_id=terms.id)
        if known is None and terms.version <= last.terms.version:
            fix = f"write `version: {last.terms.version + 1}`"
            raise HubError("HUB-AGREE-003", f"agreement `{terms.id}` stands at version {last.terms.version}", fix)
        if last.state is not State.DRAFT or known is None:
            changed = [name for name in _PARTIES if getattr(last.terms, name) != getattr(terms, name)]
            fix = "give a new agreement a new id: parties and dataset stay for all versions"
            parsed.refuse("HUB-AGREE-003", tuple(Problem("", name, "differs from the version before", fix) for name in changed))

    def _require_fit(self, connection: Connection, parsed: AgreementFile) -> None:
        """Hold the terms against the dataset: known, shared, and every field and rule fits each of its writer schemas."""
        w = self._w
        terms = parsed.agreement
        row = w.catalogue.require(connection, terms.dataset)
        _require_shared(terms, sharing=row.entry.sharing)
        parsed.refuse("HUB-AGREE-005", fit_problems(w, connection, terms, row.entry, at_ms=now_ms()))

    def _writers(self, connection: Connection, terms: Agreement) -> tuple[Registered, ...]:
        return self._w.registry.versions(connection, self._w.names.dept_subject(terms.dataset))

    def _require_signable(self, connection: Connection, draft: AgreementRow) -> int:
        """Hold that the draft can be published now; returns the partitions of its dataset."""
        terms = draft.terms
        states = {row.state for row in self._w.shelf.require(connection, terms.id)}
        if State.ENDED in states and not states & {State.ACTIVE, State.SUSPENDED}:
            next_state(State.ENDED, Step.SIGN, agreement_id=terms.id)
        require_none_pending(connection, scope=self._w.desk.scope, agreement_id=terms.id)
        row = self._w.catalogue.require(connection, terms.dataset)
        if not row.published:
            fix = f"`cityhub dataset publish {terms.dataset}`"
            raise HubError("HUB-DATASET-005", f"dataset `{terms.dataset}` is not published", fix)
        others = [other for other in self._w.shelf.live_ids_on(connection, terms.dataset) if other != terms.id]
        if len(others) >= self._w.agreements_per_dataset_max:
            fix = "end agreements that are not needed; `exchange.agreements_per_dataset_max` is the bound, and what it may be"
            raise HubError("HUB-AGREE-007", f"dataset `{terms.dataset}` has {len(others)} live agreements", fix)
        if terms.valid_until_ms <= now_ms():
            fix = "apply a new version with a later `valid_until`"
            raise HubError("HUB-AGREE-005", f"the term of agreement `{terms.id}` ended {shown_time(terms.valid_until_ms)}", fix)
        self._require_fit(connection, draft.file())
        return row.entry.partitions

    def _change(self, row: AgreementRow, outcome: str) -> AgreementChange:
        terms = row.terms
        return AgreementChange(
            id=terms.id,
            version=terms.version,
            outcome=outcome,
            state=row.state,
            since_ms=row.since_ms,
            dataset=terms.dataset,
            share_topic=self._w.names.share(consumer=terms.consumer, agreement=terms.id),
        )


def _require_shared(terms: Agreement, *, sharing: str) -> None:
    if sharing == "not_shared":
        fix = "ask the provider for another sharing attribute; its `sharing_basis` names the law"
        raise HubError("HUB-AGREE-006", f"dataset `{terms.dataset}` is not shared", fix)


def _act(step: Step, terms: Agreement, *, before: str | None, after: str | None) -> Act:
    return Act(
        verb=f"{step}.agreement",
        object_type="agreement",
        object_id=terms.id,
        object_version=terms.version,
        before_hash=before,
        after_hash=after,
    )


def _unnamed(step: Step, agreement_id: str) -> Act:
    """Return the act before its agreement is known; what is no identifier is not written down."""
    return Act(verb=f"{step}.agreement", object_type="agreement", object_id=agreement_id if is_slug(agreement_id) else "(no identifier)")


def _hash(row: AgreementRow, state: State | None = None) -> str:
    return content_hash({"state": str(state or row.state), "terms": msgspec.to_builtins(row.terms)})
