"""The watch of hub.plan outlives what happens to the topic and the broker at once."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hub.agreements.desk import Desk
from hub.agreements.publisher import Staged
from hub.agreements.repair import PlanKeeper, Read
from hub.broker.plan_log import LogEntry, Truncated
from hub.model.errors import HubError
from hub.store.engine import open_engine


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
        desk=desk,
        publisher=nothing,
        registry=nothing,
        plan_log=plan_log,
        trust={},
        fence=nothing,
        withdrawals=nothing,
        effects=nothing,
    ).watch(stop)
    assert plan_log.reads == 2
    assert desk.unfinished.is_set()


def test_an_entry_that_was_never_appended_is_left_to_the_repair_of_its_whole_change(tmp_path: Path) -> None:
    """A dataset ahead of its agreements lets records in that no agreement knows: the watch appends nothing by itself."""
    appended: list[Staged] = []
    dataset = Staged("dataset", "transport/flights", 2, b"newest", None, "", "c")
    publisher: Any = SimpleNamespace(newest_by_key=lambda _connection, _keys: {dataset.key: dataset}, append_again=appended.extend)
    desk = Desk(engine=open_engine(f"sqlite:///{tmp_path}/hub.db"), scope="330100")
    nothing: Any = None
    keeper = PlanKeeper(
        desk=desk,
        publisher=publisher,
        registry=nothing,
        plan_log=nothing,
        trust={},
        fence=nothing,
        withdrawals=nothing,
        effects=nothing,
    )
    keeper._judge([Read(LogEntry(7, dataset.key, b"an older one"), None, "HUB-PLAN-002")])
    assert (appended, desk.unfinished.is_set()) == ([], True)
