"""Turns: a lock that is given in the order of asking, to those who withdraw a right before all others.

``threading.Lock`` gives itself to whoever comes by, and SQLite's own waiting sleeps longer and longer: under either a thread can wait
for as long as others keep coming. Here the wait is at most that of the holder and of those who asked before.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Turns:
    """A lock that one thread may take several times; ``with turns:`` waits in order, ``turns.held(urgent=True)`` before those."""

    def __init__(self) -> None:
        """Begin free."""
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[threading.Event] = deque()
        self._urgent: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """How many wait now."""
        with self._guard:
            return len(self._waiting) + len(self._urgent)

    @contextmanager
    def held(self, *, urgent: bool = False) -> Iterator[None]:
        """Hold the lock; with ``urgent`` only the holder and other urgent ones come before."""
        self._take(urgent=urgent)
        try:
            yield
        finally:
            self._give()

    def __enter__(self) -> None:
        """Wait for the turn."""
        self._take(urgent=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the lock to the next."""
        self._give()

    def _take(self, *, urgent: bool) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._owner in {None, me}:
                self._owner = me
                self._depth += 1
                return
            turn = threading.Event()
            (self._urgent if urgent else self._waiting).append(turn)
        try:
            turn.wait()
        except BaseException:
            self._leave(turn)
            raise
        self._owner = me
        self._depth = 1

    def _leave(self, turn: threading.Event) -> None:
        """Give up waiting: a turn that has come meanwhile goes to the next."""
        with self._guard:
            if turn.is_set():
                self._pass_on()
            for queue in (self._urgent, self._waiting):
                if turn in queue:
                    queue.remove(turn)

    def _give(self) -> None:
        with self._guard:
            self._depth -= 1
            if self._depth == 0:
                self._pass_on()

    def _pass_on(self) -> None:
        """Make the next the holder: between the two nobody who comes by can take the lock."""
        for queue in (self._urgent, self._waiting):
            if queue:
                self._owner = 0
                queue.popleft().set()
                return
        self._owner = None
