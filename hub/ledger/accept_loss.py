"""Accepting that a part of hub.usage is lost for good: position, chains, base and act in one SQL transaction.

The collector's position moves under the lock that the collector posts by, so one that runs meanwhile is ``Overtaken``. A kill leaves
all of it or nothing.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, insert, select, update

from hub.broker.admin import Admin
from hub.ledger.books import ChainRow, Overtaken, is_chain, read_chains, read_hours, read_positions, read_refused
from hub.ledger.chain import ChainId
from hub.ledger.losses import ACCEPT_LOSS, Base, BaseChain, Bridge, Loss, Lost, Seen, base_chain, find_lost, loss_id
from hub.ledger.periods import utc
from hub.ledger.tables import USAGE_BRIDGES, USAGE_CHAINS, USAGE_LOSSES, USAGE_POSITIONS, USAGE_REFUSED
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.model.usage import Position
from hub.observe.failpoints import failpoint
from hub.store.acts import content_hash
from hub.store.engine import reading, writing
from hub.store.tables import acts

MISSING_FIX: Final = "`cityhub serve` makes the topic, and adds the partitions that it lacks, when it starts"


class LostChain(msgspec.Struct, frozen=True):
    """A chain that stands in a partition of hub.usage that has lost something."""

    chain: str
    source: str
    last_step: int
    next_offset: int | None
    last_metered_at: str
    may_lack_steps: bool
    lane_at: int | None
    """Source offset where its lane stands; None: nobody can say."""


class LostPartition(msgspec.Struct, frozen=True):
    """What one partition of hub.usage has lost, for who has to accept it."""

    usage_partition: int
    how: str
    """``cut`` or ``made again``."""
    old_topic_id: str
    topic_id: str
    lost_from: int
    lost_to: int
    ledger_stands_at: int
    goes_on_at: int
    delivered_posted: int
    """Delivered records that stay posted and billed, and that no usage step is left for."""
    refused_gone: int
    chains: tuple[LostChain, ...]


class AcceptedLoss(msgspec.Struct, frozen=True):
    """What hub.usage has lost, and whether the ledger goes on without it now."""

    loss: str
    """Names exactly this loss; accepting names it again."""
    accepted: bool
    act: str | None
    """Correlation id of the act."""
    partitions: tuple[LostPartition, ...]


def show_loss(engine: Engine, *, admin: Admin, names: Names) -> AcceptedLoss:
    """Return what hub.usage has lost since the last acceptance; see ``find_losses``."""
    return _look(engine, admin=admin, names=names).shown


def accept_loss(
    loss: str | None, *, engine: Engine, admin: Admin, names: Names, correlation_id: str, record: Callable[[Connection, str], None]
) -> AcceptedLoss:
    """Let the ledger go on without ``loss``, in one SQL transaction with ``record``, which gets what the act's hash has to cover.

    HUB-LEDGER-011 where something else is lost than ``loss`` names, and what ``find_losses`` raises.
    """
    looked = _look(engine, admin=admin, names=names)
    try:
        with writing(engine) as connection:
            found = find_losses(connection, looked.seen, scope=names.scope)
            if loss != loss_id(found, scope=names.scope):
                raise _another(looked.shown.loss)
            told = accept(connection, found, looked.lanes, scope=names.scope, name=loss, correlation_id=correlation_id)
            record(connection, told)
    except Overtaken:
        raise _another(looked.shown.loss) from None
    return msgspec.structs.replace(looked.shown, accepted=True, act=correlation_id)


class _Looked(NamedTuple):
    """What is lost, as broker and ledger have it."""

    seen: dict[int, Seen]
    lanes: dict[ChainId, int]
    shown: AcceptedLoss


def _look(engine: Engine, *, admin: Admin, names: Names) -> _Looked:
    seen = look(admin, names=names)
    with reading(engine) as connection:
        chains = read_chains(connection, scope=names.scope)
    lanes = look_at_lanes(admin, chains, names=names)
    with reading(engine) as connection:
        found = find_losses(connection, seen, scope=names.scope)
        parts = tuple(show_lost(connection, one, lanes, scope=names.scope) for one in found)
    return _Looked(seen, lanes, AcceptedLoss(loss=loss_id(found, scope=names.scope), accepted=False, act=None, partitions=parts))


def _another(loss: str) -> HubError:
    return HubError("HUB-LEDGER-011", f"what hub.usage has lost now is `{loss}`", ACCEPT_LOSS)


def look(admin: Admin, *, names: Names) -> dict[int, Seen]:
    """Return hub.usage as the broker has it; HUB-BROKER-009 when there is no such topic."""
    topic_id = admin.topic_ids([names.usage]).get(names.usage)
    if topic_id is None:
        raise HubError("HUB-BROKER-009", f"topic `{names.usage}` does not exist", MISSING_FIX)
    places = [TopicPartition(names.usage, number) for number in range(admin.partitions(names.usage))]
    begins, ends = admin.begin_offsets(places), admin.end_offsets(places)
    return {place.partition: Seen(str(topic_id), begins[place], ends[place]) for place in places}


def look_at_lanes(admin: Admin, chains: Iterable[ChainRow], *, names: Names) -> dict[ChainId, int]:
    """Return the source offset where the lane of each chain stands; left out where its source topic, and so its position, is gone.

    A lane without a position has delivered nothing, so it stands where its chain does.
    """
    rows = list(chains)
    ids = admin.topic_ids({row.source_topic for row in rows})
    alive = [row for row in rows if str(ids.get(row.source_topic)) == row.id.topic_id]
    places = {TopicPartition(row.source_topic, row.id.partition) for row in alive}
    counts = admin.partition_counts({place.topic for place in places})
    committed = admin.committed(names.exchange_group, [place for place in places if place.partition < counts.get(place.topic, 0)])
    found = {}
    for row in alive:
        offset, metadata = committed.get(TopicPartition(row.source_topic, row.id.partition), (row.chain.next_offset or 0, ""))
        if not metadata or _is_of(metadata, offset, row.id.topic_id):
            found[row.id] = offset
    return found


def find_losses(connection: Connection, seen: Mapping[int, Seen], *, scope: str) -> list[Lost]:
    """Return what hub.usage has lost since the last acceptance, by partition.

    HUB-LEDGER-006 where that cannot be accepted, HUB-LEDGER-010 where nothing is lost.
    """
    positions = read_positions(connection, scope=scope)
    if gone := sorted(positions.keys() - seen.keys()):
        raise HubError("HUB-LEDGER-006", f"hub.usage has no partitions {gone}, which the ledger has read", MISSING_FIX)
    since = held_since(connection, scope=scope)
    found = [find_lost(number, position=positions.get(number), since=since.get(number, 0), seen=one) for number, one in seen.items()]
    lost = [one for one in found if one is not None]
    if not lost:
        raise HubError("HUB-LEDGER-010", "hub.usage has everything that the ledger is held to", "`cityhub ledger check` compares it")
    return lost


def held_since(connection: Connection, *, scope: str) -> dict[int, int]:
    """Return the offset from which on each partition of hub.usage is held to its steps; 0 where it is left out."""
    table = USAGE_LOSSES
    rows = connection.execute(select(table.c.usage_partition, table.c.lost_to).where(table.c.scope == scope).order_by(table.c.number))
    return {row.usage_partition: row.lost_to for row in rows}


def show_lost(connection: Connection, lost: Lost, lanes: Mapping[ChainId, int], *, scope: str) -> LostPartition:
    """Return what acceptance of ``lost`` would keep and give up."""
    base = _base(connection, lost, lanes, scope=scope)
    return LostPartition(
        usage_partition=lost.usage_partition,
        how=lost.how,
        old_topic_id=lost.old_topic_id,
        topic_id=lost.usage_topic_id,
        lost_from=lost.lost_from,
        lost_to=lost.lost_to,
        ledger_stands_at=lost.position,
        goes_on_at=lost.goes_on_at,
        delivered_posted=sum(sums.delivered for _, sums in base.hours),
        refused_gone=sum(lost.made_again or offset < lost.lost_to for offset, _ in base.refused),
        chains=tuple(_shown(one) for one in base.chains),
    )


def accept(
    connection: Connection,
    lost: Sequence[Lost],
    lanes: Mapping[ChainId, int],
    *,
    scope: str,
    name: str,
    correlation_id: str,
) -> str:
    """Let the ledger go on without ``lost``; returns what the act's ``after_hash`` has to be. Overtaken where the collector moved on."""
    digests = []
    for one in lost:
        _move(connection, one, scope=scope)
        base = _base(connection, one, lanes, scope=scope)
        number = connection.scalar(
            select(sa.func.coalesce(sa.func.max(USAGE_LOSSES.c.number), 0) + 1).where(
                USAGE_LOSSES.c.scope == scope, USAGE_LOSSES.c.usage_partition == one.usage_partition
            )
        )
        row = msgspec.structs.asdict(one) | {"scope": scope, "number": number, "loss_id": name, "correlation_id": correlation_id}
        row |= {"at_ms": time.time_ns() // 1_000_000, "base": base.pack()}
        connection.execute(insert(USAGE_LOSSES).values(row))
        for chain in base.chains:
            _hold_later(connection, chain, scope=scope)
        gone = [USAGE_REFUSED.c.scope == scope, USAGE_REFUSED.c.usage_partition == one.usage_partition]
        if not one.made_again:
            gone.append(USAGE_REFUSED.c.usage_offset < one.lost_to)
        connection.execute(sa.delete(USAGE_REFUSED).where(*gone))
        digests.append(_digest(row))
    failpoint("ledger.loss_stored")
    return content_hash(digests)


def read_losses(connection: Connection, *, scope: str) -> list[Loss]:
    """Return every accepted loss, those of a partition in their order."""
    table = USAGE_LOSSES
    rows = connection.execute(select(table).where(table.c.scope == scope).order_by(table.c.usage_partition, table.c.number))
    return [_loss_of(row._mapping) for row in rows]  # noqa: SLF001 - public, in spite of its name


def read_loss_ids(connection: Connection, *, scope: str) -> tuple[str, ...]:
    """Return the name of every accepted loss, oldest first."""
    table = USAGE_LOSSES
    found = connection.scalars(select(table.c.loss_id).where(table.c.scope == scope).order_by(table.c.at_ms, table.c.usage_partition))
    return tuple(dict.fromkeys(found))


def unproven(connection: Connection, losses: Sequence[Loss], *, scope: str) -> list[str]:
    """Return the losses that are not what an act accepted."""
    by_act: dict[str, list[Loss]] = {}
    for loss in losses:
        by_act.setdefault(loss.correlation_id, []).append(loss)
    wanted = select(acts.c.correlation_id, acts.c.after_hash).where(
        acts.c.scope == scope, acts.c.outcome == "done", acts.c.correlation_id.in_(by_act)
    )
    told = {row.correlation_id: row.after_hash for row in connection.execute(wanted)}
    return [
        loss.loss_id
        for correlation_id, accepted in by_act.items()
        for loss in accepted[:1]
        if told.get(correlation_id) != content_hash([one.digest for one in accepted])
    ]


def keep_bridge(connection: Connection, bridge: Bridge, *, scope: str) -> None:
    """Keep where a chain went on behind a loss."""
    row = msgspec.structs.asdict(bridge)
    topic_id, partition, pass_id = row.pop("chain_id")
    row |= {"scope": scope, "topic_id": topic_id, "source_partition": partition, "pass_id": pass_id, "prev_hash": bridge.prev_hash.hex()}
    connection.execute(insert(USAGE_BRIDGES).values(row))


def read_bridges(connection: Connection, *, scope: str) -> list[Bridge]:
    """Return every bridge, by partition of hub.usage and loss."""
    table = USAGE_BRIDGES
    rows = connection.execute(select(table).where(table.c.scope == scope).order_by(*table.primary_key))
    return [
        Bridge(
            usage_partition=row.usage_partition,
            number=row.number,
            chain_id=ChainId(row.topic_id, row.source_partition, row.pass_id),
            after_step=row.after_step,
            after_offset=row.after_offset,
            step=row.step,
            first_offset=row.first_offset,
            prev_hash=bytes.fromhex(row.prev_hash),
            usage_offset=row.usage_offset,
        )
        for row in rows
    ]


def _move(connection: Connection, lost: Lost, *, scope: str) -> None:
    """Move the collector's position, which locks its partition, and the chains that a resume may be posting to."""
    table = USAGE_POSITIONS
    moved = connection.execute(
        update(table)
        .where(
            table.c.scope == scope,
            table.c.usage_partition == lost.usage_partition,
            table.c.usage_topic_id == lost.old_topic_id,
            table.c.next_offset == lost.position,
        )
        .values(usage_topic_id=lost.usage_topic_id, next_offset=lost.goes_on_at)
    )
    if moved.rowcount == 0 and (lost.position or lost.made_again):
        raise Overtaken
    if moved.rowcount == 0:
        place = {"usage_topic_id": lost.usage_topic_id, "next_offset": lost.goes_on_at}
        connection.execute(insert(table).values(place | {"scope": scope, "usage_partition": lost.usage_partition}))
    chains = USAGE_CHAINS
    here = (chains.c.scope == scope, chains.c.usage_partition == lost.usage_partition)
    connection.execute(select(chains.c.topic_id).where(*here).with_for_update()).all()


def _base(connection: Connection, lost: Lost, lanes: Mapping[ChainId, int], *, scope: str) -> Base:
    rows = [row for row in read_chains(connection, scope=scope) if row.chain.usage_partition == lost.usage_partition]
    refused = read_refused(connection, scope=scope)
    return Base(
        chains=tuple(base_chain(lost, row.id, source_topic=row.source_topic, chain=row.chain, lane_at=lanes.get(row.id)) for row in rows),
        hours=tuple(read_hours(connection, scope=scope, usage_partition=lost.usage_partition)),
        refused=tuple((offset, reason) for (partition, offset), reason in refused.items() if partition == lost.usage_partition),
    )


def _hold_later(connection: Connection, one: BaseChain, *, scope: str) -> None:
    """Let a held chain wait at the first record that there is."""
    if one.chain.held is not None:
        held_at = one.chain.held.usage_offset
        connection.execute(update(USAGE_CHAINS).where(is_chain(one.id, scope)).values(held_at=held_at))


def _shown(one: BaseChain) -> LostChain:
    return LostChain(
        chain=str(one.id),
        source=f"{one.source_topic}-{one.id.partition}",
        last_step=one.chain.step,
        next_offset=one.chain.next_offset,
        last_metered_at=utc(one.chain.metered_ms),
        may_lack_steps=one.lost,
        lane_at=one.lane_at,
    )


def _loss_of(row: Mapping[Any, Any]) -> Loss:
    return Loss(
        lost=Lost(**{name: row[name] for name in Lost.__struct_fields__}),
        number=row["number"],
        loss_id=row["loss_id"],
        correlation_id=row["correlation_id"],
        at_ms=row["at_ms"],
        base=Base.unpack(row["base"]),
        digest=_digest(row),
    )


def _digest(row: Mapping[Any, Any]) -> str:
    """Return the hash of a stored loss, its base included."""
    told = {column.name: row[column.name] for column in USAGE_LOSSES.columns if column.name != "base"}
    return content_hash(told | {"base": hashlib.sha256(row["base"]).hexdigest()})


def _is_of(metadata: str, offset: int, topic_id: str) -> bool:
    try:
        return str(Position.parse(offset=offset, metadata=metadata, lane="").topic_id) == topic_id
    except HubError:
        return False
