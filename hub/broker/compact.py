"""Kafka's compact forms (KIP-482) on plain buffers: for the few requests that are asked thousands of times a second.

aiokafka's schemas walk a tree of objects for every field; these are the same bytes at a tenth of the cost. Whatever the bytes,
reading raises IndexError, ValueError or struct.error and nothing else.
"""

import struct
from functools import lru_cache
from typing import Final

NO_TAGS: Final = b"\0"
EMPTY: Final = b"\x01"
"""An empty array or text."""
NULL: Final = b"\0"
_VARINT_BITS_MAX: Final = 35
_HEADER: Final = struct.Struct(">hhih")


def varint(value: int) -> bytes:
    """Return an unsigned varint."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str | None) -> bytes:
    """Return a compact, nullable string."""
    if value is None:
        return NULL
    raw = value.encode()
    return varint(len(raw) + 1) + raw


@lru_cache(maxsize=4096)
def name(value: str) -> bytes:
    """Return the compact string of a name that is sent again and again: of a topic, a group, a transactional id."""
    return text(value)


def request_header(*, api_key: int, api_version: int, correlation_id: int, client_id: str) -> bytes:
    """Return the header of a request of a flexible version."""
    raw = client_id.encode()
    return _HEADER.pack(api_key, api_version, correlation_id, len(raw)) + raw + NO_TAGS


def read_varint(frame: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned varint and where it ends."""
    byte = frame[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = frame[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift >= _VARINT_BITS_MAX:
            message = "a varint has no end"
            raise ValueError(message)


def read_length(frame: memoryview, at: int) -> tuple[int, int]:
    """Return the length of an array, a text or bytes, 0 where it is null, and where its content begins."""
    value, at = read_varint(frame, at)
    return max(0, value - 1), at


def read_text(frame: memoryview, at: int) -> tuple[str, int]:
    """Return a text, empty where it is null, and where it ends."""
    size, at = read_length(frame, at)
    return str(frame[at : at + size], "utf-8"), at + size


def after_tags(frame: memoryview, at: int) -> int:
    """Return where the tagged fields at ``at`` end."""
    count, at = read_varint(frame, at)
    for _ in range(count):
        _, at = read_varint(frame, at)
        size, at = read_varint(frame, at)
        at += size
    return at
