"""Engines and the doors of the store: SQLite in the state folder by default, PostgreSQL by setting; one MetaData for all tables.

``reading`` sees one moment and takes no lock, so that nobody who looks keeps a withdrawal waiting. ``writing`` holds the write lock
from its beginning, since what is read before a write must not be out of date when it is written; the writers of one process take
turns, withdrawals first. ``altering`` is for ``hub.store.upgrade`` alone. Every transaction of the hub goes through one of them (a test
holds that).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from hub.model.errors import HubError
from hub.store.fence import Fence
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
_FENCE: Final = "cityhub_fence"
_ALTERS_ALONE: Final = text("SELECT pg_advisory_xact_lock(1667855481, 1)")
"""Two that change tables at once take turns, as SQLite's write lock lets them: the second sees what the first has done."""
IDLE_MS_MAX: Final = 30_000
"""How long a transaction that writes may do nothing: a process that was stopped within one must not hold up who takes over."""
_POSTGRESQL: Final[dict[str, Any]] = {
    "options": f"-c lock_timeout={int(LOCK_WAIT_S * 1_000)} -c idle_in_transaction_session_timeout={IDLE_MS_MAX}",
    "connect_timeout": int(LOCK_WAIT_S),
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
}
"""A server that is gone is found within seconds, and nobody waits for a lock longer than with SQLite."""


def open_engine(url: str) -> Engine:
    """Return an engine whose errors hide parameters; SQLite in WAL mode with foreign keys and immediate write locks."""
    parsed = make_url(url)
    options = {_TURNS: Turns(), _FENCE: Fence()}
    if parsed.get_backend_name() != "sqlite":
        arguments = connect_arguments(parsed)
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, execution_options=options, connect_args=arguments, **_POOL)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        keep_file_private(Path(parsed.database))
    pool = _POOL if parsed.database else {}  # a database in memory belongs to the thread that made it
    arguments = {"timeout": LOCK_WAIT_S, "check_same_thread": False}
    engine = create_engine(parsed, hide_parameters=True, connect_args=arguments, execution_options=options, **pool)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def fence_of(engine: Engine) -> Fence:
    """Return what holds a serve that no longer leads off the store."""
    found: Fence = engine.get_execution_options()[_FENCE]
    return found


def connect_arguments(url: URL) -> dict[str, Any]:
    """Return what a connection to a server is made with, but for what the URL itself says."""
    return {name: value for name, value in _POSTGRESQL.items() if name not in url.query} if url.get_backend_name() == "postgresql" else {}


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection on which every read sees the same moment, and which cannot write; HUB-STORE-001 when there is no answer.

    Takes no lock: writers do not wait for it, however long it lasts, nor it for them.
    """
    with _answering(), engine.connect().execution_options(**{_READING: True}) as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)  # noqa: PLW2901 - the same, set up
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")  # who looks may look for long
            yield connection


@contextmanager
def writing(engine: Engine, *, urgent: bool = False) -> Iterator[Connection]:
    """Give a connection that holds the write lock; what was done stands when the block ends, and nothing of it when it raises.

    ``urgent``, for what withdraws a right, comes before the others of this process that wait. HUB-STORE-001 when the database does
    not answer, or another process holds it for longer than ``LOCK_WAIT_S``; HUB-SERVE-005 in a serve that no longer leads.
    """
    turns: Turns = engine.get_execution_options()[_TURNS]
    with turns.held(urgent=urgent), _answering(), engine.begin() as connection:
        fence_of(engine).check(connection)
        yield connection


@contextmanager
def altering(engine: Engine) -> Iterator[Connection]:
    """Give a connection that holds the write lock and may change tables; all of it stands when the block ends, or nothing.

    SQLite changes a table by making it anew, which it refuses for one that others point to: its foreign keys are not enforced meanwhile,
    and looked at before the end; HUB-STORE-006 where one leads nowhere then.
    """
    turns: Turns = engine.get_execution_options()[_TURNS]
    sqlite = engine.dialect.name == "sqlite"
    with turns.held(), _answering(), engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if sqlite:
            driver.execute("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
        try:
            with connection.begin():
                if not sqlite:
                    connection.execute(_ALTERS_ALONE)
                yield connection
                if sqlite and (lost := connection.exec_driver_sql("PRAGMA foreign_key_check").first()) is not None:
                    what = f"a row of table `{lost[0]}` points to one of `{lost[2]}` that is not there: nothing was changed"
                    raise HubError("HUB-STORE-006", what, "report this; the database is as it was")
        finally:
            if sqlite:
                driver.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _answering() -> Iterator[None]:
    """Turn the trouble of a database (locked, full, away) into HUB-STORE-001."""
    try:
        yield
    except (OperationalError, InterfaceError, NoConnectionLeft) as error:
        raise refused_by_store(error) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
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
    "lock timeout": "another process holds its lock",
    "idle-in-transaction": "a change stood still for too long",
    "terminating connection": "its server has ended the connection",
    "authentication failed": "it does not accept this user",
    "connection refused": "nothing listens there",
    "does not exist": "there is no such database or user",
    "no space left": "its disk is full",
}
"""What SQLite and PostgreSQL say, in our words."""


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
