"""What is measured and what is shown of it: one run's figures, and medians with their spread over rounds. Pure."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

OURS: Final = "cityhub"
OTHER_CORES_MAX: Final = 0.3
CONTENDER_CORES_MIN: Final = 0.85
STEAL_CORES_MAX: Final = 0.1


class Line(NamedTuple):
    """One line of the table: who did which form of the job."""

    who: str
    n: int
    codec: str = "none"
    exact: bool = False
    variant: str = ""
    """What differs from the job of the main table: a record size, two workers, TLS, a drawn plan."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run that was checked."""

    line: Line
    round: int
    records: int
    deliveries: int
    seconds: float
    cpu_s: float
    rss_mb: float
    broker_cores: float
    other_cores: float
    """Cores of the machine that processes outside of the run used."""
    steal_cores: float
    loop_s: float | None = None
    """Processor seconds of the main thread, Python's event loop; the kernel runs on others. Ours alone."""
    steps: int = 0
    """Steps that carried its records. Ours alone."""
    broker_s: float = 0.0
    """Processor seconds of the broker, from the worker's start to its last commit. Ours alone."""
    interval_ms: tuple[float, float] | None = None
    """Median and 99th percentile between two steps of a lane, as hub.usage tells. Ours alone."""
    checked: int = 0
    """Records that were compared byte by byte."""

    @property
    def records_per_s(self) -> float:
        """Source records a second."""
        return self.records / self.seconds

    @property
    def deliveries_per_s(self) -> float:
        """Records delivered a second."""
        return self.deliveries / self.seconds

    @property
    def cpu_us_per_delivery(self) -> float:
        """Microseconds of one core for each record delivered."""
        return 1e6 * self.cpu_s / self.deliveries

    @property
    def contender_cores(self) -> float:
        """Cores that the contender had."""
        return self.cpu_s / self.seconds

    @property
    def disturbed(self) -> bool:
        """Tell whether other work took so much of the machine that the contender got less than it could have used."""
        if self.steal_cores > STEAL_CORES_MAX:
            return True
        return self.other_cores > OTHER_CORES_MAX and self.contender_cores < CONTENDER_CORES_MIN


class Spread(NamedTuple):
    """A figure over rounds."""

    median: float
    least: float
    most: float

    def __format__(self, spec: str) -> str:
        """Return the median, and least and most where they differ as shown."""
        middle, least, most = (format(value, spec) for value in self)
        return middle if least == most else f"{middle} ({least}–{most})"


def spread(values: Iterable[float]) -> Spread:
    """Return median, least and most."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1])


@dataclasses.dataclass(frozen=True)
class Summary:
    """All rounds of one line."""

    line: Line
    counted: tuple[Run, ...]
    """Runs that were not disturbed; all of them where every one was."""
    left_out: int

    @property
    def disturbed(self) -> bool:
        """Tell whether even the counted runs were disturbed."""
        return any(run.disturbed for run in self.counted)

    def of(self, figure: Callable[[Run], float]) -> Spread:
        """Return a figure over the counted rounds."""
        return spread(figure(run) for run in self.counted)

    def row(self) -> dict[str, Any]:
        """Return the row of ``build/bench.json``: medians, and their spread beside them."""
        figures = {
            "records_per_s": self.of(lambda run: run.records_per_s),
            "deliveries_per_s": self.of(lambda run: run.deliveries_per_s),
            "cpu_us_per_delivery": self.of(lambda run: run.cpu_us_per_delivery),
            "rss_mb": self.of(lambda run: run.rss_mb),
        }
        row: dict[str, Any] = {
            "who": self.line.who,
            "n": self.line.n,
            "codec": self.line.codec,
            "exact": self.line.exact,
            **{name: _rounded(found.median) for name, found in figures.items()},
            "rounds": len(self.counted),
            "left_out": self.left_out,
            "disturbed": self.disturbed,
            "records": self.counted[0].records,
            "checked": sum(run.checked for run in self.counted),
            "broker_cores": _rounded(self.of(lambda run: run.broker_cores).median),
            "spread": {name: [_rounded(found.least), _rounded(found.most)] for name, found in figures.items()},
        }
        if self.line.variant:
            row["variant"] = self.line.variant
        loops = [1e6 * run.loop_s / run.deliveries for run in self.counted if run.loop_s is not None]
        if loops:
            row["loop_us_per_delivery"] = _rounded(statistics.median(loops))
        of_steps = [1e3 * run.loop_s / run.steps for run in self.counted if run.loop_s is not None and run.steps]
        if of_steps:
            row["loop_ms_per_step"] = _rounded(statistics.median(of_steps))
        of_broker = [1e3 * run.broker_s / run.steps for run in self.counted if run.broker_s and run.steps]
        if of_broker:
            row["broker_ms_per_step"] = _rounded(statistics.median(of_broker))
        intervals = [run.interval_ms for run in self.counted if run.interval_ms is not None]
        if intervals:
            row["step_interval_ms"] = {
                "p50": _rounded(statistics.median(one for one, _ in intervals)),
                "p99": _rounded(statistics.median(other for _, other in intervals)),
            }
        return row


def summarise(runs: Iterable[Run]) -> dict[Line, Summary]:
    """Return the summary of each line, in the order in which lines were first met."""
    by_line: dict[Line, list[Run]] = {}
    for run in runs:
        by_line.setdefault(run.line, []).append(run)
    return {line: _summary(line, found) for line, found in by_line.items()}


def _summary(line: Line, found: Sequence[Run]) -> Summary:
    quiet = tuple(run for run in found if not run.disturbed)
    return Summary(line, quiet or tuple(found), len(found) - len(quiet) if quiet else 0)


def ratio(ours: Summary, peer: Summary) -> Spread:
    """Return how many times more processor time a delivery costs the peer."""
    return ratios(peer, ours, lambda run: run.cpu_us_per_delivery)


def ratios(over: Summary, under: Summary, figure: Callable[[Run], float]) -> Spread:
    """Return a figure of one line over that of another: round by round where both have a counted run of it, else that of the medians."""
    above, below = ({run.round: figure(run) for run in summary.counted} for summary in (over, under))
    shared = above.keys() & below.keys()
    if shared:
        return spread(above[number] / below[number] for number in shared)
    return spread([statistics.median(above.values()) / statistics.median(below.values())])


class Exactness(NamedTuple):
    """What transactions cost, round by round."""

    throughput_share: Spread
    """Share of the throughput of a run without them."""
    cpu_share: Spread
    """So much more processor time does a delivery cost, as a share of that without them."""

    def as_json(self) -> dict[str, Any]:
        """Return the medians, and least and most of both."""
        middle, least, most = (
            {name: round(figure, 4) for name, figure in zip(self._fields, figures, strict=True)} for figures in zip(*self, strict=True)
        )
        return {**middle, "least": least, "most": most}


def exactness(with_: Summary, without: Summary) -> Exactness:
    """Return what transactions cost, of a line with them and of the same line without."""
    rate, cost = ratios(with_, without, lambda run: run.records_per_s), ratios(with_, without, lambda run: run.cpu_us_per_delivery)
    return Exactness(spread(1 - found for found in rate), spread(found - 1 for found in cost))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed (nearest rank)."""
    found = sorted(values)
    return found[max(0, math.ceil(share * len(found)) - 1)]


def weighted_percentile(weighted: Iterable[tuple[float, int]], share: float) -> float:
    """Return the same of (value, count) pairs."""
    found = sorted(weighted)
    wanted = share * sum(count for _, count in found)
    seen = 0
    for value, count in found:
        seen += count
        if seen >= wanted:
            return value
    return found[-1][0]


def _rounded(value: float) -> float:
    """Return a value with four significant digits: more would claim what was not measured."""
    return float(f"{value:.4g}")


def rows(summaries: Mapping[Line, Summary]) -> list[dict[str, Any]]:
    """Return the rows of ``build/bench.json``."""
    return [summary.row() for summary in summaries.values()]
