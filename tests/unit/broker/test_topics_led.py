"""A new topic may be used once every partition of it has a leader, and not before."""

from typing import Any

import pytest

from hub.broker.admin import is_led

LED = {"error_code": 0, "partition_index": 0, "leader_id": 1}
LEADER_NOT_AVAILABLE, UNKNOWN_TOPIC = 5, 3


def _row(*partitions: dict[str, Any], error_code: int = 0) -> dict[str, Any]:
    return {"name": "share.a.b", "error_code": error_code, "partitions": list(partitions)}


def test_a_topic_whose_partitions_all_have_leaders_is_led() -> None:
    """The control of the others."""
    assert is_led(_row(LED, LED))


@pytest.mark.parametrize(
    "row",
    [
        _row(),
        _row(LED, error_code=UNKNOWN_TOPIC),
        _row(LED, LED | {"leader_id": -1}),
        _row(LED, LED | {"error_code": LEADER_NOT_AVAILABLE}),
    ],
    ids=["no partitions told", "topic not known yet", "one without a leader", "one with an error"],
)
def test_a_topic_that_is_not_wholly_led_is_waited_for(row: dict[str, Any]) -> None:
    """What is written to a partition without a leader would fail."""
    assert not is_led(row)
