"""Snappy, raw and in the blocks that Java's library writes, read in plain Python.

Libraries and their versions differ in which odd blocks they take; what may be read must not. Taken is what the format's description
allows: a length of at most five bytes and 32 bits, literals and copies that together are exactly so long, copies from what is there.
"""

import struct
from typing import Final

from hub.broker.stream_faults import CorruptStream, StreamTooLarge

XERIAL: Final = b"\x82SNAPPY\0"
XERIAL_HEADER_BYTES: Final = 16
_LENGTH_BYTES_MAX: Final = 5
_LITERAL_INLINE: Final = 60
_SIZE: Final = struct.Struct(">i")


def decode(body: bytes, *, bytes_max: int) -> bytes:
    """Return what ``body`` holds, one raw block or blocks behind Java's header; CorruptStream or StreamTooLarge."""
    try:
        if not body.startswith(XERIAL):
            return bytes(_decode_block(body, bytes_max))
        return _decode_blocks(body, bytes_max)
    except (IndexError, struct.error):
        raise CorruptStream from None


def _decode_blocks(body: bytes, bytes_max: int) -> bytes:
    if len(body) < XERIAL_HEADER_BYTES:
        raise CorruptStream
    out = bytearray()
    at = XERIAL_HEADER_BYTES
    while at < len(body):
        (size,) = _SIZE.unpack_from(body, at)
        at += _SIZE.size
        if not 0 <= size <= len(body) - at:
            raise CorruptStream
        out += _decode_block(body[at : at + size], bytes_max - len(out))
        at += size
    return bytes(out)


def _decode_block(block: bytes, bytes_max: int) -> bytearray:
    size, at = _length(block)
    if size > bytes_max:
        raise StreamTooLarge
    out, end = bytearray(), len(block)
    while at < end:
        tag = block[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            length = (tag >> 2) + 1
            if length > _LITERAL_INLINE:
                more = length - _LITERAL_INLINE
                length = int.from_bytes(block[at : at + more], "little") + 1
                at += more
            if length > end - at:
                raise CorruptStream
            out += block[at : at + length]
            at += length
        elif kind == 1:
            _repeat(out, (tag & 0xE0) << 3 | block[at], (tag >> 2 & 7) + 4)
            at += 1
        elif kind == 2:
            _repeat(out, block[at] | block[at + 1] << 8, (tag >> 2) + 1)
            at += 2
        else:
            _repeat(out, block[at] | block[at + 1] << 8 | block[at + 2] << 16 | block[at + 3] << 24, (tag >> 2) + 1)
            at += 4
        if len(out) > size:
            raise CorruptStream
    if len(out) != size:
        raise CorruptStream
    return out


def _length(block: bytes) -> tuple[int, int]:
    """Return the length that a block claims and where it begins."""
    value = 0
    for at in range(_LENGTH_BYTES_MAX):
        value |= (block[at] & 0x7F) << (7 * at)
        if block[at] < 0x80:
            if value >= 1 << 32:
                break
            return value, at + 1
    raise CorruptStream


def _repeat(out: bytearray, distance: int, length: int) -> None:
    start = len(out) - distance
    if distance == 0 or start < 0:
        raise CorruptStream
    out += out[start : start + length] if distance >= length else (out[start:] * (length // distance + 1))[:length]
