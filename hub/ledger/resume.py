"""Resuming a held chain: its steps are read again from where it was held, by the same rule.

The chain stays held, with ``held_at`` moving on, until the reading has reached the collector's position; only then does the
collector have it back. A kill in between leaves a held chain that can be resumed. What still does not continue holds it again.

A chain that is held because steps of it are missing goes on over them where an accepted loss of hub.usage explains that, once per
loss; which source offsets are in no usage step is kept.
"""

import time
from typing import Final

import msgspec
from sqlalchemy import Engine

from hub.ledger.books import REFUSED, ChainRow, Overtaken, add_hours, move_position, read_chains, read_positions, save_chain
from hub.ledger.chain import Chain, ChainId, Held, Reading, read_step
from hub.ledger.loss_rows import keep_bridge, last_number, read_last
from hub.ledger.losses import BRIDGED, Bridge, Loss, bridge_of, bridged
from hub.ledger.tally import Stretch, Tally
from hub.ledger.usage_log import GONE_FIX, UsageLog
from hub.model.errors import HubError
from hub.model.names import Names
from hub.store.engine import reading, writing

RECORDS_MAX: Final = 2_000
POLLS_MAX: Final = 50
DEADLINE_S: Final = 300.0


class Resumed(msgspec.Struct, frozen=True):
    """What became of a held chain."""

    chain: str
    source_topic: str
    posted: int
    """Steps that were posted."""
    held_at: int | None
    """Usage offset where it is held again; None: it goes on."""
    held_reason: str | None
    unmetered_from: int | None = None
    """First source offset of those whose steps went with an accepted loss of hub.usage: in no usage step, billed to nobody."""
    unmetered_to: int | None = None
    """Source offset behind them; None: none went."""


def resume(chain_id: ChainId, *, bootstrap: str, names: Names, engine: Engine, deadline_s: float = DEADLINE_S) -> Resumed:
    """Read ``chain_id`` again from where it is held; no change when it is not held.

    HUB-LEDGER-005 when it is not known, HUB-LEDGER-006 where hub.usage is another topic than the ledger read, HUB-LEDGER-002 where it
    lacks steps and what is kept of their loss is not what an act accepted.
    """
    row = find_chain(engine, chain_id, scope=names.scope)
    posted = 0
    bridge: Bridge | None = None
    loss: Loss | None = None
    deadline = time.monotonic() + deadline_s
    with UsageLog(bootstrap, names=names, client_id="cityhub-ledger-resume") as usage:
        while row.chain.held is not None:
            if time.monotonic() > deadline:
                raise HubError(
                    "HUB-LEDGER-007", f"chain `{chain_id}` was not read to its end in time", "resume it again, it goes on from there"
                )
            loss = _last_loss(row, row.chain.held, loss, engine=engine, scope=names.scope)
            try:
                tally, crossed = _post_next(row, row.chain.held, usage=usage, loss=loss, engine=engine, scope=names.scope)
            except Overtaken:
                row = find_chain(engine, chain_id, scope=names.scope)
                continue
            posted += tally.posted
            bridge = crossed or bridge
            row = row._replace(chain=tally.chain(chain_id))
            if tally.held:
                break
    return resumed(row, posted=posted, bridge=bridge)


def resumed(row: ChainRow, *, posted: int, bridge: Bridge | None = None) -> Resumed:
    """Return what became of a chain that stands at ``row``."""
    held = row.chain.held
    return Resumed(
        chain=str(row.id),
        source_topic=row.source_topic,
        posted=posted,
        held_at=None if held is None else held.usage_offset,
        held_reason=None if held is None else held.reason.value,
        unmetered_from=None if bridge is None else bridge.after_offset,
        unmetered_to=None if bridge is None else bridge.first_offset,
    )


def find_chain(engine: Engine, chain_id: ChainId, *, scope: str) -> ChainRow:
    """Return where a chain stands; HUB-LEDGER-005 when it is not known."""
    with reading(engine) as connection:
        found = next((row for row in read_chains(connection, scope=scope) if row.id == chain_id), None)
    if found is None:
        raise HubError("HUB-LEDGER-005", f"chain `{chain_id}` is not in the ledger", "`cityhub ledger show --by chain` lists them")
    return found


def _last_loss(row: ChainRow, held: Held, known: Loss | None, *, engine: Engine, scope: str) -> Loss | None:
    """Return the last loss of the chain's partition of hub.usage, ``known`` where it is that; None where it explains no such hold."""
    partition = row.chain.usage_partition or 0
    if held.reason not in BRIDGED:
        return None
    with reading(engine) as connection:
        if known is not None and (known.lost.usage_partition, known.number) == (partition, last_number(connection, partition, scope=scope)):
            return known
        return read_last(connection, partition, scope=scope)


def _post_next(row: ChainRow, held: Held, *, usage: UsageLog, loss: Loss | None, engine: Engine, scope: str) -> tuple[Tally, Bridge | None]:
    """Post one more stretch of a chain that is held; the collector has it back where the stretch ends at its position.

    Of what SQL refuses as a whole the half is tried, down to the record that it refuses.
    """
    partition = row.chain.usage_partition or 0
    with reading(engine) as connection:
        usage_topic_id, end = read_positions(connection, scope=scope)[partition]
    if usage_topic_id != usage.topic_id:
        raise HubError("HUB-LEDGER-006", "hub.usage was deleted and made again: its offsets are not those of the ledger", GONE_FIX)
    stretch = _read(usage, partition, held.usage_offset, end)
    while True:
        try:
            return _post(row, held, stretch, loss=loss, end=end, engine=engine, scope=scope)
        except REFUSED:
            if len(stretch.records) == 1:
                return _post(row, held, stretch, loss=loss, end=end, engine=engine, scope=scope, refused=True)
            half = len(stretch.records) // 2
            stretch = stretch._replace(next_offset=stretch.records[half].offset, records=stretch.records[:half])


def _post(
    row: ChainRow, held: Held, stretch: Stretch, *, loss: Loss | None, end: int, engine: Engine, scope: str, refused: bool = False
) -> tuple[Tally, Bridge | None]:
    """Post a stretch in one SQL transaction. ``refused``: SQL has refused the sums of its one record, so the chain stays held there."""
    start, bridge = _cross(row, stretch, loss, scope=scope)
    tally = Tally(scope=scope, load=lambda _: start, full=refused)
    tally.topics[row.id.topic_id] = row.source_topic
    tally.take(stretch.records, only=row.id)
    if bridge is not None and tally.posted == 0:
        start, bridge = msgspec.structs.replace(row.chain, held=None), None  # unsound in itself: it stays where it stood
        tally.chains[row.id] = msgspec.structs.replace(start, held=tally.chain(row.id).held)
    after = tally.chain(row.id)
    if after.held is None and stretch.next_offset < end:
        after = msgspec.structs.replace(after, held=Held(stretch.next_offset, held.reason))
    tally.chains[row.id] = after
    with writing(engine) as connection:
        if after.held is None:
            move_position(connection, stretch._replace(first_offset=end, next_offset=end), scope=scope)
        save_chain(connection, row.id, before=row.chain, after=after, tally=tally, scope=scope)
        add_hours(connection, tally.hours, scope=scope)
        if bridge is not None:
            keep_bridge(connection, bridge, scope=scope)
    return tally, bridge


def _cross(row: ChainRow, stretch: Stretch, loss: Loss | None, *, scope: str) -> tuple[Chain, Bridge | None]:
    """Return where the chain stands before the first step of ``stretch`` that is its own, and the bridge that brought it there."""
    start = msgspec.structs.replace(row.chain, held=None)
    if loss is None:
        return start, None
    for record in stretch.records:
        found = read_step(record, scope=scope)
        if isinstance(found, Reading) and found.chain_id == row.id:
            after = bridged(start, found, loss)
            return (start, None) if after is None else (after, bridge_of(start, found, loss))
    return start, None


def _read(usage: UsageLog, partition: int, begin: int, end: int) -> Stretch:
    """Return the records of ``partition`` from ``begin`` on, none of them at or beyond ``end``."""
    if usage.positions.get(partition) != begin:
        usage.seek({partition: begin})
    for _ in range(POLLS_MAX if begin < end else 0):
        for stretch in usage.poll(records_max=RECORDS_MAX):
            records = [record for record in stretch.records if record.offset < end]
            return stretch._replace(next_offset=min(stretch.next_offset, end), records=records)
    return Stretch(usage.topic_id, partition, begin, begin, ())
