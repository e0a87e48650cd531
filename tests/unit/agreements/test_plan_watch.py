"""The watch of hub.plan outlives what happens to the topic and the broker at once."""

import threading
from types import SimpleNamespace
from typing import Any

from hub.agreements.repair import PlanKeeper
from hub.broker.plan_log import LogEntry, Truncated
from hub.model.errors import HubError


class EmptiedAway:
    """A log that was re-created, on a broker that does not answer."""

    def __init__(self, stop: threading.Event) -> None:
        """Set ``stop`` at the second attempt to read."""
        self.reads = 0
        self._stop = stop

    def poll(self, *, timeout_ms: int) -> list[LogEntry]:
        """Say that the position is gone."""
        assert timeout_ms > 0
        raise Truncated

    def hold(self) -> None:
        """Find the log as it was read."""

    def read_all(self) -> list[LogEntry]:
        """Say that no broker answers."""
        self.reads += 1
        if self.reads > 1:
            self._stop.set()
        raise HubError("HUB-BROKER-001", "no broker answers", "wait")


def test_a_repair_that_fails_behind_an_emptied_topic_is_tried_again() -> None:
    """Else serve ends in the middle of an outage, and with it the one who fills hub.plan again."""
    stop = threading.Event()
    plan_log: Any = EmptiedAway(stop)
    desk: Any = SimpleNamespace(unfinished=threading.Event(), write_lock=threading.RLock())
    nothing: Any = None
    PlanKeeper(
        desk=desk, publisher=nothing, registry=nothing, plan_log=plan_log, trust={}, fence=nothing, withdrawals=nothing, adopted=nothing
    ).watch(stop)
    assert plan_log.reads == 2
    assert desk.unfinished.is_set()
