"""Route: delivered records become record batches for their share topics, in the order of their source offsets.

Output partition is source partition, which the lane knows. Batches are cut at record borders below the plan's limit. A record
over the limit is no batch at all: the step quarantines it for its agreement before it comes here.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from hub.broker.batches import HEADER_BYTES, RECORD_OVERHEAD_BYTES, build_batches
from hub.exchange.plan import Plan
from hub.exchange.verdict import Batch

Output: TypeAlias = tuple[bytes | None, bytes | None]
"""Key and value of a delivered record."""


def output_bytes(key: bytes | None, value: bytes | None) -> int:
    """Return the uncompressed bytes of key and value, framing included."""
    return (0 if key is None else len(key)) + (0 if value is None else len(value))


def output_limit(plan: Plan) -> int:
    """Return the most bytes of key and value that a record may have: within its own bound, and alone in a batch within the other."""
    return min(plan.limits.record_bytes_max, plan.limits.batch_bytes_max - HEADER_BYTES - RECORD_OVERHEAD_BYTES)


def build_deliveries(plan: Plan, outputs: Sequence[Sequence[Output]], *, codec: int, timestamp_ms: int) -> Mapping[str, tuple[Batch, ...]]:
    """Return batches by share topic for the outputs of each agreement, in the plan's order; a topic without any is absent.

    ``timestamp_ms`` is the step's moment, not the source's: share topics overwrite it (LogAppendTime).
    """
    return {
        agreement.share_topic: tuple(
            Batch(*built) for built in build_batches(records, bytes_max=plan.limits.batch_bytes_max, timestamp_ms=timestamp_ms, codec=codec)
        )
        for agreement, records in zip(plan.agreements, outputs, strict=True)
        if records
    }
