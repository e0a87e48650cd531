"""A department's topic that was given more partitions than its dataset has: nothing of the new ones is delivered, and all are fenced."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hall import DATASET, Hall, hall_settings
from kafka.admin import KafkaAdminClient
from town import FLIGHT, Town, encode, flight, terms, wait_until

from hub.broker.embedded import EmbeddedBroker
from hub.broker.requests import Coordinators, open_client
from hub.broker.transactions import Fenced, Transaction
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import ZERO_HASH, Position

pytestmark = pytest.mark.broker


def widen(bootstrap: str, topic: str, count: int) -> None:
    """Give a topic more partitions, as an operator does who knows Kafka and not the hub."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    client.create_partitions({topic: count})
    client.close()


@pytest.fixture
def hall(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Hall]:
    """Give a hub with a signed agreement on a dataset of two partitions, whose topic has four."""
    built = Hall(hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state"))
    built.open_dataset()
    built.sign()
    widen(broker.bootstrap, built.names.dept(DATASET), 4)
    wait_until(lambda: built.hub.admin.partitions(built.names.dept(DATASET)) == 4, within_s=20)
    yield built
    built.close()


def test_a_withdrawal_fences_also_the_lanes_of_partitions_that_the_dataset_does_not_have(hall: Hall) -> None:
    """A worker that stands in an open step of one of them must not commit it after the answer."""
    lane = TopicPartition(hall.names.dept(DATASET), 2)
    position = Position(
        offset=0, topic_id=hall.hub.admin.topic_ids([lane.topic])[lane.topic], step=0, plan_offset=0, plan_from=0, head=ZERO_HASH
    )
    hall.hub.connections.gate.open({lane: position}, names=hall.names)

    async def scenario() -> Any:
        client = await open_client(hall.hub.settings.bootstrap, client_id="old-worker")
        try:
            worker = Transaction(
                client,
                Coordinators(client),
                transactional_id=hall.names.transactional_id(lane),
                group=hall.names.exchange_group,
                timeout_ms=10_000,
            )
            await worker.initialise()
            await worker.commit_offset(lane, 5, position.metadata)
            change = await asyncio.to_thread(hall.hub.control.agreements.suspend, "parking-vehicles", actor=hall.hub.officer)
            with pytest.raises(Fenced):
                await worker.end(commit=True)
        finally:
            await client.close()
        return change

    change = asyncio.run(scenario())
    assert [(found.partition, found.source_offset) for found in change.partitions] == [(0, 0), (1, 0), (2, 0), (3, None)]


def test_a_lane_beyond_its_dataset_is_told_and_cannot_be_adopted(hall: Hall) -> None:
    """Adoption would only make it a lane that the share topics have no partition for."""
    rows = hall.hub.lanes()
    assert [row.code for row in rows] == ["HUB-LANE-016", "HUB-LANE-016", "HUB-LANE-012", "HUB-LANE-012"]
    for dry_run in (True, False):
        with pytest.raises(HubError, match="HUB-LANE-012"):
            hall.hub.adopt(TopicPartition(hall.names.dept(DATASET), 2), at=0, dry_run=dry_run)


def test_a_lane_beyond_its_dataset_takes_no_step_though_it_has_a_position(town: Town) -> None:
    """Nothing was agreed for it: it stops under a code of its own, and the others go on."""
    dataset = "transport/flights"
    schema_id = town.schema(dataset, FLIGHT)
    topic = town.publish(dataset)
    town.agree(terms("all"))
    widen(town.admin.bootstrap, topic, 3)
    widen(town.admin.bootstrap, town.names.share(consumer="all-office", agreement="all"), 3)
    wait_until(lambda: town.admin.partitions(topic) == 3, within_s=20)
    topic_id = town.admin.topic_ids([topic])[topic]
    lane = TopicPartition(topic, 2)
    town.gate.open({lane: Position(offset=0, topic_id=topic_id, step=0, plan_offset=-1, plan_from=0, head=ZERO_HASH)}, names=town.names)
    town.produce(topic, [(number % 3, None, encode(schema_id, FLIGHT, flight(number))) for number in range(30)])
    with town.worker():
        wait_until(lambda: "HUB-LANE-012" in town.log(), within_s=60, what=town.log)
        wait_until(lambda: [town.positions(topic)[number][0] for number in (0, 1)] == [10, 10], within_s=60, what=town.log)
    assert town.positions(topic, partitions=3)[2][0] == 0
    assert sorted(row["id"] for row in town.shared("all", partitions=3)) == [number for number in range(30) if number % 3 < 2]
