"""A reader of hub.plan that ends is told: lanes must not wait for it for ever."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from lane_rig import TinyKafka

from hub.exchange.intake import Intake
from hub.model.errors import HubError


class Consumer:
    """A consumer that hands out one record."""

    async def getmany(self, *places: object, timeout_ms: int) -> dict[Any, Any]:
        """Return it."""
        assert timeout_ms > 0
        return {places[0]: [SimpleNamespace(key=None, value=b"", offset=0, headers=())]}


class Book:
    """A plan book with a bug."""

    def apply(self, _value: bytes, *, offset: int, **_: object) -> bool:
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


def test_a_hub_plan_created_again_is_noticed_though_it_is_as_long_as_before() -> None:
    """Serve fills it with one entry for each object: where each had one, the end is the same and the log is another."""
    kafka: Any = TinyKafka(append_ms=1, topics={"hub.plan": uuid.uuid4()})
    anything: Any = None
    intake = Intake(bootstrap="", topic="hub.plan", client=kafka, book=anything, changed=lambda _: None)
    intake._next = kafka.end
    assert asyncio.run(intake.read_to_end()) == kafka.end
    kafka.topics["hub.plan"] = uuid.uuid4()
    with pytest.raises(HubError, match="HUB-LANE-004"):
        asyncio.run(intake.read_to_end())
    with pytest.raises(HubError, match="HUB-LANE-004"):
        intake.plan("dept.transport.flights")


@pytest.mark.parametrize("end", [0, 999])
def test_a_hub_plan_that_is_shorter_than_what_was_read_is_a_fault(end: int) -> None:
    """Nothing is decided from a plan that forgot."""
    kafka: Any = TinyKafka(append_ms=1, topics={"hub.plan": uuid.uuid4()})
    anything: Any = None
    intake = Intake(bootstrap="", topic="hub.plan", client=kafka, book=anything, changed=lambda _: None)
    intake._next = kafka.end
    kafka.end = end
    with pytest.raises(HubError, match="HUB-LANE-004"):
        asyncio.run(intake.read_to_end())
