"""The outer form of a zstd frame (RFC 8878, 3.1.1): what it asks for is known before a byte is decompressed.

Taken is exactly one frame, as Kafka's clients write it, with a window of at most eight megabytes, no block over what the format
allows, and as many bytes as it says, where it says so. What stands inside the blocks is the library's affair.
"""

from typing import Final, NamedTuple

from hub.broker.stream_faults import CorruptStream, StreamTooLarge
from hub.settings import BATCH_ZSTD_WINDOW_LOG_MAX

_MAGIC: Final = bytes.fromhex("28b52ffd")
_SINGLE_SEGMENT: Final = 0x20
_RESERVED: Final = 0x08
_CHECKSUM: Final = 0x04
_BLOCK_BYTES_MAX: Final = 128 * 1024
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_SIZE_BYTES: Final = (0, 2, 4, 8)


class ZstdFrame(NamedTuple):
    """What the outer form of a frame says."""

    bound: int
    """The most bytes that it can decompress to, by its blocks."""
    content_bytes: int | None
    """The bytes that it says it decompresses to; never more than ``bound``."""


def frame_of(body: bytes) -> ZstdFrame:
    """Return what the one frame of ``body`` says of itself; CorruptStream where there is no such frame, or one that cannot be true.

    StreamTooLarge where it asks for a larger window than the bound.
    """
    try:
        window, content_bytes, at = _header(body)
        if window > 1 << BATCH_ZSTD_WINDOW_LOG_MAX:
            raise StreamTooLarge
        bound = _blocks_bound(body, at, min(window, _BLOCK_BYTES_MAX), 4 if body[4] & _CHECKSUM else 0)
    except IndexError:
        raise CorruptStream from None
    if content_bytes is not None and content_bytes > bound:
        raise CorruptStream
    return ZstdFrame(bound, content_bytes)


def _header(body: bytes) -> tuple[int, int | None, int]:
    """Return the window, the size where it is told, and where the blocks begin."""
    descriptor = body[4]
    if not body.startswith(_MAGIC) or descriptor & _RESERVED:
        raise CorruptStream
    at, window = 5, 0
    single = descriptor & _SINGLE_SEGMENT
    if not single:
        base = 1 << (10 + (body[at] >> 3))
        window = base + base // 8 * (body[at] & 7)
        at += 1
    at += _DICTIONARY_BYTES[descriptor & 3]
    size_bytes = _SIZE_BYTES[descriptor >> 6] or (1 if single else 0)
    if at + size_bytes > len(body):
        raise CorruptStream
    content_bytes = None
    if size_bytes:
        content_bytes = int.from_bytes(body[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    return (content_bytes if single and content_bytes is not None else window), content_bytes, at + size_bytes


def _blocks_bound(body: bytes, at: int, block_max: int, checksum_bytes: int) -> int:
    bound, is_last = 0, False
    while not is_last:
        head = body[at] | body[at + 1] << 8 | body[at + 2] << 16
        size, kind, is_last = head >> 3, head >> 1 & 3, bool(head & 1)
        if size > block_max or kind not in {_RAW, _RLE, _COMPRESSED}:
            raise CorruptStream
        bound += block_max if kind == _COMPRESSED else size
        at += 3 + (1 if kind == _RLE else size)
    if at + checksum_bytes != len(body):
        raise CorruptStream
    return bound
