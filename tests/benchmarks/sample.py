"""Comparing what was delivered with what the reference kernel delivers, byte by byte: windows of the source, all their deliveries.

A window is some records that follow each other in one source partition. The reference decides on them; what it delivers must
stand in each share topic in that order, at exactly the place where the oracle's counts and the markers of the steps put it. So a
window also shows that nothing before it is missing or doubled.
"""

import bisect
import math
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from benchmarks.job import PARTITIONS
from benchmarks.oracle import expected_counts
from benchmarks.records import Grantee, Source, build
from benchmarks.town import KEY_EPOCH, Failed, Town
from benchmarks.usage import CONSUME, CONSUME_WITHIN_S, READ_WITHIN_S, Metered, by_lane, markers_before, read_topic, reader
from hub.broker.batches import read_records
from hub.exchange import reference
from hub.exchange.plan import DEFAULT_LIMITS, Plan
from hub.exchange.plan_book import PlanBook
from hub.exchange.verdict import Chunk, Moment
from hub.exchange.verdict import Source as StepSource
from hub.model import names as model_names
from hub.model.errors import HubError
from hub.store.keys import load_master_keys, load_trust_keys

SAMPLED: Final = 20_000
WINDOWS: Final = 13
MARGIN: Final = 1.1
"""Windows are so much longer than they must be in the mean, since not every part of a source has the same share of what is delivered."""
Row = tuple[bytes | None, bytes | None]


class Window(NamedTuple):
    """Records of one source partition."""

    partition: int
    begin: int
    end: int


def read_plan(here: Town, topic: str) -> Plan:
    """Return the plan that hub.plan holds for a dataset's topic, proved and compiled as a worker does."""
    refused: list[HubError] = []
    book = PlanBook(
        scope=here.names.scope,
        trust=load_trust_keys(here.folder / "keys"),
        master_keys=load_master_keys(here.folder / "keys"),
        limits=DEFAULT_LIMITS,
        alarm=refused.append,
    )
    for message in read_topic(here.ground.broker.bootstrap, here.names.plan):
        book.apply(message.value(), offset=message.offset())
    book.compile()
    if refused:
        raise Failed(f"hub.plan of epoch {KEY_EPOCH} holds what is refused: {refused[0].code}")
    return book.plan(topic)


def windows(source: Source, agreements: Sequence[Grantee], *, seed: int, sampled: int = SAMPLED) -> list[Window]:
    """Draw windows with at least ``sampled`` deliveries in all, by the oracle's counts; the whole source where it has no more."""
    delivered = sum(expected_counts(source, agreements).values())
    length = math.ceil(MARGIN * sampled * source.records / (WINDOWS * max(1, delivered)))
    while delivered > sampled and length < max(map(source.count, range(PARTITIONS))):
        found = _draw(source, length, seed=seed)
        if sum(_count(source, who, window) for window in found for who in agreements) >= sampled:
            return found
        length = math.ceil(MARGIN * length)  # a rule may pass next to nothing in some partitions
    return [Window(number, 0, source.count(number)) for number in range(PARTITIONS)]


def _draw(source: Source, length: int, *, seed: int) -> list[Window]:
    dice = random.Random(seed)
    found: list[Window] = []
    for number in dice.sample(range(PARTITIONS), WINDOWS):
        size = min(length, source.count(number))
        begin = dice.randint(0, source.count(number) - size)
        found.append(Window(number, begin, begin + size))
    return found


def _count(source: Source, who: Grantee, window: Window) -> int:
    return index_of(source, who, window.partition, window.end) - index_of(source, who, window.partition, window.begin)


def decide(plan: Plan, source: Source, window: Window) -> dict[str, list[Row]]:
    """Return by share topic what the reference kernel delivers of a window."""
    rows = (source.row(window.partition, offset) for offset in range(window.begin, window.end))
    place = model_names.TopicPartition(plan.topic, window.partition)
    chunks, at = [], window.begin
    for batch in build(rows, codec="none", timestamp_ms=0):
        data = at.to_bytes(8, "big") + batch.data[8:]
        chunks.append(Chunk(partition=place, data=data, first_offset=at, next_offset=at + batch.records, gaps=0))
        at += batch.records
    moment = Moment(int(time.time() * 1000))
    out: dict[str, list[Row]] = {agreement.share_topic: [] for agreement in plan.agreements}
    for chunk in chunks:
        verdict = reference.run(plan, [chunk], StepSource(place, uuid.UUID(int=0), chunk.first_offset), moment)
        if verdict.quarantined or verdict.next_offset != chunk.next_offset:
            raise Failed(f"the reference does not decide on {place} from {chunk.first_offset} on")
        for topic, found in verdict.deliveries.items():
            out[topic] += [(row.key, row.value) for one in found for row in read_records(bytes(one.data))]
    return out


def check_sample(
    here: Town, source: Source, agreements: Sequence[Grantee], metered: Sequence[Metered], *, topic: str, seed: int, markers: bool = True
) -> int:
    """Compare windows of a run with the reference; returns how many records were compared.

    Failed at the first difference, and where too few were compared.
    ``markers``: each step left a marker in the share topics, which takes an offset.
    """
    plan = read_plan(here, topic)
    lanes = by_lane(metered, topic)
    shares = {agreement.id: agreement.share_topic for agreement in plan.agreements}
    compared = 0
    consumer = reader(here.ground.broker.bootstrap)
    try:
        for window in windows(source, agreements, seed=seed):
            wanted = decide(plan, source, window)
            begins: dict[str, int] = {}
            for who in agreements:
                index = index_of(source, who, window.partition, window.begin)
                before = markers_before(lanes[window.partition], who.id)(_first_offset(source, who, window)) if markers else 0
                begins[shares[who.id]] = index + before
            found = read_windows(consumer, window.partition, begins, {share: len(rows) for share, rows in wanted.items()})
            for who in agreements:
                share = shares[who.id]
                if found[share] != wanted[share] and _read_from_begin(consumer, source, who, window, share, wanted[share]) != wanted[share]:
                    raise Failed(f"`{share}-{window.partition}` differs from the reference in {window}")
                compared += len(wanted[share])
    finally:
        consumer.close()
    hold_compared(compared, delivered=sum(expected_counts(source, agreements).values()))
    return compared


def hold_compared(compared: int, *, delivered: int) -> None:
    """Hold that as many records were compared as is told of every run, or all where fewer were delivered."""
    if compared < min(SAMPLED, delivered):
        raise Failed(f"only {compared:,} records were compared byte by byte, of {delivered:,}; {SAMPLED:,} are told")


def index_of(source: Source, who: Grantee, partition: int, offset: int) -> int:
    """Return how many records of a partition before ``offset`` are delivered to ``who``."""
    admitted = source.admitted(who, partition)
    copy, place = divmod(offset, len(admitted) - 1)
    return copy * admitted[-1] + admitted[place]


def read_windows(consumer: Consumer, partition: int, begins: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, list[Row]]:
    """Read so many committed records of one partition of several topics, from an offset on each."""
    found: dict[str, list[Row]] = {topic: [] for topic in counts}
    due = {topic for topic, count in counts.items() if count}
    consumer.assign([TopicPartition(topic, partition, begins[topic]) for topic in due])
    deadline = time.monotonic() + READ_WITHIN_S
    while due and time.monotonic() < deadline:
        for message in consumer.consume(CONSUME, CONSUME_WITHIN_S):
            topic = message.topic()
            if message.error():
                due.discard(topic)
            elif len(found[topic]) < counts[topic]:
                found[topic].append((message.key(), message.value()))
                if len(found[topic]) == counts[topic]:
                    due.discard(topic)
    consumer.unassign()
    return found


def _read_from_begin(consumer: Consumer, source: Source, who: Grantee, window: Window, share: str, wanted: Sequence[Row]) -> list[Row]:
    """Read the same records by counting from the beginning: steps that were aborted take offsets too, and leave no usage step."""
    index = index_of(source, who, window.partition, window.begin)
    found = read_windows(consumer, window.partition, {share: 0}, {share: index + len(wanted)})
    return found[share][index:]


def _first_offset(source: Source, who: Grantee, window: Window) -> int:
    """Return the offset of the first record of a window that is delivered to ``who``; its end where none is."""
    before = index_of(source, who, window.partition, window.begin)
    found = bisect.bisect_right(range(window.begin, window.end + 1), before, key=lambda at: index_of(source, who, window.partition, at))
    return min(window.begin + found - 1, window.end)
