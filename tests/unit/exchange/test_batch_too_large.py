"""A batch beyond a bound is set aside whole, under a code that says so; at the bound its records are decided. In each kernel."""

import functools
import gzip
import struct
from typing import Final

import pytest
from batch_mutations import sealed
from kernel_kit import NOW, chunk_of, plan_of, source_at, terms
from kernels import Kernel, kernels

from hub import settings
from hub.broker.batches import HEADER_BYTES, build_batches
from hub.exchange.verdict import Moment, Verdict
from hub.model.reasons import FAULT_OF, Fault, Reject
from hub.settings import BATCH_PLAIN_BYTES_MAX, BATCH_RECORDS_MAX

EACH_KERNEL = pytest.mark.parametrize("kernel", kernels())
AROUND_VALUE_BYTES: Final = 13


def varint(value: int) -> bytes:
    """Return a number as Kafka's zigzag varint."""
    rest, out = 2 * value if value >= 0 else -2 * value - 1, b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


def frame(*, value: bytes | None, delta: int = 0) -> bytes:
    """Return the frame of one record without a key; a value of None is a tombstone."""
    body = varint(-1) if value is None else varint(len(value)) + value
    inner = b"\0\0" + varint(delta) + b"\x01" + body + b"\0"
    return varint(len(inner)) + inner


@functools.cache
def tombstones(count: int) -> bytes:
    """Return so many records that hold nothing."""
    return b"".join(frame(value=None, delta=delta) for delta in range(count))


def decide(kernel: Kernel, body: bytes, *, records: int, codec: int = 0) -> Verdict:
    """Run a kernel on one batch, whose header and CRC are right."""
    (built,) = build_batches([(None, None)], bytes_max=1_000, timestamp_ms=NOW)
    head = bytearray(built.data[:HEADER_BYTES])
    struct.pack_into(">i", head, 23, records - 1)
    struct.pack_into(">i", head, 57, records)
    chunk = chunk_of(bytes(sealed(head + body, codec=codec)), first_offset=0, next_offset=records)
    return kernel(plan_of(terms("parking", "plate"), step_plain_bytes_max=2**40), [chunk], source_at(0), Moment(now_ms=NOW))


@EACH_KERNEL
def test_a_batch_of_too_many_records_is_set_aside_as_too_large(kernel: Kernel) -> None:
    """Its records may be good: who reads `corrupt` looks for damage, and there is none."""
    at_bound = decide(kernel, tombstones(BATCH_RECORDS_MAX), records=BATCH_RECORDS_MAX)
    past_it = decide(kernel, tombstones(BATCH_RECORDS_MAX + 1), records=BATCH_RECORDS_MAX + 1)

    assert (at_bound.entries[0].suppressed, at_bound.quarantined) == (BATCH_RECORDS_MAX, ())
    assert past_it.entries[0].quarantined == BATCH_RECORDS_MAX + 1
    assert [(record.code, record.fault) for record in past_it.quarantined] == [("batch_too_large", Fault.PUBLISHER)]


@EACH_KERNEL
def test_a_batch_of_too_many_plain_bytes_is_set_aside_as_too_large(kernel: Kernel) -> None:
    """At the bound its one record is looked at, and found to be none."""
    value = bytes(BATCH_PLAIN_BYTES_MAX - AROUND_VALUE_BYTES)
    at_bound, past_it = frame(value=value), frame(value=value + b"\0")
    assert len(at_bound) == BATCH_PLAIN_BYTES_MAX

    found = [decide(kernel, gzip.compress(plain, 1), records=1, codec=1).quarantined for plain in (at_bound, past_it)]

    assert [record.code for records in found for record in records] == ["schema_unknown", "batch_too_large"]


@EACH_KERNEL
def test_a_batch_that_is_damaged_is_corrupt(kernel: Kernel) -> None:
    """The other code keeps its meaning."""
    (record,) = decide(kernel, tombstones(3)[:-1], records=3).quarantined

    assert (record.code, FAULT_OF[Reject(record.code)]) == ("batch_corrupt", Fault.PUBLISHER)


def test_the_native_kernel_has_the_bounds_that_the_settings_name() -> None:
    """They are constants there: what one kernel reads, the other must."""
    native = pytest.importorskip("hub.exchange._native", reason="the native kernel is not built")

    assert (
        settings.BATCH_RECORDS_MAX,
        settings.BATCH_PLAIN_BYTES_MAX,
        settings.BATCH_RECORD_HEADERS_MAX,
        settings.BATCH_GZIP_MEMBERS_MAX,
        settings.BATCH_ZSTD_WINDOW_LOG_MAX,
    ) == native.BATCH_BOUNDS
