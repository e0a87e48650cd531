"""A whole hub for the revocation runs: broker, serve over HTTP, two workers, one dataset under load."""

import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import fastavro
import httpx
from confluent_kafka import Consumer, Producer, TopicPartition

from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.model.framing import frame_header
from hub.model.names import Names

ROOT: Final = Path(__file__).resolve().parents[2]
SCHEMA_FILE: Final = ROOT / "avro_schemas" / "transport" / "flights" / "v1.avsc"
ENTRY_FILE: Final = ROOT / "deploy" / "demo" / "datasets" / "flights.yaml"
DATASET: Final = "transport/flights"
PARTITIONS: Final = 4
SCOPE: Final = "330100"
READY_WITHIN_S: Final = 60.0
AGREEMENT: Final = """\
apiVersion: cityhub/v1
kind: Agreement
id: {id}
provider: transport
consumer: {id}-office
dataset: transport/flights
purpose: revocation
legal_basis: fault test
valid_until: 2049-12-31
tariff: per-record@1
fields: [flight, origin]
"""


class City:
    """Processes and clients of one hub."""

    def __init__(self, *, broker: EmbeddedBroker, folder: Path, serve: Sequence[str]) -> None:
        """Start serve; ``serve`` are the arguments of Python that run it."""
        self.broker, self.folder = broker, folder
        self.names = Names(scope=SCOPE)
        self.admin = Admin(broker.bootstrap)
        self._processes: list[subprocess.Popen[bytes]] = []
        port = _free_port()
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(folder),
            "CITYHUB_SCOPE": SCOPE,
            "CITYHUB_BROKER__BOOTSTRAP": broker.bootstrap,
            "CITYHUB_SERVE__PORT": str(port),
            "CITYHUB_EXCHANGE__METRICS_PORT": "0",
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)
        self.start(serve)
        self._wait(self._ready, "serve is not ready")
        self._publish()

    def start(self, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start a process of the hub."""
        with (self.folder / f"process-{len(self._processes)}.log").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, *command], env={**self.environment, **environment}, stdout=out, stderr=out, cwd=self.folder
            )
        self._processes.append(process)
        return process

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST and return the JSON answered."""
        answer = self.client.post(path, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:600]}")
        return answer.json()

    def sign(self, agreement: str) -> None:
        """Apply and sign an agreement."""
        self.post("/v1/agreements", {"text": AGREEMENT.format(id=agreement), "file": f"{agreement}.yaml"})
        self.post(f"/v1/agreements/{agreement}/sign")

    def share_topic(self, agreement: str) -> str:
        """Return where an agreement is delivered."""
        return self.names.share(consumer=f"{agreement}-office", agreement=agreement)

    def lag(self) -> int:
        """Return offsets between the lanes' positions and the ends of their logs."""
        from hub.model.names import TopicPartition as Lane  # noqa: PLC0415 - the foreign client has a class of the same name

        lanes = [Lane(self.names.dept(DATASET), number) for number in range(PARTITIONS)]
        ends, at = self.admin.end_offsets(lanes), self.admin.committed(self.names.exchange_group, lanes)
        return sum(ends[lane] - at[lane][0] for lane in lanes)

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

    def _publish(self) -> None:
        entry = ENTRY_FILE.read_text(encoding="utf-8")
        self.post("/v1/datasets", {"text": entry, "file": ENTRY_FILE.name, "schema": SCHEMA_FILE.read_text(encoding="utf-8")})
        self.post(f"/v1/datasets/{DATASET}/publish")

    def _ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _wait(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}\n{self.tails()}")
            time.sleep(0.1)


class Load(threading.Thread):
    """Numbered records on every partition at a steady rate: record number ``n`` of a partition has source offset ``n``."""

    def __init__(self, city: City, *, per_second: int) -> None:
        """Write ``per_second`` records over all partitions until stopped."""
        super().__init__(daemon=True)
        self._city, self._per_second = city, per_second
        self.sent = [0] * PARTITIONS
        self.halt = threading.Event()

    def run(self) -> None:
        """Produce in slices of 20 ms."""
        schema = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
        version = self._city.client.get(f"/subjects/{self._city.names.dept_subject(DATASET)}/versions/latest").json()
        head = frame_header(version["id"])
        producer = Producer({"bootstrap.servers": self._city.broker.bootstrap, "linger.ms": 5, "enable.idempotence": True})
        topic = self._city.names.dept(DATASET)
        share = max(1, self._per_second // 50 // PARTITIONS)
        while not self.halt.is_set():
            for partition in range(PARTITIONS):
                for _ in range(share):
                    producer.produce(topic, partition=partition, value=head + _flight(schema, self.sent[partition]))
                    self.sent[partition] += 1
            producer.poll(0)
            time.sleep(0.02)
        if producer.flush(30):
            raise RuntimeError("the load could not be written")


def read_numbers(city: City, topic: str) -> dict[int, list[tuple[int, int]]]:
    """Read a share topic by librdkafka, committed only: per partition (share offset, source offset) in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": city.broker.bootstrap,
            "group.id": "revocation-checker",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    found: dict[int, list[tuple[int, int]]] = {number: [] for number in range(PARTITIONS)}
    ended: set[int] = set()
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    while len(ended) < PARTITIONS:
        for message in consumer.consume(5000, 1.0):
            if message.error():
                ended.add(message.partition())
            else:
                found[message.partition()].append((message.offset(), _first_int(message.value())))
    consumer.close()
    return found


def _first_int(value: bytes) -> int:
    """Return the first field of a framed record: `flight`, which carries the source offset."""
    raw = shift = 0
    for byte in value[5:]:
        raw |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
    return (raw >> 1) ^ -(raw & 1)


def _flight(schema: Any, number: int) -> bytes:
    zero = dict.fromkeys(("year", "month", "day", "sched_dep_time", "sched_arr_time", "distance", "hour", "minute", "time_hour"), 1)
    nothing = dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "tailnum", "air_time"))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {**zero, **nothing, "flight": number, "carrier": "UA", "origin": "JFK", "dest": "LAX"})
    return out.getvalue()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def city(*, serve: Sequence[str] = ("-m", "hub.cli", "serve", "--init")) -> Iterator[City]:
    """Run a hub on a broker of its own in a temporary folder; nothing is left behind."""
    with tempfile.TemporaryDirectory(prefix="cityhub-revocation-") as name:
        folder = Path(name) / "hub"
        folder.mkdir()
        with EmbeddedBroker(folder=Path(name) / "broker") as broker:
            built = City(broker=broker, folder=folder, serve=serve)
            try:
                yield built
            finally:
                built.close()
