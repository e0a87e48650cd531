"""Counting from batch headers sees of a log exactly what a reader of committed records would see."""

import struct

from aiokafka.record._crecords import cutil
from hypothesis import given
from hypothesis import strategies as st

from hub.broker.batches import build_batches, stamp
from hub.broker.committed import Span, Tallier
from hub.model.names import TopicPartition

PLACE = TopicPartition("share.airline.airline-delays", 0)
ABORT, COMMIT = 0, 1


class Partition:
    """A partition's log, batch by batch."""

    def __init__(self) -> None:
        """Begin empty."""
        self.data = b""
        self.end = 0

    def append(self, count: int, *, producer: int | None = None) -> None:
        """Append a batch of ``count`` records, inside the producer's transaction where one is given."""
        (batch,) = build_batches([(None, b"v")] * count, bytes_max=900_000, timestamp_ms=0)
        data = bytearray(batch.data)
        if producer is not None:
            data = stamp(batch.data, producer_id=producer, epoch=0, sequence=0, transactional=True)
        self._place(data, count)

    def mark(self, producer: int, kind: int) -> None:
        """Append the marker that ends the producer's transaction."""
        (batch,) = build_batches([(struct.pack(">hh", 0, kind), b"\0" * 6)], bytes_max=900_000, timestamp_ms=0)
        data = stamp(batch.data, producer_id=producer, epoch=0, sequence=-1, transactional=True)
        data[22] |= 0x20
        struct.pack_into(">I", data, 17, int(cutil.crc32c_cython(memoryview(data)[21:])))
        self._place(data, 1)

    def _place(self, data: bytearray, count: int) -> None:
        struct.pack_into(">q", data, 0, self.end)
        self.data += bytes(data)
        self.end += count


def count(log: Partition, *, first: int = 0, expected: int = -1) -> Tallier:
    """Count a log from an offset on."""
    tallier = Tallier(Span(PLACE, first, expected))
    tallier.take(log.data)
    return tallier


def test_a_transaction_counts_once_it_is_committed() -> None:
    """Three ways a batch can stand in a log."""
    log = Partition()
    log.append(5, producer=1)
    log.mark(1, COMMIT)
    log.append(7, producer=1)
    log.mark(1, ABORT)
    log.append(2)
    log.append(9, producer=1)

    found = count(log)

    assert (found.records, found.open_records, found.next_offset) == (7, 9, 25)


def test_the_count_is_met_behind_the_marker() -> None:
    """There a later count can begin: nothing is open."""
    log = Partition()
    log.append(5, producer=1)
    log.mark(1, COMMIT)
    met = log.end
    log.append(7, producer=1)
    log.mark(1, COMMIT)

    assert count(log, expected=5).met_at == met
    assert count(log, expected=12).met_at == log.end
    assert count(log, expected=6).met_at is None


def test_the_count_is_not_met_while_another_transaction_is_open() -> None:
    """Its records lie before that point and count after it."""
    log = Partition()
    log.append(3, producer=2)
    log.append(5, producer=1)
    log.mark(1, COMMIT)

    assert count(log, expected=5).met_at is None


def test_nothing_expected_is_met_at_the_beginning_and_behind_aborted_ones() -> None:
    """The last such point wins, so that the next count reads less."""
    log = Partition()
    log.append(3, producer=2)
    log.mark(2, ABORT)

    assert count(log, expected=0).met_at == log.end


def test_records_before_the_span_are_not_counted() -> None:
    """A batch that begins before it is counted from the middle on."""
    log = Partition()
    log.append(10)
    log.append(10)

    assert count(log, first=7).records == 13
    assert count(log, first=10).records == 10


def test_a_log_whose_beginning_is_gone_is_counted_from_where_it_begins() -> None:
    """The caller sees how many offsets that were."""
    log = Partition()
    log.append(10)
    tallier = Tallier(Span(PLACE, 0, 10))

    tallier.begin_at(4)
    tallier.take(log.data)

    assert (tallier.counted().begin_offset, tallier.records) == (4, 6)


@given(
    acts=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["records", "commit", "abort"]), st.integers(1, 20)), max_size=40),
    cuts=st.lists(st.integers(0, 4000), max_size=5),
)
def test_a_log_fetched_in_pieces_counts_the_same(acts: list[tuple[int, str, int]], cuts: list[int]) -> None:
    """Fetches end in the middle of batches, which are left out and come again."""
    log = Partition()
    expected, pending = 0, {1: 0, 2: 0, 3: 0}
    for producer, act, records in acts:
        if act == "records":
            log.append(records, producer=producer)
            pending[producer] += records
        else:
            log.mark(producer, COMMIT if act == "commit" else ABORT)
            expected += pending[producer] if act == "commit" else 0
            pending[producer] = 0
    whole, pieces = count(log), Tallier(Span(PLACE, 0, -1))

    for cut in sorted(cuts):
        pieces.take(log.data[:cut])
    pieces.take(log.data)

    assert (whole.records, whole.open_records) == (expected, sum(pending.values()))
    assert pieces.counted() == whole.counted()
