"""A share topic that is too narrow, shorter or gone is that consumer's trouble alone, partition by partition, and costs no good record."""

import time
from collections import Counter

import pytest
from town import FLIGHT, Town, encode, flight, terms, wait_until

from hub.broker.topics import TopicSpec, quarantine_topic, share_topic

pytestmark = pytest.mark.broker
DATASET = "transport/flights"


def _rows(schema_id: int, numbers: range, *, partition: int | None = None) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(number % 2 if partition is None else partition, None, encode(schema_id, FLIGHT, flight(number))) for number in numbers]


def _denied(town: Town) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for step in town.usage():
        for entry in step.entries:
            found[entry.agreement_id, step.source_partition] += entry.denied
    return found


def _share(town: Town, partitions: int) -> TopicSpec:
    return share_topic(town.names, consumer=terms("lost").consumer, agreement="lost", partitions=partitions, replication=1)


@pytest.mark.parametrize("width", [2_000, 78])
def test_a_share_topic_narrower_than_a_batch_gets_every_record_that_fits(town: Town, width: int) -> None:
    """Batches are cut, down to records alone; one that fits in none waits for its topic to be widened.

    78 bytes are a transaction's marker: below that a broker cannot end the transactions of a topic at all.
    """
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    town.agree(terms("lost"))
    town.agree(terms("well"))
    town.admin.alter_topic_config(town.agreements["lost"].share_topic, {"max.message.bytes": str(width)})
    town.produce(topic, _rows(schema_id, range(4_000)))

    with town.worker():
        if width == 78:
            wait_until(lambda: "HUB-LANE-014" in town.log(), within_s=30, what=town.log)
            assert not sum(_denied(town).values())
            town.admin.alter_topic_config(town.agreements["lost"].share_topic, {"max.message.bytes": "1048588"})
        town.wait_done(topic)

    assert not sum(_denied(town).values())
    assert sorted(row["id"] for row in town.shared("lost")) == list(range(4_000))
    assert sorted(row["id"] for row in town.shared("well")) == list(range(4_000))


def test_a_share_topic_that_was_deleted_and_is_made_again_costs_no_record(town: Town) -> None:
    """Serve makes it again within seconds; meanwhile the lanes wait, say so, and deny nothing."""
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    town.agree(terms("lost"))
    town.agree(terms("well"))
    with town.worker():
        town.produce(topic, _rows(schema_id, range(10)))
        town.wait_done(topic)
        town.admin.delete_topics([_share(town, 2).name])
        town.produce(topic, _rows(schema_id, range(10, 20)))
        wait_until(lambda: "HUB-LANE-014" in town.log(), within_s=30, what=town.log)
        town.admin.create_topics([_share(town, 2)])
        town.wait_done(topic)

    assert not sum(_denied(town).values())
    assert sorted(row["id"] for row in town.shared("lost")) == list(range(10, 20))
    assert sorted(row["id"] for row in town.shared("well")) == list(range(20))


def test_a_share_topic_with_fewer_partitions_costs_its_consumer_the_missing_one_alone(town: Town) -> None:
    """The records of the partition that is there were denied with it before."""
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    town.agree(terms("lost"))
    town.agree(terms("well"))
    town.admin.delete_topics([_share(town, 2).name])
    town.admin.create_topics([_share(town, 1)])
    with town.worker(CITYHUB_EXCHANGE__UNDELIVERABLE_WAIT_S="3", CITYHUB_EXCHANGE__UNDELIVERABLE_RETRY_S="1"):
        for first in range(0, 200, 20):
            town.produce(topic, _rows(schema_id, range(first, first + 20)))
            time.sleep(0.3)
        town.wait_done(topic)
        assert "records denied, since their share partition takes nothing" in town.log()
        town.admin.add_partitions(_share(town, 2).name, 2)
        wait_until(lambda: "share partition is there again" in town.log(), within_s=30, what=town.log)
        town.produce(topic, _rows(schema_id, range(200, 210)))
        town.wait_done(topic)

    assert _denied(town) == {("lost", 0): 0, ("lost", 1): 100, ("well", 0): 0, ("well", 1): 0}
    assert sorted(row["id"] for row in town.shared("lost")) == [*range(0, 200, 2), *range(200, 210)]
    assert len(town.shared("well")) == 210


def test_a_quarantine_topic_that_is_made_again_lets_its_lanes_go_on_by_themselves(town: Town) -> None:
    """A bad record costs itself only, also where its topic was deleted: serve makes it again, and nobody restarts anything."""
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    town.agree(terms("well"))
    with town.worker():
        town.produce(topic, _rows(schema_id, range(4)))
        town.wait_done(topic)
        town.admin.delete_topics([town.names.quarantine(DATASET)])
        town.produce(topic, [(0, None, b"bad"), *_rows(schema_id, range(4, 54), partition=0)])
        wait_until(lambda: "HUB-LANE-008" in town.log(), within_s=30, what=town.log)
        town.admin.create_topics([quarantine_topic(town.names, DATASET, partitions=2, replication=1)])
        town.wait_done(topic)

    assert len(town.shared("well")) == 54
    assert [record.value for record in town.quarantined(DATASET)] == [b"bad"]
