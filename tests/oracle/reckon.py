"""What each agreement of the demo must have received, reckoned from the CSV files; one JSON object on stdout.

    python tests/oracle/reckon.py --data build/nycflights13 --agreements deploy/demo/agreements --master-key FILE

Imports nothing from ``hub`` or ``connectors``: independence is the point.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from identity import Pseudonyms, partition_of
from source import SOURCES, Field, Row, read_fields, read_rows
from terms import Terms, read_agreements

ROOT = Path(__file__).resolve().parents[2]
CSV_HEADER_LINES = 1


class Stream:
    """What one agreement receives in one partition, in order."""

    def __init__(self) -> None:
        """Start empty."""
        self.records = 0
        self.source_records = 0
        self._bodies = hashlib.sha256()
        self._keys = hashlib.sha256()

    def add(self, body: bytes, key: bytes | None) -> None:
        """Take the next delivered record."""
        self.records += 1
        self._bodies.update(body)
        self._keys.update(key_bytes(key))

    def report(self, partition: int) -> dict[str, Any]:
        """Return the sums."""
        return {
            "partition": partition,
            "records": self.records,
            "bodies_sha256": self._bodies.hexdigest(),
            "keys_sha256": self._keys.hexdigest(),
        }


def key_bytes(key: bytes | None) -> bytes:
    """Return a key so that keys in a row stay apart: 4 bytes of length, -1 for none, and the bytes."""
    return (-1).to_bytes(4, "big", signed=True) if key is None else len(key).to_bytes(4, "big") + key


class Reckoned:
    """One agreement's sums over the whole file."""

    def __init__(self, terms: Terms, partitions: int) -> None:
        """Start empty."""
        self.terms = terms
        self.streams = [Stream() for _ in range(partitions)]
        self.filtered = 0

    def take(self, row: Row, partition: int) -> int | None:
        """Decide one row; return its place among the partition's delivered records, None where it is filtered."""
        if self.terms.allows(row) is not True:
            self.filtered += 1
            return None
        stream = self.streams[partition]
        stream.add(self.terms.body(row), self.terms.key(row))
        return stream.records - 1

    def report(self) -> dict[str, Any]:
        """Return the sums; nothing of this data is denied, suppressed or quarantined."""
        return {
            "id": self.terms.id,
            "consumer": self.terms.consumer,
            "dataset": self.terms.dataset,
            "delivered": sum(stream.records for stream in self.streams),
            "filtered": self.filtered,
            "denied": 0,
            "suppressed": 0,
            "quarantined": 0,
            "partitions": [stream.report(partition) for partition, stream in enumerate(self.streams)],
        }


def reckon(options: argparse.Namespace) -> dict[str, Any]:
    """Return the whole reckoning."""
    found = [reckon_dataset(dataset, options) for dataset in sorted(SOURCES)]
    return {
        "published": {one["dataset"]: {"records": sum(one["partitions"]), "partitions": one["partitions"]} for one in found},
        "agreements": sorted((agreement for one in found for agreement in one["agreements"]), key=lambda agreement: agreement["id"]),
        "walk": next((one["walk"] for one in found if one["walk"] is not None), None),
    }


def reckon_dataset(dataset: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the reckoning of one dataset and of every agreement on it."""
    source = SOURCES[dataset]
    fields = read_fields(options.schemas / source.schema)
    reckoned = compile_agreements(dataset, fields, options)
    counts = [0] * options.partitions
    walk: dict[str, Any] | None = None
    for number, row in enumerate(read_rows(options.data / source.file, fields, records=options.records if source.limited else None)):
        partition = partition_of(row[source.key], row=number, partitions=options.partitions)
        places = {one.terms.id: one.take(row, partition) for one in reckoned}
        if walk is None and places.get(options.walk) is not None:
            walk = {
                "dataset": dataset,
                "file": source.file,
                "line": number + 1 + CSV_HEADER_LINES,
                "partition": partition,
                "place": counts[partition],
                "delivered_places": places,
            }
        counts[partition] += 1
    return {"dataset": dataset, "partitions": counts, "walk": walk, "agreements": [one.report() for one in reckoned]}


def compile_agreements(dataset: str, fields: list[Field], options: argparse.Namespace) -> list[Reckoned]:
    """Return the agreements on one dataset, none of their rows taken yet."""
    master = read_master_key(options.master_key)
    return [
        Reckoned(Terms(raw, fields, pseudonyms_for(raw, master, options), key=SOURCES[dataset].key), options.partitions)
        for raw in read_agreements(options.agreements)
        if raw["dataset"] == dataset
    ]


def read_master_key(file: Path) -> bytes:
    """Return the 32 bytes of a master key file, which holds them raw or as hex text."""
    raw = file.read_bytes()
    return raw if len(raw) == 32 else bytes.fromhex(raw.decode().strip())


def pseudonyms_for(raw: dict[str, Any], master: bytes, options: argparse.Namespace) -> Callable[[str], Pseudonyms]:
    """Return what gives the pseudonyms of an identifier kind for one agreement."""

    @cache
    def of(kind: str) -> Pseudonyms:
        return Pseudonyms(master, scope=options.scope, consumer=raw["consumer"], purpose=raw["purpose"], kind=kind, epoch=options.key_epoch)

    return of


def main() -> None:
    """Read the arguments, print the reckoning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of flights.csv and planes.csv")
    parser.add_argument("--agreements", type=Path, default=ROOT / "deploy/demo/agreements")
    parser.add_argument("--schemas", type=Path, default=ROOT / "avro_schemas")
    parser.add_argument("--master-key", type=Path, required=True, help="the hub's master-<epoch>.key")
    parser.add_argument("--key-epoch", type=int, default=1)
    parser.add_argument("--scope", default="330100")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--records", type=int, help="only the first so many flights")
    parser.add_argument("--walk", help="an agreement id: also say where its first delivered record stands")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, which is what it prints anyway")
    sys.stdout.write(json.dumps(reckon(parser.parse_args())) + "\n")


if __name__ == "__main__":
    main()
