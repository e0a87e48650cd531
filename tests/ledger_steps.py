"""Usage steps for tests of the ledger: chains that hold together, and records as a consumer hands them over."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hub.ledger.chain import LOG_APPEND_TIME
from hub.model.names import LIVE
from hub.model.records import encode_usage_step
from hub.model.usage import ZERO_HASH, UsageEntry, UsageStep, chain_hash

SCOPE = "330100"
TOPIC = "dept.transport.flights"
TOPIC_ID = uuid.UUID("11111111-1111-4111-8111-111111111111")
NOON_MS = 1_795_496_400_000
"""2026-11-24 05:00 UTC, 13:00 in Shanghai."""


@dataclass
class Writer:
    """Writes one chain of usage steps as a lane would."""

    partition: int = 0
    topic_id: uuid.UUID = TOPIC_ID
    topic: str = TOPIC
    step: int = 0
    next_offset: int = 0
    head: bytes = ZERO_HASH
    scope: str = SCOPE
    pass_id: str = LIVE

    def next(self, *entries: UsageEntry, gaps: int = 0, lost: int = 0, span: int | None = None) -> UsageStep:
        """Return the next step; its span is what the first entry accounts for, unless given."""
        records = entries[0].accounted if entries else 0
        width = records + gaps + lost if span is None else span
        made = UsageStep(
            scope=self.scope,
            source_topic=self.topic,
            source_topic_id=self.topic_id,
            source_partition=self.partition,
            step=self.step + 1,
            first_offset=self.next_offset,
            next_offset=self.next_offset + width,
            records=width - gaps - lost,
            gaps=gaps,
            lost=lost,
            plan_offset=3,
            worker_id="worker-1",
            prev_hash=self.head,
            entries=entries,
            pass_id=self.pass_id,
        )
        self.step, self.next_offset, self.head = made.step, made.next_offset, chain_hash(encode_usage_step(made))
        return made


@dataclass
class Log:
    """One partition of hub.usage, as records."""

    partition: int = 0
    records: list["LogRecord"] = field(default_factory=list)

    def append(self, step: UsageStep, *, at_ms: int = NOON_MS) -> "LogRecord":
        """Append a step at the broker's time ``at_ms``."""
        return self.append_value(encode_usage_step(step), key=step.key, at_ms=at_ms)

    def append_value(self, value: bytes | None, *, key: bytes | None, at_ms: int = NOON_MS) -> "LogRecord":
        """Append whatever it is."""
        made = LogRecord(self.partition, len(self.records), at_ms, LOG_APPEND_TIME, key, value)
        self.records.append(made)
        return made


@dataclass(frozen=True)
class LogRecord:
    """A record as kafka-python hands it over."""

    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None


def entry(agreement: str = "airline-delays", version: int = 1, *, delivered: int = 0, filtered: int = 0, denied: int = 0) -> UsageEntry:
    """Return an entry with sizes that follow from its counts."""
    return UsageEntry(
        agreement_id=agreement,
        agreement_version=version,
        delivered=delivered,
        filtered=filtered,
        denied=denied,
        denied_by="term" if denied else None,
        bytes_source=100 * (delivered + filtered + denied),
        bytes_delivered=60 * delivered,
    )


def log_of(steps: Iterable[UsageStep], *, times: Sequence[int] = ()) -> Log:
    """Return a log of ``steps``, at ``times`` where given."""
    log = Log()
    for number, step in enumerate(steps):
        log.append(step, at_ms=times[number] if times else NOON_MS)
    return log
