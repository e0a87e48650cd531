"""When a topic is gone, and when a client has only not heard of it: the first denies an agreement, the second must not."""

import asyncio
import uuid
from typing import Any

import pytest
from lane_rig import NO_ANSWER, TinyKafka

from hub.broker import requests, transactions
from hub.broker.batches import build_batches
from hub.broker.requests import LATEST, Coordinators, Lost, list_offset
from hub.broker.transactions import Output, Transaction, Undeliverable
from hub.model.names import TopicPartition

PLACE = TopicPartition("share.parking-office.parking", 0)
NOBODY = -1
SOON_S = 0.2


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (requests, transactions):
        monkeypatch.setattr(module, "UNKNOWN_TOPIC_FOR_S", SOON_S)


def _kafka(*, there: bool = True) -> Any:
    return TinyKafka(append_ms=1, topics={PLACE.topic: uuid.uuid4()} if there else {})


async def _produce(kafka: Any, *, partition: int = 0, timeout_ms: int = 1_000) -> int:
    transaction = Transaction(kafka, Coordinators(kafka), transactional_id="t", group="g", timeout_ms=timeout_ms)
    await transaction.initialise()
    (batch,) = build_batches([(None, b"value")], bytes_max=10_000, timestamp_ms=1)
    return await transaction.produce([Output(PLACE.topic, partition, batch.data, batch.records)])


@pytest.mark.parametrize("partition", [0, 9])
def test_what_a_broker_says_is_not_there_is_undeliverable(partition: int) -> None:
    """A deleted topic, or one with fewer partitions than its source, must not hold the other agreements."""
    kafka = _kafka(there=partition != 0)
    kafka.leaders[PLACE.topic] = None
    with pytest.raises(Undeliverable):
        asyncio.run(_produce(kafka, partition=partition))


def test_a_topic_that_the_client_has_not_heard_of_is_waited_for() -> None:
    """A busy broker may take seconds to tell a new client about a topic: its records are delivered then, not denied."""
    kafka = _kafka()
    kafka.leaders[PLACE.topic] = None
    kafka.answers["Metadata"] = [NO_ANSWER] * 10_000

    async def heard_later() -> int:
        producing = asyncio.create_task(_produce(kafka, timeout_ms=20_000))
        await asyncio.sleep(3 * SOON_S)
        assert not producing.done()
        del kafka.leaders[PLACE.topic]
        return await producing

    assert asyncio.run(heard_later()) == 1


def test_a_partition_without_a_leader_is_not_gone() -> None:
    """Its broker is away and comes back: the step is lost and decided again, and no agreement is denied for it."""
    kafka = _kafka()
    kafka.leaders[PLACE.topic] = NOBODY
    with pytest.raises(Lost):
        asyncio.run(_produce(kafka))


@pytest.mark.parametrize("leader", [None, NOBODY])
def test_an_offset_is_none_only_where_a_broker_says_so(leader: int | None) -> None:
    """None stops a partition, or all of hub.plan, until a person acts: a broker that is away must not come to that."""
    kafka = _kafka()
    kafka.leaders[PLACE.topic] = leader

    async def found_later() -> int | None:
        asking = asyncio.create_task(list_offset(kafka, PLACE, at=LATEST))
        await asyncio.sleep(3 * SOON_S)
        assert not asking.done()
        del kafka.leaders[PLACE.topic]
        return await asking

    assert asyncio.run(found_later()) == kafka.end


def test_the_offset_of_a_topic_that_is_gone_is_none() -> None:
    """The control: a broker says so."""
    kafka = _kafka(there=False)
    kafka.leaders[PLACE.topic] = None
    assert asyncio.run(list_offset(kafka, PLACE, at=LATEST)) is None
