"""A foreign reader of Kafka for the checker: librdkafka, read_committed, every topic to its very end. Nothing of the hub's.

Committed offsets are read from ``__consumer_offsets``: key (version 0 or 1) group, topic, partition; value (version 3 or 4) offset,
leader epoch, metadata, time. Layouts: OffsetCommitKey.json and OffsetCommitValue.json of Apache Kafka's group coordinator.
"""

import io
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self, TypeAlias

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

QUIET_S_MAX: Final = 90.0
ANSWER_S: Final = 20.0
CONSUME_S: Final = 0.05
MESSAGES_MAX: Final = 5_000
FETCH_WAIT_MS: Final = 10
PREFETCHED_KB: Final = 32 * 1024
PREFETCHED: Final = 200_000
"""Records. librdkafka pauses for a second when it has more, unless it is told otherwise."""
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
    """A foreign reader. A context manager, for one process and one thread."""

    def __init__(self, bootstrap: str) -> None:
        """Connect when asked something."""
        common = {"bootstrap.servers": bootstrap, "group.id": "fault-checker", "enable.auto.commit": False}
        reading = {
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "queued.max.messages.kbytes": PREFETCHED_KB,
            "queued.min.messages": PREFETCHED,
            "fetch.queue.backoff.ms": FETCH_WAIT_MS,
            "topic.metadata.refresh.fast.interval.ms": FETCH_WAIT_MS,
        }
        self._committed = Consumer({**common, **reading})
        self._uncommitted = Consumer({**common, "isolation.level": "read_uncommitted"})

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._committed.close()
        self._uncommitted.close()

    def stream(self, topic: str, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, Read]]:
        """Yield every committed record of partitions, each partition in its order; RuntimeError when something hides an end.

        An open transaction hides it; one that nobody ends is waited for until the broker does. One stream at a time. What
        librdkafka has fetched ahead is bounded, and so is what is held here.
        """
        ends = self.ends(topic)
        ended: dict[int, int] = {}
        wanted = sorted(ends if numbers is None else set(numbers))
        self._committed.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in wanted])
        quiet_since = time.monotonic()
        try:
            while len(ended) < len(wanted):
                for message in self._committed.consume(MESSAGES_MAX, CONSUME_S):
                    quiet_since = time.monotonic()
                    error = message.error()
                    if error is None:
                        value, appended_ms = message.value(), message.timestamp()[1]
                        yield message.partition(), Read(message.offset(), message.key(), value, bool(message.headers()), appended_ms)
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    elif message.offset() >= ends[message.partition()]:
                        ended[message.partition()] = message.offset()
                if time.monotonic() - quiet_since > QUIET_S_MAX:
                    what = f"{topic}: partitions {sorted(set(wanted) - set(ended))} could not be read to their ends: are transactions open?"
                    raise RuntimeError(what)
        finally:
            self._committed.unassign()
        longer = {number: (ended[number], ends[number]) for number in wanted if ended[number] != ends[number]}
        if longer:
            what = f"{topic}: somebody still writes to it: {longer}"
            raise RuntimeError(what)

    def ends(self, topic: str) -> dict[int, int]:
        """Return high watermarks by partition."""
        numbers = sorted(self._uncommitted.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions)
        return {number: self._uncommitted.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_S)[1] for number in numbers}

    def committed(self, group: str) -> dict[tuple[str, int], tuple[int, str]]:
        """Return committed offsets and metadata by topic and partition, from the log of committed offsets itself.

        librdkafka's answers do not end the metadata text, so that confluent-kafka reads on into what follows, at times no UTF-8.
        """
        found = {}
        for _, record in self.stream(OFFSETS_TOPIC):
            place = _offset_key(record.key)
            if place is not None and place[0] == group and record.value is not None:
                found[place[1:]] = _offset_value(record.value)
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
