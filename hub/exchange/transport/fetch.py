"""Whole chunks out of aiokafka's fetcher: no Python object per record.

aiokafka builds records by name inside ``Fetcher._proc_fetch_request``; the function is rebuilt here over other globals, so
that data topics yield one ``Chunk`` per fetched message set and every other topic stays ordinary. Control batches and batches
of aborted transactions are left out by their headers alone (the logic of KIP-98: the list of aborted transactions of the
response, sorted by first offset; a producer's batches are dropped until its abort marker).

The transport counts gaps here: offsets that hold no record for a reader. It walks offset deltas only where a batch may be
compacted and the fetch offset lies inside it. Private API under exact pins: see ``tests/contract``.
"""

import types
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from aiokafka.consumer import fetcher as aiokafka_fetcher

from hub.broker.batches import BatchHeader, headers, offset_deltas
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition

HEADER_BYTES: Final = 61
_CONTROL_ABORT: Final = 0


class MessageSet:
    """The bytes of one partition's message set, where aiokafka expects its own ``MemoryRecords``."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | None) -> None:
        """Keep the bytes; a broker sends none where there is nothing."""
        self.data = data or b""

    def has_next(self) -> bool:
        """Tell whether at least one whole batch is there."""
        data = self.data
        return len(data) >= HEADER_BYTES and 12 + int.from_bytes(data[8:12], "big") <= len(data)

    def size_in_bytes(self) -> int:
        """Return the number of bytes, also of a batch that is not whole."""
        return len(self.data)


class ChunkRecords:
    """An iterator of one ``Chunk``, where aiokafka expects its own ``PartitionRecords``."""

    def __init__(self, partition: Any, records: MessageSet, aborted: Sequence[tuple[int, int]] | None, fetch_offset: int) -> None:
        """``aborted`` holds (producer id, first offset)."""
        self.next_fetch_offset = fetch_offset
        self._partition = TopicPartition(partition.topic, partition.partition)
        self._records: MessageSet | None = records
        self._aborted = sorted(aborted or (), key=lambda row: row[1])

    def __iter__(self) -> Iterator["ChunkRecord"]:
        """Return itself."""
        return self

    def __next__(self) -> "ChunkRecord":
        """Return the chunk, once."""
        records, self._records = self._records, None
        if records is None:
            raise StopIteration
        chunk = read_chunk(self._partition, records.data, aborted=self._aborted, fetch_offset=self.next_fetch_offset)
        if chunk is None:
            raise StopIteration
        self.next_fetch_offset = chunk.next_offset
        return ChunkRecord(chunk)


class ChunkRecord:
    """A chunk where Faust and aiokafka expect a record: ``offset`` is the last one that it accounts for."""

    __slots__ = ("chunk", "offset", "timestamp")

    def __init__(self, chunk: Chunk) -> None:
        """Wrap ``chunk``."""
        self.chunk = chunk
        self.offset = chunk.next_offset - 1
        self.timestamp = 0


def read_chunk(partition: TopicPartition, data: bytes, *, aborted: Sequence[tuple[int, int]], fetch_offset: int) -> Chunk | None:
    """Read a message set by its headers; None where no whole batch reaches ``fetch_offset``."""
    dropped = _Aborted(aborted)
    kept: list[tuple[int, int]] = []
    gaps, expected = 0, fetch_offset
    for start, end, header in headers(data):
        last = header.base_offset + header.last_offset_delta
        leave_out = dropped.covers(header, data[start:end])
        if last < fetch_offset:
            continue
        gaps += max(0, header.base_offset - expected)
        if leave_out:
            gaps += last + 1 - max(header.base_offset, expected)
        else:
            gaps += _gaps_inside(header, data[start:end], fetch_offset)
            kept.append((start, end))
        expected = last + 1
    if expected == fetch_offset:
        return None
    return Chunk(partition=partition, data=_joined(data, kept), first_offset=fetch_offset, next_offset=expected, gaps=gaps)


def split(chunk: Chunk, offset: int) -> tuple[int, Chunk]:
    """Return the gaps of ``chunk`` below ``offset``, and the rest from there on: a kernel may end a step inside a chunk.

    Both are counted from headers, as ``read_chunk`` counts; deltas are walked only where the batch that is cut may be compacted.
    """
    gaps, expected, begin = 0, chunk.first_offset, len(chunk.data)
    for start, end, header in headers(chunk.data):
        last = header.base_offset + header.last_offset_delta
        if last < chunk.first_offset:
            continue
        if last >= offset:
            begin = start
            if header.base_offset < offset:
                gaps += max(0, header.base_offset - expected) + _gaps_below(header, chunk.data[start:end], expected, offset)
                expected = offset
            break
        gaps += max(0, header.base_offset - expected) + _gaps_inside(header, chunk.data[start:end], chunk.first_offset)
        expected = last + 1
    gaps += offset - expected
    return gaps, msgspec.structs.replace(chunk, data=chunk.data[begin:], first_offset=offset, gaps=chunk.gaps - gaps)


def _joined(data: bytes, kept: Sequence[tuple[int, int]]) -> bytes:
    """Return the kept spans back to back; the bytes themselves where nothing is left out."""
    unbroken = all(before[1] == after[0] for before, after in pairwise(kept))
    if kept and unbroken:
        start, end = kept[0][0], kept[-1][1]
        return data if (start, end) == (0, len(data)) else data[start:end]
    return b"".join(data[start:end] for start, end in kept)


class _Aborted:
    """Which batches no read_committed reader may see; batches are shown in order of offset."""

    def __init__(self, aborted: Sequence[tuple[int, int]]) -> None:
        self._waiting = list(aborted)
        self._active: set[int] = set()

    def covers(self, header: BatchHeader, batch: bytes) -> bool:
        while self._waiting and self._waiting[0][1] <= header.base_offset + header.last_offset_delta:
            self._active.add(self._waiting.pop(0)[0])
        if header.is_control:
            if _control_type(batch) == _CONTROL_ABORT:
                self._active.discard(header.producer_id)
            return True
        return header.is_transactional and header.producer_id in self._active


def _control_type(batch: bytes) -> int:
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


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7


def _gaps_inside(header: BatchHeader, batch: bytes, fetch_offset: int) -> int:
    """Return offsets of a kept batch, from ``fetch_offset`` on, that hold no record."""
    span = header.last_offset_delta + 1
    if not 0 <= header.records < span:
        return 0
    if header.base_offset >= fetch_offset:
        return span - header.records
    cut = fetch_offset - header.base_offset
    try:
        deltas = offset_deltas(batch)
    except ValueError:
        return 0
    return span - cut - sum(1 for delta in deltas if delta >= cut)


def _gaps_below(header: BatchHeader, batch: bytes, fetch_offset: int, offset: int) -> int:
    """Return offsets of a kept batch, from ``fetch_offset`` on and below ``offset``, that hold no record."""
    first = max(0, fetch_offset - header.base_offset)
    cut = offset - header.base_offset
    if not 0 <= header.records < header.last_offset_delta + 1:
        return 0
    try:
        deltas = offset_deltas(batch)
    except ValueError:
        return 0
    return cut - first - sum(1 for delta in deltas if first <= delta < cut)


def chunk_fetcher(is_data: Callable[[str], bool]) -> type[Any]:
    """Return a class of fetcher with aiokafka's layout that yields chunks for the topics that ``is_data`` names."""
    original = aiokafka_fetcher.Fetcher._proc_fetch_request  # noqa: SLF001 - the swap; see the contract test

    def records_of(partition: Any, records: MessageSet, aborted: Any, fetch_offset: int, *rest: Any) -> Any:
        if is_data(partition.topic):
            return ChunkRecords(partition, records, aborted, fetch_offset)
        ordinary = aiokafka_fetcher.MemoryRecords(records.data)
        return aiokafka_fetcher.PartitionRecords(partition, ordinary, aborted, fetch_offset, *rest)

    swapped = types.FunctionType(
        original.__code__,
        {**original.__globals__, "MemoryRecords": MessageSet, "PartitionRecords": records_of},
        original.__name__,
        original.__defaults__,
        original.__closure__,
    )
    return type("ChunkFetcher", (aiokafka_fetcher.Fetcher,), {"_proc_fetch_request": swapped})
