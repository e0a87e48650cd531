"""`make revocation`: suspensions under full load are answered fast, and nothing is delivered behind an answer.

100 rounds: suspend one of twelve agreements, wait, resume. A flood keeps every lane of two workers busy from the first round to the
last: the run fails if a lane ever had nothing before it. In ten rounds a worker is stopped (SIGSTOP) before the call and goes on
(SIGCONT) after the answer. A foreign client then reads the share topics: between the answered end offset and the resumption nothing
may stand, nothing delivered before the answer may come from a source offset at or behind the answered one, and two other agreements
have everything, once and in order. Then the same beside loads (`pressure.py`): readers, compatibility checks and silent connections while
the flood goes on; with it ended a schema registered under thousands of agreements, and as many fresh share topics. The last line is
JSON, with ``loads`` by name. Exit 5 when something was delivered behind an answer, or not as it should
be, 1 when the rounds were not what they should be.

Controls (`--control no-fence | early-answer`): a serve with that one thing broken; the run must see deliveries behind answers.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from city import PARTITIONS, City, city
from crew import interrupt_on_sigterm
from pressure import VERSIONS, wide_schema
from shares import Found, Window, read_shares
from watch import Watch

from hub.broker.batches import build_batches
from hub.broker.fencing import LaneGate
from hub.model.framing import frame_header
from hub.model.names import TopicPartition

WATCHED: Final = "watched"
WATCHED_FIELDS: Final = "[flight, origin]"
OTHERS: Final = {"other-one": "[flight, {name: tailnum, pseudonym: {}}, origin]", "other-two": "[flight, {name: tailnum, mask: {}}, dest]"}
LOADING: Final = {f"load-{number}": "[flight, carrier, {name: tailnum, pseudonym: {}}, origin, dest, distance]" for number in range(9)}
"""Agreements that are there to be worked for: with them a lane is busy with fewer records, of which each has to be read back."""
AHEAD: Final = {"native": 1_000_000, "reference": 65_536}
"""Records that lie before each lane when the workers start, and are kept before it."""
WARM_S: Final = 3.0
"""For so long every lane must have had records before it when the rounds begin."""
QUIET_S: Final = 0.35
"""How long after an answer a delivery behind it would be seen."""
DRAIN_WITHIN_S: Final = 180.0
FLOOD_ENDS_WITHIN_S: Final = 20.0
P99_S: Final = 1.0
MAX_S: Final = 5.0
BROKEN_SERVE: Final = Path(__file__).with_name("broken_serve.py")
FLOOD: Final = Path(__file__).with_name("flood.py")
PRESSURE: Final = Path(__file__).with_name("pressure.py")
WIDE: Final = "pressure/wide"
"""A dataset whose schema has hundreds of fields and many versions."""
PLAIN: Final = "pressure/plain"
"""A dataset of one partition with thousands of agreements."""
PLAIN_FIELDS: Final = "[field_0, field_1]"
PRESS_WARM_S: Final = 2.0


class Answer(NamedTuple):
    """One suspension: what was answered, and where the share topic ended when the right was given back."""

    seconds: float
    in_transaction: bool
    stopped: bool
    source_offsets: dict[int, int]
    share_ends: dict[int, int]
    resumed_ends: dict[int, int]


class Loaded(NamedTuple):
    """The load of the rounds: fewest records before a lane at any moment, and records decided a second."""

    lag_min: int
    records_per_s: int


def main() -> int:
    """Run the rounds and the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--stopped", type=int, default=10, help="rounds with a stopped worker")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kernel", choices=("native", "reference"), default="", help="the workers' kernel (default: theirs to choose)")
    parser.add_argument("--load-rounds", type=int, default=30, help="rounds beside each load; 0: none of them")
    parser.add_argument("--load-agreements", type=int, default=5_000, help="agreements on one dataset, each with a fresh share topic")
    parser.add_argument("--control", choices=("no-fence", "early-answer"))
    arguments = parser.parse_args()
    interrupt_on_sigterm()
    serve = (str(BROKEN_SERVE), arguments.control) if arguments.control else ("-m", "hub.cli", "serve", "--init")
    with city(serve=serve, kernel=arguments.kernel) as built:
        kernel = built.kernel()
        say(f"seed {arguments.seed}, kernel {kernel}")
        answers, beside, loaded = play(built, arguments, ahead=AHEAD[kernel])
        say(f"{sum(built.admin.end_offsets(built.lanes).values())} records; reading the share topics")
        watched, spoiled = read_back(built, [*answers, *(answer for found in beside.values() for answer in found)])
        loads = {name: latencies([answer.seconds for answer in found]) for name, found in beside.items()}
        if not arguments.control and arguments.load_rounds:
            loads |= many_agreements(built, arguments)
    found = summary(answers, watched) | loaded._asdict() | {"kernel": kernel, "loads": loads}
    print(json.dumps(found), flush=True)
    if arguments.control:
        caught = found["delivered_after"] > 0
        say(f"control {arguments.control}: {'caught' if caught else 'NOT CAUGHT'}")
        return 0 if caught else 1
    if found["delivered_after"] or spoiled:
        say(f"{found['delivered_after']} delivered behind an answer, {spoiled} partitions of the others lost, doubled or reordered some")
        return 5
    wanted = found["rounds"] == arguments.rounds and found["in_transaction"] >= arguments.rounds // 2 and loaded.lag_min > 0
    late = [name for name, times in {"no load": found, **loads}.items() if times["p99_s"] > P99_S or times["max_s"] > MAX_S]
    if late:
        say(f"too late beside: {', '.join(late)}")
    return 0 if wanted and not late else 1


def play(built: City, arguments: argparse.Namespace, *, ahead: int) -> tuple[list[Answer], dict[str, list[Answer]], Loaded]:
    """Run every round under load, and those beside each other load; returns when the lanes have decided all of it."""
    built.sign(WATCHED, fields=WATCHED_FIELDS)
    for agreement, fields in {**OTHERS, **LOADING}.items():
        built.sign(agreement, fields=fields)
    group = built.names.exchange_group
    topic = built.lanes[0].topic
    flood = built.start((str(FLOOD), built.broker.bootstrap, topic, group, str(built.schema_id()), str(ahead)))
    _wait_for(built, lambda: min(built.admin.end_offsets(built.lanes).values()) >= ahead, what="the flood does not come")
    workers = [built.start(("-m", "hub.cli", "worker")) for _ in range(2)]
    chance = random.Random(arguments.seed)
    stopped = set(chance.sample(range(arguments.rounds), arguments.stopped))
    answers = []
    with Watch(bootstrap=built.broker.bootstrap, group=group, lanes=built.lanes) as watch:
        _wait_for(built, lambda: _is_saturated(watch, ahead=ahead), what="the lanes were never busy")
        began, begun_at = time.monotonic(), sum(watch.committed.values())
        for number in range(arguments.rounds):
            answers.append(one_round(built, workers, stop=number in stopped, chance=chance))
            last = answers[-1]
            told = f"{last.seconds * 1000:.0f} ms{' open' * last.in_transaction}{' stopped' * last.stopped}"
            say(f"round {number + 1}/{arguments.rounds}: {told}, lag at least {watch.lag_min}")
        rate = (sum(watch.committed.values()) - begun_at) / (time.monotonic() - began)
        loaded = Loaded(watch.lag_min or 0, round(rate))
        beside = (
            {} if arguments.control or not arguments.load_rounds else press(built, workers, chance=chance, rounds=arguments.load_rounds)
        )
    ended = [process.pid for process in (flood, *workers) if process.poll() is not None]
    if ended:
        raise RuntimeError(f"processes {ended} ended by themselves\n{built.tails()}")
    flood.send_signal(signal.SIGTERM)
    flood.wait(timeout=FLOOD_ENDS_WITHIN_S)
    _wait_for(built, lambda: not built.lag(), what="the lanes did not reach the end")
    return answers, beside, loaded


def press(built: City, workers: list[subprocess.Popen[bytes]], *, chance: random.Random, rounds: int) -> dict[str, list[Answer]]:
    """Run rounds beside each load that serve can be under while every lane is busy."""
    built.publish(WIDE, schema=wide_schema("Wide", version=0))
    subject = built.names.dept_subject(WIDE)
    for version in range(1, VERSIONS):
        built.post(f"/subjects/{subject}/versions", {"schema": wide_schema("Wide", version=version)})
    url = str(built.client.base_url)
    host, port = built.client.base_url.host, str(built.client.base_url.port)
    loads = {"readers": ("readers", url), "compatibility": ("compatibility", url, subject), "silent_connections": ("silent", host, port)}
    found = {}
    for name, words in loads.items():
        with pressed(built, *words):
            found[name] = [one_round(built, workers, stop=False, chance=chance) for _ in range(rounds)]
        say(f"beside {name}: {latencies([answer.seconds for answer in found[name]])}")
    return found


def many_agreements(built: City, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Suspend where thousands of agreements are: as their share topics are first written to, and as their schema is registered anew."""
    built.publish(PLAIN, schema=wide_schema("Plain", version=0, fields=4))
    for number in range(arguments.load_agreements):
        built.sign(f"plain-{number}", fields=PLAIN_FIELDS, dataset=PLAIN)
        if number % 500 == 0:
            say(f"{number} of {arguments.load_agreements} agreements signed")
    topic, subject = built.names.dept(PLAIN), built.names.dept_subject(PLAIN)
    value = frame_header(built.schema_id(PLAIN)) + b"\x02a" * 4
    gate = LaneGate(built.broker.bootstrap, timeout_ms=10_000)

    def one_record() -> None:
        (batch,) = build_batches([(None, value)], bytes_max=1 << 16, timestamp_ms=int(time.time() * 1000))
        gate.append(topic, 0, batch.data)

    try:
        found = {"fresh_share_topics": suspensions(built, "plain-0", arguments.load_rounds, before=one_record)}
        with pressed(built, "registration", str(built.client.base_url), subject):
            found["registration"] = suspensions(built, "plain-1", arguments.load_rounds, before=one_record)
    finally:
        gate.close()
    return {name: latencies(times) for name, times in found.items()}


def suspensions(built: City, agreement: str, rounds: int, *, before: Callable[[], None]) -> list[float]:
    """Suspend and resume, each time right behind a record that goes to everybody; returns how long each answer took."""
    found = []
    for _ in range(rounds):
        before()
        began = time.monotonic()
        built.post(f"/v1/agreements/{agreement}/suspend")
        found.append(time.monotonic() - began)
        built.post(f"/v1/agreements/{agreement}/resume")
    say(f"{agreement}: {[round(seconds, 3) for seconds in found]}")
    return found


@contextlib.contextmanager
def pressed(built: City, *words: str) -> Iterator[None]:
    """Press serve inside the block; what the load came to is told."""
    process = built.start((str(PRESSURE), *words))
    time.sleep(PRESS_WARM_S)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the load {words[0]} ended by itself\n{built.tails()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=90)
    say(f"{words[0]} came to {built.last_line(process)}")


def one_round(built: City, workers: list[subprocess.Popen[bytes]], *, stop: bool, chance: random.Random) -> Answer:
    """Suspend, wait, resume."""
    lanes = {built.names.transactional_id(lane) for lane in built.lanes}
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
    time.sleep(QUIET_S)
    ends = built.admin.end_offsets([TopicPartition(built.share_topic(WATCHED), number) for number in range(PARTITIONS)])
    built.post(f"/v1/agreements/{WATCHED}/resume")
    time.sleep(chance.uniform(0.3, 0.7))
    rows: list[dict[str, Any]] = answered["partitions"]
    return Answer(
        seconds,
        bool(ongoing),
        stop,
        {row["partition"]: row["source_offset"] for row in rows},
        {row["partition"]: row["share_end_offset"] for row in rows},
        {lane.partition: end for lane, end in ends.items()},
    )


def read_back(built: City, answers: Sequence[Answer]) -> tuple[list[Found], int]:
    """Return what stands in the watched share topic, and how many partitions of the others are not the whole source."""
    windows = {
        number: [Window(answer.share_ends[number], answer.resumed_ends[number], answer.source_offsets[number]) for answer in answers]
        for number in range(PARTITIONS)
    }
    watched = {(built.share_topic(WATCHED), number): found for number, found in windows.items()}
    others: dict[tuple[str, int], list[Window]] = {(built.share_topic(name), number): [] for name in OTHERS for number in range(PARTITIONS)}
    found = read_shares(built.broker.bootstrap, watched | others)
    ends = {lane.partition: end for lane, end in built.admin.end_offsets(built.lanes).items()}
    spoiled = sum(not found[place].whole or found[place].records != ends[place[1]] for place in others)
    return [found[place] for place in watched], spoiled


def summary(answers: Sequence[Answer], watched: Sequence[Found]) -> dict[str, Any]:
    """Return the last line: latencies, and what a foreign client found behind an answer."""
    times = sorted(answer.seconds for answer in answers)
    return {
        "rounds": len(answers),
        "in_transaction": sum(answer.in_transaction for answer in answers),
        "stopped_worker": sum(answer.stopped for answer in answers),
        "p50_s": round(times[len(times) // 2], 4),
        **latencies(times),
        "delivered": sum(found.records for found in watched),
        "delivered_after": sum(found.contradicting for found in watched),
    }


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 99th percentile and the longest; of fewer than a hundred both are the longest."""
    times = sorted(seconds)
    return {"p99_s": round(times[min(len(times) - 1, int(len(times) * 0.99))], 4), "max_s": round(times[-1], 4)}


def _is_saturated(watch: Watch, *, ahead: int) -> bool:
    """Tell, after a while, whether every lane has moved and had a good many records before it all the while."""
    watch.lag_min = None
    time.sleep(WARM_S)
    return len(watch.committed) == PARTITIONS and min(watch.committed.values()) > 0 and (watch.lag_min or 0) >= ahead // 2


def _wait_for(built: City, condition: Any, *, what: str) -> None:
    deadline = time.monotonic() + DRAIN_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}\n{built.tails()}")
        time.sleep(0.2)


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
