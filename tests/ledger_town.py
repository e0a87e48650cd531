"""Lanes for tests of the ledger: they deliver and meter in one Kafka transaction, as workers do, without any worker."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from ledger_steps import Writer, entry
from sqlalchemy import Engine, func, select, update

from hub.broker.admin import Admin
from hub.broker.clients import producer_config
from hub.broker.topics import share_topic, usage_topic
from hub.catalogue.topics import remember_topic
from hub.ledger.check import Report, check
from hub.ledger.collector import Collected, Collector
from hub.ledger.rating import Terms
from hub.ledger.signed_terms import SignedTerms
from hub.ledger.tables import USAGE_CHAINS, USAGE_HOURS
from hub.model.agreement import Agreement, Grant
from hub.model.names import Names
from hub.model.records import encode_usage_step
from hub.model.usage import UsageStep
from hub.store.engine import open_engine, writing
from hub.store.upgrade import upgrade

AGREEMENT = "airline-delays"
CONSUMER = "airline"


def agreement(agreement_id: str = AGREEMENT, *, consumer: str = CONSUMER, version: int = 1, tariff: str = "per-record@1") -> Agreement:
    """Return terms of a paying consumer."""
    return Agreement(
        id=agreement_id,
        version=version,
        provider="transport",
        consumer=consumer,
        dataset="transport/flights",
        purpose="operations",
        legal_basis="local",
        valid_until_ms=2_000_000_000_000,
        tariff=tariff,
        fields=(Grant("carrier"),),
        payer=consumer,
        charge_basis="guided_price",
    )


class LedgerTown:
    """hub.usage, share topics and a ledger of a test's own."""

    def __init__(self, *, names: Names, admin: Admin, folder: Path, partitions: int = 2) -> None:
        """Make topics and tables; one agreement is there."""
        self.names, self.admin, self.bootstrap, self.partitions = names, admin, admin.bootstrap, partitions
        self.url = f"sqlite:///{folder / 'hub.sqlite3'}"
        self.engine: Engine = open_engine(self.url)
        upgrade(self.engine)
        admin.create_topics([usage_topic(names, replication=1)])
        self.topic = names.dept("transport/flights")
        self.topic_id = uuid.uuid4()
        self.terms: dict[tuple[str, int], Agreement] = {}
        self._producers: list[Any] = []
        self.agree(agreement())

    def agree(self, terms: Agreement) -> None:
        """Add terms and their share topic."""
        self.terms[terms.id, terms.version] = terms
        spec = share_topic(self.names, consumer=terms.consumer, agreement=terms.id, partitions=self.partitions, replication=1)
        self.admin.create_topics([spec])

    def lane(self, partition: int = 0) -> "Lane":
        """Return a lane that stands at its beginning."""
        self.know(self.topic_id)
        writer = Writer(partition=partition, topic_id=self.topic_id, topic=self.topic, scope=self.names.scope)
        return Lane(self, writer, self.producer(f"{self.names.exchange_group}-{partition}-{len(self._producers)}"))

    def know(self, topic_id: uuid.UUID) -> None:
        """Let a topic be the dataset's, as publishing it does."""
        with writing(self.engine) as connection:
            remember_topic(connection, scope=self.names.scope, dataset="transport/flights", topic=self.topic, topic_id=str(topic_id))

    def producer(self, transactional_id: str) -> Any:
        """Return a transactional producer, closed at the end of the test."""
        found = KafkaProducer(**producer_config(self.bootstrap, client_id="lane", transactional_id=transactional_id), linger_ms=0)
        found.init_transactions()
        self._producers.append(found)
        return found

    def share(self, agreement_id: str = AGREEMENT) -> str:
        """Return the share topic of an agreement."""
        (consumer,) = {one.consumer for (name, _), one in self.terms.items() if name == agreement_id}
        return self.names.share(consumer=consumer, agreement=agreement_id)

    def collect(self, *, deadline_s: float = 30) -> Collected:
        """Bring the ledger up to date."""
        return Collector(self.bootstrap, self.names, self.engine).collect_once(deadline_s=deadline_s)

    def check(self, *, full: bool = False, deadline_s: float = 30) -> Report:
        """Check the ledger."""
        terms: Terms = self.terms
        signed = SignedTerms(terms, ())
        return check(self.bootstrap, names=self.names, engine=self.engine, signed=signed, full=full, deadline_s=deadline_s)

    def sums(self) -> dict[str, int]:
        """Return delivered records and steps over all rows of the ledger, and how many chains are held."""
        hours = select(func.sum(USAGE_HOURS.c.delivered), func.sum(USAGE_HOURS.c.steps))
        held = select(func.count()).select_from(USAGE_CHAINS).where(USAGE_CHAINS.c.held_at.is_not(None))
        with self.engine.connect() as connection:
            delivered, steps = connection.execute(hours).one()
            return {"delivered": delivered or 0, "steps": steps or 0, "held": connection.execute(held).scalar_one()}

    def alter(self, table: Any, **values: Any) -> None:
        """Change every row of a ledger table behind the ledger's back."""
        with self.engine.begin() as connection:
            connection.execute(update(table).values(values))

    def forget(self, topic: str, partition: int, *, before: int) -> None:
        """Do what retention does: take records of a partition below an offset."""
        client = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            client.delete_records({KafkaPartition(topic, partition): before})
        finally:
            client.close()

    def close(self) -> None:
        """Close producers and store."""
        for producer in self._producers:
            producer.close(timeout=2)
        self.engine.dispose()


class Lane:
    """Delivers and meters one source partition, one transaction a step."""

    def __init__(self, town: LedgerTown, writer: Writer, producer: Any) -> None:
        """Begin where ``writer`` stands."""
        self.town, self.writer, self.producer = town, writer, producer

    def step(
        self, delivered: int = 1, *, filtered: int = 0, commit: bool = True, deliver: int | None = None, version: int = 1
    ) -> UsageStep:
        """Make a step that delivers under the one agreement; ``deliver`` is what is really delivered where that differs."""
        return self.step_of({AGREEMENT: delivered}, filtered=filtered, commit=commit, deliver=deliver, version=version)

    def step_of(
        self, delivered: Mapping[str, int], *, filtered: int = 0, commit: bool = True, deliver: int | None = None, version: int = 1
    ) -> UsageStep:
        """Make a step that delivers under several agreements, each of the same records."""
        before = (self.writer.step, self.writer.next_offset, self.writer.head)
        step = self.writer.next(*(entry(name, version, delivered=count, filtered=filtered) for name, count in delivered.items()))
        self.producer.begin_transaction()
        for name, count in delivered.items():
            for number in range(count if deliver is None else deliver):
                self.producer.send(self.town.share(name), value=b"%d" % number, partition=self.writer.partition)
        self.send(step)
        self.producer.flush()
        if commit:
            self.producer.commit_transaction()
        else:
            self.producer.abort_transaction()
            self.writer.step, self.writer.next_offset, self.writer.head = before
        return step

    def meter_only(self, step: UsageStep) -> None:
        """Commit a usage step alone."""
        self.producer.begin_transaction()
        self.send(step)
        self.producer.commit_transaction()

    def send(self, step: UsageStep) -> None:
        """Send a usage step inside the open transaction."""
        self.producer.send(self.town.names.usage, key=step.key, value=encode_usage_step(step))
