"""What `make many` says of its figures: growth beyond the size is named, and nothing else is."""

import pytest
from benchmarks.many import MEASURED, Size, summary, table, worse

SMALL, LARGE = Size(500, 1), Size(5_000, 1)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (10.0, 100.0, False),
        (10.0, 124.0, False),
        (10.0, 126.0, True),
        (0.01, 0.9, False),
        (0.01, 1.2, True),
    ],
    ids=["linear", "at the bound", "beyond it", "grown, and short still", "grown to more than a second"],
)
def test_what_grows_more_than_the_size_is_named(before: float, after: float, named: bool) -> None:  # noqa: FBT001 - a column of the table
    """Ten times the agreements may take ten times as long."""
    found = worse([(SMALL, {"sign_all_s": before}), (LARGE, {"sign_all_s": after})])
    assert [line.partition(":")[0] for line in found] == ["sign_all_s"] * named


def test_agreements_on_one_dataset_are_not_compared_with_many_datasets() -> None:
    """They are two kinds of size."""
    assert worse([(LARGE, {"sign_all_s": 1.0}), (Size(200, 200), {"sign_all_s": 1_000.0})]) == []


def test_milliseconds_of_one_act_and_memory_are_told_and_not_judged_by_the_size() -> None:
    """An act may not cost more with the size at all; that is for whoever reads the table, as are a busy machine's outliers."""
    assert worse([(SMALL, {"suspend_p99_ms": 1.0}), (LARGE, {"suspend_p99_ms": 1_000.0})]) == []


def test_a_check_of_a_minute_is_named() -> None:
    """With nothing new to look at it may not take longer."""
    found = summary([(SMALL, {MEASURED: 59.9}), (LARGE, {MEASURED: 60.1})])
    assert found["slow_checks"] == ["5,000 on one"]


def test_the_table_has_a_column_for_each_size() -> None:
    """One reads along the sizes."""
    assert table([(SMALL, {"a_s": 1.0}), (LARGE, {"a_s": 2.5})]).splitlines() == [
        "|     | 500 on one | 5,000 on one |",
        "| a_s | 1          | 2.5          |",
    ]
