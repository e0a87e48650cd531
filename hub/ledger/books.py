"""The ledger in SQL: posting a stretch of hub.usage in one transaction, and reading what was posted.

Two collectors, or a collector and a resume, may run at once: whoever posts first moves the position row of its partition of
hub.usage by compare-and-set, which also locks it; the other finds it moved, raises ``Overtaken`` and has changed nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, and_, case, insert, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from hub.ledger.chain import Break, Chain, ChainId, Held, strangeness
from hub.ledger.known_topics import known_topics
from hub.ledger.losses import ACCEPT_LOSS
from hub.ledger.tables import USAGE_CHAINS, USAGE_HOURS, USAGE_POSITIONS, USAGE_REFUSED
from hub.ledger.tally import COUNTS, SUM_MAX, HourKey, HourSums, Stretch, Tally
from hub.model.errors import HubError
from hub.store.engine import writing

REFUSED: Final = (IntegrityError, DataError, OverflowError)
"""What SQL has against values: sums beyond its integers, or a law that its tables hold."""


class Overtaken(Exception):  # noqa: N818 - a state: someone else has posted there
    """Somebody else moved the row first: nothing was posted, read the position again."""


class UsagePosition(NamedTuple):
    """Everything below ``next_offset`` of a partition of hub.usage is in the ledger."""

    usage_topic_id: str
    next_offset: int


class ChainRow(NamedTuple):
    """A chain as the ledger holds it."""

    id: ChainId
    source_topic: str
    chain: Chain


def post(engine: Engine, stretch: Stretch, *, scope: str, refused: bool = False) -> Tally:
    """Post ``stretch`` in one SQL transaction, position and effects; Overtaken when the position is not where it begins.

    ``refused``: SQL has refused the sums of these records before, so their chains are held and nothing is summed.
    """
    with writing(engine) as connection:
        move_position(connection, stretch, scope=scope)
        before: dict[ChainId, Chain] = {}

        def load(chain_id: ChainId) -> Chain:
            before[chain_id] = load_chain(connection, chain_id, scope=scope)
            return before[chain_id]

        def strange(chain_id: ChainId) -> Break | None:
            return strangeness(chain_id, known_topics(connection, scope=scope, topic_id=chain_id.topic_id))

        tally = Tally(scope=scope, load=load, strange=strange, full=refused)
        tally.take(record for record in stretch.records if record.offset >= stretch.first_offset)
        for chain_id, chain in before.items():
            save_chain(connection, chain_id, before=chain, after=tally.chain(chain_id), tally=tally, scope=scope)
        add_hours(connection, tally.hours, scope=scope)
        rows = [
            {"scope": scope, "usage_partition": partition, "usage_offset": offset, "reason": reason.value}
            for (partition, offset), reason in tally.refused.items()
        ]
        if rows:
            connection.execute(insert(USAGE_REFUSED), rows)
    return tally


def post_singly(engine: Engine, stretch: Stretch, *, scope: str) -> list[Tally]:
    """Post a stretch that SQL refused as a whole, record by record: the chain of the one that it refuses is held, the others go on."""
    tallies = []
    begins = [stretch.first_offset, *(record.offset for record in stretch.records[1:])]
    for number, (first, record) in enumerate(zip(begins, stretch.records, strict=True)):
        after = begins[number + 1] if number + 1 < len(begins) else stretch.next_offset
        single = stretch._replace(first_offset=first, next_offset=after, records=[record])
        try:
            tallies.append(post(engine, single, scope=scope))
        except REFUSED:
            tallies.append(post(engine, single, scope=scope, refused=True))
    return tallies


def open_positions(engine: Engine, *, scope: str, usage_topic_id: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the next offset by partition of hub.usage, 0 for one that is new; HUB-LEDGER-006 when it is another topic."""
    with writing(engine) as connection:
        found = read_positions(connection, scope=scope)
        if any(position.usage_topic_id != usage_topic_id for position in found.values()):
            raise HubError(
                "HUB-LEDGER-006",
                "hub.usage was deleted and made again: the ledger holds another topic of that name",
                f"restore the broker's data; where they are gone for good: {ACCEPT_LOSS}",
            )
        for partition in sorted(set(partitions) - set(found)):
            row = {"scope": scope, "usage_partition": partition, "usage_topic_id": usage_topic_id, "next_offset": 0}
            connection.execute(insert(USAGE_POSITIONS).values(row))
            found[partition] = UsagePosition(usage_topic_id, 0)
        return {partition: position.next_offset for partition, position in found.items()}


def read_positions(connection: Connection, *, scope: str) -> dict[int, UsagePosition]:
    """Return how far each partition of hub.usage is in the ledger."""
    table = USAGE_POSITIONS
    rows = connection.execute(select(table).where(table.c.scope == scope).order_by(table.c.usage_partition))
    return {row.usage_partition: UsagePosition(row.usage_topic_id, row.next_offset) for row in rows}


def move_position(connection: Connection, stretch: Stretch, *, scope: str) -> None:
    """Move the position over ``stretch``, which also locks it until the transaction ends; Overtaken when it is elsewhere."""
    table = USAGE_POSITIONS
    moved = connection.execute(
        update(table)
        .where(
            table.c.scope == scope,
            table.c.usage_partition == stretch.usage_partition,
            table.c.usage_topic_id == stretch.usage_topic_id,
            table.c.next_offset == stretch.first_offset,
        )
        .values(next_offset=stretch.next_offset)
    )
    if moved.rowcount != 1:
        raise Overtaken


def load_chain(connection: Connection, chain_id: ChainId, *, scope: str) -> Chain:
    """Return where a chain stands; the default chain where the ledger has none."""
    row = connection.execute(select(USAGE_CHAINS).where(is_chain(chain_id, scope))).one_or_none()
    return Chain() if row is None else _chain_of(row)


def read_chains(connection: Connection, *, scope: str) -> list[ChainRow]:
    """Return every chain, by source topic, partition and pass."""
    table = USAGE_CHAINS
    order = (table.c.source_topic, table.c.topic_id, table.c.source_partition, table.c.pass_id)
    rows = connection.execute(select(table).where(table.c.scope == scope).order_by(*order))
    return [ChainRow(ChainId(row.topic_id, row.source_partition, row.pass_id), row.source_topic, _chain_of(row)) for row in rows]


def save_chain(connection: Connection, chain_id: ChainId, *, before: Chain, after: Chain, tally: Tally, scope: str) -> None:
    """Move a chain from ``before`` to ``after`` by compare-and-set; Overtaken when it no longer stands at ``before``."""
    if after == before:
        return
    table = USAGE_CHAINS
    held = after.held
    values: dict[str, Any] = {
        "source_topic": tally.topics[chain_id.topic_id],
        "usage_partition": after.usage_partition,
        "step": after.step,
        "next_offset": after.next_offset,
        "head": after.head.hex(),
        "metered_ms": after.metered_ms,
        "held_at": None if held is None else held.usage_offset,
        "held_reason": None if held is None else held.reason.value,
    }
    if before == Chain():
        key = {"scope": scope, "topic_id": chain_id.topic_id, "source_partition": chain_id.partition, "pass_id": chain_id.pass_id}
        connection.execute(insert(table).values(key | values))
        return
    moved = connection.execute(
        update(table)
        .where(
            is_chain(chain_id, scope),
            table.c.next_offset.is_not_distinct_from(before.next_offset),
            table.c.head == before.head.hex(),
            table.c.held_at.is_not_distinct_from(None if before.held is None else before.held.usage_offset),
        )
        .values(values)
    )
    if moved.rowcount != 1:
        raise Overtaken


def add_hours(connection: Connection, hours: Mapping[HourKey, HourSums], *, scope: str) -> None:
    """Add sums to the hourly rows; the caller holds the position of their partition of hub.usage."""
    rows = [{"scope": scope} | key._asdict() | msgspec.structs.asdict(sums) for key, sums in hours.items()]
    if rows:
        connection.execute(_ADD_HOUR[connection.dialect.name], rows)


def read_hours(
    connection: Connection,
    *,
    scope: str,
    hours: range | None = None,
    agreements: Sequence[str] | None = None,
    usage_partition: int | None = None,
) -> Iterator[tuple[HourKey, HourSums]]:
    """Return hourly rows in the order of their keys, of ``hours``, ``agreements`` and ``usage_partition`` where given."""
    table = USAGE_HOURS
    wanted = [table.c.scope == scope]
    if hours is not None:
        wanted.append(table.c.hour.between(hours.start, hours.stop - 1))
    if agreements is not None:
        wanted.append(table.c.agreement_id.in_(agreements))
    if usage_partition is not None:
        wanted.append(table.c.usage_partition == usage_partition)
    order = [table.c[name] for name in HourKey._fields]
    for row in connection.execute(select(table).where(and_(*wanted)).order_by(*order)):
        fields = row._mapping  # noqa: SLF001 - public, in spite of its name
        key = HourKey(**{name: fields[name] for name in HourKey._fields})
        yield key, HourSums(**{name: fields[name] for name in HourSums.__struct_fields__})


def read_used_hours(connection: Connection, *, scope: str, agreements: Sequence[str]) -> list[int]:
    """Return every hour in which something was delivered under ``agreements``."""
    table = USAGE_HOURS
    wanted = (table.c.scope == scope, table.c.agreement_id.in_(agreements), table.c.delivered > 0)
    return list(connection.scalars(select(table.c.hour).where(*wanted).distinct()))


def read_refused(connection: Connection, *, scope: str) -> dict[tuple[int, int], str]:
    """Return why each refused record of hub.usage was refused, by partition and offset."""
    table = USAGE_REFUSED
    rows = connection.execute(select(table).where(table.c.scope == scope).order_by(table.c.usage_partition, table.c.usage_offset))
    return {(row.usage_partition, row.usage_offset): row.reason for row in rows}


def is_chain(chain_id: ChainId, scope: str) -> Any:
    """Return the condition that a row of ``usage_chain`` is of ``chain_id``."""
    table = USAGE_CHAINS
    return and_(
        table.c.scope == scope,
        table.c.topic_id == chain_id.topic_id,
        table.c.source_partition == chain_id.partition,
        table.c.pass_id == chain_id.pass_id,
    )


def _chain_of(row: Any) -> Chain:
    held = None if row.held_at is None else Held(row.held_at, Break(row.held_reason))
    return Chain(
        step=row.step,
        next_offset=row.next_offset,
        head=bytes.fromhex(row.head),
        metered_ms=row.metered_ms,
        usage_partition=row.usage_partition,
        held=held,
    )


def _add_hour(dialect: Any) -> Any:
    """Return the statement that makes an hourly row or adds to it."""
    row = dialect.insert(USAGE_HOURS)
    added = {name: _sum(USAGE_HOURS.c[name], row.excluded[name]) for name in COUNTS}
    was, now = USAGE_HOURS.c.last_usage_offset, row.excluded.last_usage_offset
    latest = {"last_step": row.excluded.last_step, "last_usage_offset": case((was > now, was), else_=now)}  # made again: lower offsets
    return row.on_conflict_do_update(index_elements=list(USAGE_HOURS.primary_key), set_=added | latest)


def _sum(one: Any, other: Any) -> Any:
    """Return a sum that is null, and so refused, beyond SQL's integers: SQLite would go on in floating point."""
    return case((one > SUM_MAX - other, null()), else_=one + other)


_ADD_HOUR: Final = {"sqlite": _add_hour(sqlite), "postgresql": _add_hour(postgresql)}
