"""Rows of a CSV file (RFC 4180), each with the physical lines that it stands on and, where it is bad, its text.

A row that cannot be read ends with the line on which that shows; reading goes on with the next line. What such a row swallowed
is set aside whole: nothing of it is published on a guess. Blank lines are no rows. A row, and with it the memory, has a bound.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any, Final, Self

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.encoding import GB18030_2022, Examined, changed, fingerprint, name_of

READ_BYTES: Final = 1 << 17
SKIP_CHARACTERS: Final = 1 << 16
_FIELD_CHARACTERS_MAX: Final = 2**31 - 1
"""Rows are bounded before fields are: the csv module's own bound must not come first."""


class CsvRows:
    """Reads rows one by one. A context manager; after ``next_row`` the row stands in the attributes."""

    def __init__(self, path: Path, examined: Examined, *, delimiter: str, row_characters_max: int) -> None:
        """Open the file and read its header: ``header`` is empty where the file has none or it cannot be read."""
        csv.field_size_limit(_FIELD_CHARACTERS_MAX)
        self._name = name_of(path)
        self._examined = examined
        self.encoding = examined.encoding
        self._raw = _Hashing(path)
        text = io.TextIOWrapper(io.BufferedReader(self._raw, READ_BYTES), examined.encoding, errors="strict", newline="")
        self._lines = _Lines(text, characters_max=row_characters_max, translate=examined.encoding == "gb18030")
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self.cells: list[str] = []
        """The row's cells; empty where there is a fault."""
        self.fault: RowFault | None = None
        self.first_line = 1
        self.header: tuple[str, ...] = ()
        if self.next_row():
            self.header = tuple(cell.lstrip("\ufeff") if place == 0 else cell for place, cell in enumerate(self.cells))
        self.header_text = self.text

    @property
    def last_line(self) -> int:
        """The physical line on which the row ends, from 1."""
        return self._lines.count

    @property
    def text(self) -> str:
        """The row as it stands in the file, as far as the bound."""
        return "".join(self._lines.held)

    def next_row(self) -> bool:
        """Go to the next row; False behind the last. HUB-CONN-006 where the file is no longer what was examined."""
        lines = self._lines
        while True:
            lines.begin()
            self.first_line = lines.count + 1
            self.fault = None
            try:
                self.cells = next(self._reader)
            except StopIteration:
                return False
            except csv.Error:
                self.cells, self.fault = [], RowFault.SYNTAX
            except _TooLarge:
                lines.end_line()
                self.cells, self.fault = [], RowFault.TOO_LARGE
            except UnicodeDecodeError:
                raise changed(self._name) from None
            if self.cells or self.fault is not None:
                return True

    def hold_unchanged(self, *, to_the_end: bool) -> None:
        """Raise HUB-CONN-006 where the file has been written to; ``to_the_end``: what was read has the hash that was examined."""
        same = fingerprint(self._raw.fileno()) == self._examined.fingerprint
        if not same or (to_the_end and self._raw.digest.hexdigest() != self._examined.sha256):
            raise changed(self._name)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._lines.close()

    def __enter__(self) -> Self:
        """Return the reader behind the header."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


class _TooLarge(Exception):  # noqa: N818 (a row over the bound; raised through the csv module to ``next_row``)
    pass


class _Lines:
    """Physical lines for the csv module, counted, and held until the next row begins."""

    def __init__(self, text: io.TextIOWrapper, *, characters_max: int, translate: bool) -> None:
        self._text = text
        self._readline = text.readline
        self._characters_max = characters_max
        self._left = characters_max
        self._translate = translate
        self.held: list[str] = []
        self.count = 0

    def begin(self) -> None:
        self.held = []
        self._left = self._characters_max

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._readline(self._left + 1)
        if not line:
            raise StopIteration
        if self._translate:
            line = line.translate(GB18030_2022)
        self.held.append(line)
        self.count += 1
        self._left -= len(line)
        if self._left < 0:
            raise _TooLarge
        return line

    def end_line(self) -> None:
        """Read past the rest of a line that is cut at the bound."""
        line = self.held[-1]
        while line and not line.endswith(("\n", "\r")):
            line = self._readline(SKIP_CHARACTERS)

    def close(self) -> None:
        self._text.close()


class _Hashing(io.RawIOBase):
    """A file that hashes what is read of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        return count

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()
