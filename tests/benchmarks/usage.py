"""What hub.usage tells of a run: the meter, read by a foreign client, held against the oracle and taken as the clock of the steps."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

from benchmarks.figures import percentile
from benchmarks.job import PARTITIONS
from benchmarks.records import Grantee, Source
from benchmarks.town import Failed
from hub.model.records import decode_usage_step
from hub.model.usage import UsageStep

LIBRDKAFKA_LOG_LEVEL: Final = 2
"""Critical things alone."""
READ_WITHIN_S: Final = 30.0
CONSUME: Final = 2_000
CONSUME_WITHIN_S: Final = 0.03
"""librdkafka waits so long for the whole number that was asked for."""


class Metered(NamedTuple):
    """One committed step and when the broker took its usage step."""

    append_ms: int
    step: UsageStep


def reader(bootstrap: str, *, group: str = "benchmark-check") -> Consumer:
    """Return a foreign consumer at read_committed that is to be assigned."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
            "log_level": LIBRDKAFKA_LOG_LEVEL,
        }
    )


def read_topic(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield every committed record of a topic, to its end."""
    consumer = reader(bootstrap)
    try:
        count = len(consumer.list_topics(topic, timeout=READ_WITHIN_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
        left, moved_at = count, time.monotonic()
        while left:
            found = consumer.consume(CONSUME, CONSUME_WITHIN_S)
            if found:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > READ_WITHIN_S:
                raise Failed(f"`{topic}` could not be read to its end")
            for message in found:
                if message.error():
                    left -= 1
                else:
                    yield message
    finally:
        consumer.close()


def read_usage(bootstrap: str, topic: str) -> list[Metered]:
    """Return every committed usage step."""
    return [Metered(message.timestamp()[1], decode_usage_step(message.value())) for message in read_topic(bootstrap, topic)]


def check_usage(metered: Sequence[Metered], source: Source, agreements: Sequence[Grantee], *, topic: str) -> int:
    """Hold the meter against the oracle, partition by partition and agreement by agreement; returns the deliveries.

    Failed at the first that differs, where a chain has a hole, or where anything is neither delivered nor filtered.
    """
    counts = [source.count(number) for number in range(PARTITIONS)]
    expected = {who.id: source.delivered(who) for who in agreements}
    delivered: dict[tuple[str, int], int] = defaultdict(int)
    for partition, steps in by_lane(metered, topic).items():
        at = 0
        for _, step in steps:
            if step.first_offset != at or step.lost:
                raise Failed(f"the chain of {topic}-{partition} has a hole at {at}")
            at = step.next_offset
            for entry in step.entries:
                if entry.denied or entry.suppressed or entry.quarantined:
                    raise Failed(f"{topic}-{partition} at {step.first_offset}: `{entry.agreement_id}` has records that are not delivered")
                delivered[entry.agreement_id, partition] += entry.delivered
        if at != counts[partition]:
            raise Failed(f"{topic}-{partition} was metered up to {at} of {counts[partition]}")
    wanted = {(name, number): count for name, row in expected.items() for number, count in enumerate(row)}
    wrong = {key: delivered.get(key, 0) for key, count in wanted.items() if delivered.get(key, 0) != count}
    if wrong or delivered.keys() - wanted.keys():
        raise Failed(f"deliveries of {sorted(wrong)[:3]} are {[wrong[key] for key in sorted(wrong)[:3]]}, and {len(wrong)} are wrong")
    return sum(wanted.values())


def by_lane(metered: Sequence[Metered], topic: str) -> dict[int, list[Metered]]:
    """Return the steps of each partition of a source topic in their order."""
    found: dict[int, list[Metered]] = defaultdict(list)
    for one in metered:
        if one.step.source_topic == topic:
            found[one.step.source_partition].append(one)
    return {partition: sorted(steps, key=lambda one: one.step.step) for partition, steps in sorted(found.items())}


def intervals(metered: Sequence[Metered], topic: str) -> tuple[float, float]:
    """Return median and 99th percentile of the time between two steps of a lane, in milliseconds."""
    gaps = [float(after.append_ms - before.append_ms) for steps in by_lane(metered, topic).values() for before, after in pairwise(steps)]
    return (percentile(gaps, 0.5), percentile(gaps, 0.99)) if gaps else (0.0, 0.0)


def markers_before(steps: Sequence[Metered], agreement: str) -> Callable[[int], int]:
    """Return a function that tells how many transactions delivered to ``agreement`` before the one with a source offset.

    Each of them left one marker in the share partition, which takes an offset.
    """
    ends = [one.step.next_offset for one in steps if any(entry.agreement_id == agreement and entry.delivered for entry in one.step.entries)]
    return lambda offset: sum(end <= offset for end in ends)
