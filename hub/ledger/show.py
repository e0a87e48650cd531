"""What the ledger holds: usage per agreement or hour, and where the chains stand."""

import msgspec
from sqlalchemy import Engine

from hub.ledger.books import read_chains, read_hours, read_positions, read_refused
from hub.ledger.periods import shown_hour, utc
from hub.store.engine import reading


class Use(msgspec.Struct, frozen=True):
    """Sums of one agreement version, of all time or of one hour."""

    agreement_id: str
    agreement_version: int
    hour: str | None
    """In Asia/Shanghai; None: of all time."""
    delivered: int
    filtered: int
    denied: int
    suppressed: int
    quarantined: int
    gaps: int
    lost: int
    offsets: int
    bytes_source: int
    bytes_delivered: int
    steps: int


class ChainStand(msgspec.Struct, frozen=True):
    """Where a chain stands."""

    chain: str
    source: str
    """Source topic and partition."""
    step: int
    next_offset: int | None
    metered_at: str
    head: str
    state: str
    """``ok`` or ``held``."""
    held_at: int | None
    """Usage offset."""
    held_reason: str | None


class Stand(msgspec.Struct, frozen=True):
    """The ledger as it stands."""

    usage_read_to: dict[int, int]
    """Next usage offset by partition of hub.usage."""
    chains_held: int
    refused: int
    rows: tuple[Use | ChainStand, ...]


_SUMS = (
    "delivered",
    "filtered",
    "denied",
    "suppressed",
    "quarantined",
    "gaps",
    "lost",
    "offsets",
    "bytes_source",
    "bytes_delivered",
    "steps",
)


def show_use(engine: Engine, *, scope: str, agreement: str | None = None, by_hour: bool = False) -> Stand:
    """Return usage by agreement version, or by hour and agreement version; of ``agreement`` alone where given."""
    wanted = None if agreement is None else [agreement]
    sums: dict[tuple[int | None, str, int], dict[str, int]] = {}
    with reading(engine) as connection:
        for key, row in read_hours(connection, scope=scope, agreements=wanted):
            place = (key.hour if by_hour else None, key.agreement_id, key.agreement_version)
            into = sums.setdefault(place, dict.fromkeys(_SUMS, 0))
            for name in _SUMS:
                into[name] += getattr(row, name)
        held = sum(row.chain.held is not None for row in read_chains(connection, scope=scope))
        positions = read_positions(connection, scope=scope)
        refused = len(read_refused(connection, scope=scope))
    rows = tuple(
        Use(agreement_id=name, agreement_version=version, hour=None if hour is None else shown_hour(hour), **sums[hour, name, version])
        for hour, name, version in sorted(sums, key=lambda place: (place[0] or 0, place[1], place[2]))
    )
    return Stand({partition: position.next_offset for partition, position in positions.items()}, held, refused, rows)


def show_chains(engine: Engine, *, scope: str, held_only: bool = False) -> Stand:
    """Return where every chain stands, or only those that are held."""
    with reading(engine) as connection:
        chains = read_chains(connection, scope=scope)
        positions = read_positions(connection, scope=scope)
        refused = len(read_refused(connection, scope=scope))
    rows = tuple(
        ChainStand(
            chain=str(row.id),
            source=f"{row.source_topic}-{row.id.partition}",
            step=row.chain.step,
            next_offset=row.chain.next_offset,
            metered_at=utc(row.chain.metered_ms),
            head=row.chain.head.hex(),
            state="ok" if row.chain.held is None else "held",
            held_at=None if row.chain.held is None else row.chain.held.usage_offset,
            held_reason=None if row.chain.held is None else row.chain.held.reason.value,
        )
        for row in chains
        if row.chain.held is not None or not held_only
    )
    held = sum(row.chain.held is not None for row in chains)
    return Stand({partition: position.next_offset for partition, position in positions.items()}, held, refused, rows)
