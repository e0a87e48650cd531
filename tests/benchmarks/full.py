"""What ``make bench-full`` runs beside the job: how ours holds at other sizes, in other settings, with more workers and for long."""

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from tls import authority, listener, signed

from benchmarks import machine, ours
from benchmarks import quiet as quiet_lanes
from benchmarks.contest import WARM_RECORDS, WARM_RUNS, Contest, Story, capped
from benchmarks.figures import OURS, Exactness, Line, Run, Spread, exactness, ratios, spread, summarise
from benchmarks.job import PROVIDER, narrow_schema, terms, wide_schema
from benchmarks.records import BASE, JOB_SHAPE, Shape
from benchmarks.report import MAIN_N, Report, Target, judge_exactness, table
from benchmarks.standard import FOLDER, LARGE, conditions
from benchmarks.town import Failed, Ground, ground, unpinned
from hub.broker.ports import HOST
from hub.settings import ExchangeSettings

ROUNDS: Final = 2
LONG: Final = 10_000_000
MANY_N: Final = (1, 5, 10, 20, 50)
MANY_RECORDS: Final = 400_000
DEFAULTS: Final = ExchangeSettings()
STEPS_MS: Final = (DEFAULTS.step_ms, 2 * DEFAULTS.step_ms, 4 * DEFAULTS.step_ms)
"""A longer step may hold as much more, and all lanes as much more at a time."""
FLAT_MB: Final = 40.0
"""So much more may a worker hold in the last quarter of a long run than in the second."""
SECOND_WORKER_MAX: Final = 1.1
"""Processor time of a delivery with two workers over that with one."""
MEMBER_MAX: Final = 1.1
"""What one of two workers may hold over what one alone holds: no more was asked for, and a tenth is let pass as what differs by itself."""
MANY: Final = "number of agreements"
WORKERS: Final = {"1 worker, settled": 1, "2 workers, settled": 2}
Members = Sequence[tuple[float, int]]
"""(MiB, sockets) of each worker of one run."""


class Size(NamedTuple):
    """A record size: shape, records of a run, and how many of them are made one by one."""

    title: str
    shape: Shape
    records: int
    base: int


SIZES: Final = (
    Size("50 B", Shape("narrow", narrow_schema(), plain=True), 2_000_000, BASE),
    Size("154 B", JOB_SHAPE, 2_000_000, BASE),
    Size("500 B", Shape("wide", wide_schema(), remarks=344), 800_000, BASE),
    Size("2 kB", Shape("wide", wide_schema(), remarks=1_844), 400_000, 50_000),
    Size("10 kB", Shape("wide", wide_schema(), remarks=9_844), 100_000, 20_000),
)


class Part:
    """What the parts share, and what they found."""

    def __init__(self, here: Ground, *, say: Story, rounds: int, guarded: Mapping[str, str], most: int) -> None:
        """``guarded`` is the environment of a worker that speaks TLS; no topic gets more than ``most`` records. Nothing is found yet."""
        self.here, self.say, self.rounds, self.guarded, self._most = here, say, rounds, guarded, most
        self.runs: list[Run] = []
        self.notes: list[str] = []
        self.table_notes: list[str] = []
        self.judged: list[Target] = []
        self.facts: dict[str, Any] = {}

    @contextmanager
    def topic(self, name: str, records: int, *, shape: Shape = JOB_SHAPE, base: int = BASE) -> Iterator[ours.Topic]:
        """Give a loaded topic inside the block; it is deleted behind it."""
        count = capped(min(records, self._most))
        self.say(f"loading {count:,} records")
        made = ours.make_topic(self.here, f"{PROVIDER}/{name}", count, codec="none", shape=shape, base=min(base, count))
        yield made
        self.here.clear()
        self.here.admin.delete_topics([made.name])

    def warm(self) -> None:
        """Let the broker compile what it will run, as ``Contest.warm`` does."""
        with self.topic("warm", WARM_RECORDS) as topic:
            for number in range(WARM_RUNS):
                self.say(f"warming the broker, {number + 1} of {WARM_RUNS}")
                ours.run(self.here, topic, terms(MAIN_N), round_number=number)

    def each_round(self, what: str) -> Iterator[int]:
        """Yield the numbers of the rounds, telling of each."""
        for number in range(self.rounds):
            self.say(f"{what}, round {number + 1} of {self.rounds}")
            yield number


def full(asked: argparse.Namespace, say: Story) -> Report:
    """Run the parts, or those that were asked for."""
    wanted: Sequence[str] = asked.only or tuple(PARTS)
    for name in wanted:
        if name not in PARTS:
            raise Failed(f"there is no part `{name}`; there are {', '.join(PARTS)}")
    folder: Path = (asked.out / FOLDER).absolute()
    certificates = folder.with_name(f"{FOLDER}-certificates")
    certificates.mkdir(parents=True, exist_ok=True)
    guarded, properties = _guarded(certificates)
    with ground(folder, cores=machine.cores(), on_disk=asked.disk, more=properties) as here:
        part = Part(here, say=say, rounds=asked.rounds or ROUNDS, guarded=guarded, most=asked.records or LONG)
        part.warm()
        for name in wanted:
            say(f"part `{name}`")
            PARTS[name](part)
        where = conditions(here, Contest(here, say=say, work=asked.out), say=say)
        if here.cores.pinned:
            where["placement"] += ", but where a section says otherwise"
        return Report(
            title="cityhub at other sizes and in other settings",
            conditions={key: value for key, value in where.items() if key != "go"},
            runs=part.runs,
            rounds=part.rounds,
            extra=part.facts,
            notes=part.notes,
            table_note=" ".join(part.table_notes),
            judged=part.judged,
            door="bench-full",
            beyond_default=[_steps(step_ms) for step_ms in STEPS_MS[1:]],
        )


def sizes(part: Part) -> None:
    """Measure record sizes at N=5, of a record that has nothing but the job's fields to one that is mostly remarks."""
    for size in SIZES:
        title = f"records of {size.title}"
        with part.topic(f"sized-{size.title.replace(' ', '').lower()}", size.records, shape=size.shape, base=size.base) as topic:
            for number in part.each_round(title):
                part.runs.append(ours.run(part.here, topic, terms(MAIN_N), round_number=number, variant=title))


def agreements(part: Part) -> None:
    """Measure numbers of agreements up to 50."""
    with part.topic("many", MANY_RECORDS) as topic:
        for n in MANY_N:
            for number in part.each_round(f"N={n}"):
                part.runs.append(ours.run(part.here, topic, terms(n), round_number=number, variant=MANY))
        part.table_notes.append(
            f"A run of `{MANY}` has {topic.source.records:,} records, where one of `make bench` has {LARGE:,} at N=1 and N=5: a worker's "
            "start is a larger share of it, so these lines are to be compared with each other."
        )


def tls(part: Part) -> None:
    """Speak TLS to the broker, certificates shown by both sides, and beside it speak plain."""
    with part.topic("guarded", LARGE) as topic:
        for variant, environment in (("plain", {}), ("TLS", part.guarded)):
            for number in part.each_round(variant):
                found = ours.run(part.here, topic, terms(MAIN_N), round_number=number, variant=variant, environment=environment)
                part.runs.append(found)


def interval(part: Part) -> None:
    """Lengthen the step, with transactions and without: what a transaction costs is a sum per step, whatever it carries."""
    costs: dict[int, Exactness] = {}
    with part.topic("interval", LARGE) as topic:
        for step_ms in STEPS_MS:
            longer = step_ms // STEPS_MS[0]
            environment = {
                "CITYHUB_EXCHANGE__STEP_MS": str(step_ms),
                "CITYHUB_EXCHANGE__STEP_BYTES_MAX": str(DEFAULTS.step_bytes_max * longer),
                "CITYHUB_EXCHANGE__INFLIGHT_BYTES_MAX": str(DEFAULTS.inflight_bytes_max * longer),
            }
            variant = _steps(step_ms)
            for number in part.each_round(variant):
                found = {
                    exactly: ours.run(
                        part.here,
                        topic,
                        terms(MAIN_N),
                        round_number=number,
                        exact=exactly,
                        variant=variant,
                        command=ours.WORKER if exactly else ours.PLAIN_WORKER,
                        environment=environment,
                    )
                    for exactly in ((True, False) if number % 2 else (False, True))
                }
                part.runs += found.values()
            line, summaries = Line(OURS, MAIN_N, exact=True, variant=variant), summarise(part.runs)
            costs[step_ms] = exactness(summaries[line], summaries[line._replace(exact=False)])
    part.judged.append(judge_exactness(costs[DEFAULTS.step_ms], where=f", {_steps(DEFAULTS.step_ms)}"))
    part.facts["interval"] = [
        {
            "step_ms": step_ms,
            **{
                f"exactness_costs_percent{which}": round(100 * share, 1)
                for which, share in zip(("", "_least", "_most"), cost.throughput_share, strict=True)
            },
        }
        for step_ms, cost in costs.items()
    ]
    shown = [(f"{step_ms}", f"{cost.throughput_share:.1%}", f"{cost.cpu_share:.1%}") for step_ms, cost in costs.items()]
    part.notes.append(
        "## What exactness costs at longer steps\n\nShare of the throughput at N=5 that transactions take, and how much more processor "
        f"time a delivery costs, on the same topic, one after the other; the default is {DEFAULTS.step_ms} ms. Medians of the ratios round "
        "by round, least and most in brackets.\n\n" + table(("step ms", "throughput", "processor time"), shown, left=0)
    )


def _steps(step_ms: int) -> str:
    return f"steps of {step_ms} ms"


def long(part: Part) -> None:
    """Deliver ten million records in one go, memory over time; then one and two workers on all cores, once they share the lanes."""
    with part.topic("long", LONG) as topic:
        part.say(f"{topic.source.records:,} records in one go")
        found, timed = ours.timed_run(part.here, topic, terms(MAIN_N), round_number=0, variant="ten million records in one go")
        part.runs.append(found)
        _tell_memory(part, timed, records=found.records)
        _workers(part, topic)


def quiet(part: Part) -> None:
    """Serve 200 quiet datasets with one worker: how long one record takes, and what 800 idle lanes cost."""
    found = part.facts["quiet"] = quiet_lanes.measure(part.here)
    names = ("datasets", "lanes", "records", "p50_ms", "p99_ms", "max_ms", "worker_cores", "broker_cores", "rss_mb")
    told = (
        f"A record a second for each dataset, one agreement each; from due to its arrival at a `read_committed` reader. At most "
        f"{quiet_lanes.LATENCY_P99_MS_MAX:g} ms at p99 and {quiet_lanes.WORKER_CORES_MAX:g} of a core were asked for: "
        f"{'met' if quiet_lanes.met(found) else '**not met**'}. Broker, serve, worker and the benchmark share all cores."
    )
    limits = f"p99 at most {quiet_lanes.LATENCY_P99_MS_MAX:g} ms, the worker at most {quiet_lanes.WORKER_CORES_MAX:g} of a core"
    part.judged.append((f"quiet datasets: {limits}", f"{found['p99_ms']:.0f} ms, {found['worker_cores']:.2f}", quiet_lanes.met(found)))
    rows = [(name, f"{found[name]:g}") for name in names]
    part.notes.append(f"## Quiet datasets\n\n{told}\n\n" + table(("", "found"), rows, left=1))


PARTS: Final[Mapping[str, Callable[[Part], None]]] = {
    "sizes": sizes,
    "agreements": agreements,
    "tls": tls,
    "interval": interval,
    "long": long,
    "quiet": quiet,
}


def _workers(part: Part, topic: ours.Topic) -> None:
    """Compare two workers with one, both on all cores and beside the broker: there are no further cores to give them."""
    held: dict[str, list[Members]] = {variant: [] for variant in WORKERS}
    with unpinned(part.here) as shared:
        for number in part.each_round("one worker and two"):
            for variant, count in WORKERS.items():
                command = (*ours.WORKER, "--processes", str(count))
                found, timed = ours.timed_run(
                    shared, topic, terms(MAIN_N), round_number=number, variant=variant, command=command, settled=True
                )
                part.runs.append(found)
                held[variant].append(sorted(timed.members, reverse=True))
    summaries = {line.variant: summary for line, summary in summarise(part.runs).items()}
    one, two = (summaries[variant] for variant in WORKERS)
    cost = ratios(two, one, lambda run: run.cpu_us_per_delivery)
    judged = judge_workers(cost, *held.values())
    part.judged += judged
    part.facts["workers"] = {
        "cpu_ratio": round(cost.median, 3),
        "met": all(met for _, _, met in judged),
        "members": {
            variant: [[{"rss_mb": round(rss), "sockets": sockets} for rss, sockets in members] for members in rounds]
            for variant, rounds in held.items()
        },
    }
    rows = [(variant, _over_rounds(rounds, 0), _over_rounds(rounds, 1)) for variant, rounds in held.items()]
    part.notes.append(
        "## Workers\n\nOne worker and two, measured once every lane has started. Nothing is pinned: workers, broker, serve and the "
        "benchmark share all cores, so these lines are to be compared with each other. Of two, the one that holds more is told first; "
        "medians, least and most of the rounds in brackets.\n\n" + table(("", "MiB of each", "sockets of each"), rows, left=1)
    )


def _over_rounds(rounds: Sequence[Members], place: int) -> str:
    """Return one figure of each worker."""
    return ", ".join(f"{spread(member[place] for member in each):.0f}" for each in zip(*rounds, strict=False))


def judge_workers(cost: Spread, alone: Sequence[Members], two: Sequence[Members]) -> list[Target]:
    """Return the targets of a second worker; ``cost`` is a delivery's with two over one, the others what they held, round by round."""
    asked = f"CPU a delivery with two workers: at most {SECOND_WORKER_MAX:g} × that with one"
    out = [(asked, f"{cost:.2f} ×", cost.median <= SECOND_WORKER_MAX)]
    for place, what in enumerate(("MiB", "sockets")):
        most, most_alone = ([max(member[place] for member in members) for members in rounds] for rounds in (two, alone))
        larger = spread(many / max(1, one) for many, one in zip(most, most_alone, strict=True))
        asked = f"{what} of a worker with two: no more than with one ({MEMBER_MAX - 1:.0%} allowed)"
        out.append((asked, f"{larger:.2f} ×", larger.median <= MEMBER_MAX))
    return out


def _tell_memory(part: Part, timed: ours.Timed, *, records: int) -> None:
    """Note what the worker held over the time of a long run."""
    held = [(at_ms - timed.begin_ms, mb) for at_ms, mb in timed.memory if timed.begin_ms <= at_ms <= timed.begin_ms + 1000 * timed.seconds]
    quarter = max(1, len(held) // 4)
    second, last = (statistics.median(mb for _, mb in part_of) for part_of in (held[quarter : 2 * quarter] or held, held[-quarter:]))
    shown = held[:: max(1, len(held) // 12)]
    rows = [(f"{at_ms / 1000:.1f}", f"{mb:.0f}") for at_ms, mb in shown]
    flat = last - second <= FLAT_MB
    part.facts["memory"] = {
        "over_time": [[round(at_ms), round(mb, 1)] for at_ms, mb in held],
        "growth_mb": round(last - second, 1),
        "flat": flat,
    }
    asked = f"flat over {records:,} records: the last quarter at most {FLAT_MB:g} MiB above the second"
    part.judged.append((asked, f"{last - second:+.0f} MiB", flat))
    told = f"The last quarter's median is {last - second:+.0f} MiB from the second's ({'flat' if flat else '**not flat**'})."
    part.notes.append(f"## Memory over ten million records\n\n{told}\n\n" + table(("second", "MiB held"), rows, left=0))


def _guarded(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the environment of a worker that speaks TLS, and the broker's properties of a listener for it."""
    signer = authority(folder)
    port, properties = listener(signer, folder)
    certificate, key = signed(signer, folder, "worker")
    files = {"CA": signer.file, "CERTIFICATE": certificate, "KEY": key}
    return {
        "CITYHUB_BROKER__BOOTSTRAP": f"{HOST}:{port}",
        **{f"CITYHUB_BROKER__TLS__{name}": str(path) for name, path in files.items()},
    }, properties
