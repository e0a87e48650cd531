"""Reading hub.usage again from its beginning, and comparing the ledger with what it gives at the same usage offsets.

Where a part of it was lost and that was accepted, reading begins behind the loss, with what the ledger had then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Engine

from hub.ledger.books import read_chains, read_hours, read_positions, read_refused
from hub.ledger.chain import STRANGE, Break, Chain, ChainId, Reading, read_step, strangeness
from hub.ledger.known_topics import known_topics
from hub.ledger.loss_rows import StoredLoss, read_bridges, read_kept
from hub.ledger.losses import Bridge, Loss, bridge_of, bridged
from hub.ledger.periods import shown_hour
from hub.ledger.tally import HourKey, HourSums, Stretch, Tally
from hub.store.engine import reading


class Difference(msgspec.Struct, frozen=True):
    """Two counts that should be one."""

    between: str
    """What was held against the usage steps: ``chain``, ``ledger``, ``terms``, ``deliveries``, ``loss``, ``signed`` or ``key``."""
    where: str
    """Chain, hour or share partition."""
    agreement_id: str | None
    expected: str
    """What the usage steps say."""
    found: str


class Books(msgspec.Struct, frozen=True):
    """The ledger at one moment."""

    read_to: dict[int, int]
    """Next usage offset by partition of hub.usage."""
    usage_topic_ids: frozenset[str]
    chains: dict[ChainId, Chain]
    hours: dict[HourKey, HourSums]
    refused: dict[tuple[int, int], str]
    topics: dict[str, int | None] = {}
    """Topics whose usage counts, by id, with their lanes."""
    sources: dict[str, str] = {}
    """Name of each chain's source topic, by id."""
    losses: tuple[StoredLoss, ...] = ()
    """What of hub.usage was lost and accepted, the losses of a partition in their order."""
    last_losses: dict[int, Loss] = {}
    """The last loss of each partition of hub.usage that has lost something, where it is what an act accepted."""
    bridges: tuple[Bridge, ...] = ()
    loss_doubts: tuple[str, ...] = ()
    """What of losses is not as acts accepted it."""

    @property
    def comparable(self) -> bool:
        """True where it is known from where on hub.usage counts: each partition's last loss is what an act accepted."""
        return {loss.lost.usage_partition for loss in self.losses} == self.last_losses.keys()

    def strange(self, chain_id: ChainId) -> Break | None:
        """Return why a chain that begins is none of this hub's, as its collector decided or would decide."""
        mine = self.chains.get(chain_id)
        if mine is None:
            return strangeness(chain_id, self.topics)
        return mine.held.reason if mine.held is not None and mine.held.reason in STRANGE else None

    @property
    def delivered(self) -> int:
        """Delivered records over all rows."""
        return sum(sums.delivered for sums in self.hours.values())


def read_books(engine: Engine, *, scope: str) -> Books:
    """Return the whole ledger of ``scope`` at one moment."""
    with reading(engine) as connection:
        positions = read_positions(connection, scope=scope)
        chains = read_chains(connection, scope=scope)
        kept = read_kept(connection, scope=scope)
        return Books(
            read_to={partition: position.next_offset for partition, position in positions.items()},
            usage_topic_ids=frozenset(position.usage_topic_id for position in positions.values()),
            chains={row.id: row.chain for row in chains},
            hours=dict(read_hours(connection, scope=scope)),
            refused=read_refused(connection, scope=scope),
            topics=known_topics(connection, scope=scope),
            sources={row.id.topic_id: row.source_topic for row in chains},
            losses=kept.losses,
            last_losses=kept.last,
            bridges=tuple(read_bridges(connection, scope=scope)),
            loss_doubts=kept.doubts,
        )


class Walk:
    """Follows hub.usage from its beginning: ``booked`` is what the ledger must hold, ``beyond`` what lies behind its offsets."""

    def __init__(
        self,
        *,
        scope: str,
        ledger_read_to: Mapping[int, int],
        strange: Callable[[ChainId], Break | None] = lambda _: None,
        losses: Mapping[int, Loss] | None = None,
        bridges: Iterable[Bridge] = (),
        chains: Mapping[ChainId, Chain] | None = None,
    ) -> None:
        """Nothing is read yet; a partition of ``losses`` begins with what the ledger had when its loss was accepted.

        ``bridges`` and ``chains`` are those of the ledger.
        """
        self._scope = scope
        self._cut = ledger_read_to
        self.booked = Tally(scope=scope, strange=strange)
        self.beyond = Tally(scope=scope, load=self.booked.chain, strange=strange)
        self.metered: dict[tuple[str, int, int], int] = {}
        """Delivered records by agreement, version and source partition; steps of held chains too: they were delivered."""
        self.steps = 0
        self._losses = losses or {}
        last = {(number, loss.number) for number, loss in self._losses.items()}
        self._kept = {one.key: one for one in bridges}
        self._bridges = {
            (one.usage_partition, one.usage_offset, one.chain_id)
            for one in self._kept.values()
            if (one.usage_partition, one.number) in last
        }
        self.bridges = {one.key: one for loss in self._losses.values() for one in loss.base.bridges}
        """Bridges that are proven: by an act's hash where their loss is not the last, else by the step behind them."""
        self.waiting: list[ChainId] = []
        """Chains that were held before the loss and wait for `ledger resume`."""
        self.begun: dict[ChainId, int] = {}
        """Source offset of the first step that was read of each chain."""
        self._begins_at: dict[tuple[int, ChainId], int] = {}
        for loss in self._losses.values():
            self._begin_with(loss, strange, chains or {})

    def take(self, stretches: Iterable[Stretch]) -> Iterator[Reading]:
        """Take stretches; yields each usage step when it is counted."""
        for stretch in stretches:
            cut = self._cut.get(stretch.usage_partition, 0)
            for record in stretch.records:
                tally = self.booked if record.offset < cut else self.beyond
                found = read_step(record, scope=self._scope)
                if not isinstance(found, Reading):
                    tally.refused[record.partition, record.offset] = found
                    continue
                if record.offset < self._begins_at.get((record.partition, found.chain_id), 0):
                    continue
                self.begun.setdefault(found.chain_id, found.step.first_offset)
                self._cross(tally, found)
                held = None if tally.follow(found) else tally.chain(found.chain_id).held
                if held is not None and held.reason in STRANGE:
                    continue
                self.steps += 1
                for entry in found.step.entries:
                    place = (entry.agreement_id, entry.agreement_version, found.step.source_partition)
                    self.metered[place] = self.metered.get(place, 0) + entry.delivered
                yield found

    def _begin_with(self, loss: Loss, strange: Callable[[ChainId], Break | None], chains: Mapping[ChainId, Chain]) -> None:
        """Let what the ledger had count as read.

        A chain that was held is judged anew by what follows, unless it is none of ours, or what held it is gone and it waits still.
        """
        for one in loss.base.chains:
            if one.unmet:
                continue
            held = one.chain.held
            if held is not None and held.reason in STRANGE:
                held = held if strange(one.id) else None
            elif held is not None and held.usage_offset <= loss.lost.lost_to and chains.get(one.id) == one.chain:
                self.waiting.append(one.id)
            else:
                held = None
            self.booked.chains[one.id] = msgspec.structs.replace(one.chain, held=held)
            self.booked.topics[one.id.topic_id] = one.source_topic
            self._begins_at[loss.lost.usage_partition, one.id] = one.begins_at
        for key, sums in loss.base.hours:
            self.booked.hours[key] = msgspec.structs.replace(sums)
            place = (key.agreement_id, key.agreement_version, key.source_partition)
            self.metered[place] = self.metered.get(place, 0) + sums.delivered

    def _cross(self, tally: Tally, found: Reading) -> None:
        """Let a chain go on behind its lost steps, where `ledger resume` has let it and the loss explains it."""
        if (found.usage_partition, found.usage_offset, found.chain_id) in self._bridges:
            loss, before = self._losses[found.usage_partition], tally.chain(found.chain_id)
            after = bridged(before, found, loss)
            if after is not None:
                bridge = bridge_of(before, found, loss)
                self.bridges[bridge.key] = bridge
                tally.chains[found.chain_id] = after

    @property
    def refused(self) -> int:
        """How many records are no usage steps of this hub."""
        return sum(len(tally.refused) + tally.strange for tally in (self.booked, self.beyond))

    @property
    def chains(self) -> int:
        """How many chains were seen."""
        return len(self.booked.chains.keys() | self.beyond.chains.keys())

    def broken_chains(self) -> Iterator[Difference]:
        """Yield where a usage step does not continue its chain."""
        for tally in (self.booked, self.beyond):
            for chain_id in tally.held:
                chain = tally.chain(chain_id)
                if chain.held is not None and chain.held.reason not in STRANGE:
                    yield _broken(chain_id, chain, tally.topics, chain.held.reason.value)
        for chain_id in self.waiting:
            chain = self.booked.chain(chain_id)
            if chain.held is not None:
                told = f"{chain.held.reason.value}, before what was lost: `cityhub ledger resume {chain_id}` reads on behind it"
                yield _broken(chain_id, chain, self.booked.topics, told)

    def doubtful_bridges(self) -> Iterator[Difference]:
        """Yield where chains went on behind a loss otherwise than the steps, or the act of a later loss, say."""
        for key in sorted(self._kept.keys() | self.bridges.keys()):
            proven, kept = self.bridges.get(key), self._kept.get(key)
            if proven != kept:
                partition, number, chain_id = key
                where = f"{chain_id} behind loss {number} of hub.usage-{partition}"
                yield Difference("loss", where, None, *_apart(_fields(proven), _fields(kept)))

    def differs_from(self, books: Books) -> Iterator[Difference]:
        """Yield where the ledger is not what the same stretch of hub.usage gives."""
        for chain_id in sorted(books.chains.keys() | self.booked.chains.keys()):
            expected, found = self.booked.chains.get(chain_id), books.chains.get(chain_id)
            if expected != found:
                yield Difference("ledger", str(chain_id), None, *_apart(_fields(expected), _fields(found)))
        for key in sorted(books.hours.keys() | self.booked.hours.keys()):
            sums, row = self.booked.hours.get(key), books.hours.get(key)
            if sums != row:
                where = f"{key.chain_id}, {shown_hour(key.hour)}, version {key.agreement_version}"
                yield Difference("ledger", where, key.agreement_id, *_apart(_fields(sums), _fields(row)))
        for partition, offset in sorted(books.refused.keys() ^ self.booked.refused.keys()):
            said = ("no step", "not refused") if (partition, offset) in self.booked.refused else ("a step", "refused")
            yield Difference("ledger", f"hub.usage-{partition} at {offset}", None, *said)


def _broken(chain_id: ChainId, chain: Chain, topics: Mapping[str, str], told: str) -> Difference:
    held_at = None if chain.held is None else chain.held.usage_offset
    where = f"{chain_id} ({topics[chain_id.topic_id]}-{chain_id.partition}) at usage offset {held_at}"
    opening = "step 1" if chain.next_offset is None else f"step {chain.step + 1} from offset {chain.next_offset}"
    return Difference("chain", where, None, opening, told)


def _fields(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    rows = msgspec.structs.asdict(value).items()
    return {
        name: one.hex() if isinstance(one, bytes) else f"{one.reason} at {one.usage_offset}" if name == "held" and one else str(one)
        for name, one in rows
    }


def _apart(expected: dict[str, str], found: dict[str, str]) -> tuple[str, str]:
    """Return the fields in which two rows differ, as two texts."""
    if not expected or not found:
        return ("a row", "none") if expected else ("none", "a row")
    names = [name for name in expected if expected[name] != found[name]]
    return ", ".join(f"{name} {expected[name]}" for name in names), ", ".join(f"{name} {found[name]}" for name in names)
