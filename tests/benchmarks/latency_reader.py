"""The reader of the latency runs: a process that notes when committed records arrive, as ``[partition, time in ms, records]`` a line.

It asks the broker as any ``read_committed`` consumer does and reads headers alone, so that it keeps up with the hub on a core that it
shares with the broker. A transaction's records have arrived when its marker has.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.protocol.fetch import FetchRequest_v10
from aiokafka.structs import TopicPartition

from benchmarks.job import PARTITIONS
from hub.broker.batches import headers, read_records
from hub.broker.protocol import FixedVersion
from hub.broker.requests import open_client

FETCH_WAIT_MS: Final = 500
FETCH_BYTES_MAX: Final = 32 * 1024 * 1024
PARTITION_BYTES_MAX: Final = 2 * 1024 * 1024
READ_COMMITTED: Final = 1
MARKER_COMMIT: Final = b"\0\0\0\1"


class Arrivals:
    """How far each partition is read, and what of it has no marker yet."""

    def __init__(self) -> None:
        """Begin at the beginning."""
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self._waiting: dict[tuple[int, int], int] = {}

    def take(self, partition: int, data: bytes) -> Iterator[int]:
        """Yield how many records each committed transaction in ``data`` has."""
        for begin, end, header in headers(data):
            after = header.base_offset + header.last_offset_delta + 1
            if after <= self.offsets[partition]:
                continue
            self.offsets[partition] = after
            place = (partition, header.producer_id)
            if not header.is_control:
                self._waiting[place] = self._waiting.get(place, 0) + header.records
                continue
            arrived = self._waiting.pop(place, 0)
            if arrived and any((row.key or b"").startswith(MARKER_COMMIT) for row in read_records(data[begin:end])):
                yield arrived


async def read_for_ever(bootstrap: str, topic: str) -> None:
    """Print what arrives, until SIGTERM."""
    client = await open_client(bootstrap, client_id="benchmark-reader")
    client.add_topic(topic)
    await client.force_metadata_update()
    leader = client.cluster.leader_for_partition(TopicPartition(topic, 0))
    arrivals = Arrivals()
    _print("ready")
    while True:
        rows = [(partition, -1, offset, -1, PARTITION_BYTES_MAX) for partition, offset in arrivals.offsets.items()]
        request = FetchRequest_v10(-1, FETCH_WAIT_MS, 1, FETCH_BYTES_MAX, READ_COMMITTED, 0, -1, [(topic, rows)], [])
        answer: Any = await client.send(leader, FixedVersion(request))
        at_ms = time.time() * 1000
        for partition, code, _, _, _, _, data in answer.topics[0][1] if answer.topics else ():
            if code:
                raise SystemExit(f"{topic}-{partition} answered {code}")
            for records in arrivals.take(partition, bytes(data or b"")):
                _print(json.dumps([partition, at_ms, records]))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(read_for_ever(*sys.argv[1:3]))
