"""What `cityhub exchange status` knows of lanes beyond their positions: those that a worker stopped, and those that nobody has."""

import pytest
from town import FLIGHT, Town, encode, flight, terms, wait_until

from hub.broker.topics import plan_topic
from hub.exchange.status import LaneStatus, lane_statuses, told_by_workers

pytestmark = pytest.mark.broker
DATASET = "transport/flights"


def _rows(town: Town) -> dict[int, LaneStatus]:
    rows = lane_statuses(town.admin, names=town.names, topics=[town.names.dept(DATASET)])
    return {row.partition: row for row in told_by_workers(rows, admin=town.admin, names=town.names)}


def _codes(town: Town) -> dict[int, str | None]:
    return {partition: row.code for partition, row in _rows(town).items()}


def _produce(town: Town, schema_id: int, numbers: range) -> None:
    rows = [(number % 2, None, encode(schema_id, FLIGHT, flight(number))) for number in numbers]
    town.produce(town.names.dept(DATASET), rows)


def test_lanes_that_go_on_have_no_code_and_lanes_without_a_worker_have_one(town: Town) -> None:
    """A dead worker was shown as fine, with exit 0: positions alone know nothing of it."""
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    town.agree(terms("all"))
    assert _codes(town) == {0: "HUB-LANE-016", 1: "HUB-LANE-016"}
    with town.worker():
        _produce(town, schema_id, range(10))
        town.wait_done(topic)
        wait_until(lambda: _codes(town) == {0: None, 1: None}, within_s=20, what=lambda: str(_rows(town)))
        wait_until(lambda: all(row.worker for row in _rows(town).values()), within_s=20)

    wait_until(lambda: _codes(town) == {0: "HUB-LANE-016", 1: "HUB-LANE-016"}, within_s=20)


def test_a_lane_that_would_quarantine_nearly_everything_stops_before_it_does_and_says_so(town: Town) -> None:
    """A bad deployment drained into quarantine at full speed; the other lanes go on, and a person leaves the records out."""
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    town.agree(terms("all"))
    with town.worker(CITYHUB_EXCHANGE__QUARANTINE_STOP_RECORDS="100"):
        _produce(town, schema_id, range(20))
        town.wait_done(topic)
        town.produce(topic, [(0, None, b"bad")] * 5_000)
        wait_until(lambda: _codes(town)[0] == "HUB-LANE-015", within_s=30, what=town.log)
        row = _rows(town)[0]
        assert row.since_ms is not None
        assert f"cityhub exchange adopt {topic}-0 --at OFFSET" in (row.fix or "")
        _produce(town, schema_id, range(21, 31, 2))
        wait_until(lambda: len(town.shared("all")) == 25, within_s=20)

        assert len(town.quarantined(DATASET)) < 100
        assert _codes(town)[1] is None


def test_a_hub_plan_that_was_made_again_under_a_worker_shows_the_code_its_lanes_stopped_with(town: Town) -> None:
    """As long as the new log has grown beyond the old one, positions look well; the told way to see why must see it."""
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET)
    body = town.agree(terms("all"))
    with town.worker():
        _produce(town, schema_id, range(10))
        town.wait_done(topic)
        town.admin.delete_topics([town.names.plan])
        town.admin.create_topics([plan_topic(town.names, replication=1)])
        for _ in range(20):
            town.append([town.entry("agreement", "all", body)])
        rows = lane_statuses(town.admin, names=town.names, topics=[topic])
        wait_until(lambda: _codes(town) == {0: "HUB-LANE-004", 1: "HUB-LANE-004"}, within_s=30, what=town.log)

    assert [row.code for row in rows] == [None, None]
