"""Requests in compact form are the bytes that aiokafka's schemas of the same layout give, and answers are read as those read them."""

import io
import struct
from typing import Any

import pytest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields, UnsignedVarInt32
from hypothesis import given
from hypothesis import strategies as st

from hub.broker.compact import after_tags, read_length, read_text, read_varint, text, varint
from hub.broker.protocol import (
    AddedAnswer,
    AddPartitionsToTxn,
    EndTxn,
    InitProducerId,
    OffsetAnswer,
    Produce,
    ProduceAnswer,
    ProducerAnswer,
    TxnOffsetCommit,
)

TEXT = CompactString("utf-8")
TAGS = ("tags", TaggedFields)
PRODUCER_ANSWER = Schema(("throttle_ms", Int32), ("code", Int16), ("producer_id", Int64), ("epoch", Int16), TAGS)
OFFSET_ROW = CompactArray(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT), TAGS)
COMMIT = Schema(
    ("transactional_id", TEXT),
    ("group", TEXT),
    ("producer_id", Int64),
    ("epoch", Int16),
    ("generation", Int32),
    ("member", TEXT),
    ("instance", TEXT),
    ("topics", CompactArray(("name", TEXT), ("partitions", OFFSET_ROW), TAGS)),
    TAGS,
)
CODE_ROW = CompactArray(("partition", Int32), ("code", Int16), TAGS)
COMMIT_ANSWER = Schema(("throttle_ms", Int32), ("topics", CompactArray(("name", TEXT), ("partitions", CODE_ROW), TAGS)), TAGS)
BATCH_ROW = CompactArray(
    ("partition", Int32),
    ("code", Int16),
    ("base_offset", Int64),
    ("append_ms", Int64),
    ("log_start_offset", Int64),
    ("record_errors", CompactArray(("index", Int32), ("message", TEXT), TAGS)),
    ("message", TEXT),
    TAGS,
)
PRODUCE_ANSWER = Schema(("topics", CompactArray(("name", TEXT), ("partitions", BATCH_ROW), TAGS)), ("throttle_ms", Int32), TAGS)
WORDS = st.text(max_size=300)
LONGS = st.integers(-(2**63), 2**63 - 1)
INTS = st.integers(-(2**31), 2**31 - 1)
SHORTS = st.integers(-(2**15), 2**15 - 1)


def _joined(request: Any) -> bytes:
    return b"".join(bytes(part) for part in request.parts())


@given(st.integers(0, 2**32 - 1))
def test_varints_are_kafkas(value: int) -> None:
    """And are read back with what follows untouched."""
    assert varint(value) == UnsignedVarInt32.encode(value)
    assert read_varint(memoryview(varint(value) + b"\xff"), 0) == (value, len(varint(value)))


@given(WORDS)
def test_texts_are_kafkas(value: str) -> None:
    """Null is empty when it is read: nobody here tells them apart."""
    assert text(value) == TEXT.encode(value)
    assert read_text(memoryview(text(value)), 0) == (value, len(text(value)))
    assert text(None) == TEXT.encode(None)
    assert read_length(memoryview(text(None)), 0) == (0, 1)


def test_tags_of_the_future_are_passed_over() -> None:
    """A newer broker adds tagged fields to the versions that we speak."""
    tags = b"\x02" + b"\x00\x03abc" + b"\x05\x00"
    assert after_tags(memoryview(tags + b"rest"), 0) == len(tags)


@given(WORDS, INTS)
def test_init_producer_id(name: str, timeout_ms: int) -> None:
    """Version 4."""
    schema = Schema(("transactional_id", TEXT), ("timeout_ms", Int32), ("producer_id", Int64), ("epoch", Int16), TAGS)
    found = _joined(InitProducerId(transactional_id=name, timeout_ms=timeout_ms))
    assert found == schema.encode((name, timeout_ms, -1, -1, {}))


@pytest.mark.parametrize("committed", [True, False])
@given(WORDS, LONGS, SHORTS)
def test_end_txn(committed: bool, name: str, producer_id: int, epoch: int) -> None:  # noqa: FBT001 - parametrized
    """Version 5."""
    schema = Schema(("transactional_id", TEXT), ("producer_id", Int64), ("epoch", Int16), ("committed", Boolean), TAGS)
    found = _joined(EndTxn(transactional_id=name, producer_id=producer_id, producer_epoch=epoch, committed=committed))
    assert found == schema.encode((name, producer_id, epoch, committed, {}))


COMMITS = st.fixed_dictionaries(
    {
        "transactional_id": WORDS,
        "group": WORDS,
        "producer_id": LONGS,
        "producer_epoch": SHORTS,
        "generation": INTS,
        "member": WORDS,
        "topic": WORDS,
        "partition": INTS,
        "offset": LONGS,
        "metadata": WORDS,
    }
)


@given(COMMITS)
def test_txn_offset_commit(asked: dict[str, Any]) -> None:
    """Version 5, of one partition."""
    head = [asked[name] for name in ("transactional_id", "group", "producer_id", "producer_epoch", "generation", "member")]
    topics = [(asked["topic"], [(asked["partition"], asked["offset"], -1, asked["metadata"], {})], {})]
    assert _joined(TxnOffsetCommit(**asked)) == COMMIT.encode((*head, None, topics, {}))


@given(WORDS, LONGS, SHORTS, st.dictionaries(WORDS, st.lists(INTS, max_size=3), max_size=3))
def test_add_partitions_to_txn(name: str, producer_id: int, epoch: int, topics: dict[str, list[int]]) -> None:
    """Version 3, of one transaction; the answer's first code that is not 0 is the answer's."""
    listed = CompactArray(("name", TEXT), ("partitions", CompactArray(Int32)), TAGS)
    schema = Schema(("transactional_id", TEXT), ("producer_id", Int64), ("epoch", Int16), ("topics", listed), TAGS)
    found = _joined(AddPartitionsToTxn(transactional_id=name, producer_id=producer_id, producer_epoch=epoch, topics=topics))
    rows = [(topic, partitions, {}) for topic, partitions in topics.items()]
    assert found == schema.encode((name, producer_id, epoch, rows, {}))


@given(SHORTS, SHORTS)
def test_the_answer_of_add_partitions_to_txn_is_its_first_refusal(one: int, other: int) -> None:
    """A partition that joined says nothing of the next."""
    frame = COMMIT_ANSWER.encode((5, [("a", [(0, 0, {}), (1, one, {})], {}), ("b", [(0, other, {})], {})], {}))
    assert AddedAnswer.read(memoryview(frame)) == (one or other,)


@given(LONGS, SHORTS, SHORTS)
def test_answers_of_the_coordinator(producer_id: int, epoch: int, code: int) -> None:
    """Throttle times in front are passed over."""
    frame = PRODUCER_ANSWER.encode((5, code, producer_id, epoch, {}))
    assert ProducerAnswer.read(memoryview(frame)) == (code, producer_id, epoch)
    frame = COMMIT_ANSWER.encode((5, [("dept.a.b", [(3, code, {})], {})], {}))
    assert OffsetAnswer.read(memoryview(frame)) == (code,)


def test_produce_leaves_every_batch_as_it_is() -> None:
    """What stands between two batches is one part; the batches are the very objects."""
    one, two, three = b"a" * 100, bytearray(b"b" * 200), memoryview(b"c" * 300)
    request = Produce(transactional_id="t", timeout_ms=30_000, topics={"x": [(0, one), (1, two)], "y": [(2, three)]})
    parts = request.parts()
    assert [part for part in parts if part is one or part is two or part is three] == [one, two, three]

    def batch(number: int, data: Any) -> bytes:
        return struct.pack(">i", number) + varint(len(data) + 1) + bytes(data) + b"\0"

    expected = text("t") + struct.pack(">hi", -1, 30_000) + b"\x03"
    expected += text("x") + b"\x03" + batch(0, one) + batch(1, two) + b"\0"
    expected += text("y") + b"\x02" + batch(2, three) + b"\0" + b"\0"
    assert _joined(request) == expected


ROWS = st.lists(st.tuples(INTS, SHORTS, LONGS, LONGS, LONGS, st.lists(st.tuples(INTS, WORDS, st.just({})), max_size=2), WORDS, st.just({})))


@given(st.lists(st.tuples(WORDS, ROWS, st.just({})), max_size=3))
def test_produce_answers(topics: Any) -> None:
    """Errors by record and messages are passed over: they may quote a record."""
    frame = PRODUCE_ANSWER.encode((topics, 7, {}))
    found = ProduceAnswer.read(memoryview(frame))
    assert list(found.rows) == [(name, *row[:4]) for name, rows, _ in topics for row in rows]


@given(st.binary(max_size=60))
def test_an_answer_that_is_none_raises_what_the_connection_expects(frame: bytes) -> None:
    """Whatever a broken broker sends, the connection is closed and nothing else happens."""
    for kind in (ProducerAnswer, OffsetAnswer, ProduceAnswer):
        try:
            kind.read(memoryview(frame))  # type: ignore[attr-defined]
        except (IndexError, ValueError, struct.error):
            continue


def test_a_varint_without_end_is_refused() -> None:
    """It would be read for ever, or to a number of any size."""
    with pytest.raises(ValueError, match="no end"):
        read_varint(memoryview(b"\xff" * 20), 0)
    assert io.BytesIO(varint(300)).read() == b"\xac\x02"
