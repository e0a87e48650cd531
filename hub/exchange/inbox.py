"""The inbox of a lane: chunks that follow each other, drained for a bounded time.

A chunk that does not follow the one before is never taken: it is a left-over from before the lane began here. Where a broker
refuses the lane's place, the lane looks around: another topic under the name stops it, offsets that retention took are counted
``lost``, an offset beyond the log's end stops it, and everything else is asked for again.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from hub.broker.requests import EARLIEST, LATEST, list_offset
from hub.exchange.context import LaneContext, beyond_the_log
from hub.exchange.transport import border, split
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition

LOOK_AGAIN_S: Final = 1.0
"""Between two looks around, where the first one found nothing wrong."""


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
        rest = self.chunks[len(below) :]
        if rest[0].first_offset < offset:
            last, first = split(rest[0], offset)
            below.append(last)
            rest = (first, *rest[1:])
        return Taken(tuple(below), self.first_offset, offset, sum(chunk.gaps for chunk in below), self.lost), rest

    @property
    def size(self) -> int:
        """Bytes of the chunks."""
        return sum(len(chunk.data) for chunk in self.chunks)


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
        self._open = False
        self._paused = False
        self._strayed = False
        """Something came that does not follow."""
        self._refused = False
        """A broker refuses the place of the lane."""
        self._waiter: asyncio.Future[None] | None = None
        self._drained_at = 0.0

    def open(self, offset: int, *, topic_id: uuid.UUID) -> None:
        """Accept chunks from ``offset`` on, of the topic that has this id."""
        self._queue.clear()
        self._due = offset
        self._topic_id = topic_id
        self._open = True
        self._paused = self._strayed = self._refused = False

    def close(self) -> None:
        """Drop what is there and what comes, and wake the drain."""
        self._open = False
        self._queue.clear()
        self._wake()

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk that follows; a full queue pauses fetching."""
        if not self._open or chunk.next_offset <= self._due:
            return
        if chunk.first_offset != self._due:
            self._strayed = True
        else:
            self._queue.append(chunk)
            self._due = chunk.next_offset
            if len(self._queue) >= self._limits.lane_queue_chunks and not self._paused:
                self._paused = True
                self._context.flow.pause(self._partition)
        self._wake()

    def look_around(self) -> None:
        """Find out in the next drain, behind what is queued, why a broker refuses the lane's place."""
        self._refused = True
        self._wake()

    def give_back(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks that were drained, and not decided, before all others."""
        if self._open:
            self._queue.extendleft(reversed(chunks))

    async def drain(self, position: int, *, bytes_max: int) -> Taken | None:
        """Return chunks from ``position`` on, of about ``bytes_max`` bytes, ``step_ms`` after the last drain; None when closed.

        So a lane that was idle is drained at once, and one that is busy no more often than every ``step_ms``, or when it is full.
        """
        lost = await self._first()
        plan_offset = self._context.plan_offset(self._partition.topic)
        now = time.monotonic()
        deadline = max(now, self._drained_at + self._limits.step_ms / 1000)
        chunks: list[Chunk] = []
        left = bytes_max
        while self._open:
            while self._queue and left > 0:  # whatever the time: a lane that is late must not take less for it
                chunks.append(self._pop(left))
                left -= len(chunks[-1].data)
            now = time.monotonic()
            if now >= deadline or left <= 0 or self._displaced or self._context.plan_offset(self._partition.topic) != plan_offset:
                break
            await self._arrival(deadline - now)
            now = time.monotonic()
        if not self._open or not (chunks or lost):
            return None
        self._drained_at = now
        next_offset = chunks[-1].next_offset if chunks else position + lost
        return Taken(tuple(chunks), position, next_offset, sum(chunk.gaps for chunk in chunks), lost)

    async def _first(self) -> int:
        """Wait until there is something to drain, or the inbox is closed; returns offsets that were lost before it."""
        while self._open and not self._queue:
            if not self._displaced:
                await self._arrival(None)
                continue
            refused, self._strayed, self._refused = self._refused, False, False
            lost = await self._overtaken() if refused else 0
            if refused and not lost:
                await self._arrival(LOOK_AGAIN_S)  # gone, or not known yet where we ask: a rebalance or a later look tells
            await self._context.flow.begin(self._partition, self._due, self._topic_id)
            if lost:
                return lost
        return 0

    @property
    def _displaced(self) -> bool:
        return self._strayed or self._refused

    def _pop(self, bytes_max: int) -> Chunk:
        """Take the first chunk, cut at a batch's border where it is much larger than ``bytes_max``."""
        chunk = self._queue.popleft()
        if len(chunk.data) > bytes_max + bytes_max // 2:
            offset = border(chunk, bytes_max)
            if offset < chunk.next_offset:
                chunk, rest = split(chunk, offset)
                self._queue.appendleft(rest)
        if self._paused and len(self._queue) <= self._limits.lane_queue_chunks // 2:
            self._paused = False
            self._context.flow.resume(self._partition)
        return chunk

    async def _overtaken(self) -> int:
        """Return how many offsets from the due one on the log does not hold any more, and go on behind them.

        HUB-LANE-002 where the topic was created again: offsets that are not there are then no loss, and none will ever follow.
        HUB-LANE-003 where the log ends before the offset that is due.
        """
        await self._context.hold_topic(self._partition, self._topic_id)
        earliest = await list_offset(self._context.client, self._partition, at=EARLIEST)
        latest = await list_offset(self._context.client, self._partition, at=LATEST)
        if earliest is None or latest is None or self._queue:
            return 0
        if latest < self._due:
            raise beyond_the_log(self._partition, self._due, latest)
        lost = max(0, earliest - self._due)
        if lost:
            self._context.observer.records_lost(self._partition, lost)
            self._due = earliest
        return lost

    async def _arrival(self, timeout_s: float | None) -> None:
        """Return when something came, the inbox was closed, the lane was told to look around, or the time is up."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
