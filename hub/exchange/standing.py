"""What workers tell of their lanes, kept in Kafka: so that `cityhub exchange status` knows why a lane stands still on any machine.

A lane's position says what a lane would find if it started now, and nothing of one that stopped for what it met. So each worker
commits a line about each of its lanes as the metadata of an offset in a group of its own (``Names.standing_group``), which nobody
consumes by: when it changes, and all of them again now and then, since Kafka forgets offsets that nobody renews. Best effort: what is
lost is told again, and nothing waits for it. Codes, causes and fixes only, never a value.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from aiokafka.client import CoordinationType
from aiokafka.protocol.commit import OffsetCommitRequest_v3

from hub.broker.protocol import FixedVersion
from hub.broker.requests import COORDINATOR, Coordinators, Lost
from hub.model.names import TopicPartition

log = structlog.get_logger()
EVERY_S: Final = 1.0
RENEWED_EVERY_S: Final = 3_600.0
LANES_MAX: Final = 500
"""Lanes in one request."""
WITHIN_S: Final = 5.0
TEXT_MAX: Final = 600
"""Characters of a cause, and of a fix: the metadata of an offset holds 4,096 bytes."""


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one lane stands, as its worker tells it; ``code`` is None where all is well."""

    worker: str
    code: str | None = None
    cause: str | None = None
    fix: str | None = None
    since_ms: int | None = None
    goes_on: bool = False
    """Whether the lane goes on all the same, and ``code`` says what it denies to some of its consumers."""

    @property
    def metadata(self) -> str:
        """Return the text that is committed."""
        return msgspec.json.encode(self).decode()


def read_standing(metadata: str) -> Standing | None:
    """Return what a worker told, None for anything else."""
    try:
        return msgspec.json.decode(metadata, type=Standing)
    except msgspec.MsgspecError:
        return None


class StandingReports:
    """Tells Kafka how the lanes of one worker stand."""

    def __init__(
        self, *, coordinators: Coordinators, group: str, lanes: Callable[[], Mapping[TopicPartition, tuple[int, Standing]]]
    ) -> None:
        """Ask ``lanes`` for the committed offset and the standing of each lane."""
        self._coordinators = coordinators
        self._group = group
        self._lanes = lanes
        self._told: dict[TopicPartition, str] = {}
        self._renewed_at = time.monotonic()

    async def tell(self) -> None:
        """Tell what has changed since it was told last; what fails is told the next time."""
        if time.monotonic() - self._renewed_at > RENEWED_EVERY_S:
            self._told.clear()
            self._renewed_at = time.monotonic()
        now = self._lanes()
        self._told = {lane: text for lane, text in self._told.items() if lane in now}
        due = [(lane, offset, standing.metadata) for lane, (offset, standing) in now.items() if self._told.get(lane) != standing.metadata]
        for at in range(0, len(due), LANES_MAX):
            part = due[at : at + LANES_MAX]
            taken = await self._commit(part)
            self._told |= {lane: text for lane, _, text in part if lane in taken}

    async def _commit(self, rows: list[tuple[TopicPartition, int, str]]) -> frozenset[TopicPartition]:
        """Return the lanes whose standing was taken: one whose topic is gone holds up no other."""
        topics: dict[str, list[tuple[int, int, str]]] = {}
        for lane, offset, text in rows:
            topics.setdefault(lane.topic, []).append((lane.partition, offset, text))
        request = FixedVersion(OffsetCommitRequest_v3(self._group, -1, "", -1, list(topics.items())))
        try:
            async with asyncio.timeout(WITHIN_S):
                answer = await self._coordinators.send(CoordinationType.GROUP, self._group, request, deadline=time.monotonic() + WITHIN_S)
        except (Lost, TimeoutError):
            return frozenset()
        answered = {TopicPartition(topic, number): code for topic, partitions in answer.topics for number, code in partitions}
        codes = {code for code in answered.values() if code}
        if codes:
            if codes & COORDINATOR:
                self._coordinators.forget(CoordinationType.GROUP, self._group)
            log.warning("standing of lanes was not taken", kafka_error=min(codes), count=sum(map(bool, answered.values())))
        return frozenset(lane for lane, code in answered.items() if code == 0)
