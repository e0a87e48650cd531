"""Acts whose effect lies outside of the control plane, on what counts: a chain of usage read on, a source published anew.

Whoever brings the effect about asks here first: the act is recorded ``intended``, and gets its outcome from the one who asked. Where
that process dies the keeper of hub.plan gives it one, at take-over: a chain shows in the ledger what became of it. A connector's effect
is in its own state folder, on whatever machine: its outcome is waited for, a serve that starts meanwhile hinders nobody; after that it
is ``failed``, unknown whether it took effect. A connector that asks again tells what became of the time before: it had none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row

from hub.agreements.desk import Desk, OpenAct
from hub.agreements.wiring import Wiring
from hub.model.errors import HubError
from hub.model.names import is_slug
from hub.store.acts import Act, Actor, open_acts
from hub.store.engine import reading, writing

ANEW: Final = "anew.connector"
OUTCOMES: Final = ("done", "failed")
TELL_WITHIN: Final = timedelta(minutes=10)
"""How long a connector may take to tell what became of publishing anew, before serve gives that an outcome."""
UNTOLD: Final = "the connector did not tell its outcome: unknown whether it took effect"
ASKED_AGAIN: Final = "interrupted before it took effect: the connector asks again"


class OutsideActs:
    """Records acts for those who bring them about."""

    def __init__(self, wiring: Wiring) -> None:
        """Work with ``wiring``."""
        self._w = wiring

    @contextmanager
    def acting(self, act: Act, *, actor: Actor) -> Iterator[OpenAct]:
        """Record ``act`` as intended, and as done when the block ends; what raises in it has failed."""
        desk = self._w.desk
        with desk.acting(act, actor=actor) as opened:
            with writing(desk.engine) as connection:
                desk.intend(connection, opened)
            yield opened
            desk.done(opened)

    def intend_anew(self, connector: str, *, dataset: str, actor: Actor) -> str:
        """Record that a source is about to publish all its inputs again; returns the act's correlation id."""
        desk = self._w.desk
        if not is_slug(connector):
            raise HubError("HUB-NAME-003", "this is no name of a connector", "write lower-case letters, digits and dashes, at most 40")
        act = Act(verb=ANEW, object_type="connector", object_id=connector)
        with desk.acting(act, actor=actor) as opened:
            with reading(desk.engine) as connection:
                self._w.catalogue.require(connection, dataset)
                before = self._open(connection, connector)
            for row in before:
                finish_once(desk, row, outcome="failed", reason=ASKED_AGAIN)
            with writing(desk.engine) as connection:
                desk.intend(connection, opened)
        return opened.correlation_id

    def settle_anew(self, connector: str, correlation_id: str, *, outcome: str) -> None:
        """Record the outcome of what ``intend_anew`` began; HUB-ACTS-003 where no such act is open."""
        desk = self._w.desk
        if outcome not in OUTCOMES:
            raise HubError("HUB-API-001", "`outcome` is none", f"there are: {', '.join(OUTCOMES)}")
        with reading(desk.engine) as connection:
            found = [row for row in self._open(connection, connector) if row.correlation_id == correlation_id]
        if not found or not finish_once(desk, found[0], outcome=outcome, reason="told by the connector"):
            raise HubError("HUB-ACTS-003", "no act of this connector is open under this id", "`cityhub acts list` shows the newest")

    def _open(self, connection: Connection, connector: str) -> list[Row[Any]]:
        """Return the acts of a connector that wait for their outcome."""
        rows = open_acts(connection, scope=self._w.desk.scope)
        return [row for row in rows if (row.act, row.object_id) == (ANEW, connector)]


def is_waited_for(row: Row[Any]) -> bool:
    """Tell whether a connector may still tell what became of an act."""
    return datetime.fromisoformat(row.at) + TELL_WITHIN > datetime.now(UTC)


def finish_once(desk: Desk, row: Row[Any], *, outcome: str, reason: str) -> bool:
    """Give an act its outcome, unless somebody else has, or is about to; tell whether it was given."""
    with desk.claimed(row.correlation_id) as mine:
        if not mine:
            return False
        with reading(desk.engine) as connection:
            still_open = any(one.correlation_id == row.correlation_id for one in open_acts(connection, scope=desk.scope))
        if still_open:
            desk.finish(row, outcome=outcome, reason=reason)
        return still_open
