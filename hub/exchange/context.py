"""What the lanes of one worker share: connections, the plan intake, the broker's clock, and who cannot be delivered to."""

import time
import uuid
import zlib
from concurrent.futures import Executor
from typing import Protocol

import msgspec
from aiokafka.client import AIOKafkaClient

from hub.broker.requests import Coordinators, topic_ids
from hub.broker.transactions import Lines
from hub.exchange.intake import Intake
from hub.exchange.observer import Observer
from hub.exchange.pace import Budget
from hub.exchange.plan import Plan
from hub.exchange.undeliverable import Undeliverables
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.settings import ExchangeSettings


class Flow(Protocol):
    """The consuming side, as a lane sees it."""

    def pause(self, partition: TopicPartition) -> None:
        """Hand out no more chunks of ``partition``."""

    def resume(self, partition: TopicPartition) -> None:
        """Hand out chunks of ``partition`` again."""

    async def begin(self, partition: TopicPartition, offset: int, topic_id: uuid.UUID) -> None:
        """Hand out chunks from ``offset`` on, of the topic that has this id and of no other under its name."""

    def membership(self) -> tuple[int, str]:
        """Return generation and member id of this worker in the group."""


class BrokerClock:
    """A lower bound of the broker's clock: the last append time seen plus the monotonic time since. Worker clocks lie."""

    def __init__(self) -> None:
        """Know nothing yet: 0, before every term."""
        self._append_ms = 0
        self._seen_at = 0.0

    def see(self, append_ms: int) -> None:
        """Take an append time from a produce response that has just arrived."""
        if append_ms > self.now_ms():
            self._append_ms, self._seen_at = append_ms, time.monotonic()

    def now_ms(self) -> int:
        """Return broker time in milliseconds, never ahead of it; 0 before the first answer."""
        return 0 if self._append_ms == 0 else self._append_ms + int((time.monotonic() - self._seen_at) * 1000)


class LaneContext(msgspec.Struct, frozen=True):
    """Everything a lane is given."""

    settings: ExchangeSettings
    names: Names
    worker_id: str
    client: AIOKafkaClient
    coordinators: Coordinators
    intake: Intake
    clock: BrokerClock
    undeliverables: Undeliverables
    flow: Flow
    observer: Observer
    kernels: Executor
    """Threads in which kernels run, so that none holds the event loop."""
    budget: Budget
    """Bytes of verdicts that are not written yet."""

    def lines(self, partition: TopicPartition) -> Lines:
        """Return the connections that the lane of ``partition`` uses: lanes are spread over as many as the settings say."""
        turn = partition.partition + zlib.crc32(partition.topic.encode())
        settings = self.settings
        return Lines(("produce", turn % settings.produce_connections), ("coordinate", turn % settings.coordination_connections))

    async def topic_id(self, topic: str) -> uuid.UUID | None:
        """Return the id of a topic as the cluster has it now, None where it is gone."""
        found: uuid.UUID | None = (await topic_ids(self.client, [topic])).get(topic)
        return found

    async def hold_topic(self, partition: TopicPartition, topic_id: uuid.UUID) -> None:
        """Hold that a topic is still the one of the position; HUB-LANE-002 where its name is another topic's now.

        Asked after records were read: what was read before the answer came from the topic of the position. A topic that is not
        there is no other topic: the group takes its partitions away.
        """
        if await self.topic_id(partition.topic) not in {None, topic_id}:
            raise another_topic(partition)

    def plan(self, partition: TopicPartition) -> Plan:
        """Return the newest plan for a lane; HUB-LANE-012 where its dataset has no such partition, and what ``Intake.plan`` raises."""
        plan = self.intake.plan(partition.topic)
        if partition.partition >= plan.partitions:
            raise beyond_the_dataset(partition, plan.partitions)
        return plan

    def plan_offset(self, topic: str) -> int:
        """Return the offset of the newest plan of ``topic``, -1 where there is none."""
        try:
            return self.intake.plan(topic).plan_offset
        except HubError:
            return -1

    def schema_ids(self, topic: str) -> frozenset[int]:
        """Return the ids of the schemas that records of ``topic`` may be written by, none where there is no plan."""
        try:
            return frozenset(self.intake.plan(topic).writers)
        except HubError:
            return frozenset()


def beyond_the_dataset(partition: TopicPartition, partitions: int) -> HubError:
    """Return the error of a partition that its topic was given later: nothing was agreed for it, and share topics have none like it."""
    way_out = f"let publishers use partitions 0 to {partitions - 1}, and publish there again what stands in the others"
    return HubError("HUB-LANE-012", f"the dataset has {partitions} partitions, and `{partition}` is none of them", way_out)


def beyond_the_log(partition: TopicPartition, offset: int, end: int | None) -> HubError:
    """Return the error of a lane that stands where its log has not come to: it was cut, or is another one."""
    way_out = f"look at `cityhub exchange status`, then `cityhub exchange adopt {partition} --at OFFSET`"
    return HubError("HUB-LANE-003", f"`{partition}` stands at {offset}, the log ends at {end}", way_out)


def another_topic(partition: TopicPartition) -> HubError:
    """Return the error of a lane whose topic was created again: its offsets are those of other records."""
    way_out = f"look at `cityhub exchange status`, then `cityhub exchange adopt {partition} --at OFFSET`"
    return HubError("HUB-LANE-002", f"`{partition.topic}` is another topic than the one of the position", way_out)
