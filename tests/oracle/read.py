"""What stands in the share topics, read by a foreign client (librdkafka, read_committed); one JSON object on stdout.

    python tests/oracle/read.py --bootstrap 127.0.0.1:19092 --expected expected.json

With ``--expected``, the output of ``reckon.py``, it compares count, bodies and keys per agreement and partition, prints each
difference, and exits 5 where there is one. Imports nothing from ``hub`` or ``connectors``.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

HEADER_BYTES = 5
QUIET_S_MAX = 30.0
EXIT_INTEGRITY = 5
COMPARED = ("records", "bodies_sha256", "keys_sha256")


class Stream:
    """What one partition of a share topic holds, in order."""

    def __init__(self) -> None:
        """Start empty."""
        self.records = 0
        self.schema_ids: set[int] = set()
        self.unframed = 0
        self.with_headers = 0
        self._bodies = hashlib.sha256()
        self._keys = hashlib.sha256()

    def add(self, key: bytes | None, value: bytes | None, headers: list[Any] | None) -> None:
        """Take the next record: 0x00, 4 bytes of schema id, body."""
        self.records += 1
        self.with_headers += bool(headers)
        if value is None or len(value) < HEADER_BYTES or value[0] != 0:
            self.unframed += 1
            return
        self.schema_ids.add(int.from_bytes(value[1:HEADER_BYTES], "big"))
        self._bodies.update(value[HEADER_BYTES:])
        self._keys.update((-1).to_bytes(4, "big", signed=True) if key is None else len(key).to_bytes(4, "big") + key)

    def report(self, partition: int) -> dict[str, Any]:
        """Return the sums."""
        return {
            "partition": partition,
            "records": self.records,
            "bodies_sha256": self._bodies.hexdigest(),
            "keys_sha256": self._keys.hexdigest(),
            "schema_ids": sorted(self.schema_ids),
            "unframed": self.unframed,
            "with_headers": self.with_headers,
        }


def read_topic(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Read every committed record of a topic, from the beginning to the end of each partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "oracle-reads-without-committing",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    try:
        known = consumer.list_topics(topic, timeout=QUIET_S_MAX).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        streams = {partition: Stream() for partition in sorted(known.partitions)}
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in streams])
        _drain(consumer, streams, topic)
    finally:
        consumer.close()
    return [stream.report(partition) for partition, stream in streams.items()]


def _drain(consumer: Consumer, streams: dict[int, Stream], topic: str) -> None:
    open_partitions = set(streams)
    quiet_since = time.monotonic()
    while open_partitions:
        for message in consumer.consume(10_000, timeout=0.5):
            quiet_since = time.monotonic()
            error = message.error()
            if error is None:
                streams[message.partition()].add(message.key(), message.value(), message.headers())
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
            else:
                raise KafkaException(error)
        if time.monotonic() - quiet_since > QUIET_S_MAX:
            raise TimeoutError(f"{topic}: no end of partitions {sorted(open_partitions)} within {QUIET_S_MAX} s")


def differences(expected: dict[str, Any], read: dict[str, Any]) -> list[str]:
    """Return what differs, one line each; empty when all agree."""
    found = []
    for agreement in expected["agreements"]:
        partitions = {one["partition"]: one for one in read.get(agreement["id"], ())}
        for want in agreement["partitions"]:
            where = f"{agreement['id']} partition {want['partition']}"
            have = partitions.pop(want["partition"], None)
            if have is None:
                found.append(f"{where}: is not there")
                continue
            found += [f"{where}: {name} is {have[name]}, reckoned {want[name]}" for name in COMPARED if have[name] != want[name]]
            found += [f"{where}: {have[name]} records are {name}" for name in ("unframed", "with_headers") if have[name]]
        found += [f"{agreement['id']} partition {extra}: is not in the reckoning" for extra in partitions]
    return found


def main() -> int:
    """Read the arguments, print what was read, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True, help="host:port of the broker")
    parser.add_argument("--expected", type=Path, required=True, help="output of reckon.py, `-` for stdin")
    parser.add_argument("--prefix", default="", help="the hub's topics_prefix")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, which is what it prints anyway")
    options = parser.parse_args()
    expected = json.loads(sys.stdin.read() if str(options.expected) == "-" else options.expected.read_text(encoding="utf-8"))
    read = {
        one["id"]: read_topic(options.bootstrap, f"{options.prefix}share.{one['consumer']}.{one['id']}") for one in expected["agreements"]
    }
    found = differences(expected, read)
    sys.stdout.write(json.dumps({"agreements": read, "differences": found}) + "\n")
    return EXIT_INTEGRITY if found else 0


if __name__ == "__main__":
    sys.exit(main())
