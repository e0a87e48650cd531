"""Bringing the tables of a store up to date: what it is at, what it lacks, and the change itself, whole or not at all.

The embedded store (SQLite) is brought up to date by whoever starts a hub on it, after a copy; another database only when told to, by
``cityhub db upgrade``: its backup is its administrator's. Who upgrades holds the lease of ``serve``, so no leader writes meanwhile; two
that come at once take turns by the database's own lock, and the second finds nothing to do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hub.model.errors import HubError
from hub.store.backup import back_up, backups, prune
from hub.store.engine import altering, reading, refused_by_store
from hub.store.tables import STORE_VERSION, store_version

UPGRADE_FIX: Final = "back the database up, then `cityhub db upgrade`"
EMBEDDED_FIX: Final = "start `cityhub up`, which brings it up to date after a copy, or `cityhub db upgrade`"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store stands."""

    embedded: bool
    """SQLite, which a hub brings up to date by itself."""
    revision: str | None
    """None: it has no tables yet."""
    newest: str
    """The newest revision that this hub knows."""
    pending: tuple[str, ...]
    """What it lacks, oldest first."""
    backups: tuple[str, ...] = ()
    """Copies that were made before earlier changes, newest first."""


class Upgraded(msgspec.Struct, frozen=True, kw_only=True):
    """What an upgrade did."""

    before: str | None
    after: str
    run: tuple[str, ...]
    """The revisions that were run; none where there was nothing to do."""
    backup: str | None = None
    """Copy of the embedded database as it was before."""


def standing(engine: Engine) -> Standing:
    """Return where a store stands; HUB-STORE-001, -002 and -005."""
    from hub.store.migrations.history import History  # noqa: PLC0415 - Alembic, which a store that is up to date does not need

    history, file = History(), database_file(engine)
    with reading(engine) as connection:
        found = history.found(connection)
    return Standing(
        embedded=is_embedded(engine),
        revision=found,
        newest=history.names[-1],
        pending=tuple(script.revision for script in history.pending(found)),
        backups=tuple(map(str, backups(file))) if file is not None else (),
    )


def require_current(engine: Engine) -> None:
    """Hold that a store has the tables of this hub, with one small query where it has.

    An embedded one that is empty is made; HUB-STORE-004 where revisions are missing, HUB-STORE-002 where a newer hub wrote it.
    """
    try:
        if _noted(engine) == STORE_VERSION:
            return
        found = standing(engine)
        if not found.pending:
            return
        if found.embedded and found.revision is None:
            upgrade(engine)
            return
    except SQLAlchemyError as error:
        raise refused_by_store(error) from error
    raise behind(found)


def behind(found: Standing) -> HubError:
    """Return the refusal of a store that lacks revisions."""
    what = f"the database is at revision `{found.revision or 'none'}`, this hub needs `{found.newest}`"
    return HubError("HUB-STORE-004", what, EMBEDDED_FIX if found.embedded else UPGRADE_FIX)


def upgrade(
    engine: Engine,
    *,
    keep: int = 1,
    record: Callable[[Connection, str, str], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Upgraded:
    """Bring a store to the newest revision in one transaction, an embedded one after a copy of which the newest ``keep`` stay.

    ``record`` is called in that transaction with the revisions before and after, where there were tables before. The caller holds the
    lease of ``serve``. HUB-STORE-001, -002, -005, -006 and HUB-FILE-001; whatever is raised, the store is as it was.
    """
    from hub.store.migrations.history import History, number_of  # noqa: PLC0415 - as above

    history, file = History(), database_file(engine)
    newest = history.names[-1]
    copy: Path | None = None
    with altering(engine) as connection:
        found = history.found(connection)
        due = tuple(script.revision for script in history.pending(found))
        if due:
            if found is not None and file is not None:
                copy = back_up(file, revision=due[0])
                tell("copied")
            history.run(connection, found, tell=tell)
            _note(connection, number_of(newest))
            if found is not None:
                record(connection, found, newest)
            tell("done")
    if copy is not None and file is not None:
        prune(file, keep=keep, newest=copy)  # once what it was made for stands
    return Upgraded(before=found, after=newest, run=due, backup=None if copy is None else str(copy))


def is_embedded(engine: Engine) -> bool:
    """Tell whether a store is one that a hub brings up to date by itself."""
    return engine.dialect.name == "sqlite"


def database_file(engine: Engine) -> Path | None:
    """Return the file of an SQLite database, None of any other and of one in memory."""
    name = engine.url.database if is_embedded(engine) else None
    return Path(name) if name and not name.startswith((":", "file:")) else None


def _noted(engine: Engine) -> int | None:
    """Return the number that a store notes of itself, None where it notes none."""
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table(store_version.name):
            return None
        found: int | None = connection.scalar(sa.select(store_version.c.version).where(store_version.c.part == "hub"))
        return found


def _note(connection: Connection, number: int) -> None:
    """Note the number of the newest revision, by which hubs that know no revisions refuse the store."""
    own = store_version.c.part == "hub"
    if connection.execute(store_version.update().where(own).values(version=number)).rowcount == 0:
        connection.execute(store_version.insert().values(part="hub", version=number))
