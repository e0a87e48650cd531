"""The files of a source: which are there, which are ready, and where they go afterwards."""

import errno
import fnmatch
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from connectors.sources.csv_file.encoding import Fingerprint, fingerprint
from connectors.sources.csv_file.journal import write_whole
from connectors.sources.csv_file.settings import PATTERN, CsvSettings
from hub.model.errors import HubError

IN_TRANSIT: Final = (".part", ".tmp", ".filepart", ".crdownload")
"""Endings of names that belong to files still being written."""
NANOSECONDS: Final = 10**9


class Inbox:
    """The files that the settings name. ``waits`` is true while one of them is being written."""

    def __init__(self, settings: CsvSettings) -> None:
        """Look at nothing yet."""
        self._settings = settings
        self._seen: dict[Path, tuple[Fingerprint, float]] = {}
        self._finished: dict[Path, Fingerprint] = {}
        self.waits = False

    def files(self) -> list[Path]:
        """Return what is there, in the order in which it is taken. HUB-CONN-001 where the folder is missing."""
        folder = self._settings.folder
        if folder is None:
            return [path for path in self._settings.files if path.is_file()]
        if not folder.is_dir():
            raise HubError("HUB-CONN-001", f"folder `{folder}` does not exist", "make it, or mend `folder` in the connector file")
        found = [path for path in folder.iterdir() if self._is_wanted(path.name) and path.is_file()]
        return sorted(found, key=lambda path: path.name)

    def left_alone(self) -> list[Path]:
        """Return files of the folder that are not taken, because of their names."""
        folder = self._settings.folder
        if folder is None or not folder.is_dir():
            return []
        return sorted((path for path in folder.iterdir() if not self._is_wanted(path.name) and path.is_file()), key=lambda path: path.name)

    def missing(self) -> list[Path]:
        """Return files that the settings name and that are not there."""
        return [path for path in self._settings.files if not path.is_file()]

    def ready(self) -> Iterator[Path]:
        """Return files that are at rest and not finished, one by one; the rest waits."""
        self.waits = False
        there = self.files()
        known = set(there)
        self._seen = {path: seen for path, seen in self._seen.items() if path in known}
        self._finished = {path: seen for path, seen in self._finished.items() if path in known}
        for path in there:
            try:
                found = fingerprint(path)
            except FileNotFoundError:
                continue
            if self._finished.get(path) == found:
                continue
            if self._rests(path, found):
                yield path
            else:
                self.waits = True

    def finish(self, path: Path, *, identity: str = "") -> None:
        """Leave a file alone from now on: into ``done`` where there is such a folder."""
        self._leave(path, self._settings.done, identity)

    def refuse(self, path: Path, error: HubError) -> None:
        """Leave a file alone until it changes: into ``rejected`` where there is such a folder, with the reason beside it."""
        moved = self._leave(path, self._settings.rejected, "")
        if moved is not None:
            why = {"code": error.code, "message": error.message, "fix": error.fix, "problems": msgspec.to_builtins(error.problems)}
            write_whole(moved.with_name(f"{moved.name}.why.json"), json.dumps(why, ensure_ascii=False, indent=1).encode() + b"\n")

    def _is_wanted(self, name: str) -> bool:
        pattern = self._settings.pattern
        fits = fnmatch.fnmatchcase(name.lower(), PATTERN) if pattern is None else fnmatch.fnmatchcase(name, pattern)
        return fits and not name.startswith(".") and not name.endswith(IN_TRANSIT)

    def _rests(self, path: Path, found: Fingerprint) -> bool:
        """Tell whether nothing was written for a while, by the file's own time or, where clocks differ, by looking twice."""
        if 0 <= self._settings.settle_s * NANOSECONDS <= time.time_ns() - found.mtime_ns:
            return True
        before, since = self._seen.get(path, (None, 0.0))
        if before != found:
            self._seen[path] = found, time.monotonic()
            return self._settings.settle_s == 0
        return time.monotonic() - since >= self._settings.settle_s

    def _note_finished(self, path: Path) -> None:
        try:
            self._finished[path] = fingerprint(path)
        except FileNotFoundError:
            self._finished.pop(path, None)

    def _leave(self, path: Path, folder: Path | None, identity: str) -> Path | None:
        if folder is None or not path.exists():
            self._note_finished(path)
            return None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = folder / path.name
        number = 0
        while target.exists():
            number += 1
            target = folder / f"{path.name}.{identity or 'again'}.{number}"
        try:
            path.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            fix = "choose a folder on the same file system: a move must not be half done"
            raise HubError("HUB-CONN-001", f"`{folder}` is on another file system than `{path.parent}`", fix) from None
        return target
