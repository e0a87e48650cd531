"""Administration of a real cluster: what exists, what differs, what is open, and what a restart does to a connection."""

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.structs import OffsetAndMetadata

from hub.broker.admin import Admin
from hub.broker.clients import producer_config
from hub.broker.embedded import EmbeddedBroker
from hub.broker.topics import TopicSpec, dept_topic, plan_topic, quarantine_topic, share_topic, usage_topic
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition


def _all_topics(names: Names) -> list[TopicSpec]:
    return [
        dept_topic(names, "transport/flights", partitions=4, replication=1),
        share_topic(names, consumer="airport", agreement="flights-airport", partitions=4, replication=1),
        quarantine_topic(names, "transport/flights", partitions=4, replication=1),
        plan_topic(names, replication=1),
        usage_topic(names, replication=1),
    ]


@pytest.fixture
def topic(names: Names, admin: Admin) -> str:
    """Make a topic of two partitions."""
    spec = dept_topic(names, "a/b", partitions=2, replication=1)
    admin.create_topics([spec])
    return spec.name


@pytest.fixture
def transaction(broker: EmbeddedBroker, names: Names) -> Iterator[Producer]:
    """Begin a transaction of a foreign client."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"{names.scope}-foreign"})
    producer.init_transactions(10)
    producer.begin_transaction()
    yield producer
    producer.flush(5)


def _eventually(question: object, answer: object) -> None:
    assert callable(question)
    deadline = time.monotonic() + 10
    while question() != answer and time.monotonic() < deadline:
        time.sleep(0.02)
    assert question() == answer


def test_the_hubs_topics_are_made_as_they_are_described_and_again_is_no_error(names: Names, admin: Admin, broker: EmbeddedBroker) -> None:
    """Looked at by a foreign client; ``publish`` may be done again after a crash in its middle."""
    specs = _all_topics(names)

    admin.create_topics(specs)
    admin.create_topics(specs)

    shown = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics
    assert {spec.name: len(shown[spec.name].partitions) for spec in specs} == {spec.name: spec.partitions for spec in specs}
    assert all(broker.leader >= 0 for spec in specs for broker in shown[spec.name].partitions.values())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"partitions": 5}, "number of partitions"),
        ({"config": {"retention.ms": "1"}}, "retention.ms"),
        ({"config": {"message.timestamp.type": "CreateTime"}}, "message.timestamp.type"),
        ({"config": {"max.message.bytes": "2000000"}}, "max.message.bytes"),
    ],
)
def test_a_topic_that_differs_is_refused_by_what_differs(change: dict[str, object], word: str, names: Names, admin: Admin) -> None:
    """A share topic without append time would carry source timestamps: taking any topic of that name is no way."""
    wanted = dept_topic(names, "a/b", partitions=2, replication=1)
    admin.create_topics([wanted])
    fields = {"name": wanted.name, "partitions": wanted.partitions, "replication": 1, "config": dict(wanted.config)}

    with pytest.raises(HubError) as caught:
        admin.create_topics([TopicSpec(**(fields | change))])  # type: ignore[arg-type]

    assert caught.value.code == "HUB-BROKER-008"
    assert word in caught.value.message


def test_two_who_make_one_topic_at_once_both_succeed(names: Names, broker: EmbeddedBroker) -> None:
    """Two serves that start together."""
    spec = plan_topic(names, replication=1)
    errors: list[BaseException] = []

    def make() -> None:
        try:
            with Admin(broker.bootstrap) as own:
                start.wait()
                own.create_topics([spec])
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    start = threading.Barrier(3)
    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


def test_what_kafka_refuses_names_topic_and_reason(names: Names, admin: Admin) -> None:
    """Replication 3 on one broker is the classic."""
    with pytest.raises(HubError) as caught:
        admin.create_topics([plan_topic(names, replication=3)])

    assert caught.value.code == "HUB-BROKER-010"
    assert f"`{names.plan}`" in caught.value.message
    assert "ReplicationFactor" in caught.value.message


def test_a_topic_made_again_under_its_name_has_another_id(topic: str, admin: Admin, broker: EmbeddedBroker) -> None:
    """Positions hold for an id: by name and offset alone a lane would go on in another topic."""
    before = admin.topic_ids([topic, "absent"])
    admin.delete_topics([topic])
    gone = admin.topic_ids([topic])
    foreign = AdminClient({"bootstrap.servers": broker.bootstrap})
    foreign.create_topics([NewTopic(topic, 2, 1)])[topic].result(10)
    _eventually(lambda: set(admin.topic_ids([topic])), {topic})

    assert set(before) == {topic}
    assert gone == {}
    assert isinstance(before[topic], uuid.UUID)
    assert before[topic] != admin.topic_ids([topic])[topic]


def test_what_is_not_there_is_told_as_such(topic: str, admin: Admin) -> None:
    """Absent partitions are left out of offsets; whoever needs one gets a coded error."""
    here, not_here, nowhere = TopicPartition(topic, 1), TopicPartition(topic, 2), TopicPartition(f"{topic}.x", 0)

    found = admin.end_offsets([here, not_here, nowhere])

    assert found == {here: 0}
    for refused in (
        lambda: found[nowhere],
        lambda: admin.partitions(nowhere.topic),
        lambda: admin.delete_topics([nowhere.topic]),
        lambda: admin.alter_topic_config(nowhere.topic, {"retention.ms": "1"}),
    ):
        with pytest.raises(HubError) as caught:
            refused()
        assert caught.value.code == "HUB-BROKER-009"
        assert f"`{nowhere.topic}" in caught.value.message
    assert admin.topic_ids([]) == {}
    assert admin.end_offsets([]) == {}
    assert admin.committed("nobody", []) == {}
    admin.delete_topics([])


def test_an_open_transaction_is_seen_and_parts_the_two_ends_of_a_log(topic: str, admin: Admin, transaction: Producer, names: Names) -> None:
    """The fault tests prove by this list that a kill came inside a transaction."""
    place = TopicPartition(topic, 0)
    transaction.produce(topic, b"x", partition=0)
    transaction.flush(10)

    during = [row for row in admin.open_transactions() if row.transactional_id == f"{names.scope}-foreign"]
    assert [row.state for row in during] == ["Ongoing"]
    assert admin.end_offsets([place])[place] == 1
    assert admin.end_offsets([place], committed=True)[place] == 0

    transaction.commit_transaction(10)
    _eventually(lambda: [row for row in admin.open_transactions() if row.transactional_id == f"{names.scope}-foreign"], [])
    _eventually(lambda: admin.end_offsets([place], committed=True)[place], 2)
    assert admin.begin_offsets([place]) == {place: 0}


def test_committed_offsets_are_read_as_they_stand_with_metadata(topic: str, admin: Admin, names: Names) -> None:
    """Law 6 answers from them at once: an open transaction must neither hide the committed offset nor be waited for."""
    group, lanes = names.exchange_group, [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    place = KafkaPartition(topic, 0)
    assert admin.committed(group, lanes) == {}
    producer = KafkaProducer(**producer_config(admin.bootstrap, client_id="t", transactional_id=f"{names.scope}-t"))
    producer.init_transactions()
    producer.begin_transaction()
    producer.send_offsets_to_transaction({place: OffsetAndMetadata(7, "1;first", -1)}, group)
    producer.commit_transaction()
    _eventually(lambda: admin.committed(group, lanes), {lanes[0]: (7, "1;first")})

    producer.begin_transaction()
    producer.send_offsets_to_transaction({place: OffsetAndMetadata(9, "1;second", -1)}, group)
    began = time.monotonic()
    assert admin.committed(group, lanes) == {lanes[0]: (7, "1;first")}
    assert time.monotonic() - began < 1
    producer.abort_transaction()
    producer.close()


def test_a_topics_configuration_is_altered_key_by_key(topic: str, admin: Admin, names: Names) -> None:
    """The rest stays; what Kafka does not take is refused, not swallowed."""
    admin.alter_topic_config(topic, {"max.message.bytes": "2000000"})
    admin.create_topics([dept_topic(names, "a/b", partitions=2, replication=1)])

    for config in ({"retention.ms": "soon"}, {"retention.mss": "1"}):
        with pytest.raises(HubError) as caught:
            admin.alter_topic_config(topic, config)
        assert caught.value.code == "HUB-BROKER-010"
        assert "soon" not in caught.value.message


def test_a_connection_survives_a_killed_broker_and_tells_of_one_that_stays_away(tmp_path: Path, names: Names) -> None:
    """``serve`` keeps one connection for years; calls that meet the restart wait for it."""
    with EmbeddedBroker(folder=tmp_path / "broker", heap_mb=256) as broker, Admin(broker.bootstrap) as admin:
        admin.create_topics([usage_topic(names, replication=1)])
        place = TopicPartition(names.usage, 3)
        admin.committed(names.exchange_group, [place])
        answers: list[object] = []

        def ask() -> None:
            answers.extend([admin.partitions(names.usage), admin.committed(names.exchange_group, [place]), admin.end_offsets([place])])

        broker.kill()
        asking = threading.Thread(target=ask)
        asking.start()
        broker.start()
        asking.join()
        assert answers == [4, {}, {place: 0}]

        with Admin(broker.bootstrap, ask_within_s=1) as impatient:
            broker.stop()
            began = time.monotonic()
            with pytest.raises(HubError) as caught:
                impatient.partitions(names.usage)
        assert caught.value.code == "HUB-BROKER-001"
        assert time.monotonic() - began < 15
