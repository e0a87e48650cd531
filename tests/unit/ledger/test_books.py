"""The books: a stretch is posted whole or not at all, once, and SQL itself refuses sums that do not conserve."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from ledger_steps import SCOPE, TOPIC, TOPIC_ID, Log, Writer, entry, log_of
from sqlalchemy import Engine, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from hub.catalogue.tables import datasets
from hub.catalogue.topics import remember_topic
from hub.ledger.books import (
    REFUSED,
    Overtaken,
    load_chain,
    open_positions,
    post,
    post_singly,
    read_chains,
    read_hours,
    read_positions,
    read_refused,
)
from hub.ledger.chain import COUNT_MAX, Break, ChainId, Held, way_on
from hub.ledger.known_topics import known_topics
from hub.ledger.tables import USAGE_CHAINS, USAGE_HOURS, USAGE_POSITIONS
from hub.ledger.tally import Stretch, Tally
from hub.model.dataset import DatasetEntry
from hub.model.errors import HubError
from hub.model.names import LIVE
from hub.model.usage import UsageStep
from hub.store.engine import open_engine, reading, writing
from hub.store.upgrade import upgrade

USAGE_ID = "usage-topic"
STOP = {
    "sqlite": ("CREATE TRIGGER stop BEFORE UPDATE ON usage_hour BEGIN SELECT RAISE(ABORT, 'disk full'); END",),
    "postgresql": (
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full'; END $$",
        "CREATE TRIGGER stop BEFORE UPDATE ON usage_hour FOR EACH ROW EXECUTE FUNCTION stop()",
    ),
}
AGAIN = "again"
CHAIN = ChainId(str(TOPIC_ID), 0)


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """Give a ledger whose positions are open."""
    found = open_engine(store_url)
    upgrade(found)
    open_positions(found, scope=SCOPE, usage_topic_id=USAGE_ID, partitions=range(4))
    know(found)
    yield found
    found.dispose()


def know(engine: Engine) -> None:
    """Let the topic of the steps be a dataset's."""
    with writing(engine) as connection:
        remember_topic(connection, scope=SCOPE, dataset="transport/flights", topic=TOPIC, topic_id=str(TOPIC_ID))


def stretch(log: Log, first: int, end: int | None = None) -> Stretch:
    """Return part of a log."""
    last = len(log.records) if end is None else end
    return Stretch(USAGE_ID, log.partition, first, last, log.records[first:last])


def state(engine: Engine) -> tuple[object, ...]:
    """Return everything that the ledger holds."""
    with reading(engine) as connection:
        hours = list(read_hours(connection, scope=SCOPE))
        return (
            read_positions(connection, scope=SCOPE),
            read_chains(connection, scope=SCOPE),
            hours,
            read_refused(connection, scope=SCOPE),
        )


def test_posting_in_stretches_is_posting_at_once(engine: Engine, tmp_path: Path) -> None:
    """SQL sums what a tally sums, whatever the cuts."""
    writer = Writer()
    log = log_of([writer.next(entry("a", delivered=number, filtered=1), entry("b", denied=number + 1)) for number in range(9)])
    other = open_engine(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    upgrade(other)
    open_positions(other, scope=SCOPE, usage_topic_id=USAGE_ID, partitions=range(4))
    know(other)
    whole = Tally(scope=SCOPE)
    whole.take(log.records)

    post(engine, stretch(log, 0), scope=SCOPE)
    for first, end in ((0, 1), (1, 4), (4, 4), (4, 9)):
        post(other, stretch(log, first, end), scope=SCOPE)

    assert state(engine) == state(other)
    with reading(engine) as connection:
        assert dict(read_hours(connection, scope=SCOPE)) == whole.hours
        assert load_chain(connection, CHAIN, scope=SCOPE) == whole.chain(CHAIN)
    other.dispose()


def test_a_stretch_that_was_posted_is_overtaken(engine: Engine) -> None:
    """The compare-and-set of the position: a second collector changes nothing."""
    log = log_of([Writer().next(entry(delivered=1))])
    post(engine, stretch(log, 0), scope=SCOPE)
    before = state(engine)

    with pytest.raises(Overtaken):
        post(engine, stretch(log, 0), scope=SCOPE)

    assert state(engine) == before


def test_a_stretch_that_begins_behind_the_position_is_overtaken(engine: Engine) -> None:
    """Nothing may be left out either."""
    writer = Writer()
    log = log_of([writer.next(entry(delivered=1)) for _ in range(3)])

    with pytest.raises(Overtaken):
        post(engine, stretch(log, 1), scope=SCOPE)


def test_a_stretch_of_another_usage_topic_is_overtaken(engine: Engine) -> None:
    """Offsets are used again, topic ids are not."""
    log = log_of([Writer().next(entry(delivered=1))])

    with pytest.raises(Overtaken):
        post(engine, stretch(log, 0)._replace(usage_topic_id="another"), scope=SCOPE)
    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        open_positions(engine, scope=SCOPE, usage_topic_id="another", partitions=range(4))


def test_what_fails_in_the_middle_leaves_nothing_behind(engine: Engine) -> None:
    """Position, chain and sums are one SQL transaction: here the sums fail, last."""
    writer = Writer()
    log = log_of([writer.next(entry(delivered=1)) for _ in range(2)])
    post(engine, stretch(log, 0, 1), scope=SCOPE)
    with engine.begin() as connection:
        for statement in STOP[engine.dialect.name]:
            connection.exec_driver_sql(statement)
    before = state(engine)

    with pytest.raises(DBAPIError, match="disk full"):
        post(engine, stretch(log, 1), scope=SCOPE)

    assert state(engine) == before


def test_a_chain_that_somebody_moved_is_not_moved_over(engine: Engine) -> None:
    """Compare-and-set on next offset and head: what SQL holds decides, and a chain that was altered is held."""
    writer = Writer()
    log = log_of([writer.next(entry(delivered=1)) for _ in range(2)])
    post(engine, stretch(log, 0, 1), scope=SCOPE)
    with engine.begin() as connection:
        connection.execute(update(USAGE_CHAINS).values(next_offset=0))

    tally = post(engine, stretch(log, 1), scope=SCOPE)

    assert (tally.posted, tally.held) == (0, [CHAIN])


def test_sql_refuses_sums_that_do_not_conserve(engine: Engine) -> None:
    """Law 3 stands in the schema too, apart from the code that counts."""
    post(engine, stretch(log_of([Writer().next(entry(delivered=5, filtered=3))]), 0), scope=SCOPE)

    for change in ({"delivered": 6}, {"delivered": 9, "filtered": -1}, {"offsets": 9}, {"steps": 0}):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(update(USAGE_HOURS).values(change))


def test_scopes_do_not_see_each_other(engine: Engine) -> None:
    """Several hubs may share a database."""
    other = "110000"
    open_positions(engine, scope=other, usage_topic_id="their-topic", partitions=range(4))
    post(engine, stretch(log_of([Writer().next(entry(delivered=5))]), 0), scope=SCOPE)

    with reading(engine) as connection:
        assert list(read_hours(connection, scope=other)) == []
        assert read_positions(connection, scope=other)[0].next_offset == 0


def test_an_hour_that_goes_on_in_a_topic_that_was_made_again_keeps_its_last_offset(engine: Engine) -> None:
    """Offsets are used again, lower ones: SQL takes the greater, as a tally does."""
    writer = Writer()
    steps = [writer.next(entry("a", delivered=1)) for _ in range(4)]
    post(engine, stretch(log_of(steps[:3]), 0), scope=SCOPE)
    with engine.begin() as connection:
        connection.execute(update(USAGE_POSITIONS).values(usage_topic_id="another", next_offset=0))

    tally = post(engine, stretch(log_of(steps[3:]), 0)._replace(usage_topic_id="another"), scope=SCOPE)

    with reading(engine) as connection:
        ((_, sums),) = read_hours(connection, scope=SCOPE)
    assert (tally.posted, sums.steps, sums.first_usage_offset, sums.last_usage_offset, sums.last_step) == (1, 4, 0, 2, 4)


def heavy(writer: Writer, steps: int) -> list[UsageStep]:
    """Return steps that each claim as many bytes as a step may."""
    huge = msgspec.structs.replace(entry("a", delivered=1), bytes_delivered=COUNT_MAX)
    return [writer.next(huge) for _ in range(steps)]


@pytest.mark.parametrize("size", [2_000, 300], ids=["in one stretch", "in several"])
def test_sums_beyond_sqls_integers_hold_their_chain_and_no_other(engine: Engine, size: int) -> None:
    """Only somebody's forged steps get there; the collector goes on with everybody else's."""
    other = Writer(partition=1)
    log = log_of([*heavy(Writer(), 1_100), other.next(entry("b", delivered=3))])
    for first in range(0, len(log.records), size):
        part = stretch(log, first, min(first + size, len(log.records)))
        try:
            post(engine, part, scope=SCOPE)
        except REFUSED:
            post_singly(engine, part, scope=SCOPE)

    with reading(engine) as connection:
        chains = {row.id.partition: row.chain for row in read_chains(connection, scope=SCOPE)}
        hours = dict(read_hours(connection, scope=SCOPE))
    held = chains[0].held
    assert held is not None
    assert (held.reason, held.usage_offset) == (Break.SUMS, 1_023)
    assert chains[1].held is None
    assert sum(sums.delivered for key, sums in hours.items() if key.agreement_id == "b") == 3
    assert max(sums.bytes_delivered for sums in hours.values()) == 1_023 * COUNT_MAX


def test_a_topic_that_no_dataset_has_is_posted_to_nobody(engine: Engine) -> None:
    """Whoever can write to hub.usage could bill anybody; ids that were posted before, and those that a dataset has, are known."""
    strange = Writer(topic_id=uuid.uuid4())
    log = log_of([Writer().next(entry("a", delivered=5)), strange.next(entry("a", delivered=7)), strange.next(entry("a", delivered=9))])

    tally = post(engine, stretch(log, 0), scope=SCOPE)

    with reading(engine) as connection:
        (sums,) = (sums for _, sums in read_hours(connection, scope=SCOPE))
        held = {row.id.topic_id: row.chain.held for row in read_chains(connection, scope=SCOPE)}
    assert (sums.delivered, tally.posted, tally.strange) == (5, 1, 2)
    assert held[str(TOPIC_ID)] is None
    assert held[str(strange.topic_id)] == Held(1, Break.TOPIC)


def test_a_partition_or_a_pass_that_no_lane_has_is_posted_to_nobody(engine: Engine) -> None:
    """On a real topic id too; a topic that was widened has no more lanes than its dataset's entry says."""
    own = Writer(partition=1)
    forged = (Writer(partition=2), Writer(partition=1, pass_id=AGAIN), Writer(partition=-1))
    open_dataset(engine, partitions=2)
    log = log_of([own.next(entry("a", delivered=5)), *(writer.next(entry("a", delivered=7)) for writer in forged)])

    tally = post(engine, stretch(log, 0), scope=SCOPE)

    with reading(engine) as connection:
        (sums,) = (sums for _, sums in read_hours(connection, scope=SCOPE))
        held = {(row.id.partition, row.id.pass_id): row.chain.held for row in read_chains(connection, scope=SCOPE)}
    assert (sums.delivered, tally.posted, tally.strange) == (5, 1, 3)
    assert held[1, LIVE] is None
    assert [held[place] for place in ((2, LIVE), (1, AGAIN), (-1, LIVE))] == [Held(offset, Break.LANE) for offset in (1, 2, 3)]
    with reading(engine) as connection:
        assert known_topics(connection, scope=SCOPE) == {str(TOPIC_ID): 2}


def test_every_reason_to_hold_a_chain_has_a_way_on_that_is_true() -> None:
    """Resuming is told where it may help alone."""
    told = {reason: way_on(CHAIN, reason) for reason in Break}
    assert "Resuming does not help" in told[Break.SUMS]
    assert "ledger resume" not in told[Break.SUMS] + told[Break.LANE]
    assert f"ledger resume {CHAIN} --dataset" in told[Break.TOPIC]
    assert f"ledger resume {CHAIN}" in told[Break.HASH]


def open_dataset(engine: Engine, *, partitions: int) -> None:
    """Let the steps' dataset stand in the catalogue."""
    made = DatasetEntry(
        dataset="transport/flights", title="t", accountable_person="p", sharing="conditional", schema="a/b/v1.avsc", partitions=partitions
    )
    with writing(engine) as connection:
        row = {"scope": SCOPE, "dataset": made.dataset, "entry": msgspec.json.encode(made).decode(), "state": "published", "since_ms": 1}
        connection.execute(datasets.insert().values(row))
