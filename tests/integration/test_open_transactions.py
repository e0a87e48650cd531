"""A read_committed reader ends at the last stable offset: somebody else's open transaction may hide nothing that counts."""

import time

import pytest
from confluent_kafka import Producer
from town import FLIGHT, Town, encode, flight, terms

pytestmark = pytest.mark.broker


def _hold_open(town: Town, topic: str, partition: int, value: bytes) -> Producer:
    """Open a transaction of a stranger on a partition and leave it open."""
    stranger = Producer(
        {"bootstrap.servers": town.admin.bootstrap, "transactional.id": f"stranger-{topic}-{partition}", "transaction.timeout.ms": 60_000}
    )
    stranger.init_transactions(20)
    stranger.begin_transaction()
    stranger.produce(topic, partition=partition, value=value)
    assert stranger.flush(20) == 0
    return stranger


def test_an_open_foreign_transaction_hides_nothing_from_a_restarting_lane(town: Town) -> None:
    """A position kept in a topic was invisible for 18 s here; in the offset commit's metadata it is there at once."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights", partitions=1)
    body = town.agree(terms("all"), partitions=1)
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(number))) for number in range(20)])
    with town.worker():
        town.wait_done(topic, partitions=1)
    strangers = [
        _hold_open(town, body.share_topic, 0, b"stranger"),
        *(_hold_open(town, town.names.usage, n, b"stranger") for n in range(4)),
    ]
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(number))) for number in range(20, 40)])

    began = time.monotonic()
    with town.worker():
        town.wait_done(topic, partitions=1, within_s=30)
    took = time.monotonic() - began
    for stranger in strangers:
        stranger.abort_transaction(20)

    assert took < 30
    assert [row["id"] for row in town.shared("all", partitions=1)] == list(range(40))
    steps = town.usage()
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))


def test_aborted_records_of_a_publisher_are_gaps_and_are_never_delivered(town: Town) -> None:
    """The transport leaves aborted batches out by their headers and counts each of their offsets."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights", partitions=1)
    town.agree(terms("all"), partitions=1)
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(1)))])
    stranger = _hold_open(town, topic, 0, encode(schema_id, FLIGHT, flight(666)))
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(2)))])
    stranger.abort_transaction(20)

    with town.worker():
        town.wait_done(topic, partitions=1)

    assert [row["id"] for row in town.shared("all", partitions=1)] == [1, 2]
    assert sum(step.gaps for step in town.usage()) == 2
    assert sum(step.records for step in town.usage()) == 2
