"""The desk: where every act begins and ends.

Holds law 8: an act is recorded ``intended`` in the SQL transaction of its change, before it takes effect, and gets its outcome
after; a refusal is an act too, by its code and without a word of the caller's. Holds the write lock under which SQL and hub.plan
change together, and the reasons for which no change may be made now (a serve that stands by, hub.plan ahead of SQL).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, Row

from hub.model.errors import HubError
from hub.observe import metrics
from hub.store.acts import Act, Actor, new_ulid, record_act
from hub.store.engine import reading, writing
from hub.store.turns import Turns

log = structlog.get_logger()
CHECKS_MAX: Final = 3
_Seen = TypeVar("_Seen")
_Found = TypeVar("_Found")
CLOSED_FIX: Final = "wait, or ask the serve that holds the lock; `/readyz?verbose` says why"


def _nothing(_connection: Connection) -> None:
    """Write nothing more."""


class OpenAct:
    """One act on its way from intent to outcome."""

    def __init__(self, act: Act, actor: Actor) -> None:
        """Begin under a correlation id of its own."""
        self.act = act
        self.actor = actor
        self.correlation_id = new_ulid()
        self.intended = False
        self.staged = False
        """True once SQL holds signed entries: from there only repair may say that it failed."""
        self.ended = False
        self.urgent = False
        """True for what withdraws a right: it waits for no other act's turn."""
        self.left_open = False
        """True where the effect is not known: the keeper of hub.plan gives the act its outcome."""


class Desk:
    """Records acts for one scope and serialises what changes SQL and hub.plan together."""

    def __init__(self, *, engine: Engine, scope: str, key: Ed25519PrivateKey | None = None) -> None:
        """Begin closed: ``open`` is called once hub.plan was read and repaired. ``key`` signs every act."""
        self.engine = engine
        self._key = key
        self.scope = scope
        self.write_lock = Turns()
        self._closed: HubError | None = HubError("HUB-SERVE-002", "no change is made before hub.plan was read", CLOSED_FIX)
        self.unfinished = threading.Event()
        """Set when an append has no known outcome: the keeper of hub.plan finishes it."""
        self._claims = threading.Lock()
        self.in_flight: set[str] = set()
        """Correlation ids of acts that a thread of this process is carrying out; changed under ``_claims`` alone."""

    @property
    def closed(self) -> HubError | None:
        """Why no change may be made, None while it may."""
        return self._closed

    def open(self) -> None:
        """Let changes be made."""
        self._closed = None

    def close(self, reason: HubError) -> None:
        """Refuse changes with ``reason``."""
        self._closed = reason

    def require_open(self) -> None:
        """Hold that changes may be made."""
        if self._closed is not None:
            closed = self._closed
            raise HubError(closed.code, closed.message, closed.fix)

    @contextmanager
    def acting(self, act: Act, *, actor: Actor, dry_run: bool = False) -> Iterator[OpenAct]:
        """Run one act: whatever refuses it is recorded, and what fails after it was intended too. A dry run leaves no trace."""
        opened = OpenAct(act, actor)
        with self._claims:
            self.in_flight.add(opened.correlation_id)
        try:
            self.require_open()
            yield opened
        except HubError as error:
            if not dry_run:
                self._note_refusal(opened, error)
            raise
        except Exception:
            opened.left_open = opened.intended and not opened.ended
            raise
        finally:
            with self._claims:
                self.in_flight.discard(opened.correlation_id)
            if opened.left_open:
                self.unfinished.set()

    @contextmanager
    def claimed(self, correlation_id: str) -> Iterator[bool]:
        """Give True where no thread of this process carries this act out, and keep others from it meanwhile."""
        with self._claims:
            mine = correlation_id not in self.in_flight
            if mine:
                self.in_flight.add(correlation_id)
        try:
            yield mine
        finally:
            if mine:
                with self._claims:
                    self.in_flight.discard(correlation_id)

    @contextmanager
    def changing(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the write lock, with ``urgent`` before the others that wait; refuses when changes may not be made."""
        with self.write_lock.held(urgent=urgent):
            self.require_open()
            yield

    @contextmanager
    def settled(self, look: Callable[[Connection], _Seen], check: Callable[[Connection, _Seen], _Found]) -> Iterator[_Found]:
        """Hold the write lock with what ``check`` found; it ran outside any lock, and what ``look`` sees is the same still.

        What takes long (compatibility, compiling, signatures) belongs into ``check``. Where something was changed meanwhile it
        runs again; HUB-SERVE-004 when that happened ``CHECKS_MAX`` times.
        """
        for _ in range(CHECKS_MAX):
            with reading(self.engine) as connection:
                seen = look(connection)
                found = check(connection, seen)
            with self.changing():
                with reading(self.engine) as connection:
                    same = look(connection) == seen
                if same:
                    yield found
                    return
        raise HubError("HUB-SERVE-004", f"what this change rests on was changed {CHECKS_MAX} times while it was checked", "ask again")

    def intend(self, connection: Connection, opened: OpenAct) -> None:
        """Record that the act is about to take effect, in the SQL transaction of the change."""
        self._record(connection, opened, "intended")
        opened.intended = True

    def done(self, opened: OpenAct, *, also: Callable[[Connection], None] = _nothing) -> None:
        """Record that the act has taken effect, and what ``also`` writes, in one transaction."""
        with writing(self.engine, urgent=opened.urgent) as connection:
            also(connection)
            self._record(connection, opened, "done")
        opened.ended = True

    def finish(self, intended: Row[Any], *, outcome: str, reason: str, also: Callable[[Connection], None] = _nothing) -> None:
        """Record the outcome of an act that another process, or a call that failed, left open; ``also`` as in ``done``."""
        row = intended._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row by name
        act = Act(
            verb=row["act"],
            object_type=row["object_type"],
            object_id=row["object_id"],
            object_version=row["object_version"],
            before_hash=row["before_hash"],
            after_hash=row["after_hash"],
        )
        actor = Actor(person_id=row["actor_person_id"], org_id=row["actor_org_id"], role=row["role"], auth_method=row["auth_method"])
        opened = OpenAct(act, actor)
        opened.correlation_id = row["correlation_id"]
        with writing(self.engine) as connection:
            also(connection)
            self._record(connection, opened, outcome, reason=reason)

    def done_within(self, connection: Connection, opened: OpenAct, *, reason: str | None = None) -> None:
        """Record intent and effect of an act whose effect is this very SQL transaction."""
        if not opened.intended:
            self._record(connection, opened, "intended", reason=reason)
        self._record(connection, opened, "done", reason=reason)
        opened.intended = opened.ended = True

    def _note_refusal(self, opened: OpenAct, error: HubError) -> None:
        if opened.staged and not opened.ended:
            opened.left_open = True
            return
        if error.code == "HUB-SERVE-002" or opened.ended:
            return
        try:
            with writing(self.engine, urgent=opened.urgent) as connection:
                self._record(connection, opened, "failed" if opened.intended else "refused", reason=error.written)
        except HubError as silent:
            log.warning("act_not_noted", act=opened.act.verb, code=silent.code)
            opened.left_open = opened.intended

    def _record(self, connection: Connection, opened: OpenAct, outcome: str, *, reason: str | None = None) -> None:
        record_act(
            connection,
            opened.act,
            actor=opened.actor,
            scope=self.scope,
            outcome=outcome,
            correlation_id=opened.correlation_id,
            reason=reason,
            key=self._key,
        )
        metrics.ACTS.labels(act=opened.act.verb, outcome=outcome).inc()
        log.info("act", act=opened.act.verb, kind=opened.act.object_type, object_id=opened.act.object_id, state=outcome, reason=reason)


def now_ms() -> int:
    """Return the time of this machine, UTC milliseconds."""
    return time.time_ns() // 1_000_000
