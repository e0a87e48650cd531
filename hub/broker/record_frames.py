"""Frames of records in a batch: strict, and nothing is believed before it is checked.

What is taken is what Kafka's own reader takes: 32-bit varints of at most five bytes, 64-bit ones of at most ten, one byte of
attributes, any negative length for null, names of record headers in UTF-8. Offsets must rise and stay within the batch's span.
"""

from typing import Final, NamedTuple

from hub.settings import BATCH_RECORD_HEADERS_MAX

_RECORD_BYTES_MIN: Final = 7
_LONG_BYTES_MAX: Final = 10


class Unframed(ValueError):  # noqa: N818 - what the bytes are
    """The bytes are no such records; ``code`` is ``records``, ``offsets`` or ``too-large``."""

    def __init__(self, code: str) -> None:
        """Keep the reason."""
        super().__init__(code)
        self.code = code


class RecordRow(NamedTuple):
    """One record of a batch."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Span(NamedTuple):
    """What the header of a batch says about its records."""

    records: int
    base_offset: int
    last_offset_delta: int
    base_timestamp: int
    append_time: int | None
    """The time of every record, where the broker set it."""


def read_frames(plain: bytes, at: int, span: Span) -> list[RecordRow]:
    """Return the records of ``plain[at:]``, exactly as many as ``span`` says; Unframed where they are not there."""
    if span.records > (len(plain) - at) // _RECORD_BYTES_MIN:
        raise Unframed("records")
    try:
        return _rows(plain, at, span)
    except (IndexError, UnicodeDecodeError):
        raise Unframed("records") from None


def _rows(plain: bytes, at: int, span: Span) -> list[RecordRow]:
    rows: list[RecordRow] = []
    before, headers_left = -1, BATCH_RECORD_HEADERS_MAX
    for _ in range(span.records):
        size, at = _int(plain, at)
        end = at + size
        if size < 0 or end > len(plain):
            raise Unframed("records")
        timestamp_delta, at = _long(plain, at + 1)
        delta, at = _int(plain, at)
        key, at = _nullable(plain, at, end)
        value, at = _nullable(plain, at, end)
        count, at = _int(plain, at)
        if at > end:
            raise Unframed("records")
        headers: tuple[tuple[str, bytes | None], ...] = ()
        if count:
            headers_left -= count
            if count < 0:
                raise Unframed("records")
            if headers_left < 0:
                raise Unframed("too-large")
            headers, at = _headers(plain, at, end, count)
        if at != end:
            raise Unframed("records")
        if not before < delta <= span.last_offset_delta:
            raise Unframed("offsets")
        before = delta
        timestamp = span.base_timestamp + timestamp_delta if span.append_time is None else span.append_time
        rows.append(RecordRow(span.base_offset + delta, timestamp, key, value, headers))
    if at != len(plain):
        raise Unframed("records")
    return rows


def _headers(plain: bytes, at: int, end: int, count: int) -> tuple[tuple[tuple[str, bytes | None], ...], int]:
    out: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _nullable(plain, at, end)
        if name is None:
            raise Unframed("records")
        value, at = _nullable(plain, at, end)
        out.append((name.decode("utf-8"), value))
    return tuple(out), at


def _nullable(plain: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = _int(plain, at)
    if size < 0:
        return None, at
    after = at + size
    if after > end:
        raise Unframed("records")
    return plain[at:after], after


def _int(plain: bytes, at: int) -> tuple[int, int]:
    byte = plain[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    value = byte & 0x7F
    for shift in (7, 14, 21):
        at += 1
        byte = plain[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + 1
    byte = plain[at + 1]
    if byte > 0x0F:
        raise Unframed("records")
    value |= byte << 28
    return (value >> 1) ^ -(value & 1), at + 2


def _long(plain: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONG_BYTES_MAX):
        byte = plain[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return (value >> 1) ^ -(value & 1), at + place + 1
    raise Unframed("records")
