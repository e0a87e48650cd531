"""Record batches of Kafka's message format 2: building, stamping and reading them without a record object each.

Layout and CRC as in Apache Kafka's documentation, "Record Batch". Building and decompressing use aiokafka's own record code
under exact pins (``tests/contract``). Whatever the bytes, reading raises ValueError and nothing else.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from aiokafka.record._crecords import cutil
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

HEADER_BYTES: Final = 61
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM: Final = 21
_LENGTH_FROM: Final = 12
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_CODEC: Final = 0x07
RECORD_OVERHEAD_BYTES: Final = 32
DECOMPRESSED_BYTES_MAX: Final = 128 * 1024 * 1024


class RecordTooLarge(ValueError):  # noqa: N818 - the field's word
    """One record alone is over the bound of a batch; ``index`` tells which."""

    def __init__(self, index: int) -> None:
        """Keep the place of the record."""
        super().__init__(f"record {index} is too large for a batch")
        self.index = index


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


class RecordRow(NamedTuple):
    """One record of a batch."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def build_batches(records: Iterable[tuple[bytes | None, bytes | None]], *, bytes_max: int, timestamp_ms: int) -> list[BuiltBatch]:
    """Return batches of at most ``bytes_max``, cut at record borders, in order; RecordTooLarge for one that fits nowhere."""
    out: list[BuiltBatch] = []
    builder, count, size = None, 0, 0
    for index, (key, value) in enumerate(records):
        need = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
        if need + HEADER_BYTES > bytes_max:
            raise RecordTooLarge(index)
        if builder is not None and size + need > bytes_max:
            out.append(BuiltBatch(bytes(builder.build()), count))
            builder = None
        if builder is None:
            builder = DefaultRecordBatchBuilder(
                2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
            )
            count, size = 0, HEADER_BYTES
        builder.append(count, timestamp=timestamp_ms, key=key, value=value, headers=[])
        count += 1
        size += need
    if builder is not None:
        out.append(BuiltBatch(bytes(builder.build()), count))
    return out


def stamp(data: bytes, *, producer_id: int, epoch: int, sequence: int, transactional: bool) -> bytearray:
    """Return a copy with producer id, epoch, base sequence and the transactional bit set, and the CRC made anew."""
    out = bytearray(data)
    if transactional:
        out[22] |= _TRANSACTIONAL
    struct.pack_into(">qhi", out, 43, producer_id, epoch, sequence)
    struct.pack_into(">I", out, 17, int(cutil.crc32c_cython(memoryview(out)[_CRC_FROM:])))
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
    return int(cutil.crc32c_cython(memoryview(batch)[_CRC_FROM:])) == int(struct.unpack_from(">I", batch, 17)[0])


def offset_deltas(batch: bytes) -> list[int]:
    """Return the offset delta of each record; ValueError when the batch cannot be read."""
    base = _HEADER.unpack_from(batch)[0]
    return [row.offset - base for row in read_records(batch)]


def read_records(batch: bytes) -> list[RecordRow]:
    """Return the records of one whole batch; ValueError for a bad CRC, an unknown codec, or bytes that are no records."""
    try:
        return list(_read(batch))
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - the decoder of aiokafka raises many kinds for hostile bytes
        message = f"record batch cannot be read: {type(error).__name__}"
        raise ValueError(message) from None


def _read(batch: bytes) -> Iterator[RecordRow]:
    if len(batch) < HEADER_BYTES:
        message = "record batch is cut"
        raise ValueError(message)
    header = BatchHeader(*_HEADER.unpack_from(batch))
    if header.magic != 2 or header.length + _LENGTH_FROM != len(batch) or not crc_holds(batch):
        message = "record batch is corrupt"
        raise ValueError(message)
    if not 0 <= header.records <= DECOMPRESSED_BYTES_MAX:
        message = "record batch claims an impossible count"
        raise ValueError(message)
    for record in DefaultRecordBatch(bytes(batch)):
        yield RecordRow(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
