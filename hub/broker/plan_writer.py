"""The one writer of hub.plan, by an epoch that the broker holds it to.

A serve that was stopped between staging an entry and appending it could append it, once it is woken, behind a newer one of its successor,
and compaction would keep the older right. So each batch carries producer id and epoch of ``Names.plan_writer_id``, as an idempotent
producer's do, though no transaction is begun: what takes that id over raises the epoch, and from its first append on the partition's
leader answers INVALID_PRODUCER_EPOCH to the one before. Sequence numbers make an append that was sent twice stand once.

A partition forgets the epoch of a producer that appended nothing for ``producer.id.expiration.ms`` (a day), and the coordinator the id
of one that began no transaction for ``transactional.id.expiration.ms`` (seven days): so an epoch that appends is begun anew each day.
"""

import time
from typing import Final

from aiokafka.client import AIOKafkaClient

from hub.broker.batches import headers, stamp
from hub.broker.requests import LATEST, Coordinators, Refused, append, list_offsets
from hub.broker.transactions import Fenced, Transaction
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition

TAKEN_OVER: Final = frozenset({47, 90})
"""Invalid producer epoch, producer fenced."""
COUNT_LOST: Final = frozenset({45, 59})
"""Out of order sequence number, unknown producer id: the partition has counted otherwise than we did."""
OWNED_FOR_S: Final = 24 * 3600.0
"""An epoch is not used for longer: the coordinator forgets an id that begins no transaction, by default after seven days."""


class PlanWriter:
    """Appends to hub.plan under an epoch of its own; for use from one event loop, one append after the other."""

    def __init__(self, client: AIOKafkaClient, coordinators: Coordinators, *, names: Names, timeout_ms: int) -> None:
        """Own nothing yet."""
        self._client = client
        self._topic = names.plan
        self._owner = Transaction(
            client, coordinators, transactional_id=names.plan_writer_id, group=names.exchange_group, timeout_ms=timeout_ms
        )
        self._sequence = 0
        self._owned_at = 0.0
        self._sure = False
        """Whether the partition has counted what we did: not after an append whose answer never came."""

    async def own(self) -> None:
        """Become the writer, whoever was it before."""
        await self._owner.initialise()
        self._sequence, self._sure, self._owned_at = 0, True, time.monotonic()

    async def append(self, data: bytes) -> int:
        """Append one record batch and return its first offset; HUB-SERVE-005 where another has become the writer."""
        try:
            if not self._sure or time.monotonic() - self._owned_at > OWNED_FOR_S:
                await self._own_again()
            try:
                begins_at = await self._log_end() if self._sequence == 0 else 0
                first = await self._append(data)
                if first >= begins_at:
                    return first
            except Refused as refused:
                if refused.code not in COUNT_LOST:
                    raise
            await self._own_again()
            return await self._append(data)
        except Refused as refused:
            raise _taken_over(refused) from refused
        except Fenced as fenced:
            raise _taken_over(fenced) from fenced

    async def _append(self, data: bytes) -> int:
        ((_, _, header),) = headers(data)
        producer_id, epoch = self._owner.producer
        stamped = stamp(data, producer_id=producer_id, epoch=epoch, sequence=self._sequence, transactional=False)
        self._sure = False
        first = await append(self._client, topic=self._topic, partition=0, data=stamped, told=TAKEN_OVER | COUNT_LOST)
        self._sequence += header.records
        self._sure = True
        return first

    async def _log_end(self) -> int:
        """Return where hub.plan ends: what an epoch appends first comes behind it.

        Where a power cut took the newest epochs from the coordinator and left their batches in hub.plan, an epoch is given out twice, and
        the partition answers its first batch with the offset of the one that it holds for the same, and appends nothing.
        """
        place = TopicPartition(self._topic, 0)
        return (await list_offsets(self._client, [place], at=LATEST)).get(place, 0)

    async def _own_again(self) -> None:
        """Begin a new epoch, where nobody else has begun one meanwhile."""
        await self._owner.initialise(again=True)
        self._sequence, self._sure, self._owned_at = 0, True, time.monotonic()


def _taken_over(error: Exception) -> HubError:
    return HubError("HUB-SERVE-005", f"another serve writes hub.plan now ({error})", "ask the serve that leads now")
