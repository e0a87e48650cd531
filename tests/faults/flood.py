"""A flood: numbered records on every partition of a topic, so many ahead of who reads them that he is never idle.

    python tests/faults/flood.py BOOTSTRAP TOPIC GROUP SCHEMA_ID AHEAD

Record ``n`` of a partition has source offset ``n`` and carries it in its field ``flight``, as ``FIRST + n``: five bytes of Avro whatever
``n`` is. A batch is a template in which the upper three of those bytes are replaced for all of its records at once, then lz4. There are
always ``AHEAD`` records before each partition's reader, more where he is quick. Runs until SIGTERM, then prints how many records each
partition got.
"""

import asyncio
import io
import json
import signal
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import fastavro  # noqa: E402 - the path is set first: this is a program

from hub.broker.admin import Admin  # noqa: E402
from hub.broker.batches import build_batches, stamp  # noqa: E402
from hub.broker.codecs import compress  # noqa: E402
from hub.broker.requests import append, open_client  # noqa: E402
from hub.model.framing import frame_header  # noqa: E402
from hub.model.names import TopicPartition  # noqa: E402

SCHEMA_FILE: Final = Path(__file__).resolve().parents[2] / "avro_schemas" / "transport" / "flights" / "v1.avsc"
PARTITIONS: Final = 4
BATCH_RECORDS: Final = 8192
"""Twice that many values of the lower two bytes, of which every second one is a whole number."""
FIRST: Final = 1 << 27
AHEAD_S: Final = 4.0
"""What the quickest partition is read in this time lies before each of them."""
LOOK_EVERY_S: Final = 0.25
LOOKS: Final = 12
PLACEHOLDER: Final = b"\xfe\xfd\x7b"
LZ4: Final = 3
HEADER_BYTES, LENGTH_AT, LENGTH_FROM, ATTRIBUTES_LOW = 61, 8, 12, 22
FLIGHT: Final = {
    "year": 2013,
    "month": 1,
    "day": 1,
    "dep_time": 517,
    "sched_dep_time": 515,
    "dep_delay": 2,
    "arr_time": 830,
    "sched_arr_time": 819,
    "arr_delay": 11,
    "carrier": "UA",
    "dest": "IAH",
    "air_time": 227,
    "distance": 1400,
    "hour": 5,
    "minute": 15,
    "time_hour": 1_357_034_400_000,
}
ORIGINS: Final = ("JFK", "EWR", "LGA")


class Template:
    """A batch of ``BATCH_RECORDS`` records, made into the ``at``-th batch of a partition."""

    def __init__(self, schema_id: int) -> None:
        """Encode every record once."""
        schema = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
        values = [frame_header(schema_id) + _value(schema, place) for place in range(BATCH_RECORDS)]
        (batch,) = build_batches([(None, value) for value in values], bytes_max=1 << 24, timestamp_ms=int(time.time() * 1000))
        self._head, self._body = batch.data[:HEADER_BYTES], batch.data[HEADER_BYTES:]
        if self._body.count(PLACEHOLDER) != BATCH_RECORDS:
            message = "the placeholder is somewhere else too"
            raise AssertionError(message)

    def batch(self, at: int) -> bytes:
        """Return the ``at``-th batch."""
        body = compress(LZ4, self._body.replace(PLACEHOLDER, _varint((FIRST * 2 >> 14) + at)))
        out = bytearray(self._head) + body
        struct.pack_into(">i", out, LENGTH_AT, len(out) - LENGTH_FROM)
        out[ATTRIBUTES_LOW] |= LZ4
        return bytes(stamp(bytes(out), producer_id=-1, epoch=-1, sequence=-1, transactional=False))


def _value(schema: Any, place: int) -> bytes:
    """Return a record whose number has the placeholder in its upper bytes."""
    number = FIRST + place
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out, schema, FLIGHT | {"flight": number, "tailnum": f"N{10_000 + place % 500}", "origin": ORIGINS[place % len(ORIGINS)]}
    )
    found = _varint(2 * number)
    return out.getvalue().replace(found, found[:2] + PLACEHOLDER, 1)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Flood:
    """The records of every partition, and how fast they are read."""

    def __init__(self, admin: Admin, *, topic: str, group: str, template: Template, ahead: int) -> None:
        """Nothing is written yet."""
        self._admin, self._group, self._template = admin, group, template
        self._lanes = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._read = [0] * PARTITIONS
        self._ahead = ahead
        self._looks: deque[tuple[float, list[int]]] = deque(maxlen=LOOKS)
        self._per_s = 0.0
        self._batches = [0] * PARTITIONS
        self._stop = asyncio.Event()

    @property
    def records(self) -> list[int]:
        """Records written by partition."""
        return [count * BATCH_RECORDS for count in self._batches]

    async def run(self, bootstrap: str) -> None:
        """Write until told to stop."""
        client = await open_client(bootstrap, client_id="flood")
        try:
            await asyncio.gather(self._look(), *(self._fill(client, lane) for lane in self._lanes))
        finally:
            await client.close()

    def stop(self) -> None:
        """End after the batches under way."""
        self._stop.set()

    async def _look(self) -> None:
        """See where the reader stands, again and again, and how fast the quickest partition was read lately."""
        while not self._stop.is_set():
            committed = await asyncio.to_thread(self._admin.committed, self._group, self._lanes)
            read = [committed[lane][0] if lane in committed else 0 for lane in self._lanes]
            self._looks.append((time.monotonic(), read))
            (began, first), (now, _) = self._looks[0], self._looks[-1]
            self._per_s = max(new - old for new, old in zip(read, first, strict=True)) / max(LOOK_EVERY_S, now - began)
            self._read = read
            await asyncio.sleep(LOOK_EVERY_S)

    async def _fill(self, client: Any, lane: TopicPartition) -> None:
        number = lane.partition
        while not self._stop.is_set():
            ahead = max(self._ahead, int(self._per_s * AHEAD_S))
            if self.records[number] - self._read[number] >= ahead:
                await asyncio.sleep(LOOK_EVERY_S / 10)
                continue
            await append(client, topic=lane.topic, partition=number, data=self._template.batch(self._batches[number]))
            self._batches[number] += 1


async def main() -> None:
    """Run with the arguments of the command line."""
    bootstrap, topic, group, schema_id, ahead = sys.argv[1:]
    with Admin(bootstrap, client_id="flood") as admin:
        flood = Flood(admin, topic=topic, group=group, template=Template(int(schema_id)), ahead=int(ahead))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, flood.stop)
        await flood.run(bootstrap)
    print(json.dumps(flood.records))


if __name__ == "__main__":
    asyncio.run(main())
