"""What a worker tells of its lanes reaches Kafka also where one of them has no topic any more."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hub.exchange.standing import Standing, StandingReports, read_standing
from hub.model.names import TopicPartition

UNKNOWN_TOPIC = 3
GONE = TopicPartition("dept.vehicle-registry.gone", 0)
WELL = [TopicPartition("dept.vehicle-registry.vehicles", number) for number in range(4)]


class Group:
    """A coordinator that knows every topic but one, and keeps what it took."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.taken: list[TopicPartition] = []
        self.texts: dict[TopicPartition, str] = {}

    async def send(self, _kind: Any, _key: str, request: Any, *, deadline: float) -> Any:
        """Answer for each lane by itself."""
        assert deadline
        topics = []
        for topic, rows in request.prepare({}).topics:
            topics.append((topic, [(number, UNKNOWN_TOPIC if topic == GONE.topic else 0) for number, _, _ in rows]))
            for number, _, text in rows:
                if topic != GONE.topic:
                    self.taken.append(TopicPartition(topic, number))
                    self.texts[TopicPartition(topic, number)] = text
        return SimpleNamespace(topics=topics)

    def forget(self, _kind: Any, _key: str) -> None:
        """Look for it again."""


def test_a_lane_whose_topic_is_gone_holds_up_no_other() -> None:
    """Each that was taken is told once; the one that was not is told again."""
    group = Group()
    coordinators: Any = group
    lanes = {lane: (7, Standing("worker", code="HUB-LANE-011")) for lane in [*WELL, GONE]}
    reports = StandingReports(coordinators=coordinators, group="standing", lanes=lambda: lanes)

    async def thrice() -> None:
        for _ in range(3):
            await reports.tell()

    asyncio.run(thrice())
    assert group.taken == WELL
    assert {read_standing(text) for text in group.texts.values()} == {Standing("worker", code="HUB-LANE-011")}
