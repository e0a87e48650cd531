"""Sums of usage steps per hour: what a stretch of hub.usage adds to the ledger. No I/O in here."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from hub.ledger.chain import STRANGE, Break, Chain, ChainId, Reading, Record, Refusal, follow, hold, read_step
from hub.model.usage import UsageEntry


class Stretch(NamedTuple):
    """Records of one partition of hub.usage, in their order, and the offsets that they cover; markers and gaps have no record."""

    usage_topic_id: str
    usage_partition: int
    first_offset: int
    next_offset: int
    records: Sequence[Record]


class HourKey(NamedTuple):
    """What an hourly row is about."""

    agreement_id: str
    agreement_version: int
    pass_id: str
    topic_id: str
    source_partition: int
    hour: int

    @property
    def chain_id(self) -> ChainId:
        """The chain whose steps it sums."""
        return ChainId(self.topic_id, self.source_partition, self.pass_id)


class HourSums(msgspec.Struct):
    """Sums of an hourly row, and which steps they come from."""

    usage_partition: int
    first_step: int
    first_usage_offset: int
    last_step: int = 0
    last_usage_offset: int = 0
    steps: int = 0
    offsets: int = 0
    gaps: int = 0
    lost: int = 0
    delivered: int = 0
    filtered: int = 0
    denied: int = 0
    suppressed: int = 0
    quarantined: int = 0
    bytes_source: int = 0
    bytes_delivered: int = 0


COUNTS = (
    "steps",
    "offsets",
    "gaps",
    "lost",
    "delivered",
    "filtered",
    "denied",
    "suppressed",
    "quarantined",
    "bytes_source",
    "bytes_delivered",
)
"""Fields of HourSums that add up."""
SUM_MAX: Final = 2**63 - 1
"""SQL's integers end here."""


class Tally:
    """Follows chains over records of hub.usage and sums what continues them.

    ``load`` gives where a chain stands before the first record of it that is taken; ``chains`` holds where each stands now,
    ``hours`` the sums of the steps that moved them, ``refused`` the records that are no steps. ``strange`` is asked for a chain that
    begins: one that no lane of this hub meters is held there.
    """

    def __init__(
        self,
        *,
        scope: str,
        load: Callable[[ChainId], Chain] = lambda _: Chain(),
        strange: Callable[[ChainId], Break | None] = lambda _: None,
        full: bool = False,
    ) -> None:
        """Begin with nothing summed; ``full``: SQL has no room for what these records would add."""
        self._full = full
        self._scope = scope
        self._load = load
        self._strange = strange
        self.chains: dict[ChainId, Chain] = {}
        self.topics: dict[str, str] = {}
        """Source topic name by topic id."""
        self.hours: dict[HourKey, HourSums] = {}
        self.refused: dict[tuple[int, int], Refusal] = {}
        """By partition and offset of hub.usage."""
        self.held: list[ChainId] = []
        """Chains that a record of this tally stopped, in that order."""
        self.posted = 0
        """Steps that moved a chain."""
        self.strange = 0
        """Steps that no lane of this hub has metered."""

    def take(self, records: Iterable[Record], *, only: ChainId | None = None) -> None:
        """Take records of one partition of hub.usage, in their order; with ``only``, pass over what is not of that chain."""
        for record in records:
            found = read_step(record, scope=self._scope)
            if isinstance(found, Reading):
                if only is None or found.chain_id == only:
                    self.follow(found)
            elif only is None:
                self.refused[record.partition, record.offset] = found

    def follow(self, reading: Reading) -> bool:
        """Move the chain of ``reading`` and add to its hour; False where the chain is or becomes held."""
        chain_id = reading.chain_id
        before = self.chain(chain_id)
        after = self._after(before, reading)
        self.chains[chain_id] = after
        self.topics[chain_id.topic_id] = reading.step.source_topic
        if after.held is None:
            self._add(reading, after.hour)
            return True
        if after.held.reason in STRANGE:
            self.strange += 1
        if before.held is None:
            self.held.append(chain_id)
        return False

    def _after(self, before: Chain, reading: Reading) -> Chain:
        if before == Chain() and (reason := self._strange(reading.chain_id)) is not None:
            return hold(before, reading, reason)
        after = follow(before, reading)
        if after.held is None and (self._full or self._overflows(reading, after.hour)):
            return hold(before, reading, Break.SUMS)
        return after

    def chain(self, chain_id: ChainId) -> Chain:
        """Return where a chain stands now."""
        found = self.chains.get(chain_id)
        return self._load(chain_id) if found is None else found

    def _overflows(self, reading: Reading, hour: int) -> bool:
        """Tell whether bytes would: counts of records sum to source offsets, which are within reason."""
        for entry in reading.step.entries:
            sums = self.hours.get(_key(reading, entry, hour))
            if sums is not None and max(sums.bytes_source + entry.bytes_source, sums.bytes_delivered + entry.bytes_delivered) > SUM_MAX:
                return True
        return False

    def _add(self, reading: Reading, hour: int) -> None:
        step = reading.step
        self.posted += 1
        for entry in step.entries:
            key = _key(reading, entry, hour)
            sums = self.hours.get(key)
            if sums is None:
                sums = self.hours[key] = HourSums(reading.usage_partition, step.step, reading.usage_offset)
            sums.last_step, sums.last_usage_offset = step.step, max(sums.last_usage_offset, reading.usage_offset)
            sums.steps += 1
            sums.offsets += step.next_offset - step.first_offset
            sums.gaps += step.gaps
            sums.lost += step.lost
            sums.delivered += entry.delivered
            sums.filtered += entry.filtered
            sums.denied += entry.denied
            sums.suppressed += entry.suppressed
            sums.quarantined += entry.quarantined
            sums.bytes_source += entry.bytes_source
            sums.bytes_delivered += entry.bytes_delivered


def _key(reading: Reading, entry: UsageEntry, hour: int) -> HourKey:
    topic_id, partition, pass_id = reading.chain_id
    return HourKey(entry.agreement_id, entry.agreement_version, pass_id, topic_id, partition, hour)
