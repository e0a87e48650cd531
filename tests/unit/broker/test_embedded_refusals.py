"""What the embedded broker refuses before Java runs: each with its code, its cause and the way to mend it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hub.broker.embedded import EmbeddedBroker, check_java
from hub.broker.embedded_files import java_command, properties
from hub.broker.folder_lock import FolderLock
from hub.broker.ports import HOST, choose_free, is_free
from hub.model.errors import HubError

HOLD = """
import sys, time
from pathlib import Path
from hub.broker.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
print("held", flush=True)
sys.stdin.read()
"""


def _refusal(broker: EmbeddedBroker) -> HubError:
    with pytest.raises(HubError) as caught:
        broker.start()
    assert broker.pid is None
    return caught.value


@pytest.fixture
def _java_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a Java of a sufficient version on the path that can do nothing else."""
    _fake_java(tmp_path, monkeypatch, version="21.0.1")


def _fake_java(folder: Path, monkeypatch: pytest.MonkeyPatch, *, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(exist_ok=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    java.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{java.parent}:/bin:/usr/bin")
    return java


def test_no_java_is_named_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    error = _refusal(EmbeddedBroker(folder=tmp_path / "broker"))

    assert error.code == "HUB-BROKER-005"
    assert "apt-get install" in error.fix


@pytest.mark.parametrize(("version", "shown"), [("1.8.0_392", "8"), ("11.0.21", "11"), ("16", "16")])
def test_an_old_java_is_refused_with_its_version(version: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka 4 needs 17; an old one would die with a class file error that no one understands."""
    java = _fake_java(tmp_path, monkeypatch, version=version)

    error = _refusal(EmbeddedBroker(folder=tmp_path / "broker"))

    assert (error.code, error.message) == ("HUB-BROKER-005", f"`{java}` is of version {shown}")


def test_java_home_wins_over_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every Java program."""
    _fake_java(tmp_path, monkeypatch, version="11.0.1")
    home = tmp_path / "home"
    home.mkdir()
    newer = _fake_java(home, monkeypatch, version="17.0.1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("JAVA_HOME", str(home))

    assert check_java() == str(newer)


@pytest.mark.usefixtures("_java_is_not_needed")
def test_missing_jars_name_the_door_that_fetches_them(tmp_path: Path) -> None:
    """A checkout without ``make setup``."""
    error = _refusal(EmbeddedBroker(folder=tmp_path / "broker", libs=tmp_path))

    assert error.code == "HUB-CONF-003"
    assert "make setup" in error.fix


@pytest.mark.usefixtures("_java_is_not_needed")
def test_too_little_space_is_refused_before_kafka_meets_it(tmp_path: Path) -> None:
    """A full disk stops a Kafka in the middle of a segment."""
    error = _refusal(EmbeddedBroker(folder=tmp_path / "broker", free_bytes_min=2**60))

    assert error.code == "HUB-BROKER-006"
    assert "MiB free" in error.message


@pytest.mark.usefixtures("_java_is_not_needed")
@pytest.mark.parametrize("name", ["port", "controller_port"])
def test_a_taken_port_is_named_with_its_setting(name: str, tmp_path: Path) -> None:
    """Two hubs on one machine."""
    with socket.create_server((HOST, 0)) as other:
        number = other.getsockname()[1]
        broker = EmbeddedBroker(folder=tmp_path / "broker", **{name: number})
        error = _refusal(broker)

    assert (error.code, error.message) == ("HUB-BROKER-004", f"port {number} of 127.0.0.1 is taken")
    assert f"`broker.{name}`" in error.fix


@pytest.mark.usefixtures("_java_is_not_needed")
def test_a_folder_that_another_process_holds_is_refused_with_its_process_id(tmp_path: Path) -> None:
    """A second Kafka on a folder corrupts the metadata log of the first: the refusal comes before Java runs."""
    folder = tmp_path / "broker"
    folder.mkdir()
    command = [sys.executable, "-c", HOLD, str(folder / "broker.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        error = _refusal(EmbeddedBroker(folder=folder))

        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(timeout=10)
    assert error.code == "HUB-BROKER-003"
    assert f"process {holder.pid}" in error.message
    FolderLock(folder / "broker.lock").take()


@pytest.mark.usefixtures("_java_is_not_needed")
def test_a_refusal_frees_the_folder(tmp_path: Path) -> None:
    """The next start must not meet the remains of this one."""
    folder = tmp_path / "broker"
    _refusal(EmbeddedBroker(folder=folder, free_bytes_min=2**60))

    lock = FolderLock(folder / "broker.lock")
    lock.take()
    lock.release()
    lock.release()


def test_a_lock_whose_owner_is_gone_is_waited_for(tmp_path: Path) -> None:
    """A broker whose starter was killed stops by itself: the next start must not fail meanwhile."""
    lock = FolderLock(tmp_path / "broker.lock")
    lock.take()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    os.pwrite(lock.descriptor, json.dumps({"owner": int(dead.stdout), "broker": None}).ljust(60).encode(), 0)
    waiter = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "broker.lock")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with waiter:
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=1)
        lock.release()
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == b"held\n"


def test_a_lock_that_is_not_held_cannot_be_passed_on(tmp_path: Path) -> None:
    """A Java without the lock would be the second Kafka on somebody's folder."""
    with pytest.raises(RuntimeError):
        _ = FolderLock(tmp_path / "broker.lock").descriptor


def test_ports_are_chosen_below_those_of_outgoing_connections() -> None:
    """A client that retries a dead port of that range may connect to itself and hold it."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    chosen = {choose_free() for _ in range(20)}

    assert len(chosen) > 10
    assert all(20_000 <= port < lowest for port in chosen)
    assert all(is_free(port) for port in chosen)


def test_a_damaged_port_file_is_no_obstacle(tmp_path: Path) -> None:
    """Free ports are chosen anew."""
    (tmp_path / "ports.json").write_text('{"port": "x"')
    assert EmbeddedBroker(folder=tmp_path).bootstrap == "127.0.0.1:0"
    (tmp_path / "ports.json").write_text('{"port": 20123, "controller_port": 20124}')
    assert EmbeddedBroker(folder=tmp_path).bootstrap == "127.0.0.1:20123"
    assert EmbeddedBroker(folder=tmp_path, port=20125).bootstrap == "127.0.0.1:20125"


def test_the_properties_keep_what_the_hub_relies_on() -> None:
    """Positions stand in group offsets: they must never expire; nothing listens beyond this machine; no topic makes itself."""
    found = dict(line.split("=", 1) for line in properties(port=1, controller_port=2, home="kafka").splitlines())

    assert found["offsets.retention.minutes"] == "2147483647"
    assert found["auto.create.topics.enable"] == "false"
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert found["metadata.log.dir"] != found["log.dirs"]
    assert (found["broker.session.timeout.ms"], found["broker.heartbeat.interval.ms"]) == ("3000", "500")
    assert found["group.initial.rebalance.delay.ms"] == "0"


def test_no_path_but_that_of_the_jars_stands_on_the_command_line() -> None:
    """Kafka reads properties as ISO 8859-1 and splits paths at commas: everything is relative to the folder."""
    command = java_command(
        "/usr/bin/java", libs=Path("/opt/kafka"), heap_mb=64, options=["-Xx"], arguments=["kafka.Kafka", "server.properties"]
    )

    assert [part for part in command if "/" in part] == ["/usr/bin/java", "/opt/kafka/*"]
    assert {"-Xmx64m", "-Xx"} < set(command)
