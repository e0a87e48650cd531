"""`make revocation`: suspensions under load are answered fast, and nothing is delivered behind an answer.

100 rounds: suspend one of three agreements on a dataset under load, wait, resume. Two workers hold their transactions open
for a while at a failpoint, so that most suspensions meet one; in ten rounds a worker is stopped (SIGSTOP) before the call
and goes on (SIGCONT) after the answer. A foreign client then reads the share topic: between the answered end offset and the
resumption nothing may stand, and nothing delivered before the answer may come from a source offset at or behind the answered
one. The last line is JSON. Exit 5 when something was delivered behind an answer, 1 when the rounds were not what they should be.

Controls (`--control no-fence | early-answer`): a serve with that one thing broken; the run must see deliveries behind answers.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from city import DATASET, PARTITIONS, City, Load, city, read_numbers

from hub.model.names import TopicPartition

WATCHED: Final = "watched"
OTHERS: Final = ("other-one", "other-two")
HOLD_S: Final = 0.25
P99_S: Final = 1.0
MAX_S: Final = 5.0
BROKEN_SERVE: Final = Path(__file__).with_name("broken_serve.py")


class Answer(NamedTuple):
    """One suspension: what was answered, and where the share topic ended when the right was given back."""

    seconds: float
    in_transaction: bool
    stopped: bool
    source_offsets: dict[int, int]
    share_ends: dict[int, int]
    resumed_ends: dict[int, int]


def main() -> int:
    """Run the rounds and the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--stopped", type=int, default=10, help="rounds with a stopped worker")
    parser.add_argument("--rate", type=int, default=2000, help="records a second over all partitions")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--control", choices=("no-fence", "early-answer"))
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    serve = (str(BROKEN_SERVE), arguments.control) if arguments.control else ("-m", "hub.cli", "serve", "--init")
    with city(serve=serve) as built:
        answers, others = play(built, arguments)
        watched = read_numbers(built, built.share_topic(WATCHED))
        spoiled = sum(_spoiled(numbers, built) for numbers in others)
    found = summary(answers, watched)
    print(json.dumps(found), flush=True)
    if arguments.control:
        caught = found["delivered_after"] > 0
        say(f"control {arguments.control}: {'caught' if caught else 'NOT CAUGHT'}")
        return 0 if caught else 1
    if found["delivered_after"] or spoiled:
        say(f"{found['delivered_after']} delivered behind an answer, {spoiled} lost, doubled or reordered for the others")
        return 5
    wanted = found["rounds"] == arguments.rounds and found["in_transaction"] >= arguments.rounds // 2
    return 0 if wanted and found["p99_s"] <= P99_S and found["max_s"] <= MAX_S else 1


def play(built: City, arguments: argparse.Namespace) -> tuple[list[Answer], list[dict[int, list[tuple[int, int]]]]]:
    """Run every round under load; returns the answers and what the other agreements received."""
    for agreement in (WATCHED, *OTHERS):
        built.sign(agreement)
    workers = [built.start(("-m", "hub.cli", "worker"), CITYHUB_FAILPOINT=f"lane.produced@*=sleep:{HOLD_S}") for _ in range(2)]
    load = Load(built, per_second=arguments.rate)
    load.start()
    time.sleep(8)
    chance = random.Random(arguments.seed)
    stopped = set(chance.sample(range(arguments.rounds), arguments.stopped))
    answers = []
    for number in range(arguments.rounds):
        answers.append(one_round(built, workers, stop=number in stopped, chance=chance))
        last = answers[-1]
        say(
            f"round {number + 1}/{arguments.rounds}: {last.seconds * 1000:.0f} ms{' open' * last.in_transaction}{' stopped' * last.stopped}"
        )
    load.halt.set()
    load.join()
    _drain(built)
    return answers, [read_numbers(built, built.share_topic(agreement)) for agreement in OTHERS]


def one_round(built: City, workers: list[subprocess.Popen[bytes]], *, stop: bool, chance: random.Random) -> Answer:
    """Suspend, wait, resume."""
    lanes = {built.names.transactional_id(TopicPartition(built.names.dept(DATASET), number)) for number in range(PARTITIONS)}
    deadline = time.monotonic() + 2
    while not (ongoing := lanes & {row.transactional_id for row in built.admin.open_transactions() if row.state == "Ongoing"}):
        if time.monotonic() > deadline:
            break
    victim = chance.choice(workers)
    if stop:
        os.kill(victim.pid, signal.SIGSTOP)
    began = time.monotonic()
    answered = built.post(f"/v1/agreements/{WATCHED}/suspend")
    seconds = time.monotonic() - began
    if stop:
        time.sleep(0.3)
        os.kill(victim.pid, signal.SIGCONT)
    time.sleep(HOLD_S + 0.35)
    ends = built.admin.end_offsets([TopicPartition(built.share_topic(WATCHED), number) for number in range(PARTITIONS)])
    built.post(f"/v1/agreements/{WATCHED}/resume")
    time.sleep(chance.uniform(0.4, 0.8))
    rows: list[dict[str, Any]] = answered["partitions"]
    return Answer(
        seconds,
        bool(ongoing),
        stop,
        {row["partition"]: row["source_offset"] for row in rows},
        {row["partition"]: row["share_end_offset"] for row in rows},
        {lane.partition: end for lane, end in ends.items()},
    )


def summary(answers: list[Answer], watched: dict[int, list[tuple[int, int]]]) -> dict[str, Any]:
    """Return the last line: latencies, and what a foreign client found behind an answer."""
    times = sorted(answer.seconds for answer in answers)
    after = sum(delivered_after(answer, watched) for answer in answers)
    return {
        "rounds": len(answers),
        "in_transaction": sum(answer.in_transaction for answer in answers),
        "stopped_worker": sum(answer.stopped for answer in answers),
        "p50_s": round(times[len(times) // 2], 4),
        "p99_s": round(times[min(len(times) - 1, int(len(times) * 0.99))], 4),
        "max_s": round(times[-1], 4),
        "delivered": sum(map(len, watched.values())),
        "delivered_after": after,
    }


def delivered_after(answer: Answer, watched: dict[int, list[tuple[int, int]]]) -> int:
    """Return records that contradict an answer."""
    found = 0
    for partition, rows in watched.items():
        ended, resumed, source = answer.share_ends[partition], answer.resumed_ends[partition], answer.source_offsets[partition]
        found += sum(1 for offset, _ in rows if ended <= offset < resumed)
        found += sum(1 for offset, number in rows if offset < ended and number >= source)
    return found


def _spoiled(numbers: dict[int, list[tuple[int, int]]], built: City) -> int:
    """Return how many source offsets the others did not get exactly once and in order."""
    lanes = [TopicPartition(built.names.dept(DATASET), number) for number in range(PARTITIONS)]
    ends = built.admin.end_offsets(lanes)
    return sum(
        len(rows) != ends[lane] or any(number != at for at, (_, number) in enumerate(rows))
        for lane in lanes
        for rows in [numbers[lane.partition]]
    )


def _drain(built: City) -> None:
    deadline = time.monotonic() + 90
    while built.lag():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the lanes did not reach the end\n{built.tails()}")
        time.sleep(0.2)


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
