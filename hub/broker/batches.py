"""Record batches of Kafka's message format 2: building, stamping and reading them without a record object each.

Layout and CRC as in Apache Kafka's documentation, "Record Batch". Building and CRC32C use aiokafka's own record code under exact
pins (``tests/contract``). Reading is our own, and strict: a native kernel must take the same batches, byte for byte. Whatever the
bytes, it raises a ValueError and nothing else.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from aiokafka.record._crecords import cutil
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from hub.broker.codecs import Undecodable, compress, decompress
from hub.broker.record_frames import RecordRow, Span, Unframed, read_frames
from hub.settings import BATCH_PLAIN_BYTES_MAX, BATCH_RECORDS_MAX

HEADER_BYTES: Final = 61
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_BASE_OFFSET: Final = struct.Struct(">q")
_MAGIC: Final = 2
_CRC_FROM: Final = 21
_CRC_AT: Final = 17
_ATTRIBUTES_LOW: Final = 22
_PRODUCER_AT: Final = 43
_LENGTH_AT: Final = 8
_LENGTH_FROM: Final = 12
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_APPEND_TIME: Final = 0x08
_CODEC: Final = 0x07
_OFFSET_MAX: Final = 2**63 - 1
RECORD_OVERHEAD_BYTES: Final = 32
"""At most so many bytes stand around key and value of a record without headers (23 of them can be needed)."""


class RecordTooLarge(ValueError):  # noqa: N818 - the field's word
    """One record alone is over the bound of a batch; ``index`` tells which."""

    def __init__(self, index: int) -> None:
        """Keep the place of the record."""
        super().__init__(f"record {index} is too large for a batch")
        self.index = index


class UnreadableBatch(ValueError):  # noqa: N818 - what the bytes are
    """The bytes are no record batch that may be read; ``code`` tells why, and never what stood in it.

    ``cut magic crc count offsets records``, of a compressed one ``codec-unknown codec-missing codec-corrupt``, and ``too-large`` where it
    is beyond a bound (``BATCH_…_MAX`` of ``hub.settings``).
    """

    def __init__(self, code: str) -> None:
        """Keep the reason."""
        super().__init__(f"record batch cannot be read: {code}")
        self.code = code


class BuiltBatch(NamedTuple):
    """A record batch with base offset 0 and no producer id."""

    data: bytes
    records: int


class BatchHeader(NamedTuple):
    """The header of a record batch, field by field."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def is_control(self) -> bool:
        """True for markers of transactions."""
        return bool(self.attributes & _CONTROL)

    @property
    def is_transactional(self) -> bool:
        """True for a batch inside a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & _CODEC

    @property
    def append_time(self) -> int | None:
        """The time of every record where the broker set it, else None."""
        return self.max_timestamp if self.attributes & _APPEND_TIME else None


Row: TypeAlias = tuple[bytes | None, bytes | None] | tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]
"""A record to be built: key, value, and headers where it has any."""


def build_batches(records: Iterable[Row], *, bytes_max: int, timestamp_ms: int, codec: int = 0) -> list[BuiltBatch]:
    """Return batches of at most ``bytes_max``, cut at record borders, in order; RecordTooLarge for one that fits nowhere.

    ``bytes_max`` counts what a batch is uncompressed, headers of batch and records included. A batch that ``codec`` does not
    make smaller stays uncompressed.
    """
    return [BuiltBatch(_compressed(batch.data, codec), batch.records) for batch in _plain_batches(records, bytes_max, timestamp_ms)]


def _plain_batches(records: Iterable[Row], bytes_max: int, timestamp_ms: int) -> list[BuiltBatch]:
    out: list[BuiltBatch] = []
    builder, count = _builder(bytes_max), 0
    for index, (key, value, *more) in enumerate(records):
        attached = [*more[0]] if more else []
        if builder.append(count, timestamp=timestamp_ms, key=key, value=value, headers=attached) is None:
            out.append(BuiltBatch(bytes(builder.build()), count))
            builder, count = _builder(bytes_max), 0
            builder.append(0, timestamp=timestamp_ms, key=key, value=value, headers=attached)
        if count == 0 and builder.size() > bytes_max:  # the builder takes its first record whatever its size
            raise RecordTooLarge(index)
        count += 1
    if count:
        out.append(BuiltBatch(bytes(builder.build()), count))
    return out


def _builder(bytes_max: int) -> Any:
    return DefaultRecordBatchBuilder(2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=bytes_max)


def _compressed(batch: bytes, codec: int) -> bytes:
    """Return the same batch with its records compressed, or itself where that is no shorter."""
    if codec == 0:
        return batch
    body = compress(codec, batch[HEADER_BYTES:])
    if HEADER_BYTES + len(body) >= len(batch):
        return batch
    out = bytearray(batch[:HEADER_BYTES]) + body
    struct.pack_into(">i", out, _LENGTH_AT, len(out) - _LENGTH_FROM)
    out[_ATTRIBUTES_LOW] |= codec
    _seal(out)
    return bytes(out)


def _seal(batch: bytearray) -> None:
    struct.pack_into(">I", batch, _CRC_AT, int(cutil.crc32c_cython(memoryview(batch)[_CRC_FROM:])))


def stamp(data: bytes, *, producer_id: int, epoch: int, sequence: int, transactional: bool) -> bytearray:
    """Return a copy with producer id, epoch, base sequence and the transactional bit set, and the CRC made anew."""
    out = bytearray(data)
    if transactional:
        out[_ATTRIBUTES_LOW] |= _TRANSACTIONAL
    struct.pack_into(">qhi", out, _PRODUCER_AT, producer_id, epoch, sequence)
    _seal(out)
    return out


def headers(data: bytes) -> Iterator[tuple[int, int, BatchHeader]]:
    """Yield (start, end, header) of each whole batch of a message set; a cut batch at the end is left out."""
    position, size = 0, len(data)
    while size - position >= HEADER_BYTES:
        header = BatchHeader(*_HEADER.unpack_from(data, position))
        end = position + _LENGTH_FROM + header.length
        if header.length < HEADER_BYTES - _LENGTH_FROM or end > size:
            return
        yield position, end, header
        position = end


def crc_holds(batch: bytes) -> bool:
    """Tell whether the CRC of one whole batch is right."""
    return int(cutil.crc32c_cython(memoryview(batch)[_CRC_FROM:])) == int(struct.unpack_from(">I", batch, _CRC_AT)[0])


def offset_deltas(batch: bytes) -> list[int]:
    """Return the offset delta of each record; UnreadableBatch (a ValueError) when the batch cannot be read."""
    rows = read_records(batch)
    base = int(_BASE_OFFSET.unpack_from(batch)[0])
    return [row.offset - base for row in rows]


def read_records(batch: bytes) -> list[RecordRow]:
    """Return the records of one whole batch, in order of offset; UnreadableBatch (a ValueError) where bytes are no such batch.

    CRC, count, offsets and sizes are checked, and decompression is bounded: what claims more than it holds is not believed.
    """
    header = _checked_header(batch)
    span = Span(header.records, header.base_offset, header.last_offset_delta, header.first_timestamp, header.append_time)
    try:
        if header.codec == 0:
            return read_frames(batch, HEADER_BYTES, span)
        return read_frames(decompress(header.codec, batch[HEADER_BYTES:], bytes_max=BATCH_PLAIN_BYTES_MAX), 0, span)
    except (Undecodable, Unframed) as error:
        raise UnreadableBatch(error.code) from None


def _checked_header(batch: bytes) -> BatchHeader:
    if len(batch) < HEADER_BYTES:
        raise UnreadableBatch("cut")
    header = BatchHeader(*_HEADER.unpack_from(batch))
    if header.magic != _MAGIC:
        raise UnreadableBatch("magic")
    if header.length + _LENGTH_FROM != len(batch):
        raise UnreadableBatch("cut")
    if not crc_holds(batch):
        raise UnreadableBatch("crc")
    if header.records < 0:
        raise UnreadableBatch("count")
    if header.records > BATCH_RECORDS_MAX:
        raise UnreadableBatch("too-large")
    if header.base_offset < 0 or header.base_offset + header.last_offset_delta > _OFFSET_MAX:
        raise UnreadableBatch("offsets")
    return header
