"""What a period's bill will be, as far as the ledger has read: nothing is posted by looking."""

import difflib
from collections.abc import Collection

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hub.ledger.books import read_chains, read_hours, read_positions, read_used_hours
from hub.ledger.chain import STRANGE
from hub.ledger.loss_rows import read_loss_ids
from hub.ledger.periods import Period, shown_hour
from hub.ledger.rating import Bill, Terms, rate
from hub.ledger.tariffs import TariffBook
from hub.model.errors import HubError
from hub.store.engine import reading
from hub.store.tables import agreements as drafted


class Preview(msgspec.Struct, frozen=True):
    """A bill, and how far it can be relied on."""

    bill: Bill
    usage_read_to: dict[int, int]
    """Next usage offset by partition of hub.usage: what lies behind is not in the bill."""
    periods: tuple[str, ...]
    """Months in which this consumer used anything, oldest first."""
    chains_held: tuple[str, ...]
    """Chains whose use from some step on is not in the bill."""
    losses: tuple[str, ...]
    """Accepted losses of hub.usage: use that was not posted by then is in no bill."""


def preview(engine: Engine, *, scope: str, consumer: str, period: Period, terms: Terms, tariffs: TariffBook) -> Preview:
    """Return the bill of ``consumer`` for ``period`` as the ledger stands; HUB-AGREE-002 for a consumer without agreements."""
    agreements = sorted({agreement_id for (agreement_id, _), one in terms.items() if one.consumer == consumer})
    with reading(engine) as connection:
        if not agreements:
            _require_known(connection, consumer, scope=scope, signed={one.consumer for one in terms.values()})
        usage = list(read_hours(connection, scope=scope, hours=period.hours, agreements=agreements))
        hours = read_used_hours(connection, scope=scope, agreements=agreements)
        chains = read_chains(connection, scope=scope)
        positions = read_positions(connection, scope=scope)
        losses = read_loss_ids(connection, scope=scope)
    topics = {row.id.topic_id: row.source_topic for row in chains}
    bill = rate(usage, scope=scope, consumer=consumer, period=period, terms=terms, tariffs=tariffs, topics=topics)
    return Preview(
        bill=bill,
        usage_read_to={partition: position.next_offset for partition, position in positions.items()},
        periods=tuple(sorted({shown_hour(hour)[: len("2026-11")] for hour in hours})),
        chains_held=tuple(str(row.id) for row in chains if row.chain.held is not None and row.chain.held.reason not in STRANGE),
        losses=losses,
    )


def _require_known(connection: Connection, consumer: str, *, scope: str, signed: Collection[str]) -> None:
    """Hold that somebody has at least drafted an agreement for ``consumer``: its bill is empty then, and no mistake."""
    known = sorted({*signed, *connection.scalars(sa.select(drafted.c.consumer).where(drafted.c.scope == scope))})
    if consumer in known:
        return
    near = difflib.get_close_matches(consumer, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known) or 'none'}"
    raise HubError("HUB-AGREE-002", f"consumer `{consumer}` has no agreement", hint)
