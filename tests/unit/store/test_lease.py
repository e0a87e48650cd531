"""One writer: a lease that is lost says so, and whoever lost it writes nothing from the moment on at which another began."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import Postgres
from sqlalchemy import Engine

from hub.model.errors import HubError
from hub.store import lease as leases
from hub.store.engine import fence_of, open_engine, reading, writing
from hub.store.lease import AdvisoryLease, FileLease, Lease, begin_term, serve_lease
from hub.store.upgrade import upgrade

HOLDER = Path(__file__).parents[2] / "lease_holder.py"


class Place:
    """A store and a state folder; each lease of it is of a process of its own, as far as the lease can tell."""

    def __init__(self, url: str, state: Path) -> None:
        """Make the tables."""
        self.url, self.state = url, state
        self.engines: list[Engine] = []
        engine = self.open()
        upgrade(engine)
        with writing(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE written (epoch INTEGER, number INTEGER)")

    def open(self) -> Engine:
        """Open the store as another process does."""
        self.engines.append(open_engine(self.url))
        return self.engines[-1]

    def lease(self, state: Path | None = None) -> Lease:
        """Return a lease that is not taken; another machine has another state folder."""
        return serve_lease(state=state or self.state, url=self.url)


@pytest.fixture
def place(store_url: str, tmp_path: Path) -> Iterator[Place]:
    """Give a place on each kind of store."""
    made = Place(store_url, tmp_path)
    yield made
    for engine in made.engines:
        engine.dispose()


def write(engine: Engine) -> None:
    """Write something."""
    with writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO written VALUES (0, 0)")


def test_one_has_it_at_a_time(place: Place) -> None:
    """And the next one has it as soon as it is given back."""
    first, second = place.lease(), place.lease()
    assert first.take()
    assert first.take(), "it is mine already"
    assert not second.take()
    assert (first.lost(), second.lost()) == (None, None)
    first.release()
    first.release()
    assert second.take()
    second.release()


def test_each_term_has_a_number_of_its_own_and_shuts_the_one_before_out(place: Place) -> None:
    """Whoever led before cannot write, whatever it believes; commands, which never led, can."""
    old, new, command = place.open(), place.open(), place.open()
    assert begin_term(old) == 1
    write(old)
    assert begin_term(new) == 2
    with pytest.raises(HubError, match="its epoch was 1, the database is at 2") as refusal:
        write(old)
    assert refusal.value.code == "HUB-SERVE-005"
    assert fence_of(old).lost.is_set()
    write(new)
    write(command)
    with reading(new) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM written")) == 3
    with reading(old) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM written")) == 3, "it may still look"


def test_a_fence_that_was_shut_lets_nothing_through(place: Place) -> None:
    """As soon as the loss is known, also where nobody has taken over yet."""
    engine = place.open()
    begin_term(engine)
    fence_of(engine).shut("the connection has ended")
    fence_of(engine).shut("a later reason")
    with pytest.raises(HubError, match="no longer leads: the connection has ended"):
        write(engine)


def test_a_term_begins_behind_what_is_being_written(place: Place) -> None:
    """A change of the leader before is whole, and stands before the first of the new one."""
    old, new = place.open(), place.open()
    begin_term(old)
    order: list[str] = []
    inside, may_end = threading.Event(), threading.Event()

    def change() -> None:
        with writing(old) as connection:
            connection.exec_driver_sql("INSERT INTO written VALUES (1, 1)")
            inside.set()
            may_end.wait(20)
            order.append("old")

    def take_over() -> None:
        inside.wait(20)
        begin_term(new)
        order.append("new")

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(change), pool.submit(take_over)]
        inside.wait(20)
        time.sleep(0.3)
        assert order == []
        may_end.set()
        for one in running:
            one.result()
    assert order == ["old", "new"]
    with reading(new) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM written")) == 1


def test_a_lock_file_that_was_taken_away_is_a_lost_lease(tmp_path: Path) -> None:
    """Another process makes it anew, and holds the one of that name."""
    for change in (
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.write_text("")),
        lambda path: path.rename(tmp_path / "away"),
    ):
        first, second = FileLease(tmp_path / "serve.lock"), FileLease(tmp_path / "serve.lock")
        assert first.take()
        assert first.lost() is None
        change(tmp_path / "serve.lock")
        assert "was deleted or replaced" in (first.lost() or "")
        assert second.take()
        assert second.lost() is None
        first.release()
        assert second.lost() is None, "the first gives back what is its own"
        second.release()


def test_a_connection_that_the_server_ends_is_a_lost_lease(postgres: Postgres, tmp_path: Path) -> None:
    """A server that restarts, or an administrator, ends it: the next one leads, and the first cannot write."""
    place = Place(postgres.new_database(), tmp_path)
    old, new = place.open(), place.open()
    (tmp_path / "other").mkdir()
    first, second = place.lease(), place.lease(tmp_path / "other")
    assert first.take()
    assert not second.take(), "from another machine, with another state folder"
    begin_term(old)
    assert postgres.end_connections(sa.make_url(place.url).database or "", like="%pg_try_advisory_lock%") == 1
    assert "has ended" in (first.lost() or "")
    assert second.take()
    begin_term(new)
    with pytest.raises(HubError) as refusal:
        write(old)
    assert refusal.value.code == "HUB-SERVE-005"
    write(new)
    for lease in (first, second):
        lease.release()
    for engine in place.engines:
        engine.dispose()


def test_a_lease_cannot_be_asked_for_where_there_is_no_server(tmp_path: Path) -> None:
    """It is an outage, under its code, and leaves nothing taken."""
    lease = serve_lease(state=tmp_path, url="postgresql+psycopg://hub@127.0.0.1:1/hub")
    with pytest.raises(HubError) as refusal:
        lease.take()
    assert refusal.value.code == "HUB-STORE-001"
    assert FileLease(tmp_path / "serve.lock").take()


def test_leases_of_several_names_and_databases_are_apart(postgres: Postgres) -> None:
    """Two hubs on one server do not keep each other from leading."""
    one, other = postgres.new_database(), postgres.new_database()
    held = [AdvisoryLease(one, "serve"), AdvisoryLease(one, "another"), AdvisoryLease(other, "serve")]
    assert [lease.take() for lease in held] == [True, True, True]
    for lease in held:
        lease.release()


def test_a_leader_that_was_stopped_and_woken_writes_nothing_behind_its_successor(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL ends the silent one's connection; in a state folder somebody took the lock file away. It cannot know, and is refused."""
    silent_ms = 1_500
    monkeypatch.setattr(leases, "SILENT_MS_MAX", silent_ms)
    command = [sys.executable, str(HOLDER), place.url, str(place.state), str(silent_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "leads 1\n"
        while leader.stdout.readline() != "wrote 10\n":
            pass
        leader.send_signal(signal.SIGSTOP)
        (place.state / "serve.lock").unlink()
        engine, lease = place.open(), place.lease()
        deadline = time.monotonic() + 60
        while not lease.take():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert begin_term(engine) == 2
        with reading(engine) as connection:
            before = connection.scalar(sa.text("SELECT count(*) FROM written WHERE epoch = 1"))
        assert before >= 10
        leader.send_signal(signal.SIGCONT)
        said = leader.stdout.read().splitlines()
    assert said[-1] == "ended HUB-SERVE-005"
    write(engine)
    with reading(engine) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM written WHERE epoch = 1")) == before
    assert lease.lost() is None
    lease.release()
