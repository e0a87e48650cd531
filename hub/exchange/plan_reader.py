"""What hub.plan says, for whoever asks now and then: one book that is kept, and reads what has come since it was asked last.

Reading and proving thousands of entries takes seconds of the interpreter. A process that answers many requests does it once, and
never twice at the same time; keys or a topic that are others since then begin a new book.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from hub.broker.plan_log import PlanLog, Truncated
from hub.exchange.plan_book import PlanBook
from hub.model.errors import HubError

_T = TypeVar("_T")


class PlanReader:
    """Answers from hub.plan as it stands when it is asked. For use by several threads."""

    def __init__(self, *, log: Callable[[], PlanLog], book: Callable[[], PlanBook], mark: Callable[[], object]) -> None:
        """Read ``log()`` into ``book()``, both made anew when ``mark()`` is another; nothing is read before somebody asks."""
        self._make_log = log
        self._make_book = book
        self._mark = mark
        self._lock = threading.Lock()
        self._kept: tuple[PlanLog, PlanBook, object] | None = None

    def ask(self, question: Callable[[PlanBook], _T]) -> _T:
        """Return what ``question`` finds in the book, which holds all that hub.plan held when this was called; it must not keep it."""
        with self._lock:
            try:
                return question(self._newest())
            except Exception:
                self._forget()
                raise

    def close(self) -> None:
        """Close the connection and forget what was read; the next question begins anew."""
        with self._lock:
            self._forget()

    def _newest(self) -> PlanBook:
        mark = self._mark()
        if self._kept is not None and self._kept[2] != mark:
            self._forget()
        try:
            return self._read(mark)
        except Truncated:
            self._forget()
        try:
            return self._read(mark)
        except Truncated as error:
            raise HubError("HUB-BROKER-001", "hub.plan is being emptied while it is read", "ask again in a moment") from error

    def _read(self, mark: object) -> PlanBook:
        if self._kept is None:
            log, book = self._make_log(), self._make_book()
            self._kept = (log, book, mark)
            entries = log.read_all()
        else:
            log, book, _ = self._kept
            log.hold()
            entries = log.read_on()
        for entry in entries:
            book.apply(entry.value or b"", offset=entry.offset, key=entry.key, headers=entry.headers)
        book.settle()
        return book

    def _forget(self) -> None:
        if self._kept is not None:
            self._kept[0].close()
            self._kept = None
