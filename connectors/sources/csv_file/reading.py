"""Rows of a CSV file (RFC 4180), each with the physical lines that it stands on and, where it is bad, its text.

Where a row ends is decided by its quotes alone: a row that is too long is followed to its end without being held. One in which a
quote stands where none may is set aside with every line that may stand inside it: as far as the last quote of the file that may
end a cell (``row_ends.py``). Where none comes, the file ends with a line, and the row is as wide as the header, it was a slip that
costs its line. Blank lines, and rows in which every cell is blank, are no rows. What is held of a row has a bound.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.encoding import GB18030_2022, Examined, changed, fingerprint
from connectors.sources.csv_file.file_names import name_of
from connectors.sources.csv_file.row_ends import RowEnds, State

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
        self._last_close: int | None = None
        """The last line with a quote that may end a cell, 0 for none; not known before the first doubt, and the same for each."""
        self._raw = _Hashing(path)
        self._lines = _Lines(
            self._raw, examined.encoding, characters_max=row_characters_max, held_max=max(held_characters_max, row_characters_max)
        )
        self._reader = self._new_reader()
        self.cells: list[str] = []
        """The row's cells; empty where there is a fault."""
        self.fault: RowFault | None = None
        self.in_doubt = False
        """True where it is not known how many rows the fault took with it."""
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
            self.fault, self.in_doubt = None, False
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
            else:
                if '"' in lines.held[0] and self._ends.seems_open(lines.text):
                    self._set_aside(RowFault.SYNTAX)
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
        """Read on to the end of the row, or as far as anything may stand inside it."""
        lines, ends = self._lines, self._ends
        state = ends.follow(State.ROW, lines.text) if self.fault is RowFault.TOO_LARGE else State.DOUBT
        while not lines.at_line_end and (piece := lines.read_on()):
            state = ends.follow(state, piece)
        while state not in _ENDED and (piece := lines.read_on()):
            state = ends.follow(state, piece)
        self.in_doubt = state in (State.DOUBT, State.QUOTED)
        if state is State.DOUBT:
            while not lines.at_line_end and lines.read_on():
                pass
            self._follow_doubt()

    def _follow_doubt(self) -> None:
        """Go behind the last quote that may end the cell; where there is none, stay where a row ends, else go to the end."""
        lines = self._lines
        line, is_a_row = lines.count, self._is_a_row()
        if self._last_close is None:
            here = lines.place()
            last = self._find_last_close()
            self._last_close = 0 if last is None else last.line
            back = last or (here if is_a_row else None)
            if back is not None and back.line < lines.count:
                if not lines.go_back(back):
                    raise changed(self._name)
                self._reader = self._new_reader()
        elif self._last_close > line or not is_a_row:
            end = self._last_close if self._last_close > line else None
            while (end is None or lines.count < end or not lines.at_line_end) and lines.read_on():
                pass

    def _find_last_close(self) -> "_Place | None":
        """Read to the end of the file; return the place behind the last line with a quote that may end a cell.

        A file that ends within a line may have been cut within a cell: then that is its end.
        """
        lines, ends = self._lines, self._ends
        last, closes = None, False
        while piece := lines.read_on():
            closes = closes or ends.may_close(piece)
            if lines.at_line_end:
                last, closes = lines.place() if closes else last, False
        return last if lines.at_line_end else lines.place()

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


_ENDED: Final = (State.ROW, State.DOUBT)


class _Place(NamedTuple):
    """The end of a physical line in a row that is set aside."""

    line: int
    pieces: int
    """How many were held."""
    is_cut: bool


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

    def place(self) -> _Place:
        return _Place(self.count, len(self.held), self.is_cut)

    def go_back(self, place: _Place) -> bool:
        """Stand at a place of this row again, with what was held there; False where there are not so many lines any more."""
        self._text.detach().detach()
        self._raw.begin_anew()
        self._open()
        while self.count < place.line or not self.at_line_end:
            if not self._piece(SKIP_CHARACTERS):
                return False
        self.held, self.is_cut = self.held[: place.pieces], place.is_cut
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
