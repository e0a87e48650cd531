"""What ``make bench`` and ``make bench-quick`` run: the job in rounds, then latency, stages and a drawn plan of ours."""

import argparse
import datetime as dt
import importlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import drawn, latency, machine, ours, stages
from benchmarks.contest import WARM_RUNS, Contest, Entry, Story, capped
from benchmarks.figures import OURS, Line
from benchmarks.job import terms
from benchmarks.peer_runs import AIOKAFKA, CONFLUENT, FAUST, GO, GO_EOS
from benchmarks.report import MAIN_N, Report
from benchmarks.town import Failed, Ground, ground
from hub.exchange import kernel

LARGE: Final = 4_000_000
"""Some seconds of work where little is delivered of a record: what a worker's start costs must not count for much."""
CODED: Final = 2_000_000
MIDDLE: Final = 1_000_000
"""N=20 delivers eight records for each that is read."""
SMALL: Final = 200_000
TINY: Final = 20_000
"""For stock Faust: some seconds."""
QUICK: Final = 400_000
QUICK_WARM_RUNS: Final = 1
"""Two minutes leave no time for more: its figures are of a broker that is still compiling, and not for comparison with `make bench`."""
LOADS: Final = (0.25, 0.5, 0.75)
FOLDER: Final = "bench"


def quick(asked: argparse.Namespace, say: Story) -> Report:
    """Ours and the Go loop at N=5, uncompressed, and ours with lz4: two minutes."""
    records = asked.records or QUICK
    entries = [Entry(OURS, MAIN_N, records), Entry(GO.name, MAIN_N, records), Entry(OURS, MAIN_N, records, "lz4")]
    with ground(asked.out / FOLDER, cores=machine.cores(), on_disk=asked.disk) as here:
        contest = Contest(here, say=say, work=asked.out)
        contest.prepare(entries)
        contest.warm(runs=QUICK_WARM_RUNS)
        rounds = contest.rounds(entries, rounds=asked.rounds or 2, within_s=asked.minutes * 60)
        return Report(
            title="cityhub, quick benchmark",
            door="bench-quick",
            conditions=conditions(here, contest, say=say, warmed=QUICK_WARM_RUNS),
            runs=contest.runs,
            rounds=rounds,
            failures=contest.failures,
            go_missing=missing(contest),
        )


def standard(asked: argparse.Namespace, say: Story) -> Report:
    """Run the whole table."""
    entries = standard_entries(asked.records or LARGE)
    with ground(asked.out / FOLDER, cores=machine.cores(), on_disk=asked.disk) as here:
        contest = Contest(here, say=say, work=asked.out)
        contest.prepare(entries)
        contest.warm()
        drawn_line = draw_one(here, contest, seed=asked.seed, say=say, records=asked.records or LARGE)
        say("kernel, stage by stage")
        found_stages = stages.measure(here, contest.topic(capped(asked.records or LARGE), "none"), terms(MAIN_N))
        reserve_s = 0 if asked.no_latency else (len(LOADS) + 1) * (latency.WARM_S + latency.MEASURED_S + 15)
        rounds = contest.rounds(entries, rounds=asked.rounds or 3, within_s=asked.minutes * 60 - reserve_s)
        rows = [] if asked.no_latency else latencies(here, contest, say=say)
        return Report(
            title="cityhub, benchmark",
            conditions=conditions(here, contest, say=say),
            runs=contest.runs,
            rounds=rounds,
            failures=contest.failures,
            go_missing=missing(contest),
            latency=rows,
            stages=found_stages,
            extra={"drawn_plan": drawn_line},
        )


def standard_entries(large: int) -> list[Entry]:
    """Return the lines of the table."""
    middle, coded = min(MIDDLE, large), min(CODED, large)
    mine = [Entry(OURS, n, middle if n == 20 else large, exact=True) for n in (1, MAIN_N, 20)]
    mine += [Entry(OURS, n, middle if n == 20 else coded, codec, exact=True) for codec in ("lz4", "zstd") for n in (1, MAIN_N, 20)]
    go = [Entry(GO.name, n, middle if n == 20 else large) for n in (1, MAIN_N, 20)]
    go += [Entry(GO.name, MAIN_N, coded, "lz4"), Entry(GO_EOS.name, MAIN_N, large)]
    others = [Entry(CONFLUENT.name, MAIN_N, SMALL), Entry(AIOKAFKA.name, MAIN_N, SMALL), Entry(FAUST.name, MAIN_N, TINY)]
    return [*mine, Entry(OURS, MAIN_N, large, exact=False), *go, *others]


def draw_one(here: Ground, contest: Contest, *, seed: int | None, say: Story, records: int) -> Mapping[str, Any]:
    """Run ours once on agreements drawn from a seed, which is told; returns what was drawn."""
    chosen = seed if seed is not None else int(dt.datetime.now(tz=dt.UTC).strftime("%Y%m%d"))
    topic = contest.topic(capped(records), "none")
    agreements = drawn.draw(chosen, MAIN_N, topic.source.partitions[0])
    say(f"{OURS} on a plan drawn from seed {chosen}")
    contest.runs.append(ours.run(here, topic, agreements, round_number=0, variant=f"plan of seed {chosen}"))
    return {"seed": chosen, "agreements": [{"key": one.key, "rows": one.rows, "fields": one.fields} for one in agreements]}


def latencies(here: Ground, contest: Contest, *, say: Story) -> list[Mapping[str, Any]]:
    """Return latency at shares of the live maximum."""
    say("the live maximum, for latency")
    rows: list[Mapping[str, Any]] = []
    try:
        most = latency.maximum(here, terms(MAIN_N))
    except Failed as failure:
        say(f"no number: {failure}")
        contest.failures[Line(OURS, MAIN_N, variant="live maximum")] = str(failure).partition("\n")[0]
        return rows
    for load in LOADS:
        say(f"latency at {load:.0%} of {most:,.0f} records/s")
        try:
            rows.append(latency.measure(here, terms(MAIN_N), records_per_s=load * most, load=load))
        except Failed as failure:
            say(f"no number: {failure}")
            contest.failures[Line(OURS, MAIN_N, variant=f"latency at {load:.0%}")] = str(failure).partition("\n")[0]
    return rows


def missing(contest: Contest) -> str:
    """Return why there is no Go loop, empty where there is one."""
    return "" if contest.go is not None else contest.go_version


def conditions(here: Ground, contest: Contest, *, say: Story, warmed: int = WARM_RUNS) -> dict[str, Any]:
    """Return under which conditions the figures were found; to be asked once all of them are."""
    found = machine.processor()
    jars = sorted(here.broker.libs.glob("kafka_2.13-*.jar"))
    warmers = "ours and of the Go loop" if contest.go is not None else "ours"
    pinned = "contender and broker on a core of their own each" if here.cores.pinned else "nothing pinned: one core"
    return {
        "commit": commit(),
        "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d"),
        "processor": found["model"],
        "cores": found["cores"],
        "placement": pinned,
        "sha_instructions": "yes" if found["sha_instructions"] else "no",
        "kernel": kernel.name(),
        "kernel_sha_256": _kernel_sha_256(),
        "broker": f"Kafka {jars[0].stem.rpartition('-')[2]}, embedded, one node" if jars else "Kafka",
        "broker_warmed_by": f"{warmed} uncounted run{'s' if warmed > 1 else ''} of {warmers}",
        "broker_log": here.log_is,
        "broker_frees_deleted_topics": "after a second",
        "settings": "default",
        **({"nice": machine.Onlookers.precedence} if machine.Onlookers.precedence else {}),
        "python": found["python"],
        "linux": found["kernel"],
        "go": contest.go_version if contest.go is not None else "none",
        "took_min": round(say.seconds / 60, 1),
    }


def _kernel_sha_256() -> str:
    if kernel.name() != "native":
        return "one lane"  # as the native kernel calls the slowest of its ways
    found: str = importlib.import_module("hub.exchange._native").values.SHA_256
    return found


def commit() -> str:
    """Return the commit that is measured, with a mark where files differ from it."""
    here = Path(__file__).resolve().parent
    try:
        name = _git(here, "rev-parse", "--short=10", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} and changes" if changed else name


def _git(folder: Path, *words: str) -> str:
    command: Sequence[str] = ["git", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
