"""The collector on real Kafka and SQL: every committed step once, whatever is killed, whoever else collects."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hall import until
from ledger_steps import entry
from ledger_town import AGREEMENT, LedgerTown
from sqlalchemy import select, update

from hub.broker.admin import Admin
from hub.broker.topics import usage_topic
from hub.ledger.chain import COUNT_MAX, ChainId
from hub.ledger.collector import Collector
from hub.ledger.resume import resume
from hub.ledger.show import show_chains
from hub.ledger.tables import USAGE_CHAINS, USAGE_HOURS, USAGE_POSITIONS
from hub.ledger.tally import SUM_MAX
from hub.model.errors import HubError
from hub.model.names import Names
from hub.store.engine import open_engine

pytestmark = pytest.mark.broker
KILLS = 4
AGAIN = "again"
COLLECT = """
import sys, threading
from hub.ledger.collector import Collector
from hub.model.names import Names
from hub.store.engine import open_engine
bootstrap, scope, prefix, url = sys.argv[1:]
Collector(bootstrap, Names(scope=scope, prefix=prefix), open_engine(url), records_max=3).run(threading.Event())
"""


@pytest.fixture
def ledger(names: Names, admin: Admin, tmp_path: Path) -> Iterator[LedgerTown]:
    """Give hub.usage, share topics and a ledger of the test's own."""
    town = LedgerTown(names=names, admin=admin, folder=tmp_path)
    yield town
    town.close()


def test_committed_steps_are_posted_and_aborted_ones_are_not(ledger: LedgerTown) -> None:
    """An aborted transaction delivered nothing, so it bills nothing."""
    lane = ledger.lane()
    lane.step(5, filtered=2)
    lane.step(100, commit=False)
    lane.step(7)

    found = ledger.collect()

    assert (found.posted, found.refused, found.held) == (2, 0, 0)
    assert ledger.sums() == {"delivered": 12, "steps": 2, "held": 0}


def test_the_position_passes_the_markers_at_the_end(ledger: LedgerTown) -> None:
    """Else the ledger would seem to lag for ever, and collect_once would never come to its end."""
    ledger.lane().step()

    found = ledger.collect()

    assert found.positions == found.until
    assert sum(found.until.values()) == 2


def test_collecting_again_posts_nothing(ledger: LedgerTown) -> None:
    """The position and the sums moved together."""
    ledger.lane().step(5)
    ledger.collect()

    assert ledger.collect().posted == 0
    assert ledger.sums() == {"delivered": 5, "steps": 1, "held": 0}


def test_a_hub_without_usage_has_an_empty_ledger(ledger: LedgerTown) -> None:
    """Nothing to collect is no failure."""
    assert ledger.collect().posted == 0


def test_two_collectors_post_nothing_twice(ledger: LedgerTown) -> None:
    """While lanes go on, two collectors follow the same topic into the same database."""
    stop = threading.Event()
    engines = [open_engine(ledger.url) for _ in range(2)]
    collectors = [Collector(ledger.bootstrap, ledger.names, engine, records_max=2) for engine in engines]
    threads = [threading.Thread(target=collector.run, args=(stop,)) for collector in collectors]
    lanes = [ledger.lane(partition) for partition in range(2)]

    for thread in threads:
        thread.start()
    for number in range(60):
        lanes[number % 2].step(1 + number % 3)
    wait_for_steps(ledger, 60)
    stop.set()
    for thread in threads:
        thread.join(timeout=20)
    for engine in engines:
        engine.dispose()

    assert ledger.sums() == {"delivered": sum(1 + number % 3 for number in range(60)), "steps": 60, "held": 0}


def test_a_collector_killed_anywhere_loses_and_doubles_nothing(ledger: LedgerTown) -> None:
    """Kill -9 at random moments, steps all the while; then one collector is left to finish."""
    lanes = [ledger.lane(partition) for partition in range(2)]
    command = [sys.executable, "-W", "ignore", "-c", COLLECT, ledger.bootstrap, ledger.names.scope, ledger.names.prefix, ledger.url]
    steps = kills = 0
    for kill in range(KILLS):
        victim = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        posted_before, give_up = ledger.sums()["steps"], time.monotonic() + 30
        kill_at = give_up
        while time.monotonic() < kill_at:
            lanes[steps % 2].step(2)
            steps += 1
            time.sleep(0.01)
            if kill_at == give_up and ledger.sums()["steps"] > posted_before:
                kill_at = time.monotonic() + 0.07 * kill
        victim.kill()
        victim.wait()
        kills += kill_at < give_up

    ledger.collect()

    assert kills == KILLS, "a collector was killed before it had posted anything"
    assert ledger.sums() == {"delivered": 2 * steps, "steps": steps, "held": 0}
    assert ledger.check().sound


def test_a_step_that_does_not_continue_holds_its_chain_and_no_other(ledger: LedgerTown) -> None:
    """The chain is held at its usage offset with the reason, the others are billed on."""
    good, bad = ledger.lane(0), ledger.lane(1)
    bad.step(1)
    bad.writer.next_offset += 10
    bad.step(1)
    bad.step(1)
    good.step(5)

    found = ledger.collect()

    assert found.held == 1
    assert ledger.sums() == {"delivered": 6, "steps": 2, "held": 1}
    (row,) = show_chains(ledger.engine, scope=ledger.names.scope, held_only=True).rows
    assert (row.state, row.held_reason, row.step) == ("held", "gap", 1)


def test_a_record_that_is_no_usage_step_costs_itself_only(ledger: LedgerTown) -> None:
    """It is refused and alarmed; the steps behind it in the same partition are posted."""
    lane = ledger.lane()
    step = lane.step(1)
    lane.producer.begin_transaction()
    lane.producer.send(ledger.names.usage, key=step.key, value=b"\0\0\0\0\7garbage")
    lane.producer.send(ledger.names.usage, key=step.key, value=None)
    lane.producer.commit_transaction()
    lane.step(4)

    found = ledger.collect()

    assert (found.posted, found.refused, found.held) == (2, 2, 0)
    assert ledger.check().refused == 2


def test_resume_reads_a_held_chain_again_and_gives_it_back(ledger: LedgerTown) -> None:
    """What was passed over while it was held is posted exactly once, and new steps follow."""
    lane, other = ledger.lane(0), ledger.lane(1)
    lane.step(1)
    ledger.collect()
    chain_id = ChainId(str(ledger.topic_id), 0)
    hold(ledger, chain_id)
    for number in range(40):
        lane.step(2)
        other.step(1)
        if number % 10 == 0:
            ledger.collect()
    ledger.collect()
    assert ledger.sums()["held"] == 1

    found = resume(chain_id, bootstrap=ledger.bootstrap, names=ledger.names, engine=ledger.engine)

    assert (found.posted, found.held_at) == (40, None)
    lane.step(3)
    ledger.collect()
    assert ledger.sums() == {"delivered": 1 + 80 + 3 + 40, "steps": 82, "held": 0}
    assert ledger.check().sound


def test_resume_while_the_collector_runs_posts_nothing_twice(ledger: LedgerTown) -> None:
    """The chain changes hands at the collector's position, under the lock of that position."""
    lane = ledger.lane(0)
    lane.step(1)
    ledger.collect()
    chain_id = ChainId(str(ledger.topic_id), 0)
    hold(ledger, chain_id)
    stop = threading.Event()
    collector = threading.Thread(target=Collector(ledger.bootstrap, ledger.names, ledger.engine, records_max=2).run, args=(stop,))
    collector.start()
    found = []
    resuming = threading.Thread(
        target=lambda: found.append(resume(chain_id, bootstrap=ledger.bootstrap, names=ledger.names, engine=ledger.engine))
    )

    for number in range(60):
        lane.step(1)
        if number == 20:
            resuming.start()
    resuming.join(timeout=30)
    wait_for_steps(ledger, 61)
    stop.set()
    collector.join(timeout=20)

    assert [one.held_at for one in found] == [None]
    assert ledger.sums() == {"delivered": 61, "steps": 61, "held": 0}


def test_a_chain_that_is_broken_is_held_again_by_resume(ledger: LedgerTown) -> None:
    """Resuming is reading again, not forgiving."""
    lane = ledger.lane()
    lane.step(1)
    lane.writer.head = b"\1" * 32
    lane.step(1)
    ledger.collect()

    found = resume(ChainId(str(ledger.topic_id), 0), bootstrap=ledger.bootstrap, names=ledger.names, engine=ledger.engine)

    assert (found.posted, found.held_reason) == (0, "hash")


def test_a_chain_that_sql_refuses_stays_held_with_its_reason_when_it_is_resumed(ledger: LedgerTown) -> None:
    """What can be posted before is; and the others are not touched."""
    lane, other = ledger.lane(0), ledger.lane(1)
    lane.step(1)
    ledger.collect()
    chain_id = ChainId(str(ledger.topic_id), 0)
    hold(ledger, chain_id)
    most = {"bytes_source": COUNT_MAX, "bytes_delivered": COUNT_MAX}
    lane.step(1)
    ledger.alter(USAGE_HOURS, bytes_source=SUM_MAX - COUNT_MAX, bytes_delivered=SUM_MAX - COUNT_MAX)
    lane.meter_only(lane.writer.next(msgspec.structs.replace(entry(AGREEMENT, delivered=1), **most)))
    lane.step(1)
    other.step(1)
    assert ledger.collect().held == 1

    for posted in (1, 0, 0):
        found = resume(chain_id, bootstrap=ledger.bootstrap, names=ledger.names, engine=ledger.engine)
        assert (found.posted, found.held_reason) == (posted, "sums")

    assert ledger.sums() == {"delivered": 3, "steps": 3, "held": 1}
    other.step(1)
    assert ledger.collect().posted == 1


def test_usage_of_a_partition_or_pass_that_no_lane_has_is_billed_to_nobody(ledger: LedgerTown) -> None:
    """On the real topic's id, for an agreement that exists; the check agrees and names nobody's bill wrong."""
    ledger.lane(0).step(5)
    for strange in (ledger.lane(0), ledger.lane(1)):
        strange.writer.pass_id = AGAIN
        strange.step(7, deliver=0)

    found = ledger.collect()

    assert (found.posted, found.refused, found.held) == (1, 2, 0)
    assert {row.held_reason for row in show_chains(ledger.engine, scope=ledger.names.scope, held_only=True).rows} == {"lane"}
    report = ledger.check()
    assert (report.sound, report.metered, report.refused) == (True, 5, 2)


def test_an_unknown_chain_cannot_be_resumed(ledger: LedgerTown) -> None:
    """With the way to find those there are."""
    with pytest.raises(HubError, match="HUB-LEDGER-005"):
        resume(ChainId(str(ledger.topic_id), 9), bootstrap=ledger.bootstrap, names=ledger.names, engine=ledger.engine)


def test_an_open_transaction_of_somebody_else_is_waited_for_not_skipped(ledger: LedgerTown) -> None:
    """A reader of committed records ends at the first open transaction: that is not the end of the topic."""
    lane, stranger = ledger.lane(0), ledger.lane(1)
    hidden = stranger.writer.next()
    stranger.producer.begin_transaction()
    for partition in range(4):
        stranger.producer.send(ledger.names.usage, value=b"open", partition=partition)
    stranger.producer.flush()
    lane.step(3)

    with pytest.raises(HubError, match="HUB-LEDGER-007"):
        ledger.collect(deadline_s=1)
    stranger.producer.abort_transaction()
    found = ledger.collect()

    assert hidden.step == 1
    assert (found.posted, ledger.sums()["delivered"]) == (1, 3)


def test_a_usage_topic_that_was_made_again_is_not_read(ledger: LedgerTown) -> None:
    """It uses the old offsets again: reading on would leave use out in silence."""
    ledger.lane().step(3)
    ledger.collect()
    ledger.admin.delete_topics([ledger.names.usage])
    make_again(ledger)

    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        ledger.collect()
    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        ledger.check()


def test_a_running_collector_says_what_keeps_it(ledger: LedgerTown) -> None:
    """`/readyz` shows it; the thread lives on."""
    ledger.lane().step(3)
    ledger.collect()
    ledger.admin.delete_topics([ledger.names.usage])
    make_again(ledger)
    stop = threading.Event()
    collector = Collector(ledger.bootstrap, ledger.names, ledger.engine)
    thread = threading.Thread(target=collector.run, args=(stop,))

    thread.start()
    deadline = time.monotonic() + 20
    while "HUB-LEDGER-006" not in (collector.trouble() or "") and time.monotonic() < deadline:
        time.sleep(0.1)
    alive, trouble = thread.is_alive(), collector.trouble()
    stop.set()
    thread.join(timeout=20)

    assert alive
    assert trouble is not None
    assert trouble.startswith("HUB-LEDGER-006")


def hold(ledger: LedgerTown, chain_id: ChainId) -> None:
    """Hold a chain by hand where the collector stands, as a fault of the hub that is mended afterwards would have."""
    table, places = USAGE_CHAINS, USAGE_POSITIONS
    same = (table.c.topic_id == chain_id.topic_id, table.c.source_partition == chain_id.partition)
    with ledger.engine.begin() as connection:
        partition = connection.execute(select(table.c.usage_partition).where(*same)).scalar_one()
        place = connection.execute(select(places.c.next_offset).where(places.c.usage_partition == partition)).scalar_one()
        connection.execute(update(table).where(*same).values(held_at=place, held_reason="conservation"))


def wait_for_steps(ledger: LedgerTown, steps: int) -> None:
    """Wait until the ledger has ``steps`` steps, 30 s at most."""
    deadline = time.monotonic() + 30
    while ledger.sums()["steps"] < steps and time.monotonic() < deadline:
        time.sleep(0.1)


def make_again(ledger: LedgerTown) -> None:
    """Create hub.usage anew, once the broker has deleted it."""
    deadline = time.monotonic() + 20
    while ledger.names.usage in ledger.admin.topic_ids([ledger.names.usage]) and time.monotonic() < deadline:
        time.sleep(0.1)
    ledger.admin.create_topics([usage_topic(ledger.names, replication=1)])


def test_usage_of_a_topic_that_no_dataset_has_is_refused_and_the_counts_still_agree(ledger: LedgerTown) -> None:
    """A stranger's steps are told and billed to nobody; the check is no poorer for them."""
    lane = ledger.lane()
    lane.step(5)
    stranger = ledger.lane(partition=1)
    stranger.writer.topic_id = uuid.uuid4()
    stranger.step(7, deliver=0)
    stranger.step(8, deliver=0)

    found = ledger.collect()

    assert (found.posted, found.refused, found.held) == (1, 2, 0)
    assert ledger.sums()["delivered"] == 5
    report = ledger.check()
    assert (report.sound, report.metered, report.refused) == (True, 5, 2)


def test_usage_of_a_topic_that_was_deleted_or_made_again_still_counts(ledger: LedgerTown) -> None:
    """History is no stranger: the id was a dataset's once, whatever Kafka has under that name by now."""
    lane = ledger.lane()
    lane.step(5)
    ledger.topic_id = uuid.uuid4()
    ledger.lane().step(6)

    assert (ledger.collect().posted, ledger.sums()["delivered"]) == (2, 11)
    assert ledger.check().sound


@pytest.mark.parametrize("how", ["cut", "made again"])
def test_a_collector_says_steadily_that_hub_usage_is_not_what_it_read(ledger: LedgerTown, how: str) -> None:
    """Not ok at one look and HUB-LEDGER-006 at the next."""
    ledger.lane().step(5)
    ledger.collect()
    (partition,) = [number for number, offset in ledger.collect().positions.items() if offset]
    if how == "cut":
        ledger.lane(partition=1).meter_only(ledger.lane().writer.next(entry(delivered=1)))
        ledger.alter(USAGE_POSITIONS, next_offset=0)
        ledger.forget(ledger.names.usage, partition, before=1)
    else:
        ledger.admin.delete_topics([ledger.names.usage])
        ledger.admin.create_topics([usage_topic(ledger.names, replication=1)])
    collector, stop = Collector(ledger.bootstrap, ledger.names, ledger.engine), threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    try:
        until(lambda: "HUB-LEDGER-006" in (collector.trouble() or ""))
        looks = []
        for _ in range(60):
            looks.append(collector.trouble())
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
    assert {look and look.split()[0] for look in looks} == {"HUB-LEDGER-006"}


def test_a_check_of_a_cut_hub_usage_names_what_is_gone_and_the_bill_stays(ledger: LedgerTown) -> None:
    """Not a list of chains that break where the log was cut: what was posted is posted, the collector goes on, the rest is told."""
    lane = ledger.lane()
    lane.step(5)
    lane.step(6)
    (partition,) = [number for number, offset in ledger.collect().positions.items() if offset]
    assert ledger.check().sound
    ledger.forget(ledger.names.usage, partition, before=2)
    lane.step(7)

    assert (ledger.collect().posted, ledger.sums()["delivered"]) == (1, 18)
    with pytest.raises(HubError) as raised:
        ledger.check()

    assert raised.value.code == "HUB-LEDGER-006"
    assert f"{ledger.names.usage}-{partition}" in raised.value.message
    assert "offsets below 2" in raised.value.message
