"""A reader of hub.plan that ends is told: lanes must not wait for it for ever."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
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


def test_entries_that_are_read_while_the_end_is_asked_for_are_no_fault() -> None:
    """The broker's answer is as old as its way: on a busy machine the follower is past that end when it arrives."""

    class Growing(TinyKafka):
        """A cluster whose log grows, and is read, while an answer is under way."""

        async def send(self, *words: Any, **more: Any) -> Any:
            answer = await super().send(*words, **more)
            intake._next = told + 2
            return answer

    anything: Any = None
    kafka: Any = Growing(append_ms=1, topics={"hub.plan": uuid.uuid4()})
    told = kafka.end
    intake = Intake(bootstrap="", topic="hub.plan", client=kafka, book=anything, changed=lambda _: None)
    intake._hold_topic = lambda: asyncio.sleep(0)  # type: ignore[method-assign]  # asks over the same client
    intake._next = told
    assert asyncio.run(intake.read_to_end()) == told
    assert intake.fault is None


class Log:
    """A hub.plan of three records, on a broker that goes away now and then."""

    def __init__(self, *, away: int) -> None:
        """Answer no fetch behind the first record, ``away`` times."""
        self.away = away
        self.at = 3

    def seek(self, _place: object, offset: int) -> None:
        """Go to ``offset``."""
        self.at = offset

    async def position(self, _place: object) -> int:
        """Return the offset that is read next."""
        return self.at

    async def getmany(self, *places: object, timeout_ms: int) -> dict[Any, Any]:
        """Return the next record."""
        assert timeout_ms > 0
        if self.at > 0 and self.away > 0:
            self.away -= 1
            raise KafkaConnectionError
        self.at += 1
        return {places[0]: [SimpleNamespace(key=None, value=b"", offset=self.at - 1, headers=())]}


class Noted:
    """A plan book that notes what it is told."""

    def __init__(self) -> None:
        """Know nothing."""
        self.offsets: list[int] = []

    def apply(self, _value: bytes, *, offset: int, **_: object) -> bool:
        """Note an offset."""
        self.offsets.append(offset)
        return True

    def compile(self) -> frozenset[str]:
        """Change no plan."""
        return frozenset()


def test_keys_that_change_while_the_broker_is_away_are_taken_up_when_it_is_back() -> None:
    """Nothing is at fault: the book in use decides meanwhile, and the next one goes on from where it had come to."""
    kafka: Any = TinyKafka(append_ms=1, topics={"hub.plan": uuid.uuid4()})
    used, fresh = Noted(), Noted()
    given: Any = (used, fresh)
    intake = Intake(bootstrap="", topic="hub.plan", client=kafka, book=given[0], changed=lambda _: None)
    log: Any = Log(away=2)
    intake._next = 3
    intake.read_again(given[1])
    for _ in range(2):
        behind = intake._behind
        assert behind is not None
        asyncio.run(intake._change_books(log, behind))
        assert (intake.book is used, log.at, intake.next_offset, intake.fault) == (True, 3, 3, None)
    asyncio.run(intake._change_books(log, behind))
    assert (intake.book is fresh, fresh.offsets, used.offsets, intake._behind) == (True, [0, 1, 2], [], None)
