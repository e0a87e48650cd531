"""A whole hub for the revocation runs: broker, serve over HTTP, two workers, one dataset under load."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from hub.broker import leash
from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.model.names import Names, TopicPartition

ROOT: Final = Path(__file__).resolve().parents[2]
SCHEMA_FILE: Final = ROOT / "avro_schemas" / "transport" / "flights" / "v1.avsc"
ENTRY_FILE: Final = ROOT / "deploy" / "demo" / "datasets" / "flights.yaml"
DATASET: Final = "transport/flights"
PARTITIONS: Final = 4
SCOPE: Final = "330100"
READY_WITHIN_S: Final = 60.0
ENTRY: Final = """\
apiVersion: cityhub/v1
kind: Dataset
dataset: {dataset}
title: load
accountable_person: chen-jing
sharing: unconditional
schema: {dataset}/v1.avsc
partitions: 1
"""
AGREEMENT: Final = """\
apiVersion: cityhub/v1
kind: Agreement
id: {id}
provider: {provider}
consumer: {id}-office
dataset: {dataset}
purpose: revocation
legal_basis: fault test
valid_until: 2049-12-31
tariff: per-record@1
fields: {fields}
"""


class City:
    """Processes and clients of one hub."""

    def __init__(self, *, broker: EmbeddedBroker, folder: Path, serve: Sequence[str], kernel: str) -> None:
        """Start serve; ``serve`` are the arguments of Python that run it."""
        self.broker, self.folder = broker, folder
        self.names = Names(scope=SCOPE)
        self.admin = Admin(broker.bootstrap)
        self._processes: list[subprocess.Popen[bytes]] = []
        port = free_port()
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(folder),
            "CITYHUB_SCOPE": SCOPE,
            "CITYHUB_BROKER__BOOTSTRAP": broker.bootstrap,
            "CITYHUB_SERVE__PORT": str(port),
            "CITYHUB_EXCHANGE__METRICS_PORT": "0",
        }
        if kernel:
            self.environment["CITYHUB_KERNEL"] = kernel
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)
        self.serve = self.start(serve)
        self.wait(self._ready, "serve is not ready")
        self._publish()

    def start(self, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start a process of the hub."""
        with self._log(len(self._processes)).open("ab") as out:
            # on a leash: it ends with this program, however that ends
            leashed = [sys.executable, "-I", "-S", str(leash.__file__), str(os.getpid()), sys.executable, *command]
            process = subprocess.Popen(leashed, env={**self.environment, **environment}, stdout=out, stderr=out, cwd=self.folder)
        self._processes.append(process)
        return process

    def last_line(self, process: subprocess.Popen[bytes]) -> str:
        """Return the last line of what a process said."""
        return self._log(self._processes.index(process)).read_text(errors="replace").strip().rpartition("\n")[2]

    def restart_serve(self, command: Sequence[str], *, within_s: float = READY_WITHIN_S) -> None:
        """End serve and start it again on its state; returns when it is ready."""
        self.serve.terminate()
        self.serve.wait(timeout=within_s)
        self.serve = self.start(command)
        self.wait(self._ready, "serve is not ready", within_s=within_s)

    def kernel(self) -> str:
        """Return the kernel that the workers run."""
        told = [sys.executable, "-c", "from hub.exchange import kernel; print(kernel.name())"]
        return subprocess.run(told, env=self.environment, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST and return the JSON answered."""
        answer = self.client.post(path, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:600]}")
        return answer.json()

    def publish(self, dataset: str, *, schema: str) -> None:
        """Apply and publish a dataset of one partition."""
        self.post("/v1/datasets", {"text": ENTRY.format(dataset=dataset), "file": "entry.yaml", "schema": schema})
        self.post(f"/v1/datasets/{dataset}/publish")

    def sign(self, agreement: str, *, fields: str, dataset: str = DATASET) -> None:
        """Apply and sign an agreement; ``fields`` as YAML."""
        text = AGREEMENT.format(id=agreement, fields=fields, dataset=dataset, provider=dataset.partition("/")[0])
        self.post("/v1/agreements", {"text": text, "file": f"{agreement}.yaml"})
        self.post(f"/v1/agreements/{agreement}/sign")

    def share_topic(self, agreement: str) -> str:
        """Return where an agreement is delivered."""
        return self.names.share(consumer=f"{agreement}-office", agreement=agreement)

    def lag(self) -> int:
        """Return offsets between the lanes' positions and the ends of their logs."""
        ends, at = self.admin.end_offsets(self.lanes), self.admin.committed(self.names.exchange_group, self.lanes)
        return sum(ends[lane] - at[lane][0] for lane in self.lanes)

    @property
    def lanes(self) -> list[TopicPartition]:
        """The dataset's partitions."""
        return [TopicPartition(self.names.dept(DATASET), number) for number in range(PARTITIONS)]

    def schema_id(self, dataset: str = DATASET) -> int:
        """Return the id of the newest schema of a dataset."""
        found: int = self.client.get(f"/subjects/{self.names.dept_subject(dataset)}/versions/latest").json()["id"]
        return found

    def tails(self) -> str:
        """Return the last lines of every log."""
        return "\n".join(
            f"-- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(self.folder.glob("process-*.log"))
        )

    def close(self) -> None:
        """End every process."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.client.close()
        self.admin.close()

    def _log(self, number: int) -> Path:
        return self.folder / f"process-{number}.log"

    def _publish(self) -> None:
        entry = ENTRY_FILE.read_text(encoding="utf-8")
        self.post("/v1/datasets", {"text": entry, "file": ENTRY_FILE.name, "schema": SCHEMA_FILE.read_text(encoding="utf-8")})
        self.post(f"/v1/datasets/{DATASET}/publish")

    def _ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait(self, condition: Callable[[], bool], what: str, *, within_s: float = READY_WITHIN_S) -> None:
        """Wait for a condition; RuntimeError with the last lines of every log where it does not come."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}\n{self.tails()}")
            time.sleep(0.1)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def city(*, serve: Sequence[str] = ("-m", "hub.cli", "serve", "--init"), kernel: str = "") -> Iterator[City]:
    """Run a hub on a broker of its own in a temporary folder; nothing is left behind."""
    with tempfile.TemporaryDirectory(prefix="cityhub-revocation-") as name:
        folder = Path(name) / "hub"
        folder.mkdir()
        with EmbeddedBroker(folder=Path(name) / "broker") as broker:
            built = City(broker=broker, folder=folder, serve=serve, kernel=kernel)
            try:
                yield built
            finally:
                built.close()
