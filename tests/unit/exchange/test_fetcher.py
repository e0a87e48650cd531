"""What the chunk fetcher asks and what it makes of answers, on aiokafka's own fetcher with a client of a few lines."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.structs import TopicPartition as KafkaPartition
from kernel_kit import batch_at

from hub.broker.fetching import INCONSISTENT_TOPIC_ID, UNKNOWN_TOPIC_ID, FetchAnswer, Fetched, FetchRequest, Place
from hub.exchange.transport.fetch import ChunkFetcher, ChunkRecord
from hub.exchange.transport.reception import ANSWER_BYTES_MIN, Reception
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition

DATA, PLAIN = "dept.transport.flights", "hold.flights"
OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER = 1, 3, 6
SESSION_ID, SESSION_UNKNOWN = 7, 70


class TinyClient:
    """One node that leads everything; ``answer`` says what comes."""

    def __init__(self) -> None:
        """Answer nothing until told."""
        self._loop = asyncio.get_running_loop()
        self._metadata_max_age_ms = 1_000
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 0)
        self.asked: list[dict[Place, int]] = []
        """What each request asks for, with what the session holds from before."""
        self.requests: list[FetchRequest] = []
        self.answers: asyncio.Queue[FetchAnswer] = asyncio.Queue()
        self.refreshes = 0
        self.ids: dict[str, uuid.UUID] = {}

    async def send(self, _node: int, request: Any) -> Any:
        """Keep the request and return the next answer."""
        if not isinstance(request, FetchRequest):
            names = [name for _, name, _ in request.prepare({}).topics]
            return SimpleNamespace(topics=[(0, name, self.ids[name]) for name in names])
        before = {} if request.session.epoch <= 0 else self.asked[-1]
        self.asked.append({place: offset for place, offset in before.items() if place not in request.forgotten} | dict(request.wanted))
        self.requests.append(request)
        return await self.answers.get()

    def get_random_node(self) -> int:
        """Return the one node."""
        return 0

    def force_metadata_update(self) -> asyncio.Future[None]:
        """Count."""
        self.refreshes += 1
        done: asyncio.Future[None] = self._loop.create_future()
        done.set_result(None)
        return done


class TinyGate:
    """The exchange: data topics begin with ``dept.``."""

    def __init__(self) -> None:
        """Nothing is refused."""
        self.refusals: list[TopicPartition] = []

    def is_data(self, topic: str) -> bool:
        """Tell a department's topic by its name."""
        return topic.startswith("dept.")

    def refused(self, partition: TopicPartition) -> None:
        """Keep it."""
        self.refusals.append(partition)


class Rig:
    """A fetcher with two partitions of a topic."""

    def __init__(self, *, topic: str = DATA, room: int = 64 * 1024 * 1024) -> None:
        """Assign them."""
        self.session_id = SESSION_ID
        self.client = TinyClient()
        self.gate = TinyGate()
        self.reception = Reception(room)
        state = SubscriptionState()
        state.subscribe({topic})
        self.places = [KafkaPartition(topic, 0), KafkaPartition(topic, 1)]
        state.assign_from_subscribed(self.places)
        self.fetcher: Any = Fetcher(self.client, state, fetch_max_wait_ms=5, fetch_min_bytes=100, isolation_level="read_committed")
        self.fetcher.__class__ = ChunkFetcher
        self.fetcher.take_over(self.gate, self.reception)

    def answer(self, *rows: tuple[uuid.UUID, int, int, bytes]) -> None:
        """Answer the next request with (topic id, partition, code, records)."""
        found = [Fetched(topic_id, number, code, 50, 50, (), memoryview(records)) for topic_id, number, code, records in rows]
        self.client.answers.put_nowait(FetchAnswer(0, found, self.session_id))

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(5):
            while not true():  # noqa: ASYNC110 - the fetcher tells nobody
                await asyncio.sleep(0.001)

    async def taken(self) -> dict[Any, list[Any]]:
        """Return what Faust would take."""
        found: dict[Any, list[Any]] = await self.fetcher.fetched_records(set(self.places), timeout=5)
        return found


def _run(work: Callable[[Rig], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        rig = Rig(**settings)
        rig.client.ids[PLAIN] = uuid.uuid4()
        try:
            await work(rig)
        finally:
            await rig.fetcher.close()

    asyncio.run(run())


def test_a_data_partition_is_asked_for_once_its_lane_has_begun_it_and_by_the_id_that_it_named() -> None:
    """Nothing is fetched for a lane that has no position yet, and nothing by name."""
    first, second = uuid.uuid4(), uuid.uuid4()

    async def work(rig: Rig) -> None:
        await asyncio.sleep(0.02)
        assert rig.client.asked == []
        rig.fetcher.begin(rig.places[0], 7, first)
        rig.fetcher.begin(rig.places[1], 9, second)
        await rig.until(lambda: rig.client.asked)
        await rig.until(lambda: rig.client.asked[-1] == {(first, 0): 7, (second, 1): 9})

    _run(work)


def test_a_chunk_is_taken_once_and_the_next_request_begins_behind_it() -> None:
    """Its data is a view of the answer where it is large."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        records = batch_at(10, [(None, b"x" * 30_000)] * 3)
        rig.answer((topic_id, 0, 0, records))
        ((chunk,),) = (await rig.taken()).values()
        assert type(chunk) is ChunkRecord
        assert isinstance(chunk.chunk, Chunk)
        assert (chunk.chunk.first_offset, chunk.chunk.next_offset, chunk.offset) == (10, 13, 12)
        assert isinstance(chunk.chunk.data, memoryview)
        assert chunk.chunk.data.obj is records
        await rig.until(lambda: rig.client.asked[-1] == {(topic_id, 0): 13})

    _run(work)


def test_what_came_for_a_place_that_the_lane_has_left_is_dropped() -> None:
    """A lane that begins again, or in another topic, must not find the records of before."""
    old, new = uuid.uuid4(), uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher.begin(rig.places[0], 10, old)
        await rig.until(lambda: rig.client.asked)
        rig.fetcher.begin(rig.places[0], 10, new)
        rig.answer((old, 0, 0, batch_at(10, [(None, b"old")])))
        rig.answer((new, 0, 0, batch_at(10, [(None, b"new")])))
        ((chunk,),) = (await rig.taken()).values()
        assert b"new" in bytes(chunk.chunk.data)

    _run(work)


@pytest.mark.parametrize("code", [UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID])
def test_a_place_that_the_broker_refuses_is_told_and_not_asked_for_again(code: int) -> None:
    """A topic that is gone, as it is told without a session and in one, or an offset that the log does not hold: the lane decides."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        rig.fetcher.begin(rig.places[1], 10, topic_id)
        rig.answer((topic_id, 0, code, b""), (topic_id, 1, OUT_OF_RANGE, b""))
        await rig.until(lambda: len(rig.gate.refusals) == 2)
        await asyncio.sleep(0.25)
        assert len(rig.client.asked) == 1
        assert rig.fetcher._subscriptions.subscription.assignment.state_value(rig.places[1]).position == 10

    _run(work)


def test_errors_are_not_asked_for_in_a_loop() -> None:
    """A partition whose leader has moved is answered at once, each time."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        for _ in range(50):
            rig.answer((topic_id, 0, NOT_LEADER, b""))
        await asyncio.sleep(0.35)
        assert rig.client.refreshes >= 1
        assert len(rig.client.asked) <= 6

    _run(work)


def test_nothing_is_asked_without_room_and_something_at_once_when_there_is() -> None:
    """Records wait in Kafka, not here."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        full = [rig.reception.allocate(ANSWER_BYTES_MIN)]
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        await asyncio.sleep(0.05)
        assert rig.client.asked == []
        full.clear()
        await rig.until(lambda: rig.client.asked)

    _run(work, room=ANSWER_BYTES_MIN)


def test_a_small_answer_is_taken_before_the_next_request_goes_out() -> None:
    """So that one request covers all quiet partitions; a large one does not wait for that."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        for number in (0, 1):
            rig.fetcher.begin(rig.places[number], 10, topic_id)
        rig.answer((topic_id, 0, 0, batch_at(10, [(None, b"x")])))
        await rig.until(lambda: rig.fetcher._records)
        rig.fetcher._fetch_min_bytes = 10_000
        count = len(rig.client.asked)
        await asyncio.sleep(0.03)
        assert len(rig.client.asked) == count
        await rig.taken()
        await rig.until(lambda: len(rig.client.asked) > count)
        assert rig.client.asked[-1] == {(topic_id, 0): 11, (topic_id, 1): 10}

    _run(work)


def test_topics_of_other_agents_are_ordinary_records() -> None:
    """Their ids are asked for, and what comes is decoded by aiokafka."""

    async def work(rig: Rig) -> None:
        topic_id = rig.client.ids[PLAIN]
        for place in rig.places:
            rig.fetcher._subscriptions.subscription.assignment.state_value(place).seek(10)
        await rig.until(lambda: rig.client.asked)
        rig.answer((topic_id, 0, 0, batch_at(10, [(b"k", b"v"), (None, b"w")])))
        ((*records,),) = (await rig.taken()).values()
        assert [(record.offset, record.key, record.value) for record in records] == [(10, b"k", b"v"), (11, None, b"w")]

    _run(work, topic=PLAIN)


def test_where_next_to_nothing_comes_the_broker_is_asked_by_the_clock_and_answers_at_once() -> None:
    """A request that waits at the broker for hundreds of partitions is looked through again at every record that is written."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher._fetch_max_wait_ms = 40
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        for _ in range(100):
            rig.answer()
        await asyncio.sleep(0.3)
        assert 3 <= len(rig.client.requests) <= 9
        assert {request.max_wait_ms for request in rig.client.requests} == {0}

    _run(work)


def test_where_much_comes_the_next_request_waits_at_the_broker() -> None:
    """And goes out at once."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher._fetch_max_wait_ms = 10_000
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        rig.answer((topic_id, 0, 0, batch_at(10, [(None, b"x" * 1_000)])))
        await rig.taken()
        await rig.until(lambda: len(rig.client.requests) == 2)
        assert [request.max_wait_ms for request in rig.client.requests] == [0, 10_000]

    _run(work)


def test_a_request_names_what_has_changed_since_the_last_one() -> None:
    """What is quiet is not named again; what waits to be taken is not asked for meanwhile."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        for number in (0, 1):
            rig.fetcher.begin(rig.places[number], 10, topic_id)
        rig.answer((topic_id, 0, 0, batch_at(10, [(None, b"x" * 1_000)])))
        await rig.until(lambda: len(rig.client.requests) == 2)
        assert (dict(rig.client.requests[1].wanted), rig.client.requests[1].forgotten) == ({}, ((topic_id, 0),))
        await rig.taken()
        rig.answer()
        await rig.until(lambda: len(rig.client.requests) == 3)
        assert (dict(rig.client.requests[2].wanted), rig.client.requests[2].forgotten) == ({(topic_id, 0): 11}, ())

    _run(work)


def test_a_session_that_the_broker_has_thrown_out_is_begun_again() -> None:
    """Nothing is lost: everything is named anew."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        rig.answer()
        await rig.until(lambda: len(rig.client.requests) == 2)
        rig.client.answers.put_nowait(FetchAnswer(SESSION_UNKNOWN, []))
        await rig.until(lambda: len(rig.client.requests) == 3)
        sessions = [tuple(request.session) for request in rig.client.requests]
        assert (sessions, dict(rig.client.requests[2].wanted)) == ([(0, 0), (SESSION_ID, 1), (SESSION_ID, 0)], {(topic_id, 0): 10})

    _run(work)


def test_a_broker_without_place_for_a_session_is_asked_in_turns() -> None:
    """What is asked for last may find the answer full each time."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.session_id = 0
        for number in (0, 1):
            rig.fetcher.begin(rig.places[number], 10, topic_id)
        for _ in range(4):
            rig.answer()
        await rig.until(lambda: len(rig.client.requests) == 4)
        firsts = [next(iter(request.wanted))[1] for request in rig.client.requests]
        assert set(firsts) == {0, 1}
        assert all(len(request.wanted) == 2 for request in rig.client.requests)

    _run(work)


def test_after_a_rebalance_the_broker_tells_of_every_partition_again() -> None:
    """The ends of their logs are not known any more. No request is under way then, so that none is cancelled."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher._fetch_max_wait_ms = 100
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        rig.answer()
        await rig.until(lambda: len(rig.client.requests) == 1 and not rig.fetcher._in_flight)
        rig.fetcher._subscriptions.assign_from_subscribed(rig.places)
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        await rig.until(lambda: len(rig.client.requests) == 2)
        second = rig.client.requests[1]
        assert (tuple(second.session), dict(second.wanted)) == ((SESSION_ID, 0), {(topic_id, 0): 10})

    _run(work)


def test_a_row_that_nobody_asked_for_is_passed_over() -> None:
    """The fetcher goes on."""
    topic_id = uuid.uuid4()

    async def work(rig: Rig) -> None:
        rig.fetcher.begin(rig.places[0], 10, topic_id)
        rig.answer((uuid.uuid4(), 5, 0, batch_at(3, [(None, b"stray")])))
        rig.answer((topic_id, 0, 0, batch_at(10, [(None, b"x")])))
        ((chunk,),) = (await rig.taken()).values()
        assert chunk.chunk.first_offset == 10

    _run(work)
