"""The stage of the fault tests: a hub (serve, one published dataset, its agreements) and what the checker is told of it."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from crew import Post
from rows import SCHEMA

from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.model.names import Names, TopicPartition
from hub.store.keys import create_keys

DATASET: Final = "transport/passages"
PARTITIONS: Final = 4
SCOPE: Final = "330100"
KEY_EPOCH: Final = 1
READY_WITHIN_S: Final = 60.0
CALL_WITHIN_S: Final = 120.0
POSTED_WITHIN_S: Final = 60.0
LOOK_S: Final = 0.1
SCHEMA_PATH: Final = "transport/passages/v1.avsc"
COMMAND: Final = ("-m", "hub.cli")


@dataclasses.dataclass(frozen=True)
class Terms:
    """An agreement, told once for the hub and once for the checker."""

    id: str
    tariff: str
    unit_price_micro_fen: int
    charge_basis: str
    fields: tuple[str | dict[str, Any], ...]
    where: dict[str, str] | None = None
    state: str = "active"

    @property
    def consumer(self) -> str:
        """Who receives it."""
        return f"{self.id}-office"

    def file(self) -> str:
        """Return the agreement file."""
        told: dict[str, Any] = {
            "apiVersion": "cityhub/v1",
            "kind": "Agreement",
            "id": self.id,
            "provider": "transport",
            "consumer": self.consumer,
            "dataset": DATASET,
            "purpose": "planning",
            "legal_basis": "fault test",
            "valid_until": "2049-12-31",
            "tariff": self.tariff,
            "charge_basis": self.charge_basis,
            "fields": list(self.fields),
        }
        if self.where is not None:
            told["rows"] = {"all": [{"field": field, "eq": value} for field, value in self.where.items()]}
        return yaml.safe_dump(told, allow_unicode=True, sort_keys=False)


EVERY_FIELD: Final = tuple(str(field["name"]) for field in SCHEMA["fields"])
AGREEMENTS: Final = (
    Terms("rows", "per-record@1", 300_000, "service_contract", ("number", "district", "note"), where={"district": "330106"}),
    Terms(
        "forms",
        "per-record-reduced@1",
        100_000,
        "shadow",
        ("number", {"name": "plate", "pseudonym": {}}, {"name": "phone", "mask": {"keep_last": 4}}),
    ),
    Terms("whole", "per-record@1", 300_000, "shadow", EVERY_FIELD),
    Terms("paused", "per-record@1", 300_000, "shadow", ("number",), state="suspended"),
    Terms("never-signed", "per-record@1", 300_000, "shadow", EVERY_FIELD, state="draft"),
)
"""The first three receive; the fourth is suspended before the first row, the fifth is never signed."""


class Stage:
    """A hub on a broker. ``broker`` is killed and started again only where it is the stage's own."""

    def __init__(self, *, broker: EmbeddedBroker, folder: Path, seed: int, records: int, names: Names | None = None) -> None:
        """Start serve, publish the dataset, sign the agreements."""
        self.broker, self.folder, self.seed, self.records = broker, folder, seed, records
        self.names = names or Names(scope=SCOPE)
        self.topic = self.names.dept(DATASET)
        self.lanes = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        port = _free_port()
        self.environment = {
            **os.environ,
            "CITYHUB_STATE": str(folder),
            "CITYHUB_SCOPE": self.names.scope,
            "CITYHUB_TOPICS_PREFIX": self.names.prefix,
            "CITYHUB_BROKER__BOOTSTRAP": broker.bootstrap,
            "CITYHUB_SERVE__PORT": str(port),
            "CITYHUB_EXCHANGE__METRICS_PORT": "0",
        }
        self.serve = Post("serve", folder=folder, environment=self.environment, command=(*COMMAND, "serve"))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=CALL_WITHIN_S, trust_env=False)
        self.schema_id = 0
        create_keys(folder / "keys", epoch=KEY_EPOCH, comment="fault-test")
        try:
            self.serve.start()
            self._wait_ready()
            self._publish()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End serve and close connections."""
        self.serve.end()
        self.client.close()

    def call(self, *words: str) -> Any:
        """Run a ``cityhub`` command with ``--json``; returns its exit code and what it printed."""
        command = [sys.executable, *COMMAND, *words, "--json"]
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_WITHIN_S,
        )
        (self.folder / f"{'-'.join(words[:2])}.err").write_text(done.stderr, encoding="utf-8")
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None

    # -- the ledger ----------------------------------------------------------------------------------------------------

    def bill_fen(self, months: Sequence[str]) -> dict[str, int]:
        """Return what the ledger bills by agreement, collected and shadow, once the collector has read hub.usage to its end."""
        with Admin(self.broker.bootstrap, client_id="fault-stage") as admin:
            places = [TopicPartition(self.names.usage, number) for number in range(admin.partitions(self.names.usage))]
            ends = {str(place.partition): end for place, end in admin.end_offsets(places).items()}
        deadline = time.monotonic() + POSTED_WITHIN_S
        found: dict[str, int] = {}
        for terms in AGREEMENTS:
            for month in months:
                preview = self._bill(terms.consumer, month)
                while any(preview["usage_read_to"].get(number, 0) < end for number, end in ends.items()):
                    if time.monotonic() > deadline:
                        message = f"the collector stands at {preview['usage_read_to']}, hub.usage ends at {ends}"
                        raise RuntimeError(message)
                    time.sleep(LOOK_S)
                    preview = self._bill(terms.consumer, month)
                for line in preview["bill"]["lines"]:
                    found[line["agreement_id"]] = found.get(line["agreement_id"], 0) + line["charge_fen"] + line["shadow_fen"]
        return found

    def _bill(self, consumer: str, month: str) -> Any:
        code, found = self.call("bill", "preview", "--consumer", consumer, "--period", month)
        if code != 0:
            message = f"`cityhub bill preview` ended with {code}"
            raise RuntimeError(message)
        return found

    # -- for the checker -----------------------------------------------------------------------------------------------

    def manifest(self, *, complete: bool = True) -> Path:
        """Write what the checker is told; returns the file. Not ``complete``: lanes stand still, all below their positions counts."""
        told = {
            "bootstrap": self.broker.bootstrap,
            "scope": self.names.scope,
            "prefix": self.names.prefix,
            "topic": self.topic,
            "plan_topic": self.names.plan,
            "usage_topic": self.names.usage,
            "quarantine_topic": self.names.quarantine(DATASET),
            "group": self.names.exchange_group,
            "seed": self.seed,
            "records": self.records,
            "complete": complete,
            "master_key": str(self.folder / "keys" / f"master-{KEY_EPOCH}.key"),
            "key_epoch": KEY_EPOCH,
            "agreements": [self._told(terms) for terms in AGREEMENTS if terms.state != "draft"],
        }
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(told), encoding="utf-8")
        return path

    def _told(self, terms: Terms) -> Mapping[str, Any]:
        return {
            **dataclasses.asdict(terms),
            "consumer": terms.consumer,
            "purpose": "planning",
            "share_topic": self.names.share(consumer=terms.consumer, agreement=terms.id),
            "fields": dict((field, {}) if isinstance(field, str) else (field["name"], field) for field in terms.fields),
        }

    # -- inside --------------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        entry = {
            "apiVersion": "cityhub/v1",
            "kind": "Dataset",
            "dataset": DATASET,
            "title": "卡口过车记录",
            "accountable_person": "chen-jing",
            "sharing": "conditional",
            "condition": "fault test",
            "schema": SCHEMA_PATH,
        }
        text = yaml.safe_dump(entry, allow_unicode=True, sort_keys=False)
        self._post("/v1/datasets", {"text": text, "file": "passages.yaml", "schema": json.dumps(SCHEMA)})
        self._post(f"/v1/datasets/{DATASET}/publish")
        for terms in AGREEMENTS:
            self._post("/v1/agreements", {"text": terms.file(), "file": f"{terms.id}.yaml"})
            for act in {"draft": (), "active": ("sign",), "suspended": ("sign", "suspend")}[terms.state]:
                self._post(f"/v1/agreements/{terms.id}/{act}")
        self.schema_id = int(self.client.get(f"/subjects/{self.names.dept_subject(DATASET)}/versions/latest").json()["id"])

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        answer = self.client.post(path, json=body)
        if not answer.is_success:
            message = f"{path}: {answer.status_code} {answer.text[:600]}"
            raise RuntimeError(message)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/readyz").is_success:
                    return
            if self.serve.ended_by_itself() is not None or time.monotonic() > deadline:
                message = f"serve is not ready: {self.serve.log.read_text(errors='replace')[-2000:]}"
                raise RuntimeError(message)
            time.sleep(LOOK_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def stage(*, seed: int, records: int, keep: Path | None = None) -> Iterator[Stage]:
    """Run a hub on a broker of its own, in a temporary folder unless ``keep`` names one; no process is left behind."""
    with contextlib.ExitStack() as stack:
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cityhub-faults-")))
        (root / "hub").mkdir(parents=True)
        broker = stack.enter_context(EmbeddedBroker(folder=root / "broker"))
        built = Stage(broker=broker, folder=root / "hub", seed=seed, records=records)
        stack.callback(built.close)
        yield built
