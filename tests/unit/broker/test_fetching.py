"""Fetch by topic id: the bytes of Kafka's layout, and answers read as views of the memory that they came in."""

import struct
import uuid
from typing import Any

from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Int64, Schema, TaggedFields
from hypothesis import given
from hypothesis import strategies as st

from hub.broker.fetching import FetchAnswer, FetchRequest

TAGS = ("tags", TaggedFields)


class _Id:
    @staticmethod
    def encode(value: uuid.UUID) -> bytes:
        return value.bytes


ASKED = CompactArray(
    ("partition", Int32),
    ("leader_epoch", Int32),
    ("offset", Int64),
    ("last_epoch", Int32),
    ("log_start", Int64),
    ("bytes_max", Int32),
    TAGS,
)
REQUEST = Schema(
    ("replica", Int32),
    ("max_wait_ms", Int32),
    ("min_bytes", Int32),
    ("max_bytes", Int32),
    ("isolation", Int8),
    ("session", Int32),
    ("epoch", Int32),
    ("topics", CompactArray(("topic_id", _Id), ("partitions", ASKED), TAGS)),
    ("forgotten", CompactArray(Int32)),
    ("rack", CompactString("utf-8")),
    TAGS,
)
ABORTED = CompactArray(("producer_id", Int64), ("first_offset", Int64), TAGS)
ANSWERED = CompactArray(
    ("partition", Int32),
    ("code", Int16),
    ("high_watermark", Int64),
    ("stable_offset", Int64),
    ("log_start", Int64),
    ("aborted", ABORTED),
    ("replica", Int32),
    ("records", CompactBytes),
    TAGS,
)
ANSWER = Schema(
    ("throttle_ms", Int32),
    ("code", Int16),
    ("session", Int32),
    ("topics", CompactArray(("topic_id", _Id), ("partitions", ANSWERED), TAGS)),
    TAGS,
)
LONGS = st.integers(-(2**63), 2**63 - 1)
INTS = st.integers(0, 2**31 - 1)
IDS = st.uuids()
ROWS = st.lists(
    st.tuples(
        INTS,
        st.integers(-1, 110),
        LONGS,
        LONGS,
        LONGS,
        st.none() | st.lists(st.tuples(LONGS, LONGS, st.just({})), max_size=3),
        st.just(-1),
        st.none() | st.binary(max_size=300),
        st.just({}),
    ),
    max_size=4,
)


@given(st.dictionaries(IDS, st.lists(st.tuples(INTS, LONGS), max_size=5), max_size=4), INTS)
def test_the_request_has_kafkas_layout(wanted: dict[uuid.UUID, list[tuple[int, int]]], bound: int) -> None:
    """Version 13: committed records, no session, nobody's replica, no rack."""
    request = FetchRequest(max_wait_ms=100, min_bytes=7, max_bytes=bound, partition_bytes=1_000, wanted=wanted)
    topics = [(topic_id, [(number, -1, offset, -1, -1, 1_000, {}) for number, offset in rows], {}) for topic_id, rows in wanted.items()]
    expected = REQUEST.encode((-1, 100, 7, bound, 1, 0, -1, topics, [], "", {}))
    assert b"".join(bytes(part) for part in request.parts()) == expected


@given(st.lists(st.tuples(IDS, ROWS, st.just({})), max_size=3), st.integers(-1, 110))
def test_an_answer_is_read_row_by_row(topics: Any, code: int) -> None:
    """Null and empty are the same to us."""
    frame = memoryview(ANSWER.encode((0, code, 0, topics, {})))
    answer = FetchAnswer.read(frame)
    expected = [
        (topic_id, number, code, high, stable, tuple(row[:2] for row in aborted or ()), records or b"")
        for topic_id, rows, _ in topics
        for number, code, high, stable, _, aborted, _, records, _ in rows
    ]
    assert answer.code == code
    assert [(*row[:6], bytes(row.records)) for row in answer.rows] == expected
    assert all(row.records.obj is frame.obj for row in answer.rows)


def test_tags_of_a_row_are_passed_over() -> None:
    """A broker that lost its leadership tells the new leader there."""
    topic_id = uuid.uuid4()
    plain = ANSWERED.encode([(3, 6, -1, -1, -1, [], -1, b"", {})])
    tagged = plain[:-1] + b"\x01" + b"\x01\x02ab"
    frame = struct.pack(">ihi", 0, 0, 0) + b"\x02" + topic_id.bytes + tagged + b"\0" + b"\0"
    (row,) = FetchAnswer.read(memoryview(frame)).rows
    assert (row.partition, row.code) == (3, 6)


@given(st.binary(max_size=120))
def test_an_answer_that_is_none_raises_what_the_connection_expects(frame: bytes) -> None:
    """Also one that claims more records than it has bytes."""
    try:
        FetchAnswer.read(memoryview(frame))
    except (IndexError, ValueError, struct.error):
        return
