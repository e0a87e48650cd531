"""One run of a peer: a program beside ours on the same topic, its output checked as ours is, its processor time read from outside.

See ``peers/README.md`` for what a peer must do.
"""

import contextlib
import dataclasses
import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import TopicPartition

from benchmarks import machine, usage
from benchmarks.figures import Line, Run
from benchmarks.job import AGE_MIN, PARTITIONS, SCHEMA, Terms
from benchmarks.oracle import PEER_SCHEMA, PeerOracle, expected_counts, places_by_key, rows_of
from benchmarks.ours import Topic
from benchmarks.sample import SAMPLED, hold_compared
from benchmarks.town import Failed, Ground
from hub.broker.topics import TopicSpec

HERE: Final = Path(__file__).resolve().parent
OUTPUT_PARTITIONS: Final = 4
SCHEMA_IDS_FROM: Final = 1_000
RUN_WITHIN_S: Final = 300.0
BUILD_WITHIN_S: Final = 900.0


@dataclasses.dataclass(frozen=True)
class Peer:
    """A program, and what the table calls it."""

    name: str
    title: str
    script: str | None = None
    """Under ``peers/``; None: the Go program."""
    options: tuple[str, ...] = ()
    exact: bool = False
    """Delivers by transactions, and reports as ``transactions`` how many it committed."""


GO: Final = Peer("go", "Go: franz-go + hamba/avro")
GO_EOS: Final = Peer("go-eos", "Go, exactly once", options=("-eos",), exact=True)
CONFLUENT: Final = Peer("confluent", "confluent-kafka + fastavro", "confluent_loop.py")
AIOKAFKA: Final = Peer("aiokafka", "aiokafka + fastavro", "aiokafka_loop.py")
FAUST: Final = Peer("faust", "Faust, stock agent", "faust_agent.py")
PEERS: Final = {peer.name: peer for peer in (GO, GO_EOS, CONFLUENT, AIOKAFKA, FAUST)}


def build_go(folder: Path) -> tuple[Path | None, str]:
    """Build the Go program; returns it and the toolchain's version, or None and why there is none."""
    go = shutil.which("go")
    if go is None:
        return None, "no Go toolchain on the path"
    program = folder.absolute() / "peer-go"
    try:
        version = subprocess.run([go, "version"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        command = [go, "build", "-trimpath", "-buildvcs=false", "-o", str(program), "."]
        subprocess.run(command, cwd=HERE / "go", capture_output=True, text=True, check=True, timeout=BUILD_WITHIN_S)
    except subprocess.CalledProcessError as error:
        return None, f"`go build` failed: {(error.stderr or error.stdout or '').strip().splitlines()[-1:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"`go build` failed: {type(error).__name__}"
    return program, version.removeprefix("go version ")


def run(ground: Ground, peer: Peer, topic: Topic, agreements: Sequence[Terms], *, round_number: int, program: Path | None = None) -> Run:
    """Run a peer once and check it; Failed where any check does not hold."""
    source, name = topic.source, f"{peer.name} N={len(agreements)} {topic.codec}"
    ground.clear()
    told = [_told(who) for who in agreements]
    _create(ground, [one["topic"] for one in told])
    file = ground.folder / "terms.json"
    file.write_text(json.dumps({"age_min": AGE_MIN, "source": SCHEMA, "shared": PEER_SCHEMA, "agreements": told}), encoding="utf-8")
    command = [str(program)] if peer.script is None else [sys.executable, str(HERE / "peers" / peer.script)]
    dash = "-" if peer.script is None else "--"
    asked = {
        "bootstrap": ground.broker.bootstrap,
        "topic": topic.name,
        "group": f"peer-{peer.name}-{time.time_ns()}",
        "terms": str(file),
        "codec": topic.codec,
        "expect": str(source.records),
    }
    words = [word for option, value in asked.items() for word in (dash + option, value)]
    report, cpu, rss_mb, onlookers, broker_cores = _time(ground, [*command, *words, *peer.options], name=name)
    expected = expected_counts(source, agreements)
    if report["records"] != source.records or report["counts"] != expected:
        raise Failed(f"{name}: it counts {report['records']} records and {report['counts']}, expected are {expected}")
    transactions = report.get("transactions", 0)
    if bool(transactions) is not peer.exact:
        raise Failed(f"{name}: it reports {transactions} transactions")
    begin_ms, end_ms = report["begin_ms"], report["end_ms"]
    deliveries = sum(expected.values())
    checked = check_output(ground, topic, agreements, seed=round_number, transactions=transactions)
    return Run(
        line=Line(peer.name, len(agreements), topic.codec, exact=peer.exact),
        round=round_number,
        records=source.records,
        deliveries=deliveries,
        seconds=(end_ms - begin_ms) / 1000,
        cpu_s=cpu.between(begin_ms, end_ms)[0],
        rss_mb=rss_mb,
        broker_cores=broker_cores,
        other_cores=onlookers.other_cores,
        steal_cores=onlookers.steal_cores,
        checked=checked,
    )


def _told(who: Terms) -> dict[str, Any]:
    return {
        "id": who.id,
        "topic": f"share.{who.consumer}.{who.id}",
        "schema_id": SCHEMA_IDS_FROM + who.number,
        "districts": list(who.districts),
        "key": _key(who).hex(),
    }


def _key(who: Terms) -> bytes:
    return hashlib.sha256(f"benchmark {who.id}".encode()).digest()


def _create(ground: Ground, topics: Sequence[str]) -> None:
    """Make output topics and wait until they have leaders: a client that meets one too early waits for seconds."""
    ground.admin.create_topics([TopicSpec(name=topic, partitions=OUTPUT_PARTITIONS, replication=1, config={}) for topic in topics])


def _time(
    ground: Ground, command: Sequence[str], *, name: str
) -> tuple[Mapping[str, Any], machine.Sampler, float, machine.Onlookers, float]:
    """Run a peer to its end; returns what it reports, its samples, its memory, and who else was there."""
    out, err = ground.folder / "peer.out", ground.folder / "peer.err"
    for path in (out, err):
        path.unlink(missing_ok=True)
    began_broker, began = machine.cpu_s(ground.broker_pid), time.monotonic()
    with machine.on(ground.cores.broker), machine.Onlookers([ground.broker_pid, machine.own_pid()]) as onlookers:
        environment = {**ground.environment, "TMPDIR": str(ground.folder)}
        process = machine.start(command, chosen=ground.cores.contender, environment=environment, folder=HERE / "peers", out=out, err=err)
        try:
            with contextlib.closing(machine.Sampler(process.pid)) as sampler:
                rss_mb = _wait(process, deadline=began + RUN_WITHIN_S)
        finally:
            machine.end(process, within_s=2.0)
    lines = out.read_text(encoding="utf-8").splitlines()
    if process.returncode != 0 or not lines:
        raise Failed(f"{name}: it ended with {process.returncode}\n{err.read_text(encoding='utf-8', errors='replace')[-1500:]}")
    report: Mapping[str, Any] = json.loads(lines[-1])
    took = time.monotonic() - began
    return report, sampler, rss_mb, onlookers, (machine.cpu_s(ground.broker_pid) - began_broker) / took


def _wait(process: subprocess.Popen[bytes], *, deadline: float) -> float:
    """Wait for the end; returns the most memory that was seen."""
    most = 0.0
    while process.poll() is None and time.monotonic() < deadline:
        most = max(most, machine.rss_mb(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    return most


def check_output(ground: Ground, topic: Topic, agreements: Sequence[Terms], *, seed: int, transactions: int) -> int:
    """Compare the output of a peer with the oracle's, all records of some keys; returns how many.

    Failed at the first difference, and where too few were compared.
    """
    source = topic.source
    expected = expected_counts(source, agreements)
    _check_ends(ground, agreements, expected, transactions=transactions)
    dice, oracle, checked = random.Random(seed), PeerOracle(), 0
    for output in dice.sample(range(OUTPUT_PARTITIONS), OUTPUT_PARTITIONS):
        wanted = _wanted(source_partitions(output), topic, agreements, oracle=oracle, dice=dice, enough=SAMPLED - checked)
        keys = {key for _, key in wanted}
        for who in agreements:
            found: dict[bytes, list[bytes]] = defaultdict(list)
            for key, value in _read(ground, _told(who)["topic"], output):
                if key in keys:
                    found[key].append(value)
            for key in keys:
                if found[key] != wanted[who.id, key]:
                    raise Failed(f"deliveries of one key to `{who.id}` differ from the oracle's")
                checked += len(found[key])
        if checked >= SAMPLED:
            break
    hold_compared(checked, delivered=sum(expected.values()))
    return checked


def source_partitions(output: int) -> range:
    """Return the source partitions whose records a peer writes to an output partition."""
    return range(output, PARTITIONS, OUTPUT_PARTITIONS)


def _wanted(
    partitions: Sequence[int], topic: Topic, agreements: Sequence[Terms], *, oracle: PeerOracle, dice: random.Random, enough: int
) -> dict[tuple[str, bytes], list[bytes]]:
    """Return by (agreement, key) what must be delivered, for keys drawn until there is enough."""
    source = topic.source
    keys = [(partition, key, places) for partition in partitions for key, places in places_by_key(source, partition).items()]
    dice.shuffle(keys)
    wanted: dict[tuple[str, bytes], list[bytes]] = {}
    count = 0
    for partition, key, places in keys:
        rows = list(rows_of(source, partition, places))
        for who in agreements:
            made = [oracle.deliver(value, schema_id=SCHEMA_IDS_FROM + who.number, key=_key(who)) for one, value in rows if who.admits(one)]
            wanted[who.id, key] = made
            count += len(made)
        if count >= enough:
            break
    return wanted


def _check_ends(ground: Ground, agreements: Sequence[Terms], expected: Mapping[str, int], *, transactions: int) -> None:
    """Hold that the topics are as long as the counts say."""
    for who in agreements:
        ends = sum(ground.admin.end_offsets(ground.lanes(_told(who)["topic"])).values())
        if not fits(ends, delivered=expected[who.id], transactions=transactions):
            raise Failed(f"the topic of `{who.id}` has {ends} offsets, for {expected[who.id]} records and {transactions} transactions")


def fits(ends: int, *, delivered: int, transactions: int) -> bool:
    """Tell whether a topic is so long that nothing is missing, and nothing doubled.

    ``ends`` is the sum over its partitions. A transaction leaves a marker in each partition that it wrote to, which takes an offset.
    """
    return delivered <= ends <= delivered + transactions * OUTPUT_PARTITIONS


def _read(ground: Ground, topic: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the committed records of one partition."""
    consumer = usage.reader(ground.broker.bootstrap)
    consumer.assign([TopicPartition(topic, partition, 0)])
    moved_at = time.monotonic()
    try:
        while True:
            found = consumer.consume(usage.CONSUME, usage.CONSUME_WITHIN_S)
            if found:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > usage.READ_WITHIN_S:
                raise Failed(f"{topic}-{partition} could not be read to its end")
            for message in found:
                if message.error():
                    return
                yield message.key(), message.value()
    finally:
        consumer.close()
