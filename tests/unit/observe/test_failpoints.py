"""Failpoints stop exactly where they are asked to, and only there."""

import json
import subprocess
import sys
import time
from pathlib import Path

VISIT_TWICE = """
from hub.observe.failpoints import failpoint
failpoint("lane.drained", detail="x-0")
failpoint("lane.drained")
print("through")
"""


def _start(value: str, code: str = VISIT_TWICE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], env={"CITYHUB_FAILPOINT": value}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_hang_names_its_place_and_lets_go_when_its_mark_is_removed(tmp_path: Path) -> None:
    """A zombie is let go by removing the mark; a mark that never appears would make a kill test wait in vain."""
    mark = tmp_path / "mark"
    process = _start(f"lane.drained@1=hang:{mark}")
    deadline = time.monotonic() + 20
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.loads(mark.read_text()) == {"pid": process.pid, "name": "lane.drained", "detail": "x-0"}
    assert process.poll() is None

    mark.unlink()

    assert process.communicate(timeout=20)[0] == "through\n"


def test_a_failpoint_that_nobody_knows_is_refused_at_start() -> None:
    """A kill test that waits for a name that no longer exists would prove nothing."""
    process = _start("lane.no_such_place@1=sleep:1")

    _, told = process.communicate(timeout=20)

    assert process.returncode != 0
    assert "HUB-CONF-001" in told


def test_without_the_variable_nothing_stops() -> None:
    """Production sets none."""
    process = _start("")

    assert process.communicate(timeout=20)[0] == "through\n"
