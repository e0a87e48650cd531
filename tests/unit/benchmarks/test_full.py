"""What `make bench-full` judges: each target at its bound and past it."""

import pytest
from benchmarks.figures import Spread, spread
from benchmarks.full import Members, judge_workers

ALONE: list[Members] = [[(200.0, 20)], [(220.0, 20)], [(210.0, 20)]]


def found(cost: Spread, two: list[Members]) -> list[bool]:
    """Return which of the three targets are met: processor time, memory, sockets."""
    return [met for _, _, met in judge_workers(cost, ALONE, two)]


def test_a_second_worker_that_costs_and_holds_no_more_is_well() -> None:
    """A tenth is let pass; it is the larger of the two that counts, in the median of the rounds."""
    two: list[Members] = [[(220.0, 22), (90.0, 5)], [(242.0, 22), (90.0, 5)], [(900.0, 90), (90.0, 5)]]
    assert found(spread([1.0, 1.1, 5.0]), two) == [True, True, True]


@pytest.mark.parametrize(
    ("cost", "member", "met"),
    [
        (1.11, (200.0, 20), [False, True, True]),
        (1.0, (260.0, 20), [True, False, True]),
        (1.0, (200.0, 23), [True, True, False]),
    ],
)
def test_a_second_worker_that_costs_or_holds_more_is_told(cost: float, member: tuple[float, int], met: list[bool]) -> None:
    """Each of the three by itself."""
    assert found(spread([cost]), [[(90.0, 5), member]] * 3) == met


def test_the_allowance_is_said() -> None:
    """No more was asked for than one worker holds: who reads the table must see what was let pass."""
    asked = [text for text, _, _ in judge_workers(spread([1.0]), ALONE, ALONE)]
    assert asked[1] == "MiB of a worker with two: no more than with one (10% allowed)"
