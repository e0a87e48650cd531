"""Fetch by topic id, version 13 (KIP-516): encoded and read in one pass, no byte of a record copied.

aiokafka fetches by name. A topic that was deleted and created again under its name between two metadata refreshes would then be
read on as if nothing had happened; asked for by id, the broker answers ``UNKNOWN_TOPIC_ID`` instead of another topic's records.
Source: ``FetchRequest.json`` and ``FetchResponse.json`` of Apache Kafka 4.x.
"""

import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

from hub.broker.compact import EMPTY, NO_TAGS, after_tags, read_length, varint
from hub.broker.protocol import Data, Request

UNKNOWN_TOPIC_ID: Final = 100
INCONSISTENT_TOPIC_ID: Final = 103
READ_COMMITTED: Final = 1
_HEAD: Final = struct.Struct(">iiiibii")
_ROW: Final = struct.Struct(">iiqiqix")
_ANSWER_HEAD: Final = struct.Struct(">ihi")
_ANSWER_ROW: Final = struct.Struct(">ihqqq")
_ABORTED: Final = struct.Struct(">qqx")
_NO_SESSION: Final = -1
_NOT_KNOWN: Final = -1


class Fetched(NamedTuple):
    """What a broker answered for one partition."""

    topic_id: uuid.UUID
    partition: int
    code: int
    high_watermark: int
    stable_offset: int
    aborted: tuple[tuple[int, int], ...]
    """(producer id, first offset) of the aborted transactions among the records."""
    records: memoryview
    """Record batches back to back, the last one perhaps cut; a view of the answer."""


class FetchAnswer:
    """The rows of an answer, or the code that stands for all of them."""

    def __init__(self, code: int, rows: Sequence[Fetched]) -> None:
        """Keep what was read."""
        self.code = code
        self.rows = rows

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read the body of an answer; IndexError, ValueError or struct.error where it is none."""
        _, code, _ = _ANSWER_HEAD.unpack_from(frame)
        topics, at = read_length(frame, _ANSWER_HEAD.size)
        rows: list[Fetched] = []
        for _ in range(topics):
            topic_id = uuid.UUID(bytes=bytes(frame[at : at + 16]))
            partitions, at = read_length(frame, at + 16)
            for _ in range(partitions):
                row, at = _row(frame, at, topic_id)
                rows.append(row)
            at = after_tags(frame, at)
        return cls(code, rows)


class FetchRequest(Request):
    """Asks one broker for committed records of partitions, without a fetch session."""

    API_KEY = 1
    API_VERSION = 13
    RESPONSE_TYPE = FetchAnswer

    def __init__(
        self,
        *,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        partition_bytes: int,
        wanted: Mapping[uuid.UUID, Sequence[tuple[int, int]]],
    ) -> None:
        """``wanted`` maps a topic's id to (partition, offset); ``max_bytes`` bounds the answer, one batch at least comes anyhow."""
        self._head = (_NOT_KNOWN, max_wait_ms, min_bytes, max_bytes, READ_COMMITTED, 0, _NO_SESSION)
        self._partition_bytes = partition_bytes
        self.wanted = wanted

    def parts(self) -> list[Data]:
        """Return the body."""
        out = [_HEAD.pack(*self._head), varint(len(self.wanted) + 1)]
        for topic_id, rows in self.wanted.items():
            out.append(topic_id.bytes)
            out.append(varint(len(rows) + 1))
            out += [_ROW.pack(partition, _NOT_KNOWN, offset, _NOT_KNOWN, _NOT_KNOWN, self._partition_bytes) for partition, offset in rows]
            out.append(NO_TAGS)
        out += (EMPTY, EMPTY, NO_TAGS)  # nothing forgotten, no rack, no tags
        return [b"".join(out)]


def _row(frame: memoryview, at: int, topic_id: uuid.UUID) -> tuple[Fetched, int]:
    partition, code, high_watermark, stable_offset, _ = _ANSWER_ROW.unpack_from(frame, at)
    count, at = read_length(frame, at + _ANSWER_ROW.size)
    aborted: list[tuple[int, int]] = []
    for _ in range(count):
        aborted.append(_ABORTED.unpack_from(frame, at))
        at += _ABORTED.size
    size, at = read_length(frame, at + 4)  # behind the preferred replica
    end = at + size
    if end > len(frame):
        message = "a fetch answer ends before its records do"
        raise ValueError(message)
    return Fetched(topic_id, partition, code, high_watermark, stable_offset, tuple(aborted), frame[at:end]), after_tags(frame, end)
