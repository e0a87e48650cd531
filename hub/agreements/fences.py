"""Law 6: a right that narrows is answered only when every lane has been fenced, with where it ended in each partition.

Every lane is one for each partition that the source topic has now, though it was given more than its dataset has: a worker that did
not know that those take no step must not commit one after the answer.

Changes that arrive together share one fence: a fence that begins after an append covers it, whoever asked.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from hub.broker.admin import Admin
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position


class PartitionAnswer(msgspec.Struct, frozen=True):
    """Where a right ended in one partition."""

    partition: int
    source_offset: int | None
    """Nothing from this source offset on was delivered under the older plan; None: no lane has a position there."""
    share_end_offset: int | None
    """Nothing of the agreement will stand at or behind this offset of its share topic; None: it has no such partition, or is gone."""


class SharedFence:
    """Runs one fence at a time; calls that come meanwhile are covered together by the next."""

    def __init__(self, fence: Callable[[Sequence[TopicPartition]], None]) -> None:
        """Fence with ``fence``, which returns when every lane has answered 0."""
        self._fence = fence
        self._guard = threading.Lock()
        self._running = threading.Lock()
        self._next = _Round()

    def __call__(self, lanes: Collection[TopicPartition]) -> None:
        """Return when a fence that began after this call has covered ``lanes``; raises what that fence raised."""
        with self._guard:
            mine = self._next
            mine.lanes.update(lanes)
        with self._running:
            if not mine.over:
                with self._guard:
                    self._next = _Round()
                mine.run(self._fence)
        if mine.error is not None:
            raise mine.error


class _Round:
    """One fence and those who wait for it."""

    def __init__(self) -> None:
        self.lanes: set[TopicPartition] = set()
        self.over = False
        self.error: Exception | None = None

    def run(self, fence: Callable[[Sequence[TopicPartition]], None]) -> None:
        try:
            fence(sorted(self.lanes))
        except Exception as error:  # noqa: BLE001 - carried to every caller of the round
            self.error = error
        finally:
            self.over = True


class Revocations:
    """Fences the lanes of a dataset and reads where they stood."""

    def __init__(self, *, fence: SharedFence, admin: Admin, names: Names) -> None:
        """Read offsets with ``admin``, whose connection is kept for this alone."""
        self._fence = fence
        self._admin = admin
        self._admin_lock = threading.Lock()
        self._names = names

    def fence(self, topics: Mapping[str, int]) -> None:
        """Fence every lane of ``topics``, each with its least number of partitions, together with whoever asks at the same time."""
        with self._admin_lock:
            counts = self._admin.partition_counts(topics)
        self._fence(_lanes({topic: max(least, counts.get(topic, 0)) for topic, least in topics.items()}))

    def answer(self, *, topic: str, partitions: int, share_topic: str, plan_offset: int) -> tuple[PartitionAnswer, ...]:
        """Fence every lane of ``topic``, then tell per partition where the older plan ended; ``plan_offset`` is the change's."""
        with self._admin_lock:
            counts = self._admin.partition_counts([topic, share_topic])
        lanes = _lanes({topic: max(partitions, counts.get(topic, 0))})
        self._fence(lanes)
        shares = _lanes({share_topic: counts.get(share_topic, 0)})
        with self._admin_lock:
            committed = self._admin.committed(self._names.exchange_group, lanes)
            ends = {share.partition: end for share, end in self._ends(shares).items()}
        return tuple(
            PartitionAnswer(lane.partition, _ended_at(lane, committed.get(lane), plan_offset), ends.get(lane.partition)) for lane in lanes
        )

    def _ends(self, shares: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            return self._admin.end_offsets(shares)
        except HubError as error:
            if error.code != "HUB-BROKER-009":
                raise
            return {}


def _lanes(topics: Mapping[str, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, count in topics.items() for partition in range(count)]


def _ended_at(lane: TopicPartition, committed: tuple[int, str] | None, plan_offset: int) -> int | None:
    if committed is None:
        return None
    offset, metadata = committed
    try:
        position = Position.parse(offset=offset, metadata=metadata, lane=str(lane))
    except HubError:
        return offset  # the lane stops at such a position with an alarm of its own; behind it nothing was delivered either way
    return position.plan_from if position.plan_offset >= plan_offset else offset
