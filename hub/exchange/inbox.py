"""The inbox of a lane: chunks that follow each other, drained for a bounded time.

A chunk that does not follow the one before is never taken: it is a left-over from before a seek, or retention overtook the
lane. The log's own beginning decides which: offsets below it are counted ``lost``, everything else is asked for again. An
idle lane looks now and then whether retention passed it by, or its topic was created again: then no chunk comes to tell.
"""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from hub.broker.transactions import EARLIEST, list_offset
from hub.exchange.context import LaneContext
from hub.exchange.transport import split
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition

LOOK_FOR_LOSS_S: Final = 30.0


class Taken(NamedTuple):
    """What a step drained: chunks that follow each other, from the position on."""

    chunks: tuple[Chunk, ...]
    first_offset: int
    next_offset: int
    gaps: int
    lost: int
    """Offsets at the beginning that retention took before they were read."""

    def cut(self, offset: int) -> tuple["Taken", tuple[Chunk, ...]]:
        """Return what lies below ``offset``, and the chunks that hold the rest."""
        if offset >= self.next_offset:
            return self, ()
        below = [chunk for chunk in self.chunks if chunk.next_offset <= offset]
        gaps = sum(chunk.gaps for chunk in below)
        rest = self.chunks[len(below) :]
        if rest[0].first_offset < offset:
            gaps_below, later = split(rest[0], offset)
            below.append(rest[0])
            gaps, rest = gaps + gaps_below, (later, *rest[1:])
        return Taken(tuple(below), self.first_offset, offset, gaps, self.lost), rest


class Inbox:
    """A bounded queue of chunks; closed until ``open`` names the offset that is due."""

    def __init__(self, partition: TopicPartition, *, context: LaneContext) -> None:
        """Begin closed: what comes before the lane has a position is dropped."""
        self._partition = partition
        self._context = context
        self._limits = context.settings
        self._queue: deque[Chunk] = deque()
        self._due = -1
        self._topic_id = uuid.UUID(int=0)
        self._stray: Chunk | None = None
        self._arrived = asyncio.Event()
        self._open = False
        self._paused = False
        self._look_at = 0.0

    def open(self, offset: int, *, topic_id: uuid.UUID) -> None:
        """Accept chunks from ``offset`` on, of the topic that has this id."""
        self._queue.clear()
        self._stray = None
        self._due = offset
        self._topic_id = topic_id
        self._open = True
        self._paused = False
        self._look_at = time.monotonic()

    def close(self) -> None:
        """Drop what is there and what comes, and wake the drain."""
        self._open = False
        self._queue.clear()
        self._stray = None
        self._arrived.set()

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk that follows; a full queue pauses fetching."""
        if not self._open or chunk.next_offset <= self._due:
            return
        if chunk.first_offset != self._due:
            self._stray = chunk
        else:
            self._queue.append(chunk)
            self._due = chunk.next_offset
            if len(self._queue) >= self._limits.lane_queue_chunks and not self._paused:
                self._paused = True
                self._context.flow.pause(self._partition)
        self._arrived.set()

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks that were drained, and not decided, before all others."""
        if self._open:
            self._queue.extendleft(reversed(chunks))

    async def drain(self, position: int) -> Taken | None:
        """Return chunks from ``position`` on, of at most ``step_ms`` and ``step_bytes_max``; None when closed."""
        lost = 0
        while not self._queue and lost == 0:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_FOR_LOSS_S
                lost = await self._overtaken()
            else:
                await self._arrival(LOOK_FOR_LOSS_S)
            if not self._open:
                return None
            if not self._queue and self._stray is not None:
                lost += await self._place(self._stray)
        plan_offset = self._context.plan_offset(self._partition.topic)
        deadline = time.monotonic() + self._limits.step_ms / 1000
        chunks: list[Chunk] = []
        size = 0
        while self._open:
            while self._queue and size < self._limits.step_bytes_max and (not chunks or time.monotonic() < deadline):
                chunks.append(self._pop())
                size += len(chunks[-1].data)
            left = deadline - time.monotonic()
            if left <= 0 or size >= self._limits.step_bytes_max or self._context.plan_offset(self._partition.topic) != plan_offset:
                break
            await self._arrival(left)
        if not self._open or not (chunks or lost):
            return None
        next_offset = chunks[-1].next_offset if chunks else position + lost
        return Taken(tuple(chunks), position, next_offset, sum(chunk.gaps for chunk in chunks), lost)

    def _pop(self) -> Chunk:
        chunk = self._queue.popleft()
        if self._paused and len(self._queue) <= self._limits.lane_queue_chunks // 2:
            self._paused = False
            self._context.flow.resume(self._partition)
        return chunk

    async def _place(self, stray: Chunk) -> int:
        """Take a chunk behind offsets that retention took; ask for the due offset again otherwise. Returns the lost offsets."""
        self._stray = None
        lost = await self._overtaken()
        if lost and stray.first_offset == self._due:
            self.put(stray)
        else:
            await self._context.flow.seek(self._partition, self._due)
        return lost

    async def _overtaken(self) -> int:
        """Return how many offsets from the due one on the log does not hold any more, and go on behind them.

        HUB-LANE-002 where the topic was created again: offsets that are not there are then no loss, and none will ever follow.
        """
        await self._context.hold_topic(self._partition, self._topic_id)
        earliest = await list_offset(self._context.client, self._partition, at=EARLIEST)
        if earliest is None or earliest <= self._due or self._queue:
            return 0
        lost = earliest - self._due
        self._context.observer.records_lost(self._partition, lost)
        self._due = earliest
        return lost

    async def _arrival(self, timeout_s: float | None) -> None:
        if self._queue or not self._open or self._stray is not None:
            await asyncio.sleep(0)
            return
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
