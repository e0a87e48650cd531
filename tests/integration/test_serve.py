"""``cityhub serve`` as a process: one writes, a second stands by, and the command line speaks to it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, until

from hub.broker.embedded import EmbeddedBroker
from hub.cli import run
from hub.model.names import Names

pytestmark = pytest.mark.broker


class Site:
    """A state folder, its settings, and the processes on it."""

    def __init__(self, *, bootstrap: str, names: Names, folder: Path) -> None:
        """Start nothing yet."""
        self.folder = folder
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(folder / "state"),
            "CITYHUB_SCOPE": names.scope,
            "CITYHUB_TOPICS_PREFIX": names.prefix,
            "CITYHUB_BROKER__BOOTSTRAP": bootstrap,
            "CITYHUB_SERVE__PORT": str(self.port),
        }
        schema = folder / "avro_schemas" / "vehicle-registry" / "vehicle" / "v1.avsc"
        schema.parent.mkdir(parents=True)
        schema.write_text(json.dumps(VEHICLE))
        (folder / "d.yaml").write_text(ENTRY)
        (folder / "a.yaml").write_text(AGREEMENT)

    def serve(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start a serve process."""
        with (self.folder / "serve.log").open("ab") as out:
            command = [sys.executable, "-m", "hub.cli", "serve", *flags]
            process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, cwd=Path(__file__).parents[2])
        self.processes.append(process)
        return process

    def ready(self, port: int) -> str:
        """Return what /readyz says, empty where nobody listens."""
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz?verbose", trust_env=False).text
        except httpx.TransportError:
            return ""

    def log(self) -> str:
        """Return the logs."""
        return (self.folder / "serve.log").read_text()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_ipv6() -> bool:
    """Tell whether this machine has ``::1``."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Terminal:
    """A terminal at a site: commands run in this process, as ``cityhub`` runs them."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Sit down in the site's folder with its settings."""
        self._capsys = capsys
        monkeypatch.chdir(site.folder)
        for name, value in site.environment.items():
            monkeypatch.setenv(name, value)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return its exit code and what it printed on stdout and stderr."""
        self._capsys.readouterr()
        code = run(list(arguments))
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def value(self, *arguments: str) -> Any:
        """Run a command with ``--json`` that succeeds; return what it printed."""
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def terminal(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Give a terminal at the site."""
    return Terminal(site, monkeypatch, capsys)


@pytest.fixture
def site(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Site]:
    """Give a site without processes."""
    built = Site(bootstrap=broker.bootstrap, names=names, folder=tmp_path)
    yield built
    built.close()


def test_a_second_serve_stands_by_and_takes_over_when_the_first_is_killed(site: Site) -> None:
    """Two writers of hub.plan would give one revision twice."""
    second_port = free_port()
    first = site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    site.serve("--port", str(second_port))
    until(lambda: "[-]role standby" in site.ready(second_port), within_s=60)
    refused = httpx.post(f"http://127.0.0.1:{second_port}/v1/agreements/x/sign", trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (503, "HUB-SERVE-002")
    assert httpx.get(f"http://127.0.0.1:{second_port}/v1/agreements", trust_env=False).json() == []
    first.kill()
    until(lambda: "\nready" in site.ready(second_port), within_s=60)


def test_a_serve_whose_lock_was_taken_away_ends_and_the_second_leads(site: Site) -> None:
    """Somebody cleaned the state folder up: both would lead, each with a lock of its own on a file of that name."""
    second_port = free_port()
    first = site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    second = site.serve("--port", str(second_port))
    until(lambda: "[-]role standby" in site.ready(second_port), within_s=60)

    (site.folder / "state" / "serve.lock").unlink()

    assert first.wait(timeout=60) == 4
    assert "HUB-SERVE-005" in site.log()
    until(lambda: "\nready" in site.ready(second_port), within_s=60)
    assert second.poll() is None


def test_sigterm_ends_it_cleanly(site: Site) -> None:
    """Exit 0, the port is free again."""
    process = site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0, site.log()
    assert site.ready(site.port) == ""


def test_it_does_not_start_without_keys(site: Site) -> None:
    """A new master key made by accident would change every pseudonym."""
    assert site.serve().wait(timeout=60) == 2
    assert "HUB-KEY-001" in site.log()


def test_officers_work_by_the_command_line(site: Site, terminal: Terminal) -> None:
    """Apply, publish, sign, suspend; exit codes say what kind of refusal it was."""
    code, _, err = terminal.run("agreement", "sign", "parking-vehicles")
    assert (code, "HUB-SERVE-001" in err) == (4, True)
    site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    assert terminal.value("dataset", "apply", "d.yaml")["outcome"] == "new"
    assert terminal.value("dataset", "publish", DATASET)["state"] == "published"
    assert terminal.value("agreement", "apply", "a.yaml")["state"] == "draft"
    assert terminal.value("agreement", "sign", "parking-vehicles", "--dry-run")["outcome"] == "would be active"
    assert terminal.value("agreement", "sign", "parking-vehicles")["state"] == "active"
    suspended = terminal.value("agreement", "suspend", "parking-vehicles")
    assert [answer["source_offset"] for answer in suspended["partitions"]] == [0, 0]
    again = terminal.value("agreement", "suspend", "parking-vehicles")
    assert (again["outcome"], again["partitions"]) == ("exists", suspended["partitions"])
    (shown,) = terminal.value("agreement", "show", "parking-vehicles")
    assert [kept["partitions"] for kept in shown["withdrawals"]] == [suspended["partitions"]]
    assert "the right ended in each partition at:" in "".join(terminal.run("agreement", "show", "parking-vehicles")[1:])
    code, _, err = terminal.run("agreement", "sign", "parking-vehicles")
    assert (code, "HUB-AGREE-004" in err, "`resume`" in err) == (3, True, True)
    assert terminal.value("agreement", "list")[0]["state"] == "suspended"
    assert terminal.value("agreement", "show", "parking-vehicles")[0]["purpose"] == "enforcement"
    assert DATASET in terminal.run("dataset", "list")[1]
    assert terminal.value("dataset", "show", DATASET)["state"] == "published"
    assert terminal.value("schema", "show", "1")["schema"]["name"] == "Vehicle"
    assert [row["id"] for row in terminal.value("schema", "list")] == [1, 2]
    wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "colour", "type": "string", "default": ""}]}
    (site.folder / "v2.avsc").write_text(json.dumps(wider))
    assert terminal.value("schema", "register", DATASET, "v2.avsc", "--dry-run")["version"] == 2
    assert terminal.value("schema", "register", DATASET, "v2.avsc")["schema_id"] == 3


def test_every_fault_of_a_file_is_on_the_terminal_with_its_line(site: Site, terminal: Terminal) -> None:
    """Officers mend a file in one go."""
    site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    (site.folder / "a.yaml").write_text(AGREEMENT.replace("tariff", "tarif").replace("2050-12-31", "soon"))
    code, _, err = terminal.run("agreement", "apply", "a.yaml")
    assert (code, "a.yaml:9" in err, "did you mean `tariff`?" in err) == (2, True, True)
    (site.folder / "d.yaml").write_text(ENTRY + "secrecy: state_secret\n")
    code, _, err = terminal.run("dataset", "apply", "d.yaml", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (3, "HUB-DATASET-002")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_serve_on_the_ipv6_loopback_is_called_by_the_command_line(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Its address stands in brackets, in the log and for whoever calls it; a probe without a host is answered too."""
    site = Site(bootstrap=broker.bootstrap, names=Names(scope="339917", prefix="six."), folder=tmp_path)
    site.environment["CITYHUB_SERVE__HOST"] = "::1"
    try:
        site.serve("--init")
        until(
            lambda: httpx.get(f"http://[::1]:{site.port}/livez", trust_env=False).is_success if _listens(site.port) else False, within_s=60
        )
        command = [sys.executable, "-m", "hub.cli", "agreement", "list", "--json"]
        found = subprocess.run(command, env=site.environment, capture_output=True, text=True, timeout=60, check=False)
        assert found.returncode == 0, found.stderr
        with socket.create_connection(("::1", site.port), timeout=10) as probe:
            probe.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert b"200" in probe.recv(64)
        assert f"http://[::1]:{site.port}" in site.log()
    finally:
        site.close()


def _listens(port: int) -> bool:
    """Tell whether somebody takes connections there."""
    try:
        socket.create_connection(("::1", port), timeout=1).close()
    except OSError:
        return False
    return True
