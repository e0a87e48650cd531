"""Confluent framing: 0x00, four bytes of schema id in big-endian order, then the Avro body."""

import struct
from typing import Final

HEADER_BYTES: Final = 5
_HEADER = struct.Struct(">bI")
HUB_SCHEMA_IDS_FROM: Final = 2_000_000_001
"""Ids at and above belong to the hub's own records; departments' ids count from 1."""


def frame_header(schema_id: int) -> bytes:
    """Return the five bytes before a body of schema ``schema_id``."""
    return _HEADER.pack(0, schema_id)


def schema_id_of(value: bytes) -> int | None:
    """Return the schema id of a framed value, None where there is no framing."""
    if len(value) < HEADER_BYTES or value[0] != 0:
        return None
    schema_id: int = _HEADER.unpack_from(value)[1]
    return schema_id
