"""Rows set aside: a report of JSON lines without any value, and the rows themselves in a CSV file of mode 0600 beside it.

Both are on disk before the position that counts them, and cut back to that count at a start: a row that is read again after a
kill stands there once. The CSV file has the header of its source, so that it can be mended and dropped in again.
"""

import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.journal import fsync_folder

MODE: Final = 0o600


class Reject(NamedTuple):
    """One row that became no record."""

    row: int
    """Of the data rows, from 0."""
    first_line: int
    last_line: int
    column: str | None
    """The column's heading; None where the row as a whole is at fault."""
    fault: RowFault
    text: str


class Rejects:
    """The rows of one file that were set aside."""

    def __init__(self, folder: Path, *, name: str, identity: str, header: str) -> None:
        """Write nothing yet; ``header`` is the source's first line."""
        self._folder = folder
        self._name = name
        self.report = folder / f"{identity}.jsonl"
        self.rows = folder / f"{identity}.csv"
        self._header = _line(header)
        self._waiting: list[Reject] = []

    def cut_back(self, count: int) -> bool:
        """Keep the first ``count`` rejects; False where the files do not hold as many."""
        self._waiting = []
        lines = self.report.read_bytes().splitlines(keepends=True) if self.report.exists() else []
        kept = lines[:count]
        if len(lines) > count:
            os.truncate(self.report, sum(map(len, kept)))
        if self.rows.exists():
            last = json.loads(kept[-1])["set_aside"] if kept else {"offset": 0, "bytes": 0}
            os.truncate(self.rows, min(self.rows.stat().st_size, last["offset"] + last["bytes"]))
        return len(kept) == count

    def add(self, reject: Reject) -> None:
        """Take a row, to be written by ``settle``."""
        self._waiting.append(reject)

    def settle(self) -> None:
        """Write what was taken, rows before their report; on disk when this returns."""
        if not self._waiting:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        offset = self.rows.stat().st_size if self.rows.exists() else 0
        rows, report = bytearray(), bytearray()
        if offset == 0:
            rows += self._header
        for reject in self._waiting:
            raw = _line(reject.text)
            report += self._describe(reject, offset=offset + len(rows), size=len(raw))
            rows += raw
        _append(self.rows, rows)
        _append(self.report, report)
        fsync_folder(self._folder)
        self._waiting = []

    def _describe(self, reject: Reject, *, offset: int, size: int) -> bytes:
        found: dict[str, Any] = {
            "file": self._name,
            "row": reject.row,
            "line": reject.first_line,
            "last_line": reject.last_line,
            "column": reject.column,
            "reason": str(reject.fault),
            "set_aside": {"file": self.rows.name, "offset": offset, "bytes": size},
        }
        return json.dumps(found, ensure_ascii=False).encode() + b"\n"


def _line(text: str) -> bytes:
    return text.rstrip("\r\n").encode() + b"\n"


def _append(file: Path, content: bytes | bytearray) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE)
    with os.fdopen(descriptor, "ab") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
