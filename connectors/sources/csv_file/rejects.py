"""Rows set aside: a report of JSON lines without any value, and the rows themselves in a CSV file of mode 0600 beside it.

Both are on disk before the position that counts them, and cut back to that count at a start: a row that is read again after a
kill stands there once. The CSV file has the header of its source, so that it can be mended and dropped in again: in UTF-8,
and where its source is in another encoding with a mark, which is believed before ``encoding:``. So it comes back as it was.
"""

import itertools
import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.journal import fsync_folder
from hub.model.errors import HubError

MODE: Final = 0o600
REPORT_BYTES: Final = 250
"""About what one line of a report takes."""
CHARACTER_BYTES_MAX: Final = 4
"""In UTF-8: the bound is reckoned with it until the folder is measured again."""


class Reject(NamedTuple):
    """One row that became no record."""

    row: int
    """Of the data rows, from 0."""
    first_line: int
    last_line: int
    column: str | None
    """The column, by the schema's word for it; None where the row as a whole is at fault."""
    fault: RowFault
    text: str
    is_whole: bool = True
    """False where the row is longer than any row may be: its lines say where it stands, the file of rows does not hold it."""


class RejectBounds(NamedTuple):
    """How much is set aside at most."""

    rows_max: int
    """Of one file."""
    bytes_max: int
    """Of all files of rows set aside, and their reports."""


UNBOUNDED: Final = RejectBounds(2**63, 2**63)


class Rejects:
    """The rows of one file that were set aside."""

    def __init__(self, folder: Path, *, name: str, identity: str, header: str, bounds: RejectBounds = UNBOUNDED) -> None:
        """Write nothing yet; ``header`` is the source's first line."""
        self._bounds = bounds
        self._held = 0
        """Bytes of the folder when this was asked last, and of what came since."""
        self._folder = folder
        self._name = name
        self.report = folder / f"{identity}.jsonl"
        self.rows = folder / f"{identity}.csv"
        self._header = _line(header)
        self._waiting: list[Reject] = []

    def cut_back(self, count: int) -> bool:
        """Keep the first ``count`` rejects; False where the files do not hold as many."""
        self._waiting = []
        kept, end, last = self._first_lines(count)
        if self.report.exists():
            os.truncate(self.report, end)
        if self.rows.exists():
            place = json.loads(last)["set_aside"] if kept else {"offset": 0, "bytes": 0}
            os.truncate(self.rows, min(self.rows.stat().st_size, place["offset"] + place["bytes"]))
        return kept == count

    def _first_lines(self, count: int) -> tuple[int, int, bytes]:
        """Return how many whole lines of the first ``count`` the report has, where they end, and the last of them."""
        kept = end = 0
        last = b""
        if self.report.exists():
            with self.report.open("rb") as lines:
                for line in itertools.islice(lines, count):
                    if not line.endswith(b"\n"):
                        break
                    kept, end, last = kept + 1, end + len(line), line
        return kept, end, last

    def refusal(self, *, set_aside: int, row: int) -> HubError | None:
        """Return why one more row may not be set aside (HUB-CONN-012), None where it may; ``set_aside`` were, ``row`` is its line."""
        if set_aside >= self._bounds.rows_max:
            message = f"line {row} of `{self._name}` is one bad row more than the {self._bounds.rows_max} that are set aside of a file"
            fix = f"look at `{self.report}`; move the file away and leave its rest out with `--give-up-rest`, or raise `rejects_max`"
            return HubError("HUB-CONN-012", message, fix)
        if not self._held or self._held > self._bounds.bytes_max:
            waiting = sum(REPORT_BYTES + len(reject.text.encode()) for reject in self._waiting)
            self._held = 1 + waiting + (sum(map(_size, self._folder.iterdir())) if self._folder.is_dir() else 0)
        if self._held > self._bounds.bytes_max:
            message = f"`{self._folder}` holds {self._bounds.bytes_max >> 20} MiB of rows set aside, as much as it may"
            fix = "mend those rows, drop them in again and remove their files, or raise `rejects_mb_max`"
            return HubError("HUB-CONN-012", message, fix)
        return None

    def doubt(self, *, first_line: int, last_line: int, published: bool) -> HubError:
        """Return why a row may not be set aside that may have many others with it (HUB-CONN-012)."""
        message = f"a quote in line {first_line} of `{self._name}` may enclose everything as far as line {last_line}"
        fix = "mend that quote: inside a quoted cell it is doubled, and nothing stands before the first or behind the last"
        fix += "; or take those lines out, where they are one row"
        if published:
            fix += f"; do it in a new file with the header and the lines from {first_line} on"
            fix += ", move this one away, run once with `--give-up-rest`, and put the new one there"
        return HubError("HUB-CONN-012", message, fix)

    def add(self, reject: Reject) -> None:
        """Take a row, to be written by ``settle``."""
        self._waiting.append(reject)
        self._held += REPORT_BYTES + CHARACTER_BYTES_MAX * len(reject.text)

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
            raw = _line(reject.text) if reject.is_whole else b""
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


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _line(text: str) -> bytes:
    return text.rstrip("\r\n").encode() + b"\n"


def _append(file: Path, content: bytes | bytearray) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE)
    with os.fdopen(descriptor, "ab") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
