"""One run of ours: a fresh hub on a source topic that is there, a worker until every lane is at its end, every check, the figures.

The window of time goes from the start of the first lane, before anything is fetched, to the last commit: what the worker does for the
records is in it, reading Python's modules is not. A peer's window begins later, when it has its first records.
"""

import contextlib
import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from checkouts import Tree

from benchmarks import loading, machine, sample, usage
from benchmarks.figures import OURS, Line, Run
from benchmarks.job import schema_text
from benchmarks.records import BASE, JOB_SHAPE, Grantee, Shape, Source, make_source
from benchmarks.town import LANE_STARTED, Failed, Ground, Town, town

WORKER: Final = ("-m", "hub.cli", "worker")
PLAIN_WORKER: Final = ("-m", "benchmarks.plain_worker")
"""The same worker with transactions off."""
SETTLED_MS: Final = 500.0
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

    begin_ms: float
    seconds: float
    cpu_s: float
    loop_s: float
    """Of that on the main thread: Python's event loop."""
    rss_mb: float
    """The most that one process held."""
    members: Sequence[tuple[float, int]]
    """(MiB, sockets) of each process that works."""
    onlookers: machine.Onlookers
    broker_s: float
    broker_cores: float
    memory: Sequence[tuple[float, float]]
    metered: Sequence[usage.Metered]


def make_topic(
    ground: Ground, dataset: str, records: int, *, codec: str, shape: Shape = JOB_SHAPE, base: int = BASE, like: Source | None = None
) -> Topic:
    """Publish a dataset once, so that its topic is there, and load the topic. ``like`` is a source with the same base, if there is one."""
    schema = schema_text(shape.schema)
    with town(ground, name="loading") as here:
        name, schema_id = here.publish(dataset, schema=schema)
    if like is not None and (like.schema_id, like.shape, like.base) == (schema_id, shape, base) and min(like.records, records) >= base:
        source = Source(records, schema_id, like.partitions, shape, base)
    else:
        source = make_source(records, schema_id=schema_id, shape=shape, base=base)
    loading.load(ground.broker.bootstrap, name, source, codec=codec)
    return Topic(dataset, name, codec, source, schema)


def run(
    ground: Ground,
    topic: Topic,
    agreements: Sequence[Agreed],
    *,
    round_number: int,
    exact: bool = True,
    variant: str = "",
    command: Sequence[str] = WORKER,
    environment: Mapping[str, str] | None = None,
    settled: bool = False,
    tree: Tree | None = None,
) -> Run:
    """Run ours once and check it; Failed where any check does not hold.

    ``environment`` is the worker's beyond the default one. ``tree`` is the checkout whose product runs, where it is another.
    ``settled``: only what follows the last start of a lane is measured, so that workers which share the lanes are compared as they work
    and not as they join.
    """
    return timed_run(
        ground,
        topic,
        agreements,
        round_number=round_number,
        exact=exact,
        variant=variant,
        command=command,
        environment=environment,
        settled=settled,
        tree=tree,
    )[0]


def timed_run(
    ground: Ground,
    topic: Topic,
    agreements: Sequence[Agreed],
    *,
    round_number: int,
    exact: bool = True,
    variant: str = "",
    command: Sequence[str] = WORKER,
    environment: Mapping[str, str] | None = None,
    settled: bool = False,
    tree: Tree | None = None,
) -> tuple[Run, Timed]:
    """Do the same; returns also what was seen of the worker on the way."""
    with town(ground, name=f"{OURS} N={len(agreements)} {topic.codec} {variant}".rstrip(), tree=tree) as here:
        open_dataset(here, topic, [who.file(topic.dataset) for who in agreements])
        timed = time_worker(here, topic.name, command=command, environment=environment, settled=settled)
        usage.check_usage(timed.metered, topic.source, agreements, topic=topic.name)
        seed = round_number * 1_000 + len(agreements)
        checked = sample.check_sample(here, topic.source, agreements, timed.metered, topic=topic.name, seed=seed, markers=exact)
    counted = [one.step for one in timed.metered if not settled or one.append_ms > timed.begin_ms]
    if not any(step.records for step in counted):
        raise Failed("nothing was left to read once every lane had started: there are too few records")
    found = Run(
        line=Line(OURS, len(agreements), topic.codec, exact, variant),
        round=round_number,
        records=sum(step.records for step in counted),
        deliveries=sum(entry.delivered for step in counted for entry in step.entries),
        seconds=timed.seconds,
        cpu_s=timed.cpu_s,
        loop_s=timed.loop_s,
        rss_mb=timed.rss_mb,
        broker_s=timed.broker_s,
        broker_cores=timed.broker_cores,
        other_cores=timed.onlookers.other_cores,
        steal_cores=timed.onlookers.steal_cores,
        steps=sum(step.records > 0 for step in counted),
        interval_ms=usage.intervals(timed.metered, topic.name),
        checked=checked,
    )
    return found, timed


def open_dataset(here: Town, topic: Topic, files: Sequence[str]) -> None:
    """Publish the dataset on its kept topic and sign agreements: lanes open at the topic's beginning."""
    name, schema_id = here.publish(topic.dataset, schema=topic.schema)
    if (name, schema_id) != (topic.name, topic.source.schema_id):
        raise Failed(f"the hub published {name} with schema {schema_id}, the topic holds schema {topic.source.schema_id}")
    here.sign(files)


def time_worker(
    here: Town, topic: str, *, command: Sequence[str] = WORKER, environment: Mapping[str, str] | None = None, settled: bool = False
) -> Timed:
    """Run a worker until every lane is at its end, then end it; returns what it took."""
    ground = here.ground
    began_broker, began = machine.cpu_s(ground.broker_pid), time.monotonic()
    with machine.on(ground.cores.broker), machine.Onlookers([ground.broker_pid, machine.own_pid()]) as onlookers:
        worker = here.start_worker(command, environment=environment)
        with contextlib.closing(machine.Sampler(worker.pid)) as sampler:
            here.wait_done(topic, worker)
    took = time.monotonic() - began
    broker_s = machine.cpu_s(ground.broker_pid) - began_broker
    members = machine.children(worker.pid) or [worker.pid]
    held = [(machine.rss_mb(member), machine.sockets(member)) for member in members]
    code = machine.end(worker)
    if code != 0:
        raise Failed(f"{here.name}: the worker ended with {code}\n{here.tail('worker')}")
    metered = usage.read_usage(ground.broker.bootstrap, here.names.usage)
    lanes_ms = _lanes_ms(here)
    begin_ms = lanes_ms[-1] + SETTLED_MS if settled else lanes_ms[0]
    end_ms = max(one.append_ms for one in metered) + COMMIT_MS
    used, loop = sampler.between(begin_ms, end_ms)
    return Timed(
        begin_ms=begin_ms,
        seconds=(end_ms - begin_ms) / 1000,
        cpu_s=used,
        loop_s=loop,
        rss_mb=max(rss for rss, _ in held),
        members=held,
        onlookers=onlookers,
        broker_s=broker_s,
        broker_cores=broker_s / took,
        memory=sampler.memory,
        metered=metered,
    )


def _lanes_ms(here: Town) -> list[float]:
    """Return when lanes started, by the log of the worker or workers."""
    times = [line["time"] for line in here.log("worker") if line.get("event") == LANE_STARTED]
    if not times:
        raise Failed(f"{here.name}: the worker's log tells of no lane\n{here.tail('worker')}")
    return sorted(dt.datetime.fromisoformat(found).timestamp() * 1000 for found in times)
