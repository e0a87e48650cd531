"""The exchange on real Kafka: what is published reaches whom it may, once, and is metered."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from town import FLIGHT, Town, encode, end, flight, terms

from hub.broker.admin import Admin
from hub.model.agreement import Condition, Grant
from hub.model.names import Names

pytestmark = pytest.mark.broker


@pytest.fixture
def town(names: Names, admin: Admin, tmp_path: Path) -> Iterator[Town]:
    """Give a hub of the test's own on the shared broker."""
    built = Town(names=names, admin=admin, folder=tmp_path)
    yield built
    built.close()


def test_records_reach_the_consumer_in_the_granted_form_and_are_metered(town: Town) -> None:
    """The whole path: rows, fields, pseudonym, order, usage equal to deliveries, a chain without a hole."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("rows", rows=Condition("origin", "eq", "JFK")))
    town.agree(terms("names", fields=(Grant("id"), Grant("plate", transform="pseudonym"))))
    town.produce(topic, [(number % 2, b"key", encode(schema_id, FLIGHT, flight(number))) for number in range(3000)])

    with town.worker():
        town.wait_done(topic)

    rows, plates = town.shared("rows"), town.shared("names")
    assert sorted(row["id"] for row in rows) == list(range(0, 3000, 3))
    assert all(set(row) == {"id", "origin"} for row in rows)
    assert len(plates) == 3000
    assert all(len(row["plate"]) == 26 for row in plates)
    steps = town.usage()
    delivered = {
        name: sum(entry.delivered for step in steps for entry in step.entries if entry.agreement_id == name) for name in ("rows", "names")
    }
    assert delivered == {"rows": 1000, "names": 3000}
    assert end(town._workers[0]) == 0
