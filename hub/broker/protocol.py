"""Requests of Kafka's current transaction protocol, as structures of aiokafka's protocol module.

aiokafka 0.14 speaks TxnOffsetCommit v0, EndTxn v0 and Metadata v5; exactly-once lanes need the versions below (KIP-447,
KIP-516, KIP-890). This is the one file that knows these layouts; ``tests/contract`` holds the private API that it touches.
Source: the message definitions of Apache Kafka 4.x, ``clients/src/main/resources/common/message``.
"""

import struct
import uuid
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

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
    UnsignedVarInt32,
)

_TEXT = CompactString("utf-8")


class FixedVersion:
    """A request of one version, where aiokafka expects a builder that negotiates."""

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


class InitProducerIdResponse(Response):
    """Answer to InitProducerId."""

    API_KEY = 22
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_ms", Int32), ("error_code", Int16), ("producer_id", Int64), ("producer_epoch", Int16), ("tags", TaggedFields)
    )


class InitProducerId(RequestStruct):
    """Take a transactional id over: fences its owner and ends its transaction."""

    API_KEY = 22
    API_VERSION = 4
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = InitProducerIdResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT), ("timeout_ms", Int32), ("producer_id", Int64), ("producer_epoch", Int16), ("tags", TaggedFields)
    )


class EndTxnResponse(Response):
    """Answer to EndTxn."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_ms", Int32), ("error_code", Int16), ("producer_id", Int64), ("producer_epoch", Int16), ("tags", TaggedFields)
    )


class EndTxn(RequestStruct):
    """Commit or abort; from version 5 the answer carries the epoch of the next transaction (KIP-890)."""

    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT), ("producer_id", Int64), ("producer_epoch", Int16), ("committed", Boolean), ("tags", TaggedFields)
    )


class TxnOffsetCommitResponse(Response):
    """Answer to TxnOffsetCommit."""

    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommit(RequestStruct):
    """Commit offsets inside the transaction, with generation and member (KIP-447); version 5 adds the group implicitly."""

    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation", Int32),
        ("member", _TEXT),
        ("instance", _TEXT),
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", _TEXT), ("tags", TaggedFields)
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class ProduceResponse(Response):
    """Answer to Produce."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("base_offset", Int64),
                        ("append_ms", Int64),
                        ("log_start_offset", Int64),
                        ("record_errors", CompactArray(("index", Int32), ("message", _TEXT), ("tags", TaggedFields))),
                        ("message", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_ms", Int32),
        ("tags", TaggedFields),
    )


class Produce(RequestStruct):
    """Produce prebuilt batches, acks of all replicas; from version 12 partitions join the transaction implicitly.

    Encoded with one join of the parts, where aiokafka's own request copies the batches about six times.
    """

    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse
    SCHEMA = Schema(("transactional_id", _TEXT), ("topics", Int32))

    def __init__(
        self, *, transactional_id: str | None, timeout_ms: int, topics: Mapping[str, Sequence[tuple[int, bytes | bytearray]]]
    ) -> None:
        """Keep the parts; ``topics`` maps a topic to (partition, record batch)."""
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self._topics = topics

    def encode(self) -> bytes:
        """Return the body."""
        length = UnsignedVarInt32.encode
        out: list[bytes | bytearray] = [_TEXT.encode(self._transactional_id), struct.pack(">hi", -1, self._timeout_ms)]
        out.append(length(len(self._topics) + 1))
        for topic, partitions in self._topics.items():
            out.append(_TEXT.encode(topic))
            out.append(length(len(partitions) + 1))
            for partition, data in partitions:
                out += (struct.pack(">i", partition), length(len(data) + 1), data, b"\0")
            out.append(b"\0")
        out.append(b"\0")
        return b"".join(out)

    def __repr__(self) -> str:
        """Return the shape only: a debug log must not hold records."""
        return f"Produce(topics={len(self._topics)})"


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
