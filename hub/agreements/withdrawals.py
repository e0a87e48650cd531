"""Withdrawals on their way: shown as such until the append and every fence are acknowledged, and kept with where the right ended.

SQL holds the new state before it is in effect, so that a crash cannot lose it. What is shown is what is true: an agreement whose
withdrawal has no outcome yet is *suspending*, *ending* or *replacing*. Whoever asks again waits for the call that carries it out, or
carries it out, and answers with the same offsets. They are kept in the transaction that records the act as done, by whoever finishes it.
"""

import itertools
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.agreements.desk import Desk, now_ms
from hub.agreements.fences import PartitionAnswer, Revocations
from hub.agreements.publisher import Publisher, Staged
from hub.agreements.shelf import AgreementRow, agreement_view
from hub.agreements.tables import withdrawals
from hub.catalogue.datasets import Catalogue
from hub.model.entry import AgreementBody, Kind
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.names import Names
from hub.model.times import shown_time
from hub.store.acts import open_acts
from hub.store.engine import reading
from hub.store.tables import acts, plan_entries

WAIT_S: Final = 20.0
"""How long a call waits for another one that carries the same withdrawal out."""
_LOOK_EVERY_S: Final = 0.02
_SHOWN: Final = {"suspend.agreement": "suspending", "end.agreement": "ending", "sign.agreement": "replacing"}
SIGN: Final = "sign.agreement"
_OF_ENTRY: Final = sa.and_(
    plan_entries.c.scope == withdrawals.c.scope,
    plan_entries.c.kind == str(Kind.AGREEMENT),
    plan_entries.c.object_id == withdrawals.c.agreement_id,
    plan_entries.c.correlation_id == withdrawals.c.correlation_id,
)
"""Ties a withdrawal to the entry by which it was told: revisions of one agreement are in the order of its acts."""


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """Where a right ended."""

    agreement_id: str
    version: int
    """Of the agreement that the act was about: with ``sign.agreement`` the one that took the place of another."""
    act: str
    plan_offset: int
    partitions: tuple[PartitionAnswer, ...]
    at_ms: int


class Pending(msgspec.Struct, frozen=True):
    """A withdrawal that has no outcome yet."""

    agreement_id: str
    version: int
    act: str
    correlation_id: str


class Withdrawals:
    """Carries withdrawals out and keeps their answers, for one scope."""

    def __init__(self, *, desk: Desk, publisher: Publisher, revocations: Revocations, catalogue: Catalogue, names: Names) -> None:
        """Work with the parts of the control plane."""
        self._desk = desk
        self._publisher = publisher
        self._revocations = revocations
        self._catalogue = catalogue
        self._names = names

    def answer(self, *, dataset: str, share_topic: str, plan_offset: int) -> tuple[PartitionAnswer, ...]:
        """Fence every lane of ``dataset`` and return where the right ended; ``plan_offset`` is that of its entry in hub.plan."""
        with reading(self._desk.engine) as connection:
            partitions = self._catalogue.require(connection, dataset).entry.partitions
        topic = self._names.dept(dataset)
        return self._revocations.answer(topic=topic, partitions=partitions, share_topic=share_topic, plan_offset=plan_offset)

    def find(self, agreement_id: str, *, act: str, version: int) -> Withdrawal | Pending | None:
        """Return the newest withdrawal of one version by one kind of act, None where there is none."""
        with reading(self._desk.engine) as connection:
            pending = [found for found in pending_of(connection, scope=self._desk.scope, agreement_id=agreement_id) if found.act == act]
            if pending:
                return pending[-1]
            kept = kept_of(connection, scope=self._desk.scope, agreement_id=agreement_id)
        return next((found for found in reversed(kept) if (found.act, found.version) == (act, version)), None)

    def join(self, pending: Pending) -> Withdrawal:
        """Return the answer of a withdrawal that is under way, carrying it out where nobody does; HUB-BROKER-010 after ``WAIT_S``."""
        self._desk.require_open()
        deadline = time.monotonic() + WAIT_S
        of_act = (withdrawals.c.scope == self._desk.scope, withdrawals.c.correlation_id == pending.correlation_id)
        while True:
            with reading(self._desk.engine) as connection:
                kept = _kept(connection, *of_act)
            if kept:
                return kept[0]
            if self.settle(pending.correlation_id):
                continue
            with reading(self._desk.engine) as connection:
                under_way = pending_of(connection, scope=self._desk.scope, agreement_id=pending.agreement_id)
                kept = _kept(connection, *of_act)
            if not kept and pending not in under_way:
                raise HubError("HUB-SERVE-004", f"the withdrawal of agreement `{pending.agreement_id}` was overtaken", "ask again")
            if time.monotonic() > deadline:
                fix = "ask again in a moment: it goes on by itself, and `cityhub agreement show` tells when it is in effect"
                raise HubError("HUB-BROKER-010", f"the withdrawal of agreement `{pending.agreement_id}` is not acknowledged yet", fix)
            time.sleep(_LOOK_EVERY_S)

    def join_all(self, agreement_id: str) -> None:
        """Wait until no withdrawal of an agreement is under way: what gives a right back comes after what took it."""
        with reading(self._desk.engine) as connection:
            pending = pending_of(connection, scope=self._desk.scope, agreement_id=agreement_id)
        for one in pending:
            self.join(one)

    def settle(self, correlation_id: str, *, reason: str = "asked for again") -> bool:
        """Append, fence, keep the answers and record the act as done; False where another thread does, or where it has an outcome.

        Where a newer entry gave the same right back, no answer would be true: none is kept, and what was never appended has failed.
        """
        with self._desk.claimed(correlation_id) as mine:
            if not mine:
                return False
            with reading(self._desk.engine) as connection:
                intended = next(
                    (row for row in open_acts(connection, scope=self._desk.scope) if row.correlation_id == correlation_id), None
                )
            if intended is None:
                return False
            self._append(correlation_id)
            with reading(self._desk.engine) as connection:
                overtaken = [entry for entry in self._narrowing(connection, correlation_id) if self._is_given_back(connection, entry)]
            if overtaken:
                outcome = "failed" if any(entry.offset is None for entry in overtaken) else "done"
                self._desk.finish(intended, outcome=outcome, reason="overtaken by a newer entry")
                return True
            found = self._ended(correlation_id, intended)
            self._desk.finish(intended, outcome="done", reason=reason, also=lambda connection: self.keep(connection, correlation_id, found))
            return True

    def keep(self, connection: Connection, correlation_id: str, found: Iterable[Withdrawal]) -> None:
        """Keep where rights ended, in the transaction that records the act as done."""
        for one in found:
            row = {name: getattr(one, name) for name in ("agreement_id", "version", "act", "plan_offset", "at_ms")}
            answer = msgspec.json.encode(one.partitions).decode()
            connection.execute(withdrawals.insert().values(scope=self._desk.scope, correlation_id=correlation_id, answer=answer, **row))

    def _append(self, correlation_id: str) -> None:
        """Append what the act staged and hub.plan does not hold, unless something newer about the same object came after it."""
        with self._desk.write_lock.held(urgent=True):
            with reading(self._desk.engine) as connection:
                staged = self._publisher.of_act(connection, correlation_id)
                newest = [self._publisher.newest_of(connection, Kind(entry.kind), entry.object_id) for entry in staged]
            missing = [entry for entry, last in zip(staged, newest, strict=True) if entry.offset is None and entry == last]
            if missing:
                self._publisher.append(missing, urgent=True)

    def _ended(self, correlation_id: str, intended: Any) -> list[Withdrawal]:
        with reading(self._desk.engine) as connection:
            narrowing = self._narrowing(connection, correlation_id)
            offsets = [self._offset(connection, entry) for entry in narrowing]
            bodies = [self._publisher.agreement_of(entry) for entry in narrowing]
        return [
            Withdrawal(
                agreement_id=body.terms.id,
                version=intended.object_version or body.terms.version,
                act=intended.act,
                plan_offset=offset,
                partitions=self.answer(dataset=body.terms.dataset, share_topic=body.share_topic, plan_offset=offset),
                at_ms=now_ms(),
            )
            for body, offset in zip(bodies, offsets, strict=True)
        ]

    def _narrowing(self, connection: Connection, correlation_id: str) -> list[Staged]:
        return [entry for entry in self._publisher.of_act(connection, correlation_id) if entry.narrows is not None]

    def _is_given_back(self, connection: Connection, entry: Staged) -> bool:
        """Tell whether the newest entry of an agreement has the version in force from which this one took the right."""
        mine = self._publisher.agreement_of(entry)
        last = self._publisher.body_of(connection, Kind.AGREEMENT, entry.object_id)
        if not isinstance(last, AgreementBody) or last.terms.version != mine.terms.version:
            return False
        return mine.state is not State.ACTIVE and last.state is State.ACTIVE

    def _offset(self, connection: Connection, entry: Staged) -> int:
        """Return where the entry stands in hub.plan, or the newer one of its object that was appended in its place."""
        newest = self._publisher.newest_of(connection, Kind(entry.kind), entry.object_id)
        offset = entry.offset if entry.offset is not None else newest.offset if newest is not None else None
        if offset is None:
            raise HubError("HUB-BROKER-010", f"`{entry.kind}/{entry.object_id}` is not in hub.plan yet", "ask again in a moment")
        return offset


def pending_of(connection: Connection, *, scope: str, agreement_id: str | None = None) -> list[Pending]:
    """Return the withdrawals that have no outcome yet, oldest first; of one agreement where it is named."""
    later = acts.alias()
    ended = sa.exists().where(later.c.correlation_id == acts.c.correlation_id, later.c.outcome != "intended")
    wanted = (
        sa.select(plan_entries.c.object_id, acts.c.object_version, acts.c.act, acts.c.correlation_id)
        .join(acts, acts.c.correlation_id == plan_entries.c.correlation_id)
        .where(plan_entries.c.scope == scope, plan_entries.c.kind == str(Kind.AGREEMENT), plan_entries.c.narrows.is_not(None))
        .where(acts.c.outcome == "intended", ~ended)
        .order_by(acts.c.seq)
    )
    if agreement_id is not None:
        wanted = wanted.where(plan_entries.c.object_id == agreement_id)
    return [Pending(*row) for row in connection.execute(wanted)]


def require_none_pending(connection: Connection, *, scope: str, agreement_id: str) -> None:
    """Hold that no withdrawal of an agreement is under way; HUB-SERVE-004 where one is."""
    if pending_of(connection, scope=scope, agreement_id=agreement_id):
        fix = "ask again in a moment: it goes on by itself, and `cityhub agreement show` tells when it is in effect"
        raise HubError("HUB-SERVE-004", f"a withdrawal of agreement `{agreement_id}` is not in effect yet", fix)


def kept_of(connection: Connection, *, scope: str, agreement_id: str | None = None) -> list[Withdrawal]:
    """Return where rights ended, oldest first; of one agreement where it is named."""
    conditions = [withdrawals.c.scope == scope]
    if agreement_id is not None:
        conditions.append(withdrawals.c.agreement_id == agreement_id)
    return _kept(connection, *conditions)


def newest_of(connection: Connection, *, scope: str) -> list[Withdrawal]:
    """Return where rights ended last: of each version of an agreement the newest withdrawal by each kind of act."""
    by = (withdrawals.c.agreement_id, withdrawals.c.version, withdrawals.c.act)
    last = (
        sa.select(*by, sa.func.max(plan_entries.c.revision).label("revision"))
        .join(plan_entries, _OF_ENTRY)
        .where(withdrawals.c.scope == scope)
        .group_by(*by)
        .subquery()
    )
    same = sa.exists().where(
        *(last.c[column.name] == column for column in by),
        last.c.revision == plan_entries.c.revision,
    )
    return _kept(connection, withdrawals.c.scope == scope, same)


def agreement_views(
    connection: Connection, rows: Iterable[AgreementRow], *, scope: str, agreement_id: str | None = None
) -> list[dict[str, Any]]:
    """Return versions of agreements, sorted by id and version, as they are shown: the state in effect, and where rights ended.

    Of one agreement, where it is named, every withdrawal; in a list of all the newest of each version.
    """
    found = list(rows)
    before = {_place(newer): _place(older) for older, newer in itertools.pairwise(found) if older.terms.id == newer.terms.id}
    under_way: dict[tuple[str, int], str] = {}
    for one in pending_of(connection, scope=scope, agreement_id=agreement_id):
        place = (one.agreement_id, one.version)
        under_way[place] = _SHOWN.get(one.act, "ending")
        if one.act == SIGN and place in before:
            under_way[before[place]] = "ending"
    ended: dict[tuple[str, int], list[dict[str, Any]]] = {}
    whole = agreement_id is not None
    for kept in kept_of(connection, scope=scope, agreement_id=agreement_id) if whole else newest_of(connection, scope=scope):
        place = (kept.agreement_id, kept.version)
        of_version = ended.setdefault(before.get(place, place) if kept.act == SIGN else place, [])
        of_version[:] = [*(of_version if whole else ()), _shown(kept)]
    return [
        {**agreement_view(row), "state": under_way.get(_place(row), str(row.state)), "withdrawals": ended.get(_place(row), [])}
        for row in found
    ]


def _place(row: AgreementRow) -> tuple[str, int]:
    return row.terms.id, row.terms.version


def _shown(found: Withdrawal) -> dict[str, Any]:
    partitions = msgspec.to_builtins(found.partitions)
    return {"act": found.act, "at": shown_time(found.at_ms), "plan_offset": found.plan_offset, "partitions": partitions}


def _kept(connection: Connection, *conditions: Any) -> list[Withdrawal]:
    """Return withdrawals in the order of what they said of each agreement: that of the clock is another where it was set back."""
    wanted = sa.select(withdrawals).join(plan_entries, _OF_ENTRY).where(*conditions)
    rows = connection.execute(wanted.order_by(withdrawals.c.agreement_id, plan_entries.c.revision))
    return [
        Withdrawal(
            agreement_id=row.agreement_id,
            version=row.version,
            act=row.act,
            plan_offset=row.plan_offset,
            partitions=msgspec.json.decode(row.answer, type=tuple[PartitionAnswer, ...]),
            at_ms=row.at_ms,
        )
        for row in rows
    ]
