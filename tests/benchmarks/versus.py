"""``python -m benchmarks.versus --base COMMIT``: what a change costs, measured beside the commit before it.

Both products are run in turn on one broker, over the same topic and the same agreements, each by its own interpreter, packages and
kernel; which of the two comes first changes from round to round. Every run is checked as in ``make bench`` before its figures count.
A ratio is this checkout's figure over the base's of the same round; rounds in which other work took the machine count only where there
are no others. With ``--control`` the base runs twice in each round: what its second run differs from its first is no change's, but the
machine's. The base is built once and kept in the folder of the results.
Exit codes: 0 measured (and within ``--most-cpu`` and ``--most-memory`` where they are given) · 1 not within, or a run failed · 2 no
such commit, or the two run different kernels · 130 interrupted.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from checkouts import Tree, checkout, named

from benchmarks import machine, ours
from benchmarks.contest import Story, capped
from benchmarks.figures import Run, Spread, spread
from benchmarks.job import dataset, terms
from benchmarks.standard import commit
from benchmarks.town import Failed, Ground, ground
from hub.model.errors import ExitCode

ROUNDS: Final = 5
RECORDS: Final = {1: 4_000_000, 5: 2_000_000, 20: 1_000_000}
"""By the number of agreements: some seconds of work each, so that a worker's start counts for little."""
THIS: Final = "this checkout"
BASE: Final = "base"
AGAIN: Final = "base again"


class Pair(NamedTuple):
    """The runs of one round for one number of agreements."""

    n: int
    this: Run
    base: Run
    again: Run | None = None
    """The base's second one, where there is a control."""

    @property
    def disturbed(self) -> bool:
        """Tell whether other work took the machine from any of them."""
        return any(run.disturbed for run in (self.this, self.base, self.again) if run is not None)


def main(words: Sequence[str] | None = None) -> int:
    """Measure both; returns the exit code."""
    asked = _parser().parse_args(words)
    say = Story()
    machine.Onlookers.precedence = asked.nice
    try:
        with machine.told_to_stop():
            name = named(asked.base)
            base = checkout(name, folder=asked.out.absolute() / "versus", say=say)
            kernels = {THIS: Tree.own().kernel(), BASE: base.kernel()}
            if len(set(kernels.values())) > 1:
                say(f"the two run different kernels, which no ratio can tell apart: {kernels}")
                return 2
            pairs = measure(base, asked, say=say)
    except KeyboardInterrupt:
        say("interrupted; no process is left")
        return int(ExitCode.INTERRUPTED)
    except subprocess.CalledProcessError as error:
        say(f"`{asked.base}` is no commit here, or could not be built: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
        return 2
    except ValueError as error:
        say(f"that many records cannot be made: {error}")
        return 2
    except Failed as failure:
        say(f"FAILED, so there is no number: {failure}")
        return 1
    found = summary(pairs) | {"base": name, "commit": commit(), "kernel": kernels[BASE], "rounds": len({pair.this.round for pair in pairs})}
    (asked.out / "bench-versus.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if asked.json else table(found))
    return 0 if within(found, most_cpu=asked.most_cpu, most_memory=asked.most_memory) else 1


def measure(base: Tree, asked: argparse.Namespace, *, say: Story) -> list[Pair]:
    """Run both in every round for every number of agreements; returns the pairs."""
    sizes = {n: capped(asked.records or RECORDS[n]) for n in (asked.n or RECORDS)}
    trees = {THIS: None, BASE: base} | ({AGAIN: base} if asked.control else {})
    with ground(asked.out / "bench", cores=machine.cores(), on_disk=asked.disk) as here:
        topics: dict[int, ours.Topic] = {}
        for records in sorted(set(sizes.values()), reverse=True):
            say(f"loading {records:,} records")
            like = max((topic.source for topic in topics.values()), key=lambda source: source.records, default=None)
            topics[records] = ours.make_topic(here, dataset("none", size=f"-{records // 1000}k"), records, codec="none", like=like)
        for side in (THIS, BASE):
            say(f"warming the broker, not counted: {side}")
            _run(here, topics[min(topics)], max(sizes), 0, trees[side])
        pairs = []
        for number in range(asked.rounds):
            for n, records in sizes.items():
                found = {side: _run(here, topics[records], n, number, trees[side]) for side in ordered(tuple(trees), number + n)}
                pairs.append(Pair(n, found[THIS], found[BASE], found.get(AGAIN)))
                say(f"round {number + 1} of {asked.rounds}, N={n}: {_told(pairs[-1])}")
    return pairs


def ordered(sides: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Return who runs after whom in one round: each is first as often as the others."""
    first = number % len(sides)
    return sides[first:] + sides[:first]


def summary(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return medians and spread: by number of agreements the figures of both and their ratios by round."""
    lines = {}
    for n in sorted({pair.n for pair in pairs}):
        every = [pair for pair in pairs if pair.n == n]
        mine = [pair for pair in every if not pair.disturbed] or every
        lines[str(n)] = {
            "cpu_us_per_delivery": _both(mine, "cpu_us_per_delivery"),
            "cpu_ratio": _ratio((pair.this, pair.base) for pair in mine)["cpu"],
            "rss_mb": _both(mine, "rss_mb"),
            "rss_ratio": _ratio((pair.this, pair.base) for pair in mine)["rss"],
            "steps_ratio": spread(pair.this.steps / max(1, pair.base.steps) for pair in mine)._asdict(),
            "control": _ratio((pair.again, pair.base) for pair in mine if pair.again is not None),
            "counted": len(mine),
            "disturbed": sum(pair.disturbed for pair in every),
        }
    return {"lines": lines}


def within(found: dict[str, Any], *, most_cpu: float | None, most_memory: float | None) -> bool:
    """Tell whether the median ratios of every line stay within the bounds that were given."""
    bounds = {"cpu_ratio": most_cpu, "rss_ratio": most_memory}
    return all(most is None or line[name]["median"] <= most for line in found["lines"].values() for name, most in bounds.items())


def table(found: dict[str, Any]) -> str:
    """Return the table for a person: median (least–most)."""
    rows = [
        f"{found['commit']} beside {found['base']}, {found['kernel']} kernel, {found['rounds']} rounds; median (least–most)",
        "",
        "| N | µs of CPU a delivery, base | this | this / base | base / base | MiB, base | this | this / base | base / base | disturbed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for n, line in found["lines"].items():
        cpu, rss = line["cpu_us_per_delivery"], line["rss_mb"]
        cells = [
            f"{Spread(**cpu[BASE]):.3f}",
            f"{Spread(**cpu[THIS]):.3f}",
            f"{Spread(**line['cpu_ratio']):.3f}",
            _control(line, "cpu"),
            f"{Spread(**rss[BASE]):.0f}",
            f"{Spread(**rss[THIS]):.0f}",
            f"{Spread(**line['rss_ratio']):.3f}",
            _control(line, "rss"),
        ]
        rows.append(f"| {n} | {' | '.join(cells)} | {line['disturbed']} of {found['rounds']} |")
    return "\n".join(rows) + "\n"


def _run(here: Ground, topic: ours.Topic, n: int, number: int, tree: Tree | None) -> Run:
    return ours.run(here, topic, terms(n), round_number=number, tree=tree)


def _both(pairs: Sequence[Pair], name: str) -> dict[str, Any]:
    return {
        THIS: spread(getattr(pair.this, name) for pair in pairs)._asdict(),
        BASE: spread(getattr(pair.base, name) for pair in pairs)._asdict(),
    }


def _ratio(runs: Iterable[tuple[Run, Run]]) -> dict[str, Any]:
    """Return the ratios of CPU and of memory, round by round; empty where there is no round."""
    found = list(runs)
    if not found:
        return {}
    return {
        "cpu": spread(one.cpu_us_per_delivery / other.cpu_us_per_delivery for one, other in found)._asdict(),
        "rss": spread(one.rss_mb / other.rss_mb for one, other in found)._asdict(),
    }


def _control(line: Mapping[str, Any], name: str) -> str:
    return f"{Spread(**line['control'][name]):.3f}" if line["control"] else "–"


def _told(pair: Pair) -> str:
    ratio = pair.this.cpu_us_per_delivery / pair.base.cpu_us_per_delivery
    disturbed = ", disturbed" if pair.disturbed else ""
    return f"{pair.this.cpu_us_per_delivery:.3f} beside {pair.base.cpu_us_per_delivery:.3f} µs a delivery, {ratio:.3f}{disturbed}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.versus",
        description=(__doc__ or "").partition("\n")[0],
        epilog=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", required=True, help="the commit to measure beside, as a21bbb0 or HEAD~3")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds (default: {ROUNDS})")
    parser.add_argument("--records", type=int, help="records of every topic (default: 4, 2 and 1 million at N=1, 5 and 20)")
    parser.add_argument("--n", type=int, action="append", choices=sorted(RECORDS), help="numbers of agreements (default: 1, 5 and 20)")
    parser.add_argument("--control", action="store_true", help="run the base twice in each round, for how much the machine itself varies")
    parser.add_argument("--most-cpu", type=float, help="exit 1 where the median ratio of CPU is above this, as 1.03")
    parser.add_argument("--most-memory", type=float, help="exit 1 where the median ratio of memory is above this, as 1.02")
    parser.add_argument("--nice", type=int, default=0, help="nice value of what is measured, as -15 (needs root)")
    parser.add_argument("--disk", action="store_true", help="keep the broker's log on disk (default: in memory, where there is room)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the results and of the base (default: build)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
