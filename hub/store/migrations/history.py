"""The history of revisions as Alembic reads it, and which of them a database has.

Alembic's command line, its ``env.py`` and its ``alembic.ini`` are not used: a revision is run on a connection of the store, inside
the transaction of ``engine.altering``, so that SQLite too keeps all of it or nothing.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection

from hub.model.errors import HubError

HERE: Final = Path(__file__).parent
VERSION_TABLE: Final = "alembic_version"
_ONE_AT_A_TIME: Final = threading.Lock()
"""``alembic.op`` is one name for the whole process."""


class History:
    """One linear history of revisions."""

    def __init__(self, folder: Path = HERE) -> None:
        """Read the revisions below ``folder/versions``."""
        self._scripts = ScriptDirectory(str(folder))
        self.revisions: tuple[Script, ...] = tuple(reversed(list(self._scripts.walk_revisions())))

    @property
    def names(self) -> tuple[str, ...]:
        """The revisions, oldest first."""
        return tuple(script.revision for script in self.revisions)

    def found(self, connection: Connection) -> str | None:
        """Return the revision of a database, None of an empty one; HUB-STORE-002 for one of a newer hub, -005 for one of nobody's."""
        names = set(sa.inspect(connection).get_table_names())
        noted = _noted(connection) if "store_version" in names else None
        if noted is not None and noted > number_of(self.names[-1]):
            raise newer(f"the database is of version {noted}, this hub knows {number_of(self.names[-1])}")
        if VERSION_TABLE in names:
            told = MigrationContext.configure(connection).get_current_heads()
            if len(told) == 1:
                return self._known(told[0])
        if "store_version" in names:
            first, second = self.revisions[:2]
            return second.revision if names >= set(second.module.TABLES) else first.revision
        ours = names & {"acts", "datasets", "schemas", "agreements", "plan_entries", "usage_hour", VERSION_TABLE}
        if ours:
            what = f"the database has a table `{min(ours)}` that no hub has made: it says nothing of its version"
            raise HubError("HUB-STORE-005", what, "give `ledger.url` a database of its own, or restore a backup of the hub's")
        return None

    def pending(self, found: str | None) -> Sequence[Script]:
        """Return the revisions that a database at ``found`` lacks, oldest first."""
        return self.revisions if found is None else self.revisions[self.names.index(found) + 1 :]

    def run(self, connection: Connection, found: str | None, *, tell: Callable[[str], None]) -> None:
        """Bring a database from ``found`` to the newest revision, in the caller's transaction; tell each revision before it is run.

        HUB-STORE-006 where a revision would lose a trigger.
        """
        context = MigrationContext.configure(connection, opts={"transactional_ddl": True})
        guarded = _triggers(connection)
        with _ONE_AT_A_TIME, Operations.context(context):
            if found is not None:
                context.stamp(self._scripts, found)
            for script in self.pending(found):
                tell(script.revision)
                script.module.upgrade()
                context.stamp(self._scripts, script.revision)
        if lost := sorted(guarded - _triggers(connection)):
            raise HubError("HUB-STORE-006", f"trigger `{lost[0]}` would be lost: nothing was changed", "report this")

    def _known(self, revision: str) -> str:
        if revision not in self.names:
            raise newer(f"the database is at revision `{revision}`, this hub knows up to `{self.names[-1]}`")
        return revision


def _noted(connection: Connection) -> int | None:
    found: int | None = connection.scalar(sa.text("SELECT version FROM store_version WHERE part = 'hub'"))
    return found


def _triggers(connection: Connection) -> set[str]:
    """Return the triggers that guard tables: SQLite drops them with a table that is made anew, and says nothing."""
    where = {"sqlite": "sqlite_master WHERE type = 'trigger'", "postgresql": "pg_trigger WHERE NOT tgisinternal"}[connection.dialect.name]
    name = {"sqlite": "name", "postgresql": "tgname"}[connection.dialect.name]
    return set(connection.scalars(sa.text(f"SELECT {name} FROM {where}")))  # noqa: S608 - words of this function


def number_of(revision: str | None) -> int:
    """Return the number with which a revision begins, 0 of an empty database."""
    return 0 if revision is None else int(revision.partition("_")[0])


def newer(what: str) -> HubError:
    """Return the refusal of a database that a newer hub has written."""
    return HubError("HUB-STORE-002", what, "start the newer hub, or restore the backup that fits this one")
