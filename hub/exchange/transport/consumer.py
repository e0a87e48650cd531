"""Faust's consumer, changed where it must be, so that one event is one chunk and a lane owns its offset.

1. The fetcher of the consumer thread yields chunks (``fetch``), over connections that copy no record, and waits as the settings say.
2. A chunk's message carries the last offset that it accounts for; Faust's own offset book is left out for data topics: it
   commits nothing there, drops nothing there and remembers no gaps. Positions are the lanes' (``TxnOffsetCommit``).
3. When every partition is paused the consumer looks again after 10 ms, where Faust sleeps a flat second.
4. Lanes hear of revoked and assigned partitions before and after Faust itself does; Faust does not watch over them besides.

The exchange stands on the app as ``app.exchange`` (see ``hub.exchange.worker``). Private API under exact pins.
"""

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any, Final, Protocol

from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as faust_aiokafka
from faust.types import TP, ConsumerMessage

from hub.broker.connection import Client
from hub.exchange.transport.fetch import ChunkFetcher, ChunkRecord, Gate
from hub.exchange.transport.reception import Reception
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition
from hub.settings import ExchangeSettings

PAUSED_LOOK_S: Final = 0.01
FETCH_LOOK_S: Final = 0.1
RESUBSCRIBE_AFTER_S: Final = 0.5


class Lanes(Gate, Protocol):
    """What the transport needs of the exchange."""

    settings: ExchangeSettings
    reception: Reception

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop the lanes of these partitions, bounded in time."""

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Begin a lane for each data partition; returns at once."""


class ConsumerThread(faust_aiokafka.AIOKafkaConsumerThread):
    """The thread that aiokafka lives in."""

    async def on_start(self) -> None:
        """Start, then change the fetcher's class before it has anything to fetch."""
        await super().on_start()
        fetcher = self._consumer._fetcher  # noqa: SLF001 - aiokafka makes it itself; see the contract test
        fetcher.__class__ = ChunkFetcher
        fetcher.take_over(self.consumer.lanes, self.consumer.lanes.reception)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        settings: ExchangeSettings = self.consumer.lanes.settings
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - Faust leaves it uncommitted
        consumer._fetch_max_wait_ms = settings.fetch_max_wait_ms  # noqa: SLF001 - Faust hard-codes 1500
        consumer._fetch_min_bytes = settings.fetch_min_bytes  # noqa: SLF001 - Faust hard-codes 1
        consumer._fetch_max_bytes = settings.fetch_answer_bytes_max  # noqa: SLF001 - Faust leaves 50 MB
        consumer._client.__class__ = Client  # noqa: SLF001 - aiokafka makes it itself
        consumer._client.allocate = self.consumer.lanes.reception.allocate  # noqa: SLF001 - of the class just given
        return consumer

    async def begin(self, tp: TP, offset: int, topic_id: uuid.UUID) -> None:
        """Fetch ``tp`` from ``offset`` on, in the topic that has this id."""
        await self._in_thread(lambda: self._consumer._fetcher.begin(tp, offset, topic_id))  # noqa: SLF001 - our fetcher

    async def _in_thread(self, work: Any) -> None:
        async def run() -> None:
            work()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self.thread_loop))

    @property
    def membership(self) -> tuple[int, str]:
        """Generation and member id, for TxnOffsetCommit (KIP-447)."""
        coordinator = self._consumer._coordinator  # noqa: SLF001 - aiokafka offers no other way
        return coordinator.generation, coordinator.member_id


class _ReadOffsets(dict[TP, int | None]):
    """Faust's read offsets, without a lower bound for data topics: lanes seek backwards after an abort."""

    def __init__(self, lanes: Lanes) -> None:
        super().__init__()
        self._lanes = lanes

    def __missing__(self, _key: TP) -> None:
        return None

    def __setitem__(self, key: TP, value: int | None) -> None:
        if not self._lanes.is_data(key.topic):
            super().__setitem__(key, value)

    def update(self, other: Any = (), /, **_kwargs: Any) -> None:
        for key, value in dict(other).items():
            self[key] = value


class Consumer(faust_aiokafka.Consumer):
    """The consumer of the exchange."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As Faust's, with the lanes of the app."""
        super().__init__(*args, **kwargs)
        self._read_offset = _ReadOffsets(self.lanes)

    @property
    def lanes(self) -> Lanes:
        """The exchange that this app carries."""
        lanes: Lanes = self.app.exchange
        return lanes

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if type(record) is not ChunkRecord:
            return super()._to_message(tp, record)
        chunk = record.chunk
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            0.0,
            0,
            (),
            None,
            chunk,
            None,
            0,
            len(chunk.data),
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self.lanes.is_data(tp.topic):
            await super()._add_gap(tp, offset_from, offset_to)

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        if not active:
            await self.sleep(PAUSED_LOOK_S)
            return {}, active
        return await self._getmany(active_partitions=active, timeout=min(timeout, FETCH_LOOK_S)), active

    async def begin(self, partition: TopicPartition, offset: int, topic_id: uuid.UUID) -> None:
        """Hand out chunks of ``partition`` from ``offset`` on, of the topic that has this id."""
        await self._thread.begin(TP(*partition), offset, topic_id)

    async def verify_all_partitions_active(self) -> None:
        """Verify nothing: Faust looks at each partition every few seconds; a lane that does not move shows in its lag and its state."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the lanes, then what Faust does."""
        await self.lanes.revoked(_data_partitions(self.lanes, revoked))
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Do what Faust does, then begin the lanes, each in a task of its own."""
        await super().on_partitions_assigned(assigned, generation_id)
        self.lanes.assigned(_data_partitions(self.lanes, assigned))

    @property
    def membership(self) -> tuple[int, str]:
        """Generation and member id of this worker in the group."""
        membership: tuple[int, str] = self._thread.membership
        return membership


def _data_partitions(lanes: Lanes, partitions: Iterable[TP]) -> list[TopicPartition]:
    return sorted(TopicPartition(tp.topic, tp.partition) for tp in partitions if lanes.is_data(tp.topic))


class Conductor(faust_aiokafka.Transport.Conductor):
    """Faust's conductor, which waits 45 s before it subscribes to new topics."""

    _resubscribe_sleep_lock_seconds = RESUBSCRIBE_AFTER_S


class Transport(faust_aiokafka.Transport):
    """``cityhub://host:port``: Faust's aiokafka transport with chunks for data topics."""

    Consumer = Consumer
    Conductor = Conductor


class ChunkSchema(Schema):
    """A schema that decodes nothing: the value of an event is the chunk."""

    def loads_key(self, _app: Any, _message: Any, **_kwargs: Any) -> None:
        """Return nothing: a chunk has no key."""
        return

    def loads_value(self, _app: Any, message: Any, **_kwargs: Any) -> Chunk:
        """Return the chunk."""
        chunk: Chunk = message.value
        return chunk
