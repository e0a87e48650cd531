"""Fetch by topic id, version 13 (KIP-516): encoded and read in one pass, no byte of a record copied.

aiokafka fetches by name. A topic that was deleted and created again under its name between two metadata refreshes would then be
read on as if nothing had happened; asked for by id, the broker answers ``UNKNOWN_TOPIC_ID`` instead of another topic's records.
A session (KIP-227) keeps at the broker what was asked before, so that a request and its answer name only what has changed.
Source: ``FetchRequest.json`` and ``FetchResponse.json`` of Apache Kafka 4.x.
"""

import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self, TypeAlias, TypeVar

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
_NUMBER: Final = struct.Struct(">i")
_NOT_KNOWN: Final = -1
_EPOCH_MAX: Final = 2**31 - 1

Place: TypeAlias = tuple[uuid.UUID, int]
"""A topic's id and a partition."""
_Partition = TypeVar("_Partition")


class Session(NamedTuple):
    """Which session a request belongs to, and its turn in it."""

    id: int
    epoch: int


NO_SESSION: Final = Session(0, -1)
NEW_SESSION: Final = Session(0, 0)


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

    def __init__(self, code: int, rows: Sequence[Fetched], session_id: int = 0) -> None:
        """Keep what was read; session 0 is none."""
        self.code = code
        self.rows = rows
        self.session_id = session_id

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read the body of an answer; IndexError, ValueError or struct.error where it is none."""
        _, code, session_id = _ANSWER_HEAD.unpack_from(frame)
        topics, at = read_length(frame, _ANSWER_HEAD.size)
        rows: list[Fetched] = []
        for _ in range(topics):
            topic_id = uuid.UUID(bytes=bytes(frame[at : at + 16]))
            partitions, at = read_length(frame, at + 16)
            for _ in range(partitions):
                row, at = _row(frame, at, topic_id)
                rows.append(row)
            at = after_tags(frame, at)
        return cls(code, rows, session_id)


class FetchRequest(Request):
    """Asks one broker for committed records of partitions."""

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
        wanted: Mapping[Place, int],
        session: Session = NO_SESSION,
        forgotten: Iterable[Place] = (),
    ) -> None:
        """``wanted`` maps places to offsets; ``max_bytes`` bounds the answer, one batch at least comes anyhow.

        In a session ``wanted`` holds what is new or stands elsewhere now, and ``forgotten`` what is not asked for any more.
        """
        self.session = session
        self.max_wait_ms = max_wait_ms
        self.wanted = wanted
        self.forgotten = tuple(forgotten)
        self._head = (_NOT_KNOWN, max_wait_ms, min_bytes, max_bytes, READ_COMMITTED, *session)
        self._partition_bytes = partition_bytes

    def parts(self) -> list[Data]:
        """Return the body."""
        out = [_HEAD.pack(*self._head)]
        wanted = _by_topic((topic_id, (partition, offset)) for (topic_id, partition), offset in self.wanted.items())
        out.append(varint(len(wanted) + 1))
        for topic_id, rows in wanted.items():
            out += (topic_id.bytes, varint(len(rows) + 1))
            out += [_ROW.pack(partition, _NOT_KNOWN, offset, _NOT_KNOWN, _NOT_KNOWN, self._partition_bytes) for partition, offset in rows]
            out.append(NO_TAGS)
        forgotten = _by_topic(self.forgotten)
        out.append(varint(len(forgotten) + 1))
        for topic_id, partitions in forgotten.items():
            out += (topic_id.bytes, varint(len(partitions) + 1), *map(_NUMBER.pack, partitions), NO_TAGS)
        out += (EMPTY, NO_TAGS)  # no rack, no tags
        return [b"".join(out)]


class FetchSession:
    """What one broker has been asked for, so that the next request names only what has changed (KIP-227).

    A broker that has no place for another session answers with none, and is told everything each time. After an error, or an
    answer that never came, nobody knows at which turn the broker is: ``renew``, which lets it drop what it holds.
    """

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._session = NEW_SESSION
        self._known: dict[Place, int] = {}

    def request(self, wanted: Mapping[Place, int], **bounds: int) -> FetchRequest:
        """Return the request for ``wanted``, offsets by place; ``bounds`` are ``FetchRequest``'s."""
        known, self._known = self._known, dict(wanted)
        changed = {place: offset for place, offset in wanted.items() if known.get(place) != offset}
        forgotten = [place for place in known if place not in wanted]
        return FetchRequest(wanted=changed, session=self._session, forgotten=forgotten, **bounds)

    def answered(self, answer: FetchAnswer) -> None:
        """Go on to the next turn."""
        if answer.code:
            self.renew()
        elif not answer.session_id:
            self._session = NEW_SESSION
            self._known = {}
        else:
            epoch = self._session.epoch
            self._session = Session(answer.session_id, epoch + 1 if epoch < _EPOCH_MAX else 1)

    def renew(self) -> None:
        """Begin a session with the next request, in place of the one that there is."""
        self._session = Session(self._session.id, NEW_SESSION.epoch)
        self._known = {}


def _by_topic(rows: Iterable[tuple[uuid.UUID, _Partition]]) -> dict[uuid.UUID, list[_Partition]]:
    found: dict[uuid.UUID, list[_Partition]] = {}
    for topic_id, row in rows:
        found.setdefault(topic_id, []).append(row)
    return found


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
