"""Engines and the two doors of the store: SQLite in the state folder by default, PostgreSQL by setting; one MetaData for all tables.

``reading`` sees one moment and takes no lock, so that nobody who looks keeps a withdrawal waiting. ``writing`` holds the write lock
from its beginning, since what is read before a write must not be out of date when it is written; the writers of one process take
turns, withdrawals first. Every transaction of the hub goes through one of them (a test holds that).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from hub.model.errors import HubError
from hub.store.private import keep_file_private
from hub.store.turns import Turns

METADATA: Final = MetaData()
LOCK_WAIT_S: Final = 10.0
"""How long a change waits for another process that holds the file, before it is refused."""
KEPT_OPEN: Final = 15
CONNECTIONS_MAX: Final = 60
"""Every thread of serve that may ask at the same time: its requests (40 at most), its duties, and their writers that read beside."""
_POOL: Final[dict[str, Any]] = {"pool_size": KEPT_OPEN, "max_overflow": CONNECTIONS_MAX - KEPT_OPEN, "pool_timeout": LOCK_WAIT_S}
_READING: Final = "cityhub_reading"
_TURNS: Final = "cityhub_turns"


def open_engine(url: str) -> Engine:
    """Return an engine whose errors hide parameters; SQLite in WAL mode with foreign keys and immediate write locks."""
    parsed = make_url(url)
    options = {_TURNS: Turns()}
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, execution_options=options, **_POOL)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        keep_file_private(Path(parsed.database))
    pool = _POOL if parsed.database else {}  # a database in memory belongs to the thread that made it
    arguments = {"timeout": LOCK_WAIT_S, "check_same_thread": False}
    engine = create_engine(parsed, hide_parameters=True, connect_args=arguments, execution_options=options, **pool)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection on which every read sees the same moment, and which cannot write; HUB-STORE-001 when there is no answer.

    Takes no lock: writers do not wait for it, however long it lasts, nor it for them.
    """
    with _answering(), engine.connect().execution_options(**{_READING: True}) as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)  # noqa: PLW2901 - the same, set up
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine, *, urgent: bool = False) -> Iterator[Connection]:
    """Give a connection that holds the write lock; what was done stands when the block ends, and nothing of it when it raises.

    ``urgent``, for what withdraws a right, comes before the others of this process that wait. HUB-STORE-001 when the database does
    not answer, or another process holds it for longer than ``LOCK_WAIT_S``.
    """
    turns: Turns = engine.get_execution_options()[_TURNS]
    with turns.held(urgent=urgent), _answering(), engine.begin() as connection:
        yield connection


@contextmanager
def _answering() -> Iterator[None]:
    """Turn the trouble of a database (locked, full, away) into HUB-STORE-001."""
    try:
        yield
    except (OperationalError, InterfaceError, NoConnectionLeft) as error:
        raise refused_by_store(error) from error


def refused_by_store(error: SQLAlchemyError) -> HubError:
    """Return HUB-STORE-001 for what a database raised: it is locked by another, full, read-only or away. Its words may hold values."""
    words = str(getattr(error, "orig", "")).lower()
    if isinstance(error, NoConnectionLeft):
        words = "no connection"
    why = next((told for sign, told in _REASONS.items() if sign in words), type(error).__name__)
    return HubError("HUB-STORE-001", f"the database refused ({why})", "look at `ledger.url`, the disk and the server's log")


_REASONS: Final = {
    "no connection": "all connections to it are in use",
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
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(LOCK_WAIT_S * 1_000)}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    reads = _READING in connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reads else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
