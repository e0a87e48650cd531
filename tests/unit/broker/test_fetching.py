"""Fetch by topic id: the bytes of Kafka's layout, and answers read as views of the memory that they came in."""

import struct
import uuid
from typing import Any

import pytest
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Int64, Schema, TaggedFields
from hypothesis import given
from hypothesis import strategies as st

from hub.broker.fetching import NEW_SESSION, NO_SESSION, FetchAnswer, FetchRequest, FetchSession, Place, Session

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
    ("forgotten", CompactArray(("topic_id", _Id), ("partitions", CompactArray(Int32)), TAGS)),
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


PLACES = st.tuples(IDS, INTS)
BOUNDS = {"max_wait_ms": 100, "min_bytes": 7, "max_bytes": 9_000, "partition_bytes": 1_000}


@given(
    st.dictionaries(PLACES, LONGS, max_size=9),
    st.lists(PLACES, max_size=5),
    INTS,
    st.sampled_from([NO_SESSION, NEW_SESSION, Session(7, 3)]),
)
def test_the_request_has_kafkas_layout(wanted: dict[Place, int], forgotten: list[Place], bound: int, session: Session) -> None:
    """Version 13: committed records, nobody's replica, no rack; topics in the order in which they come."""
    request = FetchRequest(**BOUNDS | {"max_bytes": bound}, wanted=wanted, session=session, forgotten=forgotten)
    asked: dict[uuid.UUID, Any] = {}
    for (topic_id, number), offset in wanted.items():
        asked.setdefault(topic_id, []).append((number, -1, offset, -1, -1, 1_000, {}))
    gone: dict[uuid.UUID, Any] = {}
    for topic_id, number in forgotten:
        gone.setdefault(topic_id, []).append(number)
    topics, left = [(*row, {}) for row in asked.items()], [(*row, {}) for row in gone.items()]
    expected = REQUEST.encode((-1, 100, 7, bound, 1, *session, topics, left, "", {}))
    assert b"".join(bytes(part) for part in request.parts()) == expected


def test_a_session_names_what_has_changed_since_the_last_turn() -> None:
    """Everything at first; then places that are new or stand elsewhere, and those that are gone."""
    one, other = (uuid.uuid4(), 0), (uuid.uuid4(), 3)
    session = FetchSession()
    first = session.request({one: 5, other: 9}, **BOUNDS)
    assert (first.session, dict(first.wanted), first.forgotten) == (NEW_SESSION, {one: 5, other: 9}, ())
    session.answered(FetchAnswer(0, [], 42))
    second = session.request({one: 5, other: 10}, **BOUNDS)
    assert (second.session, dict(second.wanted), second.forgotten) == (Session(42, 1), {other: 10}, ())
    session.answered(FetchAnswer(0, [], 42))
    third = session.request({one: 5}, **BOUNDS)
    assert (third.session, dict(third.wanted), third.forgotten) == (Session(42, 2), {}, (other,))


@pytest.mark.parametrize(
    ("answer", "begun"),
    [(FetchAnswer(0, [], 0), NEW_SESSION), (FetchAnswer(70, [], 0), Session(42, 0)), (FetchAnswer(71, [], 42), Session(42, 0))],
    ids=["none", "gone", "turn"],
)
def test_a_broker_without_the_session_is_told_everything_again(answer: FetchAnswer, begun: Session) -> None:
    """One that has no place for it, one that has thrown it out, and one that is at another turn and may drop what it holds."""
    place = (uuid.uuid4(), 0)
    session = FetchSession()
    session.request({place: 5}, **BOUNDS)
    session.answered(FetchAnswer(0, [], 42))
    session.request({place: 5}, **BOUNDS)
    session.answered(answer)
    again = session.request({place: 5}, **BOUNDS)
    assert (again.session, dict(again.wanted), again.forgotten) == (begun, {place: 5}, ())


def test_turns_begin_again_at_one_behind_the_last() -> None:
    """0 would ask for a new session, and a negative one end it."""
    session = FetchSession()
    session._session = Session(42, 2**31 - 1)
    session.answered(FetchAnswer(0, [], 42))
    assert session.request({}, **BOUNDS).session == Session(42, 1)


@given(st.lists(st.tuples(IDS, ROWS, st.just({})), max_size=3), st.integers(-1, 110))
def test_an_answer_is_read_row_by_row(topics: Any, code: int) -> None:
    """Null and empty are the same to us."""
    frame = memoryview(ANSWER.encode((0, code, 17, topics, {})))
    answer = FetchAnswer.read(frame)
    expected = [
        (topic_id, number, code, high, stable, tuple(row[:2] for row in aborted or ()), records or b"")
        for topic_id, rows, _ in topics
        for number, code, high, stable, _, aborted, _, records, _ in rows
    ]
    assert (answer.code, answer.session_id) == (code, 17)
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
