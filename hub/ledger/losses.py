"""Theory of operation: what of hub.usage is lost for good, and how the ledger goes on when an officer accepts that.

hub.usage is *cut* where its partition begins behind what the ledger has of it, and *made again* where the topic has another id. What
was posted stays posted: it becomes the partition's *base*, its chains and hours as they stood, kept with the loss. The collector goes
on at the first offset that there is, and ``ledger check`` reads from there, beginning with the base. Steps that nobody had posted
are billed to nobody. A chain that misses steps is held at the next one, as ever; ``bridged`` is the only rule by which it may go on
over them. No I/O in here.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from hub.ledger.chain import STRANGE, Break, Chain, ChainId, Held, Reading
from hub.ledger.tally import HourKey, HourSums
from hub.model.errors import HubError
from hub.model.usage import ZERO_HASH

BRIDGED: Final = frozenset({Break.GAP, Break.OPENING})
"""What a chain that misses steps is held for."""
ACCEPT_LOSS: Final = "`cityhub ledger accept-loss --dry-run` shows what is lost, and how to go on without it"
ID_LENGTH: Final = 12
ROOM_MAX: Final = 2**40
"""Of a chain whose source topic is gone, and with it how far its lane was: more than any partition holds."""


class Seen(NamedTuple):
    """A partition of hub.usage as the broker has it."""

    topic_id: str
    begin: int
    end: int


class Lost(msgspec.Struct, frozen=True):
    """What one partition of hub.usage has lost."""

    usage_partition: int
    old_topic_id: str
    usage_topic_id: str
    lost_from: int
    lost_to: int
    """First offset that there is."""
    position: int
    """Where the ledger stands: what lies between it and ``lost_to`` was posted by nobody."""

    @property
    def made_again(self) -> bool:
        """True where the topic is another: no offset means what it meant."""
        return self.old_topic_id != self.usage_topic_id

    @property
    def how(self) -> str:
        """``cut`` or ``made again``."""
        return "made again" if self.made_again else "cut"

    @property
    def unread(self) -> bool:
        """True where steps may be lost that the collector had not read."""
        return self.made_again or self.position < self.lost_to

    @property
    def goes_on_at(self) -> int:
        """Where the collector stands after acceptance."""
        return self.lost_to if self.made_again else max(self.position, self.lost_to)


class BaseChain(msgspec.Struct, frozen=True):
    """A chain as it stood when a loss was accepted."""

    id: ChainId
    source_topic: str
    chain: Chain
    begins_at: int
    """Usage offset from which on its records are not in the base."""
    lost: bool
    """Steps of it may be lost that nobody had posted."""
    lane_at: int | None
    """Source offset that no step behind the loss begins beyond: where its lane stood; None: nobody can say."""

    @property
    def unmet(self) -> bool:
        """True where the ledger had nothing of it."""
        return self.chain == Chain()

    def room_before(self, begun: int | None) -> int:
        """Return how many source offsets its lost steps covered, before the next step, which begins at ``begun``; None: there is none.

        A step that no lane has written cannot widen it: the lane had not gone further than it stood.
        """
        if not self.lost:
            return 0
        ends = [one for one in (begun, self.lane_at) if one is not None]
        return max(0, min(ends) - (self.chain.next_offset or 0)) if ends else ROOM_MAX


class Bridge(msgspec.Struct, frozen=True):
    """Where a chain went on behind a loss."""

    usage_partition: int
    number: int
    chain_id: ChainId
    after_step: int
    after_offset: int
    step: int
    first_offset: int
    prev_hash: bytes
    usage_offset: int

    @property
    def key(self) -> tuple[int, int, ChainId]:
        """Partition of hub.usage, loss and chain: there is one bridge of them at most."""
        return self.usage_partition, self.number, self.chain_id


class Base(msgspec.Struct, frozen=True):
    """What the ledger had of a partition of hub.usage when a loss was accepted."""

    chains: tuple[BaseChain, ...]
    hours: tuple[tuple[HourKey, HourSums], ...]
    refused: tuple[tuple[int, str], ...]
    """Records that were refused, by offset: those of them that are gone are listed here alone."""
    bridges: tuple[Bridge, ...] = ()
    """Of the partition's earlier losses."""
    unread_before: bool = False
    """An earlier loss may have taken steps of chains that the ledger has not met since."""

    def pack(self) -> bytes:
        """Return it as it is stored."""
        return zlib.compress(msgspec.msgpack.encode(self))

    @staticmethod
    def unpack(stored: bytes) -> "Base":
        """Read what ``pack`` wrote."""
        return msgspec.msgpack.decode(zlib.decompress(stored), type=Base)


class Loss(msgspec.Struct, frozen=True):
    """A loss that was accepted, with what the ledger had then."""

    lost: Lost
    number: int
    base: Base

    @property
    def unread(self) -> bool:
        """True where steps may be lost, with this loss or an earlier one, of chains that the ledger had not met."""
        return self.lost.unread or self.base.unread_before

    def stood(self, chain_id: ChainId) -> BaseChain:
        """Return how a chain stood, and whether steps of it may be lost unread."""
        found = next((one for one in self.base.chains if one.id == chain_id), None)
        return BaseChain(chain_id, "", Chain(), 0, self.unread, None) if found is None else found


def find_lost(partition: int, *, position: tuple[str, int] | None, since: int, seen: Seen) -> Lost | None:
    """Return what a partition of hub.usage has lost, None where nothing is missing.

    ``position`` is topic id and offset of the collector, ``since`` the offset from which on the ledger is held to its steps.
    """
    topic_id, at = (seen.topic_id, 0) if position is None else position
    if topic_id != seen.topic_id:
        return Lost(partition, topic_id, seen.topic_id, lost_from=since, lost_to=seen.begin, position=at)
    if seen.begin <= since:
        return None
    return Lost(partition, topic_id, seen.topic_id, lost_from=since, lost_to=seen.begin, position=at)


def require_end(partition: int, *, position: tuple[str, int], seen: Seen) -> None:
    """HUB-LEDGER-006 where the log ends before the collector stood when ``seen`` was looked at, or before.

    Its offsets will be used again, and nobody can tell which are.
    """
    topic_id, at = position
    if topic_id == seen.topic_id and at > seen.end:
        raise HubError(
            "HUB-LEDGER-006",
            f"hub.usage-{partition} ends at {seen.end}, the ledger stands at {at}: its end was lost, not its beginning",
            "restore the broker's data; such a loss cannot be accepted",
        )


def loss_id(lost: Iterable[Lost], *, scope: str) -> str:
    """Return what names a loss: the same while it is what it is, whatever is read and posted meanwhile."""
    told = [
        (one.usage_partition, one.old_topic_id, one.usage_topic_id, one.lost_from, one.lost_to, one.position if one.unread else None)
        for one in lost
    ]
    return hashlib.sha256(msgspec.json.encode([scope, *told])).hexdigest()[:ID_LENGTH]


def is_loss_id(text: str) -> bool:
    """Tell whether ``text`` could name a loss."""
    return len(text) == ID_LENGTH and set(text) <= set("0123456789abcdef")


def base_chain(
    lost: Lost, chain_id: ChainId, *, source_topic: str, chain: Chain, lane_at: int | None, previous: Loss | None = None
) -> BaseChain:
    """Return how a chain of the partition stands after acceptance: one that is held is held at the first offset that there is.

    What it lacks since ``previous``, the loss before, it lacks still, unless it has gone on since.
    """
    next_record = lost.position if chain.held is None else chain.held.usage_offset
    begins_at = lost.lost_to if lost.made_again else max(next_record, lost.lost_to)
    if chain.held is not None:
        chain = msgspec.structs.replace(chain, held=Held(begins_at, chain.held.reason))
    taken = lost.made_again or next_record < lost.lost_to
    before = None if previous is None else previous.stood(chain_id)
    lacking = before is not None and before.lost and _same_place(before.chain, chain)
    if before is not None and lacking and not taken and before.lane_at is not None:
        lane_at = before.lane_at
    strange = chain.held is not None and chain.held.reason in STRANGE
    behind = lane_at is None or lane_at > (chain.next_offset or 0)
    return BaseChain(chain_id, source_topic, chain, begins_at, (taken or lacking) and behind and not strange, lane_at)


def bridged(chain: Chain, reading: Reading, loss: Loss) -> Chain | None:
    """Return the chain as it stood before ``reading``, behind the steps that ``loss`` took; None where that explains nothing.

    Only where steps are missing, the chain stands where the loss found it, ``reading`` lies behind the loss, and begins no further than
    its lane stood. Whether ``reading`` is sound in itself is judged as ever.
    """
    stood = loss.stood(reading.chain_id)
    step = reading.step
    if not stood.lost or reading.usage_partition != loss.lost.usage_partition or reading.usage_offset < loss.lost.lost_to:
        return None
    if not _same_place(chain, stood.chain) or (stood.lane_at is not None and step.first_offset > stood.lane_at):
        return None
    if step.step <= chain.step + 1 or step.first_offset <= (chain.next_offset or 0) or step.prev_hash == ZERO_HASH:
        return None
    return Chain(
        step=step.step - 1,
        next_offset=step.first_offset,
        head=step.prev_hash,
        metered_ms=chain.metered_ms,
        usage_partition=reading.usage_partition,
    )


def bridge_of(before: Chain, reading: Reading, loss: Loss) -> Bridge:
    """Return what is kept of a chain that went from ``before`` over a loss to ``reading``."""
    step = reading.step
    return Bridge(
        usage_partition=reading.usage_partition,
        number=loss.number,
        chain_id=reading.chain_id,
        after_step=before.step,
        after_offset=before.next_offset or 0,
        step=step.step,
        first_offset=step.first_offset,
        prev_hash=step.prev_hash,
        usage_offset=reading.usage_offset,
    )


def lost_room(
    losses: Iterable[Loss], bridges: Iterable[Bridge], *, sources: Mapping[str, str], begun: Mapping[ChainId, int]
) -> dict[tuple[str, int], int]:
    """Return how many source offsets lost steps have covered, by source topic and partition; ``losses`` are the last ones.

    A chain lacks what lies between where a loss found it and where its next step begins: that of a bridge, ``begun`` behind the last
    loss, or where its lane stood when no step followed. ``sources`` names topics by id.
    """
    rooms: dict[tuple[int, int, ChainId], int] = {}
    topics = dict(sources)
    for loss in losses:
        for one in loss.base.chains:
            rooms[loss.lost.usage_partition, loss.number, one.id] = one.room_before(begun.get(one.id))
            topics.setdefault(one.id.topic_id, one.source_topic)
    rooms |= {bridge.key: bridge.first_offset - bridge.after_offset for bridge in bridges}
    found: dict[tuple[str, int], int] = {}
    for (_, _, chain_id), room in rooms.items():
        place = (topics.get(chain_id.topic_id, ""), chain_id.partition)
        found[place] = found.get(place, 0) + room
    return found


def _same_place(one: Chain, other: Chain) -> bool:
    return (one.step, one.next_offset, one.head) == (other.step, other.next_offset, other.head)
