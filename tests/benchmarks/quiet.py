"""Quiet lanes: many datasets of four partitions on one worker, each with a record a second, and how long a record takes.

``python -m benchmarks.quiet`` with ``tests`` on the path. Every lane has transactions of its own, so what is measured is what a
transaction of one record costs, and what eight hundred lanes cost that have nothing to do. Records are due at times of their own,
by the clock; the latency of one goes from there, by way of librdkafka with its defaults, to its arrival at a ``read_committed``
reader. Within a partition the order is kept, so the n-th arrival is the n-th record that was sent; a count that is off is a failure.
"""

import argparse
import asyncio
import json
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka import Producer

from benchmarks import machine
from benchmarks.job import GRANTED, PROVIDER, Terms, agreement_file, schema_text
from benchmarks.records import make_source
from benchmarks.town import Failed, Ground, Town, ground, town, unpinned
from hub.broker.batches import headers
from hub.broker.fetching import Fetched, FetchSession
from hub.broker.requests import open_client, topic_ids

DATASETS: Final = 200
PARTITIONS: Final = 4
SECONDS: Final = 30.0
WARM_S: Final = 45.0
"""What is due in the first seconds is sent and not counted: connections open, and the broker compiles what transactions of one record
need."""
ARRIVED_WITHIN_S: Final = 20.0
READ_EVERY_S: Final = 0.02
"""Between two requests of the reader: half of it is part of each latency, in the mean."""
READ_BYTES_MAX: Final = 1024 * 1024
LATENCY_P99_MS_MAX: Final = 500.0
WORKER_CORES_MAX: Final = 0.5

Place = tuple[str, int]


class Quiet(NamedTuple):
    """A dataset: where its records go, and where they arrive."""

    source: str
    share: str


class Due(NamedTuple):
    """A record that is to be sent: when, in seconds from the start, and where."""

    at_s: float
    dataset: Quiet
    partition: int


def measure(here: Ground, *, datasets: int = DATASETS, seconds: float = SECONDS) -> dict[str, Any]:
    """Return latencies of the records that were due in ``seconds``, and what the worker used of a core; Failed where one is missing.

    Nothing is pinned: serve meters as many steps as there are records, and on one core with the broker and the benchmark it would
    hold up what is measured.
    """
    with unpinned(here) as everywhere, town(everywhere, name=f"{datasets} quiet datasets") as hub:
        opened, schema_id = open_datasets(hub, datasets)
        began = time.monotonic()
        worker = hub.start_worker()
        hub.wait_lanes(datasets * PARTITIONS)
        started_s = time.monotonic() - began
        value = make_source(1_000, schema_id=schema_id).partitions[0][0].value
        pids = {"worker": worker.pid, "broker": here.broker_pid}
        found = load(here.broker.bootstrap, opened, value=value, pids=pids, seconds=seconds)
        found |= {
            "datasets": datasets,
            "lanes": datasets * PARTITIONS,
            "start_s": round(started_s, 1),
            "rss_mb": machine.rss_mb(worker.pid),
        }
        if machine.end(worker) != 0:
            raise Failed(f"the worker failed\n{hub.tail('worker')}")
    here.admin.delete_topics([dataset.source for dataset in opened])
    return found


def open_datasets(hub: Town, count: int) -> tuple[list[Quiet], int]:
    """Publish datasets with one agreement each, that grants every record; returns them and the id of the schema that they share."""
    opened, schema_id = [], 0
    for number in range(count):
        name = f"{PROVIDER}/quiet-{number:03}"
        source, schema_id = hub.publish(name, schema=schema_text(), partitions=PARTITIONS)
        who = _Grantee(number, ())
        hub.sign([agreement_file(who, name, key="keep", rows=None, fields=list(GRANTED))])
        opened.append(Quiet(source, hub.names.share(consumer=who.consumer, agreement=who.id)))
    return opened, schema_id


class _Grantee(Terms):
    @property
    def id(self) -> str:
        return f"quiet-{self.number:03}"


def load(bootstrap: str, opened: Sequence[Quiet], *, value: bytes, pids: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """Send a record a second to each dataset and read what arrives; ``pids`` are the processes whose use of a core is told."""
    dues = schedule(opened, seconds=WARM_S + seconds)
    reader = _Reader(bootstrap, opened)
    try:
        sent, cores = _send(bootstrap, dues, value=value, pids=pids)
        arrived = reader.wait(sum(map(len, sent.values())))
    finally:
        reader.close()
    found = sorted(latencies(sent, arrived))
    return {
        "records": len(found),
        "p50_ms": round(found[len(found) // 2], 1),
        "p99_ms": round(found[int(len(found) * 0.99)], 1),
        "max_ms": round(found[-1], 1),
        **{f"{name}_cores": round(used, 3) for name, used in cores.items()},
    }


def schedule(opened: Sequence[Quiet], *, seconds: float) -> list[Due]:
    """Return what is due: a record a second for each dataset, each at a moment of its own, to one partition after the other."""
    dice = random.Random(len(opened))
    dues = []
    for dataset in opened:
        phase, first = dice.random(), dice.randrange(PARTITIONS)
        dues += [Due(phase + tick, dataset, (first + tick) % PARTITIONS) for tick in range(int(seconds))]
    return sorted(dues, key=lambda due: due.at_s)


def latencies(sent: Mapping[Place, Sequence[tuple[float, bool]]], arrived: Mapping[Place, Sequence[float]]) -> list[float]:
    """Return milliseconds from due to arrival of the records that count, partition by partition; Failed where a count is off."""
    if {place: len(rows) for place, rows in sent.items()} != {place: len(times) for place, times in arrived.items()}:
        raise Failed(f"{sum(map(len, arrived.values()))} records arrived of {sum(map(len, sent.values()))}")
    return [
        (at_s - due_s) * 1000 for place, rows in sent.items() for (due_s, counts), at_s in zip(rows, arrived[place], strict=True) if counts
    ]


def _send(
    bootstrap: str, dues: Sequence[Due], *, value: bytes, pids: Mapping[str, int]
) -> tuple[dict[Place, list[tuple[float, bool]]], dict[str, float]]:
    """Send by the clock; returns by share partition when its records were due and whether they count, and cores used meanwhile."""
    producer = Producer({"bootstrap.servers": bootstrap})
    sent: dict[Place, list[tuple[float, bool]]] = defaultdict(list)
    began = time.monotonic() + 1.0
    before: dict[str, float] = {}
    for due in dues:
        producer.poll(max(0.0, began + due.at_s - time.monotonic()))
        time.sleep(max(0.0, began + due.at_s - time.monotonic()))
        if due.at_s >= WARM_S and not before:
            before = {name: machine.cpu_s(pid) for name, pid in pids.items()}
        producer.produce(due.dataset.source, value=value, partition=due.partition)
        sent[due.dataset.share, due.partition].append((began + due.at_s, due.at_s >= WARM_S))
    took = time.monotonic() - began - WARM_S
    cores = {name: (machine.cpu_s(pid) - before[name]) / took for name, pid in pids.items()}
    if producer.flush(10):
        raise Failed("records could not be sent")
    return sent, cores


class _Reader:
    """Reads every share topic, committed records alone, in a thread of its own.

    It asks by the clock and by a fetch session (KIP-227), as consumers of hundreds of partitions do. librdkafka has none: it names all
    partitions in each request, and would take more of the broker's core than everything that is measured.
    """

    def __init__(self, bootstrap: str, opened: Sequence[Quiet]) -> None:
        """Begin at the beginning of each partition."""
        self._bootstrap = bootstrap
        self._shares = {dataset.share for dataset in opened}
        self._times: dict[Place, list[float]] = defaultdict(list)
        self._count = 0
        self._halt = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, count: int) -> dict[Place, list[float]]:
        """Return when each record arrived, by partition, once so many have."""
        deadline = time.monotonic() + ARRIVED_WITHIN_S
        while self._count < count and time.monotonic() < deadline and self._failure is None:
            time.sleep(0.1)
        if self._failure is not None:
            raise Failed(f"the reader failed: {type(self._failure).__name__}") from self._failure
        return dict(self._times)

    def close(self) -> None:
        """End."""
        self._halt.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except Exception as failure:  # noqa: BLE001 - told by ``wait``
            self._failure = failure

    async def _read(self) -> None:
        client = await open_client(self._bootstrap, client_id="benchmark-reader")
        try:
            found = await topic_ids(client, frozenset(self._shares))
            names = {topic_id: name for name, topic_id in found.items()}
            wanted = {(topic_id, number): 0 for topic_id in names for number in range(PARTITIONS)}
            session = FetchSession()
            while not self._halt.is_set():
                request = session.request(wanted, max_wait_ms=0, min_bytes=0, max_bytes=READ_BYTES_MAX, partition_bytes=READ_BYTES_MAX)
                answer = await client.send(client.get_random_node(), request)
                session.answered(answer)
                now = time.monotonic()
                for row in answer.rows:
                    if row.code:
                        raise Failed(f"a share topic is answered {row.code}")
                    after, records = _committed(row)
                    wanted[row.topic_id, row.partition] = max(after, wanted[row.topic_id, row.partition])
                    self._times[names[row.topic_id], row.partition] += [now] * records
                    self._count += records
                await asyncio.sleep(READ_EVERY_S)
        finally:
            await client.close()


def _committed(row: Fetched) -> tuple[int, int]:
    """Return the offset behind what came, and how many records it holds: of aborted ones too, so a lane that starts anew is a failure."""
    after, records = 0, 0
    for _, _, header in headers(bytes(row.records)):
        after = header.base_offset + header.last_offset_delta + 1
        records += 0 if header.is_control else header.records
    return after, records


def met(found: Mapping[str, Any]) -> bool:
    """Tell whether records were quick enough and the worker took little enough."""
    return bool(found["p99_ms"] <= LATENCY_P99_MS_MAX and found["worker_cores"] <= WORKER_CORES_MAX)


def main() -> int:
    """Measure and print one JSON object; 1 where a record took too long or the worker too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quiet", description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", type=int, default=DATASETS, help=f"datasets of {PARTITIONS} partitions (default {DATASETS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"how long records are sent (default {SECONDS:.0f})")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark-quiet"), help="where broker and hub are for the time of it")
    asked = parser.parse_args()
    with machine.told_to_stop(), ground(asked.folder, cores=machine.cores()) as here:
        found = measure(here, datasets=asked.datasets, seconds=asked.seconds)
    sys.stdout.write(json.dumps(found) + "\n")
    return int(not met(found))


if __name__ == "__main__":
    sys.exit(main())
