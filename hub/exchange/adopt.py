"""Adopting a position: a person decides where a stopped lane goes on, and the chain says what was left out.

A lane never invents a position, so this is an act. It may leave offsets out (they become ``lost`` in a usage step of the
chain, in the same transaction as the position) but never goes back behind the chain's end: that would deliver and bill
records twice. The chain's end is what hub.usage and the metadata of the committed position say, the later of the two, so that a
hub.usage that was cut takes nothing back. It is read after the lane is fenced; a lane that takes its id up again and commits while
that is read stands elsewhere then, and the adoption is refused.
"""

import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

from hub.broker.admin import Admin
from hub.broker.fencing import LaneGate, Standing
from hub.exchange.metering import usage_output
from hub.exchange.usage_log import last_step, live_steps, usage_place
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.records import encode_usage_step
from hub.model.usage import ZERO_HASH, Position, UsageEntry, UsageStep, chain_hash, check_conservation
from hub.model.written import identifier

BEFORE_ANY_PLAN: Final = -1
ADOPTER: Final = "exchange-adopt"


class Adopted(NamedTuple):
    """What an adoption came to."""

    lane: TopicPartition
    offset: int
    step: int
    lost: int


class _ChainEnd(NamedTuple):
    offset: int
    step: int
    head: bytes


def adopt(
    lane: TopicPartition,
    *,
    at: int,
    admin: Admin,
    gate: LaneGate,
    names: Names,
    agreements: Sequence[tuple[str, int]],
    dry_run: bool = False,
) -> Adopted:
    """Commit ``at`` as the position of ``lane``; ``agreements`` are id and version of those on the dataset that did not end.

    HUB-LANE-010 no such topic or partition · HUB-LANE-003 ``at`` is outside the log · HUB-LANE-009 ``at`` is before the
    chain's end, or the lane moved on while that was read.
    """
    topic_id = admin.topic_ids([lane.topic]).get(lane.topic)
    if topic_id is None or lane.partition >= admin.partitions(lane.topic):
        raise HubError("HUB-LANE-010", f"`{identifier(str(lane))}` does not exist", "see `cityhub exchange status` for the lanes there are")
    begin, end = admin.begin_offsets([lane])[lane], admin.end_offsets([lane])[lane]
    if not begin <= at <= end:
        raise HubError("HUB-LANE-003", f"{at} is outside the log of `{lane}`", f"choose an offset from {begin} to {end}")
    if not dry_run:
        gate.fence([lane], names=names)
    standing = admin.committed(names.exchange_group, [lane]).get(lane)
    chain = _chain_end(lane, topic_id, admin=admin, names=names, begin=begin, end=end, standing=standing)
    if at < chain.offset:
        raise HubError(
            "HUB-LANE-009",
            f"`{lane}` was delivered and metered up to {chain.offset}, {at} lies before it",
            f"adopt {chain.offset}, or a later offset if records are to be left out",
        )
    lost = at - chain.offset
    if dry_run:
        return Adopted(lane, at, chain.step + (lost > 0), lost)
    return _commit(lane, topic_id, chain, at=at, gate=gate, names=names, agreements=agreements, standing=standing)


def was_adopted(lane: TopicPartition, *, at: int, admin: Admin, gate: LaneGate, names: Names) -> bool:
    """Tell whether an adoption at ``at``, whose serve ended in it, has taken effect. The lane is fenced first: it cannot any more."""
    topic_id = admin.topic_ids([lane.topic]).get(lane.topic)
    if topic_id is None:
        return False
    gate.fence([lane], names=names)
    position = _position(admin.committed(names.exchange_group, [lane]).get(lane), topic_id)
    if position is not None and position.offset == at and position.plan_offset == BEFORE_ANY_PLAN:
        return True
    steps = live_steps(admin, names=names, topic_id=topic_id, partition=lane.partition)
    return any(step.worker_id == ADOPTER and step.next_offset == at for step, _ in steps)


def _position(standing: Standing, topic_id: uuid.UUID) -> Position | None:
    """Return the committed position, None where there is none, or one of another topic, or what is no position."""
    try:
        position = Position.parse(offset=standing[0], metadata=standing[1], lane="") if standing is not None else None
    except HubError:
        return None
    return position if position is not None and position.topic_id == topic_id else None


def _chain_end(
    lane: TopicPartition, topic_id: uuid.UUID, *, admin: Admin, names: Names, begin: int, end: int, standing: Standing
) -> _ChainEnd:
    """Return where the chain ends: what hub.usage says, or the committed position where that says more."""
    ends = []
    position = _position(standing, topic_id)
    if position is not None:
        ends.append(_ChainEnd(position.offset, position.step, position.head))
    found = last_step(admin, names=names, topic_id=topic_id, partition=lane.partition)
    if found is not None:
        step, framed = found
        ends.append(_ChainEnd(step.next_offset, step.step, chain_hash(framed)))
    if ends:
        return max(ends, key=lambda chain: (chain.step, chain.offset))
    place = usage_place(names, topic_id=topic_id, partition=lane.partition)
    was_cut = admin.begin_offsets([place])[place] > 0  # then nobody knows what was delivered: nothing of it may be decided again
    return _ChainEnd(end if was_cut else begin, 0, ZERO_HASH)


def _commit(
    lane: TopicPartition,
    topic_id: uuid.UUID,
    chain: _ChainEnd,
    *,
    at: int,
    gate: LaneGate,
    names: Names,
    agreements: Sequence[tuple[str, int]],
    standing: Standing,
) -> Adopted:
    if at == chain.offset:
        position = Position(offset=at, topic_id=topic_id, step=chain.step, plan_offset=BEFORE_ANY_PLAN, plan_from=at, head=chain.head)
        gate.move(lane, position, standing=standing, names=names)
        return Adopted(lane, at, chain.step, 0)
    usage = UsageStep(
        scope=names.scope,
        source_topic=lane.topic,
        source_topic_id=topic_id,
        source_partition=lane.partition,
        step=chain.step + 1,
        first_offset=chain.offset,
        next_offset=at,
        records=0,
        gaps=0,
        lost=at - chain.offset,
        plan_offset=BEFORE_ANY_PLAN,
        worker_id=ADOPTER,
        prev_hash=chain.head,
        entries=tuple(UsageEntry(agreement_id, version) for agreement_id, version in sorted(agreements)),
    )
    check_conservation(usage)
    framed = encode_usage_step(usage)
    position = Position(offset=at, topic_id=topic_id, step=usage.step, plan_offset=BEFORE_ANY_PLAN, plan_from=at, head=chain_hash(framed))
    gate.move(lane, position, standing=standing, names=names, outputs=[usage_output(usage, framed, topic=names.usage)])
    return Adopted(lane, at, usage.step, usage.lost)
