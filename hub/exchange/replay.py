"""Replays: source chunks are fetched once more and decided by a kernel, and nothing is written. For measuring kernels.

One thread, one chunk a step, as a lane with little to drain has it. What a plan is compiled to is made before the time runs.
"""

import asyncio
import itertools
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest_v10
from aiokafka.structs import TopicPartition as KafkaPartition

from hub.broker.protocol import FixedVersion
from hub.broker.requests import EARLIEST, LATEST, Lost, list_offset, open_client, topic_ids
from hub.exchange.kernel import Run
from hub.exchange.plan import Plan
from hub.exchange.transport.chunks import read_chunk
from hub.exchange.verdict import Chunk, Moment, Source
from hub.model.errors import HubError
from hub.model.names import TopicPartition

CHUNK_BYTES_MAX: Final = 256 * 1024
FETCH_WAIT_MS: Final = 100
READ_COMMITTED: Final = 1
READ_WITHIN_S: Final = 30.0


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How many records a kernel decided in how much time, in one thread."""

    kernel: str
    records: int
    seconds: float

    @property
    def records_per_s(self) -> float:
        """Records a second; each is decided for every agreement of its plan."""
        return self.records / self.seconds if self.seconds else 0.0


def read_chunks(bootstrap: str, lanes: Sequence[TopicPartition], *, bytes_max: int) -> list[tuple[Source, Chunk]]:
    """Return chunks of lanes from their beginnings on, up to ``bytes_max`` in all; HUB-BROKER-001 when the broker does not answer."""
    return asyncio.run(_read_all(bootstrap, lanes, bytes_max=bytes_max))


def measure(name: str, run: Run, plans: Mapping[str, Plan], chunks: Sequence[tuple[Source, Chunk]], *, seconds: float) -> Rate:
    """Let a kernel decide chunks again and again for about so many seconds; in an order in which few of them stand for all."""
    moment = Moment(time.time_ns() // 1_000_000)
    for topic, source in {chunk.partition.topic: source for source, chunk in chunks}.items():
        run(plans[topic], (), source, moment)
    mixed = sorted(chunks, key=lambda row: zlib.crc32(f"{row[1].partition}/{row[1].first_offset}".encode()))
    records = 0
    began = time.perf_counter()
    for source, chunk in itertools.cycle(mixed):
        records += _decide(run, plans[chunk.partition.topic], chunk, source, moment)
        if time.perf_counter() - began >= seconds:
            break
    return Rate(kernel=name, records=records, seconds=time.perf_counter() - began)


def _decide(run: Run, plan: Plan, chunk: Chunk, source: Source, moment: Moment) -> int:
    """Decide all of a chunk, also where a kernel ends a step early; returns its records."""
    records, position = 0, source.position
    while position < chunk.next_offset:
        verdict = run(plan, (chunk,), source._replace(position=position), moment)
        records += verdict.records
        position = verdict.next_offset
    return records


async def _read_all(bootstrap: str, lanes: Sequence[TopicPartition], *, bytes_max: int) -> list[tuple[Source, Chunk]]:
    client = await open_client(bootstrap, client_id="cityhub-replay")
    found: list[tuple[Source, Chunk]] = []
    try:
        ids = await topic_ids(client, {lane.topic for lane in lanes})
        for lane in lanes:
            chunks = await _read_lane(client, lane, bytes_max=bytes_max // max(1, len(lanes)))
            found += [(Source(lane, ids[lane.topic], chunk.first_offset), chunk) for chunk in chunks]
    except (Lost, kafka_errors.KafkaError):
        raise HubError("HUB-BROKER-001", f"the broker at `{bootstrap}` stopped answering", "try again once it is back") from None
    finally:
        await client.close()
    return found


async def _read_lane(client: AIOKafkaClient, lane: TopicPartition, *, bytes_max: int) -> list[Chunk]:
    offset, end = await list_offset(client, lane, at=EARLIEST) or 0, await list_offset(client, lane, at=LATEST) or 0
    found: list[Chunk] = []
    size = 0
    deadline = time.monotonic() + READ_WITHIN_S
    while offset < end and size < bytes_max and time.monotonic() < deadline:
        chunk = await _fetch(client, lane, offset)
        if chunk is None:
            continue
        found.append(chunk)
        offset, size = chunk.next_offset, size + len(chunk.data)
    return found


async def _fetch(client: AIOKafkaClient, lane: TopicPartition, offset: int) -> Chunk | None:
    leader = client.cluster.leader_for_partition(KafkaPartition(*lane))
    wanted = [(lane.topic, [(lane.partition, -1, offset, -1, CHUNK_BYTES_MAX)])]
    request = FetchRequest_v10(-1, FETCH_WAIT_MS, 1, CHUNK_BYTES_MAX, READ_COMMITTED, 0, -1, wanted, [])
    answer = await client.send(leader, FixedVersion(request))
    _, code, _, _, _, aborted, data = answer.topics[0][1][0]
    if code:
        raise Lost(f"fetching `{lane}` answered {code}")
    return read_chunk(lane, data or b"", aborted=aborted or (), fetch_offset=offset)
