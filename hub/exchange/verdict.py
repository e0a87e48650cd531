"""What goes into a kernel and what comes out of it: the values on both sides of the one pure call per step.

``run(plan, chunks, source, moment) -> Verdict`` is the kernel: `hub.exchange.reference.run` is the truth in Python, and a
native kernel is the same call, faster. A kernel does no I/O and asks for no time.
"""

import uuid
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from hub.model.names import TopicPartition
from hub.model.records import Quarantined
from hub.model.usage import UsageEntry


class Chunk(msgspec.Struct, frozen=True):
    """One fetched message set of one partition: 1..n whole record batches (magic 2), control and aborted ones left out."""

    partition: TopicPartition
    data: bytes | memoryview
    """Record batches back to back, as the broker sent them, base offsets included. May be empty: then all is gaps.
    A view keeps the memory of the whole answer that it is a part of."""
    first_offset: int
    """The offset that was asked for: nothing below it may be counted, though the first batch may begin below it."""
    next_offset: int
    """One past the last offset that this chunk accounts for."""
    gaps: int
    """Offsets of [first_offset, next_offset) that hold no record for readers: counted by the transport from headers."""


class Source(NamedTuple):
    """The partition that a step reads, and where the step begins."""

    partition: TopicPartition
    topic_id: uuid.UUID
    position: int
    """Records with a smaller offset are skipped, also inside a batch."""


class Moment(NamedTuple):
    """What the decision depends on besides plan and records."""

    now_ms: int
    """Broker time, UTC milliseconds; never ahead of the broker's clock."""
    undeliverable: frozenset[str] = frozenset()
    """Ids of agreements whose share topic is gone or refuses: denied by ``undeliverable``."""


class Batch(NamedTuple):
    """A record batch ready to be stamped and produced: magic 2, base offset 0, no producer id."""

    data: bytes
    records: int


class Verdict(msgspec.Struct, frozen=True):
    """The decision on a step's records."""

    records: int
    """Records at or above the position: counted by the kernel, apart from the transport's gaps."""
    entries: tuple[UsageEntry, ...]
    """One per agreement of the plan, in the plan's order."""
    deliveries: Mapping[str, tuple[Batch, ...]]
    """Batches by share topic; a topic with nothing delivered is absent. Cut below the broker's limit at record borders."""
    quarantined: tuple[Quarantined, ...]
    next_offset: int
    """Everything below it is decided, nothing at or above it: the end of the last chunk, unless a limit of the step ended it early,
    at a record border. At least one record, or one batch that cannot be read, is decided, so that every step moves."""
    unknown_schema_ids: frozenset[int] = frozenset()
    """Schema ids that the plan does not know: the lane reads hub.plan to its end and asks again."""
