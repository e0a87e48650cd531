"""The gate of the lanes, for code that is not on an event loop: open, fence, append.

Owns one event loop in a thread of its own, with one client, so that a revocation never waits for a connection.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka.client import AIOKafkaClient

from hub.broker.transactions import Coordinators, Lost, Output, Transaction, append, fence, open_client
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position

CALL_TIMEOUT_S: Final = 60.0
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

    def open(self, positions: Mapping[TopicPartition, Position], *, names: Names, outputs: Sequence[Output] = ()) -> None:
        """Commit a position for each lane under its transactional id; ``outputs`` join the one transaction of a single lane."""
        self._call(self._open(positions, names=names, outputs=outputs))

    def fence(self, lanes: Sequence[TopicPartition], *, names: Names) -> None:
        """Fence every lane; returns when each InitProducerId has answered 0."""
        ids = [names.transactional_id(lane) for lane in lanes]
        self._call(fence(self._client, self._coordinators, transactional_ids=ids, group=names.exchange_group, timeout_ms=self._timeout_ms))

    def append(self, topic: str, partition: int, data: bytes) -> int:
        """Append one record batch outside any transaction; returns its first offset."""
        return self._call(append(self._client, topic=topic, partition=partition, data=data))

    def close(self) -> None:
        """Close the client and end the thread."""
        self._call(self._client.close())
        self._stop_loop()

    async def _open(self, positions: Mapping[TopicPartition, Position], *, names: Names, outputs: Sequence[Output]) -> None:
        await asyncio.gather(*(self._commit(lane, position, names=names, outputs=outputs) for lane, position in positions.items()))

    async def _commit(self, lane: TopicPartition, position: Position, *, names: Names, outputs: Sequence[Output]) -> None:
        transaction = Transaction(
            self._client,
            self._coordinators,
            transactional_id=names.transactional_id(lane),
            group=names.exchange_group,
            timeout_ms=self._timeout_ms,
        )
        await transaction.initialise()
        await transaction.commit_offset(lane, position.offset, position.metadata)
        if outputs:
            await transaction.produce(outputs)
        await transaction.end(commit=True)

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout=CALL_TIMEOUT_S)
        except (Lost, TimeoutError) as error:
            future.cancel()
            raise HubError("HUB-BROKER-010", str(error) or "no answer in time", "look at the broker's log, then try again") from error

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
