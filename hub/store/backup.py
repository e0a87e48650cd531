"""Copies of the embedded database, made before its tables are changed: beside it, for its owner only, whole or not there at all."""

import os
import re
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Final

from hub.model.errors import HubError

ROOM_BEYOND_BYTES: Final = 64 * 1024 * 1024
"""What must be free on the disk beyond the copy: the change itself is written too."""
_PAGES_AT_ONCE: Final = 4_096
_MARK: Final = ".before-"
_STAMPED: Final = re.compile(r"-([0-9]{8}T[0-9]{6}Z)\Z")


def back_up(database: Path, *, revision: str) -> Path:
    """Copy ``database``, whose write lock the caller holds, and return where the copy is.

    HUB-FILE-001 where the disk has no room for it, HUB-STORE-006 where the copy does not hold what the database does. Nothing was changed
    then.
    """
    _require_room(database)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    place = database.with_name(f"{database.name}{_MARK}{revision}-{stamp}")
    draft = place.with_name(f"{place.name}.draft")
    for left in database.parent.glob(f"{database.name}{_MARK}*.draft*"):  # of one that was killed: nobody else copies now
        left.unlink(missing_ok=True)
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(database, draft)
        _settle(draft, place)
    except sqlite3.Error as error:
        raise _failed(error, place) from error
    finally:
        draft.unlink(missing_ok=True)
    return place


def prune(database: Path, *, keep: int, newest: Path) -> None:
    """Remove all copies but ``newest``, whatever the clock said when others were made, and as many more as make ``keep``."""
    for old in [path for path in backups(database) if path != newest][max(0, keep - 1) :]:
        old.unlink(missing_ok=True)


def backups(database: Path) -> list[Path]:
    """Return the copies beside a database, newest first: what ``back_up`` made, and no other file."""
    stamped = ((_STAMPED.search(path.name), path) for path in database.parent.glob(f"{database.name}{_MARK}*") if path.is_file())
    return [path for _, path in sorted(((found[1], path) for found, path in stamped if found is not None), reverse=True)]


def _require_room(database: Path) -> None:
    needed = sum(
        file.stat().st_size for file in database.parent.glob(f"{database.name}*") if file.name in {database.name, f"{database.name}-wal"}
    )
    needed = 2 * needed + ROOM_BEYOND_BYTES
    free = shutil.disk_usage(database.parent).free
    if free < needed:
        what = f"a copy of the database and its change need {needed:,} bytes beside `{database}`, {free:,} are free: nothing was changed"
        raise HubError("HUB-FILE-001", what, "make room there, then start again")


def _copy(database: Path, draft: Path) -> None:
    """Copy page by page as of one moment, then hold that the copy is sound and has as many rows in every table."""
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    target = sqlite3.connect(draft)
    try:
        source.execute("BEGIN")
        source.backup(target, pages=_PAGES_AT_ONCE)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
        found = target.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok" or _rows(source) != _rows(target):
            what = f"the copy `{draft.name}` does not hold what the database does: nothing was changed"
            raise HubError(
                "HUB-STORE-006", what, "is the disk sound? restore the database from a backup if `PRAGMA integrity_check` says no"
            )
    finally:
        target.close()
        source.close()


def _rows(database: sqlite3.Connection) -> dict[str, int]:
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
    return {name: database.execute(f"SELECT count(*) FROM {quoted[name]}").fetchone()[0] for name in names}  # noqa: S608 - names of its own


def _settle(draft: Path, place: Path) -> None:
    """Give the copy its name once it is on the disk."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _failed(error: sqlite3.Error, place: Path) -> HubError:
    if "full" in str(error).lower():
        return HubError("HUB-FILE-001", f"no room is left for the copy `{place}`: nothing was changed", "make room there, then start again")
    return HubError(
        "HUB-STORE-006", f"the copy `{place}` could not be made ({type(error).__name__}): nothing was changed", "look at the disk"
    )
