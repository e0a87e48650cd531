"""The demo as a user runs it: exact figures, and nothing left behind however it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.exchange import kernel

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "build" / "nycflights13" / "flights.csv"
RECORDS = 5_000
AIRCRAFT = 3_322
GONE_WITHIN_S = 60.0
PRICE_MICRO_FEN = 300_000

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not DATA.exists(), reason="the demo's data is fetched by `make setup`"),
]


class Demo:
    """One `cityhub demo` whose temporary folder, and so all that belongs to it, can be told from others."""

    def __init__(self, folder: Path, *words: str) -> None:
        """Start it."""
        self.folder = folder
        self.log = folder / "stderr.txt"
        self._out = folder / "stdout.txt"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CITYHUB_")}
        environment |= {"TMPDIR": str(self.temporary), "CITYHUB_STATE": str(folder / "not-this-one"), "CITYHUB_LOG_STRICT": "1"}
        with self._out.open("wb") as out, self.log.open("wb") as log:
            command = [sys.executable, "-m", "hub.cli", "demo", *words]
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log)

    def wait(self, timeout_s: float = 200.0) -> int:
        """Return the exit code."""
        return self.process.wait(timeout_s)

    def wait_for(self, words: str, timeout_s: float = 120.0) -> None:
        """Return when the demo has said ``words``."""
        deadline = time.monotonic() + timeout_s
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        """Return what it said on stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def printed(self) -> str:
        """Return what it printed on stdout."""
        return self._out.read_text(encoding="utf-8")

    def processes(self) -> dict[int, str]:
        """Return processes that have the demo's folder among their words: broker, up, serve, worker, connectors."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                if str(self.temporary) in words:
                    found[int(entry.name)] = words
        return found

    def ports(self) -> list[int]:
        """Return the ports that it said it would use."""
        return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", self.said())]

    def left(self) -> list[str]:
        """Return what is left behind now: processes, open ports, files."""
        processes = [f"process {pid}: {words[:120]}" for pid, words in self.processes().items()]
        ports = [f"port {port}" for port in self.ports() if is_open(port)]
        return [*processes, *ports, *(str(path) for path in self.temporary.iterdir())]

    def hold_nothing_left(self, *, within_s: float = 0.0) -> None:
        """Fail with what is left behind."""
        deadline = time.monotonic() + within_s
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left == []
        assert len(self.ports()) >= 2, "a demo that names no ports would always pass"


def is_open(port: int) -> bool:
    """Tell whether something listens."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[list[Demo]]:
    """Demos of a test; what a failing test leaves is ended, by the ids that its own folder shows."""
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
        for pid in demo.processes():
            os.kill(pid, signal.SIGKILL)


def test_demo_delivers_exactly_what_was_reckoned_and_leaves_nothing(tmp_path: Path, demos: list[Demo]) -> None:
    """One JSON object on stdout; the payer of industry really pays, the departments' use is metered and not collected."""
    demos.append(demo := Demo(tmp_path, "--records", str(RECORDS), "--json"))
    code = demo.wait()
    assert code == 0, demo.said()
    found = json.loads(demo.printed())
    rates = {"crossing_records_per_s", "kernels", "kernel_ratio"}
    assert set(found) == {"records_published", "seconds", "kernel", "conservation", "agreements"} | rates
    assert found["records_published"] == RECORDS + AIRCRAFT
    assert found["conservation"] is True
    measured = {one["name"]: one for one in found["kernels"]}
    assert set(measured) == set(kernel.here())
    assert found["kernel"] in measured
    assert all(one["records"] > 1_000 and one["records_per_s"] > 0 for one in measured.values())
    assert (found["kernel_ratio"] or 0) > 1 or set(measured) == {"reference"}
    assert found["crossing_records_per_s"] > 0
    by_id = {one["id"]: one for one in found["agreements"]}
    assert set(by_id) == {"aircraft-research", "delay-cover", "flight-research", "jfk-delays"}
    for one in by_id.values():
        assert one["delivered"] == one["expected_delivered"] > 0
        assert one["denied"] == one["suppressed"] == one["quarantined"] == 0
        published = AIRCRAFT if one["id"] == "aircraft-research" else RECORDS
        assert one["delivered"] + one["filtered"] == published
    paid = {one["id"]: one["charge_fen"] for one in by_id.values() if one["charge_fen"]}
    assert paid == {"delay-cover": round(by_id["delay-cover"]["delivered"] * PRICE_MICRO_FEN / 1_000_000)}
    demo.hold_nothing_left()


def test_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, demos: list[Demo]) -> None:
    """Ctrl-C while the hub starts: 130, and everything is put away."""
    demos.append(demo := Demo(tmp_path, "--records", "100"))
    demo.wait_for("starting serve")
    assert demo.processes(), "the positive control of what is left: while it runs, there is something"
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 130
    demo.hold_nothing_left()


def test_demo_whose_worker_dies_says_so_and_leaves_nothing(tmp_path: Path, demos: list[Demo]) -> None:
    """A child that dies is an error with its last words, never a demo that waits."""
    demos.append(demo := Demo(tmp_path, "--records", "100", "--json"))
    demo.wait_for("published dataset vehicle-registry/aircraft")
    (worker,) = [pid for pid, words in demo.processes().items() if words.rstrip().endswith(" worker")]
    os.kill(worker, signal.SIGKILL)
    assert demo.wait() == 4
    error = json.loads(demo.said().splitlines()[-1])["error"]
    assert error["code"] == "HUB-DEMO-002"
    assert "`worker` stopped" in error["message"]
    assert demo.printed() == ""
    demo.hold_nothing_left()


def test_demo_that_is_kept_runs_on_until_it_is_told_to_stop(tmp_path: Path, demos: list[Demo]) -> None:
    """The words that it prints stop it: nobody has to look for processes."""
    demos.append(demo := Demo(tmp_path, "--records", "100", "--keep"))
    assert demo.wait() == 0, demo.said()
    assert [port for port in demo.ports() if not is_open(port)] == []
    config = re.search(r"cityhub --config (\S+) down", demo.printed())
    assert config is not None
    subprocess.run(
        [sys.executable, "-m", "hub.cli", "--config", config[1], "exchange", "status", "--json"], check=True, capture_output=True
    )
    subprocess.run([sys.executable, "-m", "hub.cli", "--config", config[1], "down"], check=True, capture_output=True)
    assert demo.processes() == {}
    assert [port for port in demo.ports() if is_open(port)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the children of a dead parent on Linux only")
def test_demo_that_is_killed_takes_its_processes_along(tmp_path: Path, demos: list[Demo]) -> None:
    """SIGKILL leaves no time to put anything away: the folder stays, but no process and no port."""
    demos.append(demo := Demo(tmp_path, "--records", "100"))
    demo.wait_for("starting worker")
    demo.process.kill()
    demo.wait()
    deadline = time.monotonic() + GONE_WITHIN_S
    while demo.processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert demo.processes() == {}
    assert [port for port in demo.ports() if is_open(port)] == []
