"""What is told is true: for each thing of a hub that is broken, what `exchange status`, `doctor` and both `/readyz` say, as one table.

Processes that die have a table of their own (`test_states_told.py`); here topics, keys, positions and the database are broken under
processes that run. Each state is made, looked at until it is told as the table has it, and mended the told way, after which the hub
must tell again that all is well. A state of which a face says less than the others is seen at a glance.
"""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import golden_files
import httpx
import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE
from town import encode

from hub.broker.admin import Admin
from hub.broker.batches import build_batches
from hub.broker.embedded import EmbeddedBroker
from hub.broker.fencing import LaneGate
from hub.broker.topics import dept_topic
from hub.model.names import Names, TopicPartition

pytestmark = [pytest.mark.broker, pytest.mark.golden, pytest.mark.timeout(900)]

TABLE: Final = "cli/faults_told.txt"
TOLD_WITHIN_S: Final = 90.0
STEADY_LOOKS: Final = 3
CALL_WITHIN_S: Final = 60.0
PARKING: Final = "parking-vehicles"
CAR: Final = {"plate": "浙A12345", "class": "passenger", "phone": "13800000001"}


class Told(NamedTuple):
    """What the four faces say: exit codes or HTTP statuses, and the codes or checks that they name."""

    status: str
    doctor: str
    serve: str
    worker: str


class Watched:
    """A hub whose every process can be killed, frozen and started again by the test."""

    def __init__(self, folder: Path) -> None:
        """Start broker, serve and worker, publish a dataset and sign an agreement."""
        self.folder = folder / "state"
        self.folder.mkdir(mode=0o700)
        self.names = Names(scope="330100")
        self.broker = EmbeddedBroker(folder=folder / "broker", heap_mb=384)
        self.broker.start()
        self.broker.wait_ready()
        self.serve_port, self.worker_port = _free(), _free()
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(self.folder),
            "CITYHUB_BROKER__BOOTSTRAP": self.broker.bootstrap,
            "CITYHUB_SERVE__PORT": str(self.serve_port),
            "CITYHUB_EXCHANGE__METRICS_PORT": str(self.worker_port),
            "CITYHUB_EXCHANGE__UNDELIVERABLE_WAIT_S": "600",
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start("serve", "--init")
        self.until(lambda: self._face(self.serve_port) == "200")
        body = {"text": ENTRY, "file": "entry.yaml", "schema": json.dumps(VEHICLE)}
        self._post("/v1/datasets", body)
        self._post(f"/v1/datasets/{DATASET}/publish")
        self._post("/v1/agreements", {"text": AGREEMENT, "file": "agreement.yaml"})
        self._post(f"/v1/agreements/{PARKING}/sign")
        self.start("worker")
        self.lanes = [TopicPartition(self.names.dept(DATASET), number) for number in range(2)]
        self.schema_id = int(self._get(f"/subjects/{self.names.dept_subject(DATASET)}/versions/latest")["id"])

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(self, name: str, *words: str, **environment: str) -> None:
        """Start serve or worker."""
        command = [sys.executable, "-P", "-m", "hub.cli", name, *words]
        with (self.folder / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(command, env=self.environment | environment, stdout=out, stderr=out)

    def pid(self, name: str) -> int:
        """Return the process id of serve, worker or broker."""
        if name == "broker":
            assert self.broker.pid is not None
            return self.broker.pid
        return self._processes[name].pid

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End serve or worker."""
        process = self._processes[name]
        process.send_signal(number)
        process.wait(timeout=CALL_WITHIN_S)

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self.broker.stop()

    # -- records -------------------------------------------------------------------------------------------------------

    def send(self, value: bytes | None = None, *, partition: int = 0) -> None:
        """Publish one record: a vehicle, unless another value is given."""
        record = encode(self.schema_id, VEHICLE, CAR) if value is None else value
        (batch,) = build_batches([(None, record)], bytes_max=1 << 20, timestamp_ms=int(time.time() * 1000))
        with self.gate() as gate:
            gate.append(self.lanes[partition].topic, partition, batch.data)

    @contextlib.contextmanager
    def gate(self) -> Iterator[LaneGate]:
        """Speak to Kafka as serve does."""
        gate = LaneGate(self.broker.bootstrap, timeout_ms=10_000)
        try:
            yield gate
        finally:
            gate.close()

    @contextlib.contextmanager
    def admin(self) -> Iterator[Admin]:
        """Administer Kafka as somebody from outside."""
        with Admin(self.broker.bootstrap, client_id="somebody") as admin:
            yield admin

    # -- what is told --------------------------------------------------------------------------------------------------

    def told(self) -> Told:
        """Ask the four faces."""
        return Told(self._status(), self._doctor(), self._face(self.serve_port), self._face(self.worker_port))

    def call(self, *words: str) -> tuple[int, Any]:
        """Run a command with ``--json``."""
        command = [sys.executable, "-P", "-m", "hub.cli", *words, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=CALL_WITHIN_S)
        found = [json.loads(text) for text in (done.stdout, done.stderr.strip().rpartition("\n")[2]) if text.strip().startswith(("{", "["))]
        return done.returncode, found

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for a fact."""
        deadline = time.monotonic() + TOLD_WITHIN_S
        while not true():
            assert time.monotonic() < deadline, f"it did not come true in time\n{self.tails()}"
            time.sleep(0.2)

    def tails(self) -> str:
        """Return the end of each process's log."""
        return "\n".join(f"-- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(self.folder.glob("*.out")))

    def _status(self) -> str:
        code, found = self.call("exchange", "status")
        return " ".join([str(code), *sorted(set(_codes(found)))])

    def _doctor(self) -> str:
        code, found = self.call("doctor")
        checks = found[0]["checks"] if found else {}
        return " ".join([str(code), *(name.replace(" ", "_") for name, one in checks.items() if one["status"] in {"failed", "down"})])

    @staticmethod
    def _face(port: int) -> str:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz?verbose", timeout=10, trust_env=False)
        except httpx.TimeoutException:
            return "silent"
        except httpx.TransportError:
            return "refused"
        failed = [line[3:].partition(" ")[0] for line in answer.text.splitlines() if line.startswith("[-]")]
        return " ".join([str(answer.status_code), *failed])

    def _post(self, path: str, body: Any = None) -> Any:
        answer = httpx.post(f"http://127.0.0.1:{self.serve_port}{path}", json=body, timeout=CALL_WITHIN_S, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json()

    def _get(self, path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.serve_port}{path}", timeout=CALL_WITHIN_S, trust_env=False).json()


# -- the states ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def all_is_well(_hub: Watched) -> Iterator[None]:
    """Break nothing: the positive control of every row below."""
    yield


@contextlib.contextmanager
def worker_frozen(hub: Watched) -> Iterator[None]:
    """Let the worker hang."""
    with _frozen(hub, "worker"):
        yield


@contextlib.contextmanager
def share_topic_gone_without_serve(hub: Watched) -> Iterator[None]:
    """Delete a consumer's topic while nobody is there to make it again; a record waits for it."""
    hub.end("serve")
    with hub.admin() as admin:
        admin.delete_topics([hub.names.share(consumer="parking-office", agreement=PARKING)])
    hub.send()
    yield
    hub.start("serve")


@contextlib.contextmanager
def quarantine_topic_gone_without_serve(hub: Watched) -> Iterator[None]:
    """Leave a bad record nowhere to go."""
    hub.end("serve")
    with hub.admin() as admin:
        admin.delete_topics([hub.names.quarantine(DATASET)])
    hub.send(b"no record")
    yield
    hub.start("serve")


@contextlib.contextmanager
def another_master_key(hub: Watched) -> Iterator[None]:
    """Start the worker with a key that is not the hub's."""
    key = hub.folder / "keys" / "master-1.key"
    own = key.read_bytes()
    hub.end("worker")
    key.write_bytes(bytes(32))
    hub.start("worker")
    yield
    key.write_bytes(own)


@contextlib.contextmanager
def another_officer_key(hub: Watched) -> Iterator[None]:
    """Start serve with a key that neither hub.plan nor a worker trusts."""
    key = hub.folder / "keys" / "officer.key"
    own = key.read_bytes()
    hub.end("serve")
    key.unlink()
    hub.start("serve", "--init")
    yield
    with contextlib.suppress(subprocess.TimeoutExpired):
        hub.end("serve")
    key.write_bytes(own)
    key.chmod(0o600)
    hub.start("serve")


@contextlib.contextmanager
def department_topic_made_again(hub: Watched) -> Iterator[None]:
    """Put another topic under the name: a lane's offset is that of another record."""
    topic = hub.lanes[0].topic
    with hub.admin() as admin:
        admin.delete_topics([topic])
        hub.until(lambda: topic not in admin.topic_ids([topic]))
    hub.end("serve")
    hub.start("serve")
    with hub.admin() as admin:
        admin.create_topics([dept_topic(hub.names, DATASET, partitions=2, replication=1)])
    yield
    hub.until(lambda: hub.told().serve == "200")
    for lane in hub.lanes:
        assert hub.call("exchange", "adopt", str(lane), "--at", "0")[0] == 0


@contextlib.contextmanager
def database_held_by_another(hub: Watched) -> Iterator[None]:
    """Hold the write lock of the database, as somebody's tool does."""
    held = sqlite3.connect(hub.folder / "hub.sqlite3", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    hub.send()
    yield
    held.execute("ROLLBACK")
    held.close()


@contextlib.contextmanager
def database_moved_away(hub: Watched) -> Iterator[None]:
    """Move the file away under a running serve."""
    files = list(hub.folder.glob("hub.sqlite3*"))
    for path in files:
        path.rename(path.with_name(f"away-{path.name}"))
    yield
    hub.end("serve")
    for path in hub.folder.glob("hub.sqlite3*"):
        path.unlink()
    for path in files:
        path.with_name(f"away-{path.name}").rename(path)
    hub.start("serve")


STATES: Final = (
    all_is_well,
    worker_frozen,
    share_topic_gone_without_serve,
    quarantine_topic_gone_without_serve,
    another_master_key,
    another_officer_key,
    database_held_by_another,
    database_moved_away,
    department_topic_made_again,
)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Watched]:
    """Give a hub on a broker of its own."""
    built = Watched(tmp_path)
    yield built
    built.close()


def test_every_broken_state_is_told_alike_by_status_doctor_and_readiness(hub: Watched) -> None:
    """Whoever asks one of them must not be told that all is well where another says that it is not."""
    wanted = _table()
    found: dict[str, Told] = {}
    for state in STATES:
        with state(hub):
            found[state.__name__] = _seen(hub, wanted.get(state.__name__))
        if state is not all_is_well:
            well = found[all_is_well.__name__]
            hub.until(lambda: hub.told() == well)  # noqa: B023 - called at once
    golden_files.hold(TABLE, _drawn(found))


def _seen(hub: Watched, wanted: Told | None) -> Told:
    """Return what is told once it is what the table has; without one, once it stays as it is."""
    deadline = time.monotonic() + TOLD_WITHIN_S
    before, steady = None, 0
    while True:
        told = hub.told()
        steady = steady + 1 if told == before else 0
        before = told
        if told == wanted or (wanted is None and steady >= STEADY_LOOKS) or time.monotonic() > deadline:
            return told


def _table() -> dict[str, Told]:
    file = golden_files.FOLDER / TABLE
    if os.environ.get(golden_files.VARIABLE) == "write" or not file.exists():
        return {}
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in file.read_text(encoding="utf-8").splitlines()[2:]]
    return {name.replace(" ", "_"): Told(*cells) for name, *cells in rows}


def _drawn(found: dict[str, Told]) -> str:
    rows = [("state", "exchange status", "doctor", "serve /readyz", "worker /readyz")]
    rows += [(name.replace("_", " "), *told) for name, told in found.items()]
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _frozen(hub: Watched, name: str) -> Iterator[None]:
    os.kill(hub.pid(name), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(hub.pid(name), signal.SIGCONT)


def _codes(found: Any) -> Iterator[str]:
    """Yield every code in what a command printed."""
    if isinstance(found, dict):
        if isinstance(found.get("code"), str):
            yield found["code"]
        for value in found.values():
            yield from _codes(value)
    elif isinstance(found, list):
        for value in found:
            yield from _codes(value)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
