"""``cityhub serve`` as a process: one writes, a second stands by, and the command line speaks to it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, until

from hub.broker.embedded import EmbeddedBroker
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
            process = subprocess.Popen([sys.executable, "-m", "hub.cli", "serve", *flags], env=self.environment, stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

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


def test_officers_work_by_the_command_line(site: Site) -> None:
    """Apply, publish, sign, suspend; exit codes say what kind of refusal it was."""
    down = site.run("agreement", "sign", "parking-vehicles")
    assert (down.returncode, "HUB-SERVE-001" in down.stderr) == (4, True)
    site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    assert json.loads(site.run("dataset", "apply", "d.yaml", "--json").stdout)["outcome"] == "new"
    assert json.loads(site.run("dataset", "publish", DATASET, "--json").stdout)["state"] == "published"
    assert json.loads(site.run("agreement", "apply", "a.yaml", "--json").stdout)["state"] == "draft"
    assert json.loads(site.run("agreement", "sign", "parking-vehicles", "--dry-run", "--json").stdout)["outcome"] == "would be active"
    assert json.loads(site.run("agreement", "sign", "parking-vehicles", "--json").stdout)["state"] == "active"
    suspended = json.loads(site.run("agreement", "suspend", "parking-vehicles", "--json").stdout)
    assert [answer["source_offset"] for answer in suspended["partitions"]] == [0, 0]
    again = site.run("agreement", "suspend", "parking-vehicles")
    assert (again.returncode, "HUB-AGREE-004" in again.stderr, "`resume`" in again.stderr) == (3, True, True)
    assert json.loads(site.run("agreement", "list", "--json").stdout)[0]["state"] == "suspended"
    assert DATASET in site.run("dataset", "list").stdout
    assert json.loads(site.run("schema", "show", "1", "--json").stdout)["schema"]["name"] == "Vehicle"


def test_every_fault_of_a_file_is_on_the_terminal_with_its_line(site: Site) -> None:
    """Officers mend a file in one go."""
    site.serve("--init")
    until(lambda: "\nready" in site.ready(site.port), within_s=60)
    (site.folder / "a.yaml").write_text(AGREEMENT.replace("tariff", "tarif").replace("2050-12-31", "soon"))
    refused = site.run("agreement", "apply", "a.yaml")
    assert refused.returncode == 2
    assert "a.yaml:9" in refused.stderr
    assert "did you mean `tariff`?" in refused.stderr
    (site.folder / "d.yaml").write_text(ENTRY + "secrecy: state_secret\n")
    secret = site.run("dataset", "apply", "d.yaml", "--json")
    assert (secret.returncode, json.loads(secret.stderr)["error"]["code"]) == (3, "HUB-DATASET-002")
