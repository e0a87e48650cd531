"""The crew: two workers that are armed, watched, killed, stopped and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hub.broker import leash

WORKER: Final = ("-m", "hub.cli", "worker")
END_WITHIN_S: Final = 30.0


class Failure(Exception):  # noqa: N818 - a verdict
    """The run cannot prove what it is there to prove."""


def interrupt_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that it leaves no process behind."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


class Story:
    """Tells a person how it goes, on stderr."""

    def __init__(self) -> None:
        """Begin the time."""
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say one line."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)


class Post:
    """One worker's place: its process, and the failpoint that it is armed with."""

    def __init__(
        self, name: str, *, folder: Path, environment: Mapping[str, str], command: Sequence[str], python: str = sys.executable
    ) -> None:
        """Nothing runs yet. ``python``: the interpreter whose packages hold the code that runs."""
        self.name = name
        self.python = python
        """May be changed: it counts from the next start on."""
        self.armed: str | None = None
        self.exits: list[int] = []
        """Exit codes of ends that nobody asked for."""
        self.starts = 0
        self.started_at = 0.0
        self._folder, self._environment, self._command = folder, environment, command
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begin = 0

    @property
    def mark(self) -> Path:
        """The file that a hang writes."""
        return self._folder / f"mark-{self.name}-{self.starts}"

    @property
    def log(self) -> Path:
        """What the worker says, over all its lives."""
        return self._folder / f"worker-{self.name}.log"

    @property
    def pid(self) -> int:
        """Process id; 0 when none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self, *, failpoint: str | None = None, hit: int = 1, hangs: int = 1) -> None:
        """Start a worker, which hangs at the given visit of ``failpoint``, and at each after it that is among the next ``hangs``."""
        self.starts += 1
        self.armed = failpoint
        self.started_at = time.monotonic()
        environment = dict(self._environment)
        if failpoint is not None:
            visits = range(hit, hit + hangs)
            environment["CITYHUB_FAILPOINT"] = ",".join(f"{failpoint}@{visit}=hang:{self.mark}" for visit in visits)
        self._log_begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            # on a leash: it ends with this program, however that ends
            leashed = [sys.executable, "-I", "-S", str(leash.__file__), str(os.getpid()), self.python, *self._command]
            self._process = subprocess.Popen(leashed, env=environment, stdout=out, stderr=out, cwd=self._folder)

    def said(self, words: str) -> bool:
        """Tell whether the worker has said something since it was started."""
        return words in self.log_since_start

    @property
    def log_since_start(self) -> str:
        """What the worker has said since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._log_begin)
            return log.read().decode(errors="replace")

    def hangs(self) -> dict[str, Any] | None:
        """Return what the mark says, once the worker hangs."""
        if self.armed is None or not self.mark.exists():
            return None
        found: dict[str, Any] = json.loads(self.mark.read_text(encoding="utf-8"))
        return found

    def go_on(self) -> None:
        """Let a hanging worker go on to the next visit."""
        self.mark.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Let a hanging worker go on for good."""
        self.mark.unlink(missing_ok=True)
        self.armed = None

    def ended_by_itself(self) -> int | None:
        """Return the exit code of an end that nobody asked for, once."""
        if self._process is None or self._process.poll() is None:
            return None
        code = self._process.returncode
        self.exits.append(code)
        self._process = None
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.pid:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the worker by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> int | None:
        """End the worker by SIGTERM; returns its exit code, None when it had to be killed."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            return self._process.wait(timeout=END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
        finally:
            self._process = None

    def resident_mb(self) -> float:
        """Return the memory of the worker in MB; 0 when none runs."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        return int(status.split("VmRSS:")[1].split()[0]) / 1024 if "VmRSS:" in status else 0.0
