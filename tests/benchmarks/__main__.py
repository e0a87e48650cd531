"""``python -m benchmarks``: the doors of ``make bench``, ``make bench-quick`` and ``make bench-full``; ``versus`` has one of its own.

Progress is told on stderr; the result is a table on stdout, or with ``--json`` the content of ``bench.json``. Exit codes: 0 every check
held · 1 a check or a run failed (of ours: then no number is printed) · 4 something that is needed is missing · 130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import full, machine, standard
from benchmarks.contest import Story
from benchmarks.report import markdown, write
from benchmarks.town import Failed
from hub.model.errors import ExitCode, HubError

KINDS: Final = {"quick": standard.quick, "standard": standard.standard, "full": full.full}


def main(words: Sequence[str] | None = None) -> int:
    """Run one of the three; returns the exit code."""
    asked = _parser().parse_args(words)
    say = Story()
    machine.Onlookers.precedence = asked.nice
    try:
        with machine.told_to_stop():
            report = KINDS[asked.kind](asked, say)
    except KeyboardInterrupt:
        say("interrupted; no process is left")
        return int(ExitCode.INTERRUPTED)
    except Failed as failure:
        say(f"FAILED, so there is no number: {failure}")
        return 1
    except HubError as error:
        say(f"{error.code} {error.message}\n  help: {error.fix}")
        return int(ExitCode.DEPENDENCY) if error.code.startswith(("HUB-BROKER", "HUB-CONF")) else 1
    name = {"standard": "bench"}.get(asked.kind, f"bench-{asked.kind}")
    for path in write(report, folder=asked.out, name=name, docs=asked.docs):
        say(f"wrote {path}")
    sys.stdout.write(json.dumps(report.as_json(), ensure_ascii=False, indent=1) + "\n" if asked.json else markdown(report))
    return 1 if report.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="The benchmark of cityhub: the whole product beside its peers, every run checked.", epilog=__doc__
    )
    parser.add_argument(
        "kind",
        choices=KINDS,
        help="quick: two minutes, ours and the Go loop at N=5, on a broker that is hardly warm; "
        "standard: the whole table, at most 25 minutes; full: sizes, workers, TLS, "
        "quiet datasets, ten million records",
    )
    parser.add_argument("--json", action="store_true", help="print the content of bench.json instead of the table")
    parser.add_argument("--rounds", type=int, help="rounds of every line (default: quick 2, standard 3, full 2)")
    parser.add_argument("--records", type=int, help="records of the large topics (default: quick 400,000, else 4,000,000)")
    parser.add_argument("--minutes", type=float, default=24.0, help="begin no further round that would end later (default: 24)")
    parser.add_argument("--seed", type=int, help="seed of the drawn plan (default: by the day)")
    parser.add_argument(
        "--nice", type=int, default=0, help="nice value of what is measured, as -15, on a machine that others use too (needs root)"
    )
    parser.add_argument("--disk", action="store_true", help="keep the broker's log on disk (default: in memory, where there is room)")
    parser.add_argument("--no-latency", action="store_true", help="leave the latency runs out")
    parser.add_argument("--only", action="append", default=[], help="of `full`: only this part; may be given again")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the results (default: build)")
    parser.add_argument("--docs", type=Path, help="folder of the docs, where table and picture are to be written too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
