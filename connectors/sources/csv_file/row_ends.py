"""Where a row of CSV ends that is not read: by its quotes, without holding it; and where a cell may end that has a quote too many.

Theory of operation. RFC 4180 says where a quote may stand. As long as a row keeps to it, its end is certain. Behind a quote that
stands where none may, nothing is: the cell may have ended, or that quote, and each that comes, may be a letter of its text that
nobody doubled. So the row is in doubt as far as a quote stands that may end a cell: one behind which neither letter nor digit
comes before the next delimiter, line end or end of the file.
"""

import re
from enum import Enum
from typing import Final


class State(Enum):
    """Where the reading stands."""

    ROW = "before a row"
    CELL = "before a cell"
    BLANK = "behind the blanks that a cell begins with"
    PLAIN = "in a cell without quotes"
    QUOTED = "in a quoted cell"
    QUOTE = "behind a quote in a quoted cell"
    DOUBT = "behind a quote that stands where none may"


_QUOTE, _DELIMITER, _LINE_END, _SPACES, _OTHER = range(5)
_BEFORE: Final = {
    _QUOTE: State.QUOTED,
    _DELIMITER: State.CELL,
    _LINE_END: State.ROW,
    _SPACES: State.BLANK,
    _OTHER: State.PLAIN,
}
_WITHIN: Final = {_DELIMITER: State.CELL, _LINE_END: State.ROW, _SPACES: State.PLAIN, _OTHER: State.PLAIN}
_STEPS: Final[dict[State, dict[int, State]]] = {
    State.ROW: _BEFORE,
    State.CELL: _BEFORE,
    State.BLANK: _BEFORE | {_QUOTE: State.DOUBT},
    State.PLAIN: _WITHIN | {_QUOTE: State.PLAIN},
    State.QUOTED: dict.fromkeys((_DELIMITER, _LINE_END, _SPACES, _OTHER), State.QUOTED) | {_QUOTE: State.QUOTE},
    State.QUOTE: {
        _QUOTE: State.QUOTED,
        _DELIMITER: State.CELL,
        _LINE_END: State.ROW,
        _SPACES: State.DOUBT,
        _OTHER: State.DOUBT,
    },
}
_UNSEEN: Final = dict.fromkeys(map(ord, "\ufeff\u200b"))
_INVISIBLE: Final = "\\s\ufeff\u200b"
"""What may stand before a quote so that nobody sees that it is not the first of its cell."""


class RowEnds:
    """Knows the quotes of files with one delimiter."""

    def __init__(self, delimiter: str) -> None:
        """Begin nowhere: states are the caller's."""
        special = re.escape(f'"{delimiter}\r\n')
        one = re.escape(delimiter)
        self._tokens = re.compile(f"[^{special}]+|[{special}]").finditer
        self._kinds = {'"': _QUOTE, delimiter: _DELIMITER, "\r": _LINE_END, "\n": _LINE_END}
        self._closing = re.compile(f'"[^\\w\r\n"]*(?:{one}|[\r\n]|\\Z)').search
        blank = f"(?![{one}\r\n])[{_INVISIBLE}]"
        closed = f'[^"{one}\r\n]*"(?:{blank})*(?:{one}|[\r\n]|\\Z)'
        self._open_behind_blanks = re.compile(f'(?:\\A|[{one}\r\n])(?:{blank})+"(?!{closed})').search

    def follow(self, state: State, piece: str) -> State:
        """Return the state behind ``piece``; nothing leads out of ``DOUBT``."""
        if state is State.DOUBT or (state is State.QUOTED and '"' not in piece):
            return state
        kinds = self._kinds
        for token in self._tokens(piece):
            text = token[0]
            state = _STEPS[state][kinds.get(text, _OTHER if text.translate(_UNSEEN).strip() else _SPACES)]
            if state is State.DOUBT:
                return state
        return state

    def may_close(self, piece: str) -> bool:
        """Tell whether a quote of ``piece`` may end a cell."""
        return '"' in piece and self._closing(piece) is not None

    def seems_open(self, row: str) -> bool:
        """Tell whether a row that was read has a cell with blanks before its quote that is not closed by the next one."""
        return self._open_behind_blanks(row) is not None and self.follow(State.ROW, row) is State.DOUBT
