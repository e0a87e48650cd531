"""Accepted losses of hub.usage and their bridges as SQL keeps them. What no act accepted as it stands here is told, and never unpacked."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, insert, select

from hub.ledger.books import Overtaken
from hub.ledger.chain import ChainId
from hub.ledger.losses import Base, Bridge, Loss, Lost
from hub.ledger.tables import USAGE_BRIDGES, USAGE_LOSSES
from hub.model.errors import HubError
from hub.store.acts import content_hash
from hub.store.tables import acts

VERB = "accept.loss"


class StoredLoss(NamedTuple):
    """An accepted loss as it is stored."""

    lost: Lost
    number: int
    loss_id: str
    correlation_id: str
    at_ms: int
    packed: bytes
    """Its base."""
    digest: str
    """Of the row, its base included; the act's ``after_hash`` covers it."""

    def unpacked(self) -> Loss:
        """Return it with its base; only what is proven."""
        return Loss(self.lost, self.number, Base.unpack(self.packed))


class Kept(NamedTuple):
    """All accepted losses of a hub."""

    losses: tuple[StoredLoss, ...]
    """Those of a partition in their order."""
    last: dict[int, Loss]
    """The last one of each partition of hub.usage that has lost something; left out where no act accepted it as it stands here."""
    doubts: tuple[str, ...]
    """What is not as acts accepted it."""


def keep_loss(connection: Connection, lost: Lost, packed: bytes, *, scope: str, loss_id: str, correlation_id: str, at_ms: int) -> str:
    """Keep an accepted loss as the next of its partition; returns its digest."""
    table = USAGE_LOSSES
    row = msgspec.structs.asdict(lost) | {"scope": scope, "number": last_number(connection, lost.usage_partition, scope=scope) + 1}
    row |= {"loss_id": loss_id, "correlation_id": correlation_id, "at_ms": at_ms, "base": packed}
    connection.execute(insert(table).values(row))
    return _digest(row)


def read_kept(connection: Connection, *, scope: str) -> Kept:
    """Return every accepted loss, and what speaks against them."""
    losses = _read(connection, scope=scope)
    proven = _proven(connection, losses, scope=scope)
    last = {one.lost.usage_partition: one for one in losses}
    return Kept(
        losses=tuple(losses),
        last={partition: one.unpacked() for partition, one in last.items() if one.correlation_id in proven},
        doubts=(*_altered(losses, proven), *_incomplete(losses), *_gone(connection, losses, scope=scope)),
    )


def read_last(connection: Connection, usage_partition: int, *, scope: str) -> Loss | None:
    """Return the last loss of a partition of hub.usage, None where it has lost nothing; HUB-LEDGER-002 where no act accepted it so."""
    number = last_number(connection, usage_partition, scope=scope)
    if not number:
        return None
    table = USAGE_LOSSES
    its_act = select(table.c.correlation_id).where(
        table.c.scope == scope, table.c.usage_partition == usage_partition, table.c.number == number
    )
    together = _read(connection, scope=scope, correlation_id=connection.execute(its_act).scalar_one())
    (found,) = [one for one in together if (one.lost.usage_partition, one.number) == (usage_partition, number)]
    if not _proven(connection, together, scope=scope):
        raise HubError(
            "HUB-LEDGER-002",
            f"loss `{found.loss_id}` of hub.usage is not what an act accepted",
            "restore the database: `cityhub ledger check` tells what is not as it was accepted",
        )
    return found.unpacked()


def last_number(connection: Connection, usage_partition: int, *, scope: str) -> int:
    """Return the number of the last loss of a partition of hub.usage, 0 where it has lost nothing."""
    table = USAGE_LOSSES
    wanted = select(sa.func.max(table.c.number)).where(table.c.scope == scope, table.c.usage_partition == usage_partition)
    return connection.scalar(wanted) or 0


def held_since(connection: Connection, *, scope: str) -> dict[int, int]:
    """Return the offset from which on each partition of hub.usage is held to its steps; 0 where it is left out."""
    table = USAGE_LOSSES
    rows = connection.execute(select(table.c.usage_partition, table.c.lost_to).where(table.c.scope == scope).order_by(table.c.number))
    return {row.usage_partition: row.lost_to for row in rows}


def read_loss_ids(connection: Connection, *, scope: str) -> tuple[str, ...]:
    """Return the name of every accepted loss, oldest first."""
    table = USAGE_LOSSES
    found = connection.scalars(select(table.c.loss_id).where(table.c.scope == scope).order_by(table.c.at_ms, table.c.usage_partition))
    return tuple(dict.fromkeys(found))


def keep_bridge(connection: Connection, bridge: Bridge, *, scope: str) -> None:
    """Keep where a chain went on behind the last loss; Overtaken where another was accepted meanwhile."""
    if last_number(connection, bridge.usage_partition, scope=scope) != bridge.number:
        raise Overtaken
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


def _read(connection: Connection, *, scope: str, correlation_id: str | None = None) -> list[StoredLoss]:
    table = USAGE_LOSSES
    wanted = select(table).where(table.c.scope == scope).order_by(table.c.usage_partition, table.c.number)
    if correlation_id is not None:
        wanted = wanted.where(table.c.correlation_id == correlation_id)
    return [_stored(row._mapping) for row in connection.execute(wanted)]  # noqa: SLF001 - public, in spite of its name


def _stored(row: Mapping[Any, Any]) -> StoredLoss:
    return StoredLoss(
        lost=Lost(**{name: row[name] for name in Lost.__struct_fields__}),
        number=row["number"],
        loss_id=row["loss_id"],
        correlation_id=row["correlation_id"],
        at_ms=row["at_ms"],
        packed=row["base"],
        digest=_digest(row),
    )


def _proven(connection: Connection, losses: Iterable[StoredLoss], *, scope: str) -> frozenset[str]:
    """Return the acts that accepted their losses as these stand here."""
    by_act: dict[str, list[StoredLoss]] = {}
    for loss in losses:
        by_act.setdefault(loss.correlation_id, []).append(loss)
    wanted = select(acts.c.correlation_id, acts.c.after_hash).where(
        acts.c.scope == scope, acts.c.outcome == "done", acts.c.act == VERB, acts.c.correlation_id.in_(by_act)
    )
    told = {row.correlation_id: row.after_hash for row in connection.execute(wanted)}
    return frozenset(act for act, together in by_act.items() if told.get(act) == content_hash([one.digest for one in together]))


def _altered(losses: Sequence[StoredLoss], proven: frozenset[str]) -> Iterable[str]:
    return (f"loss {name} is another" for name in dict.fromkeys(one.loss_id for one in losses if one.correlation_id not in proven))


def _incomplete(losses: Sequence[StoredLoss]) -> Iterable[str]:
    """Say where numbers are not 1, 2 … in a partition."""
    numbers: dict[int, list[int]] = {}
    for one in losses:
        numbers.setdefault(one.lost.usage_partition, []).append(one.number)
    for partition, found in numbers.items():
        if gone := sorted(set(range(1, max(found) + 1)) - set(found)):
            yield f"hub.usage-{partition} lacks its losses number {', '.join(map(str, gone))}"


def _gone(connection: Connection, losses: Sequence[StoredLoss], *, scope: str) -> Iterable[str]:
    """Say what was accepted by an act, and of which no row is left."""
    wanted = select(acts.c.object_id, acts.c.correlation_id).where(acts.c.scope == scope, acts.c.outcome == "done", acts.c.act == VERB)
    left = {one.correlation_id for one in losses}
    return [f"loss {row.object_id} is gone" for row in connection.execute(wanted.order_by(acts.c.seq)) if row.correlation_id not in left]


def _digest(row: Mapping[Any, Any]) -> str:
    """Return the hash of a stored loss, its base included."""
    told = {column.name: row[column.name] for column in USAGE_LOSSES.columns if column.name != "base"}
    return content_hash(told | {"base": hashlib.sha256(row["base"]).hexdigest()})
