"""Figures: medians, ratios and what is left out, by hand."""

import pytest
from bench_runs import OURS_LINE, PEER_LINE, run
from benchmarks.figures import Exactness, exactness, percentile, ratio, spread, summarise, weighted_percentile


def test_a_spread_shows_one_number_where_there_is_one() -> None:
    """A range of one round would look like a measurement of its width."""
    assert f"{spread([2.0, 1.0, 4.0]):.1f}" == "2.0 (1.0–4.0)"
    assert f"{spread([2.0]):.1f}" == "2.0"


def test_the_ratio_is_taken_round_by_round() -> None:
    """A slow round slows both; the ratio of medians of different rounds would not see it."""
    runs = [run(OURS_LINE, 0, 1.0), run(OURS_LINE, 1, 2.0), run(PEER_LINE, 0, 4.0), run(PEER_LINE, 1, 8.0), run(PEER_LINE, 2, 100.0)]
    found = summarise(runs)
    assert ratio(found[OURS_LINE], found[PEER_LINE]) == (4.0, 4.0, 4.0)


def test_without_a_round_of_both_the_ratio_is_that_of_the_medians() -> None:
    """Where every shared round was disturbed something can still be said."""
    found = summarise([run(OURS_LINE, 0, 1.0), run(PEER_LINE, 1, 3.0)])
    assert ratio(found[OURS_LINE], found[PEER_LINE]) == (3.0, 3.0, 3.0)


def test_what_transactions_cost_is_taken_round_by_round() -> None:
    """A quick and a slow round of both would else be compared crosswise; a disturbed one says nothing, nor one that only one line has."""
    off = OURS_LINE._replace(exact=False)
    runs = [run(OURS_LINE, 0, 1.1, seconds=2.0), run(off, 0, 1.0, seconds=1.8)]
    runs += [run(OURS_LINE, 1, 2.1, seconds=5.0), run(off, 1, 2.0, seconds=4.0)]
    runs += [run(OURS_LINE, 2, 9.0, steal_cores=1.0), run(off, 2, 1.0), run(off, 3, 1.0)]
    found = summarise(runs)
    cost = exactness(found[OURS_LINE], found[off])
    assert cost.throughput_share == pytest.approx((0.15, 0.1, 0.2))
    assert cost.cpu_share == pytest.approx((0.075, 0.05, 0.1))


def test_programs_read_the_medians_under_their_own_names() -> None:
    """Least and most stand beside them."""
    assert Exactness(spread([0.1, 0.2, 0.4]), spread([-0.1, 0.0, 0.1])).as_json() == {
        "throughput_share": 0.2,
        "cpu_share": 0.0,
        "least": {"throughput_share": 0.1, "cpu_share": -0.1},
        "most": {"throughput_share": 0.4, "cpu_share": 0.1},
    }


@pytest.mark.parametrize(
    ("changes", "disturbed"),
    [
        ({}, False),
        ({"other_cores": 0.5}, False),
        ({"other_cores": 0.5, "seconds": 2.0}, True),
        ({"seconds": 2.0}, False),
        ({"steal_cores": 0.2}, True),
    ],
)
def test_a_run_is_disturbed_where_others_took_what_it_could_have_used(changes: dict[str, float], disturbed: object) -> None:
    """A contender that waits for the broker is not disturbed, nor one that had its core while others had theirs."""
    assert run(OURS_LINE, 0, 1.0, **changes).disturbed is disturbed


def test_disturbed_rounds_are_left_out_and_counted() -> None:
    """They say nothing of the contender; how many there were is said."""
    found = summarise([run(OURS_LINE, 0, 1.0), run(OURS_LINE, 1, 9.0, steal_cores=1.0)])[OURS_LINE]
    assert [one.round for one in found.counted] == [0]
    assert (found.left_out, found.disturbed) == (1, False)


def test_where_every_round_was_disturbed_they_are_shown_as_such() -> None:
    """No number at all would hide that something ran."""
    found = summarise([run(OURS_LINE, 0, 1.0, steal_cores=1.0)])[OURS_LINE]
    assert (len(found.counted), found.left_out, found.disturbed) == (1, 0, True)


def test_a_row_has_the_names_that_programs_read() -> None:
    """They are the contract of ``build/bench.json``."""
    row = summarise([run(OURS_LINE, 0, 0.5, interval_ms=(120.0, 150.0)), run(OURS_LINE, 1, 0.7)])[OURS_LINE].row()
    wanted = {
        "who": "cityhub",
        "n": 5,
        "codec": "none",
        "exact": True,
        "records_per_s": 500_000.0,
        "deliveries_per_s": 1_000_000.0,
        "cpu_us_per_delivery": 0.6,
        "rss_mb": 100.0,
        "rounds": 2,
        "step_interval_ms": {"p50": 120.0, "p99": 150.0},
    }
    assert {key: row[key] for key in wanted} == wanted
    assert row["spread"]["cpu_us_per_delivery"] == [0.5, 0.7]


def test_percentiles_are_of_the_nearest_rank() -> None:
    """A percentile that nobody had would be made up."""
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile(list(map(float, range(1, 101))), 0.99) == 99.0
    assert weighted_percentile([(10.0, 98), (20.0, 1), (30.0, 1)], 0.99) == 20.0
    assert weighted_percentile([(5.0, 1)], 0.5) == 5.0
