"""The outer form of a zstd frame (RFC 8878, 3.1.1): what it asks for is known before a byte is decompressed.

Taken is exactly one frame, as Kafka's clients write it, with a window of at most eight megabytes and no block over what the format
allows. What stands inside the blocks is the library's affair.
"""

from typing import Final

WINDOW_LOG_MAX: Final = 23
_MAGIC: Final = bytes.fromhex("28b52ffd")
_SINGLE_SEGMENT: Final = 0x20
_RESERVED: Final = 0x08
_CHECKSUM: Final = 0x04
_BLOCK_BYTES_MAX: Final = 128 * 1024
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_SIZE_BYTES: Final = (0, 2, 4, 8)


class CorruptZstd(ValueError):  # noqa: N818 - what the bytes are
    """The bytes are not exactly one such frame."""


def plain_bytes_bound(body: bytes) -> int:
    """Return the most bytes that the one frame of ``body`` can decompress to, by its blocks."""
    try:
        window, at = _header(body)
        if window > 1 << WINDOW_LOG_MAX:
            raise CorruptZstd
        return _blocks_bound(body, at, min(window, _BLOCK_BYTES_MAX), 4 if body[4] & _CHECKSUM else 0)
    except IndexError:
        raise CorruptZstd from None


def _header(body: bytes) -> tuple[int, int]:
    """Return the window and where the blocks begin."""
    descriptor = body[4]
    if not body.startswith(_MAGIC) or descriptor & _RESERVED:
        raise CorruptZstd
    at, window = 5, 0
    single = descriptor & _SINGLE_SEGMENT
    if not single:
        base = 1 << (10 + (body[at] >> 3))
        window = base + base // 8 * (body[at] & 7)
        at += 1
    at += _DICTIONARY_BYTES[descriptor & 3]
    size_bytes = _SIZE_BYTES[descriptor >> 6] or (1 if single else 0)
    if at + size_bytes > len(body):
        raise CorruptZstd
    if single:
        window = int.from_bytes(body[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    return window, at + size_bytes


def _blocks_bound(body: bytes, at: int, block_max: int, checksum_bytes: int) -> int:
    bound, is_last = 0, False
    while not is_last:
        head = body[at] | body[at + 1] << 8 | body[at + 2] << 16
        size, kind, is_last = head >> 3, head >> 1 & 3, bool(head & 1)
        if size > block_max or kind not in {_RAW, _RLE, _COMPRESSED}:
            raise CorruptZstd
        bound += block_max if kind == _COMPRESSED else size
        at += 3 + (1 if kind == _RLE else size)
    if at + checksum_bytes != len(body):
        raise CorruptZstd
    return bound
