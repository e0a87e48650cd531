"""Kill everything, everywhere, and find nothing lost, doubled, reordered or unmetered: ``make faults``.

    python tests/faults/faults.py [--records N] [--seed N] [--kernel native|reference]

Two workers share eight partitions of two datasets and are killed at every failpoint of a step, three times each, while the lane has
hundreds of records in hand. Passages come by the file connector, which is killed between rows and about its commit, and by a producer
that compresses; reports, which are long, come by another producer with another codec, in transactions that are more than one step may
hold. Serve is killed once, the broker twice, once with a transaction open; a worker sleeps past its session and comes back; somebody
else's transactions in the source topics are aborted all the while. Then ``checker.py``, which knows none of the hub's code, reckons from
the source topics what must have come of it. The last line is one JSON object. Exits 5 when a figure that must be 0 is not, 1 when the run
did not prove what it is there to prove.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from crew import Failure, Story, interrupt_on_sigterm  # noqa: E402 - the path is set first: this is a program
from load import CONNECTOR_POINTS, ConnectorLoad, Loads, Noise, ProducerLoad, TransactionLoad  # noqa: E402
from play import DONE_WITHIN_S, GIVEN_BACK, LANE_POINTS, Aim, Interruption, Play  # noqa: E402
from stage import Dataset, Stage, passages, reports, stage  # noqa: E402
from watch import Watch  # noqa: E402

RECORDS: Final = 1_000_000
CONNECTOR_SHARE, REPORTS_SHARE = 0.3, 0.2
BLOCKS: Final = 100
REPORT_BLOCK_ROWS: Final = 10_000
"""30 MB uncompressed, of which a step takes 16."""
REPORT_BLOCKS_MIN: Final = 12
"""With fewer of them no worker can be armed to die where a step ended early."""
ROWS_AT_KILL_SHARE: Final = 5_000
"""A kill at a failpoint counts where the lane has at least a 5,000th of all records in hand or before it."""
CODECS: Final = ("lz4", "lz4", "lz4", "snappy", "zstd", "gzip")
CODECS_OF_REPORTS: Final = ("zstd", "gzip")
"""Those that make so little of a block that half a megabyte of it is more than a step may hold."""
HITS: Final = 3
CONNECTOR_HITS: Final = 2
CHECK_WITHIN_S: Final = 120
CHECK_ROWS_PER_S: Final = 5_000
DRAINED_ROWS_PER_S: Final = 4_000
EXIT_FAILED, EXIT_INTEGRITY = 1, 5
MUST_BE_ZERO: Final = ("lost", "duplicated", "reordered", "unauthorised", "unmetered", "chain_breaks", "bill_difference_fen")


class Choice(NamedTuple):
    """What a seed chooses: the codec of the passages' producer, and another one of the reports'."""

    passages: str
    reports: str


def choice(seed: int) -> Choice:
    """Return what a seed chooses."""
    dice = random.Random(seed)
    first = dice.choice(CODECS)
    return Choice(first, dice.choice([codec for codec in CODECS_OF_REPORTS if codec != first]))


def datasets(records: int) -> tuple[Dataset, Dataset]:
    """Return who sends which of ``records`` rows: a connector and a producer the passages, another producer the reports."""
    by_connector = int(records * CONNECTOR_SHARE)
    behind = int(records * (1 - REPORTS_SHARE))
    return passages(range(by_connector), range(by_connector, behind)), reports(range(behind, records))


def points(records: int) -> tuple[str, ...]:
    """Return the failpoints of a step at which workers are to die."""
    blocks = int(records * REPORTS_SHARE) // REPORT_BLOCK_ROWS
    return tuple(point for point in LANE_POINTS if point != GIVEN_BACK or blocks >= REPORT_BLOCKS_MIN)


def aims(records: int) -> list[Aim]:
    """Return every failpoint of a step three times, and a worker that is stopped in an open transaction."""
    return [*(Aim(point) for point in points(records) for _ in range(HITS)), Aim("lane.produced", act="stop")]


INTERRUPTIONS: Final = (
    Interruption(3, "bare"),
    Interruption(6, "broker"),
    Interruption(8, "serve"),
    Interruption(10, "broker_in_transaction"),
    Interruption(14, "bare"),
)


def run_checker(manifest: Path, *, records: int = 0) -> dict[str, Any]:
    """Return the figures of the foreign checker, which runs as a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("checker.py")), str(manifest)]
    within_s = CHECK_WITHIN_S + records / CHECK_ROWS_PER_S
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=within_s)
    if not done.stdout.strip():
        raise Failure(f"the checker ended with {done.returncode} and no figures")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def loads(here: Stage, *, say: Story) -> tuple[ConnectorLoad, Loads]:
    """Start the connector and the producers; returns the connector, and all of them as one."""
    of_passages, of_reports = here.datasets
    codecs = choice(here.seed)
    connector = ConnectorLoad(here, dataset=of_passages, rows=of_passages.writers[0], hits=CONNECTOR_HITS, say=say)
    block, long_block = max(1, here.records // BLOCKS), min(REPORT_BLOCK_ROWS, 1 + len(of_reports.writers[0]) // 4)
    return connector, Loads(
        [
            connector,
            ProducerLoad(here, dataset=of_passages, rows=of_passages.writers[1], codec=codecs.passages, block_rows=block),
            TransactionLoad(here, dataset=of_reports, rows=of_reports.writers[0], codec=codecs.reports, block_rows=long_block),
        ]
    )


def perform(here: Stage) -> tuple[Play, ConnectorLoad, dict[str, Any]]:
    """Run the play on a stage; returns it, its connector, and the checker's figures with the ledger's beside."""
    say = Story()
    with Watch(bootstrap=here.broker.bootstrap, group=here.names.exchange_group, lanes=here.lanes) as watch:
        connector, load = loads(here, say=say)
        play = Play(
            stage=here,
            load=load,
            watch=watch,
            seed=here.seed,
            aims=aims(here.records),
            interruptions=INTERRUPTIONS,
            say=say,
            rows_at_kill_min=here.records // ROWS_AT_KILL_SHARE,
        )
        try:
            with play.noting(), Noise(here, codec=choice(here.seed).passages):
                play.run()
            with play.noting():
                play.finish(within_s=DONE_WITHIN_S + here.records / DRAINED_ROWS_PER_S)
        finally:
            play.close()
            load.close()
        _tell_stalls(play, watch)
    say("checking")
    figures = run_checker(here.manifest(), records=here.records)
    booked = here.bill_fen(figures["months"])
    say("checked; comparing the bill and the ledger")
    figures["bill_difference_fen"] = sum(abs(figures["bill_fen"][name] - booked.get(name, 0)) for name in figures["bill_fen"])
    code, _ = here.call("ledger", "check")
    if code != 0:
        play.failures.append(f"`cityhub ledger check` ended with {code}")
    return play, connector, figures


def _tell_stalls(play: Play, watch: Watch) -> None:
    longest = sorted(watch.stalls, key=lambda stall: -stall.seconds)[:6]
    play.say("longest stands of a lane: " + ", ".join(f"{stall.seconds:.1f} s at {stall.began_at:.0f} ({stall.lane})" for stall in longest))


def judge(here: Stage, play: Play, connector: ConnectorLoad, figures: dict[str, Any], *, kernel: str) -> tuple[dict[str, Any], int]:
    """Return the last line and the exit code."""
    for point in points(here.records):
        if play.hits[point] < HITS:
            play.failures.append(f"failpoint {point} was hit {play.hits[point]} times, not {HITS}")
    for point in CONNECTOR_POINTS:
        if connector.kills[point] < CONNECTOR_HITS:
            play.failures.append(f"failpoint {point} was hit {connector.kills[point]} times, not {CONNECTOR_HITS}")
    if figures["workers"] < 2:
        play.failures.append("only one worker ever committed")
    result = {
        "records": figures["records"],
        "kills_worker": play.counts["kills_worker"],
        "kills_broker": play.counts["kills_broker"],
        "kills_in_transaction": play.counts["kills_in_transaction"],
        **{name: figures[name] for name in MUST_BE_ZERO},
        "seed": here.seed,
        "kills_connector": connector.kills.total(),
        "kills_serve": play.counts["kills_serve"],
        "stops": play.counts["stops"],
        "delivered": sum(figures["delivered"].values()),
        "steps": figures["steps"],
        "exits": play.counts["exits"] + play.counts["exits_serve"] + connector.exits,
        "rows_at_kill_min": min(play.rows_at_kills, default=0),
        "rows_at_kill_median": round(statistics.median(play.rows_at_kills or [0])),
        "codecs": sorted({"none", *choice(here.seed)}),
        "kernel": kernel,
    }
    for failure in play.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if any(figures[name] for name in MUST_BE_ZERO):
        return result, EXIT_INTEGRITY
    return result, EXIT_FAILED if play.failures else 0


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS, help=f"rows to load (default {RECORDS})")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of a run")
    parser.add_argument("--kernel", choices=("native", "reference"), default="", help="the workers' kernel (default: theirs to choose)")
    parser.add_argument("--keep", type=Path, default=None, help="a new folder for broker and logs, which stays")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    interrupt_on_sigterm()
    try:
        with stage(seed=seed, datasets=datasets(chosen.records), kernel=chosen.kernel, keep=chosen.keep) as here:
            kernel = here.kernel()
            play, connector, figures = perform(here)
            result, code = judge(here, play, connector, figures, kernel=kernel)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return EXIT_FAILED
    print(json.dumps({**result, "seconds": round(time.monotonic() - began)}))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
