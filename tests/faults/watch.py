"""The watch: committed offsets against the ends of the logs, sampled while things die; it knows how long a lane stood still."""

import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from hub.broker.admin import Admin
from hub.model.errors import HubError
from hub.model.names import TopicPartition

SAMPLE_EVERY_S: Final = 0.25


class Stall(NamedTuple):
    """A time in which a lane had records before it and did not move."""

    lane: TopicPartition
    began_at: float
    seconds: float


class Watch:
    """Samples in a thread of its own. A context manager."""

    def __init__(self, *, bootstrap: str, group: str, lanes: Sequence[TopicPartition]) -> None:
        """Nothing is sampled yet."""
        self._bootstrap, self._group, self._lanes = bootstrap, group, list(lanes)
        self.began = time.monotonic()
        """Since then seconds are told."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._since: dict[TopicPartition, float] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}
        self.sampled_at = 0.0
        self.stalls: list[Stall] = []
        self.lag_min: int | None = None
        """No lane had fewer offsets before it, at any moment since this was set to None; a lane that has some is not idle."""

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join(timeout=30)

    @property
    def done(self) -> bool:
        """Tell whether every lane stands at the end of its log, by the last sample."""
        return len(self.ends) == len(self._lanes) and all(self.committed.get(lane, -1) >= end for lane, end in self.ends.items())

    def add(self, lanes: Sequence[TopicPartition]) -> None:
        """Watch more lanes."""
        self._lanes = [*self._lanes, *lanes]

    def still(self) -> dict[TopicPartition, float]:
        """Return lanes that stand still now, with records before them, and for how many seconds."""
        now = time.monotonic()
        return {lane: now - since for lane, since in list(self._since.items())}

    def _run(self) -> None:
        admin: Admin | None = None
        while not self._stop.wait(SAMPLE_EVERY_S):
            try:
                admin = admin or Admin(self._bootstrap, client_id="fault-watch")
                self._sample(admin)
            except HubError:
                if admin is not None:
                    admin.close()
                    admin = None
        if admin is not None:
            admin.close()

    def _sample(self, admin: Admin) -> None:
        lanes = self._lanes
        ends = admin.end_offsets(lanes)
        committed = {lane: row[0] for lane, row in admin.committed(self._group, lanes).items()}
        now = time.monotonic()
        if self.ends:
            # logs only grow, and so do positions: between two looks no lag was smaller than the end before and the position after
            low = min(self.ends[lane] - committed.get(lane, 0) for lane in lanes if lane in self.ends)
            self.lag_min = low if self.lag_min is None else min(low, self.lag_min)
        for lane in lanes:
            behind = ends[lane] > committed.get(lane, -1)
            moved = committed.get(lane) != self.committed.get(lane)
            since = self._since.get(lane)
            if since is not None and (moved or not behind):
                self.stalls.append(Stall(lane, since - self.began, now - since))
                del self._since[lane]
            if behind and lane not in self._since:
                self._since[lane] = now
        self.ends, self.committed, self.sampled_at = ends, committed, now
