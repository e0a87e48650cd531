"""SQLite under several processes: writers take turns, readers of a snapshot are in nobody's way."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.model.errors import HubError
from hub.settings import REQUESTS_MAX
from hub.store import engine as store_engine
from hub.store.engine import open_engine, reading, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a database with one row."""
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    engine.dispose()
    return tmp_path / "hub.db"


def _write(path: Path) -> None:
    other = sqlite3.connect(path, timeout=0.1, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO t VALUES (2)")
        other.execute("COMMIT")
    finally:
        other.close()


def test_a_snapshot_keeps_no_writer_waiting_and_sees_one_moment(path: Path) -> None:
    """`ledger check` and `bill preview` read for long: a revocation has one second."""
    engine = open_engine(f"sqlite:///{path}")
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 1
        _write(path)
        assert connection.scalar(text("SELECT count(*) FROM t")) == 1
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 2
    engine.dispose()


def test_a_change_holds_the_lock_from_its_beginning(path: Path) -> None:
    """The control: what is read before a write must not be out of date when it is written."""
    engine = open_engine(f"sqlite:///{path}")
    with writing(engine) as connection:
        connection.execute(text("SELECT count(*) FROM t"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            _write(path)
    engine.dispose()


def test_reading_goes_on_while_another_process_holds_the_write_lock(path: Path) -> None:
    """Whoever looks must not wait for whoever writes, nor keep a withdrawal waiting."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    engine = open_engine(f"sqlite:///{path}")
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 1
    other.close()
    engine.dispose()


def test_what_was_opened_for_reading_cannot_write(path: Path) -> None:
    """A write behind a read of the same transaction could be made on what is out of date; the same connection may write later."""
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(HubError, match="HUB-STORE-001"), reading(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (3)"))
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (2)"))
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 2
    engine.dispose()


def test_a_file_that_another_program_holds_is_refused_with_a_code(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An officer reads what is the matter, no name of an exception."""
    monkeypatch.setattr("hub.store.engine.LOCK_WAIT_S", 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(HubError, match="HUB-STORE-001"), writing(engine):
        pass
    other.execute("COMMIT")
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (2)"))
    other.close()
    engine.dispose()


def test_a_withdrawal_writes_before_the_other_writers_of_its_process(path: Path) -> None:
    """SQLite lets a waiting writer sleep longer and longer, whoever comes meanwhile goes first."""
    engine = open_engine(f"sqlite:///{path}")
    order: list[str] = []

    def write(name: str) -> None:
        with writing(engine, urgent=name == "withdrawal"):
            order.append(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("first", "second", "withdrawal")]
    turns = engine.get_execution_options()["cityhub_turns"]
    with writing(engine):
        for number, thread in enumerate(threads, 1):
            thread.start()
            while turns.waiting < number:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join(timeout=10)
    assert order == ["withdrawal", "first", "second"]
    engine.dispose()


def test_a_second_engine_takes_no_lock_from_the_first(path: Path) -> None:
    """POSIX drops a process's locks on a file when it closes any descriptor of it: another process then deletes a log in use."""
    first = open_engine(f"sqlite:///{path}")
    alone = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1], timeout=0.1).execute('PRAGMA journal_mode=DELETE').fetchone()[0])"
    with reading(first) as connection:
        connection.execute(text("SELECT count(*) FROM t"))
        open_engine(f"sqlite:///{path}").dispose()
        refused = subprocess.run([sys.executable, "-c", alone, str(path)], capture_output=True, text=True, check=False)
    assert "locked" in refused.stderr, refused.stdout
    first.dispose()


def test_as_many_threads_as_serve_has_places_and_duties_read_at_the_same_time(tmp_path: Path) -> None:
    """None waits for a connection that another holds, or is told that the hub failed."""
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    threads = REQUESTS_MAX + 8
    all_here = threading.Barrier(threads)

    def look(_: int) -> int:
        with reading(engine) as connection:
            all_here.wait(timeout=60)
            return int(connection.execute(text("SELECT 1")).scalar_one())

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(look, range(threads))) == [1] * threads
    engine.dispose()


def test_a_thread_that_gets_no_connection_is_told_that_the_store_did_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes, and is no failure of the hub's own."""
    monkeypatch.setitem(store_engine._POOL, "pool_size", 1)
    monkeypatch.setitem(store_engine._POOL, "max_overflow", 0)
    monkeypatch.setitem(store_engine._POOL, "pool_timeout", 0.05)
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    for door in (reading, writing):
        with reading(engine), pytest.raises(HubError, match="all connections to it are in use") as refused, door(engine):
            pass
        assert refused.value.code == "HUB-STORE-001"
    engine.dispose()
