"""What the floor does every second goes on, whatever one turn of it comes to."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.exchange.floor import Floor
from hub.model.names import TopicPartition
from hub.settings import Settings


def test_a_turn_that_fails_does_not_end_the_duty() -> None:
    """Else keys, the age of the plan and the lag are looked at no more, and nothing says so."""
    turns: list[int] = []

    async def look() -> None:
        turns.append(len(turns))
        if len(turns) < 3:
            raise (ValueError, UnicodeError)[len(turns) - 1]
        raise asyncio.CancelledError

    floor: Any = None
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Floor._every(floor, 0.0, look))
    assert turns == [0, 1, 2]


def test_datasets_that_come_right_behind_another_are_taken_up_together() -> None:
    """Each subscription makes every lane begin anew: one by one thousands of them would cost the square of their number."""
    told: list[frozenset[str]] = []

    async def publish_many() -> None:
        floor = Floor(Settings(), app=None)
        book = SimpleNamespace(topics=frozenset({"first"}))
        floor._intake = cast("Any", SimpleNamespace(book=book))
        floor._lanes = dict.fromkeys((TopicPartition("first", number) for number in range(20)), cast("Any", None))
        told.append(await floor.new_topics(()))
        book.topics |= {"second"}
        second = asyncio.create_task(floor.new_topics({"first"}))
        await asyncio.sleep(0)
        book.topics |= {"third"}
        told.append(await second)

    asyncio.run(publish_many())
    assert told == [{"first"}, {"second", "third"}]
