"""The batch that carries a usage step to hub.usage."""

import time
from typing import Final

from hub.broker.batches import build_batches
from hub.broker.topics import usage_partition
from hub.broker.transactions import Output
from hub.model.usage import UsageStep

CONTROL_BATCH_BYTES_MAX: Final = 900_000


def usage_output(usage: UsageStep, framed: bytes, *, topic: str) -> Output:
    """Return the batch that carries a usage step, for the partition that Java's default partitioner would choose."""
    (batch,) = build_batches([(usage.key, framed)], bytes_max=CONTROL_BATCH_BYTES_MAX, timestamp_ms=int(time.time() * 1000))
    return Output(topic, usage_partition(usage.key), batch.data, batch.records)
