"""The state folder is its owner's alone: what a process of the hub writes there, and what stood there before with wider rights.

Only names of our own are touched, and only files that we own: a state folder may be a folder that holds other things as well.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OWNERS_MASK: Final = 0o077
"""What others lose."""
_OURS: Final = (
    "hub.sqlite3*", "*.lock", "up.json", "*.anchor", "acts*", "keys", "logs", "traces", "prometheus", "faust", "connectors", "broker",
)  # fmt: skip
_TOP_ONLY: Final = frozenset({"broker"})
"""Folders in which nothing is looked for: they are closed as a whole, and hold many files."""
LOOKED_AT_MAX: Final = 100_000


def keep_private(state: Path) -> None:
    """Let this process write files for their owner only, and take from others what they may do with ours below ``state``."""
    os.umask(OWNERS_MASK)
    if not state.is_dir():
        return
    for path in (state, *_ours(state)):
        _close(path)


def keep_file_private(file: Path) -> None:
    """Make ``file`` for its owner only, before anything is written to it, or take from others what they may do with it.

    SQLite's ``file:`` and ``:memory:`` are no names of files, and left to it.
    """
    if str(file).startswith((":", "file:")):
        return
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # never opened here: closing it would drop the locks of every connection of this process (fcntl(2)), and SQLite's with them
    except OSError:
        return
    for path in (file, *(file.with_name(file.name + ending) for ending in ("-wal", "-shm"))):
        _close(path)


def open_to_others(state: Path) -> list[Path]:
    """Return what of ours below ``state`` others may reach and read or write; nothing where ``state`` is closed itself."""
    if not _mode(state) & OWNERS_MASK:
        return []
    open_found = [path for path in _ours(state) if _mode(path) & OWNERS_MASK]
    known = {state, *open_found}
    return [path for path in open_found if path.parent in known]


def _ours(state: Path) -> Iterator[Path]:
    """Yield what the hub keeps in its state folder, at most ``LOOKED_AT_MAX`` files of it; links are not followed."""
    left = LOOKED_AT_MAX
    for pattern in _OURS:
        for path in state.glob(pattern):
            if path.is_symlink():
                continue
            yield path
            if not path.is_dir() or path.name in _TOP_ONLY:
                continue
            for folder, folders, files in os.walk(path):
                left -= len(folders) + len(files)
                if left < 0:
                    return
                yield from (found for name in (*folders, *files) if not (found := Path(folder) / name).is_symlink())


def _close(path: Path) -> None:
    mode = _mode(path)
    if mode & OWNERS_MASK:
        try:
            path.chmod(mode & ~OWNERS_MASK)
        except OSError:
            return


def _mode(path: Path) -> int:
    """Return the mode of a file or folder that is ours, 0 of any other."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    return stat.S_IMODE(found.st_mode) if plain and found.st_uid == os.geteuid() else 0
