"""Acts whose effect lies outside of the control plane, on what counts: a chain of usage read on, a source published anew.

Whoever brings the effect about asks here first: the act is recorded ``intended``, and gets its outcome from the one who asked. One that
stays without an outcome is seen as such in ``cityhub acts list --outcome intended``: nobody else can know what became of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hub.agreements.desk import OpenAct
from hub.agreements.wiring import Wiring
from hub.model.errors import HubError
from hub.model.names import is_slug
from hub.store.acts import Act, Actor, open_acts
from hub.store.engine import reading, writing

ANEW: Final = "anew.connector"
OUTCOMES: Final = ("done", "failed")


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
        with desk.acting(act, actor=actor) as opened, writing(desk.engine) as connection:
            self._w.catalogue.require(connection, dataset)
            desk.intend(connection, opened)
        return opened.correlation_id

    def settle_anew(self, connector: str, correlation_id: str, *, outcome: str) -> None:
        """Record the outcome of what ``intend_anew`` began; HUB-ACTS-003 where no such act is open."""
        desk = self._w.desk
        if outcome not in OUTCOMES:
            raise HubError("HUB-API-001", "`outcome` is none", f"there are: {', '.join(OUTCOMES)}")
        with reading(desk.engine) as connection:
            found = [
                row
                for row in open_acts(connection, scope=desk.scope)
                if (row.correlation_id, row.act, row.object_id) == (correlation_id, ANEW, connector)
            ]
        if not found:
            raise HubError("HUB-ACTS-003", "no act of this connector is open under this id", "`cityhub acts list` shows the newest")
        desk.finish(found[0], outcome=outcome, reason="told by the connector")
