"""A lane on a Kafka of a few lines: it answers the requests of the transaction protocol, and a test says which answers go wrong.

For what no real broker does on demand: an EndTxn whose fate is unknown, a topic created again between two steps, a cluster that
does not say where a topic is. What a real broker does is tested on a real one (``tests/integration``).
"""

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, Final

from aiokafka.errors import RequestTimedOutError
from kernel_kit import LANE, SCOPE, TOPIC_ID

from hub.broker.batches import read_records
from hub.broker.protocol import (
    Appended,
    EndTxn,
    InitProducerId,
    ListOffsets,
    Metadata,
    OffsetAnswer,
    OffsetFetch,
    Produce,
    ProduceAnswer,
    ProducerAnswer,
    Request,
    TxnOffsetCommit,
)
from hub.broker.requests import Coordinators
from hub.exchange.context import BrokerClock, LaneContext
from hub.exchange.lane import Lane
from hub.exchange.observer import Observer
from hub.exchange.pace import Budget
from hub.exchange.plan import Plan
from hub.exchange.undeliverable import Undeliverables
from hub.exchange.verdict import Chunk
from hub.model.names import Names, TopicPartition
from hub.model.records import decode_usage_step
from hub.model.usage import ZERO_HASH, Position, UsageStep
from hub.settings import ExchangeSettings

NAMES: Final = Names(scope=SCOPE)
NO_ANSWER: Final = "no answer"
FENCED: Final = 47
UNKNOWN_TOPIC: Final = 3


class TinyKafka:
    """One broker, one transactional id, one group: aiokafka's client as the lanes use it."""

    def __init__(self, *, append_ms: int, topics: Mapping[str, uuid.UUID]) -> None:
        """Hold ``topics``; every append is stamped ``append_ms``."""
        self.append_ms = append_ms
        self.topics = dict(topics)
        self.leaders: dict[str, int | None] = {}
        """Leader by topic as the client knows it, where it is not node 0."""
        self.committed: list[tuple[str, int, bytes]] = []
        self.offset: tuple[int, str] | None = None
        self.epoch = 0
        self.begin = 0
        self.end = 1_000
        self.asked: list[str] = []
        self.refusing: dict[str, int] = {}
        """Code that a topic answers every append with."""
        self.widths: dict[str, int] = {}
        """Bytes of the largest batch that a topic takes, where it is narrower than a lane's."""
        self.answers: dict[str, list[Any]] = {}
        """What the next requests of a kind come to instead: a code, ``NO_ANSWER``, or a call."""
        self._open: list[tuple[str, int, bytes]] = []
        self._pending: tuple[int, str] | None = None
        self.cluster = SimpleNamespace(leader_for_partition=lambda place: self.leaders.get(place.topic, 0))

    async def send(self, _node: int, wrapped: Any, **_: Any) -> Any:
        """Answer a request."""
        request = wrapped if isinstance(wrapped, Request) else wrapped.prepare({})
        kind = type(request).__name__
        self.asked.append(kind)
        scripted = self.answers.get(kind) or [0]
        code = scripted.pop(0)
        if code == NO_ANSWER:
            raise RequestTimedOutError
        if callable(code):
            code = code() or 0
        answer: Callable[[Any, int], Any] = getattr(self, f"_{kind}")
        return answer(request, code)

    async def coordinator_lookup(self, _kind: Any, _key: str) -> int:
        """Return the one node."""
        return 0

    async def force_metadata_update(self) -> bool:
        """Learn nothing new."""
        return True

    def add_topic(self, topic: str) -> None:
        """Take note of ``topic``."""

    def get_random_node(self) -> int:
        """Return the one node."""
        return 0

    def usage(self) -> list[UsageStep]:
        """Return committed usage steps."""
        return [
            decode_usage_step(row.value or b"") for topic, _, data in self.committed if topic == NAMES.usage for row in read_records(data)
        ]

    def delivered(self, topic: str) -> int:
        """Return how many records of a topic were committed."""
        return sum(len(read_records(data)) for name, _, data in self.committed if name == topic)

    def _InitProducerId(self, _request: InitProducerId, code: int) -> Any:  # noqa: N802 - named for the request
        if code == 0:
            self._open, self._pending = [], None
            self.epoch += 1
        return ProducerAnswer(code, 7, self.epoch)

    def _TxnOffsetCommit(self, request: TxnOffsetCommit, code: int) -> Any:  # noqa: N802 - named for the request
        code = code or (FENCED if request.producer_epoch != self.epoch else 0)
        if code == 0:
            self._pending = (request.offset, request.metadata)
        return OffsetAnswer(code)

    def _Produce(self, request: Produce, code: int) -> Any:  # noqa: N802 - named for the request
        rows: list[Appended] = []
        for topic, batches in request.topics.items():
            found = code or self.refusing.get(topic, 0 if topic in self.topics else UNKNOWN_TOPIC)
            for partition, data in batches:
                told = found or (10 if len(data) > self.widths.get(topic, 1 << 30) else 0)
                if told == 0:
                    self._open.append((topic, partition, bytes(data)))
                rows.append(Appended(topic, partition, told, 0, self.append_ms))
        return ProduceAnswer(tuple(rows))

    def _EndTxn(self, request: EndTxn, code: int) -> Any:  # noqa: N802 - named for the request
        if code == 0:
            if request.committed:
                self.committed += self._open
                self.offset = self._pending or self.offset
            self._open, self._pending = [], None
            self.epoch += 1
        return ProducerAnswer(code, 7, self.epoch)

    def _OffsetFetch(self, _request: OffsetFetch, code: int) -> Any:  # noqa: N802 - named for the request
        rows: list[Any] = [] if self.offset is None else [(LANE.partition, self.offset[0], -1, self.offset[1], 0, {})]
        return SimpleNamespace(error_code=code, topics=[(LANE.topic, rows, {})] if rows else [])

    def _ListOffsets(self, request: ListOffsets, code: int) -> Any:  # noqa: N802 - named for the request
        topic, places = request.topics[0]
        offset = self.begin if places[0][1] == -2 else self.end
        return SimpleNamespace(topics=[(topic, [(places[0][0], code, -1, offset)])])

    def _Metadata(self, request: Metadata, code: int) -> Any:  # noqa: N802 - named for the request
        rows: list[Any] = []
        for _, name, _ in request.topics:
            there = name in self.topics
            partitions: list[Any] = [(0, number, 0, 0, [], [], [], {}) for number in range(4)] if there else []
            rows.append((code or (0 if there else UNKNOWN_TOPIC), name, self.topics.get(name, uuid.UUID(int=0)), False, partitions, 0, {}))
        return SimpleNamespace(topics=rows)


class TinyFlow:
    """The consuming side: remembers where it was sent, and gives what a test has put there."""

    def __init__(self) -> None:
        """Begin nowhere."""
        self.sought: list[int] = []
        self.topic_id: uuid.UUID | None = None
        self.member = (1, "member")
        self.at_hand: dict[int, Callable[[], None]] = {}
        """What comes by itself once an offset is sought."""

    def pause(self, _partition: TopicPartition) -> None:
        """Nothing comes by itself."""

    def resume(self, _partition: TopicPartition) -> None:
        """Nothing comes by itself."""

    async def begin(self, _partition: TopicPartition, offset: int, topic_id: uuid.UUID) -> None:
        """Remember ``offset``, and give what is at hand there."""
        self.topic_id = topic_id
        self.sought.append(offset)
        self.at_hand.get(offset, lambda: None)()

    def membership(self) -> tuple[int, str]:
        """Return a generation and a member."""
        return self.member


class TinyIntake:
    """A plan intake that has read everything."""

    def __init__(self, plan: Plan) -> None:
        """Hold ``plan``."""
        self.now = plan
        self.age = 0.0
        self.book = SimpleNamespace(key_fault=None)

    def age_s(self) -> float:
        """Return for how long hub.plan's leader has not answered."""
        return self.age

    def plan(self, _topic: str) -> Plan:
        """Return the plan."""
        return self.now

    async def read_to_end(self) -> int:
        """Return the end of hub.plan."""
        return self.now.plan_offset + 1


class LaneRig:
    """A lane, and what it stands on."""

    def __init__(self, plan: Plan, *, append_ms: int, at: int = 100, wait_s: float = 0.0) -> None:
        """Open the lane at ``at``; it waits ``wait_s`` for share partitions that are gone."""
        share_topics = [agreement.share_topic for agreement in plan.agreements]
        names = [LANE.topic, plan.quarantine_topic, NAMES.usage, *share_topics]
        self.kafka = TinyKafka(append_ms=append_ms, topics={name: TOPIC_ID if name == LANE.topic else uuid.uuid4() for name in names})
        position = Position(offset=at, topic_id=TOPIC_ID, step=0, plan_offset=0, plan_from=at, head=ZERO_HASH)
        self.kafka.offset = (at, position.metadata)
        self.flow = TinyFlow()
        self.intake = TinyIntake(plan)
        observer = Observer()
        client: Any = self.kafka
        self.context = LaneContext(
            settings=ExchangeSettings(step_ms=1),
            names=NAMES,
            worker_id="test",
            client=client,
            coordinators=Coordinators(client),
            intake=self.intake,  # type: ignore[arg-type]
            clock=BrokerClock(),
            undeliverables=Undeliverables(client=client, told=observer, wait_s=wait_s),
            flow=self.flow,
            observer=observer,
            kernels=ThreadPoolExecutor(1),
            budget=Budget(1024 * 1024),
        )
        self.lane = Lane(LANE, context=self.context)

    def give_when_sought(self, chunk: Chunk) -> None:
        """Hand ``chunk`` to the lane each time that it begins at the chunk's first offset."""
        self.flow.at_hand[chunk.first_offset] = lambda: self.lane.take(chunk)
