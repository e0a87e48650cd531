"""Terms hold by the broker's clock, whatever a worker's clock says: neither an end nor a beginning is missed."""

import time

import pytest
from confluent_kafka import Message
from town import FAR, FLIGHT, Town, encode, flight, terms, wait_until

pytestmark = pytest.mark.broker
WRONG_CLOCK = "import time; right = time.time; time.time = lambda: right() + {skew}; from hub.cli import main; main(['worker'])"


def _append_times(messages: list[Message]) -> list[int]:
    return [message.timestamp()[1] for message in messages]


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_term_begins_and_ends_by_the_brokers_clock(town: Town, skew_s: int) -> None:
    """A worker an hour slow would deliver for an hour after the end; one an hour fast would begin an hour early."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights", partitions=1)
    town.start_worker(("-c", WRONG_CLOCK.format(skew=skew_s)))
    wait_until(lambda: "lane started" in town.log(), within_s=60, what=town.log)
    now_ms = int(time.time() * 1000)
    ends_ms, begins_ms = now_ms + 5_000, now_ms + 6_000
    town.agree(terms("ending", valid_until_ms=ends_ms), partitions=1)
    town.agree(terms("beginning", valid_from_ms=begins_ms, valid_until_ms=FAR), partitions=1)

    count = 0
    while time.time() * 1000 < begins_ms + 2_000:
        town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(count)))])
        count += 1
        time.sleep(0.05)
    town.wait_done(topic, partitions=1)

    ending = town.read(town.agreements["ending"].share_topic, partitions=1)
    beginning = town.read(town.agreements["beginning"].share_topic, partitions=1)
    assert ending, "the agreement was in force before its end"
    assert max(_append_times(ending)) < ends_ms
    assert beginning, "the agreement was in force after its beginning"
    assert min(_append_times(beginning)) >= begins_ms
    denied = {
        (message.timestamp()[1] >= ends_ms, entry.denied_by)
        for message, step in zip(town.read(town.names.usage, partitions=4), town.usage(), strict=True)
        for entry in step.entries
        if entry.agreement_id == "ending" and (entry.denied or message.timestamp()[1] >= ends_ms)
    }
    assert denied == {(True, "term")}
