"""`cityhub up` where it is not easy: beside folders of the product's own names, under signals, on a full disk."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hub.cli.children import Mark, readiness
from hub.cli.running import read_running

pytestmark = pytest.mark.broker
PORTS = ("CITYHUB_BROKER__PORT", "CITYHUB_BROKER__CONTROLLER_PORT", "CITYHUB_SERVE__PORT", "CITYHUB_EXCHANGE__METRICS_PORT")
WITHIN_S = 120.0
DISK_MB = 2_048


class Place:
    """A working folder with a hub in it, driven by the ``cityhub`` script as a person would."""

    def __init__(self, folder: Path) -> None:
        """Choose ports, and make folders that are called as packages of the product are."""
        self.folder = folder
        for name in ("hub", "avro_schemas", "connectors"):
            (folder / name).mkdir()
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        self.ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        chosen = {name: str(port) for name, port in zip(PORTS, self.ports, strict=True)}
        self.environment = {**os.environ, **chosen, "CITYHUB_BROKER__HEAP_MB": "384"}
        self.state = folder / ".cityhub"

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        script = Path(sys.executable).with_name("cityhub")
        return subprocess.run(
            [script, *words], env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=180
        )

    @property
    def children(self) -> Mapping[str, Mark]:
        """Who runs."""
        running = read_running(self.state)
        return {} if running is None else running.children

    def log(self) -> str:
        """Return what `up` has said."""
        return (self.state / "logs" / "up.log").read_text(encoding="utf-8")

    def serve_says(self) -> str | None:
        """Return why serve is not ready, None where it is."""
        return readiness(f"http://127.0.0.1:{self.ports[2]}/readyz")

    def worker_says(self) -> str | None:
        """Return why the worker is not ready, None where it is."""
        return readiness(f"http://127.0.0.1:{self.ports[3]}/readyz")

    def is_well(self) -> bool:
        """Tell whether all is ready: a worker without a dataset never is, and answers."""
        return self.serve_says() is None and self.worker_says() != "does not answer"


def until(true: Callable[[], bool], *, within_s: float = WITHIN_S, what: Callable[[], str] = lambda: "it") -> None:
    """Wait for a fact, not for a time."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not in time: {what()}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give a hub that is up in a folder with `hub/`, `avro_schemas/` and `connectors/`."""
    built = Place(tmp_path_factory.mktemp("place"))
    try:
        found = built.call("up", "--background")
        assert found.returncode == 0, found.stderr
        yield built
    finally:
        built.call("down")


@pytest.mark.parametrize("name", ["worker", "serve", "broker"])
def test_a_killed_part_comes_back_and_the_signal_is_told(place: Place, name: str) -> None:
    """Also beside folders of the product's own names, which stood in front of its packages at every start but the first."""
    before = place.children[name]
    said = place.log()
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: place.children.get(name) not in {None, before} and place.is_well(), what=place.log)
    assert f"{name} was killed by signal 9 (SIGKILL); starting it again" in place.log()[len(said) :]


def test_serve_is_not_ready_while_its_broker_is_frozen(place: Place) -> None:
    """It stood green for as long as the broker hung: nobody was told that no right could be withdrawn."""
    until(place.is_well)
    broker = place.children["broker"].pid
    os.kill(broker, signal.SIGSTOP)
    try:
        until(lambda: "HUB-BROKER-001" in str(place.serve_says()), within_s=40, what=lambda: str(place.serve_says()))
        assert place.call("doctor", "--json").returncode == 4
    finally:
        os.kill(broker, signal.SIGCONT)
    until(place.is_well, what=lambda: f"{place.serve_says()} {place.worker_says()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of its own of 2 GiB, which takes no room while it is empty."""
    image, mounted = tmp_path / "disk.img", tmp_path / "disk"
    mounted.mkdir()
    with image.open("wb") as made:
        made.truncate(DISK_MB * 1024**2)
    commands = (["mkfs.ext4", "-q", "-m", "0", "-F", str(image)], ["mount", "-o", "loop", str(image), str(mounted)])
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted here: {type(error).__name__}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_a_read_only_state_folder_is_told_with_its_place(tmp_path: Path) -> None:
    """What, where, and the way out; nothing of a trace."""
    mounted = tmp_path / "fixed"
    mounted.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(mounted)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {type(error).__name__}")
    try:
        (tmp_path / "place").mkdir()
        found = Place(tmp_path / "place").call("--state", str(mounted / "state"), "up")
        assert found.returncode == 4, found.stderr
        assert f"HUB-FILE-002 files may not be read or written: cannot use the state folder `{mounted / 'state'}`" in found.stderr
        assert "the file system is read-only" in found.stderr
        assert "unexpected" not in found.stderr
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """Keys and a broker were made first, and taken down again."""
    place = Place(tmp_path)
    with socket.create_server(("127.0.0.1", place.ports[2])):
        for words in (("up",), ("up", "--background")):
            found = place.call(*words)
            assert found.returncode == 4, found.stderr
            assert "HUB-BROKER-004" in found.stderr
            assert "`serve.port`" in found.stderr
    assert not (place.state / "keys").exists()


def _fill(disk: Path) -> None:
    """Take every byte that is left."""
    with (disk / "filler").open("ab") as filler:
        step = 64 * 1024**2
        while step >= 1:
            try:
                os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), step)
            except OSError:
                step //= 2
    for number in range(10_000):
        try:
            (disk / f"filler-{number}").write_bytes(b"x" * 4096)
        except OSError:
            return


def _empty(disk: Path) -> None:
    for filler in disk.glob("filler*"):
        with contextlib.suppress(OSError):
            filler.unlink()


def test_up_outlives_a_full_disk_and_everything_runs_again_once_there_is_room(small_disk: Path) -> None:
    """Whatever dies meanwhile; nobody has to start anything by hand."""
    (small_disk / "place").mkdir()
    place = Place(small_disk / "place")
    found = place.call("up", "--background")
    assert found.returncode == 0, found.stderr
    running = read_running(place.state)
    assert running is not None
    try:
        _fill(small_disk)
        for mark in running.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(mark.pid, signal.SIGKILL)
        time.sleep(15)  # every part is tried again and again, without room for anything
        assert running.up.alive, place.log()
        assert place.serve_says() is not None
        _empty(small_disk)
        until(place.is_well, what=place.log)
        assert running.up.alive
        assert set(place.children) == {"broker", "serve", "worker"}
        doctor = json.loads(place.call("doctor", "--json").stdout)
        assert doctor["checks"]["store"]["status"] == "ok"
    finally:
        assert place.call("down").returncode == 0
