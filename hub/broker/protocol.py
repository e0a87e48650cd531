"""Requests of Kafka's current transaction protocol, and a few of its others, each of one fixed version.

aiokafka 0.14 speaks TxnOffsetCommit v0, EndTxn v0 and Metadata v5; exactly-once lanes need the versions below (KIP-447, KIP-516,
KIP-890). What a step asks stands here in compact form, written and read by hand: it is asked thousands of times a second, and
aiokafka's schemas cost ten times as much. What is asked now and then stands as such a schema. This is the one file that knows
these layouts; ``tests/contract`` holds the private API that it touches.
Source: the message definitions of Apache Kafka 4.x, ``clients/src/main/resources/common/message``.
"""

import struct
import uuid
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self, TypeAlias

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from hub.broker.compact import EMPTY, NO_TAGS, NULL, after_tags, name, read_length, read_text, text, varint

Data: TypeAlias = bytes | bytearray | memoryview
"""What is sent without a copy: these, and whatever else has the buffer protocol."""

_TEXT = CompactString("utf-8")
_PRODUCER: Final = struct.Struct(">qh")
_ANSWER_CODE: Final = struct.Struct(">ih")
_ANSWER_PRODUCER: Final = struct.Struct(">ihqh")
_ANSWER_BATCH: Final = struct.Struct(">ihqqq")
_NO_ERRORS: Final = EMPTY + NULL + NO_TAGS
"""No errors by record, no message, no tags: how the row of a batch that was appended ends."""
_ALL_REPLICAS: Final = -1


class Answer(Protocol):
    """The type of an answer to a ``Request``."""

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read the body of an answer; IndexError, ValueError or struct.error where it is none."""


class Request:
    """A request of one flexible version, in compact form."""

    API_KEY: ClassVar[int]
    API_VERSION: ClassVar[int]
    RESPONSE_TYPE: ClassVar[type[Answer]]

    def parts(self) -> list[Data]:
        """Return the body as buffers in their order."""
        raise NotImplementedError


class ProducerAnswer(NamedTuple):
    """Answer to InitProducerId and EndTxn: whoever has the id goes on with this producer id and epoch."""

    error_code: int
    producer_id: int
    producer_epoch: int

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read a body."""
        return cls(*_ANSWER_PRODUCER.unpack_from(frame)[1:])


class InitProducerId(Request):
    """Take a transactional id over: fences its owner and ends its transaction."""

    API_KEY = 22
    API_VERSION = 4
    RESPONSE_TYPE = ProducerAnswer

    def __init__(self, *, transactional_id: str, timeout_ms: int, owned: tuple[int, int] = (-1, -1)) -> None:
        """Become the owner, whoever it was; with ``owned``, producer id and epoch, only where these own it still (KIP-360)."""
        self.transactional_id = transactional_id
        self.timeout_ms = timeout_ms
        self.owned = owned

    def parts(self) -> list[Data]:
        """Return the body."""
        return [name(self.transactional_id) + struct.pack(">i", self.timeout_ms) + _PRODUCER.pack(*self.owned) + NO_TAGS]


class EndTxn(Request):
    """Commit or abort; from version 5 the answer carries the epoch of the next transaction (KIP-890)."""

    API_KEY = 26
    API_VERSION = 5
    RESPONSE_TYPE = ProducerAnswer

    def __init__(self, *, transactional_id: str, producer_id: int, producer_epoch: int, committed: bool) -> None:
        """End the transaction of this producer."""
        self.transactional_id = transactional_id
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.committed = committed

    def parts(self) -> list[Data]:
        """Return the body."""
        producer = _PRODUCER.pack(self.producer_id, self.producer_epoch)
        return [name(self.transactional_id) + producer + (b"\1" if self.committed else b"\0") + NO_TAGS]


class OffsetAnswer(NamedTuple):
    """Answer to TxnOffsetCommit of one partition."""

    error_code: int

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read a body."""
        _, at = read_length(frame, 4)
        _, at = read_text(frame, at)
        _, at = read_length(frame, at)
        return cls(_ANSWER_CODE.unpack_from(frame, at)[1])


class TxnOffsetCommit(Request):
    """Commit one offset inside the transaction, with generation and member (KIP-447); version 5 adds the group implicitly."""

    API_KEY = 28
    API_VERSION = 5
    RESPONSE_TYPE = OffsetAnswer

    def __init__(  # noqa: PLR0913 - what the protocol asks for, by name
        self,
        *,
        transactional_id: str,
        group: str,
        producer_id: int,
        producer_epoch: int,
        generation: int,
        member: str,
        topic: str,
        partition: int,
        offset: int,
        metadata: str,
    ) -> None:
        """Commit ``offset`` of one partition, as ``member`` of the group's ``generation``."""
        self.transactional_id = transactional_id
        self.group = group
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.generation = generation
        self.member = member
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.metadata = metadata

    def parts(self) -> list[Data]:
        """Return the body."""
        return [
            b"".join(
                (
                    name(self.transactional_id),
                    name(self.group),
                    struct.pack(">qhi", self.producer_id, self.producer_epoch, self.generation),
                    name(self.member),
                    NULL,  # no static instance
                    varint(2),
                    name(self.topic),
                    varint(2),
                    struct.pack(">iqi", self.partition, self.offset, -1),
                    text(self.metadata),
                    NO_TAGS * 3,
                )
            )
        ]


class AddedAnswer(NamedTuple):
    """Answer to AddPartitionsToTxn: the first code that is not 0, 0 where every partition joined."""

    error_code: int

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read a body."""
        topics, at = read_length(frame, 4)
        codes: list[int] = []
        for _ in range(topics):
            _, at = read_text(frame, at)
            partitions, at = read_length(frame, at)
            for _ in range(partitions):
                codes.append(_ANSWER_CODE.unpack_from(frame, at)[1])
                at = after_tags(frame, at + _ANSWER_CODE.size)
            at = after_tags(frame, at)
        return cls(next((code for code in codes if code), 0))


class AddPartitionsToTxn(Request):
    """Let partitions join the transaction before anything is written to them; version 3 is the newest that clients may send."""

    API_KEY = 24
    API_VERSION = 3
    RESPONSE_TYPE = AddedAnswer

    def __init__(self, *, transactional_id: str, producer_id: int, producer_epoch: int, topics: Mapping[str, Sequence[int]]) -> None:
        """Add the partitions of each topic."""
        self.transactional_id = transactional_id
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.topics = topics

    def parts(self) -> list[Data]:
        """Return the body."""
        out = [name(self.transactional_id), _PRODUCER.pack(self.producer_id, self.producer_epoch), varint(len(self.topics) + 1)]
        for topic, partitions in self.topics.items():
            out += (name(topic), varint(len(partitions) + 1), struct.pack(f">{len(partitions)}i", *partitions), NO_TAGS)
        return [b"".join((*out, NO_TAGS))]


class Appended(NamedTuple):
    """What a broker answered for one batch."""

    topic: str
    partition: int
    code: int
    base_offset: int
    append_ms: int
    """-1 where the topic is not stamped by the broker."""


class ProduceAnswer(NamedTuple):
    """Answer to Produce."""

    rows: tuple[Appended, ...]

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read a body."""
        topics, at = read_length(frame, 0)
        rows: list[Appended] = []
        for _ in range(topics):
            topic, at = read_text(frame, at)
            partitions, at = read_length(frame, at)
            for _ in range(partitions):
                partition, code, base_offset, append_ms, _ = _ANSWER_BATCH.unpack_from(frame, at)
                rows.append(Appended(topic, partition, code, base_offset, append_ms))
                at += _ANSWER_BATCH.size
                at = at + 3 if frame[at : at + 3] == _NO_ERRORS else _after_errors(frame, at)
            at = after_tags(frame, at)
        return cls(tuple(rows))


def _after_errors(frame: memoryview, at: int) -> int:
    """Return where a batch's row ends: its errors by record, its message (both may quote a record) and its tags are not read."""
    errors, at = read_length(frame, at)
    for _ in range(errors):
        size, at = read_length(frame, at + 4)
        at = after_tags(frame, at + size)
    size, at = read_length(frame, at)
    return after_tags(frame, at + size)


class Produce(Request):
    """Produce prebuilt batches, acks of all replicas; from version 12 partitions join the transaction implicitly.

    The batches are parts of their own: nothing is joined, however large they are.
    """

    API_KEY = 0
    API_VERSION = 12
    RESPONSE_TYPE = ProduceAnswer

    def __init__(self, *, transactional_id: str | None, timeout_ms: int, topics: Mapping[str, Sequence[tuple[int, Data]]]) -> None:
        """Keep the batches; ``topics`` maps a topic to (partition, record batch), one batch for a partition."""
        self.transactional_id = transactional_id
        self.timeout_ms = timeout_ms
        self.topics = topics

    def parts(self) -> list[Data]:
        """Return the body: what stands between two batches is one part."""
        out: list[Data] = []
        between = [text(self.transactional_id), struct.pack(">hi", _ALL_REPLICAS, self.timeout_ms), varint(len(self.topics) + 1)]
        for topic, partitions in self.topics.items():
            between += (name(topic), varint(len(partitions) + 1))
            for partition, data in partitions:
                between += (struct.pack(">i", partition), varint(len(data) + 1))
                out += (b"".join(between), data)
                between = [NO_TAGS]
            between.append(NO_TAGS)
        between.append(NO_TAGS)
        return [*out, b"".join(between)]


class FixedVersion:
    """A request of one version in aiokafka's schemas, where aiokafka expects a builder that negotiates."""

    def __init__(self, request: RequestStruct) -> None:
        """Wrap ``request``."""
        self._request = request

    def prepare(self, _versions: Mapping[int, tuple[int, int]]) -> RequestStruct:
        """Return the request as it is."""
        return self._request


class _Uuid:
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, source: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=source.read(16))


class OffsetFetchResponse(Response):
    """Answer to OffsetFetch."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetch(RequestStruct):
    """Read committed offsets and their metadata."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse
    SCHEMA = Schema(
        ("group", _TEXT),
        ("topics", CompactArray(("name", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields))),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class ListOffsetsResponse(Response):
    """Answer to ListOffsets."""

    API_KEY = 2
    API_VERSION = 2
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        (
            "topics",
            Array(
                ("name", String("utf-8")),
                ("partitions", Array(("partition", Int32), ("error_code", Int16), ("timestamp", Int64), ("offset", Int64))),
            ),
        ),
    )


class ListOffsets(RequestStruct):
    """Ask for the earliest (-2) or latest (-1) offset; isolation 0 reads the high watermark, 1 the last stable offset."""

    API_KEY = 2
    API_VERSION = 2
    RESPONSE_TYPE = ListOffsetsResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("isolation", Int8),
        ("topics", Array(("name", String("utf-8")), ("partitions", Array(("partition", Int32), ("timestamp", Int64))))),
    )


class MetadataResponse(Response):
    """Answer to Metadata."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields)),
        ),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", _Uuid),
                ("internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class Metadata(RequestStruct):
    """Ask for topics with their ids (KIP-516); never creates a topic."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _TEXT), ("tags", TaggedFields))),
        ("allow_creation", Boolean),
        ("operations", Boolean),
        ("tags", TaggedFields),
    )


def describe(topics: Sequence[str]) -> Any:
    """Return a Metadata request by name."""
    return FixedVersion(Metadata([(uuid.UUID(int=0), topic, {}) for topic in topics], False, False, {}))
