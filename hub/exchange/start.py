"""Where a lane begins: its committed position, held against the topic, the log and hub.plan. A lane never invents one."""

from hub.broker.requests import LATEST, committed_offset, list_offset
from hub.exchange.context import LaneContext, another_topic, beyond_the_log
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.model.usage import Position


async def read_start(partition: TopicPartition, *, context: LaneContext) -> Position:
    """Return the position to go on from, after hub.plan is read to its end; HubError stops the partition.

    HUB-LANE-001 no position · 002 another topic id · 003 beyond the log · 004 ahead of hub.plan · 005 not a position · 012 beyond the
    dataset; and what stops the dataset itself.
    Call it after InitProducerId: before that, the owner's last transaction may not be over.
    """
    way_out = f"look at `cityhub exchange status`, then `cityhub exchange adopt {partition} --at OFFSET`"
    plan_end = await context.intake.read_to_end()
    plan = context.plan(partition)
    committed = await committed_offset(context.coordinators, group=context.names.exchange_group, partition=partition)
    if committed is None:
        raise HubError("HUB-LANE-001", f"`{partition}` has no committed position", way_out)
    position = Position.parse(offset=committed[0], metadata=committed[1], lane=str(partition))
    if await context.topic_id(partition.topic) != position.topic_id:
        raise another_topic(partition)
    end = await list_offset(context.client, partition, at=LATEST)
    if end is None or position.offset > end:
        raise beyond_the_log(partition, position.offset, end)
    if position.plan_offset >= plan_end or plan.plan_offset < position.plan_offset:
        raise HubError(
            "HUB-LANE-004",
            f"`{partition}` was decided under plan offset {position.plan_offset}, hub.plan ends at {plan_end}",
            way_out,
        )
    return position
