"""Chunks from message sets: aborted and control batches left out, every offset accounted for."""

import struct

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.broker.batches import build_batches, headers, read_records, stamp
from hub.exchange.transport.chunks import border, read_chunk, split
from hub.model.names import TopicPartition

LANE = TopicPartition("dept.transport.flights", 0)
ABORT, COMMIT = 0, 1


def _batch(base: int, count: int, *, producer: int = -1, last_delta: int | None = None, claimed: int | None = None) -> bytes:
    (built,) = build_batches([(None, b"v%d" % number) for number in range(count)], bytes_max=900_000, timestamp_ms=1)
    out = bytearray(stamp(built.data, producer_id=producer, epoch=0, sequence=0, transactional=producer >= 0))
    struct.pack_into(">q", out, 0, base)
    if last_delta is not None:
        struct.pack_into(">i", out, 23, last_delta)
    if claimed is not None:
        struct.pack_into(">i", out, 57, claimed)
    return bytes(out)


def _marker(base: int, producer: int, kind: int) -> bytes:
    (built,) = build_batches([(struct.pack(">hh", 0, kind), b"\x00" * 6)], bytes_max=1000, timestamp_ms=1)
    out = bytearray(stamp(built.data, producer_id=producer, epoch=0, sequence=0, transactional=True))
    out[22] |= 0x20
    struct.pack_into(">q", out, 0, base)
    return bytes(out)


def test_whole_batches_pass_as_they_are() -> None:
    """Nothing is copied or rebuilt where nothing is left out."""
    data = _batch(0, 3) + _batch(3, 2)
    chunk = read_chunk(LANE, data, aborted=[], fetch_offset=0)
    assert chunk is not None
    assert chunk.data is data
    assert (chunk.first_offset, chunk.next_offset, chunk.gaps) == (0, 5, 0)


def test_aborted_batches_and_markers_are_gaps() -> None:
    """Batches of producer 7 are dropped until its abort marker; the same producer's next transaction passes."""
    data = b"".join(
        [
            _batch(0, 2, producer=7),
            _batch(2, 1, producer=8),
            _marker(3, 7, ABORT),
            _batch(4, 2, producer=7),
            _marker(6, 7, COMMIT),
            _marker(7, 8, COMMIT),
        ]
    )
    chunk = read_chunk(LANE, data, aborted=[(7, 0)], fetch_offset=0)
    assert chunk is not None
    assert chunk.data == _batch(2, 1, producer=8) + _batch(4, 2, producer=7)
    assert (chunk.next_offset, chunk.gaps) == (8, 5)


def test_a_chunk_of_aborted_records_alone_still_accounts_for_its_offsets() -> None:
    """Otherwise the chain would never get past them."""
    chunk = read_chunk(LANE, _batch(0, 2, producer=7) + _marker(2, 7, ABORT), aborted=[(7, 0)], fetch_offset=0)
    assert chunk is not None
    assert (chunk.data, chunk.next_offset, chunk.gaps) == (b"", 3, 3)


def test_a_fetch_offset_inside_a_batch_counts_from_there() -> None:
    """The broker sends whole batches; what lies below the offset that was asked for is nobody's."""
    chunk = read_chunk(LANE, _batch(0, 10), aborted=[], fetch_offset=4)
    assert chunk is not None
    assert (chunk.first_offset, chunk.next_offset, chunk.gaps) == (4, 10, 0)


def test_offsets_between_batches_and_compacted_ones_inside_are_gaps() -> None:
    """Compaction keeps a batch's last delta and lowers its count; whole batches may be gone."""
    compacted = _batch(10, 3, last_delta=9)
    chunk = read_chunk(LANE, _batch(0, 5) + compacted, aborted=[], fetch_offset=0)
    assert chunk is not None
    assert (chunk.next_offset, chunk.gaps) == (20, 5 + 7)


def test_a_cut_batch_at_the_end_is_left_for_the_next_fetch() -> None:
    """The broker may cut the last batch anywhere."""
    second = _batch(5, 5)
    chunk = read_chunk(LANE, _batch(0, 5) + second[:-1], aborted=[], fetch_offset=0)
    assert chunk is not None
    assert chunk.next_offset == 5
    assert read_chunk(LANE, second[:-1], aborted=[], fetch_offset=5) is None


def test_a_batch_that_claims_more_records_than_offsets_has_no_negative_gaps() -> None:
    """A header may lie; the kernel quarantines the batch, and the two counts still agree."""
    chunk = read_chunk(LANE, _batch(0, 5, claimed=1_000_000), aborted=[], fetch_offset=0)
    assert chunk is not None
    assert chunk.gaps == 0


@st.composite
def _layouts(draw: st.DrawFn) -> tuple[list[int], bytes, int]:
    """Draw offsets with records, their message set in batches (some compacted, with offsets left out between them), and its end."""
    offsets: list[int] = []
    data, base = b"", draw(st.integers(0, 3))
    for _ in range(draw(st.integers(1, 4))):
        deltas = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True).map(sorted))
        last = draw(st.integers(deltas[-1], 10))
        builder = DefaultRecordBatchBuilder(2, draw(st.sampled_from([0, 1])), 0, -1, -1, -1, 10_000)
        for delta in deltas:
            builder.append(delta, timestamp=1, key=None, value=b"v", headers=[])
        batch = bytearray(builder.build())
        struct.pack_into(">q", batch, 0, base)
        struct.pack_into(">i", batch, 23, last)
        data += bytes(stamp(bytes(batch), producer_id=-1, epoch=-1, sequence=-1, transactional=False))
        offsets += [base + delta for delta in deltas]
        base += last + 1 + draw(st.sampled_from([0, 0, 2]))
    return offsets, data, base


@settings(deadline=None)
@given(layout=_layouts(), draw=st.data())
def test_a_chunk_may_be_split_anywhere_and_no_gap_is_lost_or_doubled(layout: tuple[list[int], bytes, int], draw: st.DataObject) -> None:
    """A kernel may end its step inside a chunk: against a count of the offsets themselves, inside batches and between them."""
    offsets, data, end = layout
    first = draw.draw(st.integers(0, offsets[-1]))
    chunk = read_chunk(LANE, data, aborted=[], fetch_offset=first)
    assert chunk is not None
    offset = draw.draw(st.integers(first + 1, chunk.next_offset))

    below, rest = split(chunk, offset)

    assert below.gaps == offset - first - sum(first <= place < offset for place in offsets)
    assert (below.first_offset, below.next_offset) == (first, offset)
    assert rest.gaps == chunk.next_offset - offset - sum(place >= offset for place in offsets)
    assert (rest.first_offset, rest.next_offset) == (offset, chunk.next_offset)
    read = [row.offset for begin, stop, _ in headers(rest.data) for row in read_records(rest.data[begin:stop])]
    assert [place for place in read if place >= offset] == [place for place in offsets if place >= offset]
    assert end >= chunk.next_offset


@settings(deadline=None)
@given(layout=_layouts(), draw=st.data())
def test_a_chunk_may_be_split_again_and_again(layout: tuple[list[int], bytes, int], draw: st.DataObject) -> None:
    """Totals of gaps and records stay, however small the pieces are."""
    offsets, data, _ = layout
    rest = read_chunk(LANE, data, aborted=[], fetch_offset=0)
    assert rest is not None
    whole, pieces = rest, []
    while rest.next_offset - rest.first_offset > 1 and draw.draw(st.booleans()):
        piece, rest = split(rest, draw.draw(st.integers(rest.first_offset + 1, rest.next_offset - 1)))
        pieces.append(piece)
    pieces.append(rest)
    assert sum(piece.gaps for piece in pieces) == whole.gaps
    spans_of = [piece.next_offset - piece.first_offset - piece.gaps for piece in pieces]
    assert spans_of == [sum(piece.first_offset <= place < piece.next_offset for place in offsets) for piece in pieces]


@given(layout=_layouts(), size=st.integers(1, 400))
def test_a_border_lies_behind_whole_batches_of_about_the_size(layout: tuple[list[int], bytes, int], size: int) -> None:
    """A chunk that is too large for a step is cut there: neither part holds half a batch."""
    _, data, _ = layout
    chunk = read_chunk(LANE, data, aborted=[], fetch_offset=0)
    assert chunk is not None
    at = border(chunk, size)
    if at == chunk.next_offset:
        return
    below, rest = split(chunk, at)
    assert bytes(below.data) + bytes(rest.data) == data
    assert len(below.data) >= size
    assert len(below.data) - size < max(end - start for start, end, _ in headers(data))


def test_a_large_chunk_is_a_view_and_a_small_one_a_copy() -> None:
    """A view keeps the whole answer alive: worth it for megabytes, not for one record."""
    (built,) = build_batches([(None, b"v" * 20_000)], bytes_max=900_000, timestamp_ms=1)
    answer = memoryview(built.data + b"\0" * 5)
    chunk = read_chunk(LANE, answer, aborted=[], fetch_offset=0)
    assert chunk is not None
    assert isinstance(chunk.data, memoryview)
    assert chunk.data.obj is answer.obj
    small = read_chunk(LANE, memoryview(_batch(0, 3)), aborted=[], fetch_offset=0)
    assert small is not None
    assert isinstance(small.data, bytes)
