"""A hub in a folder of its own, brought up and down by its command line: real processes on ports of their own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hub.cli.children import Mark
from hub.cli.running import read_running

PORTS = ("CITYHUB_BROKER__PORT", "CITYHUB_BROKER__CONTROLLER_PORT", "CITYHUB_SERVE__PORT", "CITYHUB_EXCHANGE__METRICS_PORT")
WITHIN_S = 90


class House:
    """A hub in a folder of its own, driven by its command line."""

    def __init__(self, folder: Path) -> None:
        """Choose ports."""
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        self.ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        self.state = folder / "state"
        chosen = {name: str(port) for name, port in zip(PORTS, self.ports, strict=True)}
        self.environment = {**os.environ, **chosen, "CITYHUB_STATE": str(self.state), "CITYHUB_BROKER__HEAP_MB": "384"}

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )

    def start(self) -> subprocess.Popen[str]:
        """Run `up` in the foreground, until it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "up"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        until(lambda: self.is_ready(process.pid))
        return process

    def is_ready(self, pid: int) -> bool:
        """Tell whether the `up` of process ``pid`` has everything ready."""
        running = read_running(self.state)
        return running is not None and (running.up.pid, running.status) == (pid, "ready")

    @property
    def status(self) -> str | None:
        """What `up` noted last."""
        running = read_running(self.state)
        return None if running is None else running.status

    @property
    def children(self) -> Mapping[str, Mark]:
        """Who runs."""
        running = read_running(self.state)
        return {} if running is None else running.children

    def listeners(self) -> list[int]:
        """Return ports that someone listens on."""
        return [port for port in self.ports if _answers(port)]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(true: Callable[[], bool]) -> None:
    """Wait for a fact, not for a time."""
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
