"""LZ4 frames as Kafka's clients write them, and their blocks, read in plain Python.

The libraries differ, by version and processor, in which broken blocks they take; what may be read must not. Taken is: one frame of
version 1 without dictionary, its header's check byte right, matches within the block (or, where blocks depend on each other, within
the frame), literals to the very end of each block, nothing behind the end mark. Checksums inside are passed over: the CRC of the
batch has covered them.
"""

import struct
from typing import Final

from hub.broker.stream_faults import CorruptStream, StreamTooLarge

MAGIC: Final = bytes.fromhex("04224d18")
STORED: Final = 0x80000000
"""Set in the size of a block that stands as it is."""
_VERSION_BITS: Final = 0xC0
_VERSION_1: Final = 0x40
_INDEPENDENT: Final = 0x20
_BLOCK_CHECKSUM: Final = 0x10
_CONTENT_SIZE: Final = 0x08
_CONTENT_CHECKSUM: Final = 0x04
_RESERVED_OR_DICTIONARY: Final = 0x03
_SIZES_RESERVED: Final = 0x8F
_SIZES_MIN: Final = 0x40
_MATCH_MIN: Final = 4
_LONG: Final = 15
_WORD: Final = struct.Struct("<I")


def decode_frame(body: bytes, *, bytes_max: int) -> bytes:
    """Return what the one frame of ``body`` holds; CorruptStream or StreamTooLarge where that cannot be."""
    try:
        return bytes(_decode_frame(body, bytes_max))
    except (IndexError, struct.error):
        raise CorruptStream from None


def _decode_frame(body: bytes, bytes_max: int) -> bytearray:
    flags, block_max, content_size, at = _header(body)
    out = bytearray()
    while True:
        (head,) = _WORD.unpack_from(body, at)
        at += 4
        if head == 0:
            break
        end = at + (head & ~STORED)
        if end > len(body):
            raise CorruptStream
        block, at = body[at:end], end + (4 if flags & _BLOCK_CHECKSUM else 0)
        most = min(block_max, bytes_max - len(out))
        try:
            if not head & STORED:
                _decode_block(block, out, floor=len(out) if flags & _INDEPENDENT else 0, limit=len(out) + most)
            elif len(block) > most:
                raise StreamTooLarge
            else:
                out += block
        except StreamTooLarge:
            if most == block_max:
                raise CorruptStream from None
            raise
    if len(body) - at != (4 if flags & _CONTENT_CHECKSUM else 0) or content_size not in {None, len(out)}:
        raise CorruptStream
    return out


def _header(body: bytes) -> tuple[int, int, int | None, int]:
    """Return flags, the most bytes of a block, the size of all where it is told, and where the blocks begin."""
    flags, sizes = body[4], body[5]
    if not body.startswith(MAGIC) or flags & _VERSION_BITS != _VERSION_1 or flags & _RESERVED_OR_DICTIONARY:
        raise CorruptStream
    if sizes & _SIZES_RESERVED or sizes < _SIZES_MIN:
        raise CorruptStream
    at, size = 6, None
    if flags & _CONTENT_SIZE:
        (size,) = struct.unpack_from("<Q", body, at)
        at += 8
    if body[at] != xxh32(body[4:at]) >> 8 & 0xFF:
        raise CorruptStream
    return flags, 1 << (8 + 2 * (sizes >> 4)), size, at + 1


def _decode_block(block: bytes, out: bytearray, *, floor: int, limit: int) -> None:
    at, size, written = 0, len(block), len(out)
    while True:
        token = block[at]
        at += 1
        length = token >> 4
        if length == _LONG:
            length, at = _long_run(block, at)
        end = at + length
        written += length
        if end > size:
            raise CorruptStream
        if written > limit:
            raise StreamTooLarge
        out += block[at:end]
        if end == size:
            return
        distance = block[end] | block[end + 1] << 8
        at = end + 2
        length = (token & _LONG) + _MATCH_MIN
        if length == _LONG + _MATCH_MIN:
            length, at = _long_run(block, at)
            length += _MATCH_MIN
        start = written - distance
        written += length
        if not distance or start < floor:
            raise CorruptStream
        if written > limit:
            raise StreamTooLarge
        out += out[start : start + length] if distance >= length else (out[start:] * (length // distance + 1))[:length]


def _long_run(block: bytes, at: int) -> tuple[int, int]:
    """Return a length whose four bits are all set, so that the bytes from ``at`` on add to it, and where they end."""
    length = _LONG
    while True:
        more = block[at]
        at += 1
        length += more
        if more != 0xFF:
            return length, at


def xxh32(short: bytes) -> int:
    """Return XXH32, seed 0, of fewer than 16 bytes: the second byte of it checks a frame's header."""
    prime = (2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393)
    whole = len(short) // 4 * 4
    value = prime[4] + len(short)
    for (word,) in _WORD.iter_unpack(short[:whole]):
        value = _turn(value + word * prime[2], 17) * prime[3]
    for byte in short[whole:]:
        value = _turn(value + byte * prime[4], 11) * prime[0]
    value &= 0xFFFFFFFF
    value = (value ^ value >> 15) * prime[1] & 0xFFFFFFFF
    value = (value ^ value >> 13) * prime[2] & 0xFFFFFFFF
    return value ^ value >> 16


def _turn(value: int, bits: int) -> int:
    value &= 0xFFFFFFFF
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF
