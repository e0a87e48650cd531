"""The kernel by itself on the benchmark's job: nanoseconds per delivery, whole and stage by stage, one thread, no broker.

``PYTHONPATH=.:tests python -m benchmarks.kernel`` from the root, as a daily look at what ``make bench`` measures with ``stages`` on
the plan of a hub. Output is held against the reference before anything is printed.
"""

import argparse
import itertools
import os
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Final

from benchmarks import stages
from benchmarks.job import KEY_IDENTIFIER, PARTITIONS, dataset, schema_text, terms
from benchmarks.ours import Topic
from benchmarks.records import BASE, make_source
from hub.agreements.file import parse_agreement
from hub.broker.batches import read_records, stamp
from hub.exchange import _native, native, reference
from hub.exchange.plan import Limits, Plan, compile_plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.entry import AgreementBody, DatasetBody
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.output_schema import output_schema
from hub.model.usage import ZERO_HASH

SCHEMA_ID: Final = 7
COPIES: Final = 2
"""With one a partition may have fewer records than a step."""
LANE: Final = TopicPartition("dept.traffic.observations", stages.PARTITION)
CODECS: Final = ("none", "lz4", "zstd")


def main() -> None:
    """Print the table."""
    asked = _arguments()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    sys.stdout.write(f"SHA-256 by {_native.values.SHA_256}\n")
    source = make_source(COPIES * BASE, schema_id=SCHEMA_ID)
    for codec in asked.codecs:
        for count in asked.agreements:
            plan = plan_of(count)
            chunks = stages.chunks_of(Topic(dataset(codec), LANE.topic, codec, source), plan)
            hold(plan, chunks, moment=Moment(int(time.time() * 1000)), records=stages.STEP_RECORDS)
            found = stages.profile(plan, chunks, n=count)["ns_per_delivery"]
            sys.stdout.write(f"N={count:<3} {codec:5} " + "  ".join(f"{stage} {spent:.1f}" for stage, spent in found.items()) + "\n")
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
            partitions=PARTITIONS,
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


def hold(plan: Plan, chunks: Sequence[Chunk], *, moment: Moment, records: int) -> None:
    """Hold the output of a step of so many records against the reference; SystemExit where it differs, or where there is too little."""
    source = Source(LANE, uuid.UUID(int=1), 0)
    ours, wanted = (run(plan, chunks, source, moment) for run in (native.run, reference.run))
    if _content(ours) != _content(wanted):
        _refuse("the native kernel and the reference differ")
    if ours.records != records:
        _refuse(f"the step has {ours.records:,} records of {records:,}")
    if not all(entry.delivered for entry in ours.entries):
        _refuse("an agreement has received nothing: what was compared says little")


def _refuse(message: str) -> None:
    raise SystemExit(message)


def _content(verdict: Verdict) -> tuple[object, ...]:
    return verdict.records, verdict.next_offset, verdict.entries, verdict.quarantined, _rows(verdict)


def _rows(verdict: Verdict) -> dict[str, list[tuple[bytes | None, bytes | None]]]:
    def rows(data: bytes) -> list[tuple[bytes | None, bytes | None]]:
        sealed = bytes(stamp(data, producer_id=-1, epoch=-1, sequence=-1, transactional=False))
        return [(row.key, row.value) for row in read_records(sealed)]

    return {
        topic: list(itertools.chain.from_iterable(rows(batch.data) for batch in batches)) for topic, batches in verdict.deliveries.items()
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agreements", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=["none", "lz4"])
    parser.add_argument("--core", type=int, help="run on this core")
    return parser.parse_args()


if __name__ == "__main__":
    main()
