"""Theory of operation: chains of usage steps.

A chain is what one source partition and pass was metered: steps 1, 2, 3 …, each beginning at the source offset where the one
before ended, each holding the SHA-256 of that one's record value. ``follow`` is the only rule of how a chain grows, for the
collector, for ``ledger resume`` and for ``ledger check``. What does not continue a chain holds it: the chain stays where it is,
with the usage offset and the reason, and other chains go on. No I/O in here.
"""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from hub.model.errors import HubError
from hub.model.names import LIVE, is_slug
from hub.model.records import decode_usage_step
from hub.model.usage import ZERO_HASH, UsageStep, chain_hash, check_conservation

LOG_APPEND_TIME: Final = 1
"""Kafka's timestamp type of topics whose broker stamps the records."""
HOUR_MS: Final = 3_600_000
COUNT_MAX: Final = 2**53
"""No count of a step comes near; above it, sums would leave SQL's integers."""
PASS_LENGTH_MAX: Final = 40


class ChainId(NamedTuple):
    """The source topic's id, its partition and the pass."""

    topic_id: str
    partition: int
    pass_id: str = LIVE

    def __str__(self) -> str:
        """Return ``<topic id>/<partition>``, with ``/<pass>`` unless it is ``live``."""
        tail = "" if self.pass_id == LIVE else f"/{self.pass_id}"
        return f"{self.topic_id}/{self.partition}{tail}"

    @classmethod
    def parse(cls, text: str) -> "ChainId":
        """Read what ``str`` writes; HUB-LEDGER-005 when it is no chain id."""
        topic_id, _, rest = text.partition("/")
        partition, _, pass_id = rest.partition("/")
        try:
            return cls(str(uuid.UUID(topic_id)), int(partition), pass_id or LIVE)
        except ValueError:
            raise HubError(
                "HUB-LEDGER-005", f"`{text}` is no chain id", "write `<topic id>/<partition>`; `cityhub ledger show --by chain` lists them"
            ) from None


class Refusal(StrEnum):
    """Why a record of hub.usage is no usage step of this hub."""

    UNREADABLE = "unreadable"
    SCOPE = "other_scope"
    KEY = "key"
    """Its key does not name the source partition that its value names."""


class Break(StrEnum):
    """Why a step does not continue its chain."""

    OPENING = "opening"
    """The first step seen is not step 1 with a zero hash."""
    STEP = "step"
    """Another step number than the next."""
    GAP = "gap"
    """Source offsets between the last step and this one are in no step."""
    OVERLAP = "overlap"
    """Source offsets of an earlier step are metered again."""
    HASH = "hash"
    """It was not written by whoever wrote the last step."""
    CONSERVATION = "conservation"
    ENTRIES = "entries"
    """A count below zero or beyond reason, a name that is none, or one agreement twice."""
    CLOCK = "clock"
    """The record has no append time of the broker."""
    PARTITION = "partition"
    """Its chain stands in another partition of hub.usage."""
    TOPIC = "topic"
    """No dataset has or had its source topic: nothing of it is posted or billed."""
    LANE = "lane"
    """No lane of this hub has its partition or pass: nothing of it is posted or billed."""
    SUMS = "sums"
    """With it the sums of its hour would leave SQL's integers."""


STRANGE: Final = frozenset({Break.TOPIC, Break.LANE})
"""A chain that is held for one of these was never metered by this hub: it is told, and no bill waits for it."""


def strangeness(chain_id: ChainId, topics: Mapping[str, int | None]) -> Break | None:
    """Return why no lane of this hub meters a chain; ``topics`` gives the partitions of each dataset's topic, None: not known."""
    if chain_id.topic_id not in topics:
        return Break.TOPIC
    partitions = topics[chain_id.topic_id]
    real = chain_id.partition >= 0 and (partitions is None or chain_id.partition < partitions)
    return None if real and chain_id.pass_id == LIVE else Break.LANE


def way_on(chain_id: ChainId, reason: Break) -> str:
    """Return what to do about a chain that is held for ``reason``."""
    if reason is Break.TOPIC:
        return f"find out who writes to hub.usage; of a topic that is gone: `cityhub ledger resume {chain_id} --dataset DATASET`"
    if reason is Break.LANE:
        return "find out who writes to hub.usage: no lane of this hub has such a partition or pass, and nothing of it is billed"
    if reason is Break.SUMS:
        return (
            "find out who writes to hub.usage: no lane counts so much. Resuming does not help, and what the chain meters on is in no bill"
        )
    return f"find out why, then `cityhub ledger resume {chain_id}`"


class Record(Protocol):
    """What is read of a Kafka record: kafka-python's ConsumerRecord has these."""

    @property
    def partition(self) -> int:
        """Partition of hub.usage."""

    @property
    def offset(self) -> int:
        """Offset in hub.usage."""

    @property
    def timestamp(self) -> int:
        """Append time in UTC milliseconds."""

    @property
    def timestamp_type(self) -> int:
        """LOG_APPEND_TIME where the broker stamped it."""

    @property
    def key(self) -> Any:
        """Key bytes."""

    @property
    def value(self) -> Any:
        """Framed value, or None."""


class Reading(msgspec.Struct, frozen=True):
    """A usage step as it stands in hub.usage."""

    step: UsageStep
    usage_partition: int
    usage_offset: int
    append_ms: int
    stamped_by_broker: bool
    hash: bytes
    """Chain head after this step."""

    @property
    def chain_id(self) -> ChainId:
        """The chain that it belongs to."""
        return ChainId(str(self.step.source_topic_id), self.step.source_partition, self.step.pass_id)


class Held(msgspec.Struct, frozen=True):
    """Where and why a chain waits."""

    usage_offset: int
    reason: Break


class Chain(msgspec.Struct, frozen=True):
    """Where a chain stands after its last step; the default is a chain before its first."""

    step: int = 0
    next_offset: int | None = None
    head: bytes = ZERO_HASH
    metered_ms: int = 0
    """Metering time of the last step."""
    usage_partition: int | None = None
    held: Held | None = None

    @property
    def hour(self) -> int:
        """Hour of the last step's metering time, since 1970, UTC."""
        return self.metered_ms // HOUR_MS


def read_step(record: Record, *, scope: str) -> Reading | Refusal:
    """Read a record of hub.usage, or say why it is none of ours."""
    try:
        step = decode_usage_step(record.value)
    except Exception:  # noqa: BLE001 - fastavro raises whatever a broken body provokes; the record costs itself only
        return Refusal.UNREADABLE
    if len(step.pass_id) > PASS_LENGTH_MAX:
        return Refusal.UNREADABLE
    if step.scope != scope:
        return Refusal.SCOPE
    if record.key != step.key:
        return Refusal.KEY
    return Reading(
        step=step,
        usage_partition=record.partition,
        usage_offset=record.offset,
        append_ms=record.timestamp,
        stamped_by_broker=record.timestamp_type == LOG_APPEND_TIME,
        hash=chain_hash(record.value),
    )


def follow(chain: Chain, reading: Reading) -> Chain:
    """Return the chain after ``reading``: moved on, or held there; a held chain stays as it is."""
    if chain.held is not None:
        return chain
    found = _break(chain, reading)
    if found is not None:
        return hold(chain, reading, found)
    return Chain(
        step=reading.step.step,
        next_offset=reading.step.next_offset,
        head=reading.hash,
        metered_ms=max(reading.append_ms, chain.metered_ms),
        usage_partition=reading.usage_partition,
    )


def hold(chain: Chain, reading: Reading, reason: Break) -> Chain:
    """Return the chain held at ``reading``."""
    place = chain.usage_partition if chain.usage_partition is not None else reading.usage_partition
    return msgspec.structs.replace(chain, usage_partition=place, held=Held(reading.usage_offset, reason))


def _break(chain: Chain, reading: Reading) -> Break | None:
    """Return what keeps ``reading`` from continuing ``chain``; the cause before its consequences."""
    if not reading.stamped_by_broker:
        return Break.CLOCK
    if chain.usage_partition not in {None, reading.usage_partition}:
        return Break.PARTITION
    return _discontinuous(chain, reading.step) or _unsound(reading.step)


def _discontinuous(chain: Chain, step: UsageStep) -> Break | None:
    """Return how ``step`` fails to begin where ``chain`` stands."""
    if chain.next_offset is None:
        return None if step.step == 1 and step.prev_hash == ZERO_HASH else Break.OPENING
    if step.first_offset != chain.next_offset:
        return Break.GAP if step.first_offset > chain.next_offset else Break.OVERLAP
    if step.step != chain.step + 1:
        return Break.STEP
    return None if step.prev_hash == chain.head else Break.HASH


def _unsound(step: UsageStep) -> Break | None:
    """Return what is wrong with ``step`` in itself."""
    counts = [step.first_offset, step.next_offset - step.first_offset, step.records, step.gaps, step.lost]
    for entry in step.entries:
        counts += (entry.delivered, entry.filtered, entry.denied, entry.suppressed, entry.quarantined)
        counts += (entry.bytes_source, entry.bytes_delivered)
    names = {entry.agreement_id for entry in step.entries}
    if min(counts) < 0 or max(counts) > COUNT_MAX or len(names) != len(step.entries) or not all(map(is_slug, names)):
        return Break.ENTRIES
    try:
        check_conservation(step)
    except HubError:
        return Break.CONSERVATION
    return None
