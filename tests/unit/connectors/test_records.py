"""Records: the bytes of a whole row, the partition of a key as Java has it, and which column is at fault."""

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from connectors.kit.faults import RowFault
from connectors.kit.records import Misfit, Outgoing, RecordEncoder, RowShape, partition_of
from hub.model.errors import HubError
from hub.model.source_schema import read_schema

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Car",
    "fields": [
        {"name": "plate", "type": "string"},
        {"name": "seats", "type": ["null", "int"], "default": None},
        {"name": "town", "type": "string", "default": "杭州"},
        {"name": "weight", "type": "double"},
    ],
}


def encoder(**changes: Any) -> RecordEncoder:
    """Compile for columns weight, plate, seats; the town is left to its default."""
    plain: dict[str, Any] = {
        "schema": read_schema(SCHEMA),
        "schema_id": 77,
        "columns": (1, 2, None, 0),
        "width": 3,
        "key": None,
        "null_values": frozenset({""}),
        "partitions": 4,
        "value_bytes_max": 1_000,
    }
    return RecordEncoder(RowShape(**plain | changes))


@given(st.text(max_size=60), st.none() | st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_a_record_is_byte_for_byte_what_an_avro_library_writes(plate: str, seats: int | None, weight: float) -> None:
    """Also the second time, when every text is remembered."""
    out = io.BytesIO()
    record = {"plate": plate, "seats": seats, "town": "杭州", "weight": weight}
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), record)
    compiled = encoder()
    row = [repr(weight), plate, "" if seats is None else str(seats)]
    made = [compiled.record(row, number=6, source_id=b"x:6") for _ in range(2)]
    assert made == [Outgoing(2, None, b"\x00\x00\x00\x00\x4d" + out.getvalue(), b"x:6")] * 2


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_java_s(text: str, hashed: int) -> None:
    """Vectors of Kafka's own UtilsTest; the sign is taken off as Java does it."""
    assert murmur2(text.encode()) == hashed % 2**32
    assert partition_of(text.encode(), partitions=7) == (hashed & 0x7FFFFFFF) % 7


def test_a_key_is_its_text_and_a_null_key_takes_turns() -> None:
    """Key: the text of the cell, never the converted value."""
    compiled = encoder(key=1)
    keyed = compiled.record(["1", "浙A1", ""], number=3, source_id=b"x:3")
    assert isinstance(keyed, Outgoing)
    assert (keyed.key, keyed.partition) == ("浙A1".encode(), partition_of("浙A1".encode(), partitions=4))
    unkeyed = compiled.record(["1", "", ""], number=7, source_id=b"x:7")
    assert isinstance(unkeyed, Outgoing)
    assert (unkeyed.key, unkeyed.partition) == (None, 3)


@pytest.mark.parametrize(
    ("row", "misfit"),
    [
        (["1", "a"], Misfit(RowFault.COLUMNS, None)),
        (["1", "a", "2", "3"], Misfit(RowFault.COLUMNS, None)),
        (["x", "a", "2"], Misfit(RowFault.NOT_NUMBER, 0)),
        (["x", "a", "y"], Misfit(RowFault.NOT_WHOLE, 2)),
        (["", "a", "2"], Misfit(RowFault.MISSING, 0)),
        (["1", "a" * 1_000, "2"], Misfit(RowFault.TOO_LARGE, None)),
    ],
)
def test_a_row_that_does_not_fit_names_its_first_column_in_the_order_of_the_schema(row: list[str], misfit: Misfit) -> None:
    """One reason per row is enough to mend it."""
    assert encoder().record(row, number=0, source_id=b"x:0") == misfit


def test_a_record_at_the_bound_passes_and_one_byte_more_does_not() -> None:
    """The bound of a value counts its frame."""
    row = ["1", "abc", "2"]
    size = len(made.value) if isinstance(made := encoder().record(row, number=0, source_id=b""), Outgoing) else 0
    assert isinstance(encoder(value_bytes_max=size).record(row, number=0, source_id=b""), Outgoing)
    assert encoder(value_bytes_max=size - 1).record(row, number=0, source_id=b"") == Misfit(RowFault.TOO_LARGE, None)


def test_a_field_without_column_and_default_is_refused_at_once() -> None:
    """Before any row is read."""
    with pytest.raises(HubError, match="HUB-CONN-003"):
        encoder(columns=(None, 2, None, 0))
