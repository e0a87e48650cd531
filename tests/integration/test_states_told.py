"""What each part says in each broken state: one table, as a golden file, so that a contradiction is seen by whoever reads it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from golden_files import hold
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE

from hub.cli.children import Mark, readiness
from hub.cli.running import read_running

pytestmark = [pytest.mark.broker, pytest.mark.golden, pytest.mark.timeout(600)]
PORTS = ("CITYHUB_BROKER__PORT", "CITYHUB_BROKER__CONTROLLER_PORT", "CITYHUB_SERVE__PORT", "CITYHUB_EXCHANGE__METRICS_PORT")
WITHIN_S = 90.0


class Hub:
    """A hub with one active agreement, whose `up` may be stopped so that what dies stays dead."""

    def __init__(self, folder: Path) -> None:
        """Choose ports; begin it, publish a dataset and sign an agreement."""
        self.folder = folder
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        self.ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        chosen = {name: str(port) for name, port in zip(PORTS, self.ports, strict=True)}
        self.environment = {**os.environ, **chosen, "CITYHUB_BROKER__HEAP_MB": "384"}
        schema = folder / "avro_schemas" / "vehicle-registry" / "vehicle" / "v1.avsc"
        schema.parent.mkdir(parents=True)
        schema.write_text(json.dumps(VEHICLE), encoding="utf-8")
        (folder / "d.yaml").write_text(ENTRY, encoding="utf-8")
        (folder / "a.yaml").write_text(AGREEMENT, encoding="utf-8")

    def begin(self) -> None:
        """Start it and wait until a record could be delivered."""
        for words in (
            ("up", "--background"),
            ("dataset", "apply", "d.yaml"),
            ("dataset", "publish", DATASET),
            ("agreement", "apply", "a.yaml"),
            ("agreement", "sign", "parking-vehicles"),
        ):
            found = self.call(*words)
            assert found.returncode == 0, found.stderr
        until(self.is_well, what=self.said)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        command = [sys.executable, "-P", "-m", "hub.cli", *words]
        return subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)

    @property
    def up(self) -> Mark:
        """The `up` process."""
        running = read_running(self.folder / ".cityhub")
        assert running is not None
        return running.up

    @property
    def children(self) -> Mapping[str, Mark]:
        """The parts that run."""
        running = read_running(self.folder / ".cityhub")
        return {} if running is None else running.children

    def ready(self, name: str) -> str:
        """Return what /readyz of serve or worker says in its first line."""
        said = readiness(f"http://127.0.0.1:{self.ports[2 if name == 'serve' else 3]}/readyz")
        return "ready" if said is None else plain(said)

    def is_well(self) -> bool:
        """Tell whether everything is ready, and every lane has a worker again."""
        return self.ready("serve") == self.ready("worker") == "ready" and self.call("exchange", "status").returncode == 0

    def said(self) -> str:
        """Return both answers."""
        return f"serve {self.ready('serve')}, worker {self.ready('worker')}"

    def told(self, state: str) -> dict[str, str]:
        """Return a row of the table."""
        doctor = self.call("doctor", "--json")
        checks: dict[str, Any] = json.loads(doctor.stdout)["checks"]
        bad = [name for name, found in checks.items() if found["status"] in {"down", "failed"}]
        status = self.call("exchange", "status", "--json")
        ledger = self.call("ledger", "check", "--json")
        return {
            "state": state,
            "serve /readyz": self.ready("serve"),
            "worker /readyz": self.ready("worker"),
            "doctor": f"{doctor.returncode}: {', '.join(bad) or 'nothing bad'}",
            "exchange status": str(status.returncode),
            "ledger check": str(ledger.returncode),
        }


def plain(text: str) -> str:
    """Leave out what differs from run to run."""
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", re.sub(r" for \d+ s", " for N s", text))


def until(true: Callable[[], bool], *, what: Callable[[], str] = lambda: "it") -> None:
    """Wait for a fact, not for a time."""
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, f"not in time: {what()}"
        time.sleep(0.2)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Give a hub that was not begun yet."""
    built = Hub(tmp_path)
    yield built
    built.call("down")


@contextmanager
def stopped(mark: Mark) -> Iterator[None]:
    """Let a process stand still."""
    os.kill(mark.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(mark.pid, signal.SIGCONT)


def test_what_is_told_in_each_state(hub: Hub) -> None:
    """`up` stands still while a part is dead, so that nobody starts it again before it was asked about."""
    rows = [hub.told("not begun")]
    hub.begin()
    rows.append(hub.told("well"))
    for name, sign in (("worker", "does not answer"), ("serve", "does not answer")):
        with stopped(hub.up):
            os.kill(hub.children[name].pid, signal.SIGKILL)
            until(lambda name=name, sign=sign: hub.ready(name) == sign, what=hub.said)
            if name == "worker":  # the group waits for it as long as its session lasts
                until(lambda: hub.call("exchange", "status").returncode != 0, what=hub.said)
            rows.append(hub.told(f"{name} killed"))
        until(hub.is_well, what=hub.said)
    with stopped(hub.children["broker"]):
        until(lambda: "ready" not in (hub.ready("serve"), hub.ready("worker")), what=hub.said)
        rows.append(hub.told("broker frozen"))
    until(hub.is_well, what=hub.said)
    with stopped(hub.up):
        os.kill(hub.children["broker"].pid, signal.SIGKILL)
        until(lambda: "ready" not in (hub.ready("serve"), hub.ready("worker")), what=hub.said)
        rows.append(hub.told("broker killed"))
    until(hub.is_well, what=hub.said)
    rows.append(hub.told("well again"))
    assert {key: value for key, value in rows[-1].items() if key != "state"} == {k: v for k, v in rows[1].items() if k != "state"}
    lines = [f"{row['state']}\n" + "".join(f"    {key}: {value}\n" for key, value in row.items() if key != "state") for row in rows]
    hold("cli/states.txt", "\n".join(lines))
