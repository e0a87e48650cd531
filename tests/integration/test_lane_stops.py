"""A lane never invents a position: what stops it, and the way on."""

import time

import msgspec
import pytest
from kafka import TopicPartition as KafkaPartition
from kafka.admin import KafkaAdminClient
from town import FLIGHT, Town, encode, flight, terms, wait_until

from hub.broker.topics import USAGE_PARTITIONS, dept_topic, plan_topic
from hub.exchange.adopt import adopt, was_adopted
from hub.exchange.status import lane_statuses
from hub.model.entry import Kind
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.records import decode_plan_entry

pytestmark = pytest.mark.broker
DATASET = "transport/flights"


def _one_partition(town: Town, count: int = 10) -> tuple[int, TopicPartition]:
    schema_id = town.schema(DATASET, FLIGHT)
    topic = town.publish(DATASET, partitions=1)
    town.agree(terms("all"), partitions=1)
    _more(town, schema_id, range(count))
    return schema_id, TopicPartition(topic, 0)


def _more(town: Town, schema_id: int, numbers: range) -> None:
    town.produce(town.names.dept(DATASET), [(0, None, encode(schema_id, FLIGHT, flight(number))) for number in numbers])


def _adopt(town: Town, lane: TopicPartition, at: int) -> None:
    adopt(lane, at=at, admin=town.admin, gate=town.gate, names=town.names, agreements=[("all", 1)])


def _code(town: Town, lane: TopicPartition) -> str | None:
    return lane_statuses(town.admin, names=town.names, topics=[lane.topic])[lane.partition].code


def test_an_expired_group_offset_stops_the_partition_and_adopting_the_chain_end_goes_on(town: Town) -> None:
    """Without a position a lane would start at the earliest offset and deliver everything again."""
    schema_id, lane = _one_partition(town)
    with town.worker():
        town.wait_done(lane.topic, partitions=1)
    client = KafkaAdminClient(bootstrap_servers=town.admin.bootstrap)
    client.delete_group_offsets(town.names.exchange_group, [KafkaPartition(*lane)])
    client.close()

    with town.worker():
        wait_until(lambda: "HUB-LANE-001" in town.log(), within_s=30, what=town.log)
        assert _code(town, lane) == "HUB-LANE-001"
        with pytest.raises(HubError, match="HUB-LANE-009"):
            _adopt(town, lane, 3)
        _adopt(town, lane, 10)
        _more(town, schema_id, range(10, 12))
        town.wait_done(lane.topic, partitions=1)

    assert [row["id"] for row in town.shared("all", partitions=1)] == list(range(12))
    assert [step.first_offset for step in town.usage()][1:] == [step.next_offset for step in town.usage()][:-1]


def test_offsets_left_out_by_an_adoption_stand_in_the_chain_as_lost(town: Town) -> None:
    """Conservation holds over an adoption: what was left out is counted, never silent."""
    schema_id, lane = _one_partition(town)
    _adopt(town, lane, 4)
    with town.worker():
        town.wait_done(lane.topic, partitions=1)

    first, *rest = town.usage()
    assert (first.first_offset, first.next_offset, first.lost, first.step) == (0, 4, 4, 1)
    assert rest[0].first_offset == 4
    assert [row["id"] for row in town.shared("all", partitions=1)] == list(range(4, 10))
    assert schema_id == 1


def _cut_usage(town: Town) -> None:
    places = [TopicPartition(town.names.usage, number) for number in range(USAGE_PARTITIONS)]
    client = KafkaAdminClient(bootstrap_servers=town.admin.bootstrap)
    client.delete_records({KafkaPartition(*place): end for place, end in town.admin.end_offsets(places).items() if end})
    client.close()


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_usage_log_that_was_cut_takes_no_adoption_back_behind_the_position(town: Town, dry_run: bool) -> None:  # noqa: FBT001 - a case
    """The committed position still says what was delivered: 100 records were delivered and metered twice otherwise."""
    schema_id, lane = _one_partition(town)
    with town.worker():
        town.wait_done(lane.topic, partitions=1)
    _cut_usage(town)

    with pytest.raises(HubError, match="HUB-LANE-009"):
        adopt(lane, at=0, admin=town.admin, gate=town.gate, names=town.names, agreements=[("all", 1)], dry_run=dry_run)
    with town.worker():
        _adopt(town, lane, 10)
        _more(town, schema_id, range(10, 12))
        town.wait_done(lane.topic, partitions=1)

    assert [row["id"] for row in town.shared("all", partitions=1)] == list(range(12))
    assert [step.step for step in town.usage()] == [2]


def test_where_neither_position_nor_usage_stand_only_the_end_of_the_log_can_be_adopted(town: Town) -> None:
    """Nobody knows what was delivered: nothing of it may be decided again."""
    _, lane = _one_partition(town)
    with town.worker():
        town.wait_done(lane.topic, partitions=1)
    _cut_usage(town)
    client = KafkaAdminClient(bootstrap_servers=town.admin.bootstrap)
    client.delete_group_offsets(town.names.exchange_group, [KafkaPartition(*lane)])
    client.close()

    with pytest.raises(HubError, match="HUB-LANE-009"):
        _adopt(town, lane, 9)
    _adopt(town, lane, 10)

    wait_until(lambda: town.positions(lane.topic, partitions=1).get(0, (-1,))[0] == 10, within_s=10)


def test_an_adoption_whose_serve_ended_in_it_is_found_to_have_taken_effect_or_not(town: Town) -> None:
    """By its position, or once the lane has moved on by its step in the chain: an act must not stay open for ever."""
    schema_id, lane = _one_partition(town)
    ask = {"admin": town.admin, "gate": town.gate, "names": town.names}

    assert not was_adopted(lane, at=4, **ask)
    _adopt(town, lane, 4)
    assert was_adopted(lane, at=4, **ask)
    with town.worker():
        _more(town, schema_id, range(10, 12))
        town.wait_done(lane.topic, partitions=1)

    assert was_adopted(lane, at=4, **ask)
    assert not was_adopted(lane, at=5, **ask)


def test_a_topic_created_again_under_the_same_name_stops_the_partition(town: Town) -> None:
    """Offsets of another topic are other records: the id decides, not the name."""
    schema_id, lane = _one_partition(town)
    with town.worker():
        town.wait_done(lane.topic, partitions=1)
    town.admin.delete_topics([lane.topic])
    wait_until(lambda: not town.admin.topic_ids([lane.topic]), within_s=20)
    town.admin.create_topics([dept_topic(town.names, DATASET, partitions=1, replication=1)])

    with town.worker():
        wait_until(lambda: any(code in town.log() for code in ("HUB-LANE-001", "HUB-LANE-002")), within_s=30, what=town.log)
        _adopt(town, lane, 0)
        _more(town, schema_id, range(100, 103))
        town.wait_done(lane.topic, partitions=1)

    assert [row["id"] for row in town.shared("all", partitions=1)] == [*range(10), *range(100, 103)]
    assert len({step.source_topic_id for step in town.usage()}) == 2


def test_a_topic_created_again_under_a_running_worker_delivers_none_of_its_records(town: Town) -> None:
    """Its offsets go on where the old topic's ended, so that nothing but the id tells: records are asked for by it.

    Whether the worker meets the new topic at once, or the group first takes the partition of the old one away, is chance.
    """
    schema_id, lane = _one_partition(town)
    told = ("HUB-LANE-001", "HUB-LANE-002", "not found in cluster metadata")
    with town.worker():
        town.wait_done(lane.topic, partitions=1)
        town.admin.delete_topics([lane.topic])
        wait_until(lambda: not town.admin.topic_ids([lane.topic]), within_s=20)
        town.admin.create_topics([dept_topic(town.names, DATASET, partitions=1, replication=1)])
        _more(town, schema_id, range(100, 120))
        wait_until(lambda: any(word in town.log() for word in told), within_s=30, what=town.log)
        time.sleep(2)

    assert [row["id"] for row in town.shared("all", partitions=1)] == list(range(10))
    assert len({step.source_topic_id for step in town.usage()}) == 1


def test_an_emptied_plan_topic_stops_the_partition(town: Town) -> None:
    """A plan that forgot a suspension would deliver: nothing is decided under less than the position was."""
    schema_id, lane = _one_partition(town)
    with town.worker():
        town.wait_done(lane.topic, partitions=1)
    known = [message.value() for message in town.read(town.names.plan, partitions=1)]
    town.admin.delete_topics([town.names.plan])
    wait_until(lambda: not town.admin.topic_ids([town.names.plan]), within_s=20)
    town.admin.create_topics([plan_topic(town.names, replication=1)])
    town.append([decode_plan_entry(value) for value in known if b"keys" not in value])

    with town.worker():
        wait_until(lambda: "takes no lane" in town.log(), within_s=30, what=town.log)
        assert _code(town, lane) == "HUB-LANE-004"
        town.append([decode_plan_entry(value) for value in known if b"keys" in value])
        wait_until(lambda: "HUB-LANE-004" in town.log(), within_s=30, what=town.log)
        _adopt(town, lane, 10)
        _more(town, schema_id, range(10, 12))
        town.wait_done(lane.topic, partitions=1)

    assert [row["id"] for row in town.shared("all", partitions=1)] == list(range(12))


def test_a_worker_with_another_master_key_takes_no_lane(town: Town) -> None:
    """Its pseudonyms would be others, and nobody would notice."""
    _, lane = _one_partition(town)
    (town.folder / "keys" / "master-1.key").write_bytes(bytes(32))
    with town.worker():
        wait_until(lambda: "HUB-KEY-002" in town.log(), within_s=30, what=town.log)
        assert "lane started" not in town.log()
    assert town.positions(lane.topic, partitions=1)[0][0] == 0
    assert town.usage() == []


def test_an_old_signed_entry_appended_again_changes_nothing(town: Town) -> None:
    """Replaying the signed `active` of a suspended agreement must not give the right back; refused with an alarm."""
    schema_id, lane = _one_partition(town, count=0)
    active = town.agreements["all"]
    old = town.entry(Kind.AGREEMENT, "all", active)
    town.append([old])
    town.append([town.entry(Kind.AGREEMENT, "all", msgspec.structs.replace(active, state=State.SUSPENDED))])
    with town.worker():
        wait_until(lambda: "lane started" in town.log(), within_s=30, what=town.log)
        town.append([old])
        wait_until(lambda: "HUB-PLAN-001" in town.log(), within_s=10, what=town.log)
        _more(town, schema_id, range(5))
        town.wait_done(lane.topic, partitions=1)

    assert town.shared("all", partitions=1) == []
    assert sum(entry.denied for step in town.usage() for entry in step.entries) == 5


def test_records_that_retention_took_are_counted_lost_even_when_nothing_follows(town: Town) -> None:
    """A lane that is overtaken while it is down must say so at once, not when the next record happens to come."""
    schema_id, lane = _one_partition(town)
    client = KafkaAdminClient(bootstrap_servers=town.admin.bootstrap)
    client.delete_records({KafkaPartition(*lane): 10})
    client.close()

    with town.worker():
        wait_until(lambda: town.positions(lane.topic, partitions=1)[0][0] == 10, within_s=30, what=town.log)
        _more(town, schema_id, range(10, 13))
        town.wait_done(lane.topic, partitions=1)

    first, *rest = town.usage()
    assert (first.first_offset, first.next_offset, first.lost, first.records) == (0, 10, 10, 0)
    assert sum(step.lost for step in rest) == 0
    assert [row["id"] for row in town.shared("all", partitions=1)] == [10, 11, 12]


def test_after_compaction_a_replayed_entry_still_changes_nothing_for_a_new_worker(town: Town) -> None:
    """Compaction keeps the last offset, not the highest revision: the repair that follows a replay is what a new worker finds."""
    schema_id, lane = _one_partition(town, count=0)
    active = town.agreements["all"]
    old = town.entry(Kind.AGREEMENT, "all", active)
    newest = town.entry(Kind.AGREEMENT, "all", msgspec.structs.replace(active, state=State.SUSPENDED))
    for entry in (old, newest, old, newest):
        town.append([entry])
    quick = {"min.compaction.lag.ms": "0", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    town.admin.alter_topic_config(town.names.plan, quick)

    def compacted() -> bool:
        town.append([old, newest])
        time.sleep(0.5)
        kept = [message for message in town.read(town.names.plan, partitions=1) if message.key() == b"agreement/all"]
        return len(kept) < 8 and decode_plan_entry(kept[0].value()) == newest

    wait_until(compacted, within_s=90)
    with town.worker():
        _more(town, schema_id, range(5))
        town.wait_done(lane.topic, partitions=1)

    assert town.shared("all", partitions=1) == []
    assert sum(entry.denied for step in town.usage() for entry in step.entries) == 5
