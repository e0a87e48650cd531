"""The watch of `up`: dead parts come back ever more slowly, and an order to stop never falls between two steps."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.cli.output import Session
from hub.cli.supervisor import BACKOFF_S, SIGNALS, STEADY_S, Lives, Orders, Part, Told, Watch
from hub.model.errors import HubError


@pytest.fixture
def orders() -> Iterator[Orders]:
    """Listen to signals, and give them back afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield Orders()
    for number, action in before.items():
        signal.signal(number, action)


def waits(lives: Lives, *, now_s: float, deaths: int) -> list[float]:
    """Let a part die at once each time it is started; return how long each start was put off."""
    found = []
    for _ in range(deaths):
        died_s = now_s
        while not lives.is_due(1, now_s=now_s):
            now_s += 0.5
        found.append(now_s - died_s)
    return found


def test_a_part_that_keeps_dying_is_started_ever_more_slowly(capsys: pytest.CaptureFixture[str]) -> None:
    """At once at first, every 30 s in the end, and each death is said once."""
    lives = Lives("worker", now_s=0)
    assert waits(lives, now_s=0, deaths=len(BACKOFF_S) + 2) == [*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(BACKOFF_S) + 2
    assert said[0] == "worker ended with exit status 1; starting it again"
    assert said[-1] == "worker ended with exit status 1; starting it again in 30 s"


def test_a_part_that_ran_steadily_begins_anew() -> None:
    """At the bound it has not yet; one moment past it the first wait holds again."""
    lives = Lives("worker", now_s=0)
    waits(lives, now_s=0, deaths=3)
    started_s = 3.0
    assert not lives.is_due(None, now_s=started_s + STEADY_S)
    assert waits(lives, now_s=started_s + STEADY_S, deaths=1) == [BACKOFF_S[3]]
    lives.is_due(None, now_s=started_s + 10 * STEADY_S)
    assert waits(lives, now_s=started_s + 10 * STEADY_S, deaths=1) == [0]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_order_is_raised_where_it_arrives(orders: Orders, number: int) -> None:
    """Waiting for a child is cut short."""
    with pytest.raises(Told) as told:
        os.kill(os.getpid(), number)
    assert told.value.number == number


def test_an_order_waits_until_a_child_is_noted(orders: Orders) -> None:
    """Else the child would run on and nobody would know it."""
    noted = []

    def start() -> None:
        with orders.undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            noted.append("child")

    with pytest.raises(Told):
        start()
    assert noted == ["child"]


def test_a_second_order_does_not_disturb_the_stopping(orders: Orders) -> None:
    """An impatient Ctrl-C leaves nothing half stopped."""
    with pytest.raises(Told):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)


class Waiting:
    """A part that runs, or has ended, and never is ready."""

    mark = None

    def __init__(self, name: str, *, ended: int | None = None) -> None:
        """Be asked by this name."""
        self.name, self._ended = name, ended

    def start(self) -> None:
        """Start at once."""

    def wait_ready(self, *, timeout_s: float = 0) -> None:
        """Say what a child says after its time."""
        raise HubError("HUB-UP-002", f"`{self.name}` was not ready within {timeout_s:.0f} s: lanes HUB-LANE-001", "look at its log")

    def exit_status(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._ended

    def stop(self) -> None:
        """Stop at once."""

    def bound_log(self) -> None:
        """Write none."""


class Well(Waiting):
    """A part that is ready at once."""

    def wait_ready(self, *, timeout_s: float = 0) -> None:
        """Return."""


def started(orders: Orders, tmp_path: Path, *parts: Part) -> Watch:
    """Start parts in order."""
    watch = Watch(Session(state=tmp_path), orders)
    watch._parts = parts
    watch.start()
    return watch


def test_a_worker_that_runs_and_is_not_ready_keeps_the_hub_up(orders: Orders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lane stands still, and what mends it is an act: without serve nobody could do it."""
    started(orders, tmp_path, Well("serve"), Waiting("worker"))
    assert "HUB-LANE-001; `cityhub doctor` tells what to do" in capsys.readouterr().err


def test_a_part_that_ended_or_comes_before_others_must_be_ready(orders: Orders, tmp_path: Path) -> None:
    """Nothing works without serve, and a worker that ended does nothing."""
    for parts in ((Waiting("serve"), Well("worker")), (Well("serve"), Waiting("worker", ended=1))):
        with pytest.raises(HubError, match="HUB-UP-002"):
            started(orders, tmp_path, *parts)
