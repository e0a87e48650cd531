"""The stage of the demo: a hub in a folder of its own, on free ports, that leaves nothing behind when the play is over.

The hub is `cityhub up` itself, as a child process; it starts broker, serve and worker. All settings stand in a
``cityhub.yaml`` in the folder, so that every command of the demo can be repeated by hand with ``--config``. Where the demo is
killed by SIGKILL, the kernel sends `up` a SIGTERM, and that one stops the others (Linux; elsewhere `cityhub down` does it).
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import yaml

from hub.cli.children import LOG_TAIL_LINES, hub_command, tail_of
from hub.cli.running import Running, log_folder, read_running, stop_left_behind
from hub.model.errors import CODES, HubError, Problem
from hub.model.times import SHANGHAI
from hub.settings import Settings, load_settings

START_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 90.0
CALL_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.1
KEPT_VARIABLES: Final = ("CITYHUB_KAFKA_LIBS", "CITYHUB_KERNEL", "CITYHUB_LANG", "CITYHUB_DEBUG", "CITYHUB_LOG_STRICT")
"""All other ``CITYHUB_`` variables are of another hub and are not passed on."""
_PR_SET_PDEATHSIG: Final = 1


class Stage:
    """A hub that runs inside the ``with`` block; with ``keep`` it runs on behind it."""

    def __init__(self, *, keep: bool) -> None:
        """Make the folder and its settings; nothing runs yet."""
        _forget_other_hubs()
        self.folder = Path(tempfile.mkdtemp(prefix="cityhub-demo-"))
        self._scratch = self.folder / "tmp"
        self._scratch.mkdir()
        self.keep = keep
        self.config = self.folder / "cityhub.yaml"
        _write_settings(self.config, state=self.folder)
        self.settings: Settings = load_settings(file=self.config)
        self._up: subprocess.Popen[bytes] | None = None
        self._cast: Running | None = None
        self._calls: list[subprocess.Popen[bytes]] = []
        self.month = month_now()
        """The month in Asia/Shanghai in which the stage was made."""

    def __enter__(self) -> Self:
        """Return at once: ``open`` starts the hub."""
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Stop everything and remove the folder, unless it was to be kept and nothing failed."""
        if self.keep and failure is None:
            return
        with undisturbed():
            self.close()

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the broker."""
        return f"127.0.0.1:{self.settings.broker.port}"

    def shown(self, *words: str) -> str:
        """Return a command line that a person can type to reach this hub."""
        return " ".join(("cityhub", "--config", str(self.config), *words))

    def open(self, *, waiting: Callable[[str], None]) -> None:
        """Start the hub and return when it is ready; HUB-DEMO-002 when it is not. ``waiting`` is told how far it is."""
        log = log_folder(self.folder) / "up.log"
        log.parent.mkdir(mode=0o700)
        with log.open("ab") as out:
            self._up = self._launch("up", "--json", out=out, err=out, tied=not self.keep)
        deadline = time.monotonic() + START_TIMEOUT_S
        shown = ""
        while (running := read_running(self.folder)) is None or running.status != "ready":
            if self._up.poll() is not None:
                raise coded_error(log.read_text(errors="replace")) or _stopped("up", log)
            if time.monotonic() > deadline:
                raise HubError(
                    "HUB-DEMO-002", f"the hub was not ready within {START_TIMEOUT_S:.0f} s{tail_of(log)}", "is the machine busy?"
                )
            last = log.read_text(errors="replace").rstrip().rpartition("\n")[2]
            if last != shown:
                shown = last
                waiting(last)
            time.sleep(POLL_S)
        self._cast = running

    def check(self) -> None:
        """HUB-DEMO-002 with the last lines of its log when any process has ended since ``open``."""
        if self._up is None or self._cast is None:
            return
        folder = log_folder(self.folder)
        for name, mark in self._cast.children.items():
            if not mark.alive:
                raise _stopped(name, self.folder / "broker" / "broker.log" if name == "broker" else folder / f"{name}.log")
        if self._up.poll() is not None:
            raise _stopped("up", folder / "up.log")

    def call(self, *words: str, timeout_s: float = CALL_TIMEOUT_S, meanwhile: Callable[[], None] | None = None) -> Any:
        """Run one ``cityhub`` command with ``--json`` and return what it printed; its own coded error where it failed."""
        call = Call(self, words)
        try:
            return call.finish(timeout_s=timeout_s, meanwhile=meanwhile or (lambda: None))
        finally:
            call.end()

    def launch(self, *words: str, out: Any, err: Any) -> subprocess.Popen[bytes]:
        """Start one ``cityhub`` command that ends with this process at the latest."""
        process = self._launch(*words, out=out, err=err, tied=True)
        self._calls.append(process)
        return process

    def close(self) -> None:
        """Stop every process and remove the folder; idempotent."""
        for process in self._calls:
            _end(process, timeout_s=10.0)
        if self._up is not None:
            _end(self._up, timeout_s=STOP_TIMEOUT_S)
            stop_left_behind(self.folder, say=lambda _: None)
            self._up = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self, *words: str, out: Any, err: Any, tied: bool) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own command
            hub_command("--config", str(self.config), *words),
            env={**os.environ, "TMPDIR": str(self._scratch)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=_end_with_parent if tied and sys.platform == "linux" else None,  # noqa: PLW1509 - one system call, no locks taken
        )


class Call:
    """One running ``cityhub … --json``; its output goes to files, so that no pipe can fill."""

    def __init__(self, stage: Stage, words: tuple[str, ...]) -> None:
        """Start it."""
        self._stage = stage
        self._words = words
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``end``
        self._err = tempfile.TemporaryFile()  # noqa: SIM115 - same
        self._process = stage.launch(*words, "--json", out=self._out, err=self._err)

    def finish(self, *, timeout_s: float, meanwhile: Callable[[], None]) -> Any:
        """Wait for the end, looking after the hub meanwhile."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None:
            self._stage.check()
            meanwhile()
            if time.monotonic() > deadline:
                raise HubError("HUB-DEMO-002", f"`{self._name}` did not end within {timeout_s:.0f} s", "is the machine busy?")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_S)
        if self._process.returncode != 0:
            raise self._error()
        return json.loads(_text(self._out) or "null")

    def end(self) -> None:
        """Stop it where it still runs, and close its files."""
        _end(self._process, timeout_s=10.0)
        self._out.close()
        self._err.close()

    @property
    def _name(self) -> str:
        return "cityhub " + " ".join(word for word in self._words if not Path(word).is_absolute())

    def _error(self) -> HubError:
        said = _text(self._err)
        error = coded_error(said)
        if error is not None:
            return HubError(error.code, f"{error.message} (from `{self._name}`)", error.fix, problems=error.problems)
        tail = "".join(f"\n  {line}" for line in said.splitlines()[-LOG_TAIL_LINES:])
        return HubError("HUB-DEMO-002", f"`{self._name}` ended with exit status {self._process.returncode}{tail}", "report this")


def coded_error(said: str) -> HubError | None:
    """Return the last error that a ``cityhub … --json`` printed, None where there is none."""
    for line in reversed(said.splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            error = json.loads(line)["error"]
            if error["code"] in CODES:
                problems = tuple(Problem(**problem) for problem in error["problems"])
                return HubError(error["code"], error["message"], error["fix"], problems=problems)
    return None


def month_now() -> str:
    """Return this month in Asia/Shanghai, as periods are named."""
    return datetime.now(SHANGHAI).strftime("%Y-%m")


@contextlib.contextmanager
def told_to_stop() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt inside the block, so that they end the demo as Ctrl-C does."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore signals while things are put away: a second Ctrl-C must not leave processes behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _forget_other_hubs() -> None:
    for name in [name for name in os.environ if name.startswith("CITYHUB_") and name not in KEPT_VARIABLES]:
        del os.environ[name]


def _write_settings(file: Path, *, state: Path) -> None:
    ports = _free_ports(4)
    values: Mapping[str, Any] = {
        "state": str(state),
        "broker": {"port": ports[0], "controller_port": ports[1]},
        "serve": {"port": ports[2]},
        "exchange": {"metrics_port": ports[3]},
    }
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, each another one."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the thread that started this process is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes], *, timeout_s: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _stopped(name: str, log: Path) -> HubError:
    return HubError("HUB-DEMO-002", f"`{name}` stopped while the demo ran{tail_of(log)}", "run the demo again; report it if it repeats")


def _text(source: Any) -> str:
    source.seek(0)
    content: bytes = source.read()
    return content.decode(errors="replace").strip()
