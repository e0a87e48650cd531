"""Requests to brokers outside of a transaction, on a shared client: offsets, topic ids, one append; and who coordinates what.

Every wait is bounded: what is not answered in time is ``Lost``, or an error with its code. A broker that does not know a topic may only
not have heard of it yet: who was told so for ``UNKNOWN_TOPIC_FOR_S`` asks whether it is ``absent``.
"""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.structs import TopicPartition as KafkaPartition

from hub.broker.connection import Client
from hub.broker.protocol import Data, FixedVersion, ListOffsets, OffsetFetch, Produce, ProduceAnswer, describe
from hub.broker.security import security
from hub.model.errors import HubError
from hub.model.names import TopicPartition

STALE: Final = frozenset({3, 5, 6, 9})
"""Unknown topic or partition, no leader, not leader, replica away: metadata is stale."""
COORDINATOR: Final = frozenset({14, 15, 16})
"""Coordinator loading, away or elsewhere."""
BUSY: Final = frozenset({7, 19, 20, 51, 88})
"""Time-out, too few replicas, concurrent transaction, unstable offset: the same again, soon."""
UNKNOWN_TOPIC: Final = 3
NO_LEADER: Final = 5
UNKNOWN_TOPIC_FOR_S: Final = 2.0
REQUEST_TIMEOUT_MS: Final = 4_500
LIST_PARTITIONS_MAX: Final = 1_000
"""Partitions in one request for offsets."""
EARLIEST: Final = -2
LATEST: Final = -1


class Lost(Exception):  # noqa: N818 - a state
    """No answer that can be relied on. Of a transaction: its fate is not known, or it cannot go on; initialise again, read the position."""


async def open_client(bootstrap: str, *, client_id: str) -> AIOKafkaClient:
    """Return a connected client; HUB-BROKER-001 when no broker answers."""
    client = Client(bootstrap_servers=bootstrap, client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS, **security(bootstrap))
    try:
        await client.bootstrap()
    except kafka_errors.KafkaError as error:
        await client.close()
        raise HubError("HUB-BROKER-001", f"no broker answers at `{bootstrap}`", "start it, or set `broker.bootstrap`") from error
    return client


class Coordinators:
    """Which node coordinates a transactional id or a group; asked once, again after an error."""

    def __init__(self, client: AIOKafkaClient) -> None:
        """Ask through ``client``."""
        self._client = client
        self._nodes: dict[tuple[int, str], int] = {}

    async def send(self, kind: Any, key: str, request: Any, *, deadline: float, line: Any = ConnectionGroup.COORDINATION) -> Any:
        """Send ``request`` to the coordinator of ``key``; asks anew after a connection error, Lost past the deadline."""
        while True:
            try:
                node = self._nodes.get((kind, key))
                if node is None:
                    node = await self._client.coordinator_lookup(kind, key)
                    self._nodes[kind, key] = node
                return await self._client.send(node, request, group=line)
            except kafka_errors.KafkaError as error:
                self.forget(kind, key)
                if time.monotonic() > deadline:
                    message = f"coordinator of `{key}` does not answer"
                    raise Lost(message) from error
                await refresh(self._client)
                await asyncio.sleep(0.1)

    def forget(self, kind: Any, key: str) -> None:
        """Ask again next time."""
        self._nodes.pop((kind, key), None)


async def committed_offset(coordinators: Coordinators, *, group: str, partition: TopicPartition) -> tuple[int, str] | None:
    """Return the committed offset and its metadata as they stand, None where there is none."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
    request = FixedVersion(OffsetFetch(group, [(partition.topic, [partition.partition], {})], False, {}))
    while True:
        answer = await coordinators.send(CoordinationType.GROUP, group, request, deadline=deadline)
        rows = answer.topics[0][1] if answer.topics else []
        code = answer.error_code or (rows[0][4] if rows else 0)
        if code == 0:
            return None if not rows or rows[0][1] < 0 else (rows[0][1], rows[0][3] or "")
        if time.monotonic() > deadline or code not in COORDINATOR | BUSY:
            message = f"reading the committed offset answered {code}"
            raise Lost(message)
        coordinators.forget(CoordinationType.GROUP, group)
        await asyncio.sleep(0.05)


async def list_offset(client: AIOKafkaClient, partition: TopicPartition, *, at: int) -> int | None:
    """Return the EARLIEST or LATEST offset (high watermark) by the partition's leader; None where the topic is gone."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
    unknown_until = time.monotonic() + UNKNOWN_TOPIC_FOR_S
    while True:
        leader = client.cluster.leader_for_partition(KafkaPartition(*partition))
        code = UNKNOWN_TOPIC if leader is None else NO_LEADER
        if leader not in {None, -1}:
            request = ListOffsets(-1, 0, [(partition.topic, [(partition.partition, at)])])
            try:
                answer = await client.send(leader, FixedVersion(request))
                code, offset = answer.topics[0][1][0][1], answer.topics[0][1][0][3]
                if code == 0:
                    return int(offset)
            except kafka_errors.KafkaError:
                code = NO_LEADER
        if code == UNKNOWN_TOPIC and time.monotonic() > unknown_until and await absent(client, {partition}):
            return None
        if time.monotonic() > deadline:
            message = f"asking `{partition}` for an offset answered {code}"
            raise Lost(message)
        client.add_topic(partition.topic)
        await refresh(client)
        await asyncio.sleep(0.05)


async def list_offsets(client: AIOKafkaClient, partitions: Collection[TopicPartition], *, at: int) -> dict[TopicPartition, int]:
    """Return EARLIEST or LATEST offsets of many partitions in few requests; a topic that is gone is absent."""
    if {partition.topic for partition in partitions}.difference(client.cluster.topics()):
        client.set_topics(sorted({partition.topic for partition in partitions}))
        await refresh(client)
    found: dict[TopicPartition, int] = {}
    by_leader: dict[int, list[TopicPartition]] = {}
    for partition in partitions:
        leader = client.cluster.leader_for_partition(KafkaPartition(*partition))
        if leader not in {None, -1}:
            by_leader.setdefault(leader, []).append(partition)
    for leader, mine in by_leader.items():
        for first in range(0, len(mine), LIST_PARTITIONS_MAX):
            found |= await _list_from(client, leader, mine[first : first + LIST_PARTITIONS_MAX], at=at)
    for partition in partitions:
        if partition not in found and (offset := await list_offset(client, partition, at=at)) is not None:
            found[partition] = offset
    return found


async def _list_from(client: AIOKafkaClient, leader: int, partitions: Collection[TopicPartition], *, at: int) -> dict[TopicPartition, int]:
    """Return what one broker answers about partitions that it leads; what it does not answer is absent."""
    topics: dict[str, list[tuple[int, int]]] = {}
    for partition in partitions:
        topics.setdefault(partition.topic, []).append((partition.partition, at))
    try:
        answer = await client.send(leader, FixedVersion(ListOffsets(-1, 0, list(topics.items()))))
    except kafka_errors.KafkaError:
        return {}
    return {
        TopicPartition(topic, number): int(offset) for topic, rows in answer.topics for number, code, _, offset, *_ in rows if code == 0
    }


async def topic_ids(client: AIOKafkaClient, topics: Collection[str]) -> dict[str, Any]:
    """Return the ids of the topics that exist."""
    answer = await _on_any_node(client, lambda: describe(sorted(topics)))
    return {name: topic_id for code, name, topic_id, *_ in answer.topics if code == 0}


class Refused(Exception):  # noqa: N818 - a state
    """A partition refused a batch with a code that its sender asked to be told."""

    def __init__(self, code: int) -> None:
        """Keep Kafka's code."""
        super().__init__(f"answered {code}")
        self.code = code


async def append(client: AIOKafkaClient, *, topic: str, partition: int, data: Data, told: Collection[int] = ()) -> int:
    """Append one record batch outside any transaction; returns its first offset once all replicas have it.

    Refused for a code of ``told``.
    """
    deadline = time.monotonic() + 2 * REQUEST_TIMEOUT_MS / 1000
    while True:
        leader = client.cluster.leader_for_partition(KafkaPartition(topic, partition))
        code = UNKNOWN_TOPIC
        if leader not in {None, -1}:
            request = Produce(transactional_id=None, timeout_ms=REQUEST_TIMEOUT_MS, topics={topic: [(partition, data)]})
            try:
                answer: ProduceAnswer = await client.send(leader, request)
                code = answer.rows[0].code
                if code == 0:
                    return answer.rows[0].base_offset
            except kafka_errors.KafkaError:
                code = NO_LEADER
        if code in told:
            raise Refused(code)
        if time.monotonic() > deadline or code not in STALE | BUSY:
            raise HubError("HUB-BROKER-010", f"appending to `{topic}` answered {code}", "look at the broker's log")
        client.add_topic(topic)
        await refresh(client)
        await asyncio.sleep(0.05)


async def absent(client: AIOKafkaClient, places: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    """Return those of ``places`` of which a broker says that they do not exist; a client that knows none has only not heard."""
    try:
        async with asyncio.timeout(UNKNOWN_TOPIC_FOR_S):
            answer = await _on_any_node(client, lambda: describe(sorted({topic for topic, _ in places})))
    except (Lost, TimeoutError):
        return frozenset()
    told = {name: {row[1] for row in rows} for code, name, _, _, rows, *_ in answer.topics if code in {0, UNKNOWN_TOPIC}}
    return frozenset(place for place in places if place[0] in told and place[1] not in told[place[0]])


async def _on_any_node(client: AIOKafkaClient, build: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
    while True:
        try:
            return await client.send(client.get_random_node(), build())
        except kafka_errors.KafkaError as error:
            if time.monotonic() > deadline:
                message = "no broker answers a metadata request"
                raise Lost(message) from error
            await refresh(client)
            await asyncio.sleep(0.1)


async def refresh(client: AIOKafkaClient) -> None:
    """Refresh metadata; a failure shows in the next request."""
    refreshed: Awaitable[Any] = client.force_metadata_update()
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(refreshed)), timeout=2)
    except (kafka_errors.KafkaError, TimeoutError, struct.error):
        return
