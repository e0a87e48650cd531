"""Transactions of our own on a shared client: one transactional id each, three round trips a transaction, one after the other.

Theory of operation (KIP-890, KIP-447; measured in the studies behind the design):

* ``initialise`` is InitProducerId until it answers 0. It fences whoever had the id and ends that one's transaction. Only 0 is
  a fence: on 51 the owner may still go on.
* ``commit_offset`` goes first and alone: it meets the markers of the last transaction (51, 19) with 200 bytes.
* ``produce`` sends every batch of the step, in one request per broker where no partition has two, and returns the latest append
  time. A batch that can be stamped in place is never copied. Retries keep their sequence numbers. A partition that is gone or refuses
  is named with its code; everything else that is not understood means that the transaction is lost: initialise again, read the position.
* ``end`` bumps the epoch (EndTxn v5), so that a late request of this transaction can never reach the next.

Every retry loop ends before the transaction times out at the broker. Never ``end`` after ``Fenced``.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.structs import TopicPartition as KafkaPartition

from hub.broker.batches import stamp
from hub.broker.protocol import AddPartitionsToTxn, EndTxn, InitProducerId, Produce, ProduceAnswer, TxnOffsetCommit
from hub.broker.requests import (
    BUSY,
    COORDINATOR,
    NO_LEADER,
    REQUEST_TIMEOUT_MS,
    STALE,
    UNKNOWN_TOPIC,
    UNKNOWN_TOPIC_FOR_S,
    Coordinators,
    Lost,
    absent,
    refresh,
)
from hub.model.names import TopicPartition

FENCED: Final = frozenset({22, 25, 27, 47, 48, 49, 82, 90})
"""Illegal generation, unknown member, rebalance, invalid epoch, invalid state, invalid id mapping, fenced instance or producer."""
TOO_LARGE: Final = frozenset({10, 18})
"""Record or list of records too large: the partition takes smaller batches."""
MAY_PASS: Final = frozenset({19, 20, 29})
"""Too few replicas in sync, not authorised: an operator, or time, mends them, and no record is to blame."""
REFUSED: Final = frozenset({17, 44, 87})
"""Invalid topic, policy, invalid record: definite for that topic as it is set."""
_DEFINITE: Final = TOO_LARGE | REFUSED | (MAY_PASS - BUSY)
RETRY_SHARE: Final = 0.5
"""Of the transaction time-out: with one request's time-out behind it, every retry ends before the transaction does."""


class Stampable(Protocol):
    """A record batch in memory of its own, which takes its producer's numbers in place; it has the buffer protocol."""

    def stamp(self, producer_id: int, epoch: int, sequence: int, transactional: bool) -> None:  # noqa: FBT001 - the native type's
        """Set producer id, epoch, base sequence and the transactional bit, and make the CRC anew."""

    def __len__(self) -> int:
        """Return the size of the batch."""


class Output(NamedTuple):
    """A record batch for one partition, not stamped yet."""

    topic: str
    partition: int
    data: bytes | Stampable
    records: int


class Fenced(Exception):  # noqa: N818 - a state, as Kafka names it
    """Someone else owns the transactional id, or the group gave the partition to another member."""

    def __init__(self, what: str, code: int) -> None:
        """Keep Kafka's code."""
        super().__init__(f"{what} answered {code}")
        self.by_group = code in {22, 25, 27, 82}
        """True when the group refused: this worker may not own the partition any more."""


class Refusal(NamedTuple):
    """Why a partition does not take a batch, and how large that batch was."""

    code: int
    """Kafka's; 3 where the partition is not there."""
    size: int = 0
    records: int = 0


class Undeliverable(Exception):  # noqa: N818 - a state
    """Partitions that are gone or refuse, by place: the others must not be taken for the same."""

    def __init__(self, refusals: Mapping[tuple[str, int], Refusal]) -> None:
        """Keep place and refusal."""
        super().__init__({place: refusal.code for place, refusal in refusals.items()})
        self.refusals = refusals

    def of(self, outputs: Sequence[Output]) -> "Undeliverable":
        """Return the same with the sizes of the batches that were sent."""
        sent = {(output.topic, output.partition): output for output in outputs}
        return Undeliverable(
            {
                place: Refusal(refusal.code, len(sent[place].data), sent[place].records) if place in sent else refusal
                for place, refusal in self.refusals.items()
            }
        )


class Lines(NamedTuple):
    """The connections to each broker that a transaction uses, by name: those that have the same share one.

    A broker answers the requests of one connection one after the other, and holds TxnOffsetCommit for up to 100 ms while markers
    of the id's last transaction are being written (``add.partitions.to.txn.retry.backoff.max.ms``): on one connection for all, a
    worker's lanes would wait for each other's markers.
    """

    produce: Any = ConnectionGroup.DEFAULT
    coordinate: Any = ConnectionGroup.COORDINATION


class Transaction:
    """One transactional id: begin by ``initialise``, then any number of offset commits, produces and ends."""

    def __init__(
        self,
        client: AIOKafkaClient,
        coordinators: Coordinators,
        *,
        transactional_id: str,
        group: str,
        timeout_ms: int,
        lines: Lines = Lines(),  # noqa: B008 - it cannot change
    ) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._coordinators = coordinators
        self._id = transactional_id
        self._group = group
        self._timeout_ms = timeout_ms
        self._lines = lines
        self._producer_id = -1
        self._epoch = -1
        self._sequences: dict[tuple[str, int], int] = {}

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_ms * RETRY_SHARE / 1000

    @property
    def producer(self) -> tuple[int, int]:
        """Producer id and epoch."""
        return self._producer_id, self._epoch

    async def initialise(self, *, again: bool = False) -> None:
        """Own the id: fence whoever had it and end that one's transaction. Returns when that is done.

        With ``again`` only where it is still ours: Fenced else (KIP-360).
        """
        deadline = time.monotonic() + max(self._timeout_ms, 30_000) / 1000
        owned = self.producer if again else (-1, -1)
        request = InitProducerId(transactional_id=self._id, timeout_ms=self._timeout_ms, owned=owned)
        answer = await self._coordinate(CoordinationType.TRANSACTION, self._id, request, deadline=deadline)
        self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
        self._sequences.clear()

    async def commit_offset(self, partition: TopicPartition, offset: int, metadata: str, *, generation: int = -1, member: str = "") -> None:
        """Commit one source offset with its metadata inside the transaction, as a member of the group."""
        request = TxnOffsetCommit(
            transactional_id=self._id,
            group=self._group,
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            generation=generation,
            member=member,
            topic=partition.topic,
            partition=partition.partition,
            offset=offset,
            metadata=metadata,
        )
        await self._coordinate(CoordinationType.GROUP, self._group, request, deadline=self._deadline())

    async def produce(self, outputs: Sequence[Output]) -> int:
        """Send every output, several per partition in their order; returns the latest append time in milliseconds."""
        append_ms = -1
        rest = list(outputs)
        while rest:
            wave: list[Output] = []
            later: list[Output] = []
            seen: set[tuple[str, int]] = set()
            for output in rest:
                place = (output.topic, output.partition)
                (later if place in seen else wave).append(output)
                seen.add(place)
            try:
                append_ms = max(append_ms, await self._send([(o.topic, o.partition, self._stamp(o)) for o in wave]))
            except Undeliverable as refused:
                raise refused.of(wave) from None
            rest = later
        return append_ms

    async def join(self, topics: Mapping[str, Sequence[int]]) -> None:
        """Let partitions join before anything is written to them, so that the end of the transaction leaves a marker in each."""
        request = AddPartitionsToTxn(transactional_id=self._id, producer_id=self._producer_id, producer_epoch=self._epoch, topics=topics)
        await self._coordinate(CoordinationType.TRANSACTION, self._id, request, deadline=self._deadline())

    async def end(self, *, commit: bool) -> None:
        """Commit or abort; the id is ready for the next transaction afterwards."""
        request = EndTxn(transactional_id=self._id, producer_id=self._producer_id, producer_epoch=self._epoch, committed=commit)
        answer = await self._coordinate(CoordinationType.TRANSACTION, self._id, request, deadline=self._deadline())
        self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
        self._sequences.clear()

    def _stamp(self, output: Output) -> Any:
        place = (output.topic, output.partition)
        sequence = self._sequences.get(place, 0)
        self._sequences[place] = sequence + output.records
        if isinstance(output.data, bytes):
            return stamp(output.data, producer_id=self._producer_id, epoch=self._epoch, sequence=sequence, transactional=True)
        output.data.stamp(self._producer_id, self._epoch, sequence, True)
        return output.data

    async def _coordinate(self, kind: Any, key: str, request: Any, *, deadline: float) -> Any:
        """Send until the answer's code is 0; Fenced or Lost otherwise."""
        pause = 0.002
        while True:
            answer = await self._coordinators.send(kind, key, request, deadline=deadline, line=self._lines.coordinate)
            code = answer.error_code
            if code == 0:
                return answer
            if code in FENCED:
                raise Fenced(type(request).__name__, code)
            if code in COORDINATOR:
                self._coordinators.forget(kind, key)
            elif code not in BUSY and code not in STALE:
                message = f"{type(request).__name__} answered {code}"
                raise Lost(message)
            if time.monotonic() > deadline:
                message = f"{type(request).__name__} answered {code} for too long"
                raise Lost(message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    async def _send(self, items: list[tuple[str, int, Any]]) -> int:
        """Send at most one batch per partition until each is acknowledged; returns the latest append time."""
        deadline = self._deadline()
        unknown_until = time.monotonic() + UNKNOWN_TOPIC_FOR_S
        append_ms = -1
        while items:
            nodes = self._by_leader(items)
            if len(nodes) == 1:
                sent = [await self._send_to(node, part) for node, part in nodes.items()]
            else:
                sent = await asyncio.gather(*(self._send_to(node, part) for node, part in nodes.items()))
            append_ms = max(append_ms, *(found for found, _ in sent))
            codes = {place: code for _, failed in sent for place, code in failed.items()}
            items = [item for item in items if item[:2] in codes]
            if not items:
                break
            unknown = {place for place, code in codes.items() if code == UNKNOWN_TOPIC}
            gone = await absent(self._client, unknown) if unknown and time.monotonic() > unknown_until else frozenset()
            _raise_definite(codes, gone=gone)
            if time.monotonic() > deadline:
                if set(codes.values()) <= MAY_PASS:
                    raise Undeliverable({place: Refusal(code) for place, code in codes.items()})
                message = f"produce answered {sorted(set(codes.values()))} for too long"
                raise Lost(message)
            if any(code in STALE for code in codes.values()):
                for topic, _, _ in items:
                    self._client.add_topic(topic)
                await refresh(self._client)
            await asyncio.sleep(0.02)
        return append_ms

    def _by_leader(self, items: list[tuple[str, int, Any]]) -> dict[int | None, list[tuple[str, int, Any]]]:
        found: dict[int | None, list[tuple[str, int, Any]]] = defaultdict(list)
        for item in items:
            leader = self._client.cluster.leader_for_partition(KafkaPartition(item[0], item[1]))
            found[leader].append(item)
        return found

    async def _send_to(self, node: int | None, items: list[tuple[str, int, Any]]) -> tuple[int, dict[tuple[str, int], int]]:
        """Return the latest append time and the codes of the partitions that have to go again."""
        if node is None or node < 0:
            return -1, {item[:2]: UNKNOWN_TOPIC if node is None else NO_LEADER for item in items}
        topics: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for topic, partition, data in items:
            topics[topic].append((partition, data))
        request = Produce(transactional_id=self._id, timeout_ms=REQUEST_TIMEOUT_MS, topics=topics)
        try:
            answer: ProduceAnswer = await self._client.send(node, request, group=self._lines.produce)
        except kafka_errors.KafkaError:
            return -1, {item[:2]: NO_LEADER for item in items}
        append_ms = max((row.append_ms for row in answer.rows if row.code == 0), default=-1)
        return append_ms, {(row.topic, row.partition): row.code for row in answer.rows if row.code != 0}


def _raise_definite(codes: Mapping[tuple[str, int], int], *, gone: Collection[tuple[str, int]]) -> None:
    """Raise for codes that no retry mends: Fenced, Undeliverable partitions, Lost for what is not understood."""
    found = set(codes.values())
    if found & FENCED:
        raise Fenced("Produce", min(found & FENCED))
    definite = {place: Refusal(code) for place, code in codes.items() if code in _DEFINITE or place in gone}
    if definite:
        raise Undeliverable(definite)
    strange = found - STALE - BUSY - COORDINATOR
    if strange:
        message = f"produce answered {sorted(strange)}"
        raise Lost(message)


async def fence(
    client: AIOKafkaClient, coordinators: Coordinators, *, transactional_ids: Collection[str], group: str, timeout_ms: int
) -> None:
    """Fence every id; returns when each has answered 0. After that nothing that was open under them can commit."""
    lanes = [Transaction(client, coordinators, transactional_id=name, group=group, timeout_ms=timeout_ms) for name in transactional_ids]
    await asyncio.gather(*(lane.initialise() for lane in lanes))
