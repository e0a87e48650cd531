"""Loading source topics with prebuilt batches: as fast as the broker takes them, each partition's batches in their order."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from aiokafka.client import AIOKafkaClient

from benchmarks.records import Batch, Source
from hub.broker.requests import append, open_client

IN_FLIGHT_BYTES_MAX: Final = 64 * 1024 * 1024


def load(bootstrap: str, topic: str, source: Source, *, codec: str, tell: Callable[[int], None] = lambda _: None) -> None:
    """Write all of ``source`` to an empty topic; ``tell`` hears how many records are there."""
    batches = source.batches(codec, timestamp_ms=int(time.time() * 1000))
    asyncio.run(_load(bootstrap, topic, batches, tell=tell))


async def _load(bootstrap: str, topic: str, batches: Iterator[tuple[int, list[Batch]]], *, tell: Callable[[int], None]) -> None:
    client = await open_client(bootstrap, client_id="benchmark-load")
    try:
        client.add_topic(topic)
        await client.force_metadata_update()
        waiting: dict[int, list[Batch]] = {}
        size = done = 0
        for partition, found in batches:
            waiting.setdefault(partition, []).extend(found)
            size += sum(len(batch.data) for batch in found)
            if size >= IN_FLIGHT_BYTES_MAX:
                done += await _append(client, topic, waiting)
                waiting, size = {}, 0
                tell(done)
        tell(done + await _append(client, topic, waiting))
    finally:
        await client.close()


async def _append(client: AIOKafkaClient, topic: str, waiting: Mapping[int, Sequence[Batch]]) -> int:
    async def one(partition: int, batches: Sequence[Batch]) -> int:
        for batch in batches:
            await append(client, topic=topic, partition=partition, data=batch.data)
        return sum(batch.records for batch in batches)

    return sum(await asyncio.gather(*(one(partition, batches) for partition, batches in waiting.items())))
