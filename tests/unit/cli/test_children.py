"""Processes: known by id and start time, ready before they count, stopped and collected, and never mistaken for others."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.cli import children
from hub.cli.children import Child, Mark, mark_of, readiness, started_at, stop_marked
from hub.cli.running import Running, only_one, read_running, stop_left_behind, write_running
from hub.model.errors import HubError

SERVER = """
import http.server, sys, time
print("starting")
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Make children that end with the test."""
    made: list[Child] = []

    def _make(code: str, *words: str, port: int = 1, grace_s: float = 5.0) -> Child:
        command = [sys.executable, "-u", "-c", code, *words]
        url = f"http://127.0.0.1:{port}/readyz"
        made.append(Child("part", command, log=tmp_path / "logs" / "part.log", environment={}, ready_url=url, grace_s=grace_s))
        return made[-1]

    yield _make
    for child in made:
        child.stop()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that waits."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_child_starts_gets_ready_and_stops(make: Callable[..., Child]) -> None:
    """And nothing of it is left."""
    port = free_port()
    child = make(SERVER, str(port), port=port)
    child.start()
    child.wait_ready(timeout_s=20)
    mark = child.mark
    assert mark is not None
    assert mark.alive
    assert child.exit_status() is None
    child.stop()
    child.stop()
    assert not mark.alive
    assert readiness(f"http://127.0.0.1:{port}/readyz") == "does not answer"


def test_a_child_that_dies_while_starting_is_told_with_its_last_words(make: Callable[..., Child]) -> None:
    """The person need not open the log to see why."""
    child = make("print('port 18080 is taken'); raise SystemExit(4)")
    child.start()
    with pytest.raises(HubError) as caught:
        child.wait_ready(timeout_s=20)
    assert caught.value.code == "HUB-UP-002"
    assert "exit status 4" in caught.value.message
    assert "port 18080 is taken" in caught.value.message


def test_a_child_that_never_gets_ready_is_told_in_time(make: Callable[..., Child]) -> None:
    """Waiting has a bound."""
    child = make("import time; time.sleep(60)")
    child.start()
    with pytest.raises(HubError, match="not ready within 0 s: does not answer"):
        child.wait_ready(timeout_s=0.3)


def test_a_child_that_ignores_sigterm_is_killed(make: Callable[..., Child], tmp_path: Path) -> None:
    """After its grace, so that `down` always ends."""
    child = make("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)", grace_s=0.5)
    child.start()
    while b"deaf" not in (tmp_path / "logs" / "part.log").read_bytes():
        time.sleep(0.02)
    mark = child.mark
    child.stop()
    assert mark is not None
    assert not mark.alive


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told by Linux alone")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """`kill -9` on `up` leaves no process behind."""
    script = (
        "import sys, time, pathlib; from hub.cli.children import Child\n"
        f"child = Child('part', [sys.executable, '-c', 'import time; time.sleep(60)'], log=pathlib.Path({str(tmp_path / 'l')!r}),"
        " environment={}, ready_url='')\n"
        "child.start(); print(child.mark.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        mark = mark_of(int(parent.stdout.readline()))
    assert mark is not None
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while mark.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not mark.alive


def test_a_log_is_moved_aside_at_its_bound(make: Callable[..., Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound it stays, one byte past it goes; the child writes on in the emptied file."""
    monkeypatch.setattr(children, "LOG_BYTES_MAX", 10)
    child = make("")
    log = tmp_path / "logs" / "part.log"
    log.parent.mkdir()
    log.write_bytes(b"0123456789")
    child.bound_log()
    assert log.read_bytes() == b"0123456789"
    log.write_bytes(b"0123456789x")
    child.bound_log()
    assert log.read_bytes() == b""
    assert (tmp_path / "logs" / "part.log.1").read_bytes() == b"0123456789x"


def test_a_reused_process_id_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    """Same id, other start time: someone else's process lives on."""
    stranger = Mark(sleeper.pid, "0")
    assert not stranger.alive
    assert stop_marked(stranger, grace_s=0.1)
    assert sleeper.poll() is None


def test_a_marked_process_is_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    """The very one, by SIGTERM."""
    mark = mark_of(sleeper.pid)
    assert mark is not None
    assert stop_marked(mark, grace_s=5)
    assert sleeper.wait(5) == -signal.SIGTERM


def test_the_remains_of_a_process_do_not_count_as_alive(sleeper: subprocess.Popen[bytes]) -> None:
    """A zombie that nobody has collected yet has ended."""
    sleeper.kill()
    deadline = time.monotonic() + 5
    while started_at(sleeper.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert started_at(sleeper.pid) is None


def test_one_up_at_a_time(tmp_path: Path) -> None:
    """A second one on the same folder is refused before it touches anything; the folder is free again afterwards."""
    with only_one(tmp_path), pytest.raises(HubError) as caught, only_one(tmp_path):
        pass
    assert caught.value.code == "HUB-UP-001"
    with only_one(tmp_path):
        pass


def test_what_a_killed_up_left_behind_is_stopped(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """The next `up`, or `down`, ends it; a child of a living `up` is left alone."""
    mark, own = mark_of(sleeper.pid), mark_of(os.getppid())
    assert mark is not None
    assert own is not None
    write_running(tmp_path, Running(own, "ready", {"worker": mark}))
    said: list[str] = []
    assert stop_left_behind(tmp_path, say=said.append) == []
    write_running(tmp_path, Running(Mark(own.pid, "0"), "ready", {"worker": mark}))
    assert stop_left_behind(tmp_path, say=said.append) == ["worker"]
    assert sleeper.wait(5) == -signal.SIGTERM
    assert read_running(tmp_path) is None
    assert len(said) == 1


def test_a_broken_note_is_no_note(tmp_path: Path) -> None:
    """Half a file, or one of another version, must not stop `up`."""
    (tmp_path / "up.json").write_text("{", encoding="utf-8")
    assert read_running(tmp_path) is None
    assert read_running(tmp_path / "up.json") is None
