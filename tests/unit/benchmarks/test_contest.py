"""Which line of the table an entry is, and under which conditions the figures were found."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks import machine
from benchmarks.contest import Entry, Story, shuffled
from benchmarks.figures import OURS, Line
from benchmarks.peer_runs import PEERS
from benchmarks.standard import conditions, standard_entries

CORES = machine.Cores(frozenset({0}), frozenset({1}))


def test_a_peer_tells_itself_whether_it_is_exact() -> None:
    """A run that counts and one that failed must be one line: else the table shows a contender twice, or never."""
    assert {name for name in PEERS if Entry(name, 5, 100).line.exact} == {"go-eos"}
    assert Entry("go-eos", 5, 100, "lz4").line == Line("go-eos", 5, "lz4", exact=True)
    assert Entry("go", 5, 100, exact=True).line == Line("go", 5)
    assert [Entry(OURS, 5, 100, exact=exact).line.exact for exact in (True, False)] == [True, False]


def test_no_two_entries_are_one_line() -> None:
    """Their runs would be taken for rounds of each other."""
    lines = [entry.line for entry in standard_entries(4_000_000)]
    assert len(set(lines)) == len(lines)


def test_a_round_runs_with_and_without_transactions_side_by_side() -> None:
    """Either first in turn; everything else in an order that differs from round to round, and nothing twice."""
    entries = standard_entries(4_000_000)
    rounds = [shuffled(entries, number) for number in range(4)]
    with_, without = Entry(OURS, 5, 4_000_000), Entry(OURS, 5, 4_000_000, exact=False)
    assert [one.index(without) - one.index(with_) for one in rounds] == [-1, 1, -1, 1]
    assert all(sorted(map(str, one)) == sorted(map(str, entries)) for one in rounds)
    assert len({tuple(map(str, one)) for one in rounds}) == 4


@pytest.mark.parametrize(("go", "warmers"), [(Path("peer-go"), "ours and of the Go loop"), (None, "ours")])
def test_conditions_tell_who_warmed_the_broker_and_how_long_all_took(go: Path | None, warmers: str, tmp_path: Path) -> None:
    """Other contenders find a broker that has not met them."""
    here: Any = SimpleNamespace(broker=SimpleNamespace(libs=tmp_path), cores=CORES, log_is="in memory")
    contest: Any = SimpleNamespace(go=go, go_version="go1")
    found = conditions(here, contest, say=Story(), warmed=3)
    assert found["broker_warmed_by"] == f"3 uncounted runs of {warmers}"
    assert found["took_min"] == 0.0
    assert {"sha_instructions", "kernel_sha_256"} <= found.keys()
