"""Processes of the hub as others see them: who they are, how they start, when they are ready, how they stop.

A process is known by its id and its start time: ids are used again, so nothing is signalled on the id alone. A child runs in
a session of its own (Ctrl-C in the terminal does not reach it), writes to a log file of bounded size, and is stopped by SIGTERM,
then SIGKILL.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hub.model.errors import HubError

LOG_BYTES_MAX: Final = 32 * 1024 * 1024
"""A child's log file is moved to ``.1`` when it grows beyond this."""
LOG_TAIL_LINES: Final = 8
READY_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.1
PROBE_TIMEOUT_S: Final = 2.0
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Mark(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for another one: its id, and when it started."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Tell whether that very process runs."""
        return started_at(self.pid) == self.started


def mark_of(pid: int) -> Mark | None:
    """Return the mark of a running process, None where there is none."""
    started = started_at(pid)
    return None if started is None else Mark(pid, started)


def started_at(pid: int) -> str | None:
    """Return when process ``pid`` started, in a form of the system's own; None where there is none, or only its remains."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in {"Z", "X"} else fields[19]
    ps = shutil.which("ps") or "/bin/ps"
    found = subprocess.run([ps, "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603 - a number
    return found.stdout.strip() or None


def stop_marked(mark: Mark, *, grace_s: float) -> bool:
    """Send SIGTERM, after ``grace_s`` SIGKILL, to the process of ``mark`` and to no other; True when it is gone."""
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if not mark.alive:
            return True
        os.kill(mark.pid, number)
        deadline = time.monotonic() + patience_s
        while mark.alive and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return not mark.alive


def readiness(url: str) -> str | None:
    """Ask ``url`` (a /readyz); None when ready, else the first reason."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S):  # noqa: S310 - an address of our own settings
            return None
    except urllib.error.HTTPError as error:
        return error.read(4096).decode(errors="replace").partition("\n")[0].removeprefix("[-]") or f"status {error.code}"
    except (OSError, ValueError):
        return "does not answer"


def hub_command(*words: str) -> list[str]:
    """Return the command that runs ``cityhub`` with ``words`` under this very Python.

    ``-P``: a folder ``hub/`` or ``avro_schemas/`` where the command is given must not stand in front of the product's own.
    """
    return [sys.executable, "-P", "-m", "hub.cli", *words]


def ending(status: int) -> str:
    """Say how a process ended: Python tells a signal as its negative number."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"


def leading_words(lead_with: str | None) -> tuple[str, ...]:
    """Return the words by which serve is told that another officer's key leads."""
    return () if lead_with is None else ("--lead-with-officer-key", lead_with)


class Child:
    """One process that this one started and stops."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        ready_url: str,
        grace_s: float = 20.0,
    ) -> None:
        """Start nothing yet. ``ready_url`` answers 200 once the child is ready."""
        self.name = name
        self.log = log
        self._ready_url = ready_url
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None
        self._mark: Mark | None = None
        self._wanted = False

    @property
    def mark(self) -> Mark | None:
        """Who the running child is."""
        return self._mark

    def start(self) -> None:
        """Start the child; its output is appended to its log. OSError: it could not be started, and counts as one that has died."""
        self._wanted = True
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.bound_log()
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call, no lock taken
            )
        self._mark = mark_of(self._process.pid)

    def wait_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when the child is ready; HUB-UP-002 when it ends before, or is not in time."""
        deadline = time.monotonic() + timeout_s
        reason = readiness(self._ready_url)
        while reason is not None:
            if (status := self.exit_status()) is not None:
                raise self._failed(f"`{self.name}` {ending(status)} while starting")
            if time.monotonic() > deadline:
                raise self._failed(f"`{self.name}` was not ready within {timeout_s:.0f} s: {reason}")
            time.sleep(POLL_S)
            reason = readiness(self._ready_url)

    def exit_status(self) -> int | None:
        """Return the exit status of a child that has ended, or 1 of one that could not be started; None while it runs."""
        if self._process is None:
            return 1 if self._wanted else None
        return self._process.poll()

    def stop(self) -> None:
        """End the child and collect it; idempotent."""
        self._wanted = False
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = self._mark = None

    def bound_log(self) -> None:
        """Move the log aside when it has grown beyond its bound. The child writes on in the emptied file.

        Where there is no room for the copy the log stays: then it cannot grow either.
        """
        aside = self.log.with_name(self.log.name + ".1")
        try:
            if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
                shutil.copyfile(self.log, aside)
                os.truncate(self.log, 0)
        except OSError:
            aside.unlink(missing_ok=True)

    def _failed(self, message: str) -> HubError:
        return HubError("HUB-UP-002", f"{message}{tail_of(self.log)}", f"`{self.log}` has the rest; `cityhub doctor` looks for causes")


def die_with_parent() -> None:
    """Let the kernel send SIGTERM to the child when its parent is killed (Linux; elsewhere the next `up` stops it)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tail_of(log: Path) -> str:
    """Return the last lines of ``log``, indented under a message; nothing where it is empty."""
    if not log.exists():
        return ""
    with log.open("rb") as source:
        source.seek(max(0, log.stat().st_size - 4096))
        lines = source.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "".join(f"\n  {line}" for line in lines)
