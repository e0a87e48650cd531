"""Peer: aiokafka and fastavro on uvloop, batches built by hand, offsets committed after everything is acknowledged."""

import asyncio
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from job import COMMIT_EVERY_S, OUTPUT_PARTITIONS, Task


class Outputs:
    """Open batches by topic and partition, and those on their way."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        """Nothing is open."""
        self._producer = producer
        self._open: dict[tuple[str, int], Any] = {}
        self._sent: list[Any] = []

    async def add(self, place: tuple[str, int], key: bytes, value: bytes, timestamp_ms: int) -> None:
        """Append a record; a full batch is sent."""
        batch = self._open.get(place)
        if batch is None:
            batch = self._open[place] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=timestamp_ms) is None:
            await self._send(place)
            batch = self._open[place] = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=timestamp_ms)

    async def flush(self) -> None:
        """Send what is open and return once everything is acknowledged."""
        for place in list(self._open):
            await self._send(place)
        await self._producer.flush()
        for future in self._sent:
            await future
        self._sent.clear()

    async def _send(self, place: tuple[str, int]) -> None:
        batch = self._open.pop(place)
        batch.close()
        self._sent.append(await self._producer.send_batch(batch, place[0], partition=place[1]))


async def main() -> None:
    """Read to the expected number of records."""
    task = Task()
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap,
        group_id=task.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=1024 * 1024,
        check_crcs=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=task.bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type=None if task.codec == "none" else task.codec,
        max_batch_size=262_144,
        linger_ms=5,
    )
    await producer.start()
    await consumer.start()
    outputs = Outputs(producer)
    records, committed_at = 0, time.monotonic()
    while records < task.expect:
        found = await consumer.getmany(timeout_ms=200, max_records=5_000)
        if found:
            task.begin()
        for place, messages in found.items():
            partition = place.partition % OUTPUT_PARTITIONS
            for message in messages:
                for one, value in task.deliver(message.value):
                    await outputs.add((one.topic, partition), message.key, value, message.timestamp)
            records += len(messages)
            await asyncio.sleep(0)
        if time.monotonic() - committed_at > COMMIT_EVERY_S:
            await outputs.flush()
            await consumer.commit()
            committed_at = time.monotonic()
    await outputs.flush()
    await consumer.commit()
    task.report(records)
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
