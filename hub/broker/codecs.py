"""Compressing for consumers, and decompressing what producers compressed, never to more than a bound.

A batch of one megabyte may claim to be gigabytes: whatever the bytes, ``Undecodable`` is raised and nothing else.
gzip is in the standard library; zstd, and the writing of snappy and lz4, need the package ``cramjam``. Without it such a batch is refused
by name. Which streams are taken depends on no library's leniency: frames are checked here, or read here whole (snappy, lz4).
What is written is what every client reads: snappy in blocks behind Java's header, lz4 as a frame of independent blocks.
"""

import importlib
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from hub.broker import lz4_frames, snappy_blocks
from hub.broker.lz4_frames import MAGIC, STORED
from hub.broker.snappy_blocks import XERIAL
from hub.broker.stream_faults import CorruptStream, StreamTooLarge
from hub.broker.zstd_frames import frame_of
from hub.settings import BATCH_GZIP_MEMBERS_MAX

NAMES: Final[Mapping[int, str]] = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
"""Codecs by their number in the attributes of a record batch."""
_GZIP: Final = 31
_GZIP_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1
_XERIAL_HEADER: Final = XERIAL + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK_BYTES: Final = 32 * 1024
_LZ4_HEADERS: Final = (
    (64 * 1024, MAGIC + bytes.fromhex("604082")),
    (256 * 1024, MAGIC + bytes.fromhex("6050fb")),
    (1024 * 1024, MAGIC + bytes.fromhex("606051")),
    (4 * 1024 * 1024, MAGIC + bytes.fromhex("607073")),
)
"""Bytes of a block at most, and the header that says so: independent blocks, no checksums (the batch has its CRC)."""
_TOO_SMALL: Final = "failed to write whole buffer"


class Undecodable(ValueError):  # noqa: N818 - what the bytes are
    """The bytes are no such stream, or more than the bound, or their codec is not there; ``code`` tells which."""

    def __init__(self, code: str, codec: int) -> None:
        """Keep ``code``: ``codec-unknown``, ``codec-missing``, ``codec-corrupt`` or ``too-large``."""
        super().__init__(f"{code}: {NAMES.get(codec, str(codec))}")
        self.code = code


def available() -> frozenset[int]:
    """Return the codecs that can be read here."""
    return frozenset(NAMES) if _cramjam() is not None else frozenset({0, 1, 2, 3})


def compress(codec: int, plain: bytes) -> bytes:
    """Return ``plain`` compressed at the codec's quickest level; Undecodable for a codec that is unknown or not installed."""
    encode = _ENCODERS.get(codec)
    if encode is None:
        raise Undecodable("codec-unknown", codec)
    return encode(codec, plain)


def _to_gzip(_: int, plain: bytes) -> bytes:
    return zlib.compress(plain, _GZIP_LEVEL, _GZIP)


def _to_snappy(codec: int, plain: bytes) -> bytes:
    block = _needed(codec).snappy.compress_raw
    out = [_XERIAL_HEADER]
    for at in range(0, len(plain), _XERIAL_BLOCK_BYTES):
        part = bytes(block(plain[at : at + _XERIAL_BLOCK_BYTES]))
        out += [struct.pack(">i", len(part)), part]
    return b"".join(out)


def _to_lz4(codec: int, plain: bytes) -> bytes:
    block = _needed(codec).lz4.compress_block
    bytes_max, header = next((form for form in _LZ4_HEADERS if len(plain) <= form[0]), _LZ4_HEADERS[-1])
    out = [header]
    for at in range(0, len(plain), bytes_max):
        stored = plain[at : at + bytes_max]
        part = bytes(block(stored, store_size=False))
        out += [struct.pack("<I", len(part)), part] if len(part) < len(stored) else [struct.pack("<I", len(stored) | STORED), stored]
    out.append(bytes(4))
    return b"".join(out)


def _to_zstd(codec: int, plain: bytes) -> bytes:
    return bytes(_needed(codec).zstd.compress(plain, _ZSTD_LEVEL))


def decompress(codec: int, compressed: bytes, *, bytes_max: int) -> bytes:
    """Return the bytes that were compressed; Undecodable where they cannot be had or are more than ``bytes_max``."""
    decode = _DECODERS.get(codec)
    if decode is None:
        raise Undecodable("codec-unknown", codec)
    if codec and not compressed:
        raise Undecodable("codec-corrupt", codec)
    try:
        return decode(codec, compressed, bytes_max)
    except CorruptStream:
        raise Undecodable("codec-corrupt", codec) from None
    except StreamTooLarge:
        raise Undecodable("too-large", codec) from None


def _plain(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    if len(compressed) > bytes_max:
        raise Undecodable("too-large", codec)
    return compressed


def _gzip(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    out: list[bytes] = []
    rest, left = compressed, bytes_max
    for _ in range(BATCH_GZIP_MEMBERS_MAX):
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
        if not rest:
            return b"".join(out)
    raise Undecodable("too-large", codec)


def _zstd(codec: int, compressed: bytes, bytes_max: int) -> bytes:
    """Decompress into a buffer of what the frame's blocks can hold: the size that it claims is not believed."""
    library = _needed(codec)
    bound, content_bytes = frame_of(compressed)
    buffer = bytearray(min(bound, bytes_max) or 1)
    try:
        size = library.zstd.decompress_into(compressed, buffer)
    except (library.DecompressionError, OSError, ValueError) as error:
        if str(error) == _TOO_SMALL and bound > bytes_max:
            raise StreamTooLarge from None
        raise CorruptStream from None
    if content_bytes not in {None, size}:
        raise CorruptStream
    return bytes(memoryview(buffer)[:size])


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


_ENCODERS: Final[Mapping[int, Callable[[int, bytes], bytes]]] = {
    0: lambda _, plain: plain,
    1: _to_gzip,
    2: _to_snappy,
    3: _to_lz4,
    4: _to_zstd,
}
_DECODERS: Final[Mapping[int, Callable[[int, bytes, int], bytes]]] = {
    0: _plain,
    1: _gzip,
    2: lambda _, compressed, bytes_max: snappy_blocks.decode(compressed, bytes_max=bytes_max),
    3: lambda _, compressed, bytes_max: lz4_frames.decode_frame(compressed, bytes_max=bytes_max),
    4: _zstd,
}
