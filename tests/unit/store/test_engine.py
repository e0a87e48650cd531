"""SQLite under several processes: writers take turns, readers of a snapshot are in nobody's way."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.ledger.books import snapshot
from hub.store.engine import open_engine


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
    with snapshot(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 1
        _write(path)
        assert connection.scalar(text("SELECT count(*) FROM t")) == 1
    with snapshot(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 2
    engine.dispose()


def test_a_change_holds_the_lock_from_its_beginning(path: Path) -> None:
    """The control: what is read before a write must not be out of date when it is written."""
    engine = open_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("SELECT count(*) FROM t"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            _write(path)
    engine.dispose()
