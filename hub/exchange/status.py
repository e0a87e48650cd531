"""Where each lane stands, read from Kafka alone: what a lane would find if it started now, and what its worker tells of it."""

from collections.abc import Sequence

import msgspec

from hub.broker.admin import Admin
from hub.exchange.standing import Standing, read_standing
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One lane. ``code`` names why it stands still, or would if it started now, or what it denies while it goes on; None: all is well."""

    topic: str
    partition: int
    begin_offset: int | None = None
    end_offset: int | None = None
    offset: int | None = None
    lag: int | None = None
    step: int | None = None
    plan_offset: int | None = None
    plan_from: int | None = None
    worker: str | None = None
    """Who has it, as that worker told last."""
    since_ms: int | None = None
    """Since when its worker has told ``code``."""
    goes_on: bool = False
    """Whether a lane with a ``code`` goes on for its other consumers."""
    code: str | None = None
    cause: str | None = None
    fix: str | None = None


def lane_statuses(admin: Admin, *, names: Names, topics: Sequence[str]) -> tuple[LaneStatus, ...]:
    """Return the lanes of ``topics``, in order; topics that are gone show one row without partition numbers above 0."""
    ids = admin.topic_ids(topics)
    lanes = [TopicPartition(topic, number) for topic in sorted(ids) for number in range(admin.partitions(topic))]
    begins, ends = admin.begin_offsets(lanes), admin.end_offsets(lanes)
    committed = admin.committed(names.exchange_group, lanes)
    plan_end = admin.end_offsets([TopicPartition(names.plan, 0)])[TopicPartition(names.plan, 0)]
    found = []
    for lane in lanes:
        row = LaneStatus(topic=lane.topic, partition=lane.partition, begin_offset=begins[lane], end_offset=ends[lane])
        try:
            found.append(_placed(row, lane, committed.get(lane), topic_id=ids[lane.topic], plan_end=plan_end))
        except HubError as error:
            offset = committed[lane][0] if lane in committed else None
            found.append(msgspec.structs.replace(row, offset=offset, code=error.code, cause=error.message, fix=error.fix))
    found += [
        LaneStatus(topic=topic, partition=0, code="HUB-BROKER-009", cause=f"`{topic}` does not exist", fix="publish the dataset again")
        for topic in sorted(set(topics) - set(ids))
    ]
    return tuple(found)


def told_by_workers(rows: Sequence[LaneStatus], *, admin: Admin, names: Names) -> tuple[LaneStatus, ...]:
    """Return ``rows`` with what their workers tell: lanes that stopped, that deny for a lost share partition, that nobody has."""
    lanes = {TopicPartition(row.topic, row.partition) for row in rows if row.begin_offset is not None}
    held = admin.held(names.exchange_group)
    told = {lane: read_standing(row[1]) for lane, row in admin.committed(names.standing_group, lanes).items()}
    return tuple(_told(row, told.get(TopicPartition(row.topic, row.partition)), held=held) for row in rows)


def _told(row: LaneStatus, standing: Standing | None, *, held: frozenset[TopicPartition] | None) -> LaneStatus:
    lane = TopicPartition(row.topic, row.partition)
    if row.begin_offset is None:
        return row
    if held is not None and lane not in held:
        if row.code is not None:
            return row
        fix = "start one: `cityhub up`, or `cityhub worker`; its log says where it takes no lane"
        return msgspec.structs.replace(row, code="HUB-LANE-016", cause=f"no worker has `{lane}`", fix=fix)
    if standing is None:
        return row
    row = msgspec.structs.replace(row, worker=standing.worker)
    if row.code is not None or standing.code is None:
        return row
    told = {name: getattr(standing, name) for name in ("code", "cause", "fix", "since_ms", "goes_on")}
    return msgspec.structs.replace(row, **told)


def _placed(row: LaneStatus, lane: TopicPartition, committed: tuple[int, str] | None, *, topic_id: object, plan_end: int) -> LaneStatus:
    way_out = f"cityhub exchange adopt {lane} --at OFFSET"
    if committed is None:
        raise HubError("HUB-LANE-001", f"`{lane}` has no committed position", way_out)
    position = Position.parse(offset=committed[0], metadata=committed[1], lane=str(lane))
    placed = msgspec.structs.replace(
        row,
        offset=position.offset,
        lag=max(0, (row.end_offset or 0) - position.offset),
        step=position.step,
        plan_offset=position.plan_offset,
        plan_from=position.plan_from,
    )
    if topic_id != position.topic_id:
        raise HubError("HUB-LANE-002", f"`{lane.topic}` is another topic than the one of the position", way_out)
    if position.offset > (row.end_offset or 0):
        raise HubError("HUB-LANE-003", f"`{lane}` stands at {position.offset}, the log ends at {row.end_offset}", way_out)
    if position.plan_offset >= plan_end:
        raise HubError("HUB-LANE-004", f"`{lane}` was decided under {position.plan_offset}, hub.plan ends at {plan_end}", way_out)
    return placed
