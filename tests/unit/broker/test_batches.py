"""Record batches: cut at the exact limit, stamped with a right CRC, and read without believing what they claim."""

import gzip
import struct

import pytest
from aiokafka.record._crecords import cutil
from hypothesis import given
from hypothesis import strategies as st
from readers import Reader, code_of, readers

from hub.broker import batches
from hub.broker.batches import (
    BatchHeader,
    BuiltBatch,
    RecordTooLarge,
    UnreadableBatch,
    build_batches,
    headers,
    offset_deltas,
    read_records,
    stamp,
)
from hub.settings import BATCH_PLAIN_BYTES_MAX, BATCH_RECORDS_MAX

NOW_MS = 1_790_000_000_000
EACH_READER = pytest.mark.parametrize("read", readers())
RECORD_BYTES_AROUND = 8
"""Around a value of 2 to 63 bytes without a key: length, attributes, timestamp, offset, key, value, headers."""

records = st.lists(st.tuples(st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=200)), min_size=1, max_size=30)


def _one(rows: list[tuple[bytes | None, bytes | None]]) -> bytes:
    (built,) = build_batches(rows, bytes_max=1_000_000, timestamp_ms=NOW_MS)
    return built.data


def _sealed(batch: bytearray) -> bytes:
    """Give a changed batch a right CRC: then only its content can betray it."""
    struct.pack_into(">I", batch, 17, cutil.crc32c_cython(memoryview(batch)[21:]))
    return bytes(batch)


def _with_body(batch: bytes, body: bytes, *, codec: int = 0) -> bytes:
    out = bytearray(batch[: batches.HEADER_BYTES]) + body
    struct.pack_into(">i", out, 8, len(out) - 12)
    out[22] = codec
    return _sealed(out)


@given(records)
def test_what_is_built_is_read_in_order(rows: list[tuple[bytes | None, bytes | None]]) -> None:
    """None is not empty, order is kept, offsets count from 0, and there are no headers."""
    found = read_records(_one(rows))

    assert [(row.key, row.value) for row in found] == rows
    assert [row.offset for row in found] == list(range(len(rows)))
    assert {row.timestamp_ms for row in found} == {NOW_MS}
    assert {row.headers for row in found} == {()}


@given(records, st.integers(min_value=400, max_value=2_000))
def test_batches_are_cut_at_record_borders_below_the_limit(rows: list[tuple[bytes | None, bytes | None]], bytes_max: int) -> None:
    """A batch over the broker's limit would be refused whole; no record may be lost where one batch ends."""
    built = build_batches(rows, bytes_max=bytes_max, timestamp_ms=NOW_MS)

    assert all(len(batch.data) <= bytes_max for batch in built)
    assert [(row.key, row.value) for batch in built for row in read_records(batch.data)] == rows
    assert [batch.records for batch in built] == [len(read_records(batch.data)) for batch in built]


def test_a_record_at_the_limit_fits_and_one_byte_more_does_not() -> None:
    """The bound is exact, and the error names the record, not its content."""
    value = b"x" * 50
    exact = batches.HEADER_BYTES + RECORD_BYTES_AROUND - 1 + len(value)

    (built,) = build_batches([(None, value)], bytes_max=exact, timestamp_ms=NOW_MS)
    with pytest.raises(RecordTooLarge) as caught:
        build_batches([(None, b"a"), (None, value)], bytes_max=exact - 1, timestamp_ms=NOW_MS)

    assert len(built.data) == exact
    assert caught.value.index == 1
    assert "x" * 5 not in str(caught.value)


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_compressed_batch_holds_the_same_records(codec: int) -> None:
    """The codec changes the bytes of a batch and nothing that it says; the cut is by what it is uncompressed."""
    rows = [(b"key %d" % number, b"value %d " % number * 20) for number in range(500)]

    plain = build_batches(rows, bytes_max=20_000, timestamp_ms=NOW_MS)
    built = build_batches(rows, bytes_max=20_000, timestamp_ms=NOW_MS, codec=codec)

    assert [read_records(batch.data) for batch in built] == [read_records(batch.data) for batch in plain]
    assert all(len(batch.data) < len(twin.data) / 2 for batch, twin in zip(built, plain, strict=True))
    assert {header.codec for batch in built for _, _, header in headers(batch.data)} == {codec}


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_batch_that_would_not_shrink_stays_uncompressed(codec: int) -> None:
    """Compression must never make a batch larger than the bound that it was cut by."""
    rows = [(None, b"a")]

    assert build_batches(rows, bytes_max=1000, timestamp_ms=NOW_MS, codec=codec) == build_batches(rows, bytes_max=1000, timestamp_ms=NOW_MS)


def test_no_records_are_no_batch() -> None:
    """An empty batch would be refused by the broker."""
    assert build_batches([], bytes_max=1000, timestamp_ms=NOW_MS) == []


def test_a_stamped_batch_carries_its_producer_and_a_right_crc() -> None:
    """The broker refuses a wrong CRC, and fences by producer id and epoch."""
    plain = _one([(b"k", b"v"), (None, b"w")])

    stamped = bytes(stamp(plain, producer_id=4711, epoch=3, sequence=12, transactional=True))

    ((start, end, header),) = headers(stamped)
    assert (start, end) == (0, len(stamped))
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.records) == (4711, 3, 12, 2)
    assert header.is_transactional
    assert not header.is_control
    assert [row.value for row in read_records(stamped)] == [b"v", b"w"]
    assert plain == _one([(b"k", b"v"), (None, b"w")]), "the batch itself stays as it was"


def test_headers_leave_out_a_batch_that_is_cut() -> None:
    """A fetch answer ends anywhere: the last batch comes again with the next fetch."""
    one, two = _one([(None, b"a")]), _one([(None, b"b"), (None, b"c")])

    assert [(start, end, header.records) for start, end, header in headers(one + two)] == [
        (0, len(one), 1),
        (len(one), len(one + two), 2),
    ]
    assert [end for _, end, _ in headers((one + two)[:-1])] == [len(one)]
    assert list(headers(b"")) == []
    assert list(headers(b"\0" * 200)) == []


def test_offset_deltas_tell_where_records_are_missing() -> None:
    """Compaction takes records out of a batch and leaves its offsets as they were."""
    whole = _one([(None, b"a"), (None, b"b")])
    moved = bytearray(whole)
    struct.pack_into(">q", moved, 0, 700)

    assert offset_deltas(bytes(moved)) == [0, 1]
    assert [row.offset for row in read_records(bytes(moved))] == [700, 701]


@EACH_READER
@given(rows=records, data=st.data())
def test_any_flipped_byte_behind_the_crc_is_noticed(
    read: Reader, rows: list[tuple[bytes | None, bytes | None]], data: st.DataObject
) -> None:
    """CRC32C covers all that a reader decides by."""
    batch = bytearray(_one(rows))
    at = data.draw(st.integers(min_value=17, max_value=len(batch) - 1))
    batch[at] ^= data.draw(st.integers(min_value=1, max_value=255))

    assert code_of(read, bytes(batch)) == "crc"


@given(records, st.data())
def test_hostile_bytes_under_a_right_crc_raise_a_value_error_or_are_records_within_the_span(
    rows: list[tuple[bytes | None, bytes | None]], data: st.DataObject
) -> None:
    """Whoever writes a batch can seal it: lying counts, truncated varints and sizes must not crash, hang or leave the span."""
    batch = bytearray(_one(rows))
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        batch[data.draw(st.integers(min_value=21, max_value=len(batch) - 1))] = data.draw(st.integers(min_value=0, max_value=255))
    sealed = _sealed(batch)

    try:
        found = read_records(sealed)
    except ValueError:
        return
    header = BatchHeader(*struct.unpack_from(">qiibIhiqqqhii", sealed))
    offsets = [row.offset for row in found]
    assert len(found) == header.records
    assert offsets == sorted(set(offsets))
    assert not offsets or 0 <= offsets[0] <= offsets[-1] <= header.last_offset_delta


@EACH_READER
@given(noise=st.binary(max_size=300))
def test_any_bytes_are_refused_as_a_value_error(read: Reader, noise: bytes) -> None:
    """No input can crash a reader."""
    assert issubclass(UnreadableBatch, ValueError)
    with pytest.raises(UnreadableBatch):
        read(noise)
    assert len(list(headers(noise))) <= 300 // batches.HEADER_BYTES


@EACH_READER
@pytest.mark.parametrize("count", [-1, 0, 1, 3, BATCH_RECORDS_MAX + 1, 2**31 - 1])
def test_a_count_that_lies_is_refused(read: Reader, count: int) -> None:
    """Two records: any other claim would break conservation, and a huge one must not reserve anything."""
    batch = bytearray(_one([(None, b"a"), (None, b"b")]))
    struct.pack_into(">i", batch, 57, count)

    assert code_of(read, _sealed(batch)) == ("count" if count < 0 else "records" if count <= BATCH_RECORDS_MAX else "too-large")


@EACH_READER
def test_an_offset_outside_of_the_span_is_refused(read: Reader) -> None:
    """The transport counts by the header, the kernel by the records: they must not contradict each other."""
    batch = bytearray(_one([(None, b"a"), (None, b"b")]))
    struct.pack_into(">i", batch, 23, 0)

    assert code_of(read, _sealed(batch)) == "offsets"


@EACH_READER
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda batch: batch[:40], "cut"),
        (lambda batch: batch[:-1], "cut"),
        (lambda batch: batch + b"\0", "cut"),
        (lambda batch: batch[:16] + b"\1" + batch[17:], "magic"),
        (lambda batch: _with_body(batch, b""), "records"),
        (lambda batch: _with_body(batch, b"\xff" * 40), "records"),
        (lambda batch: _with_body(batch, batch[61:], codec=7), "codec-unknown"),
        (lambda batch: _with_body(batch, b"no gzip at all", codec=1), "codec-corrupt"),
        (lambda batch: _with_body(batch, gzip.compress(batch[61:])[:-4], codec=1), "codec-corrupt"),
    ],
)
def test_each_reason_has_its_name(read: Reader, change: object, code: str) -> None:
    """A reason is what an operator has: the content is not shown."""
    assert callable(change)
    assert code_of(read, change(_one([(None, b"secret"), (None, b"b")]))) == code


@EACH_READER
def test_a_compressed_batch_is_read_as_the_plain_one(read: Reader) -> None:
    """Departments' own producers compress."""
    plain = _one([(b"k", b"v" * 100), (None, None)])

    assert read(_with_body(plain, gzip.compress(plain[61:]), codec=1)) == read(plain)


@EACH_READER
def test_a_batch_that_swells_beyond_the_bound_is_refused(read: Reader) -> None:
    """Thirty kilobytes of gzip may be thirty megabytes of nothing."""
    plain = _one([(None, b"a")])
    bomb = gzip.compress(b"\0" * (BATCH_PLAIN_BYTES_MAX + 1))

    assert len(bomb) < 100_000
    assert code_of(read, _with_body(plain, bomb, codec=1)) == "too-large"


def _record(tail: str, *, delta: str = "00", size: int | None = None) -> bytes:
    inner = bytes.fromhex("0000" + delta + tail)
    return bytes([2 * (len(inner) if size is None else size)]) + inner


@EACH_READER
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (_record("01 01 00"), None),
        (_record("02 61 8000 00"), None),
        (_record("8180808000 01 00"), None),
        (_record("07 01 00"), None),
        (_record("01 01 02 02 61 01"), None),
        (_record("01 01 02 04 c3a9 02 61"), None),
        (_record("01 01 02 01 01"), "records"),
        (_record("01 01 02 02 ff 01"), "records"),
        (_record("01 01 01"), "records"),
        (_record("818080808000 01 00"), "records"),
        (_record("8180808010 01 00"), "records"),
        (_record("01 01 00", size=5), "records"),
        (_record("01 01 00", size=7), "records"),
        (_record("04 61 00 00"), "records"),
        (_record("01 01 00") + b"\0", "records"),
        (_record("01 01 00", delta="01"), "offsets"),
        (_record("01 01 00", delta="02"), "offsets"),
    ],
)
def test_frames_are_read_as_kafka_reads_them(read: Reader, body: bytes, code: str | None) -> None:
    """Over-long varints of at most five bytes and any negative length are taken, as by Kafka's own reader, and nothing looser."""
    batch = _with_body(_one([(None, None)]), body)

    if code is None:
        assert len(read(batch)) == 1
    else:
        assert code_of(read, batch) == code


@EACH_READER
@pytest.mark.parametrize(
    ("base", "last", "code"), [(2**63 - 2, 1, None), (2**63 - 1, 1, "offsets"), (-1, 1, "offsets"), (0, 2**31 - 1, None)]
)
def test_offsets_stay_within_what_a_partition_can_have(read: Reader, base: int, last: int, code: str | None) -> None:
    """A number of 64 bits must not wrap in one kernel and grow in another."""
    batch = bytearray(_one([(None, b"a"), (None, b"b")]))
    struct.pack_into(">q", batch, 0, base)
    struct.pack_into(">i", batch, 23, last)

    if code is None:
        assert [offset for offset, _, _ in read(_sealed(batch))] == [base, base + 1]
    else:
        assert code_of(read, _sealed(batch)) == code


def test_built_batches_are_plain_values() -> None:
    """The kernel passes them on as (data, records)."""
    (built,) = build_batches([(None, b"a")], bytes_max=1000, timestamp_ms=NOW_MS)

    assert built == BuiltBatch(built.data, 1) == (built.data, 1)
