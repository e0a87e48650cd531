"""One run of ours: a fresh hub on a source topic that is there, a worker until every lane is at its end, every check, the figures.

The window of time goes from the start of the first lane, before anything is fetched, to the last commit: what the worker does for the
records is in it, reading Python's modules is not. A peer's window begins later, when it has its first records.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from benchmarks import machine, sample, usage
from benchmarks.figures import OURS, Line, Run
from benchmarks.records import Grantee, Source
from benchmarks.town import LANE_STARTED, Failed, Ground, Town, town

WORKER: Final = ("-m", "hub.cli", "worker")
PLAIN_WORKER: Final = ("-m", "benchmarks.plain_worker")
"""The same worker with transactions off."""
COMMIT_MS: Final = 20.0
"""The last commit is answered at most so long after the last append; what is used in between is counted."""


class Agreed(Grantee, Protocol):
    """Who receives, and the agreement's file."""

    def file(self, dataset: str) -> str:
        """Return the agreement file."""


class Topic(NamedTuple):
    """A source topic that is loaded, and the dataset it belongs to."""

    dataset: str
    name: str
    codec: str
    source: Source
    schema: str | None = None


class Timed(NamedTuple):
    """What a worker took for all records of a topic."""

    seconds: float
    cpu_s: float
    rss_mb: float
    onlookers: machine.Onlookers
    broker_cores: float
    memory: Sequence[tuple[float, float]]
    metered: Sequence[usage.Metered]


def run(
    ground: Ground,
    topic: Topic,
    agreements: Sequence[Agreed],
    *,
    round_number: int,
    exact: bool = True,
    variant: str = "",
    command: Sequence[str] = WORKER,
) -> Run:
    """Run ours once and check it; Failed where any check does not hold."""
    with town(ground, name=f"{OURS} N={len(agreements)} {topic.codec}") as here:
        open_dataset(here, topic, [who.file(topic.dataset) for who in agreements])
        timed = time_worker(here, topic.name, command=command)
        deliveries = usage.check_usage(timed.metered, topic.source, agreements, topic=topic.name)
        seed = round_number * 1_000 + len(agreements)
        checked = sample.check_sample(here, topic.source, agreements, timed.metered, topic=topic.name, seed=seed, markers=exact)
    line = Line(OURS, len(agreements), topic.codec, exact, variant)
    return figure(line, timed, round_number=round_number, records=topic.source.records, deliveries=deliveries, topic=topic, checked=checked)


def open_dataset(here: Town, topic: Topic, files: Sequence[str]) -> None:
    """Publish the dataset on its kept topic and sign agreements: lanes open at the topic's beginning."""
    name, schema_id = here.publish(topic.dataset, schema=topic.schema)
    if (name, schema_id) != (topic.name, topic.source.schema_id):
        raise Failed(f"the hub published {name} with schema {schema_id}, the topic holds schema {topic.source.schema_id}")
    here.sign(files)


def time_worker(here: Town, topic: str, *, command: Sequence[str] = WORKER) -> Timed:
    """Run a worker until every lane is at its end, then end it; returns what it took."""
    ground = here.ground
    began_broker, began = machine.cpu_s(ground.broker_pid), time.monotonic()
    with machine.Onlookers([ground.broker_pid, here.serve.pid, machine.own_pid()]) as onlookers:
        worker = here.start_worker(command)
        with contextlib.closing(machine.Sampler(worker.pid)) as sampler:
            here.wait_done(topic, worker)
        onlookers.contender_s = machine.cpu_s(worker.pid)
    took = time.monotonic() - began
    broker_cores = (machine.cpu_s(ground.broker_pid) - began_broker) / took
    rss_mb = machine.rss_mb(worker.pid)
    code = machine.end(worker)
    if code != 0:
        raise Failed(f"{here.name}: the worker ended with {code}\n{here.tail('worker')}")
    metered = usage.read_usage(ground.broker.bootstrap, here.names.usage)
    begin_ms, end_ms = _first_lane_ms(here), max(one.append_ms for one in metered) + COMMIT_MS
    seconds = (end_ms - begin_ms) / 1000
    return Timed(seconds, sampler.between(begin_ms, end_ms), rss_mb, onlookers, broker_cores, sampler.memory, metered)


def figure(line: Line, timed: Timed, *, round_number: int, records: int, deliveries: int, topic: Topic, checked: int) -> Run:
    """Return the figures of a run that was checked."""
    return Run(
        line=line,
        round=round_number,
        records=records,
        deliveries=deliveries,
        seconds=timed.seconds,
        cpu_s=timed.cpu_s,
        rss_mb=timed.rss_mb,
        broker_cores=timed.broker_cores,
        other_cores=timed.onlookers.other_cores,
        steal_cores=timed.onlookers.steal_cores,
        interval_ms=usage.intervals(timed.metered, topic.name),
        checked=checked,
    )


def _first_lane_ms(here: Town) -> float:
    """Return when the first lane started, by the worker's log."""
    times = [line["time"] for line in here.log("worker") if line.get("event") == LANE_STARTED]
    if not times:
        raise Failed(f"{here.name}: the worker's log tells of no lane\n{here.tail('worker')}")
    return min(dt.datetime.fromisoformat(found).timestamp() for found in times) * 1000
