"""Reading acts for people and programs: newest first, page by page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.model.errors import HubError
from hub.store.tables import acts

PAGE_MAX: Final = 500
"""Acts in one answer."""
OUTCOMES: Final = ("intended", "done", "refused", "failed")


class ActView(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded row of an act."""

    seq: int
    act_id: str
    at: str
    """UTC."""
    act: str
    object_type: str
    object_id: str
    object_version: int | None
    outcome: str
    reason: str | None
    actor_person_id: str
    actor_org_id: str
    role: str
    auth_method: str
    correlation_id: str
    """The same for an intent and its outcome."""
    before_hash: str | None
    after_hash: str | None
    prev_hash: str
    hash: str


class ActFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which acts are asked for; None: any."""

    object_id: str | None = None
    act: str | None = None
    """Whole, as `suspend.agreement`, or its verb."""
    outcome: str | None = None
    since: str | None = None
    """UTC, ISO 8601, as far as it was written: ``2026-11`` is from the first of November on."""
    before: int | None = None
    """Only acts of a lower number: the last one of the page before."""


class ActPage(msgspec.Struct, frozen=True):
    """Acts, newest first."""

    acts: tuple[ActView, ...]
    next_before: int | None
    """Ask again with ``before`` this number for older ones; None: there are none."""


def find_acts(connection: Connection, *, scope: str, wanted: ActFilter, limit: int) -> ActPage:
    """Return the newest ``limit`` acts that fit; HUB-API-001 for a filter that is none."""
    if not 1 <= limit <= PAGE_MAX:
        raise HubError("HUB-API-001", "`limit` is out of bounds", f"ask for 1 to {PAGE_MAX}")
    query = sa.select(acts).where(acts.c.scope == scope, *_conditions(wanted)).order_by(acts.c.seq.desc()).limit(limit + 1)
    rows = [_view(row) for row in connection.execute(query).mappings()]
    return ActPage(tuple(rows[:limit]), rows[limit - 1].seq if len(rows) > limit else None)


def require_act(connection: Connection, act_id: str, *, scope: str) -> tuple[ActView, ...]:
    """Return every row of the act that ``act_id`` is part of, by its id or correlation id; HUB-ACTS-003 where there is none."""
    named = sa.select(acts.c.correlation_id).where(acts.c.scope == scope, sa.or_(acts.c.act_id == act_id, acts.c.correlation_id == act_id))
    query = sa.select(acts).where(acts.c.scope == scope, acts.c.correlation_id.in_(named)).order_by(acts.c.seq)
    rows = tuple(_view(row) for row in connection.execute(query).mappings())
    if not rows:
        raise HubError("HUB-ACTS-003", "no act has this id", "`cityhub acts list` shows the newest")
    return rows


def _conditions(wanted: ActFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.object_id is not None:
        yield acts.c.object_id == wanted.object_id
    if wanted.act is not None:
        yield sa.or_(acts.c.act == wanted.act, acts.c.act.startswith(f"{wanted.act}.", autoescape=True))
    if wanted.outcome is not None:
        if wanted.outcome not in OUTCOMES:
            raise HubError("HUB-API-001", "`outcome` is none", f"there are: {', '.join(OUTCOMES)}")
        yield acts.c.outcome == wanted.outcome
    if wanted.since is not None:
        yield acts.c.at >= _since(wanted.since)
    if wanted.before is not None:
        yield acts.c.seq < wanted.before


def _since(text: str) -> str:
    """Return a moment as it stands in ``at``."""
    whole = f"{text}-01" if len(text) == len("2026-11") else text
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise HubError("HUB-API-001", "`since` is no moment", "write 2026-11-24, or 2026-11-24T18:00+08:00") from None
    at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _view(row: Any) -> ActView:
    return ActView(**{name: row[name] for name in ActView.__struct_fields__})
