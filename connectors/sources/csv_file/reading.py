"""Rows of a CSV file (RFC 4180), each with the physical lines that it stands on and, where it is bad, its text.

Where a row ends is decided by its quotes alone: a row that is too long, or in which a quote stands where none may, is followed
to its end without being held, and set aside whole, from its first line to its last. Nothing that may stand inside it is read as
rows (``row_ends.py``). Blank lines, and rows in which every cell is blank, are no rows. What is held of a row has a bound.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any, Final, Self

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.encoding import GB18030_2022, Examined, changed, fingerprint
from connectors.sources.csv_file.file_names import name_of
from connectors.sources.csv_file.row_ends import BEGIN, INSIDE, RowEnds

READ_BYTES: Final = 1 << 17
SKIP_CHARACTERS: Final = 1 << 16
MARK: Final = "\ufeff"
"""Before the first line, whatever the encoding: no part of the text, so that a quote behind it is a quote."""
HELD_CHARACTERS_MAX: Final = 800_000
"""Of a bad row's text: as long as a row may be at most, so that whatever could be taken with a larger bound is set aside whole."""
_FIELD_CHARACTERS_MAX: Final = 2**31 - 1
"""Rows are bounded before fields are: the csv module's own bound must not come first."""


class CsvRows:
    """Reads rows one by one. A context manager; after ``next_row`` the row stands in the attributes."""

    def __init__(
        self,
        path: Path,
        examined: Examined,
        *,
        delimiter: str,
        row_characters_max: int,
        held_characters_max: int = HELD_CHARACTERS_MAX,
    ) -> None:
        """Open the file and read its header: ``header`` is empty where the file has none or it cannot be read."""
        csv.field_size_limit(_FIELD_CHARACTERS_MAX)
        self._name = name_of(path)
        self._examined = examined
        self.encoding = examined.encoding
        self._delimiter = delimiter
        self._ends = RowEnds(delimiter)
        self._never_closes = False
        """True once a quote was followed to the end of the file, and nothing closed it: then nothing closes a later one either."""
        self._raw = _Hashing(path)
        self._lines = _Lines(
            self._raw, examined.encoding, characters_max=row_characters_max, held_max=max(held_characters_max, row_characters_max)
        )
        self._reader = self._new_reader()
        self.cells: list[str] = []
        """The row's cells; empty where there is a fault."""
        self.fault: RowFault | None = None
        self.first_line = 1
        self.header: tuple[str, ...] = ()
        if self.next_row():
            self.header = tuple(self.cells)
        self.header_text = self.text

    @property
    def last_line(self) -> int:
        """The physical line on which the row ends, from 1."""
        return self._lines.count

    @property
    def text(self) -> str:
        """The row as it stands in the file, as far as the bound."""
        return self._lines.text

    @property
    def is_whole(self) -> bool:
        """Tell whether ``text`` is all of the row."""
        return not self._lines.is_cut

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
                self._set_aside(RowFault.SYNTAX)
            except _TooLarge:
                self._set_aside(RowFault.TOO_LARGE)
            except UnicodeDecodeError:
                raise changed(self._name) from None
            if self.fault is not None or _holds_anything(self.cells):
                return True

    def _set_aside(self, fault: RowFault) -> None:
        """Go behind the last line of a row that cannot be read."""
        self.cells, self.fault = [], fault
        try:
            self._follow()
        except UnicodeDecodeError:
            raise changed(self._name) from None

    def _follow(self) -> None:
        """Read on until every reading of the row's quotes says that a row has ended.

        Where a quote stands in a quoted cell and neither ends it nor is doubled, it may be a slip behind the cell, or text of
        it. If it is text, a quote that ends the cell comes later: the file is read on until one does. Where none comes to the
        end of the file, and the line has as many cells as the header, it was a slip, and the row is that line.
        """
        lines, ends = self._lines, self._ends
        states = ends.follow(BEGIN, lines.text)
        while not lines.at_line_end and (piece := lines.read_on()):
            states = ends.follow(states, piece)
        slip = states > BEGIN and self._is_a_row()
        if slip and self._never_closes:
            return
        line, held, closing = lines.count, list(lines.held), INSIDE
        while states != BEGIN and (piece := lines.read_on()):
            states = ends.follow(states, piece)
            closing = ends.closes(closing, piece)
        if states != BEGIN and slip and closing == INSIDE:
            self._never_closes = True
            if not lines.go_back(line, held):
                raise changed(self._name)
            self._reader = self._new_reader()

    def _is_a_row(self) -> bool:
        """Tell whether the lines held so far, read with a slip in them, are a row as wide as the header."""
        if self._lines.is_cut:
            return False
        cells = next(csv.reader(self._lines.held, delimiter=self._delimiter), [])
        return len(cells) == len(self.header)

    def _new_reader(self) -> Any:
        return csv.reader(self._lines, delimiter=self._delimiter, strict=True)

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


def _holds_anything(cells: list[str]) -> bool:
    """Tell whether a row is more than a blank line, or than the separators of cells that a spreadsheet cleared."""
    if cells and cells[0] and not cells[0].isspace():
        return True
    text = "".join(cells)
    return text != "" and not text.isspace()


class _TooLarge(Exception):  # noqa: N818 (a row over the bound; raised through the csv module to ``next_row``)
    pass


class _Lines:
    """Physical lines for the csv module, counted, and held, as far as a bound, until the next row begins."""

    def __init__(self, raw: "_Hashing", encoding: str, *, characters_max: int, held_max: int) -> None:
        self._raw = raw
        self._encoding = encoding
        self._characters_max = characters_max
        self._held_max = held_max
        self._translate = encoding == "gb18030"
        self._open()
        self.begin()

    def begin(self) -> None:
        self.held: list[str] = []
        self.is_cut = False
        self._left = self._characters_max
        self._held_left = self._held_max

    @property
    def text(self) -> str:
        return "".join(self.held)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._piece(self._left + 1)
        if not line:
            raise StopIteration
        self.held.append(line)
        self._left -= len(line)
        self._held_left -= len(line)
        if self._left < 0:
            raise _TooLarge
        return line

    def read_on(self) -> str:
        """Return the next piece of a row that is set aside, held as far as the bound; empty at the end of the file."""
        piece = self._piece(SKIP_CHARACTERS)
        if piece and self._held_left < len(piece):
            self.is_cut = True
        if not self.is_cut:
            self.held.append(piece)
            self._held_left -= len(piece)
        return piece

    def go_back(self, line: int, held: list[str]) -> bool:
        """Stand behind physical line ``line`` again, with ``held`` in hand; False where there are not so many any more."""
        self._text.detach().detach()
        self._raw.begin_anew()
        self._open()
        while self.count < line or not self.at_line_end:
            if not self._piece(SKIP_CHARACTERS):
                return False
        self.held, self.is_cut = held, False
        return True

    def close(self) -> None:
        self._text.close()

    def _open(self) -> None:
        buffered = io.BufferedReader(self._raw, READ_BYTES)
        self._text = io.TextIOWrapper(buffered, self._encoding, errors="strict", newline="")
        self._readline = self._text.readline
        self.count = 0
        self.at_line_end = True
        self._behind_return = False

    def _piece(self, most: int) -> str:
        """Return the next line, or as much of it as ``most`` allows."""
        piece = self._readline(most)
        if self.count == 0 and piece.startswith(MARK):
            piece = piece[1:] or self._readline(most)
        if not piece:
            return piece
        if self.at_line_end and not (self._behind_return and piece == "\n"):
            self.count += 1
        last = piece[-1]
        self._behind_return = last == "\r"
        self.at_line_end = last in "\r\n"
        return piece.translate(GB18030_2022) if self._translate else piece


class _Hashing(io.RawIOBase):
    """A file that hashes what is read of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.digest = hashlib.sha256()

    def begin_anew(self) -> None:
        """Stand before the first byte again, and hash from there."""
        self._file.seek(0)
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
