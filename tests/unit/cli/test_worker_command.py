"""What `cityhub worker` runs on: uvloop, glibc's allocator told to keep what it has, and a step every 100 ms."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hub.cli import run
from hub.cli.worker import ALLOCATOR
from hub.settings import Settings

TELLING = """
import asyncio, os
from hub.cli import run
from hub.cli.worker import ALLOCATOR
from hub.exchange import worker

async def tell(_app):
    print(type(asyncio.get_running_loop()).__module__, *(os.environ.get(name) for name in ALLOCATOR), flush=True)
    os._exit(0)

worker.ExchangeApp.on_first_start = tell
run(["worker"])
"""
"""The worker's command, which ends where the app would look for its broker, and tells which loop has brought it there."""


def _told(folder: Path, **environment: str) -> list[str]:
    """Return what a worker tells whose environment holds none of the allocator's settings but those given."""
    bare = {name: value for name, value in os.environ.items() if name not in ALLOCATOR and not name.startswith("CITYHUB_")}
    bare["CITYHUB_EXCHANGE__METRICS_PORT"] = "0"
    found = subprocess.run(
        [sys.executable, "-c", TELLING], env={**bare, **environment}, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


def test_a_worker_runs_on_uvloop_and_keeps_its_memory(tmp_path: Path) -> None:
    """Either costs a good part of the throughput where it is missing, and nothing else would tell."""
    assert _told(tmp_path) == ["uvloop", *ALLOCATOR.values()]


def test_what_an_operator_has_set_for_the_allocator_stays(tmp_path: Path) -> None:
    """The others are added."""
    (first, *rest) = ALLOCATOR
    assert _told(tmp_path, **{first: "65536"}) == ["uvloop", "65536", *(ALLOCATOR[name] for name in rest)]


@pytest.mark.parametrize("words", [("worker",), ("worker", "--processes", "2")])
def test_a_port_that_another_worker_has_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Beside `cityhub up` the second one died in a loop, its cause behind the frames of a long line of the log."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("CITYHUB_EXCHANGE__METRICS_PORT", str(port))
        for name in ALLOCATOR:
            monkeypatch.delenv(name, raising=False)
        assert run(list(words)) == 4
    said = capsys.readouterr().err
    beside = rf"(, {port + 1})?" if "--processes" in words else ""  # whoever else is on this machine may have the next one
    assert re.match(rf"error HUB-BROKER-004 port is taken: `exchange\.metrics_port`: {port}{beside} of 127\.0\.0\.1 is taken", said)
    assert "CITYHUB_EXCHANGE__METRICS_PORT=" in said


def test_a_lane_is_drained_every_tenth_of_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody says otherwise: latency, and what a transaction costs, hang on it."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CITYHUB_")]:
        monkeypatch.delenv(name)
    assert Settings().exchange.step_ms == 100
