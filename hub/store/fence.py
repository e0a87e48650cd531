"""Whether a process may still write: each of its transactions holds the epoch of its lease against the one in the database.

A process that was stopped and woken cannot know what happened meanwhile, and no look at a lock before a write helps it: it may be
stopped between the two. The comparison stands inside the transaction. Whoever takes the lease over changes the row, which waits for
transactions that are open and is seen by all that begin later.
"""

import threading
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from hub.model.errors import HubError

_EPOCH: Final = "SELECT epoch FROM leases WHERE name = :name"
_ASK: Final = {"sqlite": sa.text(_EPOCH), "postgresql": sa.text(f"{_EPOCH} FOR SHARE")}
"""SQLite's writers hold the whole file; PostgreSQL's hold the row, beside each other."""


class Fence:
    """The fence of one engine: open until it is set, and shut for good once the lease is lost."""

    def __init__(self) -> None:
        """Let everything through: commands and stand-bys have no lease."""
        self._term: tuple[str, int] | None = None
        self._why: str | None = None
        self.lost = threading.Event()
        """Set once the lease was found lost."""

    @property
    def why(self) -> str | None:
        """Why the lease is lost, None while it is not."""
        return self._why

    def set(self, name: str, epoch: int) -> None:
        """Let nothing through from now on but what is written under this epoch of the lease."""
        self._term = (name, epoch)

    def shut(self, why: str) -> None:
        """Let nothing through any more; the first reason stays."""
        self._why = self._why or why
        self.lost.set()

    def require(self) -> None:
        """Hold that the lease was not found lost; HUB-SERVE-005 else. Asks nobody."""
        if self._why is not None:
            fix = "ask the serve that leads now; `cityhub up` starts this one again, to stand by"
            raise HubError("HUB-SERVE-005", f"this serve no longer leads: {self._why}", fix)

    def check(self, connection: Connection) -> None:
        """Hold, inside a transaction that writes, that the lease is this process's until it ends; HUB-SERVE-005 else."""
        self.require()
        if self._term is None:
            return
        name, epoch = self._term
        found = connection.scalar(_ASK[connection.dialect.name], {"name": name})
        if found != epoch:
            self.shut(f"its epoch was {epoch}, the database is at {found}")
            self.require()
