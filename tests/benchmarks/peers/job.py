"""The job as the Python peers do it: one strict loop over plain dictionaries, everything that does not change hoisted out of it.

Terms come from a file of JSON; fields and steps are written down here, which favours the peers over a product that reads them from
agreements. Times are read as plain numbers (the logical type is left out), since fastavro's objects would cost more.

A peer prints one line of JSON at its end: when it had its first records, when the last of its output was acknowledged and its
offsets were committed (time of day, milliseconds), how many records it read, and its deliveries by agreement. The benchmark
measures the processor time in between from outside.
"""

import argparse
import hmac
import io
import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import fastavro

OUTPUT_PARTITIONS: Final = 4
COMMIT_EVERY_S: Final = 5.0
DAY_MS: Final = 86_400_000
HEADER: Final = struct.Struct(">bI")


class Agreement:
    """One agreement, ready for the loop."""

    __slots__ = ("count", "districts", "head", "id", "key", "topic")

    def __init__(self, told: dict[str, Any]) -> None:
        """Read what the file tells."""
        self.id: str = told["id"]
        self.topic: str = told["topic"]
        self.head = HEADER.pack(0, told["schema_id"])
        self.districts = frozenset(told["districts"])
        self.key = bytes.fromhex(told["key"])
        self.count = 0


class Task:
    """What the command line asks for, and the report at the end."""

    def __init__(self) -> None:
        """Read the command line."""
        parser = argparse.ArgumentParser()
        for name in ("bootstrap", "topic", "group", "terms", "codec"):
            parser.add_argument(f"--{name}", required=True)
        parser.add_argument("--expect", required=True, type=int)
        asked = parser.parse_args()
        told = json.loads(Path(asked.terms).read_text(encoding="utf-8"))
        self.bootstrap: str = asked.bootstrap
        self.topic: str = asked.topic
        self.group: str = asked.group
        self.codec: str = asked.codec
        self.expect: int = asked.expect
        self.agreements = [Agreement(one) for one in told["agreements"]]
        self.deliver = _transform(self.agreements, source=told["source"], shared=told["shared"], age_min=told["age_min"])
        self._began_ms = 0.0

    def begin(self) -> None:
        """Note that the first records are here; again is no error."""
        if not self._began_ms:
            self._began_ms = time.time() * 1000

    def report(self, records: int) -> None:
        """Print the line that the benchmark waits for."""
        counts = {one.id: one.count for one in self.agreements}
        line = {"begin_ms": self._began_ms, "end_ms": time.time() * 1000, "records": records, "counts": counts}
        print(json.dumps(line), file=sys.__stdout__, flush=True)


def _transform(
    agreements: list[Agreement], *, source: dict[str, Any], shared: dict[str, Any], age_min: int
) -> Callable[[bytes], Iterator[tuple[Agreement, bytes]]]:
    """Return the function that gives, for one source value, each agreement that receives it with its own value."""
    reads, writes = fastavro.parse_schema(_plain(source)), fastavro.parse_schema(_plain(shared))
    read, write, digest = fastavro.schemaless_reader, fastavro.schemaless_writer, hmac.digest
    header_bytes = HEADER.size

    def deliver(value: bytes) -> Iterator[tuple[Agreement, bytes]]:
        if value[0] != 0:
            raise ValueError("not in Confluent framing")
        body = io.BytesIO(value)
        body.seek(header_bytes)
        record: Any = read(body, reads, None)
        if record["age"] < age_min:
            return
        district = record["district"]
        identifier = record["citizen_id"].encode()
        name: str = record["full_name"]
        hidden = len(name) - 5
        at_ms: int = record["observed_at"]
        shown = {
            "citizen_id": "",
            "full_name": name[:3] + "*" * hidden + name[-2:] if hidden > 0 else "*" * len(name),
            "district": district,
            "vehicle": record["vehicle"],
            "speed_kmh": record["speed_kmh"],
            "observed_at": at_ms - at_ms % DAY_MS,
        }
        for one in agreements:
            if district in one.districts:
                shown["citizen_id"] = digest(one.key, identifier, "sha256")[:16].hex()
                out = io.BytesIO()
                out.write(one.head)
                write(out, writes, shown)
                one.count += 1
                yield one, out.getvalue()

    return deliver


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without logical types: the bytes are the same."""
    fields = [
        {**field, "type": field["type"]["type"]} if isinstance(field["type"], dict) and "logicalType" in field["type"] else field
        for field in schema["fields"]
    ]
    return {**schema, "fields": fields}
