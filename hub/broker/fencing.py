"""The gate of the lanes, for code that is not on an event loop: open, fence, append.

Owns one event loop in a thread of its own, with one client, so that a revocation never waits for a connection.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from hub.broker.plan_writer import PlanWriter
from hub.broker.requests import Coordinators, Lost, append, committed_offset, open_client
from hub.broker.transactions import Fenced, Output, Transaction, Undeliverable, fence
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position

CALL_TIMEOUT_S: Final = 60.0
Standing: TypeAlias = tuple[int, str] | None
"""A committed offset and its metadata, None where there is none."""
_T = TypeVar("_T")


class LaneGate:
    """Acts on lanes from outside: every call blocks until Kafka has answered, HUB-BROKER-010 when it does not."""

    def __init__(self, bootstrap: str, *, timeout_ms: int) -> None:
        """Connect; ``timeout_ms`` is the transaction time-out that lanes use."""
        self._timeout_ms = timeout_ms
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lane-gate", daemon=True)
        self._thread.start()
        try:
            self._client: AIOKafkaClient = self._call(open_client(bootstrap, client_id="cityhub-lane-gate"))
        except BaseException:
            self._stop_loop()
            raise
        self._coordinators = Coordinators(self._client)
        self._plan: PlanWriter | None = None

    def open(self, positions: Mapping[TopicPartition, Position], *, names: Names) -> None:
        """Commit a position for each lane under its transactional id."""
        self._call(self._open(positions, names=names))

    def move(self, lane: TopicPartition, position: Position, *, standing: Standing, names: Names, outputs: Sequence[Output] = ()) -> None:
        """Commit another position of a lane with ``outputs``; HUB-LANE-009 where it does not stand at ``standing`` any more."""
        self._call(
            move(self._transaction(lane, names), self._coordinators, lane, position, names=names, standing=standing, outputs=outputs)
        )

    def fence(self, lanes: Sequence[TopicPartition], *, names: Names) -> None:
        """Fence every lane; returns when each InitProducerId has answered 0."""
        ids = [names.transactional_id(lane) for lane in lanes]
        self._call(fence(self._client, self._coordinators, transactional_ids=ids, group=names.exchange_group, timeout_ms=self._timeout_ms))

    def touch(self, topic: str, *, partitions: int, names: Names) -> None:
        """Let the broker do for a new topic what it does at the first transaction: a marker in each partition, and no record.

        It opens files and maps indexes then, which a withdrawal would wait for that comes right behind a first delivery.
        """
        self._call(self._touch(topic, partitions, names))

    def append(self, topic: str, partition: int, data: bytes) -> int:
        """Append one record batch outside any transaction; returns its first offset."""
        return self._call(append(self._client, topic=topic, partition=partition, data=data))

    def own_plan(self, names: Names) -> None:
        """Become the one writer of hub.plan: from our first append on the broker refuses whoever was it before."""
        self._call(self._own_plan(names))

    def append_plan(self, data: bytes, *, names: Names) -> int:
        """Append one record batch to hub.plan, once; returns its first offset. HUB-SERVE-005 where another owns hub.plan now."""
        if self._plan is None:
            return self.append(names.plan, 0, data)
        return self._call(self._plan.append(data))

    def close(self) -> None:
        """Close the client and end the thread."""
        self._call(self._client.close())
        self._stop_loop()

    async def _own_plan(self, names: Names) -> None:
        writer = PlanWriter(self._client, self._coordinators, names=names, timeout_ms=self._timeout_ms)
        await writer.own()
        self._plan = writer

    async def _touch(self, topic: str, partitions: int, names: Names) -> None:
        transaction = Transaction(
            self._client,
            self._coordinators,
            transactional_id=names.touching_id,
            group=names.exchange_group,
            timeout_ms=self._timeout_ms,
        )
        await transaction.initialise()
        await transaction.join({topic: range(partitions)})
        await transaction.end(commit=False)
        await transaction.initialise()  # answers once the markers stand

    async def _open(self, positions: Mapping[TopicPartition, Position], *, names: Names) -> None:
        await asyncio.gather(*(self._commit(lane, position, names) for lane, position in positions.items()))

    async def _commit(self, lane: TopicPartition, position: Position, names: Names) -> None:
        transaction = self._transaction(lane, names)
        await transaction.initialise()
        await transaction.commit_offset(lane, position.offset, position.metadata)
        await transaction.end(commit=True)

    def _transaction(self, lane: TopicPartition, names: Names) -> Transaction:
        return Transaction(
            self._client,
            self._coordinators,
            transactional_id=names.transactional_id(lane),
            group=names.exchange_group,
            timeout_ms=self._timeout_ms,
        )

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout=CALL_TIMEOUT_S)
        except (Lost, Fenced, Undeliverable, KafkaError, TimeoutError) as error:
            future.cancel()
            cause = str(error) if isinstance(error, Lost | Fenced) else type(error).__name__
            raise HubError("HUB-BROKER-010", f"lanes were not reached: {cause}", "look at the broker's log, then try again") from error

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()


async def move(
    transaction: Transaction,
    coordinators: Coordinators,
    lane: TopicPartition,
    position: Position,
    *,
    names: Names,
    standing: Standing,
    outputs: Sequence[Output],
) -> None:
    """Commit ``position`` and ``outputs`` in one transaction; HUB-LANE-009 where the lane does not stand at ``standing`` any more.

    Asked after InitProducerId, so that no step of the lane can be committed between the answer and this commit.
    """
    await transaction.initialise()
    if await committed_offset(coordinators, group=names.exchange_group, partition=lane) != standing:
        fix = "look at `cityhub exchange status`: a lane that moves needs no adoption"
        raise HubError("HUB-LANE-009", f"`{lane}` has moved on meanwhile", fix)
    await transaction.commit_offset(lane, position.offset, position.metadata)
    if outputs:
        await transaction.produce(outputs)
    await transaction.end(commit=True)
