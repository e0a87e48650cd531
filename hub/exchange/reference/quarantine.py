"""Quarantine: what is kept of a record, or a broken batch, that could not be read or transformed.

Bounded: a value over 64 KiB is kept as its SHA-256 and length, a key over 64 KiB not at all. Offsets always find the original
as long as the source topic keeps it.
"""

import hashlib

from hub.exchange.verdict import Source
from hub.model.reasons import FAULT_OF, Reject
from hub.model.records import QUARANTINED_VALUE_BYTES_MAX, Quarantined


def set_aside(
    source: Source,
    *,
    first_offset: int,
    next_offset: int,
    code: Reject,
    key: bytes | None,
    value: bytes | None,
    agreement_id: str | None = None,
) -> Quarantined:
    """Return the quarantined record; ``agreement_id`` None: for every agreement."""
    too_long = value is not None and len(value) > QUARANTINED_VALUE_BYTES_MAX
    return Quarantined(
        source_topic=source.partition.topic,
        source_topic_id=source.topic_id,
        source_partition=source.partition.partition,
        first_offset=first_offset,
        next_offset=next_offset,
        agreement_id=agreement_id,
        code=code.value,
        fault=FAULT_OF[code],
        key=None if key is None or len(key) > QUARANTINED_VALUE_BYTES_MAX else key,
        value=None if too_long else value,
        value_sha256=hashlib.sha256(value).digest() if too_long and value is not None else None,
        value_length=len(value) if too_long and value is not None else None,
    )
