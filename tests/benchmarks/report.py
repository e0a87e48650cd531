"""The report: a table for people, ``bench.json`` for programs, a picture for the docs. Pure but for ``write``."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import OURS, Exactness, Line, Run, Summary, exactness, ratio, summarise
from benchmarks.peer_runs import PEERS
from benchmarks.picture import Bar, Panel, picture

GO: Final = "go"
MAIN_N: Final = 5
TARGETS: Final[Mapping[tuple[int, str], float]] = {(1, "none"): 1.0, (5, "none"): 0.35, (20, "none"): 0.25, (5, "lz4"): 0.5}
"""Microseconds of processor time a delivery that were set as the goal, by agreements and codec."""
RATIOS: Final[Mapping[tuple[str, int, str], float]] = {
    (GO, 1, "none"): 2.4,
    (GO, 5, "none"): 4.0,
    (GO, 20, "none"): 4.5,
    (GO, 5, "lz4"): 3.5,
    ("confluent", 5, "none"): 35.0,
    ("faust", 5, "none"): 400.0,
}
EXACTNESS_MAX: Final = 0.10
HALF_LOAD_MS: Final = (150.0, 400.0)
RSS_MB_MAX: Final = 400.0
Target = tuple[str, str, bool]
"""What was asked for, what was found, whether that is enough."""


@dataclasses.dataclass
class Report:
    """Everything that a run of the benchmark found."""

    title: str
    conditions: Mapping[str, Any]
    runs: Sequence[Run]
    rounds: int
    failures: Mapping[Line, str] = dataclasses.field(default_factory=dict)
    go_missing: str = ""
    """Why there is no Go loop, empty where there is one."""
    latency: Sequence[Mapping[str, Any]] = ()
    stages: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further facts for the file of JSON: the drawn plan, memory over time."""
    notes: Sequence[str] = ()
    table_note: str = ""
    """What else a reader of the main table must know."""
    judged: Sequence[Target] = ()
    """Targets beyond those that can be judged by lines of the table."""
    door: str = "bench"
    """Which target of make this is."""
    beyond_default: Collection[str] = ()
    """Variants whose bounds are not the default ones: no target holds for them."""

    @property
    def summaries(self) -> dict[Line, Summary]:
        """Every line, in the order of the table."""
        found = summarise(self.runs)
        met = list(found)
        return dict(sorted(found.items(), key=lambda item: (*_order(item[0]), met.index(item[0]))))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the file of JSON, with the ratio to ours where there is a line of ours to compare with."""
        out = []
        for line, summary in self.summaries.items():
            row = summary.row()
            found = self.against(line)
            if found is not None:
                row["ratio_to_cityhub"] = {"median": round(found.median, 2), "min": round(found.least, 2), "max": round(found.most, 2)}
            out.append(row)
        return out

    def against(self, line: Line) -> Any:
        """Return how many times more a delivery costs ``line`` than ours on the same job; None for ours and where ours did not run."""
        ours = self.summaries.get(Line(OURS, line.n, line.codec, exact=True))
        return None if line.who == OURS or line.variant or ours is None else ratio(ours, self.summaries[line])

    def as_json(self) -> dict[str, Any]:
        """Return the whole of ``bench.json``."""
        return {
            "title": self.title,
            "conditions": dict(self.conditions),
            "rounds": self.rounds,
            "rows": self.rows(),
            "no_number": [
                {"who": line.who, "n": line.n, "codec": line.codec, "variant": line.variant, "why": why}
                for line, why in self.failures.items()
            ],
            "go_missing": self.go_missing,
            "latency": list(self.latency),
            "exactness": cost.as_json() if (cost := exactness_of(self.summaries)) is not None else None,
            "stages": dict(self.stages),
            "targets": [{"target": text, "found": found, "met": met} for text, found, met in targets(self)],
            **self.extra,
        }


def exactness_of(summaries: Mapping[Line, Summary]) -> Exactness | None:
    """Return what transactions cost at N=5; None where ours did not run both with them and without."""
    with_, without = summaries.get(Line(OURS, MAIN_N, "none", exact=True)), summaries.get(Line(OURS, MAIN_N, "none", exact=False))
    return None if with_ is None or without is None else exactness(with_, without)


def judge_exactness(cost: Exactness, *, where: str = "") -> Target:
    """Return the target of what transactions may cost."""
    share = cost.throughput_share
    return f"exactness costs at most {EXACTNESS_MAX:.0%} of throughput{where}", f"{share:.1%}", share.median <= EXACTNESS_MAX


def targets(report: Report) -> list[Target]:
    """Return each target that this run can judge."""
    out: list[Target] = []
    for (n, codec), limit in TARGETS.items():
        summary = report.summaries.get(Line(OURS, n, codec, exact=True))
        if summary is not None:
            found = summary.of(lambda run: run.cpu_us_per_delivery)
            out.append((f"N={n} {codec}: at most {limit:g} µs a delivery", f"{found:.3f}", found.median <= limit))
    for (who, n, codec), least in RATIOS.items():
        if Line(who, n, codec) in report.summaries and (against := report.against(Line(who, n, codec))) is not None:
            out.append((f"N={n} {codec}: at least {least:g} × {title(who)}", f"{against:.1f} ×", against.median >= least))
    cost = exactness_of(report.summaries)
    if cost is not None:
        out.append(judge_exactness(cost))
    for row in report.latency:
        if row["load"] == 0.5:
            p50, p99 = row["p50_ms"], row["p99_ms"]
            met = p50 <= HALF_LOAD_MS[0] and p99 <= HALF_LOAD_MS[1]
            asked = f"half load: p50 at most {HALF_LOAD_MS[0]:g} ms, p99 at most {HALF_LOAD_MS[1]:g} ms"
            out.append((asked, f"{p50:.0f} ms, {p99:.0f} ms", met))
    ours = [summary for line, summary in report.summaries.items() if line.who == OURS and line.variant not in report.beyond_default]
    most = max((summary.of(lambda run: run.rss_mb).most for summary in ours), default=0.0)
    if most:
        out.append(
            (f"a worker holds at most {RSS_MB_MAX:g} MiB at the default interval, in the worst run", f"{most:.0f} MiB", most <= RSS_MB_MAX)
        )
    return [*out, *report.judged]


def markdown(report: Report, *, image: str | None = None) -> str:
    """Return the report as people read it."""
    parts = [f"# {report.title}", *(_image(image) if image else ()), _conditions(report), _main_table(report)]
    if report.go_missing:
        parts.append(f"The Go loop did not run ({report.go_missing}); no ratio to it is claimed.")
    for line, why in report.failures.items():
        parts.append(f"{title(line.who)} at N={line.n}, {line.variant or line.codec}, has no number: {why}")
    parts += [_latency(report), _exactness(report), _stages(report), _targets(report), *report.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def drawing(report: Report) -> str | None:
    """Return the picture, None where the lines that it shows did not run."""
    summaries = report.summaries
    forms = [(1, "none"), (5, "none"), (20, "none"), (5, "lz4")]
    versus = [
        bar
        for n, codec in forms
        for who in (OURS, GO)
        if Line(OURS, n, codec, exact=True) in summaries
        for bar in _bars(report, Line(who, n, codec, exact=who == OURS), label=f"{title(who, short=True)}, N={n}" + _with(codec))
    ]
    if not versus:
        return None
    panels = [Panel("Processor time of one delivery", "µs of one core, lower is better; lines: least and most of the rounds", versus)]
    rates = [
        Bar(title(line.who, short=True), rate.median, rate.least, rate.most, ours=line.who == OURS)
        for line, summary in summaries.items()
        if line.n == MAIN_N and line.codec == "none" and not line.variant and (line.exact or line.who != OURS)
        for rate in [summary.of(lambda run: 1e3 / run.cpu_us_per_delivery)]
    ]
    if len(rates) > 1:
        panels.append(Panel("Deliveries of one core, N=5", "thousands a second of processor time, higher is better", rates))
    where_it_goes = stages_of(report)
    if where_it_goes:
        bars = [Bar(name, ns, ns, ns, ours=True) for name, ns in where_it_goes.items()]
        panels.append(
            Panel("One delivery of cityhub, N=5, stage by stage", "ns of one core: the kernel's stages, then what is around it", bars)
        )
    where = report.conditions
    caption = f"{where['processor']}, {where['broker']}, {where['kernel']} kernel, commit {where['commit']}, {where['date']}"
    return picture(panels, caption=caption)


def stages_of(report: Report) -> dict[str, float]:
    """Return where the time of a delivery goes at N=5, in nanoseconds: the kernel's stages, Python's event loop, and what is left."""
    summary = report.summaries.get(Line(OURS, MAIN_N, "none", exact=True))
    found = {name: value for name, value in report.stages.get("ns_per_delivery", {}).items() if name not in report.stages["sums"]}
    if summary is None or not found:
        return {}
    whole, loop = (1000 * summary.row().get(name, 0.0) for name in ("cpu_us_per_delivery", "loop_us_per_delivery"))
    named = {f"kernel: {name}": value for name, value in found.items()}
    rest = max(0.0, whole - loop - sum(found.values()))
    return {**named, "event loop: lanes, requests, metering": loop, "rest: fetch, hand-over, memory": rest}


def title(who: str, *, short: bool = False) -> str:
    """Return how people call a contender."""
    if who == OURS:
        return "cityhub, exactly once" if not short else "cityhub"
    name = PEERS[who].title if who in PEERS else who
    return name.partition(":")[0] if short else name


def write(report: Report, *, folder: Path, name: str, docs: Path | None) -> list[Path]:
    """Write ``<name>.json``, ``<name>.md`` and ``<name>.svg`` into ``folder``, the last two also into ``docs``; returns their paths."""
    svg = drawing(report)
    texts = {f"{name}.json": json.dumps(report.as_json(), ensure_ascii=False, indent=1) + "\n"}
    texts[f"{name}.md"] = markdown(report, image=f"{name}.svg" if svg else None)
    if svg:
        texts[f"{name}.svg"] = svg
    written = []
    for place in (folder, docs):
        if place is None:
            continue
        place.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            if place is folder or not file.endswith(".json"):
                (place / file).write_text(text, encoding="utf-8")
                written.append(place / file)
    return written


def _order(line: Line) -> tuple[Any, ...]:
    """Put the main job first, then codecs; within a form ours, then peers from the quickest library to the slowest; variants as met."""
    names = [OURS, *PEERS]
    if line.variant:
        return (True,)
    return (False, ("none", "lz4", "zstd").index(line.codec), line.n, names.index(line.who), not line.exact)


def _with(codec: str) -> str:
    return "" if codec == "none" else f", {codec}"


def _bars(report: Report, line: Line, *, label: str) -> list[Bar]:
    summary = report.summaries.get(line)
    if summary is None:
        return []
    cost = summary.of(lambda run: run.cpu_us_per_delivery)
    against = report.against(line)
    return [Bar(label, *cost, note=f"{against.median:.1f} ×" if against is not None else "", ours=line.who == OURS)]


def _image(image: str) -> list[str]:
    return [f"![Processor time of one delivery, cityhub and its peers]({image})"]


def _conditions(report: Report) -> str:
    where = dict(report.conditions)
    told = [f"{key.replace('_', ' ')}: {value}" for key, value in where.items()]
    job = (
        "The job: traffic observations of 14 fields (154 bytes) from 16 partitions; for each of N agreements the rows of ten of twenty "
        "districts and of adults (41 %), six fields of them, a keyed pseudonym, a masked name, a time cut to the day, the key kept. "
        "cityhub runs whole and with default settings: registry, agreements, transactions, usage, quarantine. What the peers do and need "
        "not do: `tests/benchmarks/peers/README.md`. Counts of every run in full and 20,000 of its records byte by byte are checked first."
    )
    return f"{job}\n\nWritten by `make {report.door}`. Conditions: " + " · ".join(told) + "."


def _main_table(report: Report) -> str:
    rows = []
    for line, summary in report.summaries.items():
        against = report.against(line)
        left = f" ({summary.left_out} disturbed)" if summary.left_out else ""
        rows.append(
            (
                ("cityhub, transactions off" if line.who == OURS and not line.exact else title(line.who))
                + (f": {line.variant}" if line.variant else ""),
                str(line.n),
                line.codec,
                f"{summary.of(lambda run: run.records_per_s / 1000):,.0f}",
                f"{summary.of(lambda run: run.deliveries_per_s / 1000):,.0f}",
                f"{summary.of(lambda run: run.cpu_us_per_delivery):.3g}" + (" *" if summary.disturbed else ""),
                f"{against:.1f}" if against is not None else "",
                f"{summary.of(lambda run: run.rss_mb).median:.0f}",
                f"{summary.row()['step_interval_ms']['p50']:.0f}" if "step_interval_ms" in summary.row() else "",
                f"{len(summary.counted)}{left}",
            )
        )
    heads = ("who", "N", "codec", "k records/s", "k deliveries/s", "CPU µs a delivery", "× cityhub", "MiB", "ms a step", "rounds")
    note = (
        "Medians, least and most of the rounds in brackets; × is the median of the ratios round by round; ms a step: from one step of a "
        "lane to its next, in the median."
    )
    stars = " *: other work disturbed every round." if any(summary.disturbed for summary in report.summaries.values()) else ""
    more = f" {report.table_note}" if report.table_note else ""
    return table(heads, rows, left=1) + f"\n\n{note}{stars}" + _intervals(report) + more


def _intervals(report: Report) -> str:
    summary = report.summaries.get(Line(OURS, MAIN_N, "none", exact=True))
    row = {} if summary is None else summary.row()
    if "step_interval_ms" not in row:
        return ""
    found, loop, of_step = row["step_interval_ms"], row.get("loop_us_per_delivery", 0.0), row.get("loop_ms_per_step", 0.0)
    return (
        f" At N=5, uncompressed, under full load two steps of a lane are {found['p50']:.0f} ms apart in the median, {found['p99']:.0f} ms "
        f"at p99 (by hub.usage); of a delivery's processor time {loop:.3g} µs are Python's event loop, {of_step:.2g} ms a step, "
        "the rest other threads."
    )


def _latency(report: Report) -> str:
    if not report.latency:
        return ""
    columns = ("p50_ms", "p99_ms", "acknowledged_p50_ms", "acknowledged_p99_ms")
    rows = [
        (
            f"{row['load']:.0%}",
            f"{row['records_per_s']:,.0f}",
            *(f"{row.get(name, 0):.0f}" for name in columns),
            f"{row['worker_cores']:.2f}",
        )
        for row in report.latency
    ]
    told = (
        "## Latency\n\nFrom the moment a record is due at an open-loop producer to its arrival at a `read_committed` reader, N=5, "
        "uncompressed, default interval; loads are shares of the live maximum: what crosses in steady state while a producer writes as "
        "fast as it is answered."
    )
    return (
        told + "\n\n" + table(("load", "records/s", "p50 ms", "p99 ms", "of that at the broker p50", "p99", "worker cores"), rows, left=0)
    )


def _exactness(report: Report) -> str:
    cost = exactness_of(report.summaries)
    if cost is None:
        return ""
    told = (
        f"At N=5 transactions take {cost.throughput_share:.1%} of the throughput of a run without them, and a delivery costs "
        f"{cost.cpu_share:.1%} more processor time: medians of the ratios round by round, least and most of the rounds in brackets."
    )
    with_, without = (
        report.summaries[Line(OURS, MAIN_N, "none", exact=exact)].row().get("broker_ms_per_step", 0.0) for exact in (True, False)
    )
    if with_ and without:
        told += (
            f" The price is the broker's: a step of a lane costs it {with_:.1f} ms of its core with a transaction and {without:.1f} ms "
            "without (markers in each partition, the coordinator's log, the check of each partition), whatever the step carries."
        )
    return f"## The cost of exactness\n\n{told}"


def _stages(report: Report) -> str:
    if not report.stages:
        return ""
    rows = [(name, f"{value:.1f}") for name, value in report.stages.get("ns_per_delivery", {}).items()]
    alone = f"## Where the time goes\n\nThe kernel alone: {report.stages.get('told', '')}\n\n" + table(
        ("stage", "ns a delivery"), rows, left=1
    )
    whole = stages_of(report)
    if not whole:
        return alone
    told = (
        "A delivery in the worker, at N=5 under full load: the event loop is measured there, the kernel's lines are those of the table "
        "above, and the last one is what is left of the whole, with what the kernel costs more beside other threads:"
    )
    return f"{alone}\n\n{told}\n\n" + table(("", "ns a delivery"), [(name, f"{value:.0f}") for name, value in whole.items()], left=1)


def _targets(report: Report) -> str:
    found = targets(report)
    if not found:
        return ""
    rows = [(asked, measured, "yes" if met else "**no**") for asked, measured, met in found]
    return "## Targets\n\n" + table(("asked", "found", "met"), rows, left=1)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Return a table in Markdown, aligned for the eye; the first ``left`` columns stand left, the others right."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        placed = [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(placed) + " |"

    rule = "|" + "|".join("-" * (width + 2) if at < left else "-" * (width + 1) + ":" for at, width in enumerate(widths)) + "|"
    return "\n".join([line(heads), rule, *map(line, rows)])
