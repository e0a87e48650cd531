"""A town for one run of ours: a fresh hub on a broker that goes on and a source topic that is kept.

A lane never goes back behind what was metered, so a topic cannot be delivered again within one hub. Therefore each run has a hub
of its own: all topics of the hub but the source topics are deleted, the group's positions with them, and serve begins with an empty
state folder. The keys are the same in every run, so that records and pseudonyms are.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from checkouts import Tree
from kafka.admin import KafkaAdminClient
from kafka.errors import GroupIdNotFoundError, KafkaError

from benchmarks import machine
from benchmarks.job import dataset_entry, schema_text
from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.broker.ports import choose_free
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.store.keys import create_keys

SCOPE: Final = "330100"
KEY_EPOCH: Final = 1
READY_WITHIN_S: Final = 60.0
CALL_WITHIN_S: Final = 60.0
KEPT_TOPICS: Final = ("__", "dept.")
LOOK_S: Final = 0.05
DONE_LOOK_S: Final = 0.2
DELETED_AT_ONCE: Final = {"log.segment.delete.delay.ms": "1000"}
"""By default the gigabytes of one run are freed a minute later, by the broker, in the middle of another run."""
LANE_STARTED: Final = "lane started"
"""What a worker's log says of each lane."""
STILL_FOR_S: Final = 60.0
"""A worker whose lanes do not move for so long has failed."""
KEPT_VARIABLES: Final = ("CITYHUB_KAFKA_LIBS", "CITYHUB_KERNEL")
"""All other ``CITYHUB_`` variables are left out: the product is measured with its default settings."""


class Failed(Exception):  # noqa: N818 - a verdict
    """A run that has no number, and why."""


class Ground:
    """What all runs share: folder, broker, keys, administration."""

    def __init__(self, *, folder: Path, broker: EmbeddedBroker, cores: machine.Cores, log: str = "on disk") -> None:
        """Connect to a broker that runs, and make keys; ``log`` tells where the broker keeps its log."""
        self.folder, self.broker, self.cores, self.log_is = folder, broker, cores, log
        self.names = Names(scope=SCOPE)
        self.admin = Admin(broker.bootstrap, client_id="benchmark")
        self.keys = folder / "keys"
        create_keys(self.keys, epoch=KEY_EPOCH, comment="benchmark")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of a run, without settings of another hub."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("CITYHUB_") or key in KEPT_VARIABLES}
        return {**own, "PYTHONPATH": Tree.own().path}

    @property
    def broker_pid(self) -> int:
        """Process id of the broker."""
        if self.broker.pid is None:
            raise Failed("the broker has ended")
        return self.broker.pid

    def clear(self) -> None:
        """Delete every topic but the source topics and Kafka's own, and the positions of the exchange."""
        group = self.names.exchange_group
        client = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            self.admin.delete_topics([name for name in client.list_topics() if not name.startswith(KEPT_TOPICS)])
            deadline = time.monotonic() + READY_WITHIN_S
            while True:  # a group can go once its last member is gone
                try:
                    outcome = str(dict(client.delete_groups([group])).get(group))
                except KafkaError as error:  # a coordinator that is only coming up
                    outcome = type(error).__name__
                if outcome in {"OK", GroupIdNotFoundError.__name__}:
                    return
                if time.monotonic() > deadline:
                    message = f"the group `{group}` does not go: {outcome}"
                    raise Failed(message)
                time.sleep(LOOK_S)
        finally:
            client.close()

    def lanes(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic."""
        return [TopicPartition(topic, number) for number in range(self.admin.partitions(topic))]

    def close(self) -> None:
        """End the connections."""
        self.admin.close()


class Town:
    """A fresh hub: serve runs, nothing is published."""

    def __init__(self, ground: Ground, *, name: str, settings: Mapping[str, str] | None = None, tree: Tree | None = None) -> None:
        """Clear what is left of the hub before, and start serve of ``tree``; ``settings`` are variables beyond the default ones."""
        self.ground, self.names = ground, ground.names
        self._tree = tree or Tree.own()
        ground.clear()
        self.folder = ground.folder / "hub"
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(ground.keys, self.folder / "keys")
        self.name = name
        port = choose_free()
        self.environment = {
            **ground.environment,
            "PYTHONPATH": self._tree.path,
            "CITYHUB_STATE": str(self.folder),
            "CITYHUB_SCOPE": SCOPE,
            "CITYHUB_BROKER__BOOTSTRAP": ground.broker.bootstrap,
            "CITYHUB_SERVE__PORT": str(port),
            "CITYHUB_EXCHANGE__METRICS_PORT": "0",
            **(settings or {}),
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=CALL_WITHIN_S, trust_env=False)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.serve = self.start("serve", ("-m", "hub.cli", "serve"), chosen=ground.cores.broker)
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    def publish(self, dataset: str, *, schema: str | None = None, partitions: int = 16) -> tuple[str, int]:
        """Register the schema through the gate and publish the dataset; returns topic and schema id."""
        entry = dataset_entry(dataset, partitions=partitions)
        self._post("/v1/datasets", {"text": entry, "file": "entry.yaml", "schema": schema or schema_text()})
        found = self._post(f"/v1/datasets/{dataset}/publish")
        return str(found["topic"]), int(found["schema_ids"][0])

    def sign(self, files: Sequence[str]) -> None:
        """Apply and sign agreement files."""
        for number, text in enumerate(files):
            applied = self._post("/v1/agreements", {"text": text, "file": f"{number}.yaml"})
            self._post(f"/v1/agreements/{applied['id']}/sign")

    def start_worker(
        self, command: Sequence[str] = ("-m", "hub.cli", "worker"), *, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker on the contender's core."""
        return self.start("worker", command, chosen=self.ground.cores.contender, environment=environment)

    def start(
        self, name: str, command: Sequence[str], *, chosen: frozenset[int], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process of the hub; its log is ``<name>.log`` in the folder."""
        process = machine.start(
            [self._tree.python, *command],
            chosen=chosen,
            environment={**self.environment, **(environment or {})},
            folder=self.folder,
            out=self.folder / f"{name}.log",
        )
        self._processes.append(process)
        return process

    def log(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a process's log that are JSON."""
        found = []
        for line in (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def tail(self, name: str) -> str:
        """Return the end of a log."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-1500:]

    def wait_lanes(self, count: int) -> None:
        """Return once so many lanes of the worker have started."""
        deadline = time.monotonic() + READY_WITHIN_S
        while sum(line.get("event") == LANE_STARTED for line in self.log("worker")) < count:
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: the worker does not start {count} lanes\n{self.tail('worker')}")
            time.sleep(LOOK_S)

    def wait_done(self, topic: str, worker: subprocess.Popen[bytes]) -> None:
        """Return once every lane stands at the end of its log; Failed where none moves for a minute or the worker has ended."""
        lanes = self.ground.lanes(topic)
        ends = self.ground.admin.end_offsets(lanes)
        moved_at, before = time.monotonic(), -1
        while True:
            stands = self.ground.admin.committed(self.names.exchange_group, lanes)
            if all(stands.get(lane, (0, ""))[0] >= ends[lane] for lane in lanes):
                return
            total = sum(offset for offset, _ in stands.values())
            if total != before:
                moved_at, before = time.monotonic(), total
            if worker.poll() is not None or time.monotonic() - moved_at > STILL_FOR_S:
                raise Failed(f"{self.name}: the worker stands still or has ended\n{self.tail('worker')}")
            time.sleep(DONE_LOOK_S)

    def close(self) -> None:
        """End every process."""
        for process in reversed(self._processes):
            machine.end(process)
        self.client.close()

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self.client.post(path, json=body)
        if not answer.is_success:
            raise Failed(f"{path}: {answer.status_code} {answer.text[:600]}")
        return answer.json()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/readyz").is_success:
                    return
            if self.serve.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"serve is not ready\n{self.tail('serve')}")
            time.sleep(LOOK_S)


@contextlib.contextmanager
def ground(folder: Path, *, cores: machine.Cores, on_disk: bool = False, more: Mapping[str, str] | None = None) -> Iterator[Ground]:
    """Run a broker inside the block; it is begun anew and its topics are removed behind it.

    Its log is in memory where there is room, unless ``on_disk``: a disk that takes milliseconds for the first touch of an index file
    (each new partition has two of 10 MiB, mapped) measures itself, and holds every contender up for seconds. ``folder`` is for
    everything else. ``more`` are properties of the broker beyond its own: another listener.
    """
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    memory = None if on_disk else machine.memory_folder()
    home = folder / "broker" if memory is None else Path(tempfile.mkdtemp(prefix="cityhub-benchmark-", dir=memory))
    try:
        with EmbeddedBroker(folder=home, more=DELETED_AT_ONCE | dict(more or {})) as broker:
            if broker.pid is not None:
                machine.pin(broker.pid, cores.broker)
            made = Ground(folder=folder, broker=broker, cores=cores, log="on disk" if memory is None else "in memory")
            try:
                yield made
            finally:
                with contextlib.suppress(HubError):
                    made.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder / "hub", ignore_errors=True)


@contextlib.contextmanager
def unpinned(on: Ground) -> Iterator[Ground]:
    """Give the same broker inside the block with all cores for everyone: there are no further ones to give to more processes."""
    everywhere = frozenset(os.sched_getaffinity(0))
    shared = Ground(folder=on.folder, broker=on.broker, cores=machine.Cores(everywhere, everywhere), log=on.log_is)
    machine.pin(on.broker_pid, everywhere)
    try:
        yield shared
    finally:
        machine.pin(on.broker_pid, on.cores.broker)
        shared.close()


@contextlib.contextmanager
def town(on: Ground, *, name: str, settings: Mapping[str, str] | None = None, tree: Tree | None = None) -> Iterator[Town]:
    """Run a fresh hub inside the block, of ``tree`` where it is not the benchmark's own."""
    built = Town(on, name=name, settings=settings, tree=tree)
    try:
        yield built
    finally:
        built.close()
