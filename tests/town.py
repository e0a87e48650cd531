"""A small town for tests of the exchange: datasets and agreements published straight to hub.plan, real workers, foreign readers.

It signs entries as the control plane does and needs no SQL, so that a test of the exchange does not wait for serve. Everything
that is read back is read by librdkafka.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from hub.broker.admin import Admin
from hub.broker.batches import build_batches
from hub.broker.fencing import LaneGate
from hub.broker.topics import dept_topic, plan_topic, quarantine_topic, share_topic, usage_topic
from hub.model import names as model_names
from hub.model.agreement import Agreement, Grant
from hub.model.entry import AgreementBody, Body, DatasetBody, KeysBody, Kind, SchemaBody, encode_body, plan_key
from hub.model.framing import frame_header
from hub.model.lifecycle import State
from hub.model.names import Names
from hub.model.output_schema import output_schema
from hub.model.pseudonym import check_value
from hub.model.records import PlanEntry, Quarantined, decode_quarantined, decode_usage_step, encode_plan_entry
from hub.model.signing import sign_entry
from hub.model.usage import ZERO_HASH, Position, UsageStep
from hub.store.keys import create_keys, load_master_keys, load_officer_key

EPOCH = 1
TIMEOUT_MS = 10_000
FAR = 4_102_444_800_000
FLIGHT = {
    "type": "record",
    "name": "Flight",
    "namespace": "transport",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "plate", "type": ["null", "string"], "identifier": "aircraft", "default": None},
        {"name": "origin", "type": "string"},
        {"name": "phone", "type": ["null", "string"], "default": None},
    ],
}


class Town:
    """One hub on the shared broker, with names and a state folder of its own."""

    def __init__(self, *, names: Names, admin: Admin, folder: Path) -> None:
        """Make keys, hub.plan and hub.usage."""
        self.names, self.admin, self.folder = names, admin, folder
        create_keys(folder / "keys", epoch=EPOCH, comment="town")
        self.gate = LaneGate(admin.bootstrap, timeout_ms=TIMEOUT_MS)
        admin.create_topics([plan_topic(names, replication=1), usage_topic(names, replication=1)])
        self._revisions: dict[bytes, int] = defaultdict(int)
        self._schemas: dict[str, dict[int, str]] = defaultdict(dict)
        self._next_schema_id = 1
        self.agreements: dict[str, AgreementBody] = {}
        self._workers: list[subprocess.Popen[bytes]] = []
        key = load_master_keys(folder / "keys")[EPOCH]
        self.append([self.entry(Kind.KEYS, str(EPOCH), KeysBody(key_epoch=EPOCH, check_value=check_value(key)))])

    # -- publishing ----------------------------------------------------------------------------------------------------

    def entry(self, kind: Kind, object_id: str, body: Body, *, revision: int | None = None) -> PlanEntry:
        """Return a signed entry, of the next revision unless one is given."""
        key = plan_key(kind, object_id)
        self._revisions[key] += 1
        bare = PlanEntry(kind, object_id, revision or self._revisions[key], self.names.scope, encode_body(body), "", b"")
        return sign_entry(bare, load_officer_key(self.folder / "keys"))

    def append(self, entries: Sequence[PlanEntry]) -> int:
        """Append entries in one batch; return the offset of the last."""
        rows = [(plan_key(Kind(entry.kind), entry.object_id), encode_plan_entry(entry)) for entry in entries]
        (batch,) = build_batches(rows, bytes_max=900_000, timestamp_ms=0)
        return self.gate.append(self.names.plan, 0, batch.data) + len(entries) - 1

    def schema(self, dataset: str, schema: Mapping[str, Any]) -> int:
        """Register a writer schema of a dataset; publish before agreements use it. Returns its id."""
        schema_id, self._next_schema_id = self._next_schema_id, self._next_schema_id + 1
        self._schemas[dataset][schema_id] = json.dumps(schema)
        return schema_id

    def publish(self, dataset: str, *, partitions: int = 2, key_identifier: str | None = None, open_lanes: bool = True) -> str:
        """Make topics, open lanes, append schemas and the dataset entry; returns the topic."""
        topic = self.names.dept(dataset)
        self.admin.create_topics(
            [
                dept_topic(self.names, dataset, partitions=partitions, replication=1),
                quarantine_topic(self.names, dataset, partitions=partitions, replication=1),
            ]
        )
        if open_lanes:
            self.open_lanes(topic, partitions)
        body = DatasetBody(
            dataset=dataset,
            topic=topic,
            quarantine_topic=self.names.quarantine(dataset),
            partitions=partitions,
            schema_ids=tuple(self._schemas[dataset]),
            key_identifier=key_identifier,
        )
        self.append([*self._schema_entries(self._schemas[dataset]), self.entry(Kind.DATASET, dataset, body)])
        return topic

    def open_lanes(self, topic: str, partitions: int) -> None:
        """Commit the earliest offset with step 0 for each partition."""
        topic_id = self.admin.topic_ids([topic])[topic]
        lanes = [model_names.TopicPartition(topic, number) for number in range(partitions)]
        begins = self.admin.begin_offsets(lanes)
        positions = {
            lane: Position(offset=begins[lane], topic_id=topic_id, step=0, plan_offset=-1, plan_from=begins[lane], head=ZERO_HASH)
            for lane in lanes
        }
        self.gate.open(positions, names=self.names)

    def agree(self, terms: Agreement, *, state: State = State.ACTIVE, partitions: int = 2) -> AgreementBody:
        """Publish an agreement in a state; returns its body."""
        outputs, schemas = {}, {}
        for schema_id, text in self._schemas[terms.dataset].items():
            derived = output_schema(terms, text, key_epoch=EPOCH)
            known = next((key for key, value in schemas.items() if value == derived), None)
            if known is None:
                known, self._next_schema_id = self._next_schema_id, self._next_schema_id + 1
                schemas[known] = derived
            outputs[str(schema_id)] = known
        self.admin.create_topics(
            [share_topic(self.names, consumer=terms.consumer, agreement=terms.id, partitions=partitions, replication=1)]
        )
        share = self.names.share(consumer=terms.consumer, agreement=terms.id)
        body = AgreementBody(state=state, terms=terms, share_topic=share, key_epoch=EPOCH, output_schema_ids=outputs, since_ms=0)
        self.agreements[terms.id] = body
        self.append([*self._schema_entries(schemas), self.entry(Kind.AGREEMENT, terms.id, body)])
        return body

    def _schema_entries(self, schemas: Mapping[int, str]) -> list[PlanEntry]:
        return [
            self.entry(Kind.SCHEMA, str(schema_id), SchemaBody(schema_id=schema_id, schema=text)) for schema_id, text in schemas.items()
        ]

    # -- records -------------------------------------------------------------------------------------------------------

    def produce(self, topic: str, rows: Iterable[tuple[int, bytes | None, bytes | None]]) -> None:
        """Produce (partition, key, value) by librdkafka."""
        producer = Producer({"bootstrap.servers": self.admin.bootstrap, "linger.ms": 5})
        for partition, key, value in rows:
            producer.produce(topic, partition=partition, key=key, value=value)
            producer.poll(0)
        assert producer.flush(30) == 0

    def read(self, topic: str, *, partitions: int = 2, isolation: str = "read_committed") -> list[Message]:
        """Read a topic to its end by librdkafka, partition by partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.admin.bootstrap,
                "group.id": "town",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        found: list[Message] = []
        ended: set[int] = set()
        try:
            consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
            deadline = time.monotonic() + 30
            while len(ended) < partitions and time.monotonic() < deadline:
                for message in consumer.consume(1000, 0.5):
                    ended.add(message.partition()) if message.error() else found.append(message)
        finally:
            consumer.close()
        assert len(ended) == partitions, f"{topic} could not be read to its end"
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    def shared(self, agreement_id: str, *, partitions: int = 2) -> list[dict[str, Any]]:
        """Return the delivered records of an agreement, decoded by the output schema in hub.plan."""
        body = self.agreements[agreement_id]
        return [decode(message.value(), self.output_schema(body)) for message in self.read(body.share_topic, partitions=partitions)]

    def output_schema(self, body: AgreementBody) -> dict[int, Any]:
        """Return parsed output schemas by id."""
        texts = {
            body.output_schema_ids[str(schema_id)]: output_schema(body.terms, text, key_epoch=EPOCH)
            for schema_id, text in self._schemas[body.terms.dataset].items()
        }
        return {schema_id: fastavro.parse_schema(json.loads(text)) for schema_id, text in texts.items()}

    def usage(self) -> list[UsageStep]:
        """Return every committed usage step, in order of partition and offset."""
        return [decode_usage_step(message.value()) for message in self.read(self.names.usage, partitions=4)]

    def quarantined(self, dataset: str, *, partitions: int = 2) -> list[Quarantined]:
        """Return the quarantined records of a dataset."""
        return [decode_quarantined(message.value()) for message in self.read(self.names.quarantine(dataset), partitions=partitions)]

    # -- workers -------------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Settings of this town's processes."""
        return {
            **os.environ,
            "CITYHUB_STATE": str(self.folder),
            "CITYHUB_SCOPE": self.names.scope,
            "CITYHUB_TOPICS_PREFIX": self.names.prefix,
            "CITYHUB_BROKER__BOOTSTRAP": self.admin.bootstrap,
            "CITYHUB_EXCHANGE__METRICS_PORT": "0",
        }

    def start_worker(self, command: Sequence[str] = ("-m", "hub.cli", "worker"), **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker process; its log is ``worker-<n>.log`` in the folder."""
        with (self.folder / f"worker-{len(self._workers)}.log").open("ab") as out:
            worker = subprocess.Popen(
                [sys.executable, *command], env={**self.environment, **environment}, stdout=out, stderr=out, cwd=self.folder
            )
        self._workers.append(worker)
        return worker

    @contextlib.contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker inside the ``with``; SIGTERM at its end."""
        worker = self.start_worker(**environment)
        try:
            yield worker
        finally:
            end(worker)

    def log(self, number: int = -1) -> str:
        """Return the log of a worker."""
        index = number % len(self._workers)
        return (self.folder / f"worker-{index}.log").read_text(errors="replace")

    def positions(self, topic: str, *, partitions: int = 2) -> dict[int, tuple[int, str]]:
        """Return committed offsets and metadata by partition."""
        lanes = [model_names.TopicPartition(topic, number) for number in range(partitions)]
        return {lane.partition: row for lane, row in self.admin.committed(self.names.exchange_group, lanes).items()}

    def wait_done(self, topic: str, *, partitions: int = 2, within_s: float = 60) -> None:
        """Wait until every lane stands at the end of its log."""
        lanes = [model_names.TopicPartition(topic, number) for number in range(partitions)]
        ends = self.admin.end_offsets(lanes)

        def done() -> bool:
            at = self.positions(topic, partitions=partitions)
            return all(at.get(lane.partition, (-1, ""))[0] >= ends[lane] for lane in lanes)

        wait_until(done, within_s=within_s, what=lambda: f"{self.positions(topic, partitions=partitions)} {ends}\n{self.log()[-3000:]}")

    def close(self) -> None:
        """End every worker and the gate."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.gate.close()


def terms(agreement_id: str, **changes: Any) -> Agreement:
    """Return plain terms on ``transport/flights``, changed as said."""
    plain: dict[str, Any] = {
        "id": agreement_id,
        "provider": "transport",
        "consumer": f"{agreement_id}-office",
        "dataset": "transport/flights",
        "purpose": "test",
        "legal_basis": "test",
        "valid_until_ms": FAR,
        "tariff": "per-record@1",
        "fields": (Grant("id"), Grant("origin")),
        "payer": f"{agreement_id}-office",
    }
    return Agreement(**{**plain, **changes})


def encode(schema_id: int, schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """Return a framed record."""
    out = io.BytesIO()
    out.write(frame_header(schema_id))
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), record)
    return out.getvalue()


def decode(value: bytes, schemas: Mapping[int, Any]) -> dict[str, Any]:
    """Return a framed record, decoded by the schema that its frame names."""
    schema = schemas[int.from_bytes(value[1:5], "big")]
    found: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    return found


def flight(number: int, **changes: Any) -> dict[str, Any]:
    """Return one flight record."""
    return {"id": number, "plate": f"N{number:05d}", "origin": ("JFK", "LGA", "EWR")[number % 3], "phone": None, **changes}


def wait_until(condition: Any, *, within_s: float, what: Any = lambda: "") -> None:
    """Poll until ``condition`` holds; fail with ``what`` after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what()}"
        time.sleep(0.05)


def end(worker: subprocess.Popen[bytes]) -> int:
    """Stop a worker by SIGTERM; returns its exit code."""
    if worker.poll() is None:
        worker.terminate()
    return worker.wait(timeout=30)
