"""The benchmark's records: the same at every offset by every way to them, whatever the codec, and as the job promises."""

import io
from collections.abc import Mapping
from itertools import chain
from typing import Any

import fastavro
import pytest
from benchmarks import records
from benchmarks.job import AGE_MIN, PARTITIONS, SCHEMA, narrow_schema, terms, wide_schema
from benchmarks.oracle import expected_counts, places_by_key, rows_of

from hub.broker.batches import read_records

SMALL = 6_000


@pytest.fixture(scope="module")
def small() -> records.Source:
    """Return a source of one copy."""
    return records.make_source(SMALL, schema_id=7)


@pytest.fixture
def twice(small: records.Source) -> records.Source:
    """Return a source in which everything is there twice."""
    return records.Source(2 * SMALL, 7, small.partitions, base=SMALL)


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_every_offset_of_the_batches_is_the_record_that_is_told_for_it(twice: records.Source, codec: str) -> None:
    """The check reads expected bytes by offset: they must be what was loaded."""
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {number: [] for number in range(PARTITIONS)}
    for partition, batches in twice.batches(codec, timestamp_ms=1):
        for batch in batches:
            rows = read_records(batch.data)
            assert len(rows) == batch.records
            found[partition] += [(row.key, row.value) for row in rows]
    for partition, rows in found.items():
        assert rows == [twice.row(partition, offset) for offset in range(twice.count(partition))]
    assert sum(map(len, found.values())) == 2 * SMALL


def test_a_copy_differs_in_id_and_time_alone(twice: records.Source) -> None:
    """A copy that differed elsewhere would be counted by another row than the oracle's."""
    first, second = (_decoded(twice.row(3, offset)[1]) for offset in (5, 5 + len(twice.partitions[3])))
    assert {name for name in first if first[name] != second[name]} == {"event_id", "observed_at"}
    assert second["observed_at"] > first["observed_at"]


def test_ids_are_unique_within_a_partition(twice: records.Source) -> None:
    """Records that repeat whole would compress and cache better than real ones."""
    ids = [_decoded(twice.row(2, offset)[1])["event_id"] for offset in range(twice.count(2))]
    assert len(set(ids)) == len(ids)


def test_the_oracle_counts_what_the_rows_say(twice: records.Source) -> None:
    """Counts come from the generator's values; here every record is decoded by a library instead."""
    agreements = terms(3)
    told = expected_counts(twice, agreements)
    for who in agreements:
        by_partition = [
            sum(
                row["age"] >= AGE_MIN and row["district"] in who.districts
                for row in (_decoded(twice.row(partition, offset)[1]) for offset in range(twice.count(partition)))
            )
            for partition in range(PARTITIONS)
        ]
        assert by_partition == twice.delivered(who)
        assert sum(by_partition) == told[who.id]


def test_rows_of_a_key_are_those_of_the_partition_in_their_order(twice: records.Source) -> None:
    """The peers' deliveries are checked key by key, in order."""
    key = twice.partitions[1][0].key
    wanted = [value for value_key, value in (twice.row(1, offset) for offset in range(twice.count(1))) if value_key == key]
    assert [value for _, value in rows_of(twice, 1, places_by_key(twice, 1)[key])] == wanted


def test_values_have_the_size_and_the_rows_the_share_that_the_job_promises(small: records.Source) -> None:
    """154 bytes on average, 41 % pass: figures are comparable with others of the same job only then."""
    counts = expected_counts(small, terms(20))
    assert 152 < small.value_bytes < 156
    assert 0.39 < sum(counts.values()) / len(counts) / SMALL < 0.43
    assert all(len(one.key) == 6 for one in chain.from_iterable(small.partitions))


@pytest.mark.parametrize(("shape", "least", "most"), [("narrow", 46, 54), ("wide", 470, 530)])
def test_other_shapes_have_their_size_and_copies_of_their_own(shape: str, least: int, most: int) -> None:
    """A narrow record has no id; a wide one holds words that may look like anything: the time must still be found in it."""
    chosen = records.Shape("n", narrow_schema(), plain=True) if shape == "narrow" else records.Shape("w", wide_schema(), remarks=345)
    source = records.make_source(2_000, schema_id=3, shape=chosen, base=1_000)
    assert least < source.value_bytes < most
    for partition in range(PARTITIONS):
        base = len(source.partitions[partition])
        first, second = (_decoded(source.row(partition, offset)[1], chosen.schema) for offset in (0, base))
        assert {name for name in first if first[name] != second[name]} == {"observed_at"} | ({"event_id"} & first.keys())


def test_the_seed_gives_the_same_records_again(small: records.Source) -> None:
    """Figures of two days are about the same bytes."""
    again = records.make_source(100, schema_id=7)
    assert again.row(4, 0) == small.row(4, 0)


def test_a_number_of_records_that_is_no_multiple_is_refused() -> None:
    """Else the counts would be those of another number."""
    with pytest.raises(ValueError, match="multiple"):
        records.make_source(records.BASE + 1, schema_id=7)


def _decoded(value: bytes, schema: Mapping[str, Any] = SCHEMA) -> Mapping[str, Any]:
    source = io.BytesIO(value)
    source.seek(5)
    found: Mapping[str, Any] = fastavro.schemaless_reader(source, fastavro.parse_schema(dict(schema)), None)
    return found
