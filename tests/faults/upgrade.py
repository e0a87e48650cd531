"""Bring a hub with history, under load, from another commit's code to this checkout's, by the words of README: ``make upgrade``.

    python tests/faults/upgrade.py --base COMMIT [--order workers-first|serve-first] [--records N] [--control double|drop|bill]

A hub of the base (serve, two workers, the file connector and two producers; agreements of every form, one with two versions and
tariffs, suspended ones, an ended one; records in quarantine) is replaced part by part while records come: workers, serve, connector,
or serve first. The newer serve is killed in its first starts. Rights are taken away before, between and after. Then ``checker.py``, which
knows none of the hub's code, reckons from the source topics what must have come of it, and bills, acts and the ledger are compared with
those that the base's own code showed. ``--control`` breaks one thing after the play, which must be found: such a run exits 5.
The last line is one JSON object. Exits 5 when a figure that must be 0 is not, 1 when the run did not prove what it is there to prove.
"""

import argparse
import dataclasses
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from chain import SHANGHAI  # noqa: E402 - the path is set first: this is a program
from checkouts import Tree, checkout, named  # noqa: E402
from crew import Failure, Post, Story, interrupt_on_sigterm  # noqa: E402
from faults import EXIT_FAILED, EXIT_INTEGRITY, MUST_BE_ZERO, run_checker  # noqa: E402
from load import ProducerLoad  # noqa: E402
from stage import COMMAND, FORMS, PARTITIONS, Dataset, Stage, Terms, passages, reports, stage  # noqa: E402
from upgrade_books import CONTROLS, acts, backup, bills, unproven, wait_posted  # noqa: E402
from upgrade_play import PHASE_S, TICK_S, UpgradePlay  # noqa: E402
from watch import Watch  # noqa: E402

from hub.model.names import TopicPartition  # noqa: E402

RECORDS: Final = 120_000
CONNECTOR_SHARE, REPORTS_SHARE, LATER_SHARE = 0.35, 0.15, 0.1
DRAINED_WITHIN_S: Final = 300.0
FULL, REDUCED = ("per-record@1", 300_000), ("per-record-reduced@1", 100_000)
ORDERS: Final = ("workers-first", "serve-first")
CHANGED: Final = Terms("changed", "changed-office", *REDUCED, "service_contract", ("number", "note"))
CHANGED_TO: Final = Terms(
    "changed", "changed-office", *FULL, "service_contract", ("number", "note"), version=2, earlier_prices={"1": REDUCED[1]}
)
ENDED: Final = Terms("brief", "brief-office", *FULL, "service_contract", ("number", "plate", "district"))
WITHDRAWN: Final = tuple(
    Terms(f"until-{name}", f"until-{name}-office", *FULL, "service_contract", fields)
    for name, fields in {"base": ("number", "note"), "between": FORMS, "new": FORMS}.items()
)


def datasets(records: int) -> tuple[Dataset, Dataset, Dataset]:
    """Return what is published by the base (passages and reports) and what by the newer serve alone."""
    by_connector = int(records * CONNECTOR_SHARE)
    later = int(records * LATER_SHARE)
    behind = int(records * (1 - REPORTS_SHARE)) - later
    first = passages(range(by_connector), range(by_connector, behind))
    last = range(records - later, records)
    after = Terms("after", "after-office", *FULL, "service_contract", FORMS)
    return (
        Dataset(first.name, first.title, first.rows, first.writers, (*first.agreements, CHANGED, ENDED, *WITHDRAWN)),
        reports(range(behind, records - later)),
        Dataset("transport/later", "新增数据", "Passage", (last,), (after,)),
    )


class Books:
    """What stood in the books before, by the base's own code."""

    def __init__(self, here: Stage, *, say: Story) -> None:
        """Read the bills of everybody, and by this checkout's code from a copy of the state folder; nothing may come meanwhile."""
        self._here, self.failures = here, list[str]()
        self._month = datetime.now(SHANGHAI).strftime("%Y-%m")
        consumers = [CHANGED.consumer, ENDED.consumer, WITHDRAWN[0].consumer, "forms-office"]
        wait_posted(here, consumers[0], self._month)
        self._bills = bills(here, consumers, [self._month])
        self._acts = acts(here)
        if here.call("ledger", "check")[0] != 0:
            self.failures.append("`cityhub ledger check` of the base found something before the upgrade")
        self.copy = backup(here, "backup")
        copy, own = backup(here, "shown"), here.python  # the newer code looks at no store that is behind
        here.python = sys.executable
        if here.call("db", "upgrade", CITYHUB_STATE=str(copy))[0] != 0:
            raise Failure("`cityhub db upgrade` of a copy of the base's state failed")
        shown = bills(here, consumers, [self._month], state=copy)
        here.python = own
        self.differ = sum(shown[name] != self._bills[name] for name in shown)
        say(f"{len(self._bills)} bills and {len(self._acts)} acts are noted; {self.differ} bills differ by the newer code")

    def restore(self, base: Tree) -> str:
        """Bring the base's serve back on the copied state folder, as README says; returns what came of it."""
        here, environment = self._here, {"CITYHUB_STATE": str(self.copy)}
        here.serve.end()
        command = (*COMMAND, "serve", "--adopt-plan")
        serve = Post("restored", folder=here.folder, environment={**here.environment, **environment}, command=command, python=base.python)
        serve.start()
        here.python = base.python
        try:
            deadline = time.monotonic() + DRAINED_WITHIN_S
            while not here.is_ready():
                if (code := serve.ended_by_itself()) is not None or time.monotonic() > deadline:
                    return f"the older serve is not ready on the restored state (exit {code})"
                time.sleep(TICK_S)
            wait_posted(here, ENDED.consumer, self._month, **environment)
            code = here.call("ledger", "check", **environment)[0]
            return "works" if code == 0 else f"`cityhub ledger check` ended with {code}"
        finally:
            here.python = sys.executable
            serve.end()

    def compare(self) -> dict[str, int]:
        """Return how many bills and acts of the history are no longer what they were."""
        name = f"{ENDED.consumer} {self._month}"
        now = bills(self._here, [ENDED.consumer], [self._month])
        kept = acts(self._here)[: len(self._acts)]
        changed = sum(before != {key: row.get(key) for key in before} for before, row in zip(self._acts, kept, strict=False))
        return {
            "bills": len(self._bills),
            "bills_differ": self.differ + (now[name] != self._bills[name]),
            "acts": len(self._acts),
            "acts_differ": changed + len(self._acts) - len(kept),
        }


def history(play: UpgradePlay) -> Books:
    """Let the base work: deliveries, a new version with another tariff, a right that was suspended and one that ended; all is booked."""
    here = play.here
    play.go_on()
    first, *others = here.datasets
    here.apply(CHANGED_TO, first)
    here.post(f"/v1/agreements/{CHANGED.id}/sign")
    agreements = tuple(CHANGED_TO if terms == CHANGED else terms for terms in first.agreements)
    here.datasets = (dataclasses.replace(first, agreements=agreements), *others)
    play.go_on()
    play.withdraw("until-base")
    play.withdraw(ENDED.id, "end")
    play.go_on()
    play.drained()
    return Books(here, say=play.say)


def publish_later(play: UpgradePlay, later: Dataset) -> None:
    """Publish and sign by the newer serve, and let records come."""
    here = play.here
    here.publish(later)
    here.datasets = (*here.datasets, later)
    play.watch.add([TopicPartition(here.topic(later), number) for number in range(PARTITIONS)])
    play.parts.append(ProducerLoad(here, dataset=later, rows=later.writers[0], codec="lz4"))


def upgrade(play: UpgradePlay, order: str, later: Dataset) -> None:
    """Replace everything under load, in one of the two orders."""
    if order == "workers-first":
        play.replace_workers()
        play.withdraw("until-between")
        play.replace_serve()
        play.go_on()
        publish_later(play, later)
    else:
        play.replace_serve()
        play.go_on()
        publish_later(play, later)
        play.withdraw("until-between")
        play.go_on(2 * PHASE_S)
        play.told["older_workers_under_newer_serve"] = play.stopped()
        play.replace_workers()
    play.go_on()
    play.replace_connector()
    play.withdraw("until-new")
    play.go_on()


def perform(here: Stage, *, base: Tree, order: str, later: Dataset, control: str) -> tuple[UpgradePlay, dict[str, Any]]:
    """Run it all on a stage of the base; returns the play, and the figures."""
    say = Story()
    with Watch(bootstrap=here.broker.bootstrap, group=here.names.exchange_group, lanes=here.lanes) as watch:
        play = UpgradePlay(here, base=base, watch=watch, say=say)
        try:
            play.begin()
            books = history(play)
            began = time.monotonic() - watch.began
            upgrade(play, order, later)
            say("sending the rest of the load")
            play.finish_load(within_s=DRAINED_WITHIN_S)
            doctor = here.call("doctor")
            play.end_workers()
            play.go_back()
        finally:
            play.close()
        stood = stood_still(watch, since=began, names={here.topic(dataset): dataset.name for dataset in here.datasets})
    if control:
        say(f"control: {control}")
        CONTROLS[control](here, ENDED)
    say("checking")
    figures = run_checker(here.manifest(), records=here.records)
    booked = here.bill_fen(figures["months"])
    figures["bill_difference_fen"] = sum(abs(figures["bill_fen"][name] - booked.get(name, 0)) for name in figures["bill_fen"])
    compared = books.compare()
    figures |= {
        **compared,
        "ledger_check": here.call("ledger", "check")[0],
        "acts_verify": here.call("acts", "verify")[0],
        "doctor": {name: check["status"] for name, check in doctor[1]["checks"].items() if check["status"] != "ok"},
        "stood_still_s": stood,
        "unproven": unproven(here),
    }
    play.failures += books.failures
    play.failures += [f"doctor says of {name}: {status}" for name, status in figures["doctor"].items() if status in {"failed", "down"}]
    if not control:
        play.told["restored"] = books.restore(base)
        say(f"the older hub on the restored state: {play.told['restored']}")
        if play.told["restored"] != "works":
            play.failures.append(play.told["restored"])
    return play, figures


def stood_still(watch: Watch, *, since: float, names: dict[str, str]) -> dict[str, float]:
    """Return for each dataset the longest time in which one of its lanes had records before it and did not move."""
    longest: dict[str, float] = defaultdict(float)
    for stall in watch.stalls:
        name = names[stall.lane.topic]
        if stall.began_at + stall.seconds > since:
            longest[name] = max(longest[name], round(stall.seconds, 1))
    return dict(longest)


def judge(play: UpgradePlay, figures: dict[str, Any], *, order: str, control: str) -> tuple[dict[str, Any], int]:
    """Return the last line and the exit code."""
    wrong = {name: figures[name] for name in (*MUST_BE_ZERO, "bills_differ", "acts_differ", "ledger_check", "acts_verify")}
    for failure in play.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    result = {
        "order": order,
        "control": control,
        "records": figures["records"],
        "delivered": sum(figures["delivered"].values()),
        "quarantined": figures["quarantined"],
        **wrong,
        **{name: figures[name] for name in ("steps", "workers", "bills", "acts", "doctor", "stood_still_s")},
        "plan_entries_unproven_at_end": figures["unproven"],
        "withdrawn_s": play.withdrawn_s,
        **dict(play.counts),
        **play.told,
    }
    if any(wrong.values()):
        return result, EXIT_INTEGRITY
    return result, EXIT_FAILED if play.failures else 0


def run(order: str, base: Tree, chosen: argparse.Namespace, *, seed: int) -> int:
    """Run one order; prints its line and returns its exit code."""
    began = time.monotonic()
    *first, later = datasets(chosen.records)
    keep = chosen.keep / order if chosen.keep else None
    with stage(seed=seed, datasets=first, kernel=chosen.kernel, keep=keep, python=base.python) as here:
        kernel = here.kernel()
        play, figures = perform(here, base=base, order=order, later=later, control=chosen.control)
        result, code = judge(play, figures, order=order, control=chosen.control)
    print(json.dumps({**result, "kernel": kernel, "seed": seed, "seconds": round(time.monotonic() - began), "exit": code}), flush=True)
    return code


def main() -> int:
    """Run the orders one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the commit whose hub is upgraded, as a21bbb0")
    parser.add_argument("--order", choices=ORDERS, help="only this order (default: both)")
    parser.add_argument("--control", choices=sorted(CONTROLS), default="", help="break one thing after the play: the run must exit 5")
    parser.add_argument("--records", type=int, default=RECORDS, help=f"rows to load (default {RECORDS})")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of a run")
    parser.add_argument("--kernel", choices=("native", "reference"), default="", help="the workers' kernel (default: theirs to choose)")
    parser.add_argument("--keep", type=Path, default=None, help="a new folder for broker and logs, which stays")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    interrupt_on_sigterm()
    try:
        base = checkout(named(chosen.base), say=Story())
        return max(run(order, base, chosen, seed=seed) for order in ([chosen.order] if chosen.order else ORDERS))
    except subprocess.CalledProcessError as error:
        print(f"FAILED: `{' '.join(map(str, error.cmd))}` ended with {error.returncode}", file=sys.stderr)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
    return EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
