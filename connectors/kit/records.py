"""Rows to records: Confluent framing, Avro body, key, partition and source id, compiled once per schema and header.

The partition is that of Kafka's default for a keyed record (murmur2, as Java's client), and the row number modulo the
partitions for one without a key: both follow from the row alone, so that a row read twice goes the same way.
"""

from collections.abc import Callable, Sequence
from operator import getitem, itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from kafka.partitioner.default import murmur2

from connectors.kit.defaults import default_bytes
from connectors.kit.faults import RowFault, Unfit
from connectors.kit.values import Convert, converter
from hub.model.errors import HubError, Problem
from hub.model.field_types import type_words
from hub.model.framing import frame_header
from hub.model.source_schema import SourceField, SourceSchema

SOURCE_ID_HEADER: Final = "ch-source-id"
SOURCE_ID_BYTES_MAX: Final = 32
MEMO_ENTRIES_MAX: Final = 4_096
MEMO_CHARACTERS_MAX: Final = 48
KEY_MEMO_ENTRIES_MAX: Final = 65_536


class Outgoing(NamedTuple):
    """One record, ready to be sent."""

    partition: int
    key: bytes | None
    value: bytes
    source_id: bytes


class Misfit(NamedTuple):
    """Why a row became no record: the code, and the place of the column in the row where there is one."""

    fault: RowFault
    column: int | None


Encode: TypeAlias = Callable[[Sequence[str]], bytes]


class RowShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the cells of a row meet the fields of a schema."""

    schema: SourceSchema
    schema_id: int
    columns: tuple[int | None, ...]
    """Per field of the schema: the place of its cell in the row; None: the field's default."""
    width: int
    """Cells of a row."""
    key: int | None
    """Place of the key's cell; None: records have no key."""
    null_values: frozenset[str]
    partitions: int
    value_bytes_max: int


class RecordEncoder:
    """Turns the cells of a row into a record. HUB-CONN-003 at once where a field cannot be filled from text."""

    def __init__(self, shape: RowShape) -> None:
        """Compile the conversions."""
        self._shape = shape
        self._memos = [_source(field, column, shape.null_values) for field, column in zip(shape.schema.fields, shape.columns, strict=True)]
        self._places = [0 if column is None else column for column in shape.columns]
        self._pick = itemgetter(*self._places) if len(self._places) > 1 else _pick_one(self._places[0])
        self._frame = frame_header(shape.schema_id)
        self._keys = _Keys(shape.partitions)

    def record(self, cells: Sequence[str], *, number: int, source_id: bytes) -> Outgoing | Misfit:
        """Return the record of data row ``number`` (from 0), or why it is none."""
        shape = self._shape
        if len(cells) != shape.width:
            return Misfit(RowFault.COLUMNS, None)
        try:
            value = self._frame + b"".join(map(getitem, self._memos, self._pick(cells)))
        except Unfit:
            return self._misfit(cells)
        if len(value) > shape.value_bytes_max:
            return Misfit(RowFault.TOO_LARGE, None)
        if shape.key is None or cells[shape.key] in shape.null_values:
            return Outgoing(number % shape.partitions, None, value, source_id)
        key, partition = self._keys[cells[shape.key]]
        return Outgoing(partition, key, value, source_id)

    def _misfit(self, cells: Sequence[str]) -> Misfit:
        """Find the first column that does not fit, in the order of the schema."""
        for memo, place in zip(self._memos, self._places, strict=True):
            try:
                memo[cells[place]]
            except Unfit as unfit:
                return Misfit(unfit.fault, place)
        raise AssertionError("a row that does not fit has a column that does not fit")


class _Memo(dict[str, bytes]):
    """Remembers the bytes of short texts; values repeat in a column, and a look-up is ten times as fast as a conversion."""

    def __init__(self, convert: Convert) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, text: str) -> bytes:
        found = self._convert(text)
        if len(text) <= MEMO_CHARACTERS_MAX and len(self) < MEMO_ENTRIES_MAX:
            self[text] = found
        return found


class _Constant(dict[str, bytes]):
    """The default of a field that the source has no column for."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self._value = value

    def __missing__(self, _text: str) -> bytes:
        return self._value


class _Keys(dict[str, tuple[bytes, int]]):
    """Remembers the bytes and the partition of keys."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partitions = partitions

    def __missing__(self, text: str) -> tuple[bytes, int]:
        key = text.encode()
        found = key, partition_of(key, partitions=self._partitions)
        if len(self) < KEY_MEMO_ENTRIES_MAX:
            self[text] = found
        return found


def partition_of(key: bytes, *, partitions: int) -> int:
    """Return the partition that Kafka's default partitioner (Java) gives a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def unfillable(field: SourceField) -> str | None:
    """Return why text cannot fill ``field``, None where it can."""
    if converter(field, null_values=frozenset()) is None:
        return f"field `{field.name}` is {type_words(field.type)}, which no cell can fill"
    return None


def _source(field: SourceField, column: int | None, null_values: frozenset[str]) -> dict[str, bytes]:
    if column is not None:
        convert = converter(field, null_values=null_values)
        if convert is not None:
            return _Memo(convert)
    else:
        value = default_bytes(field)
        if value is not None:
            return _Constant(value)
    why = "has neither a column nor a default that can be taken" if column is None else unfillable(field) or ""
    problem = Problem("schema", field.name, why, "give the field a default")
    raise HubError("HUB-CONN-003", f"field `{field.name}` cannot be filled from text", problem.fix, problems=(problem,))


def _pick_one(place: int) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return lambda cells: (cells[place],)
