"""Latency: from the moment a record is due at the producer to its arrival at a ``read_committed`` reader.

The producer is open-loop: every tick sends what is due by the clock whether or not anything was answered, and a record's time is
that at which it was due, so that a hub which falls behind shows it. A tick is one prebuilt batch for each partition, all in one
request. The reader is a process of its own; it notes when how many records of each partition had arrived. Order within a
partition is kept and every record's fate is known, so the n-th arrival is the n-th record that is granted: no clock has to travel in
the records. A count that is off at the end is a failure.

Loads are shares of the live maximum: what crosses in steady state while a producer writes as fast as the broker answers it, and the
reader reads. It is less than the throughput on a topic that is loaded, since the same broker takes every record in as well.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as KafkaPartition

from benchmarks import machine, usage
from benchmarks.figures import percentile, weighted_percentile
from benchmarks.job import PARTITIONS, Terms, dataset
from benchmarks.records import Batch, Observation, Source, build, make_source
from benchmarks.town import Failed, Ground, town
from hub.broker.protocol import Produce
from hub.broker.requests import open_client

TICK_S: Final = 0.02
PATTERN_TICKS: Final = 50
"""So many ticks are built beforehand and sent again and again."""
WARM_S: Final = 5.0
MEASURED_S: Final = 12.0
ARRIVED_WITHIN_S: Final = 30.0


MAXIMUM_PACE: Final = 400_000
"""Records a second by which the ticks of the closed loop are cut; how fast they go is the broker's to say."""
IN_FLIGHT_TICKS: Final = 4


class Sent(NamedTuple):
    """One batch: when it was due, and how many of its records are granted."""

    due_ms: float
    granted: int


class Arrived(NamedTuple):
    """What had arrived of a partition by then."""

    at_ms: float
    records: int


class Pattern(NamedTuple):
    """The batches of one tick after another."""

    ticks: Sequence[Sequence[Batch]]
    granted: Sequence[Sequence[int]]


def maximum(ground: Ground, agreements: Sequence[Terms]) -> float:
    """Return the records a second that cross in steady state with a producer and a reader at work; Failed where nothing does."""
    name = dataset("none", size="-live-maximum")
    with town(ground, name="live maximum") as here:
        topic, schema_id = here.publish(name)
        here.sign([who.file(name) for who in agreements])
        pattern = _pattern(schema_id, agreements[0], records_per_s=MAXIMUM_PACE)
        worker = here.start_worker()
        here.wait_lanes(PARTITIONS)
        machine.settle()
        share = here.names.share(consumer=agreements[0].consumer, agreement=agreements[0].id)
        with machine.on(ground.cores.broker), _reader(ground, share):
            try:
                asyncio.run(_produce_all(ground.broker.bootstrap, topic, pattern, seconds=WARM_S + MEASURED_S))
            except KafkaError as error:
                raise Failed(f"the closed-loop producer was not answered: {type(error).__name__}") from error
            ended_ms = time.time() * 1000
        machine.end(worker)
        steps = usage.read_usage(ground.broker.bootstrap, here.names.usage)
    ground.admin.delete_topics([topic])
    crossed = sum(one.step.records for one in steps if ended_ms - MEASURED_S * 1000 < one.append_ms <= ended_ms)
    if not crossed:
        raise Failed("nothing crossed while the closed-loop producer wrote")
    return crossed / MEASURED_S


def measure(ground: Ground, agreements: Sequence[Terms], *, records_per_s: float, load: float) -> dict[str, Any]:
    """Return p50 and p99 at a rate, for the records of the first agreement; Failed where records are missing."""
    name = dataset("none", size=f"-live-{load * 100:.0f}")
    with town(ground, name=f"latency at {load:.0%}") as here:
        topic, schema_id = here.publish(name)
        here.sign([who.file(name) for who in agreements])
        pattern = _pattern(schema_id, agreements[0], records_per_s=records_per_s)
        worker = here.start_worker()
        here.wait_lanes(PARTITIONS)
        share = here.names.share(consumer=agreements[0].consumer, agreement=agreements[0].id)
        onlookers = machine.Onlookers([ground.broker_pid, machine.own_pid()])
        machine.settle()
        with machine.on(ground.cores.broker), _reader(ground, share) as reader, onlookers:
            used = machine.cpu_s(worker.pid)
            try:
                sent, acknowledged_ms = asyncio.run(_produce(ground.broker.bootstrap, topic, pattern, seconds=WARM_S + MEASURED_S))
            except KafkaError as error:
                raise Failed(f"the open-loop producer was not answered: {type(error).__name__}") from error
            used = machine.cpu_s(worker.pid) - used
            arrived = _read_arrivals(reader, expected=[sum(one.granted for one in lane) for lane in sent])
        machine.end(worker)
    ground.admin.delete_topics([topic])
    found = latencies(sent, arrived, from_ms=min(lane[0].due_ms for lane in sent) + WARM_S * 1000)
    return {
        "load": load,
        "records_per_s": round(records_per_s),
        "p50_ms": round(weighted_percentile(found, 0.5), 1),
        "p99_ms": round(weighted_percentile(found, 0.99), 1),
        "max_ms": round(max(value for value, _ in found), 1),
        "acknowledged_p50_ms": round(percentile(acknowledged_ms, 0.5), 1),
        "acknowledged_p99_ms": round(percentile(acknowledged_ms, 0.99), 1),
        "records": sum(count for _, count in found),
        "worker_cores": round(used / (WARM_S + MEASURED_S), 3),
        "other_cores": round(onlookers.other_cores, 2),
    }


def latencies(sent: Sequence[Sequence[Sent]], arrived: Sequence[Sequence[Arrived]], *, from_ms: float) -> list[tuple[float, int]]:
    """Return (latency in ms, records) of everything that was due from ``from_ms`` on, partition by partition."""
    out: list[tuple[float, int]] = []
    for lane, arrivals in zip(sent, arrived, strict=True):
        coming = iter(arrivals)
        now, left = next(coming, Arrived(0.0, 0)), 0
        left = now.records
        for one in lane:
            due = one.granted
            while due:
                while left == 0:
                    now = next(coming)
                    left = now.records
                took = min(due, left)
                if one.due_ms >= from_ms:
                    out.append((now.at_ms - one.due_ms, took))
                due -= took
                left -= took
    return out


def _pattern(schema_id: int, who: Terms, *, records_per_s: float) -> Pattern:
    """Build the ticks: as many records as are due in each, over all partitions."""
    each = max(1, round(records_per_s * TICK_S / PARTITIONS))
    source = make_source(min(200_000, each * PARTITIONS * PATTERN_TICKS), schema_id=schema_id)
    ticks, granted = [], []
    for tick in range(PATTERN_TICKS):
        rows = [_rows(source, partition, tick * each, each) for partition in range(PARTITIONS)]
        ticks.append(
            [build(((one.key, one.value) for one in found), codec="none", timestamp_ms=int(time.time() * 1000))[0] for found in rows]
        )
        granted.append([sum(map(who.admits, found)) for found in rows])
    if any(batch.records != each for batches in ticks for batch in batches):
        raise Failed(f"{each} records of a tick do not fit into one batch")
    return Pattern(ticks, granted)


def _rows(source: Source, partition: int, begin: int, count: int) -> list[Observation]:
    base = source.partitions[partition]
    return [base[(begin + place) % len(base)] for place in range(count)]


async def _produce(bootstrap: str, topic: str, pattern: Pattern, *, seconds: float) -> tuple[list[list[Sent]], list[float]]:
    """Send tick after tick by the clock; Failed where a request is refused.

    Returns what was sent by partition, and for each tick after the warm-up how long after it was due the broker had it.
    """
    async with _producer(bootstrap, topic) as (client, leader):
        sent: list[list[Sent]] = [[] for _ in range(PARTITIONS)]
        answers: list[asyncio.Task[tuple[Any, float]]] = []
        began, began_ms = time.monotonic(), time.time() * 1000
        for tick in range(round(seconds / TICK_S)):
            due_s = tick * TICK_S
            await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
            batches, granted = pattern.ticks[tick % PATTERN_TICKS], pattern.granted[tick % PATTERN_TICKS]
            topics = {topic: [(partition, batch.data) for partition, batch in enumerate(batches)]}
            request = Produce(transactional_id=None, timeout_ms=5_000, topics=topics)
            answers.append(asyncio.create_task(_send(client, leader, request, due_at=began + due_s)))
            for partition, count in enumerate(granted):
                sent[partition].append(Sent(began_ms + due_s * 1000, count))
        found = await asyncio.gather(*answers)
        for answer, _ in found:
            _accepted(answer)
        return sent, [took_ms for _, took_ms in found[round(WARM_S / TICK_S) :]]


async def _produce_all(bootstrap: str, topic: str, pattern: Pattern, *, seconds: float) -> None:
    """Send tick after tick as the broker answers; Failed where a request is refused."""
    async with _producer(bootstrap, topic) as (client, leader):
        until = time.monotonic() + seconds
        ticks = itertools.cycle(pattern.ticks)

        async def one_after_the_other() -> None:
            while time.monotonic() < until:
                topics = {topic: [(partition, batch.data) for partition, batch in enumerate(next(ticks))]}
                _accepted(await client.send(leader, Produce(transactional_id=None, timeout_ms=5_000, topics=topics)))

        await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT_TICKS)))


@contextlib.asynccontextmanager
async def _producer(bootstrap: str, topic: str) -> AsyncIterator[tuple[Any, Any]]:
    """Give a client and the node that leads the topic."""
    client = await open_client(bootstrap, client_id="benchmark-producer")
    try:
        client.add_topic(topic)
        await client.force_metadata_update()
        yield client, client.cluster.leader_for_partition(KafkaPartition(topic, 0))
    finally:
        await client.close()


def _accepted(answer: Any) -> None:
    """Fail where a request of the producer was refused."""
    codes = {row.code for row in answer.rows}
    if codes != {0}:
        raise Failed(f"the producer was answered {sorted(codes)}")


async def _send(client: Any, leader: Any, request: Any, *, due_at: float) -> tuple[Any, float]:
    """Return the answer, and how many milliseconds after the tick was due it came."""
    answer = await client.send(leader, request)
    return answer, 1000 * (time.monotonic() - due_at)


@contextlib.contextmanager
def _reader(ground: Ground, topic: str) -> Iterator[Any]:
    """Run the reader in a process of its own: this one's event loop is busy sending."""
    out, err = ground.folder / "reader.out", ground.folder / "reader.err"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.latency_reader", ground.broker.bootstrap, topic]
    process = machine.start(command, chosen=ground.cores.broker, environment=ground.environment, folder=ground.folder, out=out, err=err)
    try:
        deadline = time.monotonic() + ARRIVED_WITHIN_S
        while not out.read_text(encoding="utf-8").startswith("ready"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the reader is not ready\n{err.read_text(encoding='utf-8', errors='replace')[-1500:]}")
            time.sleep(0.05)
        yield out
    finally:
        machine.end(process, within_s=5.0)


def _read_arrivals(out: Any, *, expected: Sequence[int]) -> list[list[Arrived]]:
    """Wait until everything has arrived; returns arrivals by partition. Failed where too few or too many come."""
    deadline = time.monotonic() + ARRIVED_WITHIN_S
    while True:
        arrived: list[list[Arrived]] = [[] for _ in expected]
        lines = out.read_text(encoding="utf-8").splitlines()[1:]
        for line in lines[: None if not lines or lines[-1].endswith("]") else -1]:
            partition, at_ms, records = json.loads(line)
            arrived[partition].append(Arrived(at_ms, records))
        counts = [sum(one.records for one in lane) for lane in arrived]
        if counts == list(expected):
            return arrived
        if any(count > most for count, most in zip(counts, expected, strict=True)) or time.monotonic() > deadline:
            raise Failed(f"{sum(counts):,} records arrived, {sum(expected):,} were granted")
        time.sleep(0.5)
