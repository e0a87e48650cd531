"""The exchange on real Kafka: what is published reaches whom it may, once, and is metered."""

import copy
import signal
import struct
import time
from collections import Counter

import pytest
from confluent_kafka import Producer
from town import FLIGHT, Town, encode, end, flight, terms, wait_until

from hub.model.agreement import Condition, Grant
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.reasons import Reject

pytestmark = pytest.mark.broker
YESTERDAY_MS = int(time.time() * 1000) - 24 * 3_600_000


def _counts(town: Town, agreement_id: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for step in town.usage():
        for entry in step.entries:
            if entry.agreement_id == agreement_id:
                found.update({name: getattr(entry, name) for name in ("delivered", "filtered", "denied", "suppressed", "quarantined")})
    return found


def test_records_reach_the_consumer_in_the_granted_form_and_are_metered(town: Town) -> None:
    """The whole path: rows, fields, pseudonym, order, usage equal to deliveries, a chain without a hole."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("rows", rows=Condition("origin", "eq", "JFK")))
    town.agree(terms("names", fields=(Grant("id"), Grant("plate", transform="pseudonym"))))
    town.produce(topic, [(number % 2, b"key", encode(schema_id, FLIGHT, flight(number))) for number in range(3000)])

    with town.worker() as worker:
        town.wait_done(topic)

    rows, plates = town.shared("rows"), town.shared("names")
    assert [row["id"] for row in rows] == [*range(0, 3000, 6), *range(3, 3000, 6)]
    assert all(set(row) == {"id", "origin"} for row in rows)
    assert [row["id"] for row in plates] == [*range(0, 3000, 2), *range(1, 3000, 2)]
    assert all(len(row["plate"]) == 26 for row in plates)
    assert _counts(town, "rows") == {"delivered": 1000, "filtered": 2000, "denied": 0, "suppressed": 0, "quarantined": 0}
    assert _counts(town, "names")["delivered"] == 3000
    assert worker.returncode == 0


def test_without_an_agreement_nothing_is_delivered(town: Town) -> None:
    """Law 1: neither without an agreement nor under a suspended one; the suspended one counts every record denied."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("paused"), state=State.SUSPENDED)
    town.agree(terms("over", valid_until_ms=1))
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(number))) for number in range(100)])

    with town.worker():
        town.wait_done(topic)

    assert town.shared("paused") == []
    assert town.shared("over") == []
    assert _counts(town, "paused") == {"delivered": 0, "filtered": 0, "denied": 100, "suppressed": 0, "quarantined": 0}
    reasons = {entry.agreement_id: entry.denied_by for step in town.usage() for entry in step.entries}
    assert reasons == {"paused": "state", "over": "term"}


def test_a_field_added_to_the_source_is_absent_downstream(town: Town) -> None:
    """Law 2: the output holds the granted fields and no others, also under a schema version that came later, in the same chunk."""
    wider = copy.deepcopy(FLIGHT)
    wider["fields"].insert(1, {"name": "pilot", "type": "string", "default": ""})
    first, second = town.schema("transport/flights", FLIGHT), town.schema("transport/flights", wider)
    topic = town.publish("transport/flights")
    town.agree(terms("all", fields=(Grant("id"), Grant("plate"), Grant("origin"), Grant("phone"))))
    rows = [(0, None, encode(first, FLIGHT, flight(1))), (0, None, encode(second, wider, {**flight(2), "pilot": "SECRET-NAME"}))]
    town.produce(topic, rows)

    with town.worker():
        town.wait_done(topic)

    assert [row["id"] for row in town.shared("all")] == [1, 2]
    assert all("pilot" not in row for row in town.shared("all"))
    assert all(b"SECRET-NAME" not in message.value() for message in town.read(town.agreements["all"].share_topic))


def test_key_headers_and_timestamp_of_the_source_do_not_leak(town: Town) -> None:
    """Law 2: they are fields too. Dropped unless granted; a pseudonymised key is no clear key; time is the append's."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights", key_identifier="aircraft")
    town.agree(terms("dropped"))
    town.agree(terms("masked", key="pseudonym"))
    town.agree(terms("kept", key="keep"))
    producer = Producer({"bootstrap.servers": town.admin.bootstrap})
    value = encode(schema_id, FLIGHT, flight(1))
    producer.produce(topic, partition=0, key=b"N10000", value=value, headers={"ch-source-id": b"row-1"}, timestamp=YESTERDAY_MS)
    assert producer.flush(30) == 0

    with town.worker():
        town.wait_done(topic)

    found = {name: town.read(town.agreements[name].share_topic)[0] for name in ("dropped", "masked", "kept")}
    assert {name: message.headers() for name, message in found.items()} == dict.fromkeys(found)
    assert all(message.timestamp()[1] > YESTERDAY_MS + 3_600_000 for message in found.values())
    assert found["dropped"].key() is None
    assert found["kept"].key() == b"N10000"
    assert found["masked"].key() is not None
    assert len(found["masked"].key()) == 26


def test_a_poison_record_is_quarantined_and_its_neighbours_are_delivered(town: Town) -> None:
    """Law 9: a bad record costs itself only, whatever it claims."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("all"))
    good = [encode(schema_id, FLIGHT, flight(number)) for number in range(6)]
    billion = struct.pack(">bI", 0, schema_id) + b"\x02\x02" + b"\x80\xa8\xd6\xb9\x07"
    poison = [good[0][:9], struct.pack(">bI", 0, 999) + good[0][5:], good[0] + b"\x00", billion, b"no framing"]
    values = [value for pair in zip(good, [*poison, None], strict=True) for value in pair if value is not None]
    town.produce(topic, [(0, None, value) for value in values])

    with town.worker():
        town.wait_done(topic)

    assert [row["id"] for row in town.shared("all")] == list(range(6))
    codes = [record.code for record in town.quarantined("transport/flights")]
    assert codes[:3] == [Reject.TRUNCATED, Reject.SCHEMA_UNKNOWN, Reject.TRAILING]
    assert codes[3] in {Reject.TRUNCATED, Reject.LIMIT}
    assert codes[4] == Reject.FRAMING
    assert [record.value for record in town.quarantined("transport/flights")] == poison
    assert _counts(town, "all") == {"delivered": 6, "filtered": 0, "denied": 0, "suppressed": 0, "quarantined": 5}


def test_a_deleted_share_topic_stops_only_its_agreement(town: Town) -> None:
    """What one consumer breaks must not hold the others; it is denied as undeliverable until the topic is there again."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("gone"))
    town.agree(terms("well"))
    with town.worker(CITYHUB_EXCHANGE__UNDELIVERABLE_RETRY_S="2", CITYHUB_EXCHANGE__UNDELIVERABLE_WAIT_S="0"):
        town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(1)))])
        town.wait_done(topic)
        town.admin.delete_topics([town.agreements["gone"].share_topic])
        town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(2)))])
        town.wait_done(topic)
        assert _counts(town, "gone")["denied"] == 1
        town.agree(terms("gone", version=2))
        wait_until(lambda: "share partition is there again" in town.log(), within_s=20)
        town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(3)))])
        town.wait_done(topic)

    assert [row["id"] for row in town.shared("well")] == [1, 2, 3]
    assert [row["id"] for row in town.shared("gone")] == [3]
    assert "undeliverable" in {entry.denied_by for step in town.usage() for entry in step.entries}


def test_sigterm_leaves_no_open_transaction(town: Town) -> None:
    """Faust alone would exit 0 with transactions open, and hold every reader of those partitions for up to 20 s."""
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("all"))
    worker = town.start_worker(CITYHUB_FAILPOINT="lane.produced@*=sleep:0.5")
    town.produce(topic, [(number % 2, None, encode(schema_id, FLIGHT, flight(number))) for number in range(200)])
    wanted = {town.names.transactional_id(TopicPartition(topic, number)) for number in range(2)}
    wait_until(lambda: wanted & {row.transactional_id for row in town.admin.open_transactions()}, within_s=30, what=town.log)

    worker.send_signal(signal.SIGTERM)

    assert end(worker) == 0
    assert not wanted & {row.transactional_id for row in town.admin.open_transactions()}


def test_a_new_dataset_is_served_within_seconds_by_a_running_worker(town: Town) -> None:
    """Faust waits 45 s before it subscribes to new topics; ours may not."""
    town.schema("transport/flights", FLIGHT)
    town.publish("transport/flights")
    with town.worker():
        wait_until(lambda: town.log().count("lane started") >= 2, within_s=30, what=town.log)
        schema_id = town.schema("transport/ships", FLIGHT)
        topic = town.publish("transport/ships")
        town.agree(terms("ships", dataset="transport/ships"))
        town.produce(topic, [(1, None, encode(schema_id, FLIGHT, flight(7)))])
        town.wait_done(topic, within_s=15)

    assert [row["id"] for row in town.shared("ships")] == [7]


def test_tombstones_are_suppressed_without_a_granted_key_and_delivered_with_one(town: Town) -> None:
    """A tombstone says that somebody existed: it needs the key's grant, and no row rule can be asked of it."""
    town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights", key_identifier="aircraft")
    town.agree(terms("without"))
    town.agree(terms("with", key="pseudonym"))
    town.agree(terms("ruled", key="keep", rows=Condition("origin", "eq", "JFK")))
    town.produce(topic, [(0, b"N10000", None)])

    with town.worker():
        town.wait_done(topic)

    assert [_counts(town, name)["suppressed"] for name in ("without", "with", "ruled")] == [1, 0, 1]
    (message,) = town.read(town.agreements["with"].share_topic)
    assert message.value() is None
    assert len(message.key()) == 26
