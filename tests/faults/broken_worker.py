"""A worker with one thing broken, so that a check that must fail can be seen to fail: ``broken_worker.py NAME``.

The product has no switches for this: the function that is named is replaced here, and the worker runs as it always does.
"""

import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from hub.broker import requests, transactions
from hub.broker.batches import headers
from hub.exchange import kernel, plan_entry
from hub.exchange.plan_book import PlanBook
from hub.exchange.verdict import Chunk, Verdict
from hub.model.names import LIVE, Names, TopicPartition
from hub.observe.logs import configure_logs

DROP_EVERY: Final = 7
WITHHELD_TOPIC: Final = "share.whole-office.whole"
WITHHELD_CALLS: Final = frozenset({2, 3})


def sound() -> None:
    """Break nothing: what the others are held against."""


def drops_records() -> None:
    """Keep a batch of records from the kernel in every 7th step, and count them nowhere."""
    decide, calls = kernel.run, itertools.count(1)

    def decide_fewer(plan: Any, chunks: Sequence[Chunk], *rest: Any) -> Verdict:
        return decide(plan, chunks if next(calls) % DROP_EVERY else [_without_a_batch(chunk) for chunk in chunks], *rest)

    kernel.run = decide_fewer


def _without_a_batch(chunk: Chunk) -> Chunk:
    """Return the chunk without its last batch; the offsets it accounts for stay."""
    starts = [start for start, _, _ in headers(bytes(chunk.data))]
    return msgspec.structs.replace(chunk, data=bytes(chunk.data)[: starts[-1]]) if starts else chunk


def counts_without_delivering() -> None:
    """Count records of one agreement as delivered and do not put them out, in two of the kernel's steps."""
    decide, calls = kernel.run, itertools.count(1)

    def withhold(*arguments: Any) -> Verdict:
        verdict = decide(*arguments)
        if next(calls) not in WITHHELD_CALLS:
            return verdict
        kept = {topic: batches for topic, batches in verdict.deliveries.items() if not topic.endswith(WITHHELD_TOPIC)}
        return msgspec.structs.replace(verdict, deliveries=kept)

    kernel.run = withhold


def commits_by_itself() -> None:
    """Commit the offset apart from the transaction and before it: auto-commit."""
    Transaction = transactions.Transaction  # noqa: N806 - a class
    commit = Transaction.commit_offset

    async def commit_apart(self: Any, partition: TopicPartition, offset: int, metadata: str, **_: Any) -> None:
        apart = Transaction(
            self._client,
            self._coordinators,
            transactional_id=f"{self._id}-apart",
            group=self._group,
            timeout_ms=self._timeout_ms,
        )
        await apart.initialise()
        await commit(apart, partition, offset, metadata)
        await apart.end(commit=True)

    Transaction.commit_offset = commit_apart


def is_not_fenced() -> None:
    """Use transactional ids of each process's own and commit as no member of the group: nobody fences a zombie."""
    name, commit = Names.transactional_id, transactions.Transaction.commit_offset

    def own_name(self: Names, lane: TopicPartition, *, pass_id: str = LIVE) -> str:
        return f"{name(self, lane, pass_id=pass_id)}-{os.getpid()}"

    async def commit_as_nobody(self: Any, partition: TopicPartition, offset: int, metadata: str, **_: Any) -> None:
        await commit(self, partition, offset, metadata)

    Names.transactional_id = own_name
    transactions.Transaction.commit_offset = commit_as_nobody


def meters_apart() -> None:
    """Append the usage step outside the transaction."""
    Transaction = transactions.Transaction  # noqa: N806 - a class
    produce = Transaction.produce

    async def produce_apart(self: Any, outputs: Sequence[transactions.Output]) -> int:
        usage = [output for output in outputs if output.topic.endswith("hub.usage")]
        for output in usage:
            await requests.append(self._client, topic=output.topic, partition=output.partition, data=output.data)
        rest = [output for output in outputs if output not in usage]
        return await produce(self, rest)

    Transaction.produce = produce_apart


def takes_unsigned() -> None:
    """Believe every entry of hub.plan, whoever wrote it."""
    plan_entry.verify_entry = lambda _entry, _trust: None


def keeps_older_right() -> None:
    """Alarm a newer entry that cannot be read, and go on under the older one."""

    def pass_over(self: Any, read: plan_entry.Halting, _offset: int) -> bool:
        self._alarm(read.why)
        return False

    PlanBook._halt = pass_over


BREAKS: Final[Mapping[str, Callable[[], None]]] = {
    "sound": sound,
    "dropped_records": drops_records,
    "counted_not_delivered": counts_without_delivering,
    "auto_commit": commits_by_itself,
    "no_fencing": is_not_fenced,
    "usage_outside": meters_apart,
    "unsigned_entry": takes_unsigned,
    "older_right": keeps_older_right,
    "sound_older_right": sound,
}


def main() -> None:
    """Break what is named, then run the worker."""
    BREAKS[sys.argv[1]]()
    del sys.argv[1:]
    configure_logs(process="worker")
    from hub.exchange import worker  # noqa: PLC0415 - the module reads the environment when it is imported

    worker.execute()


if __name__ == "__main__":
    main()
