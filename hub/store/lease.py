"""The lease of the one writer: who holds it leads, it can be lost, and it says so.

Where the store is SQLite it is a lock on ``serve.lock`` of the state folder. Another database is reached from several machines: there
its advisory lock is held as well, on a connection of its own that the server ends when nothing is heard on it for ``SILENT_MS_MAX``, so
that a leader that hangs makes room. What a former leader still tries to write is refused by ``hub.store.fence``.
"""

import os
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from hub.locks import FileLock
from hub.store.engine import connect_arguments, fence_of, refused_by_store, writing
from hub.store.tables import leases

SERVE: Final = "serve"
"""The lease of the serve that leads: a database is one hub's."""
SILENT_MS_MAX: Final = 10_000
"""A leader looks at its lease every second; one that is not heard for this long has lost it."""
_LOCK_FAMILY: Final = 1_667_855_480
"""First half of the key of the advisory locks of leases; the next number is that of ``engine.altering``."""
_HELD: Final = sa.text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"
    " AND classid = :family AND objid = :key AND objsubid = 2"
)
_T = TypeVar("_T")


class Lease(Protocol):
    """A right that one process has at a time."""

    def take(self) -> bool:
        """Take it if it is free; True when this process has it. HUB-STORE-001 and OSError where it cannot be asked for."""
        ...

    def lost(self) -> str | None:
        """Ask afresh whether it is still this process's: None where it is, else why not. A lease that was never taken is not lost."""
        ...

    def release(self) -> None:
        """Give it back; again is no error."""
        ...


class FileLease:
    """A lock on a file of the state folder."""

    def __init__(self, path: Path) -> None:
        """Take nothing yet."""
        self._lock = FileLock(path)

    def take(self) -> bool:
        """Take it if it is free."""
        if not self._lock.take():
            return False
        self._lock.write(f"{os.getpid()}\n")
        return True

    def lost(self) -> str | None:
        """Tell where the file was deleted or made anew: another process may hold the one of that name."""
        if self._lock.held and not self._lock.stands():
            return f"`{self._lock.path}` was deleted or replaced, so another serve can hold it"
        return None

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


class AdvisoryLease:
    """An advisory lock of PostgreSQL, which its server gives back when the connection ends."""

    def __init__(self, url: str, name: str) -> None:
        """Connect to nothing yet."""
        parsed = make_url(url)
        self._engine = create_engine(
            parsed, hide_parameters=True, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=connect_arguments(parsed)
        )
        self._key = {"family": _LOCK_FAMILY, "key": zlib.crc32(name.encode()) & 0x7FFFFFFF}
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Take it if it is free."""
        if self._connection is not None:
            return self.lost() is None
        connection = self._asked(self._engine.connect)
        try:
            connection.execute(sa.text(f"SET idle_session_timeout = {SILENT_MS_MAX}"))
            got = bool(connection.scalar(sa.text("SELECT pg_try_advisory_lock(:family, :key)"), self._key))
        except SQLAlchemyError as error:
            connection.invalidate()
            raise refused_by_store(error) from error
        if got:
            self._connection = connection
        else:
            connection.close()
        return got

    def lost(self) -> str | None:
        """Ask the server, on the connection that holds it; whatever is no clear yes is a no."""
        if self._connection is None:
            return None
        try:
            held = self._connection.scalar(_HELD, self._key)
        except SQLAlchemyError as error:
            return f"the connection that held its lock in the database has ended ({type(error).__name__})"
        return None if held == 1 else "the database says that its lock is not held"

    def release(self) -> None:
        """Give it back."""
        if self._connection is not None:
            self._connection.invalidate()  # closed at once, whatever state it is in: the server frees the lock
            self._connection.close()
            self._connection = None

    @staticmethod
    def _asked(call: Callable[[], _T]) -> _T:
        try:
            return call()
        except SQLAlchemyError as error:
            raise refused_by_store(error) from error


class BothLeases:
    """Two leases that are held together, the first first."""

    def __init__(self, first: Lease, second: Lease) -> None:
        """Take nothing yet."""
        self._first, self._second = first, second

    def take(self) -> bool:
        """Take both, or none."""
        if not self._first.take():
            return False
        try:
            got = self._second.take()
        except BaseException:
            self._first.release()
            raise
        if not got:
            self._first.release()
        return got

    def lost(self) -> str | None:
        """Tell where either is lost."""
        return self._first.lost() or self._second.lost()

    def release(self) -> None:
        """Give both back."""
        self._second.release()
        self._first.release()


def serve_lease(*, state: Path, url: str) -> Lease:
    """Return the lease of the serve that leads, of whichever kind the store has."""
    file = FileLease(state / "serve.lock")
    if make_url(url).get_backend_name() == "sqlite":
        return file
    return BothLeases(file, AdvisoryLease(url, SERVE))


def begin_term(engine: Engine, name: str = SERVE) -> int:
    """Note that this process holds the lease ``name`` now, and set the fence of ``engine``; return the epoch, one more than any before.

    Whoever had it before writes nothing from here on: this waits for its open transactions, and those that begin later are refused.
    """
    row = {"holder": f"{socket.gethostname()}/{os.getpid()}"[:200], "since_ms": time.time_ns() // 1_000_000}
    own = leases.c.name == name
    with writing(engine) as connection:
        found = connection.execute(leases.update().where(own).values(epoch=leases.c.epoch + 1, **row))
        if found.rowcount == 0:
            connection.execute(leases.insert().values(name=name, epoch=1, **row))
        epoch = int(connection.execute(sa.select(leases.c.epoch).where(own)).scalar_one())
    fence_of(engine).set(name, epoch)
    return epoch
