"""`cityhub up` and `down` as a person uses them: real processes on ports of their own, and nothing left behind."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference_pages import column
from up_rig import WITHIN_S, House, until

from hub.cli.children import readiness


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house that is down, and leave it down."""
    built = House(tmp_path_factory.mktemp("house"))
    yield built
    built.call("down")
    assert built.listeners() == []


@pytest.fixture
def up(house: House) -> House:
    """Have it up, in the background."""
    if house.status != "ready":
        found = house.call("up", "--background", "--json")
        assert found.returncode == 0, found.stderr
        said = json.loads(found.stdout)
        assert [part["process"] for part in said["processes"]] == ["broker", "serve", "worker"]
        assert "back them up" in found.stderr
    return house


def test_up_makes_a_hub_that_doctor_finds_well(up: House) -> None:
    """Broker, serve and worker are ready, the keys are there, and the targets for Prometheus name both ports."""
    assert sorted(up.listeners()) == sorted(up.ports)
    found = up.call("doctor", "--json")
    statuses = {name: check["status"] for name, check in json.loads(found.stdout)["checks"].items()}
    assert found.returncode == 0, statuses
    assert statuses["key check value"] == "ok"
    targets = json.loads((up.state / "prometheus" / "cityhub.json").read_text(encoding="utf-8"))
    assert [target["targets"] for target in targets] == [[f"127.0.0.1:{up.ports[2]}"], [f"127.0.0.1:{up.ports[3]}"]]
    assert [path.stat().st_mode & 0o077 for path in (up.state / "keys").glob("*.key")] == [0, 0]


def test_the_state_folder_holds_what_the_reference_says(up: House) -> None:
    """Whoever makes a backup goes by docs/reference/shapes.md "State folder": nothing lies there that it does not name."""
    named = {path.partition("/")[0] for path in column("shapes.md", "State folder")}
    found = {path.name.removesuffix("-wal").removesuffix("-shm") for path in up.state.iterdir()}
    assert found >= {"keys", "hub.sqlite3", "broker", "logs", "up.json", "serve.lock"}
    assert found - named == set()
    keys = {path.name.replace("-1.", "-<epoch>.") for path in (up.state / "keys").iterdir()}
    assert keys == {path.removeprefix("keys/") for path in column("shapes.md", "State folder") if path.startswith("keys/")}


def test_everything_listens_on_this_machine_alone(up: House) -> None:
    """Until identity has come: no socket of any process on another interface."""
    wanted = {f"{port:04X}" for port in up.ports}
    bound = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="utf-8").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and port in wanted:
                bound.add(address)
    assert bound
    assert bound <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_second_up_on_the_folder_is_refused(up: House) -> None:
    """Before it touches anything; the first one goes on."""
    before = up.children
    found = up.call("up")
    assert (found.returncode, "HUB-UP-001" in found.stderr) == (1, True)
    assert up.children == before


def test_a_part_that_dies_is_started_again(up: House) -> None:
    """And said so; the others are not touched."""
    before = up.children
    os.kill(before["worker"].pid, signal.SIGKILL)
    until(lambda: "worker" in up.children and up.children["worker"] != before["worker"])
    until(lambda: readiness(f"http://127.0.0.1:{up.ports[3]}/readyz") is None)
    assert {name: up.children[name] for name in ("broker", "serve")} == {name: before[name] for name in ("broker", "serve")}
    assert "worker was killed by signal 9 (SIGKILL); starting it again" in (up.state / "logs" / "up.log").read_text(encoding="utf-8")


def test_down_stops_everything_and_again_is_no_error(up: House) -> None:
    """No process, no port, no note is left."""
    marks = list(up.children.values())
    dry = up.call("down", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"would_stop": ["worker", "serve", "broker"]}
    assert all(mark.alive for mark in marks)
    found = up.call("down", "--json")
    assert (found.returncode, json.loads(found.stdout)) == (0, {"stopped": ["worker", "serve", "broker"]})
    assert not any(mark.alive for mark in marks)
    assert up.listeners() == []
    assert up.call("down").returncode == 0


def test_kill_9_leaves_nothing_and_ctrl_c_stops_in_order(house: House) -> None:
    """The kernel tells the children of a killed `up`; the next one finds the folder free. Ctrl-C is an interruption: 130."""
    killed = house.start()
    marks = list(house.children.values())
    killed.kill()
    killed.wait()
    until(lambda: not any(mark.alive for mark in marks))
    again = house.start()
    marks = list(house.children.values())
    again.send_signal(signal.SIGINT)
    assert again.wait(WITHIN_S) == 130
    assert not any(mark.alive for mark in marks)
    assert (house.listeners(), house.status) == ([], None)
