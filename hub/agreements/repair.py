"""The keeper of hub.plan: what the log says about an object is what SQL says, or it is appended again.

Compaction keeps the last record of a key, not the one with the highest revision: an old entry that somebody appends again would
hide the newest from every worker that starts later. So at start, and for every record that is read afterwards, the last entry of
each object is compared with SQL's newest revision; where it differs the newest is appended again, the lanes of its dataset are
fenced, and an alarm is raised. Acts that were left open are finished. Where the log is *ahead* of SQL (a restored backup, another
hub with our key) no change is made until that is mended: HUB-SERVE-003.
"""

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import SQLAlchemyError

from hub.agreements import outside_acts
from hub.agreements.desk import Desk
from hub.agreements.officer import require_officer
from hub.agreements.outside_acts import UNTOLD, finish_once, is_waited_for
from hub.agreements.publisher import Publisher, Staged, batches_of, in_order
from hub.agreements.withdrawals import Withdrawals
from hub.broker.plan_log import LogEntry, PlanLog, Truncated
from hub.catalogue.registry import Registry
from hub.model.entry import AgreementBody, DatasetBody, Kind, decode_body, plan_key
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.model.records import PlanEntry, decode_plan_entry
from hub.model.signing import verify_entry
from hub.observe import metrics
from hub.store.acts import open_acts
from hub.store.engine import reading

log = structlog.get_logger()
LANE: Final = "lane"
CHAIN: Final = "chain"
CONNECTOR: Final = "connector"
OURS: Final = ("agreement", "dataset", "schema", "keys", LANE, CHAIN, CONNECTOR)
_PAUSE_S: Final = 1.0
HOLD_EVERY_S: Final = 2.0
"""How often hub.plan is held to be the log that was read: deleting every record of it is seen by no reader at its end."""


class Effects(NamedTuple):
    """How to see what became of an act whose process ended in it."""

    adopted: Callable[[TopicPartition, int], bool]
    """Whether an adoption of a lane at an offset has taken effect; after the answer it cannot any more."""
    chain_held: Callable[[str], str | None]
    """Why a chain of usage waits, in words; None where it goes on."""


class Read(NamedTuple):
    """One record of hub.plan, and what is wrong with it: a code, or None where a trusted key signed it for this scope."""

    at: LogEntry
    entry: PlanEntry | None
    code: str | None


class PlanKeeper:
    """Compares hub.plan with SQL and mends hub.plan."""

    def __init__(
        self,
        *,
        desk: Desk,
        publisher: Publisher,
        registry: Registry,
        plan_log: PlanLog,
        trust: Mapping[str, Ed25519PublicKey],
        fence: Callable[[Collection[str]], None],
        withdrawals: Withdrawals,
        effects: Effects,
    ) -> None:
        """Read ``plan_log``; ``fence`` fences every lane of the datasets named, ``effects`` look at what open acts came to."""
        self._desk = desk
        self._publisher = publisher
        self._registry = registry
        self._log = plan_log
        self._trust = trust
        self._fence = fence
        self._withdrawals = withdrawals
        self.trouble: HubError | None = None
        """Why the last repair failed, None where it did not: what was done last may not be in effect."""
        self._effects = effects
        self._owed: set[str] = set()
        """Datasets whose lanes must still be fenced: kept until a fence has answered."""

    def require_officer(self, *, told: str | None = None) -> bool:
        """Hold that this serve's key is one that hub.plan knows, see ``officer.require_officer``."""
        with reading(self._desk.engine) as connection:
            stored = [entry.value for entry in self._publisher.newest(connection).values()]
        values = itertools.chain(stored, (at.value for at in self._log.read_all()))
        return require_officer(values, own=self._publisher.key_id, trust=self._trust, scope=self._desk.scope, told=told)

    def repair(self) -> None:
        """Read all of hub.plan, append again what it lacks, finish open acts, and open the desk; or close it: HUB-SERVE-003."""
        self._desk.unfinished.clear()
        with self._desk.write_lock:
            reads = [self._read(at) for at in self._log.read_all()]
            newest = self._newest()
            ahead = self._ahead(reads, newest)
            if ahead:
                self._close(ahead)
                return
            last = {read.at.key: read.at for read in reads}
            lacking = (entry for key, entry in newest.items() if key not in last or last[key].value != entry.value)
            stale = [entry for entry in lacking if not self._is_under_way(entry)]
            self._alarms(reads, newest)
            self._note_offsets(newest, last)
            self._append_again(stale)
        self._finish_acts()
        self._desk.open()
        log.info("plan_read", records=len(reads), count=len(stale))

    def adopt(self, take: Callable[[list[tuple[LogEntry, PlanEntry]]], None]) -> int:
        """Give what SQL lacks to ``take``, which puts it there: entries newer than its own, and earlier ones of agreements.

        Returns how many objects they are about.
        """
        with self._desk.write_lock:
            reads = [self._read(at) for at in self._log.read_all()]
            ahead = self._ahead(reads, self._newest())
            with reading(self._desk.engine) as connection:
                known = self._publisher.revisions(connection, Kind.AGREEMENT)
            newer = {read.at.offset for read in ahead}
            earlier = [read for read in reads if read.code is None and read.at.offset not in newer and _is_unknown(read, known)]
            lacking = [(read.at, read.entry) for read in (*earlier, *ahead) if read.entry is not None]
            take(lacking)
            return len({at.key for at, _ in lacking})

    def watch(self, stop: threading.Event) -> None:
        """Follow hub.plan until ``stop`` is set; every trouble is logged and met with another repair."""
        held_at = told_at = time.monotonic()
        while not stop.is_set():
            try:
                if self._desk.unfinished.is_set():
                    self.repair()
                self.trouble = None
                if time.monotonic() - held_at > HOLD_EVERY_S:
                    held_at = time.monotonic()
                    self._log.hold()
                if time.monotonic() - told_at > outside_acts.TELL_WITHIN.total_seconds():
                    told_at = time.monotonic()
                    self._finish_untold()
                reads = [self._read(at) for at in self._log.poll(timeout_ms=500)]
                if reads:
                    self._judge(reads)
            except Truncated:
                self._alarm("HUB-PLAN-001", None, "hub.plan was emptied or re-created")
                self._desk.unfinished.set()
            except HubError as error:
                log.warning("plan_watch", code=error.code, message=error.message)
                self.trouble = error
                self._desk.unfinished.set()
                stop.wait(_PAUSE_S)
            except SQLAlchemyError as error:
                log.warning("plan_watch", code="HUB-STORE-001", error=type(error).__name__)
                self._desk.unfinished.set()
                stop.wait(_PAUSE_S)

    def _judge(self, reads: Sequence[Read]) -> None:
        """Compare new records with SQL's newest; the write lock keeps our own appends out of the picture.

        An entry that was never appended is part of a change of which more may be missing: ``repair`` appends all of it in order.
        """
        with self._desk.write_lock:
            with reading(self._desk.engine) as connection:
                newest = self._publisher.newest_by_key(connection, {read.at.key for read in reads if read.at.key is not None})
            ahead = self._ahead(reads, newest)
            if ahead:
                self._close(ahead)
                return
            self._alarms(reads, newest)
            stale = {read.at.key: newest[read.at.key] for read in reads if read.at.key is not None and _hides(read, newest)}
            due = [entry for entry in stale.values() if not self._is_under_way(entry)]
            if any(entry.offset is None for entry in due):
                self._desk.unfinished.set()
                return
            self._append_again(due)
        self._pay()

    def _newest(self) -> dict[bytes, Staged]:
        with reading(self._desk.engine) as connection:
            return self._publisher.newest(connection)

    def _read(self, at: LogEntry) -> Read:
        try:
            entry = decode_plan_entry(at.value or b"")
        except Exception:  # noqa: BLE001 - whatever a stranger wrote, the decoder's refusal is one answer
            return Read(at, None, "HUB-PLAN-002")
        if entry.scope != self._desk.scope or entry.kind not in tuple(Kind) or at.key != plan_key(Kind(entry.kind), entry.object_id):
            return Read(at, entry, "HUB-PLAN-002")
        try:
            verify_entry(entry, self._trust)
        except HubError as error:
            return Read(at, entry, error.code)
        if entry.kind == Kind.SCHEMA and entry.object_id.isdigit():
            self._registry.raise_floor(int(entry.object_id))
        return Read(at, entry, None)

    def _ahead(self, reads: Iterable[Read], newest: Mapping[bytes, Staged]) -> list[Read]:
        return [read for read in reads if read.code is None and _is_ahead(read, newest.get(read.at.key or b""))]

    def _close(self, ahead: Sequence[Read]) -> None:
        for read in ahead:
            self._alarm("HUB-SERVE-003", read, "newer than SQL")
        keys = {read.at.key for read in ahead}
        fix = "restore the newest backup of the database, or `cityhub serve --adopt-plan` to take the state from hub.plan"
        self._desk.close(HubError("HUB-SERVE-003", f"hub.plan holds newer entries about {len(keys)} objects than the database", fix))

    def _alarms(self, reads: Iterable[Read], newest: Mapping[bytes, Staged]) -> None:
        for read in reads:
            if read.code is not None:
                self._alarm(read.code, read, "refused")
            elif _hides(read, newest) and newest[read.at.key or b""].offset is not None:
                self._alarm("HUB-PLAN-001", read, "an older revision was appended again")

    def _alarm(self, code: str, read: Read | None, reason: str) -> None:
        metrics.PLAN_ALARMS.labels(code=code).inc()
        entry = read.entry if read is not None else None
        log.error(
            "plan_alarm",
            code=code,
            reason=reason,
            offset=read.at.offset if read is not None else None,
            kind=entry.kind if entry is not None else None,
            object_id=entry.object_id if entry is not None else None,
            revision=entry.revision if entry is not None else None,
        )

    def _note_offsets(self, newest: Mapping[bytes, Staged], last: Mapping[bytes | None, LogEntry]) -> None:
        moved = {
            key: last[key].offset
            for key, entry in newest.items()
            if key in last and last[key].value == entry.value and last[key].offset != entry.offset
        }
        if moved:
            self._publisher.note_offsets({newest[key]: offset for key, offset in moved.items()})

    def _append_again(self, stale: Sequence[Staged]) -> None:
        """Append entries anew; the lanes of their datasets may have been decided under something else, and owe a fence."""
        self._owed |= {dataset for entry in stale for dataset in (_dataset_of(entry),) if dataset is not None}
        for group in batches_of(in_order(stale)):
            self._publisher.append_again(group)
            metrics.PLAN_REPAIRS.inc(len(group))

    def _is_under_way(self, entry: Staged) -> bool:
        """Tell whether a thread of this process is about to append it: in its own order, which is not to be disturbed."""
        return entry.offset is None and entry.correlation_id in self._desk.in_flight

    def _pay(self) -> None:
        if self._owed:
            self._fence(self._owed)
            self._owed = set()

    def _finish_acts(self) -> None:
        """Fence what owes a fence, then give each open act its outcome; one that withdraws a right with where the right ended."""
        with reading(self._desk.engine) as connection:
            left = [
                (row, self._publisher.of_act(connection, row.correlation_id))
                for row in open_acts(connection, scope=self._desk.scope)
                if row.object_type in OURS and row.correlation_id not in self._desk.in_flight
            ]
        self._pay()
        for row, staged in left:
            if any(entry.narrows is not None for entry in staged):
                self._withdrawals.settle(row.correlation_id, reason="finished by repair")
                continue
            if row.object_type in {CHAIN, CONNECTOR}:
                self._finish_outside(row)
                continue
            took_effect = any(entry.kind != Kind.SCHEMA for entry in staged)
            if row.object_type == LANE:
                took_effect = row.object_version is not None and self._effects.adopted(
                    TopicPartition.parse(row.object_id), row.object_version
                )
            outcome, reason = ("done", "finished by repair") if took_effect else ("failed", "interrupted before it took effect")
            self._desk.finish(row, outcome=outcome, reason=reason)

    def _finish_untold(self) -> None:
        """Give the acts of connectors that were waited for long enough their outcome: a connector that was killed tells nothing."""
        with reading(self._desk.engine) as connection:
            left = [row for row in open_acts(connection, scope=self._desk.scope) if row.object_type == CONNECTOR]
        for row in left:
            self._finish_outside(row)

    def _finish_outside(self, row: Any) -> None:
        """Give an act on what counts its outcome: a chain shows it; a connector tells it, and is waited for so long."""
        if row.object_type == CONNECTOR and is_waited_for(row):
            return
        outcome, reason = "failed", UNTOLD
        if row.object_type == CHAIN:
            held = self._effects.chain_held(row.object_id)
            outcome, reason = ("done", "finished by repair: the chain goes on") if held is None else ("failed", f"interrupted: {held}")
        finish_once(self._desk, row, outcome=outcome, reason=reason)


def _hides(read: Read, newest: Mapping[bytes, Staged]) -> bool:
    """Tell whether a record stands behind SQL's newest entry of its key and says something else."""
    mine = newest.get(read.at.key or b"")
    return mine is not None and read.at.value != mine.value and (mine.offset is None or read.at.offset > mine.offset)


def _is_ahead(read: Read, mine: Staged | None) -> bool:
    if read.entry is None:
        return False
    return mine is None or read.entry.revision > mine.revision or (read.entry.revision == mine.revision and read.at.value != mine.value)


def _is_unknown(read: Read, known: Collection[tuple[str, int]]) -> bool:
    entry = read.entry
    return entry is not None and entry.kind == Kind.AGREEMENT and (entry.object_id, entry.revision) not in known


def _dataset_of(entry: Staged) -> str | None:
    body: Any = decode_body(Kind(entry.kind), decode_plan_entry(entry.value).body)
    if isinstance(body, AgreementBody):
        return body.terms.dataset
    return body.dataset if isinstance(body, DatasetBody) else None
