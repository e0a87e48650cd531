"""From a verdict to what one transaction writes: the usage step, the new position, and the batches."""

import time
from collections import Counter

import msgspec

from hub.broker.batches import build_batches
from hub.broker.transactions import Output
from hub.exchange.context import LaneContext
from hub.exchange.inbox import Taken
from hub.exchange.metering import CONTROL_BATCH_BYTES_MAX, usage_output
from hub.exchange.plan import Plan
from hub.exchange.verdict import Verdict
from hub.model.names import TopicPartition
from hub.model.records import Quarantined, encode_quarantined, encode_usage_step
from hub.model.usage import Position, UsageStep, chain_hash, check_conservation


class Step(msgspec.Struct, frozen=True):
    """One transaction's content."""

    usage: UsageStep
    position: Position
    outputs: tuple[Output, ...]
    vital_topics: frozenset[str]
    """Topics without which the lane stops: quarantine and usage."""
    rejects: Counter[str]
    """Quarantined records by code."""

    @property
    def size(self) -> int:
        """Bytes of the outputs."""
        return sum(len(output.data) for output in self.outputs)


def step_of(partition: TopicPartition, position: Position, taken: Taken, *, plan: Plan, verdict: Verdict, context: LaneContext) -> Step:
    """Return what the step writes; HUB-LANE-006 when transport and kernel do not agree on every offset (law 3)."""
    usage = UsageStep(
        scope=context.names.scope,
        source_topic=partition.topic,
        source_topic_id=position.topic_id,
        source_partition=partition.partition,
        step=position.step + 1,
        first_offset=taken.first_offset,
        next_offset=taken.next_offset,
        records=verdict.records,
        gaps=taken.gaps,
        lost=taken.lost,
        plan_offset=plan.plan_offset,
        worker_id=context.worker_id,
        prev_hash=position.head,
        entries=verdict.entries,
    )
    check_conservation(usage)
    framed = encode_usage_step(usage)
    new = Position(
        offset=taken.next_offset,
        topic_id=position.topic_id,
        step=usage.step,
        plan_offset=plan.plan_offset,
        plan_from=position.plan_from if plan.plan_offset == position.plan_offset else taken.first_offset,
        head=chain_hash(framed),
    )
    deliveries = [
        Output(topic, partition.partition, batch.data, batch.records) for topic, batches in verdict.deliveries.items() for batch in batches
    ]
    quarantined = _quarantine(verdict.quarantined, topic=plan.quarantine_topic, partition=partition.partition)
    return Step(
        usage=usage,
        position=new,
        outputs=(*deliveries, *quarantined, usage_output(usage, framed, topic=context.names.usage)),
        vital_topics=frozenset({context.names.usage, plan.quarantine_topic}),
        rejects=Counter(record.code for record in verdict.quarantined),
    )


def _quarantine(records: tuple[Quarantined, ...], *, topic: str, partition: int) -> list[Output]:
    rows = [
        (f"{record.source_topic_id}/{record.source_partition}/{record.first_offset}".encode(), encode_quarantined(record))
        for record in records
    ]
    batches = build_batches(rows, bytes_max=CONTROL_BATCH_BYTES_MAX, timestamp_ms=int(time.time() * 1000)) if rows else []
    return [Output(topic, partition, batch.data, batch.records) for batch in batches]
