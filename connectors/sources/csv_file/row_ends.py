"""Where a row of CSV ends that cannot be read: by its quotes, without holding it.

Theory of operation. RFC 4180 says where a quote may stand. In a row that breaks this, a quote inside a quoted cell may have ended
the cell, with a slip behind it, or be a letter of its text that nobody doubled. Both readings are followed at once, as the set of
the states that they are in; a row has ended only where both say so, so that no line of a cell is ever taken for a row. At the end
of a physical line a reading stands either before a row or inside a quoted cell.
"""

import re
from enum import Enum
from typing import Final, TypeAlias


class State(Enum):
    """Where one reading stands."""

    ROW = "before a row"
    CELL = "before a cell"
    PLAIN = "in a cell without quotes"
    QUOTED = "in a quoted cell"
    QUOTE = "behind a quote in a quoted cell"
    CLOSED = "behind a quote that ended the cell, as far as it was asked for"


States: TypeAlias = frozenset[State]
BEGIN: Final[States] = frozenset({State.ROW})
INSIDE: Final[States] = frozenset({State.QUOTED})
CLOSED: Final[States] = frozenset({State.CLOSED})

_QUOTE, _DELIMITER, _LINE_END, _OTHER = range(4)
_BEFORE: Final = {_QUOTE: State.QUOTED, _DELIMITER: State.CELL, _LINE_END: State.ROW, _OTHER: State.PLAIN}
_STEPS: Final[dict[State, dict[int, States]]] = {
    State.ROW: {kind: frozenset({state}) for kind, state in _BEFORE.items()},
    State.CELL: {kind: frozenset({state}) for kind, state in _BEFORE.items()},
    State.PLAIN: {kind: frozenset({state}) for kind, state in (_BEFORE | {_QUOTE: State.PLAIN}).items()},
    State.QUOTED: dict.fromkeys((_DELIMITER, _LINE_END, _OTHER), INSIDE) | {_QUOTE: frozenset({State.QUOTE})},
    State.QUOTE: {
        _QUOTE: INSIDE,
        _DELIMITER: frozenset({State.CELL}),
        _LINE_END: BEGIN,
        _OTHER: frozenset({State.PLAIN, State.QUOTED}),
    },
}
"""Both readings: behind a quote that neither ends a cell nor is doubled, the cell has ended or it goes on."""
_STEPS_AS_TEXT: Final[dict[State, dict[int, States]]] = {
    State.QUOTED: _STEPS[State.QUOTED],
    State.QUOTE: {_QUOTE: INSIDE, _DELIMITER: CLOSED, _LINE_END: CLOSED, _OTHER: INSIDE},
    State.CLOSED: dict.fromkeys((_QUOTE, _DELIMITER, _LINE_END, _OTHER), CLOSED),
}
"""One reading alone: such a quote is text, and the question is whether one comes that ends the cell."""


class RowEnds:
    """Follows the readings of a text, piece by piece."""

    def __init__(self, delimiter: str) -> None:
        """Begin nowhere: states are the caller's."""
        special = re.escape(f'"{delimiter}\r\n')
        self._tokens = re.compile(f"[^{special}]+|[{special}]").finditer
        self._kinds = {'"': _QUOTE, delimiter: _DELIMITER, "\r": _LINE_END, "\n": _LINE_END}
        self._both: dict[tuple[States, int], States] = {}
        self._as_text: dict[tuple[States, int], States] = {}

    def follow(self, states: States, piece: str) -> States:
        """Return the states behind ``piece`` of both readings."""
        return self._run(states, piece, self._both, _STEPS)

    def closes(self, states: States, piece: str) -> States:
        """Return the state behind ``piece``, where quotes in the text are text: ``CLOSED`` once one ended the cell."""
        return states if states == CLOSED else self._run(states, piece, self._as_text, _STEPS_AS_TEXT)

    def _run(self, states: States, piece: str, known: dict[tuple[States, int], States], steps: dict[State, dict[int, States]]) -> States:
        if states == INSIDE and '"' not in piece:
            return states
        kinds = self._kinds
        for token in self._tokens(piece):
            step = states, kinds.get(token[0], _OTHER)
            found = known.get(step)
            if found is None:
                found = known[step] = frozenset().union(*(steps[state][step[1]] for state in step[0]))
            states = found
        return states
