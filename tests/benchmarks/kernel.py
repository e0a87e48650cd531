"""The kernel by itself on the benchmark's job: nanoseconds per delivery and per stage, one thread, no broker.

``PYTHONPATH=.:tests python -m benchmarks.kernel`` from the root. A step is a megabyte of batches of a partition, as a lane takes
them under load; rounds go over all steps, and the median of the rounds is printed with the spread. Output is held against the
reference on the first step before anything is printed.
"""

import argparse
import itertools
import os
import platform
import statistics
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.job import KEY_IDENTIFIER, dataset, schema_text, terms
from benchmarks.records import make_source
from hub.agreements.file import parse_agreement
from hub.broker.batches import read_records, stamp
from hub.exchange import _native, native, reference
from hub.exchange.native.lowering import lower
from hub.exchange.plan import Limits, Plan, compile_plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.entry import AgreementBody, DatasetBody
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.output_schema import output_schema
from hub.model.usage import ZERO_HASH

SCHEMA_ID: Final = 7
STEP_BYTES: Final = 1024 * 1024
NOW_MS: Final = 1_800_000_000_000
LANE: Final = TopicPartition("dept.traffic.observations", 0)
CODECS: Final = ("none", "lz4", "zstd")


class Step(NamedTuple):
    """What one call is given."""

    chunk: Chunk
    source: Source


def main() -> None:
    """Print the table."""
    asked = _arguments()
    cpu = platform.processor() or platform.machine()
    sys.stdout.write(f"{cpu}, SHA-256 by {_native.values.SHA_256}, {asked.records} records\n")
    for codec in asked.codecs:
        steps = list(steps_of(codec, records=asked.records))
        if asked.dump is not None:
            _dump(asked.dump, steps, codec=codec, agreements=asked.agreements)
            continue
        for count in asked.agreements:
            plan = plan_of(count)
            _hold(plan, steps[0])
            sys.stdout.write(_row(plan, steps, codec=codec, rounds=asked.rounds, stages=asked.stages) + "\n")
            sys.stdout.flush()


def plan_of(count: int) -> Plan:
    """Return the plan of the first ``count`` agreements of the job."""
    name = dataset("none")
    texts = {SCHEMA_ID: schema_text()}
    bodies = []
    for place, who in enumerate(terms(count)):
        agreement = parse_agreement(who.file(name), file=who.id).agreement
        texts[1000 + place] = output_schema(agreement, schema_text(), key_epoch=1)
        bodies.append(
            AgreementBody(
                state=State.ACTIVE,
                terms=agreement,
                share_topic=f"share.{who.consumer}.traffic.observations",
                key_epoch=1,
                output_schema_ids={str(SCHEMA_ID): 1000 + place},
                since_ms=0,
            )
        )
    return compile_plan(
        dataset=DatasetBody(
            dataset=name,
            topic=LANE.topic,
            quarantine_topic="quarantine.traffic.observations",
            partitions=16,
            schema_ids=(SCHEMA_ID,),
            key_identifier=KEY_IDENTIFIER,
        ),
        agreements=bodies,
        schemas=texts,
        master_keys={1: ZERO_HASH},
        scope="330100",
        plan_offset=1,
        limits=Limits(),
    )


def steps_of(codec: str, *, records: int) -> Iterator[Step]:
    """Yield the steps of every partition."""
    source = make_source(records, schema_id=SCHEMA_ID)
    for _, built in source.batches(codec, timestamp_ms=NOW_MS):
        offset, begin, data, plain = 0, 0, bytearray(), 0
        for batch in built:
            data += struct.pack(">q", offset) + batch.data[8:]
            offset += batch.records
            plain += batch.plain_bytes
            if plain >= STEP_BYTES or batch is built[-1]:
                yield Step(Chunk(LANE, bytes(data), begin, offset, 0), Source(LANE, uuid.UUID(int=1), begin))
                begin, data, plain = offset, bytearray(), 0


def _dump(folder: Path, steps: Sequence[Step], *, codec: str, agreements: Sequence[int]) -> None:
    """Write what ``native/examples/kernel_bench.rs`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"steps-{codec}.bin").open("wb") as out:
        for step in steps:
            out.write(struct.pack("<qQ", step.source.position, len(step.chunk.data)) + step.chunk.data)
    for count in agreements:
        lowered = lower(plan_of(count))
        (folder / f"program-{count}.json").write_text(lowered.program)
        (folder / f"keys-{count}.bin").write_bytes(b"".join(lowered.keys))


def _row(plan: Plan, steps: Sequence[Step], *, codec: str, rounds: int, stages: bool) -> str:
    moment = Moment(now_ms=NOW_MS)
    found = [_timed(lambda: [native.run(plan, [step.chunk], step.source, moment) for step in steps]) for _ in range(rounds + 1)][1:]
    verdicts = found[0][1]
    records = sum(verdict.records for verdict in verdicts)
    deliveries = sum(entry.delivered for verdict in verdicts for entry in verdict.entries)
    each = sorted(spent / deliveries for spent, _ in found)
    head = f"N={len(plan.agreements):<3} {codec:5} {statistics.median(each):6.1f} ns per delivery ({each[0]:.1f} to {each[-1]:.1f})"
    head += f", {statistics.median(each) * deliveries / records:7.1f} ns per record, {deliveries / records:.2f} deliveries per record"
    return head + (_stages(plan, steps, deliveries=deliveries) if stages else "")


def _stages(plan: Plan, steps: Sequence[Step], *, deliveries: int) -> str:
    denied = [False] * len(plan.agreements)
    program = native.program_of(plan)
    sums: dict[str, int] = {}
    for step in steps:
        for stage, spent in program.profile([(step.chunk.data, step.chunk.first_offset)], step.source.position, NOW_MS, denied):
            sums[stage] = sums.get(stage, 0) + spent
    return "\n    " + "  ".join(f"{stage} {spent / deliveries:.1f}" for stage, spent in sums.items())


def _timed(call: Callable[[], list[Verdict]]) -> tuple[int, list[Verdict]]:
    began = time.process_time_ns()
    found = call()
    return time.process_time_ns() - began, found


def _hold(plan: Plan, step: Step) -> None:
    """Hold the output against the reference."""
    moment = Moment(now_ms=NOW_MS)
    ours, wanted = (run(plan, [step.chunk], step.source, moment) for run in (native.run, reference.run))
    if (ours.records, ours.entries, _rows(ours)) != (wanted.records, wanted.entries, _rows(wanted)):
        message = "the native kernel and the reference differ"
        raise SystemExit(message)


def _rows(verdict: Verdict) -> dict[str, list[tuple[bytes | None, bytes | None]]]:
    def rows(data: bytes) -> list[tuple[bytes | None, bytes | None]]:
        sealed = bytes(stamp(data, producer_id=-1, epoch=-1, sequence=-1, transactional=False))
        return [(row.key, row.value) for row in read_records(sealed)]

    return {
        topic: list(itertools.chain.from_iterable(rows(batch.data) for batch in batches)) for topic, batches in verdict.deliveries.items()
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--agreements", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=["none", "lz4"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int, help="run on this core")
    parser.add_argument("--dump", type=Path, help="write programs and steps into this folder, for the benchmark without Python")
    parser.add_argument("--no-stages", dest="stages", action="store_false")
    asked = parser.parse_args()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    return asked


if __name__ == "__main__":
    main()
