"""The settings of kafka-python's clients do what they promise on a real cluster."""

import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from hub.broker.admin import Admin
from hub.broker.clients import consumer_config, producer_config
from hub.broker.embedded import EmbeddedBroker
from hub.broker.topics import dept_topic
from hub.model.names import Names


@pytest.fixture
def topic(names: Names, admin: Admin) -> str:
    """Make a topic of one partition."""
    spec = dept_topic(names, "a/b", partitions=1, replication=1)
    admin.create_topics([spec])
    return spec.name


def test_a_reader_sees_no_aborted_copy_and_ends_before_an_open_one(topic: str, broker: EmbeddedBroker, names: Names) -> None:
    """Billed is what was committed: everyone of ours reads committed."""
    config = producer_config(broker.bootstrap, client_id="t", transactional_id=f"{names.scope}-t", timeout_ms=20_000)
    producer = KafkaProducer(**config)
    producer.init_transactions()
    for text, commit in ((b"aborted", False), (b"committed", True)):
        producer.begin_transaction()
        producer.send(topic, text, partition=0).get(10)
        producer.commit_transaction() if commit else producer.abort_transaction()
    producer.begin_transaction()
    producer.send(topic, b"open", partition=0).get(10)

    place = KafkaPartition(topic, 0)
    consumer = KafkaConsumer(**consumer_config(broker.bootstrap, client_id="t"))
    consumer.assign([place])
    consumer.seek(place, 0)
    seen = _poll_for(consumer, seconds=2)
    consumer.close()
    producer.abort_transaction()
    producer.close()

    assert seen == [b"committed"]


def test_a_reader_never_jumps(topic: str, broker: EmbeddedBroker) -> None:
    """Without a position, or with one that the log does not hold, it raises: a jump would skip or double records."""
    place = KafkaPartition(topic, 0)
    consumer = KafkaConsumer(**consumer_config(broker.bootstrap, client_id="t"))
    consumer.assign([place])
    with pytest.raises(KafkaError):
        consumer.poll(timeout_ms=3_000)
    consumer.seek(place, 4_711)
    with pytest.raises(OffsetOutOfRangeError):
        _poll_for(consumer, seconds=6)
    consumer.close()


def _poll_for(consumer: KafkaConsumer, *, seconds: float) -> list[bytes | None]:
    deadline = time.monotonic() + seconds
    found: list[bytes | None] = []
    while time.monotonic() < deadline:
        found += [record.value for records in consumer.poll(timeout_ms=200).values() for record in records]
    return found


def test_a_reader_commits_nothing_by_itself(topic: str, broker: EmbeddedBroker, names: Names, admin: Admin) -> None:
    """Positions are committed where their effects are."""
    group = f"{names.scope}-readers"
    producer = KafkaProducer(**producer_config(broker.bootstrap, client_id="t"))
    producer.send(topic, b"x", partition=0).get(10)
    producer.close()
    place = KafkaPartition(topic, 0)
    consumer = KafkaConsumer(**consumer_config(broker.bootstrap, client_id="t", group=group))
    consumer.assign([place])
    consumer.seek(place, 0)
    assert [record.value for record in consumer.poll(timeout_ms=5_000)[place]] == [b"x"]
    consumer.close()

    foreign = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    (found,) = foreign.committed([TopicPartition(topic, 0)], timeout=10)
    foreign.close()
    assert found.offset < 0


def test_a_producer_makes_no_topic(broker: EmbeddedBroker, names: Names, admin: Admin) -> None:
    """A deleted topic must stay gone."""
    producer = KafkaProducer(**producer_config(broker.bootstrap, client_id="t") | {"max_block_ms": 1_500})
    with pytest.raises(KafkaError):
        producer.send(f"{names.prefix}nowhere", b"x").get(5)
    producer.close()

    assert admin.topic_ids([f"{names.prefix}nowhere"]) == {}
