"""What must come out, reckoned from the generator's values: no kernel and no plan is asked.

Counts for everyone; bytes for the peers, whose output form is theirs (HMAC in hex, the UTC day). Ours are held against the reference
kernel byte by byte (``ours``), and the reference against hand-checked tables elsewhere.
"""

import datetime as dt
import hashlib
import hmac
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import fastavro

from benchmarks.job import GRANTED, KEEP_FIRST, KEEP_LAST, SCHEMA
from benchmarks.records import Grantee, Observation, Source, value_of
from hub.model.framing import HEADER_BYTES, frame_header

PEER_SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "SharedObservation",
    "namespace": "share.traffic",
    "fields": [field for field in SCHEMA["fields"] if field["name"] in GRANTED],
}
HASH_BYTES: Final = 16


def expected_counts(source: Source, agreements: Sequence[Grantee]) -> dict[str, int]:
    """Return by agreement id how many records of ``source`` are delivered."""
    return {who.id: sum(source.delivered(who)) for who in agreements}


def places_by_key(source: Source, partition: int) -> dict[bytes, list[int]]:
    """Return for each key of a partition where its base observations stand, in order."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for place, one in enumerate(source.partitions[partition]):
        found[one.key].append(place)
    return found


def rows_of(source: Source, partition: int, places: Sequence[int]) -> Iterator[tuple[Observation, bytes]]:
    """Yield the observations at some places of the base, and their copies, with their values in the order of the topic."""
    base = source.partitions[partition]
    for copy in range(source.copies):
        for place in places:
            yield base[place], value_of(base[place], copy, number=copy * len(base) + place)


class PeerOracle:
    """Makes the bytes that a peer must deliver."""

    def __init__(self) -> None:
        """Parse both schemas with fastavro, logical types and all: the peers read times as plain numbers."""
        self._source = fastavro.parse_schema(dict(SCHEMA))
        self._shared = fastavro.parse_schema(dict(PEER_SCHEMA))

    def deliver(self, value: bytes, *, schema_id: int, key: bytes) -> bytes:
        """Return the framed record that a consumer gets of ``value``; ``key`` is its HMAC key."""
        source = io.BytesIO(value)
        source.seek(HEADER_BYTES)
        found: Any = fastavro.schemaless_reader(source, self._source, None)
        when: dt.datetime = found["observed_at"]
        out = io.BytesIO(frame_header(schema_id))
        out.seek(HEADER_BYTES)
        shared = {
            **{name: found[name] for name in GRANTED},
            "citizen_id": hmac.new(key, found["citizen_id"].encode(), hashlib.sha256).hexdigest()[: 2 * HASH_BYTES],
            "full_name": masked(found["full_name"]),
            "observed_at": when.replace(hour=0, minute=0, second=0, microsecond=0),
        }
        fastavro.schemaless_writer(out, self._shared, shared)
        return out.getvalue()


def masked(name: str) -> str:
    """Return a name of which the first three and last two characters are left; nothing is left of one with five or fewer."""
    last = len(name) - KEEP_LAST
    short = len(name) <= KEEP_FIRST + KEEP_LAST
    return "".join("*" if short or KEEP_FIRST <= place < last else letter for place, letter in enumerate(name))
