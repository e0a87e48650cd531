"""Two commits beside each other: ratios round by round, and the bounds that a door may set on them."""

import dataclasses

import pytest
from bench_runs import OURS_LINE, run
from benchmarks.versus import Pair, ordered, summary, table, within


def pairs() -> list[Pair]:
    """Return three rounds in which this checkout needs 10 % more, 10 % less and twice as much."""
    costs = ((1.1, 1.0), (1.8, 2.0), (8.0, 4.0))
    return [Pair(5, run(OURS_LINE, number, this), run(OURS_LINE, number, base)) for number, (this, base) in enumerate(costs)]


def test_the_ratio_is_that_of_one_round_and_not_of_medians() -> None:
    """A slow round slows both: the medians alone, 1.8 and 2.0, would call a costly change a saving."""
    found = summary(pairs())["lines"]["5"]["cpu_ratio"]
    assert (found["median"], found["least"], found["most"]) == pytest.approx((1.1, 0.9, 2.0))


@pytest.mark.parametrize(("most_cpu", "held"), [(None, True), (1.2, True), (1.03, False)])
def test_a_bound_on_the_ratio_is_held_by_its_median(most_cpu: float | None, held: object) -> None:
    """One wild round says nothing, and a change that costs more than it may must not pass."""
    assert within(summary(pairs()), most_cpu=most_cpu, most_memory=None) is held


def test_the_table_names_both_commits_and_each_number_of_agreements() -> None:
    """A row without its base could not be repeated."""
    found = summary(pairs()) | {"base": "aaaaaaaaaa", "commit": "bbbbbbbbbb", "kernel": "native", "rounds": 3}
    told = table(found)
    assert "bbbbbbbbbb beside aaaaaaaaaa" in told
    assert "| 5 |" in told
    assert "1.100 (0.900–2.000)" in told


def test_a_round_that_other_work_disturbed_does_not_count_beside_ones_that_it_did_not() -> None:
    """The third round, of twice the cost, was another program's; where all rounds are such there is nothing better."""
    wild = [pair._replace(this=dataclasses.replace(pair.this, steal_cores=1.0)) for pair in pairs()]
    line = summary([*pairs()[:2], wild[2]])["lines"]["5"]
    assert (line["cpu_ratio"]["most"], line["counted"], line["disturbed"]) == (pytest.approx(1.1), 2, 1)
    line = summary(wild)["lines"]["5"]
    assert (line["cpu_ratio"]["most"], line["counted"], line["disturbed"]) == (pytest.approx(2.0), 3, 3)


def test_a_control_shows_what_the_machine_varies_without_a_change() -> None:
    """A ratio of 1.1 says little where the base beside itself gives as much."""
    controlled = [pair._replace(again=run(OURS_LINE, pair.base.round, 1.2 * pair.base.cpu_us_per_delivery)) for pair in pairs()]
    found = summary(controlled) | {"base": "aaaaaaaaaa", "commit": "bbbbbbbbbb", "kernel": "native", "rounds": 3}
    assert found["lines"]["5"]["control"]["cpu"]["median"] == pytest.approx(1.2)
    assert "| 1.200 |" in table(found)
    assert summary(pairs())["lines"]["5"]["control"] == {}


@pytest.mark.parametrize("sides", [("this", "base"), ("this", "base", "again")])
def test_each_side_runs_at_each_place_as_often_as_the_others(sides: tuple[str, ...]) -> None:
    """Who runs first has the colder machine."""
    orders = [ordered(sides, number) for number in range(len(sides))]
    assert all(sorted(places) == sorted(sides) for places in (*orders, *zip(*orders, strict=True)))
