"""From a message set to a chunk, by batch headers alone: what no reader may see is left out, and every offset is accounted for.

Control batches and batches of aborted transactions are left out by KIP-98: of the answer's aborted transactions, sorted by first
offset, a producer's batches are dropped until its abort marker. The transport counts gaps here, offsets that hold no record for a
reader; the kernel counts records, and a step commits only where the two agree. Offset deltas are walked only where a batch may be
compacted and an offset inside it is asked for. A chunk's data is a view of the answer that it came in, unless something between
is left out, or it is so small that the answer would be kept alive for a trifle.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import msgspec

from hub.broker.batches import HEADER_BYTES, offset_deltas
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition

COPIED_BYTES_MAX: Final = 16 * 1024
"""A chunk up to this size is copied out of its answer, which may be hundreds of times as large."""
_HEADER: Final = struct.Struct(">qi9xhi16xq6xi")
_LENGTH_FROM: Final = 12
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_ABORT: Final = 0

Bytes: TypeAlias = bytes | memoryview


class Span(NamedTuple):
    """A batch in a message set: where it stands, and what its header says of it."""

    start: int
    end: int
    base: int
    last: int
    attributes: int
    producer_id: int
    records: int


def spans(data: Bytes) -> Iterator[Span]:
    """Yield each whole batch of a message set; a cut one at the end is left out. The rule of ``hub.broker.batches.headers``."""
    start, size, unpack = 0, len(data), _HEADER.unpack_from
    while size - start >= HEADER_BYTES:
        base, length, attributes, last_delta, producer_id, records = unpack(data, start)
        end = start + _LENGTH_FROM + length
        if length < HEADER_BYTES - _LENGTH_FROM or end > size:
            return
        yield Span(start, end, base, base + last_delta, attributes, producer_id, records)
        start = end


def read_chunk(partition: TopicPartition, data: Bytes, *, aborted: Sequence[tuple[int, int]], fetch_offset: int) -> Chunk | None:
    """Read a message set by its headers; None where no whole batch reaches ``fetch_offset``. ``aborted``: (producer id, first offset)."""
    dropped = _Aborted(aborted)
    kept: list[tuple[int, int]] = []
    gaps, expected = 0, fetch_offset
    for span in spans(data):
        leave_out = span.attributes & (_CONTROL | _TRANSACTIONAL) and dropped.covers(span, data)
        if span.last < fetch_offset:
            continue
        gaps += max(0, span.base - expected)
        if leave_out:
            gaps += span.last + 1 - max(span.base, expected)
        else:
            gaps += _gaps_inside(span, data, first=fetch_offset, end=span.last + 1)
            kept.append((span.start, span.end))
        expected = span.last + 1
    if expected == fetch_offset:
        return None
    return Chunk(partition=partition, data=_joined(data, kept), first_offset=fetch_offset, next_offset=expected, gaps=gaps)


def split(chunk: Chunk, offset: int) -> tuple[Chunk, Chunk]:
    """Return what accounts for the offsets below ``offset``, and the rest: a kernel may end a step inside a chunk.

    Gaps of both are counted from headers, as ``read_chunk`` counts. A batch that is cut is in both, and each begins and ends
    inside it; only the second is there to be decided.
    """
    gaps, expected, end, begin = 0, chunk.first_offset, 0, len(chunk.data)
    for span in spans(chunk.data):
        if span.last < chunk.first_offset:
            continue
        if span.last >= offset:
            begin = span.start
            if span.base < offset:
                gaps += max(0, span.base - expected) + _gaps_inside(span, chunk.data, first=expected, end=offset)
                expected, end = offset, span.end
            break
        gaps += max(0, span.base - expected) + _gaps_inside(span, chunk.data, first=chunk.first_offset, end=span.last + 1)
        expected, end = span.last + 1, span.end
    gaps += offset - expected
    below = msgspec.structs.replace(chunk, data=chunk.data[:end], next_offset=offset, gaps=gaps)
    return below, msgspec.structs.replace(chunk, data=chunk.data[begin:], first_offset=offset, gaps=chunk.gaps - gaps)


def border(chunk: Chunk, size: int) -> int:
    """Return the offset at which the first batches end that have ``size`` bytes together; the end of ``chunk`` at most."""
    for span in spans(chunk.data):
        if span.end >= size and span.last >= chunk.first_offset:
            return min(span.last + 1, chunk.next_offset)
    return chunk.next_offset


def _joined(data: Bytes, kept: Sequence[tuple[int, int]]) -> Bytes:
    """Return the kept spans back to back; a view of the bytes where nothing between them is left out."""
    if not kept:
        return b""
    if not all(before[1] == after[0] for before, after in pairwise(kept)):
        return b"".join(data[start:end] for start, end in kept)
    start, end = kept[0][0], kept[-1][1]
    whole = data if (start, end) == (0, len(data)) else data[start:end]
    return bytes(whole) if len(whole) <= COPIED_BYTES_MAX else whole


class _Aborted:
    """Which batches no read_committed reader may see; batches are shown in order of offset."""

    def __init__(self, aborted: Sequence[tuple[int, int]]) -> None:
        self._waiting = sorted(aborted, key=lambda row: row[1], reverse=True)
        self._active: set[int] = set()

    def covers(self, span: Span, data: Bytes) -> bool:
        while self._waiting and self._waiting[-1][1] <= span.last:
            self._active.add(self._waiting.pop()[0])
        if span.attributes & _CONTROL:
            if _control_type(data[span.start : span.end]) == _ABORT:
                self._active.discard(span.producer_id)
            return True
        return span.producer_id in self._active


def _control_type(batch: Bytes) -> int:
    """Return the type in the key of a control batch's one record: 0 abort, 1 commit; -1 where it cannot be read."""
    position = HEADER_BYTES
    try:
        _, position = _varint(batch, position)
        position += 1
        _, position = _varint(batch, position)
        _, position = _varint(batch, position)
        _, position = _varint(batch, position)
        return int.from_bytes(batch[position + 2 : position + 4], "big")
    except IndexError:
        return -1


def _varint(data: Bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7


def _gaps_inside(span: Span, data: Bytes, *, first: int, end: int) -> int:
    """Return offsets of a kept batch, from ``first`` on and below ``end``, that hold no record."""
    offsets = span.last + 1 - span.base
    if not 0 <= span.records < offsets:
        return 0
    if first <= span.base and end > span.last:
        return offsets - span.records
    low, high = max(0, first - span.base), end - span.base
    try:
        deltas = offset_deltas(bytes(data[span.start : span.end]))
    except ValueError:
        return 0
    return high - low - sum(1 for delta in deltas if low <= delta < high)
