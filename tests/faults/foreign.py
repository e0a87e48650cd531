"""A foreign reader of Kafka for the checker: librdkafka, read_committed, every topic to its very end. Nothing of the hub's.

Committed offsets are read from ``__consumer_offsets``: key (version 0 or 1) group, topic, partition; value (version 3 or 4) offset,
leader epoch, metadata, time. Layouts: OffsetCommitKey.json and OffsetCommitValue.json of Apache Kafka's group coordinator.
"""

import io
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Self, TypeAlias

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

QUIET_S_MAX: Final = 40.0
ANSWER_S: Final = 20.0
CONSUME_S: Final = 0.05
MESSAGES_MAX: Final = 5_000
FETCH_WAIT_MS: Final = 10
OFFSETS_TOPIC: Final = "__consumer_offsets"
COMPACT_FROM: Final = 4
"""From this version of the value on, lengths are varints, one more than they say."""
Value: TypeAlias = dict[str, Any]


class Read(NamedTuple):
    """One record of a partition."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: bool
    appended_ms: int


class Kafka:
    """A foreign reader. A context manager."""

    def __init__(self, bootstrap: str) -> None:
        """Connect when asked something."""
        common = {"bootstrap.servers": bootstrap, "group.id": "fault-checker", "enable.auto.commit": False}
        reading = {"isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": FETCH_WAIT_MS}
        self._committed = Consumer({**common, **reading})
        self._read: dict[str, dict[int, list[Read]]] = {}
        self._uncommitted = Consumer({**common, "isolation.level": "read_uncommitted"})

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._committed.close()
        self._uncommitted.close()

    def load(self, topics: Iterable[str]) -> None:
        """Read topics together, since librdkafka takes a second to begin; RuntimeError when something hides an end."""
        ends = {(topic, number): end for topic in topics for number, end in self.ends(topic).items()}
        found: dict[tuple[str, int], list[Read]] = {place: [] for place in ends}
        ended: dict[tuple[str, int], int] = {}
        self._committed.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in ends])
        quiet_since = time.monotonic()
        while len(ended) < len(ends):
            for message in self._committed.consume(MESSAGES_MAX, CONSUME_S):
                quiet_since = time.monotonic()
                place, error = (message.topic(), message.partition()), message.error()
                if error is None:
                    read = Read(message.offset(), message.key(), message.value(), bool(message.headers()), message.timestamp()[1])
                    found[place].append(read)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended[place] = message.offset()
                else:
                    raise KafkaException(error)
            if time.monotonic() - quiet_since > QUIET_S_MAX:
                what = f"{sorted(set(ends) - set(ended))} could not be read to their ends"
                raise RuntimeError(what)
        self._committed.unassign()
        hidden = {place: (ended[place], end) for place, end in ends.items() if ended[place] != end}
        if hidden:
            what = f"a read_committed reader ends before the log does, an open transaction hides records: {hidden}"
            raise RuntimeError(what)
        for (topic, number), records in found.items():
            self._read.setdefault(topic, {})[number] = records

    def read(self, topic: str) -> dict[int, list[Read]]:
        """Return every committed record of a topic by partition, as it was when it was loaded first."""
        if topic not in self._read:
            self.load([topic])
        return self._read[topic]

    def ends(self, topic: str) -> dict[int, int]:
        """Return high watermarks by partition."""
        numbers = sorted(self._uncommitted.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions)
        return {number: self._uncommitted.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_S)[1] for number in numbers}

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """Return committed offsets and metadata by partition, from the log of committed offsets itself.

        librdkafka's answers do not end the metadata text, so that confluent-kafka reads on into what follows, at times no UTF-8.
        """
        found = {}
        for records in self.read(OFFSETS_TOPIC).values():
            for record in records:
                place = _offset_key(record.key)
                if place is not None and place[:2] == (group, topic) and record.value is not None:
                    found[place[2]] = _offset_value(record.value)
        return found

    def topics(self) -> list[str]:
        """Return every topic."""
        return sorted(self._uncommitted.list_topics(timeout=ANSWER_S).topics)


def decode(framed: bytes | None, schemas: Mapping[int, Any]) -> Value:
    """Return a framed record, by the schema that its frame names; ValueError, KeyError or EOFError where it cannot be read."""
    if framed is None or framed[:1] != b"\0":
        message = "not framed"
        raise ValueError(message)
    source = io.BytesIO(framed)
    source.seek(5)
    value = fastavro.schemaless_reader(source, schemas[int.from_bytes(framed[1:5], "big")], None)
    if source.tell() != len(framed) or not isinstance(value, dict):
        message = "bytes behind the record"
        raise ValueError(message)
    return value


def _offset_key(key: bytes | None) -> tuple[str, str, int] | None:
    """Return group, topic and partition; None where the key is of another kind."""
    if key is None or struct.unpack_from(">h", key)[0] > 1:
        return None
    at, texts = 2, []
    for _ in range(2):
        size = struct.unpack_from(">h", key, at)[0]
        texts.append(key[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return texts[0], texts[1], struct.unpack_from(">i", key, at)[0]


def _offset_value(value: bytes) -> tuple[int, str]:
    """Return offset and metadata."""
    version, offset, _ = struct.unpack_from(">hqi", value)
    at = struct.calcsize(">hqi")
    if version < COMPACT_FROM:
        size, at = struct.unpack_from(">h", value, at)[0], at + 2
    else:
        size = shift = 0
        while True:
            byte, at = value[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        size -= 1
    return offset, value[at : at + size].decode()
