"""Losing hub.usage in tests of the ledger, and accepting that as serve does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hall import until
from ledger_town import Lane, LedgerTown
from sqlalchemy import Connection, Engine, Table, func, select, update

from hub.broker.admin import Admin
from hub.broker.topics import dept_topic, usage_topic
from hub.ledger.accept_loss import AcceptedLoss, accept_loss, show_loss
from hub.ledger.chain import ChainId
from hub.ledger.check import Report
from hub.ledger.resume import Resumed, resume
from hub.ledger.tables import USAGE_CHAINS, USAGE_POSITIONS
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position
from hub.store.acts import Act, Actor, new_ulid, record_act
from hub.store.engine import reading

OFFICER = Actor(person_id="officer", org_id="city")


@contextmanager
def town_with_positions(names: Names, admin: Admin, folder: Path) -> Iterator[LedgerTown]:
    """Give hub.usage, share topics, a ledger, and a source topic whose lanes have positions."""
    town = LedgerTown(names=names, admin=admin, folder=folder)
    admin.create_topics([dept_topic(names, dataset="transport/flights", partitions=town.partitions, replication=1)])
    town.topic_id = admin.topic_ids([town.topic])[town.topic]
    yield town
    town.close()


def take(loss: str | None, *, engine: Engine, admin: Admin, names: Names) -> AcceptedLoss:
    """Accept a loss as serve does, with an act."""
    correlation_id = new_ulid()

    def record(connection: Connection, told: str) -> None:
        act = Act(verb="accept.loss", object_type="usage", object_id=str(loss), after_hash=told)
        record_act(connection, act, actor=OFFICER, scope=names.scope, outcome="done", correlation_id=correlation_id)

    return accept_loss(loss, engine=engine, admin=admin, names=names, correlation_id=correlation_id, record=record)


def accepted(ledger: LedgerTown, loss: str | None = None) -> AcceptedLoss:
    """Accept what is lost now, or ``loss``."""
    shown = loss or show_loss(ledger.engine, admin=ledger.admin, names=ledger.names).loss
    return take(shown, engine=ledger.engine, admin=ledger.admin, names=ledger.names)


def lose(ledger: LedgerTown, how: str) -> None:
    """Lose all that hub.usage holds now."""
    if how == "cut":
        ends = ledger.admin.end_offsets([TopicPartition(ledger.names.usage, number) for number in range(4)])
        for place, end in ends.items():
            if end:
                ledger.forget(ledger.names.usage, place.partition, before=end)
        return
    before = ledger.admin.topic_ids([ledger.names.usage])
    ledger.admin.delete_topics([ledger.names.usage])
    until(lambda: ledger.names.usage not in ledger.admin.topic_ids([ledger.names.usage]))
    ledger.admin.create_topics([usage_topic(ledger.names, replication=1)])
    until(lambda: ledger.admin.topic_ids([ledger.names.usage]) not in ({}, before))


def stand(ledger: LedgerTown, lane: Lane) -> None:
    """Commit where a lane stands, as its worker does with each step."""
    at = TopicPartition(ledger.topic, lane.writer.partition)
    position = Position(lane.writer.next_offset, ledger.topic_id, lane.writer.step, 3, 0, lane.writer.head)
    ledger.admin.commit(ledger.names.exchange_group, at, offset=position.offset, metadata=position.metadata)


def chain(ledger: LedgerTown, partition: int = 0) -> ChainId:
    """Return the chain of a source partition."""
    return ChainId(str(ledger.topic_id), partition)


def resumed(ledger: LedgerTown, partition: int = 0) -> Resumed:
    """Resume a chain."""
    return resume(chain(ledger, partition), bootstrap=ledger.bootstrap, names=ledger.names, engine=ledger.engine)


def told(report: Report) -> list[tuple[str, str, str]]:
    """Return what a report's differences say, without their places."""
    return [(found.between, found.expected, found.found) for found in report.differences]


def extra(lane: Lane, agreement_id: str, *, partition: int) -> None:
    """Deliver one record that nobody meters."""
    lane.producer.begin_transaction()
    lane.producer.send(lane.town.share(agreement_id), value=b"extra", partition=partition)
    lane.producer.commit_transaction()


def hold(ledger: LedgerTown, partition: int) -> None:
    """Hold a chain where the collector stands, as a fault of the hub that is mended afterwards would have."""
    table, places = USAGE_CHAINS, USAGE_POSITIONS
    same = (table.c.topic_id == str(ledger.topic_id), table.c.source_partition == partition)
    with ledger.engine.begin() as connection:
        number = connection.scalar(select(table.c.usage_partition).where(*same))
        place = connection.scalar(select(places.c.next_offset).where(places.c.usage_partition == number))
        connection.execute(update(table).where(*same).values(held_at=place, held_reason="conservation"))


def count(ledger: LedgerTown, table: Table) -> int:
    """Return how many rows a table has."""
    with reading(ledger.engine) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def lost_of_a_quiet_lane(ledger: LedgerTown) -> Lane:
    """Post 5 of a lane, lose 6 unread; the lane stands behind them and goes on with nothing."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    lane.step(6)
    stand(ledger, lane)
    lose(ledger, "cut")
    return lane


def lost_unread(ledger: LedgerTown, how: str) -> tuple[Lane, Lane]:
    """Post 5 of one lane and 4 of another, lose 6 of the first unread, go on with 7 and 3."""
    lane, other = ledger.lane(0), ledger.lane(1)
    lane.step(5)
    other.step(4)
    ledger.collect()
    lane.step(6)
    lose(ledger, how)
    lane.step(7)
    other.step(3)
    stand(ledger, lane)
    stand(ledger, other)
    return lane, other
