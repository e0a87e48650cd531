"""Decompressing what producers compressed, never to more than a bound: a batch of one megabyte may claim to be gigabytes.

gzip is in the standard library; snappy, lz4 and zstd need the package ``cramjam``. Without it such a batch is refused by name.
Whatever the bytes, ``Undecodable`` is raised and nothing else.
"""

import importlib
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

NAMES: Final[Mapping[int, str]] = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
"""Codecs by their number in the attributes of a record batch."""
FIRST_GUESS_BYTES: Final = 64 * 1024
_GZIP: Final = 31
_XERIAL: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES: Final = 16
_TOO_SMALL: Final = "failed to write whole buffer"


class Undecodable(ValueError):  # noqa: N818 - what the bytes are
    """The bytes are no such stream, or more than the bound, or their codec is not there; ``code`` tells which."""

    def __init__(self, code: str, codec: int) -> None:
        """Keep ``code``: ``codec-unknown``, ``codec-missing``, ``codec-corrupt`` or ``too-large``."""
        super().__init__(f"{code}: {NAMES.get(codec, str(codec))}")
        self.code = code


def available() -> frozenset[int]:
    """Return the codecs that can be read here."""
    return frozenset(NAMES) if _cramjam() is not None else frozenset({0, 1})


def decompress(codec: int, compressed: bytes, *, bytes_max: int) -> bytes:
    """Return the bytes that were compressed; Undecodable where they cannot be had or are more than ``bytes_max``."""
    decode = _DECODERS.get(codec)
    if decode is None:
        raise Undecodable("codec-unknown", codec)
    return decode(codec, compressed, bytes_max)


def _plain(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    if len(compressed) > bytes_max:
        raise Undecodable("too-large", codec)
    return compressed


def _gzip(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    out: list[bytes] = []
    rest, left = compressed, bytes_max
    while rest:
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(rest, left + 1)
        except zlib.error:
            raise Undecodable("codec-corrupt", codec) from None
        left -= len(part)
        if left < 0:
            raise Undecodable("too-large", codec)
        if not stream.eof:
            raise Undecodable("codec-corrupt", codec)
        out.append(part)
        rest = stream.unused_data
    return b"".join(out)


def _framed(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    """Decompress into buffers that grow up to the bound: the size that a frame claims is not believed."""
    library = _needed(codec)
    decode: Callable[[bytes, bytearray], int] = getattr(library, NAMES[codec]).decompress_into
    size = min(bytes_max, max(FIRST_GUESS_BYTES, 4 * len(compressed)))
    while True:
        buffer = bytearray(size)
        try:
            return bytes(memoryview(buffer)[: decode(compressed, buffer)])
        except (library.DecompressionError, OSError, ValueError) as error:
            if str(error) != _TOO_SMALL:
                raise Undecodable("codec-corrupt", codec) from None
        if size == bytes_max:
            raise Undecodable("too-large", codec)
        size = min(bytes_max, 4 * size)


def _snappy(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    """Decompress raw snappy, or blocks of it behind the header that Java's library writes."""
    if not compressed.startswith(_XERIAL):
        return _snappy_block(codec, compressed, bytes_max)
    out: list[bytes] = []
    position, left = _XERIAL_HEADER_BYTES, bytes_max
    while position < len(compressed):
        try:
            (size,) = struct.unpack_from(">i", compressed, position)
        except struct.error:
            raise Undecodable("codec-corrupt", codec) from None
        position += 4
        if not 0 <= size <= len(compressed) - position:
            raise Undecodable("codec-corrupt", codec)
        out.append(_snappy_block(codec, compressed[position : position + size], left))
        left -= len(out[-1])
        position += size
    return b"".join(out)


def _snappy_block(codec: int, block: bytes, bytes_max: int) -> bytes:
    library = _needed(codec)
    try:
        size = library.snappy.decompress_raw_len(block)
        if size > bytes_max:
            raise Undecodable("too-large", codec)
        return bytes(library.snappy.decompress_raw(block))
    except (library.DecompressionError, OSError):
        raise Undecodable("codec-corrupt", codec) from None


def _needed(codec: int) -> Any:
    library = _cramjam()
    if library is None:
        raise Undecodable("codec-missing", codec)
    return library


def _cramjam() -> Any:
    try:
        return importlib.import_module("cramjam")
    except ImportError:
        return None


_DECODERS: Final[Mapping[int, Callable[[int, bytes, int], bytes]]] = {0: _plain, 1: _gzip, 2: _snappy, 3: _framed, 4: _framed}
