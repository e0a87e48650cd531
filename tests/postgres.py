"""A PostgreSQL server of the tests' own: in a folder of its own, on a socket that only this machine sees, gone when the tests are.

The server is the one that ``make setup`` unpacked to ``build/postgres``. It refuses to run as root: then it runs as ``nobody``, who gets
copies of what he may not reach.
"""

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import pytest

ROOT: Final = Path(__file__).parents[1]
UNPACKED: Final = ROOT / "build" / "postgres" / "server"
NOBODY: Final = 65_534
START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 30.0
SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",  # what a test writes need not outlive the machine
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "log_min_messages": "warning",
}


_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def _end_with_parent() -> None:
    """Let the kernel end the server when the tests are killed (prctl(2)); after its user was set, which would undo it."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)


class Postgres:
    """The server; a context manager."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._folder = Path(tempfile.mkdtemp(prefix="cityhub-pg-", dir="/tmp"))
        self._who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        """Make the cluster and start the server."""
        try:
            self._start(self._programs())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and leave nothing behind."""
        self.stop()

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"hub_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://hub@/{name}?host={self._folder}"

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the administrator of the server, outside any transaction."""
        with psycopg.connect(f"host={self._folder} user=hub dbname=postgres", autocommit=True) as connection:
            found = connection.execute(statement)  # type: ignore[call-overload]  # statements of the tests' own
            return list(found.fetchall()) if found.description else []

    def end_connections(self, database: str, *, like: str = "%") -> int:
        """End every connection to a database whose last statement is ``like`` that, as a server that restarts does; how many there were."""
        found = self.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE '{like}'"  # noqa: S608
        )
        return len(found)

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # connections are ended, changes that are open are rolled back
            try:
                self._process.wait(timeout=STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _programs(self) -> Path:
        """Return the folder of the programs, where the user of the server may run them."""
        if not (UNPACKED / "bin" / "initdb").exists():
            pytest.fail("build/postgres has no server: run `make setup`")
        if self._who:
            self._folder.chmod(0o711)
            try:
                subprocess.run([UNPACKED / "bin" / "postgres", "--version"], check=True, capture_output=True, **self._who)
            except (PermissionError, subprocess.CalledProcessError):
                return shutil.copytree(UNPACKED, self._folder / "server", symlinks=True) / "bin"
        return UNPACKED / "bin"

    def _start(self, programs: Path) -> None:
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        for path in (data, self._folder):
            if self._who:
                os.chown(path, NOBODY, NOBODY)
        made = [programs / "initdb", "--pgdata", data, "--username", "hub", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]
        subprocess.run([*made, "--no-sync", "--no-instructions"], check=True, capture_output=True, cwd=self._folder, **self._who)
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(self._folder), *settings]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call of the C library, which takes no lock
                **self._who,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                self.run("SELECT 1")
            except psycopg.OperationalError:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"PostgreSQL did not start: {(self._folder / 'log').read_text(errors='replace')[-2_000:]}")
                time.sleep(0.05)
            else:
                return
