"""What a caller may cost `cityhub serve`, on real sockets: silence, crowds, web pages and numbers that no database holds."""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, until

from hub.broker.embedded import EmbeddedBroker
from hub.model.names import Names

pytestmark = pytest.mark.broker
SILENT = 1_000
DESCRIPTORS = 1_024
HALF_A_HEAD = b"GET /v1/agreements HTTP/1.1\r\nHost: "
HALF_A_BODY = b"POST /v1/agreements HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n\r\n{"


class Served:
    """A serve process of 1,024 descriptors with one active agreement."""

    def __init__(self, *, bootstrap: str, names: Names, folder: Path) -> None:
        """Start it and wait until it leads."""
        self.folder = folder
        self.port = _free_port()
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(folder / "state"),
            "CITYHUB_SCOPE": names.scope,
            "CITYHUB_TOPICS_PREFIX": names.prefix,
            "CITYHUB_BROKER__BOOTSTRAP": bootstrap,
            "CITYHUB_SERVE__PORT": str(self.port),
            "CITYHUB_SERVE__HEAD_TIMEOUT_S": "3",
            "CITYHUB_SERVE__BODY_TIMEOUT_S": "4",
        }
        with (folder / "serve.log").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub.cli", "serve", "--init"],
                env=self.environment,
                stdout=out,
                stderr=out,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)),  # noqa: PLW1509 - one call
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        until(self.ready, within_s=60)

    def ready(self) -> bool:
        """Tell whether it leads."""
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def sign(self) -> None:
        """Open the dataset and sign the agreement."""
        sent = {"text": ENTRY, "file": "d.yaml", "schema": json.dumps(VEHICLE)}
        assert self.client.post("/v1/datasets", json=sent).is_success
        assert self.client.post(f"/v1/datasets/{DATASET}/publish").is_success
        assert self.client.post("/v1/agreements", json={"text": AGREEMENT, "file": "a.yaml"}).is_success
        assert self.client.post("/v1/agreements/parking-vehicles/sign").is_success

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line."""
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def descriptors(self) -> int:
        """Return how many files the process has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def processor_s(self) -> float:
        """Return the processor time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def served(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a serve with an active agreement."""
    names = Names(scope="339902", prefix="bounds.")
    built = Served(bootstrap=broker.bootstrap, names=names, folder=tmp_path_factory.mktemp("bounds"))
    try:
        built.sign()
        yield built
    finally:
        built.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open as many files as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SILENT + 512
    if hard < wanted:
        pytest.skip(f"this machine lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _silent(port: int, begun: bytes) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=30)
    opened.sendall(begun)
    return opened


def _ended(opened: socket.socket) -> bool:
    """Tell whether the other side has closed the connection, whatever it said before."""
    opened.settimeout(0.01)
    try:
        while opened.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_a_withdrawal_passes_through_a_thousand_silent_connections(served: Served, many_files: None) -> None:
    """A third says nothing, a third half a head, a third half a body; at 1,024 descriptors nobody could be served before."""
    half_a_body = HALF_A_BODY % served.port
    silent = [_silent(served.port, (b"", HALF_A_HEAD, half_a_body)[number % 3]) for number in range(SILENT)]
    try:
        before = served.processor_s()
        found = served.command("agreement", "suspend", "parking-vehicles", "--json")
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)["state"] == "suspended"
        assert served.client.get("/readyz").status_code == 200
        assert served.descriptors() < DESCRIPTORS - 64
        until(lambda: all(_ended(opened) for opened in silent), within_s=30)
        assert served.processor_s() - before < 10, "accepting spins"
    finally:
        for opened in silent:
            opened.close()
    assert served.command("agreement", "resume", "parking-vehicles").returncode == 0


@pytest.mark.parametrize("begun", [b"", HALF_A_HEAD, HALF_A_BODY], ids=["nothing", "half a head", "half a body"])
def test_a_byte_now_and_then_buys_no_time(served: Served, begun: bytes) -> None:
    """The bound counts from the first moment, not from the last byte."""
    opened = _silent(served.port, begun % served.port if b"%d" in begun else begun)
    ended = threading.Event()

    def dribble() -> bool:
        try:
            opened.sendall(b"a")
        except OSError:
            ended.set()
        return ended.is_set() or _ended(opened)

    until(dribble, within_s=20)
    opened.close()


def test_a_connection_between_two_requests_is_kept(served: Served) -> None:
    """The bound on heads begins with the first byte of a head, not with the end of the request before."""
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as client:
        first = client.get("/v1/agreements")
        port = first.extensions["network_stream"].get_extra_info("client_addr")[1]
        threading.Event().wait(4)
        second = client.get("/v1/agreements")
        assert second.extensions["network_stream"].get_extra_info("client_addr")[1] == port


def test_many_requests_at_once_are_answered_and_acts_are_not_behind_readers(served: Served) -> None:
    """50 readers poll without a pause; an act has places of its own."""
    stop = threading.Event()
    seen: list[int] = []

    def poll() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False, timeout=30) as client:
            while not stop.is_set():
                seen.append(client.get("/v1/agreements").status_code)

    readers = [threading.Thread(target=poll) for _ in range(50)]
    for reader in readers:
        reader.start()
    try:
        until(lambda: len(seen) > 100)
        assert served.client.post("/v1/agreements/parking-vehicles/suspend").json()["state"] == "suspended"
        assert served.client.post("/v1/agreements/parking-vehicles/resume").is_success
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert set(seen) <= {200, 503}
    assert 200 in seen


FOREIGN = (
    {"Host": "evil.example"},
    {"Host": "evil.example:{port}"},
    {"Host": "127.0.0.1"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/agreements/parking-vehicles/suspend"),
        ("POST", "/v1/agreements"),
        ("GET", "/v1/agreements"),
        ("GET", "/subjects"),
        ("GET", "/metrics"),
    ],
)
def test_a_web_page_is_refused(served: Served, headers: dict[str, str], method: str, path: str) -> None:
    """Also what a browser sends without asking first, and what a name of the page's own leads to."""
    sent = {name: value.format(port=served.port) for name, value in headers.items()}
    refused = served.client.request(
        method, path, headers={"Content-Type": "text/plain", **sent}, content=AGREEMENT if method == "POST" else None
    )
    assert refused.status_code == 403, refused.text
    assert "HUB-API-003" in refused.text
    assert "evil" not in refused.text
    assert served.client.get("/v1/agreements/parking-vehicles").json()[0]["state"] == "active"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Host": "localhost:{port}"}, {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
)
def test_programs_and_the_hubs_own_page_are_answered(served: Served, headers: dict[str, str]) -> None:
    """What the command line, Confluent's clients and a person who types the address send."""
    sent = {name: value.format(port=served.port) for name, value in headers.items()}
    assert served.client.get("/v1/agreements", headers=sent).status_code == 200
    assert served.client.get("/v1/docs", headers=sent).status_code == 200


@pytest.mark.parametrize("at", [2**63, 2**64 - 1, 2**64, -1, -(2**63) - 1, 10**100])
def test_an_offset_that_no_log_has_is_refused_and_the_act_is_kept(served: Served, at: int) -> None:
    """The number is outside of what the database holds, and the refusal must stand in it all the same."""
    lane = "bounds.dept.vehicle-registry.vehicles-0"
    before = served.client.get("/metrics").text
    refused = served.client.post(f"/v1/lanes/{lane}/adopt", content=json.dumps({"at": at}), headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json().get("code")) == (400, "HUB-API-001"), refused.text
    assert _refused_acts(served.client.get("/metrics").text) == _refused_acts(before) + 1


def _refused_acts(text: str) -> float:
    found = [line for line in text.splitlines() if line.startswith("cityhub_acts_total") and "adopt.position" in line and "refused" in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)
