"""The fetcher of data topics: asks by topic id for as much as there is room for, and makes one chunk of what comes for a partition.

aiokafka's fetcher keeps its loop, its positions and its resets; what is asked, and what is made of an answer, is replaced here.

* A data partition is asked for only once its lane has begun it at an offset, and by the id of the topic that the lane's position
  names. A topic deleted and created again under the same name is answered by ``UNKNOWN_TOPIC_ID``, or inside a session by
  ``UNKNOWN_TOPIC`` and ``INCONSISTENT_TOPIC_ID``: not one of its records comes (aiokafka asks by name, and would go on at the same
  offset in other records). Then, and where the log does not hold the offset, the lane is told and decides; nothing is reset behind
  its back.
* While answers are large the next request goes out at once, with the partitions whose records are taken, and the broker lets it
  wait for enough bytes; while they are small it waits here until all of the last answer is taken, so that few requests cover many
  partitions. While next to nothing comes, the broker is asked by the clock and answers at once: a request that waits there for
  hundreds of partitions is looked through again at every record that is written to one of them.
* Request and answer name what has changed since the last one (``FetchSession``), and not every partition that is quiet.
* Topics of other agents are ordinary: records of aiokafka's, ids by metadata.

Private API under exact pins: see ``tests/contract``.
"""

import asyncio
import contextlib
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import structlog
from aiokafka import errors as kafka_errors
from aiokafka.consumer import fetcher as aiokafka_fetcher

from hub.broker.fetching import INCONSISTENT_TOPIC_ID, UNKNOWN_TOPIC_ID, FetchAnswer, Fetched, FetchRequest, FetchSession, Place
from hub.broker.requests import Lost, topic_ids
from hub.exchange.transport.chunks import read_chunk
from hub.exchange.transport.reception import Reception
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition

STALE_METADATA: Final = frozenset({3, 5, 6, 9, 74, 75, 76})
"""Unknown partition, no leader, not leader, replica away, leader epochs: another broker has it, metadata tells which."""
OFFSET_OUT_OF_RANGE: Final = 1
UNKNOWN_TOPIC: Final = 3
TAKEN_WITHIN_S: Final = 0.1
"""While answers are small, a request waits so long at most for what is not taken yet."""
QUIET_SHARE: Final = 8
"""Next to nothing comes where an answer has less than this part of ``fetch_min_bytes``."""
LEARN_AGAIN_S: Final = 1.0

log = structlog.get_logger()


class Gate(Protocol):
    """What the fetcher asks of the exchange; called in the consumer's thread."""

    def is_data(self, topic: str) -> bool:
        """Tell whether ``topic`` is a department's."""

    def refused(self, partition: TopicPartition) -> None:
        """Note that a broker knows no such topic, or no such offset of it: nothing comes until the lane begins again."""


class ChunkRecord:
    """A chunk where Faust and aiokafka expect a record: ``offset`` is the last one that it accounts for."""

    __slots__ = ("chunk", "offset", "timestamp")

    def __init__(self, chunk: Chunk) -> None:
        """Wrap ``chunk``."""
        self.chunk = chunk
        self.offset = chunk.next_offset - 1
        self.timestamp = 0


class OneChunk:
    """An iterator of one ``ChunkRecord``, where aiokafka expects its own ``PartitionRecords``."""

    def __init__(self, chunk: Chunk) -> None:
        """Yield ``chunk``, once."""
        self.next_fetch_offset = chunk.first_offset
        self._chunk: Chunk | None = chunk

    def __iter__(self) -> Iterator[ChunkRecord]:
        """Return itself."""
        return self

    def __next__(self) -> ChunkRecord:
        """Return the chunk; the position is behind it afterwards."""
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            raise StopIteration
        self.next_fetch_offset = chunk.next_offset
        return ChunkRecord(chunk)


class Turn:
    """What one node was asked last, when, and how much came."""

    __slots__ = ("answered_at", "asked", "asked_at", "assignment", "bytes", "first", "session")

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.session = FetchSession()
        self.asked: Mapping[Place, tuple[Any, int]] = {}
        """Which partition and offset a row of the answer is about."""
        self.assignment: Any = None
        """Of the last request: another one knows nothing yet of any partition, so the broker must tell of all."""
        self.first = 0
        """Which partition was named first."""
        self.asked_at = 0.0
        self.answered_at = 0.0
        self.bytes = 0


class ChunkFetcher(aiokafka_fetcher.Fetcher):
    """The class is given to the fetcher that aiokafka has made, before it has anything to fetch."""

    def take_over(self, gate: Gate, reception: Reception) -> None:
        """Begin with no partition."""
        self._gate = gate
        self._reception = reception
        self._ids: dict[Any, uuid.UUID] = {}
        self._learning: asyncio.Task[None] | None = None
        self._turns: dict[int, Turn] = defaultdict(Turn)
        reception.freed = self._freed

    def begin(self, tp: Any, offset: int, topic_id: uuid.UUID) -> None:
        """Ask for ``tp`` from ``offset`` on, in the topic that has this id."""
        self._ids[tp] = topic_id
        self.seek_to(tp, offset)

    def forget(self, tp: Any) -> None:
        """Ask for ``tp`` no more until it is begun again."""
        self._ids.pop(tp, None)

    def _freed(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the fetching
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._notify(self._wait_consume_future)

    def _get_actions_per_node(self, assignment: Any) -> tuple[Any, ...]:
        """Return requests by node, partitions to be reset by node, a time-out, whether metadata is stale, and nothing paused."""
        now = time.monotonic()
        rests = {node: self._rest(turn, now) for node, turn in self._turns.items() if node not in self._in_flight}
        pause = min(rests.values(), default=0.0) if self._reception.left() else float(self._fetcher_timeout)
        if pause:  # whatever ends it wakes the loop
            return [], {}, pause, False, []
        asked: dict[int, list[tuple[Any, int]]] = defaultdict(list)
        resets: dict[int, list[Any]] = defaultdict(list)
        unknown, stale, ids = set(), False, self._ids
        leader_of, state_of = self._client.cluster.leader_for_partition, assignment.state_value
        for tp in assignment.tps:
            if tp in self._records:
                continue
            if tp not in ids:
                if not self._gate.is_data(tp.topic):
                    unknown.add(tp.topic)
                continue
            node = leader_of(tp)
            state = state_of(tp)
            if node is None or node == -1:
                stale = True
            elif node in self._in_flight:
                continue
            elif not state.has_valid_position:
                resets[node].append(tp)
            else:
                asked[node].append((tp, state.position))
        if unknown and self._learning is None:
            self._learning = asyncio.ensure_future(self._learn(frozenset(unknown)))
        due = {node: rows for node, rows in asked.items() if node not in resets and not rests.get(node)}
        requests = [(node, self._request(node, rows, assignment)) for node, rows in due.items()]
        later = min((rest for rest in rests.values() if rest), default=self._fetcher_timeout)
        return requests, resets, later, stale, []

    def _is_quiet(self, turn: Turn) -> bool:
        return bool(turn.bytes < self._fetch_min_bytes // QUIET_SHARE)

    def _rest(self, turn: Turn, now: float) -> float:
        """Return for how long a node is not asked: by the clock where next to nothing comes, until a small answer is taken, not at all."""
        if self._is_quiet(turn):
            due = turn.asked_at + float(self._fetch_max_wait_ms) / 1000
            return max(0.0, due - now)
        if turn.bytes < self._fetch_min_bytes and self._records:
            return max(0.0, turn.answered_at + TAKEN_WITHIN_S - now)
        return 0.0

    def _request(self, node: int, rows: list[tuple[Any, int]], assignment: Any) -> FetchRequest:
        """Ask for each, beginning elsewhere each time: without a session, what is asked for last may always find the answer full."""
        turn = self._turns[node]
        if turn.assignment is not assignment:
            turn.session.renew()
            turn.assignment = assignment
        turn.first = (turn.first + 1) % len(rows)
        turned = (*rows[turn.first :], *rows[: turn.first])
        turn.asked = {(self._ids[tp], tp.partition): (tp, offset) for tp, offset in turned}
        return turn.session.request(
            {place: offset for place, (_, offset) in turn.asked.items()},
            max_wait_ms=0 if self._is_quiet(turn) else self._fetch_max_wait_ms,
            min_bytes=self._fetch_min_bytes,
            max_bytes=min(self._fetch_max_bytes, self._reception.left()),
            partition_bytes=self._max_partition_fetch_bytes,
        )

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: FetchRequest) -> bool:
        """Ask one broker; True when there is something to take."""
        turn = self._turns[node_id]
        turn.asked_at = time.monotonic()
        try:
            answer: FetchAnswer = await self._client.send(node_id, request)
        except kafka_errors.KafkaError as error:
            turn.session.renew()
            log.warning("fetch failed", error=type(error).__name__)
            await self._pause()
            return False
        except asyncio.CancelledError:
            turn.session.renew()
            return False
        turn.session.answered(answer)
        if not assignment.active:
            return False
        turn.answered_at, came = time.monotonic(), sum(len(row.records) for row in answer.rows)
        if not answer.code:
            turn.bytes = came
        now_ms = int(time.time() * 1000)
        faults = [row for row in answer.rows if not self._take(row, turn, assignment, now_ms)]
        if faults or answer.code:
            for waiter in self._fetch_waiters:
                self._notify(waiter)
            await self._pause()
        return bool(came)

    async def _pause(self) -> None:
        """Keep the node from being asked again at once: an error is answered at once too. Ends, as a fetch does, when cancelled."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(self._retry_backoff)

    def _take(self, row: Fetched, turn: Turn, assignment: Any, now_ms: int) -> bool:
        """Keep what came for a partition, unless it was begun elsewhere meanwhile; False when the broker refused."""
        found = turn.asked.get((row.topic_id, row.partition))
        if found is None:  # we are not in step with the broker
            turn.session.renew()
            return False
        tp, offset = found
        state = assignment.state_value(tp)
        if self._ids.get(tp) != row.topic_id or not state.has_valid_position or state.position != offset:
            return True
        if row.code:
            self._refused(tp, state, row.code)
            return False
        state.highwater, state.lso, state.timestamp = row.high_watermark, row.stable_offset, now_ms
        if len(row.records):
            records = self._records_of(tp, row, offset)
            if records is not None:
                self._records[tp] = aiokafka_fetcher.FetchResult(tp, assignment=assignment, partition_records=records, backoff=0)
        return True

    def _records_of(self, tp: Any, row: Fetched, offset: int) -> Any:
        """Return what aiokafka iterates over; None where no whole batch came: the answer was full before it."""
        if self._gate.is_data(tp.topic):
            chunk = read_chunk(TopicPartition(tp.topic, tp.partition), row.records, aborted=row.aborted, fetch_offset=offset)
            return None if chunk is None else OneChunk(chunk)
        records = aiokafka_fetcher.MemoryRecords(bytes(row.records))
        if not records.has_next():
            return None
        decode = (self._key_deserializer, self._value_deserializer, self._check_crcs, self._isolation_level)
        return aiokafka_fetcher.PartitionRecords(tp, records, row.aborted, offset, *decode)

    def _refused(self, tp: Any, state: Any, code: int) -> None:
        lost_its_place = code in {UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID, OFFSET_OUT_OF_RANGE}
        if code in STALE_METADATA:
            self._client.force_metadata_update()
        if lost_its_place and self._gate.is_data(tp.topic):
            self.forget(tp)
            self._gate.refused(TopicPartition(tp.topic, tp.partition))
        elif code in {UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID}:
            self.forget(tp)
        elif code == OFFSET_OUT_OF_RANGE:
            state.await_reset(self._default_reset_strategy)
        elif code not in STALE_METADATA:
            log.warning("fetch refused", topic=tp.topic, partition=tp.partition, kafka_error=code)

    async def _learn(self, topics: frozenset[str]) -> None:
        """Find the ids of topics that are no lane's."""
        try:
            found = await topic_ids(self._client, topics)
            subscription = self._subscriptions.subscription
            if subscription is not None and subscription.assignment is not None:
                self._ids.update({tp: found[tp.topic] for tp in subscription.assignment.tps if tp.topic in found})
            if topics - found.keys():
                await asyncio.sleep(LEARN_AGAIN_S)
        except (Lost, kafka_errors.KafkaError):
            await asyncio.sleep(LEARN_AGAIN_S)
        finally:
            self._learning = None
            self._wake()
