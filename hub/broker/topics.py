"""The hub's topics and their configuration, in one place; told in docs/reference/shapes.md "Topics"."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiokafka.partitioner import murmur2

from hub.model.names import Names

USAGE_PARTITIONS: Final = 4
BATCH_BYTES_MAX: Final = 1_048_588
"""What every topic of the hub takes in one batch: Kafka's default, said of each topic, so that a cluster's narrower one does not count."""
AT_LEAST: Final = "max.message.bytes"
"""A topic that takes more than this is as well."""
_DAY_MS: Final = 24 * 3600 * 1000


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the hub wants it."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]

    def differs(self, found: Mapping[str, str]) -> tuple[str, ...]:
        """Return the settings, by name, in which a topic that is there is not as the hub wants it."""
        return tuple(sorted(key for key, wanted in self.config.items() if not _is_as_wanted(key, wanted, found.get(key))))


def dept_topic(names: Names, dataset: str, *, partitions: int, replication: int) -> TopicSpec:
    """Return the topic that a department publishes a dataset to: kept 7 days from publishing, whatever time its records bear.

    By the publisher's clock a record of last month is older than the retention, and would be deleted within minutes.
    """
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(7 * _DAY_MS), "cleanup.policy": "delete"}
    return _spec(names.dept(dataset), partitions, replication, **config)


def share_topic(names: Names, *, consumer: str, agreement: str, partitions: int, replication: int) -> TopicSpec:
    """Return the topic that an agreement delivers to: append time, so that no source timestamp travels beside the fields."""
    name = names.share(consumer=consumer, agreement=agreement)
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(7 * _DAY_MS), "cleanup.policy": "delete"}
    return _spec(name, partitions, replication, **config)


def quarantine_topic(names: Names, dataset: str, *, partitions: int, replication: int) -> TopicSpec:
    """Return the topic for records that could not be read or transformed: kept 3 days, by append time.

    With the writer's time a worker whose clock is over an hour fast could quarantine nothing: Kafka refuses such records
    (``log.message.timestamp.after.max.ms``), and its lane would try for ever.
    """
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(3 * _DAY_MS), "cleanup.policy": "delete"}
    return _spec(names.quarantine(dataset), partitions, replication, **config)


def plan_topic(names: Names, *, replication: int) -> TopicSpec:
    """Return hub.plan: one partition, compacted, never younger than 7 days."""
    return _spec(
        names.plan,
        1,
        replication,
        **{
            "cleanup.policy": "compact",
            "message.timestamp.type": "LogAppendTime",
            "min.compaction.lag.ms": str(7 * _DAY_MS),
            "segment.ms": str(10 * 60 * 1000),
            "min.cleanable.dirty.ratio": "0.1",
        },
    )


def usage_topic(names: Names, *, replication: int) -> TopicSpec:
    """Return hub.usage: four partitions for ever, never deleted and never compacted, whatever the cluster does with other topics."""
    kept = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    return _spec(names.usage, USAGE_PARTITIONS, replication, **{"message.timestamp.type": "LogAppendTime", **kept})


def usage_partition(key: bytes) -> int:
    """Return the partition of hub.usage for a key: Java's default partitioner (murmur2)."""
    return int((murmur2(key) & 0x7FFFFFFF) % USAGE_PARTITIONS)


def _spec(name: str, partitions: int, replication: int, **config: str) -> TopicSpec:
    common = {"min.insync.replicas": str(min(2, replication)), "max.message.bytes": str(BATCH_BYTES_MAX)}
    return TopicSpec(name=name, partitions=partitions, replication=replication, config={**config, **common})


def _is_as_wanted(key: str, wanted: str, found: str | None) -> bool:
    if key == AT_LEAST and found is not None and found.isdigit():
        return int(found) >= int(wanted)
    return found == wanted
