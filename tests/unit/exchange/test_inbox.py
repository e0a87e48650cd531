"""What a lane drains in one step: everything that waits, within its bytes, however late it is."""

import asyncio
from types import SimpleNamespace
from typing import Any

from kernel_kit import LANE, TOPIC_ID, batch_at, chunk_of, vehicle

from hub.exchange.inbox import Inbox, Taken
from hub.exchange.verdict import Chunk
from hub.settings import ExchangeSettings

STEP_MS = 10
MUCH = 1_000_000


def _inbox() -> Inbox:
    flow = SimpleNamespace(pause=lambda _: None, resume=lambda _: None)
    context: Any = SimpleNamespace(settings=ExchangeSettings(step_ms=STEP_MS), flow=flow, plan_offset=lambda _: 0)
    made = Inbox(LANE, context=context)
    made.open(100, topic_id=TOPIC_ID)
    return made


def _chunk(offset: int, count: int = 2) -> Chunk:
    return chunk_of(batch_at(offset, [(None, vehicle())] * count), first_offset=offset, next_offset=offset + count)


async def _late(inbox: Inbox, chunks: list[Chunk], *, bytes_max: int) -> Taken | None:
    """Drain once, come back after more than a step's time, and drain what has come meanwhile."""
    inbox.put(_chunk(100))
    await inbox.drain(100, bytes_max=MUCH)
    await asyncio.sleep(3 * STEP_MS / 1000)
    for chunk in chunks:
        inbox.put(chunk)
    return await inbox.drain(102, bytes_max=bytes_max)


def test_a_lane_whose_last_step_was_slow_takes_all_that_waits() -> None:
    """It took one chunk for each late step once: behind a slow broker a lane fell further behind with every step."""
    waiting = [_chunk(102), _chunk(104), _chunk(106), _chunk(108)]
    taken = asyncio.run(_late(_inbox(), waiting, bytes_max=MUCH))
    assert taken is not None
    assert (len(taken.chunks), taken.first_offset, taken.next_offset) == (4, 102, 110)


def test_a_late_lane_still_keeps_to_its_bytes() -> None:
    """The rest is the next step's."""
    waiting = [_chunk(102), _chunk(104), _chunk(106), _chunk(108)]
    taken = asyncio.run(_late(_inbox(), waiting, bytes_max=len(waiting[0].data) + 1))
    assert taken is not None
    assert (len(taken.chunks), taken.next_offset) == (2, 106)
