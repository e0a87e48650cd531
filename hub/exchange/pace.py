"""The pace of lanes: how many bytes a step takes, and how many bytes all lanes of a worker hold at once.

Theory of operation. A lane that is always busy takes as long for a step as all lanes together take for one each, so a fixed bound
of megabytes makes "every 100 ms" 300 ms on a worker of sixteen lanes, and an unbounded number of verdicts in memory. ``Pace`` takes
the time of each step: one that was full makes the next smaller or larger, one that was not can only make it larger. It also takes the
time of each decision, committed or not: where the kernel is the slow one (the reference is a hundred times slower than the native
one), steps that are aborted again and again would else never become short enough to be committed. ``Budget`` lets lanes
in by bytes, first come, first served.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Final, Self

CARRIED_BYTES_MIN: Final = 2 * 1024 * 1024
"""Source and output of a step together; none is made smaller: what a transaction costs would exceed what it carries, and a step that is
slow because its broker is would become no quicker, only emptier."""
DECIDED_S_MIN: Final = 0.02
"""But one that takes the kernel as long as this is worth its transaction, however little it carries."""
SLACK: Final = 1.25
"""A busy step may take a quarter longer than the interval that is asked for."""
CHANGE_MIN: Final = 0.5
CHANGE_MAX: Final = 1.25
GROWTH_AT_FIRST: Final = 2.0
FORGET: Final = 0.9


class Pace:
    """The bytes of a lane's next step, and of what will come of it."""

    def __init__(self, *, step_ms: int, bytes_max: int) -> None:
        """Begin with half: a lane that starts behind is busy at once, on a worker whose other lanes are too."""
        self._target_s = step_ms / 1000 * SLACK
        self._bytes_max = bytes_max
        self._growth = GROWTH_AT_FIRST
        self._decided_a_second = float("inf")
        self.bytes = bytes_max // 2

    def expects(self, size: int) -> int:
        """Return about how many bytes will come of ``size`` bytes of the source."""
        return int(size * self._growth)

    def decided(self, size: int, *, seconds: float) -> None:
        """Take note of what the kernel took for ``size`` bytes: no step is made larger than what it decides within the interval."""
        if size:
            self._decided_a_second = size / max(seconds, 1e-6)
            self.bytes = min(self.bytes, max(1, int(self._decided_a_second * self._target_s)))

    def took(self, size: int, *, came: int, seconds: float) -> None:
        """Take note of a step of ``size`` bytes of which ``came`` bytes came, from its drain to its commit."""
        if size:
            self._growth = max(came / size, self._growth * FORGET)
        change = self._target_s / max(seconds, 1e-6)
        if size < self.bytes:  # the log was empty: how long a full step takes is not known, but it is no longer than the target
            change = max(1.0, change)
        wanted = int(self.bytes * min(CHANGE_MAX, max(CHANGE_MIN, change)))
        least = min(CARRIED_BYTES_MIN / (1 + self._growth), self._decided_a_second * DECIDED_S_MIN)
        self.bytes = min(self._bytes_max, max(1, int(least), wanted))


class Budget:
    """Bytes that may be held at the same time; whoever asks first is let in first, and one alone always is."""

    def __init__(self, bytes_max: int) -> None:
        """Nothing is held."""
        self._bytes_max = bytes_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.held = 0

    def hold(self, size: int) -> "Held":
        """Return a context manager that waits until ``size`` bytes may be held, and gives them back at its end."""
        return Held(self, size)

    def _fits(self, size: int) -> bool:
        return self.held == 0 or self.held + size <= self._bytes_max

    async def _enter(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self.held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._let_in()
            else:
                self._leave(size)  # let in and stopped in the same moment
            raise

    def _leave(self, size: int) -> None:
        self.held -= size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.held += size
                turn.set_result(None)


class Held:
    """Bytes that one step holds: what it is expected to need, then what it needs."""

    def __init__(self, budget: Budget, size: int) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self.size = size

    async def __aenter__(self) -> Self:
        """Wait until they may be held."""
        await self._budget._enter(self.size)  # noqa: SLF001 - the budget's own door
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give them back."""
        self._budget._leave(self.size)  # noqa: SLF001 - the budget's own door

    def needs(self, size: int) -> None:
        """Hold ``size`` bytes from now on, without waiting: they are there already."""
        self._budget.held += size - self.size
        smaller, self.size = size < self.size, size
        if smaller:
            self._budget._let_in()  # noqa: SLF001 - the budget's own door
