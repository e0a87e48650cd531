"""CSV files to rows of values, and values to Avro bytes, for flat records of ints, longs, text and nullable ones."""

import csv
import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

NULL_TEXT = "NA"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Value = int | str | None
Row = dict[str, Value]


class Source(NamedTuple):
    """Where a dataset of the demo comes from."""

    file: str
    schema: str
    key: str
    limited: bool
    """Whether a run with fewer records cuts this file."""


SOURCES = {
    "transport/flights": Source("flights.csv", "transport/flights/v1.avsc", "tailnum", limited=True),
    "vehicle-registry/aircraft": Source("planes.csv", "vehicle-registry/aircraft/v1.avsc", "tailnum", limited=False),
}


class Field(NamedTuple):
    """One field of a flat schema."""

    name: str
    kind: str
    """``int``, ``timestamp-millis`` or ``string``."""
    nullable: bool
    identifier: str | None


def read_fields(schema: Path) -> list[Field]:
    """Return the fields of a schema; null stands first in every union of the demo."""
    return [_field(declared) for declared in json.loads(schema.read_text(encoding="utf-8"))["fields"]]


def _field(declared: dict) -> Field:
    kind, nullable = declared["type"], False
    if isinstance(kind, list):
        null, kind = kind
        if null != "null":
            raise ValueError(f"field {declared['name']}: null is not the first branch")
        nullable = True
    if isinstance(kind, dict):
        kind = kind.get("logicalType", kind["type"])
    if kind not in READERS:
        raise ValueError(f"field {declared['name']}: the reckoning does not know type {kind}")
    return Field(declared["name"], kind, nullable, declared.get("identifier"))


def _timestamp_millis() -> Callable[[str], int]:
    known: dict[str, int] = {}

    def read(text: str) -> int:
        if text not in known:
            known[text] = (dt.datetime.fromisoformat(text) - EPOCH) // dt.timedelta(milliseconds=1)
        return known[text]

    return read


READERS: dict[str, Callable[[str], Value]] = {"int": int, "string": str, "timestamp-millis": _timestamp_millis()}


def read_rows(file: Path, fields: list[Field], *, records: int | None) -> Iterator[Row]:
    """Return the rows of a file, the first ``records`` of them where that is given."""
    with file.open(encoding="utf-8", newline="") as lines:
        table = csv.reader(lines)
        header = next(table)
        plan = [(field, header.index(field.name), READERS[field.kind]) for field in fields]
        for cells in itertools.islice(table, records):
            row: Row = {}
            for field, at, read in plan:
                text = cells[at]
                if text != NULL_TEXT:
                    row[field.name] = read(text)
                elif field.nullable:
                    row[field.name] = None
                else:
                    raise ValueError(f"field {field.name} has no value and is not nullable")
            yield row


def zigzag(number: int) -> bytes:
    """Return Avro's variable-length encoding of an int or long."""
    rest = number * 2 if number >= 0 else -number * 2 - 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def write_value(value: Value, *, nullable: bool) -> bytes:
    """Return one field's Avro bytes; in a union null is branch 0 and the other branch 1."""
    if value is None:
        return zigzag(0)
    if isinstance(value, str):
        raw = value.encode()
        body = zigzag(len(raw)) + raw
    else:
        body = zigzag(value)
    return zigzag(1) + body if nullable else body
