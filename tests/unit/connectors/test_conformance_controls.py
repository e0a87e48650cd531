"""The checks of the conformance suite fail where they must: lost, doubled, reordered, and ids that repeat."""

import pytest

from connectors.kit.conformance import Published, _hold_each_once

GOOD = [Published(0, "f:0", 0), Published(0, "f:2", 2), Published(1, "f:1", 1)]


def test_good_records_pass() -> None:
    """Else the others would prove nothing."""
    _hold_each_once(GOOD, range(3))


@pytest.mark.parametrize(
    ("records", "what"),
    [
        (GOOD[:2], "1 rows lost, 0 doubled"),
        ([*GOOD, Published(1, "f:9", 1)], "0 rows lost, 1 doubled"),
        ([GOOD[1], GOOD[0], GOOD[2]], "keeps the order"),
        ([GOOD[0], GOOD[1], Published(1, "f:0", 1)], "source id of its own"),
        ([GOOD[0], GOOD[1], Published(1, "f" * 33, 1)], "at most 32 bytes"),
    ],
)
def test_bad_records_are_caught_under_their_own_name(records: list[Published], what: str) -> None:
    """A check that cannot fail is a defect."""
    with pytest.raises(AssertionError, match=what):
        _hold_each_once(records, range(3))
