"""Record batches of every codec and form, and mutations of them under a right CRC, for whoever compares readers."""

import gzip
import random
import struct
from collections.abc import Iterator
from typing import Final

import cramjam
from aiokafka.record._crecords import cutil

from hub.broker.batches import HEADER_BYTES, build_batches
from hub.broker.codecs import compress

NOW_MS: Final = 1_790_000_000_000
WORDS: Final = (b"Hangzhou", b"Ningbo", b"\x00\x00\x00\x00\x07", b"parking lot ", b"2026-01-0", b"\xe6\x9d\xad\xe5\xb7\x9e", b"\x02\x04")
EDGES: Final = (0x00, 0x01, 0x02, 0x7F, 0x80, 0x0F, 0x10, 0x1F, 0xF0, 0xFE, 0xFF)


def sealed(batch: bytes | bytearray, *, codec: int | None = None) -> bytes:
    """Return the batch with its length and CRC made right, and its codec where one is named."""
    out = bytearray(batch)
    struct.pack_into(">i", out, 8, len(out) - 12)
    if codec is not None:
        out[22] = out[22] & ~7 | codec
    struct.pack_into(">I", out, 17, cutil.crc32c_cython(memoryview(out)[21:]))
    return bytes(out)


def plain_batch(rng: random.Random) -> bytes:
    """Return an uncompressed batch of some records, some with record headers, some with gaps between their offsets."""
    rows: list[tuple[bytes | None, bytes | None]] = [(_bytes(rng, 20), _bytes(rng, 400)) for _ in range(rng.choice([1, 2, 7, 40, 300]))]
    (built,) = build_batches(rows, bytes_max=10_000_000, timestamp_ms=NOW_MS)
    if rng.random() < 0.6:
        return built.data
    body = b"".join(_record(rng, offset, key, value) for offset, (key, value) in enumerate(rows))
    batch = bytearray(built.data[:HEADER_BYTES]) + body
    last = rng.choice([len(rows) - 1, len(rows) - 1, 2 * len(rows), 2**31 - 1])
    struct.pack_into(">q", batch, 0, rng.choice([0, 5, 2**62, 2**63 - 1 - last]))
    struct.pack_into(">i", batch, 23, last)
    return sealed(batch)


def forms(plain: bytes) -> Iterator[bytes]:
    """Yield the batch in every form in which clients compress."""
    head, body = plain[:HEADER_BYTES], plain[HEADER_BYTES:]
    half = len(body) // 2
    yield plain
    for codec in (1, 2, 3, 4):
        yield sealed(head + compress(codec, body), codec=codec)
    yield sealed(head + gzip.compress(body[:half]) + gzip.compress(body[half:]), codec=1)
    yield sealed(head + bytes(cramjam.snappy.compress_raw(body)), codec=2)
    yield sealed(head + bytes(cramjam.lz4.compress(body)), codec=3)
    yield sealed(head + bytes(cramjam.zstd.compress(body, 9)), codec=4)
    stream = cramjam.zstd.Compressor(1)
    stream.compress(body)
    yield sealed(head + bytes(stream.finish()), codec=4)


def mutated(rng: random.Random, batch: bytes) -> bytes:
    """Return the batch with some bytes changed, cut, doubled or swapped, mostly behind the header, and sealed again."""
    out = bytearray(batch)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        low = HEADER_BYTES if rng.random() < 0.9 and len(out) > HEADER_BYTES else 21
        if len(out) <= low:
            break
        at = rng.randrange(low, min(len(out), low + 40) if rng.random() < 0.4 else len(out))
        what = rng.random()
        if what < 0.4:
            out[at] = rng.randrange(256)
        elif what < 0.6:
            out[at] = rng.choice(EDGES)
        elif what < 0.7:
            out[at] ^= 1 << rng.randrange(8)
        elif what < 0.78:
            out[at:at] = bytes([rng.choice(EDGES)] * rng.choice([1, 1, 2, 4]))
        elif what < 0.86:
            del out[at : at + rng.choice([1, 1, 2, 4, 40])]
        elif what < 0.92:
            del out[max(at, HEADER_BYTES) :]
        elif what < 0.96:
            out += out[at : at + rng.choice([1, 4, 30])]
        else:
            size = rng.choice([2, 8, 60])
            out[at : at + size] = out[low : low + size]
    return sealed(out)


def _record(rng: random.Random, offset: int, key: bytes | None, value: bytes | None) -> bytes:
    headers = [(rng.choice([b"trace", "\u8ff9".encode(), b""]), rng.choice([None, b"", b"abc"])) for _ in range(rng.choice([0, 0, 1, 3]))]
    inner = bytes([rng.choice([0, 0, 9])]) + _varint(rng.choice([0, -5, 10_000, 2**40])) + _varint(offset) + _sized(key) + _sized(value)
    inner += _varint(len(headers)) + b"".join(_sized(name) + _sized(content) for name, content in headers)
    return _varint(len(inner)) + inner


def _sized(part: bytes | None) -> bytes:
    return _varint(-1) if part is None else _varint(len(part)) + part


def _varint(value: int) -> bytes:
    rest, out = (value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1, b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


def _bytes(rng: random.Random, most: int) -> bytes | None:
    if rng.random() < 0.1:
        return None
    out = b"".join(rng.choice(WORDS) + rng.randbytes(rng.randrange(3)) for _ in range(rng.randrange(most // 8 + 1)))
    return out[:most]
