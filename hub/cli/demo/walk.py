"""One record's walk: CSV line, source offset, decision, delivered offset, usage step, bill line.

Which line it is comes from the reckoning, which also says the how-manieth record of its partitions it is; the offsets are
looked up in the topics. Values of the record are not shown: field names, offsets and, where it is granted, the pseudonym.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition

from hub.broker.clients import consumer_config
from hub.ledger.usage_log import UsageLog
from hub.model.errors import HubError
from hub.model.names import Names
from hub.model.records import decode_usage_step

READ_WITHIN_S: Final = 30.0
POLL_MS: Final = 500
RECORDS_MAX: Final = 1_000
CLIENT_ID: Final = "cityhub-demo"


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the record under one agreement."""

    agreement_id: str
    topic: str
    offset: int | None
    """Where it was delivered; None: filtered."""
    key: str | None
    """As delivered: a pseudonym, or none."""


class UsagePlace(msgspec.Struct, frozen=True, kw_only=True):
    """The usage step that metered the record."""

    topic: str
    partition: int
    offset: int
    step: int
    first_offset: int
    next_offset: int
    delivered: int
    """By the followed agreement in this step."""


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """One record from its file to the bill."""

    file: str
    line: int
    topic: str
    partition: int
    offset: int
    deliveries: tuple[Delivered, ...]
    usage: UsagePlace


class _Record(NamedTuple):
    partition: int
    offset: int
    key: bytes | None


def follow(bootstrap: str, *, names: Names, reckoned: Mapping[str, Any], agreement: str) -> Walk | None:
    """Return the walk of the record that the reckoning chose for ``agreement``, None where it chose none; HUB-DEMO-002 where it is gone."""
    chosen = reckoned["walk"]
    if chosen is None:
        return None
    partition = chosen["partition"]
    topic = names.dept(chosen["dataset"])
    source = _record_at(bootstrap, topic, partition, chosen["place"])
    consumers = {one["id"]: one["consumer"] for one in reckoned["agreements"]}
    deliveries = []
    for agreement_id, place in chosen["delivered_places"].items():
        share = names.share(consumer=consumers[agreement_id], agreement=agreement_id)
        record = None if place is None else _record_at(bootstrap, share, partition, place)
        key = None if record is None or record.key is None else record.key.decode()
        deliveries.append(Delivered(agreement_id=agreement_id, topic=share, offset=record.offset if record else None, key=key))
    return Walk(
        file=chosen["file"],
        line=chosen["line"],
        topic=topic,
        partition=partition,
        offset=source.offset,
        deliveries=tuple(deliveries),
        usage=_usage_of(bootstrap, names=names, topic=topic, source=source, agreement=agreement),
    )


def _record_at(bootstrap: str, topic: str, partition: int, place: int) -> _Record:
    """Return the record that has ``place`` committed ones before it."""
    for number, record in enumerate(_records(bootstrap, KafkaPartition(topic, partition))):
        if number == place:
            return record
    raise HubError("HUB-DEMO-002", f"`{topic}-{partition}` has no {place + 1} records", "report this")


def _usage_of(bootstrap: str, *, names: Names, topic: str, source: _Record, agreement: str) -> UsagePlace:
    with UsageLog(bootstrap, names=names, client_id=CLIENT_ID) as log:
        log.seek(dict.fromkeys(log.partitions, 0))
        for stretches in log.read_to(log.high_watermarks(), deadline_s=READ_WITHIN_S, records_max=RECORDS_MAX):
            for record in (record for stretch in stretches for record in stretch.records):
                step = decode_usage_step(record.value or b"")
                if (step.source_topic, step.source_partition) != (topic, source.partition):
                    continue
                if step.first_offset <= source.offset < step.next_offset:
                    return UsagePlace(
                        topic=log.topic,
                        partition=record.partition,
                        offset=record.offset,
                        step=step.step,
                        first_offset=step.first_offset,
                        next_offset=step.next_offset,
                        delivered=sum(entry.delivered for entry in step.entries if entry.agreement_id == agreement),
                    )
    raise HubError("HUB-DEMO-002", f"no usage step holds offset {source.offset} of `{topic}-{source.partition}`", "report this")


def _records(bootstrap: str, at: KafkaPartition) -> Iterator[_Record]:
    """Yield committed records from the beginning to where the log ended when it was asked."""
    consumer = KafkaConsumer(**consumer_config(bootstrap, client_id=CLIENT_ID))
    try:
        consumer.assign([at])
        consumer.seek_to_beginning(at)
        end = consumer.end_offsets([at])[at]
        deadline = time.monotonic() + READ_WITHIN_S
        while consumer.position(at) < end and time.monotonic() < deadline:
            for rows in consumer.poll(timeout_ms=POLL_MS).values():
                for row in rows:
                    yield _Record(row.partition, row.offset, row.key)
    finally:
        consumer.close(autocommit=False)
