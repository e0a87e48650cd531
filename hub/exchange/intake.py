"""Plan intake: every worker reads all of hub.plan by itself, keeps a plan book, and knows how fresh it is.

A consumer of its own without group reads entries; a second connection asks the partition's leader for the high watermark, so
that the question does not wait behind a long poll. A worker never needs SQL or HTTP to deliver.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn

import aiokafka
import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from hub.broker.requests import EARLIEST, LATEST, Lost, list_offset, topic_ids
from hub.broker.security import security
from hub.exchange.plan import Plan
from hub.exchange.plan_book import PlanBook
from hub.model.errors import HubError
from hub.model.names import TopicPartition

log = structlog.get_logger()
ASK_EVERY_S: Final = 2.0
READ_TO_END_WITHIN_S: Final = 30.0
FETCH_MAX_WAIT_MS: Final = 500


class _Behind:
    """A book that is to take the place of the one in use, and how far it has come."""

    def __init__(self, book: PlanBook) -> None:
        """Begin at the beginning."""
        self.book: Final = book
        self.next_offset = 0
        self.not_before = 0.0
        """When it is tried again, as the monotonic clock tells."""


class Intake:
    """The reader of hub.plan: ``book`` holds what it says, ``age_s`` how old that knowledge is."""

    def __init__(
        self, *, bootstrap: str, topic: str, client: AIOKafkaClient, book: PlanBook, changed: Callable[[frozenset[str]], None]
    ) -> None:
        """Call ``changed`` on the event loop with the topics whose plan is another now."""
        self._partition = TopicPartition(topic, 0)
        self._kafka_partition = aiokafka.TopicPartition(topic, 0)
        self._bootstrap = bootstrap
        self._client = client
        self._book = book
        self._changed = changed
        self._next = 0
        self._topic_id: uuid.UUID | None = None
        self._fresh_at: float | None = None
        self._moved = asyncio.Event()
        self._consumer: aiokafka.AIOKafkaConsumer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._behind: _Behind | None = None
        self.fault: HubError | None = None
        """Why hub.plan cannot be followed any more, None while it can."""

    @property
    def book(self) -> PlanBook:
        """What hub.plan says as far as it is read."""
        return self._book

    @property
    def next_offset(self) -> int:
        """One past the last offset of hub.plan that is read."""
        return self._next

    def age_s(self) -> float:
        """Seconds since the leader's end of hub.plan was known to be read; infinite before the first time."""
        return float("inf") if self._fresh_at is None else time.monotonic() - self._fresh_at

    def read_again(self, book: PlanBook) -> None:
        """Read hub.plan into ``book``, which takes the place of the one in use once it has come as far: for keys that changed."""
        self._behind = _Behind(book)

    def plan(self, topic: str) -> Plan:
        """Return the newest plan of a dataset's topic; HubError when there is none."""
        if self.fault is not None:
            raise self.fault
        return self._book.plan(topic)

    async def start(self) -> None:
        """Read hub.plan to its end, then follow it."""
        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id="cityhub-plan-intake",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            **security(self._bootstrap),
        )
        await self._consumer.start()
        first = await list_offset(self._client, self._partition, at=EARLIEST)
        if first is None:
            raise HubError("HUB-BROKER-009", f"`{self._partition.topic}` does not exist", "start `cityhub serve` first")
        self._consumer.assign([self._kafka_partition])
        self._consumer.seek(self._kafka_partition, first)
        self._next = first
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._ask())]
        await self.read_to_end()

    async def stop(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()

    async def read_to_end(self) -> int:
        """Return once everything is read that stood in hub.plan when this was called; returns that end offset."""
        deadline = time.monotonic() + READ_TO_END_WITHIN_S
        asked_at = time.monotonic()
        await self._hold_topic()
        before = self._next
        end = await list_offset(self._client, self._partition, at=LATEST)
        self._hold_end(end, read=before)
        while self._next < (end or 0):
            if self.fault is not None:
                raise self.fault
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError as error:
                message = f"`{self._partition.topic}` could not be read to its end in time"
                raise Lost(message) from error
        self._fresh_at = max(self._fresh_at or 0.0, asked_at)
        return end or 0

    async def _hold_topic(self) -> None:
        """Note a hub.plan that was created again, however long it has become since: what was read stood in another log."""
        found = (await topic_ids(self._client, [self._partition.topic])).get(self._partition.topic)
        self._topic_id = self._topic_id or found
        if found not in {None, self._topic_id}:
            self._raise_fault("hub.plan was re-created under the same name")

    def _hold_end(self, end: int | None, *, read: int) -> None:
        """Note a hub.plan that is gone or shorter than what was read before its end was asked for: nothing may be decided from it.

        What is read while the answer is under way may stand behind that end.
        """
        if end is None or end < read:
            self._raise_fault(f"hub.plan ends at {end}, though {read} was read: it was emptied or re-created")

    def _raise_fault(self, cause: str) -> NoReturn:
        fix = "start `cityhub serve`, which appends the newest entries again, restart the worker, then `cityhub exchange adopt`"
        self.fault = HubError("HUB-LANE-004", cause, fix)
        raise self.fault

    async def _follow(self) -> None:
        """Read on for ever; whatever ends it is a fault, so that lanes stop with an alarm and do not wait for a reader that is gone."""
        try:
            await self._read_on()
        except Exception as error:  # noqa: BLE001 - a task that dies silently would starve every lane
            self.fault = HubError("HUB-LANE-004", f"hub.plan cannot be read on: {type(error).__name__}", "restart the worker")
            self._moved.set()

    async def _read_on(self) -> None:
        consumer = self._consumer
        while consumer is not None:
            if self._behind is not None and time.monotonic() >= self._behind.not_before:
                await self._change_books(consumer, self._behind)
            fetched = await consumer.getmany(self._kafka_partition, timeout_ms=1000)
            for messages in fetched.values():
                touched = [self._apply(self._book, message) for message in messages]
                if any(touched):
                    changed = await asyncio.to_thread(self._book.compile)
                    if changed:
                        self._changed(changed)
            position = await consumer.position(self._kafka_partition)
            if position != self._next:
                self._next = position
                self._moved.set()

    async def _change_books(self, consumer: aiokafka.AIOKafkaConsumer, behind: "_Behind") -> None:
        """Read from the beginning to where the book in use stands; that one decides until then, and nothing of it is taken over.

        While the broker is away the book in use stays, and the next one goes on later from where it had come to.
        """
        try:
            await self._catch_up(consumer, behind)
        except (Lost, KafkaError) as error:
            log.warning("plan_read_again", error=type(error).__name__)
            behind.not_before = time.monotonic() + ASK_EVERY_S
            consumer.seek(self._kafka_partition, self._next)
            return
        if self._behind is behind:
            self._behind = None
        changed = await asyncio.to_thread(behind.book.compile)
        self._book = behind.book
        self._next = await consumer.position(self._kafka_partition)
        self._moved.set()
        self._changed(changed)

    async def _catch_up(self, consumer: aiokafka.AIOKafkaConsumer, behind: "_Behind") -> None:
        """Bring a book to where the one in use stands."""
        first = await list_offset(self._client, self._partition, at=EARLIEST)
        consumer.seek(self._kafka_partition, max(first or 0, behind.next_offset))
        while await consumer.position(self._kafka_partition) < self._next and self.fault is None:
            fetched = await consumer.getmany(self._kafka_partition, timeout_ms=1000)
            for messages in fetched.values():
                for message in messages:
                    self._apply(behind.book, message)
                    behind.next_offset = message.offset + 1

    @staticmethod
    def _apply(book: PlanBook, message: Any) -> bool:
        return book.apply(message.value or b"", offset=message.offset, key=message.key, headers=message.headers)

    async def _ask(self) -> None:
        while True:
            try:
                await self.read_to_end()
            except (Lost, HubError):
                if self.fault is not None:
                    self._moved.set()
                    return
            await asyncio.sleep(ASK_EVERY_S)
