"""What an accepted loss of hub.usage does not forgive, on real Kafka, and what cannot be accepted."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hall import until
from ledger_town import AGREEMENT, LedgerTown, agreement
from sqlalchemy import update
from usage_losses import accepted, count, extra, hold, lose, lost_unread, resumed, take, told, town_with_positions

from hub.broker.admin import Admin
from hub.ledger.accept_loss import show_loss
from hub.ledger.tables import DELIVERIES_UNMETERED, USAGE_BRIDGES, USAGE_LOSSES, USAGE_POSITIONS
from hub.model.errors import HubError
from hub.model.names import Names
from hub.store.tables import acts

pytestmark = pytest.mark.broker
ACCEPT = """
import sys
sys.path.insert(0, sys.argv[1])
from usage_losses import take
from hub.broker.admin import Admin
from hub.model.names import Names
from hub.store.engine import open_engine
_, _, bootstrap, scope, prefix, url, loss = sys.argv
take(loss, engine=open_engine(url), admin=Admin(bootstrap, client_id="accept"), names=Names(scope=scope, prefix=prefix))
"""


@pytest.fixture
def ledger(names: Names, admin: Admin, tmp_path: Path) -> Iterator[LedgerTown]:
    """Give a ledger, and lanes that have positions."""
    with town_with_positions(names, admin, tmp_path) as town:
        yield town


def test_a_bridge_is_crossed_once_and_only_by_missing_steps(ledger: LedgerTown) -> None:
    """Steps that go missing later, and a step that somebody else wrote, hold the chain for good."""
    lane, _ = lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    resumed(ledger)
    assert told(ledger.check()) == []

    lane.writer.step += 1
    lane.writer.next_offset += 6
    lane.step(1)
    ledger.collect()

    assert resumed(ledger).held_reason == "gap"
    assert count(ledger, USAGE_BRIDGES) == 1
    assert [found.between for found in ledger.check().differences] == ["chain"]


@pytest.mark.parametrize("reason", ["hash", "step", "overlap", "gap"])
def test_a_forged_step_behind_a_loss_is_not_forgiven(ledger: LedgerTown, reason: str) -> None:
    """An acceptance forgives what the loss explains: nothing that contradicts what was posted."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    assert ledger.check().sound
    lose(ledger, "made again")
    accepted(ledger)
    if reason == "hash":
        lane.writer.head = b"\1" * 32
    elif reason == "step":
        lane.writer.step += 4
    elif reason == "overlap":
        lane.writer.next_offset -= 2
        lane.writer.step += 2
    else:
        lane.writer.next_offset += 3
    lane.step(1)
    ledger.collect()

    assert resumed(ledger).held_reason == reason
    assert count(ledger, USAGE_BRIDGES) == 0
    assert "chain" in {found.between for found in ledger.check().differences}


def test_steps_that_go_missing_where_nothing_was_lost_unread_are_not_bridged(ledger: LedgerTown) -> None:
    """What was cut had been posted: a gap behind it has another cause."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    lose(ledger, "cut")
    accepted(ledger)
    lane.writer.step += 1
    lane.writer.next_offset += 6
    lane.step(1)
    ledger.collect()

    assert resumed(ledger).held_reason == "gap"


def test_an_extra_delivery_after_an_acceptance_is_found(ledger: LedgerTown) -> None:
    """On another share partition at once; on the one that lost steps as soon as its count is settled, and never above what was lost."""
    ledger.agree(agreement("weather-use", consumer="weather"))
    _, other = lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    resumed(ledger)
    extra(other, AGREEMENT, partition=1)
    assert [(one.between, one.where) for one in ledger.check().differences] == [("deliveries", f"{ledger.share()}-1")]

    extra(other, AGREEMENT, partition=0)
    extra(other, "weather-use", partition=0)

    for full in (False, True):
        found = {one.where for one in ledger.check(full=full).differences}
        assert found == {f"{ledger.share()}-0", f"{ledger.share()}-1", f"{ledger.share('weather-use')}-0"}


def test_more_deliveries_than_were_lost_are_found_before_anything_is_settled(ledger: LedgerTown) -> None:
    """The bound of what a loss explains: as many as source offsets were lost, not one more."""
    lane, _ = lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    resumed(ledger)
    for _ in range(8):
        extra(lane, AGREEMENT, partition=0)

    assert "deliveries" in {one.between for one in ledger.check().differences}


def test_nothing_lost_is_nothing_to_accept(ledger: LedgerTown) -> None:
    """Not before a loss, and not twice."""
    ledger.lane(0).step(5)
    ledger.collect()
    with pytest.raises(HubError, match="HUB-LEDGER-010"):
        accepted(ledger, "0" * 12)
    lose(ledger, "cut")
    done = accepted(ledger)
    with pytest.raises(HubError, match="HUB-LEDGER-010"):
        accepted(ledger, done.loss)

    assert count(ledger, USAGE_LOSSES) == 1


def test_what_is_accepted_is_what_was_shown(ledger: LedgerTown) -> None:
    """More was lost meanwhile: look again."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    lose(ledger, "cut")
    shown = show_loss(ledger.engine, admin=ledger.admin, names=ledger.names).loss
    lane.step(6)
    lose(ledger, "cut")

    for name in (shown, "f" * 12, None):
        with pytest.raises(HubError, match="HUB-LEDGER-011"):
            take(name, engine=ledger.engine, admin=ledger.admin, names=ledger.names)

    assert count(ledger, USAGE_LOSSES) == 0
    assert accepted(ledger).accepted


def test_a_log_that_lost_its_end_cannot_be_accepted(ledger: LedgerTown) -> None:
    """Its offsets are used again under the same topic: which of them are new, nobody can tell."""
    ledger.lane(0).step(5)
    ledger.collect()
    with ledger.engine.begin() as connection:
        table = USAGE_POSITIONS
        connection.execute(update(table).where(table.c.next_offset > 0).values(next_offset=table.c.next_offset + 9))

    with pytest.raises(HubError, match="HUB-LEDGER-006") as raised:
        accepted(ledger)
    assert "its end was lost" in raised.value.message


def test_a_loss_that_somebody_changed_in_the_database_is_told(ledger: LedgerTown) -> None:
    """What the act covers: the row and all that it keeps."""
    ledger.lane(0).step(5)
    ledger.collect()
    lose(ledger, "cut")
    accepted(ledger)
    assert ledger.check().sound

    ledger.alter(USAGE_LOSSES, position=0)

    assert [found.between for found in ledger.check().differences] == ["loss"]


def test_more_deliveries_without_steps_than_a_loss_took_are_not_believed(ledger: LedgerTown) -> None:
    """Whoever writes to the database cannot widen what was settled: losses and bridges bound it, and they are proven."""
    lane, _ = lost_unread(ledger, "cut")
    accepted(ledger)
    ledger.collect()
    resumed(ledger)
    assert ledger.check().unmetered == 6
    extra(lane, AGREEMENT, partition=0)
    ledger.alter(DELIVERIES_UNMETERED, records=7, room=7)
    ledger.alter(USAGE_BRIDGES, first_offset=10**6)

    for full in (False, True):
        assert {one.between for one in ledger.check(full=full).differences} == {"loss", "deliveries"}


def test_an_acceptance_that_is_killed_has_happened_or_not(ledger: LedgerTown, tmp_path: Path) -> None:
    """Position, chains, loss and act stand in one SQL transaction."""
    lost_unread(ledger, "made again")
    mark, loss = tmp_path / "mark", show_loss(ledger.engine, admin=ledger.admin, names=ledger.names).loss
    command = [sys.executable, "-W", "ignore", "-c", ACCEPT, str(Path(__file__).parent.parent)]
    command += [ledger.bootstrap, ledger.names.scope, ledger.names.prefix, ledger.url, loss]
    paths = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "CITYHUB_FAILPOINT": f"ledger.loss_stored@1=hang:{mark}", "PYTHONPATH": paths}
    victim = subprocess.Popen(command, env=environment)
    until(mark.exists)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()

    assert (count(ledger, USAGE_LOSSES), count(ledger, acts)) == (0, 0)
    with pytest.raises(HubError, match="HUB-LEDGER-006"):
        ledger.collect()
    assert accepted(ledger, loss).accepted
    ledger.collect()
    resumed(ledger)
    assert told(ledger.check()) == []


def test_a_chain_is_not_resumed_from_another_topic(ledger: LedgerTown) -> None:
    """Before the loss is accepted its offsets mean something else."""
    lane = ledger.lane(0)
    lane.step(5)
    ledger.collect()
    hold(ledger, 0)
    lose(ledger, "made again")
    lane.step(6)

    with pytest.raises(HubError, match="HUB-LEDGER-006") as raised:
        resumed(ledger)
    assert "accept-loss" in raised.value.fix
    accepted(ledger)
    ledger.collect()
    assert (resumed(ledger).posted, ledger.sums()["delivered"]) == (1, 11)
