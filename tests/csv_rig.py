"""A source of CSV files on the real broker: a registry that answers over HTTP, files, the connector's process, a foreign reader."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from connectors.kit.access import SOURCE_PARTITION, HubAccess
from connectors.kit.conformance import Published
from connectors.kit.contract import Definition, Limits
from connectors.kit.definition import parse_definition, source_types
from connectors.kit.runner import Runner, RunOptions, RunSummary
from hub.broker.admin import Admin
from hub.broker.topics import dept_topic
from hub.model import names as model_names
from hub.model.names import Names
from hub.observe.progress import progress

DATASET = "transport/flights"
PARTITIONS = 4
FLIGHTS = {
    "type": "record",
    "name": "Flights",
    "namespace": "dept.transport",
    "fields": [
        {"name": "number", "type": "int", "title": "序号"},
        {"name": "plate", "type": ["null", "string"], "default": None, "title": "号牌"},
    ],
}
ROWS_PER_TRANSACTION = 100


class RegistryServer:
    """The registry's two paths that a source asks for, over real HTTP. A context manager."""

    def __init__(self, schemas: Mapping[int, Mapping[str, Any]], *, subject: str) -> None:
        """Serve; the largest id is the latest."""
        self.schemas = dict(schemas)
        self.acts: list[tuple[str, Any]] = []
        """Paths and bodies of what was posted."""
        handler = type("Handler", (_RegistryHandler,), {"schemas": self.schemas, "subject": subject, "acts": self.acts})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.port = self._server.server_port

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _RegistryHandler(BaseHTTPRequestHandler):
    schemas: Mapping[int, Mapping[str, Any]]
    subject: str
    acts: list[tuple[str, Any]]

    def do_GET(self) -> None:
        latest = max(self.schemas)
        answers = {f"/schemas/ids/{schema_id}": schema_id for schema_id in self.schemas}
        found = answers.get(self.path, latest if self.path == f"/subjects/{self.subject}/versions/latest" else None)
        text = json.dumps(self.schemas[found]) if found is not None else None
        body: Any = {"error_code": 40401} if text is None else {"subject": self.subject, "version": 1, "id": found, "schema": text}
        if self.path == "/subjects":
            text, body = "", [self.subject]
        raw = json.dumps(body).encode()
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.acts.append((self.path, body))
        raw = json.dumps({"act": "ACT"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class CsvRig:
    """One connector of CSV files; also the rig of the conformance suite."""

    def __init__(self, *, names: Names, admin: Admin, folder: Path, schema: Mapping[str, Any] = FLIGHTS, settings: str = "") -> None:
        """Make topic, registry, folders and the connector file."""
        self.names, self.admin, self.folder = names, admin, folder
        self.topic = names.dept(DATASET)
        admin.create_topics([dept_topic(names, DATASET, partitions=PARTITIONS, replication=1)])
        self.registry = RegistryServer({1: schema}, subject=names.dept_subject(DATASET))
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.state = folder / "state"
        self.file = folder / "source.yaml"
        head = f"apiVersion: cityhub/v1\nkind: Source\nname: flights\ntype: csv-file\ndataset: {DATASET}\n"
        self.file.write_text(f"{head}folder: inbox\nsettle_s: 0\n{settings}", encoding="utf-8")
        self._marks = 0

    def close(self) -> None:
        """Stop the registry."""
        self.registry.close()

    # -- inside this process -------------------------------------------------------------------------------------------

    def put(self, name: str, content: str | bytes) -> Path:
        """Put a file into the folder, whole."""
        raw = content.encode() if isinstance(content, str) else content
        draft = self.inbox / f".{name}.part"
        draft.write_bytes(raw)
        return draft.rename(self.inbox / name)

    def definition(self) -> Definition:
        """Return the connector file, read."""
        return parse_definition(self.file.read_text(encoding="utf-8"), file=str(self.file), folder=self.folder, types=source_types())

    def access(self) -> HubAccess:
        """Return how the hub is reached."""
        return HubAccess(
            bootstrap=self.admin.bootstrap,
            serve_url=self.registry.url,
            names=self.names,
            state=self.state,
            record_bytes_max=900_000,
            transaction_timeout_ms=10_000,
        )

    def publish(self, *, access: HubAccess | None = None, **options: Any) -> RunSummary:
        """Run once in this process."""
        chosen = RunOptions(once=True, limits=Limits(rows_max=ROWS_PER_TRANSACTION), **options)
        with progress("publishing", stream=io.StringIO()) as shown:
            return Runner(self.definition(), access or self.access(), options=chosen, progress=shown).run()

    # -- the conformance suite's rig -----------------------------------------------------------------------------------

    def drop(self, rows: Sequence[int], *, name: str) -> None:
        """Put a file with these rows into the folder."""
        self.put(f"{name}.csv", "序号,号牌\r\n" + "".join(f"{row},浙A{row:05}\r\n" for row in rows))

    def run(self) -> int:
        """Run once to the end."""
        return self.start().wait(timeout=120)

    def kill_at(self, point: str, *, visit: int) -> None:
        """Run until the failpoint hangs, then kill."""
        process = self._start_to(point, visit)
        process.kill()
        process.wait()

    def terminate_at(self, point: str, *, visit: int) -> int:
        """Run until the failpoint sleeps, then SIGTERM."""
        process = self.start(CITYHUB_FAILPOINT=f"{point}@{visit}=sleep:3")
        wait_until(lambda: self.open_transactions() > 0, process)
        process.terminate()
        return process.wait(timeout=120)

    def published(self) -> list[Published]:
        """Read the topic as a consumer would."""
        return [
            Published(message.partition(), dict(message.headers())["ch-source-id"].decode(), decode(message, FLIGHTS)["number"])
            for message in self.read()
        ]

    def position(self) -> str:
        """Return the metadata of the committed offset."""
        group = self.names.connector_group(connector="flights", source_partition=SOURCE_PARTITION)
        place = model_names.TopicPartition(self.topic, 0)
        return self.admin.committed(group, [place])[place][1]

    def open_transactions(self) -> int:
        """Count open transactions of this connector."""
        own = self.names.connector_transactional_id(connector="flights", source_partition=SOURCE_PARTITION)
        return sum(row.transactional_id == own for row in self.admin.open_transactions())

    def open_foreign_transaction(self) -> Callable[[], None]:
        """Write to the topic by librdkafka, without a commit."""
        producer = Producer({"bootstrap.servers": self.admin.bootstrap, "transactional.id": f"{self.names.scope}-stranger"})
        producer.init_transactions(30)
        producer.begin_transaction()
        for partition in range(PARTITIONS):
            producer.produce(self.topic, value=b"stranger", partition=partition)
        producer.flush(30)
        return lambda: producer.abort_transaction(30)

    # -- processes and reading -----------------------------------------------------------------------------------------

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``cityhub connector run --once`` as a user would."""
        command = [sys.executable, "-m", "hub.cli", "connector", "run", str(self.file), "--once", "--json", *arguments]
        with (self.folder / "out.jsonl").open("ab") as out, (self.folder / "log.jsonl").open("ab") as log:
            return subprocess.Popen(command, env={**self.environment, **environment}, stdout=out, stderr=log)

    @property
    def environment(self) -> dict[str, str]:
        """Settings of this connector's processes."""
        known = {
            "CITYHUB_STATE": str(self.state),
            "CITYHUB_SCOPE": self.names.scope,
            "CITYHUB_TOPICS_PREFIX": self.names.prefix,
            "CITYHUB_BROKER__BOOTSTRAP": self.admin.bootstrap,
            "CITYHUB_SERVE__PORT": str(self.registry.port),
            "CITYHUB_CONNECTOR__TRANSACTION_ROWS_MAX": str(ROWS_PER_TRANSACTION),
        }
        return {**os.environ, **known}

    def log(self) -> str:
        """Return what the processes said."""
        return (self.folder / "log.jsonl").read_text(encoding="utf-8")

    def summaries(self) -> list[dict[str, Any]]:
        """Return what the processes printed on stdout."""
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]

    def _start_to(self, point: str, visit: int) -> subprocess.Popen[bytes]:
        self._marks += 1
        mark = self.folder / f"mark-{self._marks}"
        process = self.start(CITYHUB_FAILPOINT=f"{point}@{visit}=hang:{mark}")
        wait_until(mark.exists, process)
        return process

    def read(self) -> list[Message]:
        """Read the topic to its end by librdkafka, read committed."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.admin.bootstrap,
                "group.id": "csv-rig",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        found: list[Message] = []
        ended: set[int] = set()
        consumer.assign([TopicPartition(self.topic, number, 0) for number in range(PARTITIONS)])
        deadline = time.monotonic() + 60
        while len(ended) < PARTITIONS and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                ended.add(message.partition()) if message.error() else found.append(message)
        consumer.close()
        assert len(ended) == PARTITIONS, "the topic could not be read to its end"
        return sorted(found, key=lambda message: (message.partition(), message.offset()))


def decode(message: Message, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Read a record with an Avro library that did not write it."""
    value = message.value()
    assert value[0] == 0
    found: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(dict(schema)), None)
    return found


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], *, within_s: float = 60) -> None:
    """Poll until ``condition`` holds while ``process`` lives."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert process.poll() is None, f"the connector ended with {process.returncode} before"
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.02)
