"""A reader of hub.plan that ends is told: lanes must not wait for it for ever."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hub.exchange.intake import Intake
from hub.model.errors import HubError


class Consumer:
    """A consumer that hands out one record."""

    async def getmany(self, *places: object, timeout_ms: int) -> dict[Any, Any]:
        """Return it."""
        assert timeout_ms > 0
        return {places[0]: [SimpleNamespace(value=b"", offset=0)]}


class Book:
    """A plan book with a bug."""

    def apply(self, _value: bytes, *, offset: int) -> bool:
        """Fail in a way that nobody expects."""
        raise KeyError(offset)


def test_whatever_ends_the_reading_of_hub_plan_is_a_fault_of_every_lane() -> None:
    """A task that died in silence would leave lanes waiting, with no alarm but the age of the plan."""
    anything: Any = None
    book: Any = Book()
    intake = Intake(bootstrap="", topic="hub.plan", client=anything, book=book, changed=lambda _: None)
    intake._consumer = Consumer()
    asyncio.run(intake._follow())
    with pytest.raises(HubError, match=r"HUB-LANE-004.*KeyError"):
        intake.plan("dept.transport.flights")
