"""The contest: which lines are run, in rounds that are shuffled, every run checked before its figures count.

A line of ours that fails ends the contest without any number. A peer that fails has no number: the table says so.
"""

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import ours, peer_runs
from benchmarks.figures import OURS, Line, Run
from benchmarks.job import SEED, dataset, terms
from benchmarks.town import Failed, Ground
from hub.exchange import kernel

WARM_RUNS: Final = 3
WARM_N: Final = (20, 5)
WARM_RECORDS: Final = 1_000_000
REFERENCE_RECORDS_MAX: Final = 20_000
"""Without the native kernel everything is measured on so many records: the reference is there to be right."""


class Story:
    """Tells a person how it goes, on stderr."""

    def __init__(self) -> None:
        """Begin the time."""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def __call__(self, text: str) -> None:
        """Say one line."""
        sys.stderr.write(f"[{self.seconds:6.1f} s] {text}\n")
        sys.stderr.flush()


class Entry(NamedTuple):
    """One line of the contest: who does the job, for how many agreements, on how many records of which codec."""

    who: str
    n: int
    records: int
    codec: str = "none"
    exact: bool = True
    """Ours: with transactions. A peer tells it itself."""

    @property
    def line(self) -> Line:
        """Return the line of the table that it is."""
        return Line(self.who, self.n, self.codec, self.exact if self.who == OURS else peer_runs.PEERS[self.who].exact)

    def __str__(self) -> str:
        """Return how progress names it."""
        off = "" if self.exact or self.who != OURS else ", transactions off"
        return f"{self.who} N={self.n} {self.codec} {self.records:,} records{off}"


class Contest:
    """Topics, contenders and what came out so far."""

    def __init__(self, ground: Ground, *, say: Story, work: Path) -> None:
        """Nothing is loaded yet; ``work`` is where programs are built."""
        self.runs: list[Run] = []
        self.failures: dict[Line, str] = {}
        """Peers that have no number, and why."""
        self.go: Path | None = None
        self.go_version = ""
        self._ground, self._say, self._work = ground, say, work
        self._topics: dict[tuple[int, str], ours.Topic] = {}

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Load every topic once and build what has to be built."""
        if any(entry.who in {peer_runs.GO.name, peer_runs.GO_EOS.name} for entry in entries):
            self._say("building the Go loop")
            self.go, self.go_version = peer_runs.build_go(self._work)
            if self.go is None:
                self._say(f"no Go loop: {self.go_version}")
        for records, codec in dict.fromkeys((capped(entry.records), entry.codec) for entry in entries):
            self.topic(records, codec)

    def topic(self, records: int, codec: str) -> ours.Topic:
        """Return the topic of so many records, loaded once: the first hub of its dataset makes it."""
        if (records, codec) not in self._topics:
            self._say(f"loading {records:,} records, {codec}")
            name = dataset(codec, size=f"-{records // 1000}k")
            like = max((topic.source for topic in self._topics.values()), key=lambda source: source.records, default=None)
            self._topics[records, codec] = ours.make_topic(self._ground, name, records, codec=codec, like=like)
        return self._topics[records, codec]

    def warm(self, runs: int = WARM_RUNS) -> None:
        """Let the broker compile what it will run before anything counts: ours and the Go loop in turn, on a plain topic.

        A young broker spends half of its core on its compiler, and holds up whoever comes first.
        """
        plain = sorted(records for records, codec in self._topics if codec == "none")
        records = next((records for records in plain if records >= WARM_RECORDS), plain[-1])
        entries = [*(Entry(OURS, n, records) for n in WARM_N), Entry(peer_runs.GO.name, WARM_N[-1], records)]
        counted, failed = list(self.runs), dict(self.failures)
        for number in range(runs):
            for entry in filter(self._can_run, entries):
                self._say(f"warming the broker, {number + 1} of {runs}, not counted: {entry}")
                self._run(entry, number)
        self.runs, self.failures = counted, failed

    def rounds(self, entries: Sequence[Entry], *, rounds: int, within_s: float) -> int:
        """Run every entry once a round, shuffled, as many rounds as were asked for and fit into the time; returns how many."""
        there = [entry for entry in entries if self._can_run(entry)]
        took_s = 0.0
        for number in range(rounds):
            if number and self._say.seconds + took_s > within_s:
                self._say(f"{number} of {rounds} rounds: there is no time for another")
                return number
            began = time.monotonic()
            for place, entry in enumerate(shuffled(there, number), start=1):
                self._say(f"round {number + 1} of {rounds}, {place} of {len(there)}: {entry}")
                self._run(entry, number)
            took_s = time.monotonic() - began
        return rounds

    def _run(self, entry: Entry, number: int) -> None:
        topic, agreements = self.topic(capped(entry.records), entry.codec), terms(entry.n)
        if entry.who == OURS:
            command = ours.WORKER if entry.exact else ours.PLAIN_WORKER
            found = ours.run(self._ground, topic, agreements, round_number=number, exact=entry.exact, command=command)
        else:
            try:
                peer = peer_runs.PEERS[entry.who]
                found = peer_runs.run(self._ground, peer, topic, agreements, round_number=number, program=self.go)
            except Failed as failure:
                self.failures[entry.line] = str(failure).partition("\n")[0]
                self._say(f"no number: {failure}")
                return
        self.runs.append(found)
        disturbed = f", disturbed (others {found.other_cores:.1f} cores, stolen {found.steal_cores:.2f})" if found.disturbed else ""
        loop = "" if found.loop_s is None else f" ({1e6 * found.loop_s / found.deliveries:.3f} on the event loop)"
        cost = f"{found.cpu_us_per_delivery:.3f} µs of CPU a delivery{loop}"
        self._say(f"  checked {found.checked:,}; {found.records_per_s:,.0f} records/s, {cost}{disturbed}")

    def _can_run(self, entry: Entry) -> bool:
        return self.go is not None or entry.who not in {peer_runs.GO.name, peer_runs.GO_EOS.name}


def capped(records: int) -> int:
    """Return how many records a run has with the kernel that there is."""
    return min(records, REFERENCE_RECORDS_MAX) if kernel.name() == "reference" else records


def shuffled(entries: Sequence[Entry], number: int) -> list[Entry]:
    """Return the entries of a round in an order of its own.

    What differs by transactions alone stands side by side, either first in turn: they are told apart by a few percent, and a machine's
    speed wanders by more within minutes.
    """
    found = list(entries)
    random.Random(SEED + number).shuffle(found)
    for plain in [entry for entry in found if not entry.exact and entry._replace(exact=True) in found]:
        found.remove(plain)
        found.insert(found.index(plain._replace(exact=True)) + number % 2, plain)
    return found
