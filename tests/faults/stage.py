"""The stage of the fault tests: a hub (serve, published datasets, their agreements) and what the checker is told of it."""

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
from crew import Failure, Post
from rows import schema

from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.model.names import Names, TopicPartition
from hub.store.keys import create_keys

PARTITIONS: Final = 4
SCOPE: Final = "330100"
KEY_EPOCH: Final = 1
READY_WITHIN_S: Final = 120.0
CALL_WITHIN_S: Final = 120.0
POSTED_WITHIN_S: Final = 60.0
LOOK_S: Final = 0.1
COMMAND: Final = ("-m", "hub.cli")


@dataclasses.dataclass(frozen=True)
class Terms:
    """An agreement, told once for the hub and once for the checker."""

    id: str
    consumer: str
    tariff: str
    unit_price_micro_fen: int
    charge_basis: str
    fields: tuple[str | dict[str, Any], ...]
    where: dict[str, str] | None = None
    state: str = "active"
    version: int = 1
    earlier_prices: dict[str, int] = dataclasses.field(default_factory=dict)
    """In micro-fen, by version (as text) of the agreement, of versions that had another tariff than this one."""

    def file(self, dataset: str) -> str:
        """Return the agreement file."""
        told: dict[str, Any] = {
            "apiVersion": "cityhub/v1",
            "kind": "Agreement",
            "id": self.id,
            "version": self.version,
            "provider": dataset.partition("/")[0],
            "consumer": self.consumer,
            "dataset": dataset,
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


EVERY_FIELD: Final = tuple(str(field["name"]) for field in schema("Passage")["fields"])
FORMS: Final = ("number", {"name": "plate", "pseudonym": {}}, {"name": "phone", "mask": {"keep_last": 4}})


def _receiving(prefix: str = "") -> tuple[Terms, ...]:
    return (
        Terms(
            f"{prefix}rows",
            "rows-office",
            "per-record@1",
            300_000,
            "service_contract",
            ("number", "district", "note"),
            where={"district": "330106"},
        ),
        Terms(f"{prefix}forms", "forms-office", "per-record-reduced@1", 100_000, "shadow", FORMS),
        Terms(f"{prefix}whole", "whole-office", "per-record@1", 300_000, "shadow", EVERY_FIELD),
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset, its agreements, and who writes which of its rows."""

    name: str
    title: str
    rows: str
    """Name of its schema, and so of what makes its rows."""
    writers: tuple[range, ...]
    """Numbers of the rows by writer; each writer sends its rows in order."""
    agreements: tuple[Terms, ...]


def passages(*writers: range) -> Dataset:
    """Return the passages: three agreements receive, one is suspended before the first row, one is never signed."""
    paused = Terms("paused", "paused-office", "per-record@1", 300_000, "shadow", ("number",), state="suspended")
    never = Terms("never-signed", "never-signed-office", "per-record@1", 300_000, "shadow", EVERY_FIELD, state="draft")
    return Dataset("transport/passages", "卡口过车记录", "Passage", writers, (*_receiving(), paused, never))


def reports(*writers: range) -> Dataset:
    """Return the reports: the same three agreements on long rows."""
    return Dataset("transport/reports", "卡口过车报告", "Report", writers, _receiving("report-"))


class Stage:
    """A hub on a broker. ``broker`` is killed and started again only where it is the stage's own."""

    def __init__(
        self,
        *,
        broker: EmbeddedBroker,
        folder: Path,
        seed: int,
        datasets: Sequence[Dataset],
        names: Names | None = None,
        kernel: str = "",
        python: str = sys.executable,
    ) -> None:
        """Start serve, publish the datasets, sign the agreements. ``kernel``: the one that workers are to use; empty: theirs to choose.

        ``python``: the interpreter whose packages hold the code that runs; where another commit's does, that makes the keys too.
        """
        self.broker, self.folder, self.seed, self.datasets = broker, folder, seed, tuple(datasets)
        self.names = names or Names(scope=SCOPE)
        self.lanes = [TopicPartition(self.topic(dataset), number) for dataset in datasets for number in range(PARTITIONS)]
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
        if kernel:
            self.environment["CITYHUB_KERNEL"] = kernel
        self.python = python
        self.ends: dict[str, dict[int, int]] = {}
        """By agreement whose right ended meanwhile: the source offset in each partition from which on nothing is due."""
        self.serve = Post("serve", folder=folder, environment=self.environment, command=(*COMMAND, "serve"), python=python)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=CALL_WITHIN_S, trust_env=False)
        self.schema_ids: dict[str, int] = {}
        self._make_keys(folder / "keys")
        try:
            self.serve.start()
            self.wait_ready()
            for dataset in self.datasets:
                self.publish(dataset)
        except BaseException:
            self.close()
            raise

    def _make_keys(self, folder: Path) -> None:
        if self.python == sys.executable:
            create_keys(folder, epoch=KEY_EPOCH, comment="fault-test")
            return
        code = "import pathlib, sys, hub.store.keys as k; k.create_keys(pathlib.Path(sys.argv[1]), epoch=int(sys.argv[2]), comment='test')"
        subprocess.run([self.python, "-c", code, str(folder), str(KEY_EPOCH)], cwd=self.folder, env=self.environment, check=True)

    def close(self) -> None:
        """End serve and close connections."""
        self.serve.end()
        self.client.close()

    @property
    def records(self) -> int:
        """Rows that all writers together send."""
        return sum(len(writer) for dataset in self.datasets for writer in dataset.writers)

    def topic(self, dataset: Dataset) -> str:
        """Return where a dataset's rows are written."""
        return self.names.dept(dataset.name)

    def kernel(self) -> str:
        """Return the kernel that workers of this stage run; Failure where it is not the one that was asked for."""
        told = [self.python, "-c", "from hub.exchange import kernel; print(kernel.name())"]
        done = subprocess.run(told, env=self.environment, capture_output=True, text=True, check=False, timeout=CALL_WITHIN_S)
        found = done.stdout.strip()
        wanted = self.environment.get("CITYHUB_KERNEL", "auto")
        if done.returncode != 0 or wanted not in {found, "auto"}:
            raise Failure(f"the {wanted} kernel is not there: {found or done.stderr.strip()[-300:]}")
        return found

    def call(self, *words: str, **environment: str) -> Any:
        """Run a ``cityhub`` command with ``--json``; returns its exit code and what it printed."""
        command = [self.python, *COMMAND, *words, "--json"]
        done = subprocess.run(
            command,
            env={**self.environment, **environment},
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
        for consumer in sorted({terms.consumer for dataset in self.datasets for terms in dataset.agreements}):
            for month in months:
                preview = self._bill(consumer, month)
                while any(preview["usage_read_to"].get(number, 0) < end for number, end in ends.items()):
                    if time.monotonic() > deadline:
                        message = f"the collector stands at {preview['usage_read_to']}, hub.usage ends at {ends}"
                        raise RuntimeError(message)
                    time.sleep(LOOK_S)
                    preview = self._bill(consumer, month)
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
            "plan_topic": self.names.plan,
            "usage_topic": self.names.usage,
            "group": self.names.exchange_group,
            "seed": self.seed,
            "complete": complete,
            "master_key": str(self.folder / "keys" / f"master-{KEY_EPOCH}.key"),
            "key_epoch": KEY_EPOCH,
            "datasets": [self._dataset_told(dataset) for dataset in self.datasets],
        }
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(told), encoding="utf-8")
        return path

    def _dataset_told(self, dataset: Dataset) -> Mapping[str, Any]:
        return {
            "topic": self.topic(dataset),
            "quarantine_topic": self.names.quarantine(dataset.name),
            "rows": dataset.rows,
            "writers": [[writer.start, writer.stop] for writer in dataset.writers],
            "agreements": [self._told(terms) for terms in dataset.agreements if terms.state != "draft"],
        }

    def _told(self, terms: Terms) -> Mapping[str, Any]:
        return {
            **dataclasses.asdict(terms),
            "purpose": "planning",
            "ends": self.ends.get(terms.id, {}),
            "share_topic": self.names.share(consumer=terms.consumer, agreement=terms.id),
            "fields": dict((field, {}) if isinstance(field, str) else (field["name"], field) for field in terms.fields),
        }

    # -- inside --------------------------------------------------------------------------------------------------------

    def publish(self, dataset: Dataset) -> None:
        """Apply and publish a dataset, bring its agreements into their states, and learn the id of its schema."""
        entry = {
            "apiVersion": "cityhub/v1",
            "kind": "Dataset",
            "dataset": dataset.name,
            "title": dataset.title,
            "accountable_person": "chen-jing",
            "sharing": "conditional",
            "condition": "fault test",
            "schema": f"{dataset.name}/v1.avsc",
        }
        text = yaml.safe_dump(entry, allow_unicode=True, sort_keys=False)
        file = f"{dataset.name.partition('/')[2]}.yaml"
        self.post("/v1/datasets", {"text": text, "file": file, "schema": json.dumps(schema(dataset.rows))})
        self.post(f"/v1/datasets/{dataset.name}/publish")
        for terms in dataset.agreements:
            self.apply(terms, dataset)
            for act in {"draft": (), "active": ("sign",), "suspended": ("sign", "suspend"), "ended": ("sign", "end")}[terms.state]:
                self.post(f"/v1/agreements/{terms.id}/{act}")
        version = self.client.get(f"/subjects/{self.names.dept_subject(dataset.name)}/versions/latest").json()
        self.schema_ids[dataset.name] = int(version["id"])

    def apply(self, terms: Terms, dataset: Dataset) -> None:
        """Draft an agreement, or a new version of it."""
        self.post("/v1/agreements", {"text": terms.file(dataset.name), "file": f"{terms.id}.yaml"})

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST and return the JSON answered; RuntimeError where it is refused."""
        answer = self.client.post(path, json=body)
        if not answer.is_success:
            message = f"{path}: {answer.status_code} {answer.text[:600]}"
            raise RuntimeError(message)
        return answer.json()

    def is_ready(self) -> bool:
        """Tell whether serve says that it is."""
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/readyz").is_success
        return False

    def wait_ready(self) -> None:
        """Return when serve is ready; RuntimeError when it ended or takes too long."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            if self.is_ready():
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
def stage(
    *, seed: int, datasets: Sequence[Dataset], kernel: str = "", keep: Path | None = None, python: str = sys.executable
) -> Iterator[Stage]:
    """Run a hub on a broker of its own, in a temporary folder unless ``keep`` names one; no process is left behind."""
    with contextlib.ExitStack() as stack:
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cityhub-faults-")))
        (root / "hub").mkdir(parents=True)
        broker = stack.enter_context(EmbeddedBroker(folder=root / "broker"))
        built = Stage(broker=broker, folder=root / "hub", seed=seed, datasets=datasets, kernel=kernel, python=python)
        stack.callback(built.close)
        yield built
