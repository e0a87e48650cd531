"""Topics that somebody deleted, narrowed or set otherwise are as the hub needs them again, and nothing that they hold is touched."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hall import DATASET, ENTRY, Hall, hall_settings
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition

from hub.agreements.desk import OpenAct
from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.broker.topics import TopicSpec
from hub.cli.checks import Status, run_check
from hub.exchange.adopt import adopt
from hub.model.names import Names, TopicPartition
from hub.store.acts import Act

SHARE = {"consumer": "parking-office", "agreement": "parking-vehicles"}


@pytest.fixture
def hall(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Hall]:
    """Lead a hub with one dataset and one live agreement."""
    built = Hall(hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path))
    built.open_dataset()
    built.sign()
    yield built
    built.close()


def _state(admin: Admin, topic: str, *keys: str) -> tuple[int, dict[str, str]]:
    spec = TopicSpec(name=topic, partitions=0, replication=1, config=dict.fromkeys(keys, ""))
    found = admin.topic_states([spec])[topic]
    return found.partitions, dict(found.config)


def _told(hall: Hall) -> dict[str, tuple[str, bool]]:
    return {flaw.topic: (flaw.what, flaw.mended) for flaw in hall.hub.upkeep.look()}


def test_a_hub_whose_topics_are_as_they_were_made_has_nothing_to_mend(hall: Hall) -> None:
    """The control of all that follows: the comparison finds nothing where nothing is amiss."""
    assert hall.hub.upkeep.mend() == ()
    assert run_check("topics", hall.hub.settings).status is Status.OK


def test_share_quarantine_and_usage_topics_that_were_deleted_are_made_again_and_doctor_tells_them_before(hall: Hall, admin: Admin) -> None:
    """One consumer's lost topic, or a lost quarantine, must not wait for a person, a new version or a restart."""
    lost = [hall.names.share(**SHARE), hall.names.quarantine(DATASET), hall.names.usage]
    admin.delete_topics(lost)

    assert _told(hall) == dict.fromkeys(lost, ("gone", True))
    assert run_check("topics", hall.hub.settings).status is Status.FAILED
    hall.hub.upkeep.mend()

    assert [_state(admin, topic)[0] for topic in lost] == [2, 2, 4]
    assert _told(hall) == {}


def test_a_share_topic_made_again_too_narrow_gets_its_partitions_and_keeps_its_records(hall: Hall, admin: Admin) -> None:
    """What stands in the partition that was there is the consumer's."""
    share = hall.names.share(**SHARE)
    admin.delete_topics([share])
    admin.create_topics([TopicSpec(name=share, partitions=1, replication=1, config={"message.timestamp.type": "LogAppendTime"})])
    producer = KafkaProducer(bootstrap_servers=admin.bootstrap)
    producer.send(share, b"kept").get(10)
    producer.close()

    hall.hub.upkeep.mend()

    assert _state(admin, share)[0] == 2
    assert admin.end_offsets([TopicPartition(share, 0)]) == {TopicPartition(share, 0): 1}


def test_settings_under_which_records_are_refused_or_go_too_early_are_set_back(hall: Hall, admin: Admin) -> None:
    """A department's topic of an earlier hub keeps time by the publisher's clock, and a narrow topic refuses what a lane writes."""
    dept, share, usage = hall.names.dept(DATASET), hall.names.share(**SHARE), hall.names.usage
    admin.alter_topic_config(dept, {"message.timestamp.type": "CreateTime"})
    admin.alter_topic_config(usage, {"cleanup.policy": "compact,delete", "retention.bytes": "1000000"})
    admin.alter_topic_config(share, {"max.message.bytes": "1000", "cleanup.policy": "compact"})

    hall.hub.upkeep.mend()

    assert _state(admin, dept, "message.timestamp.type")[1] == {"message.timestamp.type": "LogAppendTime"}
    assert _state(admin, usage, "cleanup.policy", "retention.bytes")[1] == {"cleanup.policy": "delete", "retention.bytes": "-1"}
    assert _state(admin, share, "max.message.bytes", "cleanup.policy")[1] == {"max.message.bytes": "1048588", "cleanup.policy": "delete"}


def test_a_record_of_last_month_is_kept_from_the_day_it_was_published(hall: Hall, admin: Admin) -> None:
    """By its own time it would be older than the retention, and gone within minutes: acknowledged, and read by nobody."""
    now_ms = int(time.time() * 1000)
    producer = KafkaProducer(bootstrap_servers=admin.bootstrap)
    told = producer.send(hall.names.dept(DATASET), b"old", timestamp_ms=now_ms - 31 * 24 * 3_600_000).get(10)
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=admin.bootstrap)
    place = KafkaPartition(told.topic, told.partition)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    (record,) = next(records for _ in range(20) if (records := consumer.poll(timeout_ms=1_000).get(place)))
    consumer.close()

    assert record.timestamp > now_ms - 3_600_000


def test_a_wider_topic_is_as_well_and_an_operators_retention_is_told_and_left(hall: Hall, admin: Admin) -> None:
    """Setting a longer retention back would delete records."""
    share = hall.names.share(**SHARE)
    admin.alter_topic_config(share, {"max.message.bytes": "5000000", "retention.ms": "-1"})

    hall.hub.upkeep.mend()

    assert _told(hall) == {share: ("retention.ms", False)}
    assert _state(admin, share, "retention.ms")[1] == {"retention.ms": "-1"}


def test_a_departments_topic_that_is_gone_is_told_and_never_made_again(hall: Hall, admin: Admin) -> None:
    """Its offsets would be those of other records: a person decides."""
    dept = hall.names.dept(DATASET)
    admin.delete_topics([dept])

    hall.hub.upkeep.mend()

    assert _told(hall) == {dept: ("gone", False)}
    assert admin.topic_ids([dept]) == {}


def test_a_hub_plan_that_was_deleted_is_made_again_and_holds_everything_again(hall: Hall, admin: Admin) -> None:
    """Workers that start meanwhile find all that is allowed, without a restart of serve."""
    admin.delete_topics([hall.names.plan])

    hall.hub.upkeep.mend()
    hall.hub.upkeep.mend()
    hall.keeper.repair()

    assert {at.key for at in hall.log()} >= {b"agreement/parking-vehicles", f"dataset/{DATASET}".encode(), b"keys/1"}


def test_an_adoption_that_a_killed_serve_left_open_gets_its_outcome(hall: Hall, admin: Admin) -> None:
    """The position is right; the act stayed `intended` for ever. One that took no effect is told as failed."""
    lane = TopicPartition(hall.names.dept(DATASET), 0)
    producer = KafkaProducer(bootstrap_servers=admin.bootstrap)
    for _ in range(3):
        producer.send(lane.topic, b"record", partition=0)
    producer.flush()
    producer.close()
    for at in (2, 3):
        opened = OpenAct(Act(verb="adopt.position", object_type="lane", object_id=str(lane), object_version=at), hall.hub.officer)
        with hall.hub.engine.begin() as connection:
            hall.hub.control.desk.intend(connection, opened)
    adopt(lane, at=2, admin=admin, gate=hall.hub.connections.gate, names=hall.names, agreements=[("parking-vehicles", 1)])

    hall.keeper.repair()

    assert [row[2] for row in hall.acts() if row[0] == "adopt.position"] == ["intended", "intended", "done", "failed"]


def test_a_publish_that_an_older_version_left_half_done_is_finished(hall: Hall, admin: Admin) -> None:
    """That version made a department's topic by the publishers' clocks: what serve sets back by itself refuses nobody."""
    other = DATASET + "-more"
    entry = ENTRY.replace(DATASET, other)
    topic = hall.names.dept(other)
    admin.create_topics([TopicSpec(name=topic, partitions=2, replication=1, config={"message.timestamp.type": "CreateTime"})])
    wanted = {"retention.ms": str(7 * 24 * 3600 * 1000)}
    admin.alter_topic_config(topic, wanted)
    hall.open_dataset(entry=entry)
    assert _state(admin, topic, "message.timestamp.type")[1] == {"message.timestamp.type": "LogAppendTime"}
