"""Usage: what a step counted, and the law that every offset is accounted for.

A ``UsageStep`` is one record of ``hub.usage``; a ``Position`` is the metadata of a lane's committed offset.
Told in docs/reference/shapes.md "Usage steps" and "Positions"; ARCHITECTURE.md "Laws", law 3.
"""

import hashlib
import uuid
from typing import Final

import msgspec

from hub.model.errors import HubError
from hub.model.names import LIVE

ZERO_HASH: Final = bytes(32)
POSITION_BYTES_MAX: Final = 4_000
_POSITION_VERSION: Final = "1"
_POSITION_PARTS: Final = 6


class UsageEntry(msgspec.Struct, frozen=True):
    """What one agreement's share of a step came to; counts of records, bytes uncompressed with framing."""

    agreement_id: str
    agreement_version: int
    delivered: int = 0
    filtered: int = 0
    denied: int = 0
    denied_by: str | None = None
    suppressed: int = 0
    quarantined: int = 0
    bytes_source: int = 0
    bytes_delivered: int = 0

    @property
    def accounted(self) -> int:
        """Records that have a disposition."""
        return self.delivered + self.filtered + self.denied + self.suppressed + self.quarantined


class UsageStep(msgspec.Struct, frozen=True):
    """One committed step of one source partition and pass."""

    scope: str
    source_topic: str
    source_topic_id: uuid.UUID
    source_partition: int
    step: int
    first_offset: int
    next_offset: int
    records: int
    gaps: int
    lost: int
    plan_offset: int
    worker_id: str
    prev_hash: bytes
    entries: tuple[UsageEntry, ...]
    pass_id: str = LIVE

    @property
    def key(self) -> bytes:
        """Key of the record in ``hub.usage``: ``<source topic id>/<partition>``."""
        return f"{self.source_topic_id}/{self.source_partition}".encode()


def check_conservation(step: UsageStep) -> None:
    """Hold law 3 for every entry of ``step``; HUB-LANE-006 names the agreement and both sides when it fails."""
    span = step.next_offset - step.first_offset
    if step.records + step.gaps + step.lost != span:
        raise HubError(
            "HUB-LANE-006",
            f"`{step.source_topic}-{step.source_partition}` at {step.first_offset}: records {step.records} + gaps {step.gaps}"
            f" + lost {step.lost} is not {span}",
            "keep the source topic and report this: the transport and the kernel count differently",
        )
    for entry in step.entries:
        if entry.accounted + step.gaps + step.lost != span:
            raise HubError(
                "HUB-LANE-006",
                f"`{step.source_topic}-{step.source_partition}` at {step.first_offset}, agreement `{entry.agreement_id}`:"
                f" {entry.accounted} dispositions + gaps {step.gaps} + lost {step.lost} is not {span}",
                "keep the source topic and report this: the kernel lost or doubled a record",
            )


def chain_hash(framed_value: bytes) -> bytes:
    """Return the chain head after a usage step whose record value, framing included, is ``framed_value``."""
    return hashlib.sha256(framed_value).digest()


class Position(msgspec.Struct, frozen=True):
    """Where a lane stands: its committed offset and the metadata beside it."""

    offset: int
    topic_id: uuid.UUID
    step: int
    plan_offset: int
    plan_from: int
    """First source offset that was decided under ``plan_offset``."""
    head: bytes

    @property
    def metadata(self) -> str:
        """Return the text that is committed beside the offset, at most 4,000 bytes."""
        return ";".join(
            (
                _POSITION_VERSION,
                str(self.topic_id),
                str(self.step),
                str(self.plan_offset),
                str(self.plan_from),
                self.head.hex(),
            )
        )

    @classmethod
    def parse(cls, *, offset: int, metadata: str, lane: str) -> "Position":
        """Read a committed offset and its metadata; HUB-LANE-005 when it is not one of ours."""
        parts = metadata.split(";")
        try:
            version, topic_id, step, plan_offset, plan_from, head = parts
            if version != _POSITION_VERSION:
                raise ValueError
            found = cls(
                offset=offset,
                topic_id=uuid.UUID(topic_id),
                step=int(step),
                plan_offset=int(plan_offset),
                plan_from=int(plan_from),
                head=bytes.fromhex(head),
            )
            if len(found.head) != len(ZERO_HASH):
                raise ValueError
        except ValueError as error:
            raise HubError(
                "HUB-LANE-005",
                f"`{lane}`: the metadata of the committed offset is not a position ({len(parts)} of {_POSITION_PARTS} parts)",
                f"look at `cityhub exchange status`, then `cityhub exchange adopt {lane} --at OFFSET`",
            ) from error
        return found
