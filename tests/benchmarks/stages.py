"""What the native kernel costs, stage by stage: its own clocks on chunks of the job, beside what it costs without them.

The plan is the one that a hub has published; the chunks are what a step of a saturated lane holds. The clocks of the stages cost time
themselves, which falls into the stages; the sum without clocks stands beside them.
"""

import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

from benchmarks import ours, sample
from benchmarks.job import Terms
from benchmarks.records import build
from benchmarks.town import Ground, town
from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment
from hub.exchange.verdict import Source as StepSource
from hub.model.names import TopicPartition

STEP_RECORDS: Final = 12_000
REPEATS: Final = 15
PARTITION: Final = 0
SUMS: Final = ("sum, with clocks", "without clocks")


def measure(ground: Ground, topic: ours.Topic, agreements: Sequence[Terms]) -> dict[str, Any]:
    """Return nanoseconds a delivery: by stage, their sum, and without clocks; empty with the reference kernel."""
    if kernel.name() != "native":
        return {}
    with town(ground, name="stages") as here:
        ours.open_dataset(here, topic, [who.file(topic.dataset) for who in agreements])
        plan = sample.read_plan(here, topic.name)
    return profile(plan, chunks_of(topic, plan), n=len(agreements))


def chunks_of(topic: ours.Topic, plan: Plan) -> list[Chunk]:
    """Return what a step of a saturated lane reads."""
    count = min(STEP_RECORDS, topic.source.count(PARTITION))
    rows = (topic.source.row(PARTITION, offset) for offset in range(count))
    found, at = [], 0
    for batch in build(rows, codec=topic.codec, timestamp_ms=0):
        data = at.to_bytes(8, "big") + batch.data[8:]
        found.append(Chunk(TopicPartition(plan.topic, PARTITION), data, at, at + batch.records, 0))
        at += batch.records
    return found


def profile(plan: Plan, chunks: Sequence[Chunk], *, n: int) -> dict[str, Any]:
    """Return the figures of one plan: those of the quickest of repeated steps."""
    from hub.exchange.native import program_of, run  # noqa: PLC0415 - it is there only where the crate was built

    source, moment = StepSource(chunks[0].partition, uuid.UUID(int=0), 0), Moment(int(time.time() * 1000))
    verdict = run(plan, chunks, source, moment)
    deliveries = sum(entry.delivered for entry in verdict.entries)
    lent = [(chunk.data, chunk.first_offset) for chunk in chunks]
    denied = [False] * len(plan.agreements)
    program = program_of(plan)
    timed: list[list[tuple[str, int]]] = []
    plain: list[int] = []
    for _ in range(REPEATS):
        began = time.thread_time_ns()
        program.run(lent, 0, moment.now_ms, denied)
        plain.append(time.thread_time_ns() - began)
        timed.append(program.profile(lent, 0, moment.now_ms, denied))
    stages = {stage: spent / deliveries for stage, spent in min(timed, key=lambda step: sum(spent for _, spent in step))}
    return {
        "n": n,
        "ns_per_delivery": {**stages, **dict(zip(SUMS, (sum(stages.values()), min(plain) / deliveries), strict=True))},
        "sums": SUMS,
        "told": f"{len(chunks)} batches of {verdict.records:,} records, N={n}: the quickest of {REPEATS} steps on one thread, warm.",
    }
