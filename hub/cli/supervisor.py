"""The watch over one hub's processes: started in order, started again when they die, stopped in reverse order."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final, Protocol

from hub.broker.embedded import EmbeddedBroker
from hub.cli.children import READY_TIMEOUT_S, Child, Mark, ending, hub_command, leading_words, mark_of
from hub.cli.output import Session, say
from hub.cli.running import Running, log_folder, write_running
from hub.model.errors import HubError, of_system
from hub.settings import Settings

BACKOFF_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits before a dead part is started again; the last one from then on."""
STEADY_S: Final = 60.0
"""A part that ran this long begins with the first wait again."""
WATCH_S: Final = 0.5
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Told(BaseException):
    """This process was told to stop, by a signal."""

    def __init__(self, number: int) -> None:
        """Keep the number of the signal."""
        super().__init__(number)
        self.number = number


class Orders:
    """Signals to this process: ``Told`` is raised for the first one, outside ``undisturbed`` blocks; later ones change nothing."""

    def __init__(self) -> None:
        """Listen from now on, in place of what listened before."""
        self._quiet = 0
        self._told: int | None = None
        self._raised = False
        for number in SIGNALS:
            signal.signal(number, self._take)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Hold an order back until the end of the block, so that no child is started and forgotten."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1
        self._pass_on()

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._told is None:
            self._told = number
        self._pass_on()

    def _pass_on(self) -> None:
        if self._told is not None and not self._raised and self._quiet == 0:
            self._raised = True
            raise Told(self._told)


class Part(Protocol):
    """A process of the hub, as the watch sees it."""

    name: str

    @property
    def mark(self) -> Mark | None:
        """Who it is while it runs."""

    def start(self) -> None:
        """Start it."""

    def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when it is ready."""

    def exit_status(self) -> int | None:
        """Return its exit status once it has ended."""

    def stop(self) -> None:
        """End it; idempotent."""

    def bound_log(self) -> None:
        """Keep its log within bounds."""


class BrokerPart:
    """The embedded broker as a part: ready as soon as it has started."""

    name = "broker"

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        broker = settings.broker
        self._broker = EmbeddedBroker(
            folder=settings.state / "broker",
            port=broker.port,
            controller_port=broker.controller_port,
            heap_mb=broker.heap_mb,
            start_timeout_s=broker.start_timeout_s,
        )
        self._wanted = False

    @property
    def mark(self) -> Mark | None:
        """Who the running broker is."""
        return None if self._broker.pid is None else mark_of(self._broker.pid)

    def start(self) -> None:
        """Start it, or again after it died, and wait until it answers."""
        self._wanted = True
        self._broker.start()

    def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return at once."""

    def exit_status(self) -> int | None:
        """Return its exit status once it has died, 1 where it could not be started; None while it runs or is not wanted."""
        if not self._wanted or self._broker.pid is not None:
            return None
        return self._broker.exit_status or 1

    def stop(self) -> None:
        """Stop it cleanly; idempotent."""
        self._wanted = False
        self._broker.stop()

    def bound_log(self) -> None:
        """Do nothing: the broker bounds its own logs."""


def parts_of(found: Session, *, lead_with: str | None = None) -> list[Part]:
    """Return the parts of the hub of ``found`` in the order of their start."""
    settings = found.settings
    urls = {"serve": settings.serve_url, "worker": f"http://127.0.0.1:{settings.exchange.metrics_port}"}
    children: list[Part] = [
        Child(
            name,
            hub_command(*found.flags, name, *(leading_words(lead_with) if name == "serve" else ())),
            log=log_folder(settings.state) / f"{name}.log",
            environment={"CITYHUB_STATE": str(settings.state.absolute())},
            ready_url=f"{url}/readyz",
        )
        for name, url in urls.items()
    ]
    return children if settings.broker.bootstrap else [BrokerPart(settings), *children]


class Watch:
    """The parts of one hub, and what became of them."""

    def __init__(self, found: Session, orders: Orders, *, lead_with: str | None = None) -> None:
        """Start nothing yet; ``lead_with`` is what serve is told about the officer's key."""
        self._state = found.settings.state
        self._orders = orders
        self._parts: Sequence[Part] = parts_of(found, lead_with=lead_with)
        self._noted = True
        self._lives = {part.name: Lives(part.name, now_s=time.monotonic()) for part in self._parts}

    def start(self) -> None:
        """Start each part when the one before is ready; HUB-UP-002, or the broker's own error, when one is not.

        A worker that runs and is not ready is told and kept: what stops its lanes is mended by acts, and those need serve.
        """
        for part in self._parts:
            say(f"starting {part.name} …")
            self._start(part)
            try:
                part.wait_ready()
            except HubError as error:
                if part is not self._parts[-1] or part.exit_status() is not None:
                    raise
                say(f"{error.message}; `cityhub doctor` tells what to do")
        self._note("ready")

    def stay(self) -> None:
        """Start dead parts again, for ever; ends by ``Told``."""
        while True:
            time.sleep(WATCH_S)
            for part in self._parts:
                if self._lives[part.name].is_due(part.exit_status(), now_s=time.monotonic()):
                    self._start_again(part)
                part.bound_log()
            if not self._noted:
                self._note("ready")

    def stop(self) -> None:
        """Stop the parts in reverse order and forget them. Idempotent."""
        for part in reversed(self._parts):
            part.stop()
        write_running(self._state, None)

    def _start(self, part: Part) -> None:
        if isinstance(part, Child):
            with self._orders.undisturbed():
                part.start()
                self._note("starting")
            return
        try:
            part.start()
        finally:
            self._note("starting")

    def _start_again(self, part: Part) -> None:
        """Try to start a dead part; one that does not start stays dead, and its turn comes again."""
        part.stop()
        try:
            self._start(part)
        except HubError as error:
            say(f"{part.name} does not start: {error}")
        except OSError as error:
            say(f"{part.name} does not start: {of_system(error, doing='start it')}")
        self._note("ready")

    def _note(self, status: str) -> None:
        """Write who runs. On a full disk nothing is written, and `up` goes on: the next change is noted again."""
        own = mark_of(os.getpid())
        if own is None:
            return
        marks = {part.name: part.mark for part in self._parts}
        self._noted = self._write(Running(own, status, {name: mark for name, mark in marks.items() if mark is not None}))

    def _write(self, running: Running) -> bool:
        try:
            write_running(self._state, running)
        except OSError as error:
            if self._noted:
                say(f"who runs is not noted: {of_system(error, doing='write up.json')}")
            return False
        return True


class Lives:
    """When a part that died may be started again."""

    def __init__(self, name: str, *, now_s: float) -> None:
        """Take it as alive since ``now_s``, monotonic."""
        self._name = name
        self._deaths = 0
        self._again_at: float | None = None
        self._alive_since = now_s

    def is_due(self, status: int | None, *, now_s: float) -> bool:
        """Tell whether the part, which has ended with ``status`` (None: it runs), is to be started now; says when it died."""
        if status is None:
            if now_s - self._alive_since > STEADY_S:
                self._deaths = 0
            return False
        if self._again_at is None:
            wait_s = BACKOFF_S[min(self._deaths, len(BACKOFF_S) - 1)]
            self._deaths += 1
            self._again_at = now_s + wait_s
            say(f"{self._name} {ending(status)}; starting it again{f' in {wait_s:.0f} s' if wait_s else ''}")
        if now_s < self._again_at:
            return False
        self._again_at, self._alive_since = None, now_s
        return True
