"""The bounds of a record batch: each reader takes what lies at the bound, and refuses one past it by the same code.

Everything else about a batch past a bound is right (its CRC, its counts, its sizes), so that nothing but the bound can refuse it.
"""

import functools
import gzip
import struct
from collections.abc import Sequence
from typing import Final

import cramjam
import pytest
from batch_mutations import sealed
from readers import Reader, code_of, readers

from hub.broker.batches import HEADER_BYTES, build_batches
from hub.broker.codecs import compress
from hub.settings import (
    BATCH_GZIP_MEMBERS_MAX,
    BATCH_PLAIN_BYTES_MAX,
    BATCH_RECORD_HEADERS_MAX,
    BATCH_RECORDS_MAX,
    BATCH_ZSTD_WINDOW_LOG_MAX,
)

EACH_READER = pytest.mark.parametrize("read", readers())
FORMS: Final = ("gzip", "gzip, two members", "snappy, raw", "snappy, Java's blocks", "lz4", "zstd")
FRAME_BYTES: Final = 13
"""Around a value of one megabyte to a hundred: two lengths of four bytes each, and five bytes more."""
ZSTD_MAGIC: Final = bytes.fromhex("28b52ffd")
ZSTD_BLOCK_BYTES: Final = 128 * 1024
RAW, RLE = 0, 1


def varint(value: int) -> bytes:
    """Return a number as Kafka's zigzag varint."""
    rest, out = 2 * value if value >= 0 else -2 * value - 1, b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


def frame(*, value: bytes = b"", headers: int = 0, delta: int = 0) -> bytes:
    """Return the frame of one record without a key, with so many empty record headers."""
    inner = b"\0\0" + varint(delta) + b"\x01" + varint(len(value)) + value + varint(headers) + b"\x00\x01" * headers
    return varint(len(inner)) + inner


def batch(body: bytes, *, codec: int = 0, records: int = 1) -> bytes:
    """Return a batch of a right header and CRC around ``body``, whatever that is."""
    (built,) = build_batches([(None, None)], bytes_max=1_000, timestamp_ms=1_790_000_000_000)
    head = bytearray(built.data[:HEADER_BYTES])
    struct.pack_into(">i", head, 23, records - 1)
    struct.pack_into(">i", head, 57, records)
    return sealed(head + body, codec=codec)


def plain_of(size: int) -> bytes:
    """Return the frame of one record that takes exactly ``size`` bytes, nearly all of them the same."""
    body = frame(value=bytes(size - FRAME_BYTES))
    assert len(body) == size
    return body


@functools.cache
def stream(form: str, size: int) -> tuple[int, bytes]:
    """Return ``plain_of(size)`` compressed in one of the forms that clients write, and its codec."""
    plain = plain_of(size)
    if form == "gzip, two members":
        return 1, gzip.compress(plain[: size // 2], 1) + gzip.compress(plain[size // 2 :], 1)
    if form == "gzip":
        return 1, gzip.compress(plain, 1)
    if form == "snappy, raw":
        return 2, bytes(cramjam.snappy.compress_raw(plain))
    codec = {"snappy, Java's blocks": 2, "lz4": 3, "zstd": 4}[form]
    return codec, compress(codec, plain)


@EACH_READER
@pytest.mark.parametrize("form", FORMS)
def test_a_batch_swells_to_the_bound_and_not_by_one_byte_more(read: Reader, form: str) -> None:
    """Whatever the codec: a worker's memory is reckoned with the bound."""
    codec, at_bound = stream(form, BATCH_PLAIN_BYTES_MAX)
    _, past_it = stream(form, BATCH_PLAIN_BYTES_MAX + 1)

    ((offset, key, value),) = read(batch(at_bound, codec=codec))

    assert (offset, key, len(value or b"")) == (0, None, BATCH_PLAIN_BYTES_MAX - FRAME_BYTES)
    assert code_of(read, batch(past_it, codec=codec)) == "too-large"


@functools.cache
def smallest_frames() -> tuple[bytes, ...]:
    """Return one frame more than a batch may hold, each of the fewest bytes that its offset allows."""
    return tuple(frame(delta=delta) for delta in range(BATCH_RECORDS_MAX + 1))


@EACH_READER
def test_a_batch_has_as_many_records_as_the_bound_and_not_one_more(read: Reader) -> None:
    """Ten bytes are a record: five megabytes would be as many objects as a worker has memory for."""
    at_bound = batch(b"".join(smallest_frames()[:-1]), records=BATCH_RECORDS_MAX)
    past_it = batch(b"".join(smallest_frames()), records=BATCH_RECORDS_MAX + 1)

    rows = read(at_bound)

    assert (len(rows), rows[-1]) == (BATCH_RECORDS_MAX, (BATCH_RECORDS_MAX - 1, None, b""))
    assert code_of(read, past_it) == "too-large"


@EACH_READER
@pytest.mark.parametrize("headers", [(BATCH_RECORD_HEADERS_MAX,), (1, BATCH_RECORD_HEADERS_MAX - 1), (BATCH_RECORD_HEADERS_MAX // 2,) * 2])
def test_a_batch_has_as_many_record_headers_as_the_bound_and_not_one_more(read: Reader, headers: Sequence[int]) -> None:
    """All records together: a header of two bytes is a hundred in memory."""
    at_bound = [frame(headers=count, delta=delta) for delta, count in enumerate(headers)]
    past_it = [*at_bound[:-1], frame(headers=headers[-1] + 1, delta=len(headers) - 1)]

    assert len(read(batch(b"".join(at_bound), records=len(headers)))) == len(headers)
    assert code_of(read, batch(b"".join(past_it), records=len(headers))) == "too-large"


@EACH_READER
def test_a_gzip_stream_has_as_many_members_as_the_bound_and_not_one_more(read: Reader) -> None:
    """A megabyte of empty members would take minutes; one that is empty counts as any other."""
    plain = frame(value=b"v" * 40)
    parts = [
        plain[:20],
        *(plain[at : at + 1] for at in range(20, 20 + BATCH_GZIP_MEMBERS_MAX - 2)),
        plain[20 + BATCH_GZIP_MEMBERS_MAX - 2 :],
    ]
    assert len(parts) == BATCH_GZIP_MEMBERS_MAX
    members = b"".join(gzip.compress(part) for part in parts)

    assert read(batch(members, codec=1)) == [(0, None, b"v" * 40)]
    assert code_of(read, batch(members + gzip.compress(b""), codec=1)) == "too-large"


def zstd_block(size: int, *, kind: int, last: bool) -> bytes:
    """Return the head of a block (RFC 8878, 3.1.1.2)."""
    return (size << 3 | kind << 1 | int(last)).to_bytes(3, "little")


@EACH_READER
def test_a_zstd_frame_asks_for_the_largest_window_and_no_larger(read: Reader) -> None:
    """A decoder holds a window in memory before it has seen a byte; the next size that a frame can say is an eighth more."""
    plain = frame(value=b"abc")
    blocks = zstd_block(len(plain), kind=RAW, last=True) + plain
    exponent = (BATCH_ZSTD_WINDOW_LOG_MAX - 10) << 3

    assert read(batch(ZSTD_MAGIC + bytes([0, exponent]) + blocks, codec=4)) == [(0, None, b"abc")]
    assert code_of(read, batch(ZSTD_MAGIC + bytes([0, exponent | 1]) + blocks, codec=4)) == "too-large"


@EACH_READER
@pytest.mark.parametrize(("size", "code"), [(1 << BATCH_ZSTD_WINDOW_LOG_MAX, None), ((1 << BATCH_ZSTD_WINDOW_LOG_MAX) + 1, "too-large")])
def test_a_zstd_frame_of_one_segment_has_its_size_for_a_window(read: Reader, size: int, code: str | None) -> None:
    """Such a frame names no window: then its content is the window, to the byte."""
    plain = plain_of(size)
    told = ZSTD_MAGIC + b"\xa0" + size.to_bytes(4, "little")
    begun = zstd_block(100, kind=RAW, last=False) + plain[:100]
    sizes = [ZSTD_BLOCK_BYTES] * ((size - 100) // ZSTD_BLOCK_BYTES) + [(size - 100) % ZSTD_BLOCK_BYTES]
    zeros = b"".join(zstd_block(part, kind=RLE, last=place == len(sizes) - 1) + b"\0" for place, part in enumerate(sizes))

    if code is None:
        assert [len(value or b"") for _, _, value in read(batch(told + begun + zeros, codec=4))] == [size - FRAME_BYTES]
    else:
        assert code_of(read, batch(told + begun + zeros, codec=4)) == code
