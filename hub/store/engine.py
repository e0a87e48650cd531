"""Engines: SQLite in the state folder by default, PostgreSQL by setting; one MetaData for all tables."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from hub.model.errors import HubError

METADATA: Final = MetaData()
READING: Final = {"cityhub_reading": True}
"""Execution options of a connection that only reads: in SQLite it then takes no lock, and writers need not wait for it."""


def open_engine(url: str) -> Engine:
    """Return an engine whose errors hide parameters; SQLite in WAL mode with foreign keys and immediate write locks."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": 30, "check_same_thread": False})
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def refused_by_store(error: SQLAlchemyError) -> HubError:
    """Return HUB-STORE-001 for what a database raised: it is locked by another, full, read-only or away. Its words may hold values."""
    words = str(getattr(error, "orig", "")).lower()
    why = next((told for sign, told in _REASONS.items() if sign in words), type(error).__name__)
    return HubError("HUB-STORE-001", f"the database refused ({why})", "look at `ledger.url`, the disk and the server's log")


_REASONS: Final = {
    "disk is full": "its disk is full",
    "locked": "another process holds its lock",
    "readonly": "it may only be read",
    "unable to open": "its file cannot be opened",
    "malformed": "its file is damaged",
    "not a database": "its file is no database",
    "disk i/o": "its disk fails",
}
"""What SQLite says, in our words."""


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:
    reading = connection.get_execution_options().keys() >= READING.keys()
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
