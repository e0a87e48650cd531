"""The parts of `make revocation`: the flood numbers its records right, and what contradicts an answer is found."""

import io
import json
from itertools import pairwise

import fastavro
from flood import BATCH_RECORDS, FIRST, SCHEMA_FILE, Template
from shares import Window, Windows
from watch import Watch

from hub.broker.batches import read_records
from hub.model.names import TopicPartition

SCHEMA = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
WINDOWS = (Window(ended=10, resumed=20, source=100), Window(ended=30, resumed=40, source=200))
"""Ended at share offset 10, given back at 20, ended again at 30; nothing before them from source offsets 100 and 200 on."""


def _numbers(batch: bytes) -> list[int]:
    values = [(row.value or b"")[5:] for row in read_records(batch)]
    return [fastavro.schemaless_reader(io.BytesIO(value), SCHEMA, None)["flight"] - FIRST for value in values]


def test_every_batch_of_the_flood_goes_on_where_the_one_before_ended() -> None:
    """What is read back as a record's number is its source offset."""
    template = Template(7)
    for at in (0, 1, 127, 128, 20_000):
        assert _numbers(template.batch(at)) == list(range(at * BATCH_RECORDS, (at + 1) * BATCH_RECORDS))


def _contradicting(*rows: tuple[int, int]) -> int:
    """Return what is found in one go, which is what is found record by record."""
    offsets, numbers = [offset for offset, _ in rows], [number for _, number in rows]
    found = Windows(WINDOWS).contradicting(offsets, numbers)
    apart = Windows(WINDOWS)
    assert sum(apart.contradicting([offset], [number]) for offset, number in rows) == found
    return found


def test_what_agrees_with_every_answer_contradicts_none() -> None:
    """Before an end from lower source offsets, behind a resumption from any."""
    assert _contradicting((0, 0), (9, 99), (20, 150), (29, 199), (40, 200), (41, 10**6)) == 0


def test_a_record_between_an_end_and_the_resumption_contradicts() -> None:
    """At the end, and right before the resumption."""
    assert _contradicting((9, 99), (10, 100)) == 1
    assert _contradicting((19, 150), (20, 151), (30, 199), (39, 200), (40, 201)) == 3


def test_a_record_from_behind_an_answered_source_offset_contradicts_each_such_answer() -> None:
    """Also where it stands before the end in the share topic."""
    assert _contradicting((9, 100)) == 1
    assert _contradicting((9, 200)) == 2
    assert _contradicting((29, 200)) == 1


def test_a_lane_that_had_nothing_before_it_between_two_looks_is_seen() -> None:
    """The bound is the end before and the position after: no moment between is better than it."""
    lane = TopicPartition("dept.a.b", 0)
    looks = [(100, 0), (300, 90), (500, 310), (700, 320)]
    bounds = [end - position for (end, _), (_, position) in pairwise(looks)]
    watch = Watch(bootstrap="", group="", lanes=[lane])
    for end, position in looks:
        watch._sample(_Admin(lane, end, position))
    assert watch.lag_min == min(bounds) == -10


class _Admin:
    def __init__(self, lane: TopicPartition, end: int, position: int) -> None:
        self._lane, self._end, self._position = lane, end, position

    def end_offsets(self, _lanes: object) -> dict[TopicPartition, int]:
        return {self._lane: self._end}

    def committed(self, _group: str, _lanes: object) -> dict[TopicPartition, tuple[int, str]]:
        return {self._lane: (self._position, "")}
