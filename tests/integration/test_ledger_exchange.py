"""The ledger behind real workers: what they deliver is what is billed, while they work and after they were killed."""

from pathlib import Path

import pytest
from hall import until
from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPartition
from sqlalchemy import Engine
from town import FLIGHT, Town, encode, flight, terms
from usage_losses import take

from hub.broker.topics import usage_topic
from hub.catalogue.topics import remember_topic
from hub.ledger.accept_loss import show_loss
from hub.ledger.chain import ChainId
from hub.ledger.check import check
from hub.ledger.collector import Collector
from hub.ledger.periods import Period
from hub.ledger.preview import preview
from hub.ledger.resume import resume
from hub.ledger.show import ChainStand, Use, show_chains, show_use
from hub.ledger.signed_terms import SignedTerms
from hub.ledger.tariffs import released_tariffs
from hub.model.agreement import Condition
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.store.engine import open_engine, writing
from hub.store.upgrade import upgrade

pytestmark = pytest.mark.broker
RECORDS = 4_000


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Give an empty store."""
    found = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    upgrade(found)
    return found


def publish(town: Town, engine: Engine) -> str:
    """Publish the dataset and keep its topic's id in SQL, as serve does; returns the topic."""
    topic = town.publish("transport/flights")
    topic_id = str(town.admin.topic_ids([topic])[topic])
    with writing(engine) as connection:
        remember_topic(connection, scope=town.names.scope, dataset="transport/flights", topic=topic, topic_id=topic_id)
    return topic


def test_what_workers_deliver_is_what_the_ledger_bills(town: Town, engine: Engine) -> None:
    """Checks between a kill of the worker and the next one's start, then the sums, the bill and the three counts."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = publish(town, engine)
    paying = {"charge_basis": "guided_price"}
    agreed = [terms("rows", rows=Condition("origin", "eq", "JFK"), **paying), terms("shadowed")]
    for one in agreed:
        town.agree(one)
    known = {(one.id, one.version): one for one in agreed}
    collector = Collector(town.admin.bootstrap, town.names, engine)
    reports = []
    for part in range(2):
        first = part * RECORDS // 2
        numbers = range(first, first + RECORDS // 2)
        town.produce(topic, [(number % 2, None, encode(schema_id, FLIGHT, flight(number))) for number in numbers])
        worker = town.start_worker()
        if part < 1:
            town.wait_done(topic)
            reports.append(check(town.admin.bootstrap, names=town.names, engine=engine, signed=SignedTerms(known, ())))
            worker.kill()
            worker.wait()
    town.wait_done(topic)
    collected = collector.collect_once()

    last = check(town.admin.bootstrap, names=town.names, engine=engine, signed=SignedTerms(known, ()))

    assert [report.differences for report in reports] == [()]
    assert (last.differences, last.metered, last.posted, last.delivered) == ((), 5334, 5334, 5334)
    assert (collected.held, collected.refused) == (0, 0)
    rows = [row for row in show_use(engine, scope=town.names.scope).rows if isinstance(row, Use)]
    assert [(row.agreement_id, row.delivered, row.filtered) for row in rows] == [("rows", 1334, 2666), ("shadowed", 4000, 0)]
    assert all(row.offsets == RECORDS + row.gaps for row in rows)


def test_a_bill_of_real_use_is_rated_and_repeats_itself(town: Town, engine: Engine) -> None:
    """From records to fen; asked again, the same."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = publish(town, engine)
    one = terms("rows", charge_basis="guided_price")
    town.agree(one)
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(number))) for number in range(500)])
    with town.worker():
        town.wait_done(topic)
    Collector(town.admin.bootstrap, town.names, engine).collect_once()
    hours = [row.hour for row in show_use(engine, scope=town.names.scope, by_hour=True).rows if isinstance(row, Use) and row.hour]
    period = Period.parse(hours[0][:7])

    found = [
        preview(
            engine,
            scope=town.names.scope,
            consumer=one.consumer,
            period=period,
            terms={(one.id, one.version): one},
            tariffs=released_tariffs(),
        )
        for _ in range(2)
    ]

    assert (found[0].bill.lines[0].delivered, found[0].bill.charge_fen) == (500, 150)
    assert found[0] == found[1]


@pytest.mark.parametrize("how", ["cut", "made again"])
def test_the_exchange_goes_on_over_a_loss_of_hub_usage_and_the_ledger_follows(town: Town, engine: Engine, how: str) -> None:
    """Real lanes, whose steps were lost unread: accepted, resumed, and the three counts agree but for what is named."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = publish(town, engine)
    agreed = terms("shadowed")
    town.agree(agreed)
    bootstrap, names, signed = town.admin.bootstrap, town.names, SignedTerms({(agreed.id, agreed.version): agreed}, ())
    collector = Collector(bootstrap, names, engine)
    town.start_worker()

    def deliver(first: int) -> None:
        town.produce(topic, [(number % 2, None, encode(schema_id, FLIGHT, flight(number))) for number in range(first, first + 200)])
        town.wait_done(topic)

    deliver(0)
    collector.collect_once()
    deliver(200)
    lose_usage(town, how)
    deliver(400)
    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        collector.collect_once()

    take(show_loss(engine, admin=town.admin, names=names).loss, engine=engine, admin=town.admin, names=names)

    assert collector.collect_once().held == 2
    for row in show_chains(engine, scope=names.scope, held_only=True).rows:
        assert isinstance(row, ChainStand)
        assert resume(ChainId.parse(row.chain), bootstrap=bootstrap, names=names, engine=engine).held_at is None
    deliver(600)
    collector.collect_once()
    report = check(bootstrap, names=names, engine=engine, signed=signed)
    assert (report.differences, report.posted, report.delivered, report.unmetered) == ((), 600, 800, 200)
    assert sum(one.next_offset - one.first_offset for one in report.unmetered_offsets) >= 200


def lose_usage(town: Town, how: str) -> None:
    """Lose all that hub.usage holds."""
    usage = town.names.usage
    if how == "cut":
        ends = town.admin.end_offsets([TopicPartition(usage, number) for number in range(town.admin.partitions(usage))])
        client = KafkaAdminClient(bootstrap_servers=town.admin.bootstrap)
        client.delete_records({KafkaPartition(*place): end for place, end in ends.items() if end})
        client.close()
        return
    before = town.admin.topic_ids([usage])
    town.admin.delete_topics([usage])
    until(lambda: usage not in town.admin.topic_ids([usage]))
    town.admin.create_topics([usage_topic(town.names, replication=1)])
    until(lambda: town.admin.topic_ids([usage]) not in ({}, before))
