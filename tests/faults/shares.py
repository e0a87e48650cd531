"""What a foreign client finds in share topics after the suspensions: librdkafka, read_committed, tens of millions of records.

Every record carries its source offset in its first field. Partitions are read by two processes.
"""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from flood import FIRST

PROCESSES: Final = 2
MESSAGES_MAX: Final = 10_000
CONSUME_S: Final = 0.2
QUEUED: Final = 300_000
QUIET_S_MAX: Final = 40.0
NUMBER_AT: Final = 5
"""Behind the frame's header."""


class Window(NamedTuple):
    """What one answer says of a share partition: nothing stands from ``ended`` to ``resumed``, nor before from ``source`` on."""

    ended: int
    resumed: int
    source: int


class Found(NamedTuple):
    """One share partition: its records, those that contradict an answer (once for each), and whether it is the whole source in order."""

    records: int
    contradicting: int
    whole: bool


class _Groups(dict[bytes, int]):
    """Numbers of groups of seven bits, the lowest first, as they are met."""

    def __missing__(self, found: bytes) -> int:
        self[found] = number = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(found))
        return number


class Windows:
    """Answers about one partition, in the order in which they were given, as its records pass."""

    def __init__(self, windows: Sequence[Window]) -> None:
        """Begin at the first."""
        self._windows = windows
        self._at = 0

    def contradicting(self, offsets: Sequence[int], numbers: Sequence[int]) -> int:
        """Return how often the next records contradict an answer."""
        if self._at == len(self._windows) or (
            offsets[-1] < self._windows[self._at].ended and max(numbers) < self._windows[self._at].source
        ):
            return 0
        return sum(self._contradicts(offset, number) for offset, number in zip(offsets, numbers, strict=True))

    def _contradicts(self, offset: int, number: int) -> int:
        windows = self._windows
        while self._at < len(windows) and windows[self._at].resumed <= offset:
            self._at += 1
        if self._at == len(windows):
            return 0
        found = int(windows[self._at].ended <= offset)
        for window in windows[self._at + found :]:
            if number < window.source:
                break
            found += 1
        return found


def read_share(bootstrap: str, topic: str, partition: int, windows: Sequence[Window]) -> Found:
    """Read one share partition to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "revocation-checker",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "topic.metadata.refresh.fast.interval.ms": 10,
            "queued.min.messages": QUEUED,
            "fetch.queue.backoff.ms": 5,
        }
    )
    try:
        end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=QUIET_S_MAX)[1]
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        return _read(consumer, end, Windows(windows))
    finally:
        consumer.close()


def _read(consumer: Consumer, end: int, windows: Windows) -> Found:
    low, high = _Groups(), _Groups()
    records = contradicting = 0
    whole, ended = True, -1
    quiet_since = time.monotonic()
    while ended < 0:
        found = consumer.consume(MESSAGES_MAX, CONSUME_S)
        for message in [message for message in found if message.error()]:
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            ended = message.offset()
            found.remove(message)
        if found:
            quiet_since = time.monotonic()
            offsets, values = [message.offset() for message in found], [message.value() for message in found]
            numbers = [
                ((low[value[NUMBER_AT : NUMBER_AT + 2]] | high[value[NUMBER_AT + 2 : NUMBER_AT + 5]] << 14) >> 1) - FIRST
                for value in values
            ]
            whole = whole and numbers == list(range(records, records + len(numbers)))
            contradicting += windows.contradicting(offsets, numbers)
            records += len(numbers)
        elif time.monotonic() - quiet_since > QUIET_S_MAX:
            message = "a share topic could not be read to its end"
            raise RuntimeError(message)
    if ended != end:
        message = f"a read_committed reader ends at {ended}, the log at {end}: an open transaction hides records"
        raise RuntimeError(message)
    return Found(records, contradicting, whole)


def read_shares(bootstrap: str, places: Mapping[tuple[str, int], Sequence[Window]]) -> dict[tuple[str, int], Found]:
    """Read partitions of share topics, each with the answers about it."""
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        reading = {place: pool.submit(read_share, bootstrap, *place, windows) for place, windows in places.items()}
        return {place: found.result() for place, found in reading.items()}
