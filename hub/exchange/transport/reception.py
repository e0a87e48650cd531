"""Memory for what brokers answer: as much as the settings allow, and back when the last chunk of an answer is done with.

With several brokers there may be one more answer of each: what one is asked for is not kept back from the others.

A fetch asks for what there is room for and no more, so that records wait in Kafka, and not here, while lanes are busy.
"""

import importlib
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

ANSWER_BYTES_MIN: Final = 256 * 1024
"""With less room than this nothing is asked for: an answer may hold one batch of a megabyte anyhow."""


class Reception:
    """Counts the bytes of answers that are alive. ``allocate`` and ``left`` are for the fetching thread, memory dies in any."""

    def __init__(self, bytes_max: int) -> None:
        """Allow ``bytes_max`` bytes of answers at the same time."""
        self._bytes_max = bytes_max
        self._lock = threading.RLock()  # a collection of garbage inside it may free another answer
        self._alive: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._bytes = 0
        self.freed: Callable[[], None] = lambda: None
        """Called, in whichever thread, when there is room again after there was none."""

    def allocate(self, size: int) -> Any:
        """Return writable memory of ``size`` bytes, with the buffer protocol; it counts until the last view on it is gone."""
        memory = _make(size)
        key = id(memory)
        with self._lock:
            self._alive[key] = (weakref.ref(memory, lambda _: self._free(key)), size)
            self._bytes += size
        return memory

    def left(self) -> int:
        """Return the bytes that may be asked for now, 0 where there is no room worth asking for."""
        left = self._bytes_max - self._bytes
        return left if left >= ANSWER_BYTES_MIN else 0

    def _free(self, key: int) -> None:
        with self._lock:
            _, size = self._alive.pop(key)
            was_full = not self.left()
            self._bytes -= size
            wake = was_full and self.left()
        if wake:
            self.freed()


class _Memory(bytearray):
    """A bytearray whose end can be noticed."""

    __slots__ = ("__weakref__",)


def _maker() -> Callable[[int], Any]:
    try:
        made: Callable[[int], Any] = importlib.import_module("hub.exchange._native").ReceiveBuffer
        weakref.ref(made(0))
    except (ImportError, TypeError):
        return _Memory
    return made


_make: Final = _maker()
