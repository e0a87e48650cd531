"""A schema's id is answered once hub.plan carries it with all that follows from it, whoever is asked and whoever dies meanwhile.

A department writes with an id as soon as it has it. So a feeder asks the serve that stands by for the latest id, again and again, and
writes records with whatever it is answered, while registrations of more than one batch are killed at every border between batches.
"""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from confluent_kafka import Producer
from hall import until

from hub.agreements.publisher import CHANGE_BYTES_MAX
from hub.app import Hub
from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.broker.plan_log import PlanLog
from hub.model.entry import AgreementBody, DatasetBody, Kind, decode_body
from hub.model.framing import frame_header
from hub.model.names import Names, TopicPartition
from hub.model.records import decode_plan_entry
from hub.settings import BrokerSettings, Settings

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]
DATASET = "vehicle-registry/vehicles"
FIELDS = 220
AGREEMENTS = int(os.environ.get("CITYHUB_TEST_WIDE_AGREEMENTS", "60"))
BORDERS = ("plan.stored@1", "plan.before_append@1", "plan.appended@1", "plan.noted@1", "plan.appended@2")
ENTRY = f"""\
apiVersion: cityhub/v1
kind: Dataset
dataset: {DATASET}
title: 车辆
accountable_person: wang-lei
sharing: conditional
schema: vehicle-registry/vehicle/v1.avsc
partitions: 1
"""


def schema(version: int) -> dict[str, Any]:
    """Return the wide schema with so many fields more."""
    fields = [{"name": f"a_field_with_a_long_name_{number:03}", "type": ["null", "string"], "default": None} for number in range(FIELDS)]
    more = [{"name": f"added_{number}", "type": ["null", "string"], "default": None} for number in range(version)]
    return {"type": "record", "name": "Vehicle", "namespace": "registry", "fields": [*fields, *more]}


def agreement(number: int) -> str:
    """Return an agreement that grants every field of the first version."""
    names = ", ".join(field["name"] for field in schema(0)["fields"])
    return f"""\
apiVersion: cityhub/v1
kind: Agreement
id: wide-{number}
provider: vehicle-registry
consumer: parking-office
dataset: {DATASET}
purpose: enforcement
legal_basis: "浙政发〔2012〕41号 三(四)"
valid_until: 2050-12-31
tariff: per-record@1
fields: [{names}]
"""


class Office:
    """A hub of processes: a serve that leads, one that stands by, a worker, and a department that feeds."""

    def __init__(self, *, bootstrap: str, names: Names, folder: Path) -> None:
        """Start nothing yet."""
        self.bootstrap, self.names, self.folder = bootstrap, names, folder
        self.ports = (free_port(), free_port())
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.subject = names.dept_subject(DATASET)
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(folder / "state"),
            "CITYHUB_SCOPE": names.scope,
            "CITYHUB_TOPICS_PREFIX": names.prefix,
            "CITYHUB_BROKER__BOOTSTRAP": bootstrap,
            "CITYHUB_EXCHANGE__METRICS_PORT": "0",
        }
        self.worker = subprocess.Popen([sys.executable, "-c", "pass"])

    def serve(self, port: int, *, failpoint: str = "") -> subprocess.Popen[bytes]:
        """Start a serve on ``port``."""
        command = ("serve", "--init", "--port", str(port))
        self.running[port] = self._start(*command, CITYHUB_FAILPOINT=failpoint, CITYHUB_SERVE__PORT=str(port))
        return self.running[port]

    def start_worker(self) -> None:
        """Start the worker."""
        self.worker.wait()
        self.worker = self._start("worker")

    def _start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.log").open("ab") as out:
            process = [sys.executable, "-m", "hub.cli", *command]
            return subprocess.Popen(process, env={**self.environment, **environment}, stdout=out, stderr=out, cwd=self.folder)

    def leads(self, port: int) -> bool:
        """Tell whether the serve on ``port`` leads."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
        return False

    def stands_by(self, port: int) -> bool:
        """Tell whether the serve on ``port`` stands by."""
        with contextlib.suppress(httpx.TransportError):
            return "role standby" in httpx.get(f"http://127.0.0.1:{port}/readyz?verbose", trust_env=False).text
        return False

    def post(self, port: int, path: str, body: Any, *, timeout: float = 120) -> httpx.Response:
        """Post JSON."""
        return httpx.post(f"http://127.0.0.1:{port}{path}", json=body, trust_env=False, timeout=timeout)

    def get(self, port: int, path: str) -> Any:
        """Get JSON, whatever the status."""
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=30).json()

    def stop(self, port: int) -> None:
        """End a serve."""
        process = self.running.pop(port)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)

    def close(self) -> None:
        """Kill what still runs."""
        for process in (*self.running.values(), self.worker):
            process.kill()
            process.wait()


class Feeder(threading.Thread):
    """Asks for the latest id all the time and writes a record with whatever it is answered."""

    def __init__(self, office: Office) -> None:
        """Feed the dataset's topic."""
        super().__init__(daemon=True)
        self._office = office
        self._producer = Producer({"bootstrap.servers": office.bootstrap, "linger.ms": 0})
        self._over = threading.Event()
        self.ids: list[int] = []

    def run(self) -> None:
        """Feed until told to stop."""
        topic = self._office.names.dept(DATASET)
        while not self._over.wait(0.01):
            for port in reversed(self._office.ports):
                with contextlib.suppress(httpx.TransportError, KeyError, ValueError):
                    found = self._office.get(port, f"/subjects/{self._office.subject}/versions/latest")
                    self._producer.produce(topic, value=record(found["id"], json.loads(found["schema"])))
                    self._producer.poll(0)
                    self.ids.append(found["id"])
                    break

    def stop(self) -> None:
        """End, when every record has been acknowledged."""
        self._over.set()
        self.join(timeout=30)
        assert self._producer.flush(30) == 0


def record(schema_id: int, of: dict[str, Any]) -> bytes:
    """Return a framed record of all defaults."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(of), {})
    return frame_header(schema_id) + out.getvalue()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def office(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Office]:
    """Give a hub with a published dataset under many wide agreements, and a worker; a serve leads on the first port."""
    built = Office(bootstrap=broker.bootstrap, names=names, folder=tmp_path)
    try:
        lead, _ = built.ports
        built.serve(lead)
        until(lambda: built.leads(lead), within_s=90)
        sent = {"text": ENTRY, "file": "d.yaml", "schema": json.dumps(schema(0))}
        assert built.post(lead, "/v1/datasets", sent).status_code == 200
        assert built.post(lead, f"/v1/datasets/{DATASET}/publish", {}).status_code == 200
        for number in range(AGREEMENTS):
            assert built.post(lead, "/v1/agreements", {"text": agreement(number), "file": "a.yaml"}).status_code == 200
            assert built.post(lead, f"/v1/agreements/wide-{number}/sign", {}).status_code == 200
        built.start_worker()
        yield built
    finally:
        built.close()


def seen(office: Office, port: int, schema_id: int, text: str) -> list[Any]:
    """Return what each way to an id answers for one that may not be known yet."""
    subject = office.subject
    return [
        office.get(port, f"/schemas/ids/{schema_id}").get("error_code"),
        office.get(port, f"/schemas/ids/{schema_id}/versions").__class__,
        office.get(port, f"/subjects/{subject}/versions"),
        office.get(port, f"/subjects/{subject}/versions/latest")["version"],
        office.post(port, f"/subjects/{subject}", {"schema": text}).status_code,
    ]


def ends(office: Office, topic: str) -> int:
    """Return how many offsets a topic of one partition has."""
    with Admin(office.bootstrap, client_id="told-test") as admin:
        lane = TopicPartition(topic, 0)
        return admin.end_offsets([lane])[lane]


def done(office: Office) -> bool:
    """Tell whether the lane stands at the end of its topic."""
    with Admin(office.bootstrap, client_id="told-test") as admin:
        lane = TopicPartition(office.names.dept(DATASET), 0)
        committed = admin.committed(office.names.exchange_group, [lane])
        return lane in committed and committed[lane][0] >= admin.end_offsets([lane])[lane]


def test_no_record_meets_half_of_a_change_wherever_serve_is_killed(office: Office) -> None:
    """Records of a version that no worker can read yet would be quarantined, and nobody delivers them again."""
    feeder = Feeder(office)
    feeder.start()
    for version, border in enumerate(BORDERS, 1):
        killed_at(office, border, version)
    feeder.stop()
    assert len(set(feeder.ids)) == len(BORDERS) + 1, "the feeder met every version"
    until(lambda: done(office), within_s=120)
    assert ends(office, office.names.quarantine(DATASET)) == 0
    assert ends(office, office.names.share(consumer="parking-office", agreement="wide-0")) >= len(feeder.ids)
    assert_in_order(office)
    assert outcomes_of(office, "register.schema") == ["intended", "done"] * len(BORDERS)


def killed_at(office: Office, border: str, version: int) -> None:
    """Register a version on a serve that hangs at ``border``, look at it and at the one that stands by, and kill it there."""
    lead, other = office.ports
    mark = office.folder / border
    for port in list(office.running):
        office.stop(port)
    office.serve(lead, failpoint=f"{border}=hang:{mark}")
    until(lambda: office.leads(lead), within_s=90)
    office.serve(other)
    until(lambda: office.stands_by(other), within_s=90)
    before = office.get(lead, f"/subjects/{office.subject}/versions")
    latest = office.get(lead, f"/subjects/{office.subject}/versions/latest")["id"]
    text = json.dumps(schema(version))
    asked = threading.Thread(target=ask, args=(office, lead, text))
    asked.start()
    until(mark.exists, within_s=120)
    hidden = next(number for number in range(latest + 1, latest + 10_000) if is_writer(office, number, version))
    for port in (lead, other):
        assert seen(office, port, hidden, text) == [40403, dict, before, before[-1], 404], f"{border} on {port}"
    refused = office.post(other, f"/subjects/{office.subject}/versions", {"schema": text})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    killed = office.running.pop(lead)
    killed.kill()
    killed.wait()
    asked.join(timeout=60)
    until(lambda: office.get(other, f"/subjects/{office.subject}/versions") == [*before, before[-1] + 1], within_s=90)
    until(lambda: office.leads(other), within_s=90)
    assert office.post(other, f"/subjects/{office.subject}/versions", {"schema": text}).json() == {"id": hidden}


def ask(office: Office, port: int, text: str) -> None:
    """Register a schema; the serve is killed before it answers."""
    with contextlib.suppress(httpx.TransportError):
        office.post(port, f"/subjects/{office.subject}/versions", {"schema": text})


def is_writer(office: Office, schema_id: int, version: int) -> bool:
    """Tell whether SQL gave ``schema_id`` to the writer schema of ``version``."""
    found = hub_of(office)
    with contextlib.closing(found), found.engine.connect() as connection:
        text = found.registry.text(connection, schema_id)
    return text is not None and json.loads(text) == schema(version)


def hub_of(office: Office) -> Hub:
    """Return the hub's parts, for looking into SQL."""
    broker = BrokerSettings(bootstrap=office.bootstrap)
    return Hub(Settings(state=office.folder / "state", scope=office.names.scope, topics_prefix=office.names.prefix, broker=broker))


def outcomes_of(office: Office, act: str) -> list[str]:
    """Return the outcomes of every act of a kind, oldest first."""
    hub = hub_of(office)
    with contextlib.closing(hub), hub.engine.connect() as connection:
        return [row.outcome for row in connection.exec_driver_sql(f"SELECT outcome FROM acts WHERE act = '{act}' ORDER BY seq")]  # noqa: S608


def assert_in_order(office: Office) -> None:
    """Hold that no entry of hub.plan names what stands behind it, and that the changes did not fit into one batch."""
    carried: set[int] = set()
    outputs: dict[str, dict[str, int]] = {}
    size = 0
    with PlanLog(office.bootstrap, office.names.plan) as log:
        for at in log.read_all():
            entry = decode_plan_entry(at.value or b"")
            body = decode_body(Kind(entry.kind), entry.body)
            size += len(at.value or b"")
            if entry.kind == Kind.SCHEMA:
                carried.add(int(entry.object_id))
            elif isinstance(body, AgreementBody):
                assert set(body.output_schema_ids.values()) <= carried
                outputs[entry.object_id] = body.output_schema_ids
            elif isinstance(body, DatasetBody):
                assert set(body.schema_ids) <= carried
                assert all({str(schema_id) for schema_id in body.schema_ids} <= named.keys() for named in outputs.values())
    assert size > len(BORDERS) * CHANGE_BYTES_MAX
