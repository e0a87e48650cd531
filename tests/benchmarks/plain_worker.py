"""``python -m benchmarks.plain_worker``: the product's worker with transactions off, to tell what exactness costs.

There is no such setting in the product, and none in this file reaches it: the lane's transaction is replaced by one that produces at
once and commits the position afterwards, as a plain consumer group does. What is left is at least once: killed between the two,
a worker delivers and meters again. All else is the product's: kernel, lanes, checks, usage steps, quarantine.
"""

import os
import sys
from typing import Any

from aiokafka.client import CoordinationType
from aiokafka.protocol.commit import OffsetCommitRequest_v2

from hub.broker.batches import stamp
from hub.broker.protocol import FixedVersion
from hub.broker.requests import Lost
from hub.broker.transactions import Fenced, Output, Transaction
from hub.cli.worker import ALLOCATOR
from hub.model.names import TopicPartition
from hub.observe.logs import configure_logs

KEEP_FOR_EVER: int = -1
FENCED = frozenset({22, 25, 27})


class PlainTransaction(Transaction):
    """Produces without a transactional id; the position follows when everything is acknowledged."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Have no id: nobody is fenced, nothing is open at the broker."""
        super().__init__(*arguments, **named)
        self._id = None  # type: ignore[assignment]
        self._position: tuple[TopicPartition, int, str, int, str] | None = None

    async def initialise(self) -> None:
        """Ask nobody."""

    async def commit_offset(self, partition: TopicPartition, offset: int, metadata: str, *, generation: int = -1, member: str = "") -> None:
        """Keep the position for ``end``."""
        self._position = (partition, offset, metadata, generation, member)

    async def end(self, *, commit: bool) -> None:
        """Commit the position, once everything before it is acknowledged; an abort leaves what was produced where it is."""
        if not commit or self._position is None:
            return
        partition, offset, metadata, generation, member = self._position
        rows = [(partition.topic, [(partition.partition, offset, metadata)])]
        request = FixedVersion(OffsetCommitRequest_v2(self._group, generation, member, KEEP_FOR_EVER, rows))
        answer = await self._coordinators.send(CoordinationType.GROUP, self._group, request, deadline=self._deadline())
        code = answer.topics[0][1][0][1]
        if code in FENCED:
            raise Fenced("OffsetCommit", code)
        if code:
            raise Lost(f"OffsetCommit answered {code}")

    def _stamp(self, output: Output) -> Any:
        if isinstance(output.data, bytes):
            return stamp(output.data, producer_id=-1, epoch=-1, sequence=-1, transactional=False)
        output.data.stamp(-1, -1, -1, False)
        return output.data


def main() -> None:
    """Run the worker until SIGTERM."""
    if ALLOCATOR.keys() - os.environ.keys():
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.plain_worker"], ALLOCATOR | os.environ)  # noqa: S606 - this very program
    configure_logs(process="worker")
    from hub.exchange import lane, worker  # noqa: PLC0415 - the worker reads the environment when it is imported

    lane.Transaction = PlainTransaction  # type: ignore[misc]
    worker.execute()


if __name__ == "__main__":
    main()
