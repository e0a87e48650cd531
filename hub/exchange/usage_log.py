"""Reading hub.usage for one chain: its last committed step."""

import time
import uuid
from collections.abc import Iterator
from typing import Final

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition

from hub.broker.admin import Admin
from hub.broker.clients import consumer_config
from hub.broker.topics import usage_partition
from hub.model.errors import HubError
from hub.model.names import LIVE, Names, TopicPartition
from hub.model.records import decode_usage_step
from hub.model.usage import UsageStep

READ_WITHIN_S: Final = 120.0


def last_step(admin: Admin, *, names: Names, topic_id: uuid.UUID, partition: int) -> tuple[UsageStep, bytes] | None:
    """Return the newest committed live step of a source partition and its framed value, None where there is none."""
    found: tuple[UsageStep, bytes] | None = None
    for step in live_steps(admin, names=names, topic_id=topic_id, partition=partition):
        found = step
    return found


def usage_place(names: Names, *, topic_id: uuid.UUID, partition: int) -> TopicPartition:
    """Return the partition of hub.usage that the steps of a source partition stand in."""
    return TopicPartition(names.usage, usage_partition(f"{topic_id}/{partition}".encode()))


def live_steps(admin: Admin, *, names: Names, topic_id: uuid.UUID, partition: int) -> Iterator[tuple[UsageStep, bytes]]:
    """Yield the committed live steps of a source partition, oldest first, each with its framed value.

    Reads its partition of hub.usage from the beginning to the high watermark of now: call it after fencing the lane, so
    that no open transaction of that lane hides a step.
    """
    key = f"{topic_id}/{partition}".encode()
    place = usage_place(names, topic_id=topic_id, partition=partition)
    end = admin.end_offsets([place])[place]
    consumer = KafkaConsumer(**consumer_config(admin.bootstrap, client_id="cityhub-usage-log"))
    try:
        kafka_place = KafkaPartition(*place)
        consumer.assign([kafka_place])
        consumer.seek_to_beginning(kafka_place)
        deadline = time.monotonic() + READ_WITHIN_S
        while consumer.position(kafka_place) < end:
            if time.monotonic() > deadline:
                raise HubError("HUB-BROKER-010", f"`{place}` could not be read to its end in time", "try again; look for open transactions")
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    if record.key == key and (found := _live_step(record.value)) is not None:
                        yield found
    finally:
        consumer.close()


def _live_step(value: bytes | None) -> tuple[UsageStep, bytes] | None:
    """Return a live step and its framed value; None for what a stranger wrote under the same key."""
    try:
        step = decode_usage_step(value or b"")
    except (ValueError, EOFError, IndexError, TypeError):
        return None
    return (step, value or b"") if step.pass_id == LIVE else None
