"""What the floor does every second goes on, whatever one turn of it comes to."""

import asyncio
from typing import Any

import pytest

from hub.exchange.floor import Floor


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
