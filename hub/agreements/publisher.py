"""The one writer of hub.plan: signs entries, gives each its revision, and appends what belongs together as one record batch.

The order is that of DESIGN part 5: SQL first (``stage``, in the transaction of the change), then the append, then its offsets.
What was staged and not appended is found again by ``hub.agreements.repair``. Callers hold the write lock of ``Desk`` over both,
so that revisions reach the log in their order. A batch is atomic: readers see all of a change or nothing.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from hub.broker.batches import build_batches
from hub.model.entry import AgreementBody, Body, Kind, decode_body, encode_body, plan_key
from hub.model.errors import HubError
from hub.model.plan_proof import HEADER, plan_proof
from hub.model.records import PlanEntry, decode_plan_entry, encode_plan_entry
from hub.model.signing import key_id_of, sign_entry
from hub.store.engine import writing
from hub.store.tables import plan_entries

CHANGE_BYTES_MAX: Final = 900_000
"""One change is one record batch, which must fit into the broker's limit of a message."""


class Draft(msgspec.Struct, frozen=True):
    """What is to be said about one object."""

    kind: Kind
    object_id: str
    body: Body
    narrows: str | None = None
    """Dataset whose lanes must be fenced after the append; None where no right narrows."""


class Staged(msgspec.Struct, frozen=True):
    """A signed entry that stands in SQL, and in hub.plan once ``offset`` is known."""

    kind: str
    object_id: str
    revision: int
    value: bytes
    offset: int | None
    narrows: str | None = None

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return plan_key(Kind(self.kind), self.object_id)


class Publisher:
    """Writes hub.plan for one scope."""

    def __init__(
        self, *, engine: Engine, scope: str, key: Ed25519PrivateKey, master_keys: Mapping[int, bytes], append: Callable[[bytes], int]
    ) -> None:
        """Sign with ``key``, prove with the master keys by epoch; ``append`` puts one record batch at the end of hub.plan.

        It returns the batch's first offset.
        """
        self._engine = engine
        self._scope = scope
        self._key = key
        self._master_keys = master_keys
        self._append = append

    @property
    def key_id(self) -> str:
        """Id of the key that signs."""
        return key_id_of(self._key.public_key())

    def stage(self, connection: Connection, drafts: Iterable[Draft], *, correlation_id: str) -> tuple[Staged, ...]:
        """Sign ``drafts`` as the next revision of their objects and store them, in the caller's SQL transaction."""
        return tuple(self._stage(connection, draft, correlation_id) for draft in drafts)

    def append(self, staged: Sequence[Staged], *, urgent: bool = False) -> int:
        """Append entries that are stored as one batch, note their offsets, and return the offset of the last of them."""
        batches = build_batches(
            [(entry.key, entry.value, self._headers(entry)) for entry in staged],
            bytes_max=CHANGE_BYTES_MAX,
            timestamp_ms=time.time_ns() // 1_000_000,
        )
        if len(batches) != 1:
            raise HubError("HUB-PLAN-003", f"change of {len(staged)} entries does not fit into one batch", "split the change")
        first = self._append(batches[0].data)
        self.note_offsets({entry: first + place for place, entry in enumerate(staged)}, urgent=urgent)
        return first + len(staged) - 1

    def _headers(self, entry: Staged) -> list[tuple[str, bytes | None]]:
        """Return the hub's proof of one record under each master key, made anew at each append: SQL keeps the value alone."""
        keys = self._master_keys.items()
        return [(HEADER, plan_proof(key, scope=self._scope, epoch=epoch, key=entry.key, value=entry.value)) for epoch, key in keys]

    def note_offsets(self, offsets: Mapping[Staged, int], *, urgent: bool = False) -> None:
        """Keep where entries stand in hub.plan."""
        with writing(self._engine, urgent=urgent) as connection:
            for entry, offset in offsets.items():
                self._note_offset(connection, entry, offset)

    def newest(self, connection: Connection) -> dict[bytes, Staged]:
        """Return the newest revision of every object, by record key."""
        columns = (plan_entries.c.kind, plan_entries.c.object_id)
        last = (
            sa.select(*columns, sa.func.max(plan_entries.c.revision).label("revision"))
            .where(plan_entries.c.scope == self._scope)
            .group_by(*columns)
            .subquery()
        )
        same = sa.and_(*(plan_entries.c[name] == last.c[name] for name in ("kind", "object_id", "revision")))
        wanted = sa.select(plan_entries).join(last, same).where(plan_entries.c.scope == self._scope)
        return {entry.key: entry for entry in (_staged(row) for row in connection.execute(wanted))}

    def newest_by_key(self, connection: Connection, keys: Collection[bytes]) -> dict[bytes, Staged]:
        """Return the newest revision of the objects that record ``keys`` name; keys of no object are absent."""
        found: dict[bytes, Staged] = {}
        for key in keys:
            kind, _, object_id = key.decode(errors="replace").partition("/")
            entry = self.newest_of(connection, Kind(kind), object_id) if kind in tuple(Kind) else None
            if entry is not None:
                found[key] = entry
        return found

    def newest_of(self, connection: Connection, kind: Kind, object_id: str) -> Staged | None:
        """Return the newest revision of one object, None where nothing was ever said about it."""
        wanted = sa.select(plan_entries).where(
            plan_entries.c.scope == self._scope, plan_entries.c.kind == str(kind), plan_entries.c.object_id == object_id
        )
        row = connection.execute(wanted.order_by(plan_entries.c.revision.desc()).limit(1)).first()
        return _staged(row) if row is not None else None

    def revisions(self, connection: Connection, kind: Kind) -> set[tuple[str, int]]:
        """Return every revision of every object of a kind."""
        wanted = sa.select(plan_entries.c.object_id, plan_entries.c.revision)
        rows = connection.execute(wanted.where(plan_entries.c.scope == self._scope, plan_entries.c.kind == str(kind)))
        return {(row.object_id, row.revision) for row in rows}

    def body_of(self, connection: Connection, kind: Kind, object_id: str) -> Body | None:
        """Return the newest body of one object, None where nothing was ever said about it."""
        found = self.newest_of(connection, kind, object_id)
        return None if found is None else decode_body(kind, decode_plan_entry(found.value).body)

    def of_act(self, connection: Connection, correlation_id: str) -> tuple[Staged, ...]:
        """Return the entries that one act staged."""
        wanted = sa.select(plan_entries).where(plan_entries.c.scope == self._scope, plan_entries.c.correlation_id == correlation_id)
        return tuple(_staged(row) for row in connection.execute(wanted))

    @staticmethod
    def agreement_of(entry: Staged) -> AgreementBody:
        """Return the body of an agreement's entry; ValueError where it is of another kind."""
        body = decode_body(Kind(entry.kind), decode_plan_entry(entry.value).body)
        if not isinstance(body, AgreementBody):
            message = f"{entry.kind} is no agreement"
            raise ValueError(message)  # noqa: TRY004 - of the value, not of its type
        return body

    def _stage(self, connection: Connection, draft: Draft, correlation_id: str) -> Staged:
        before = self.newest_of(connection, draft.kind, draft.object_id)
        revision = before.revision + 1 if before is not None else 1
        entry = PlanEntry(str(draft.kind), draft.object_id, revision, self._scope, encode_body(draft.body), "", b"")
        value = encode_plan_entry(sign_entry(entry, self._key))
        row = {
            "kind": str(draft.kind),
            "object_id": draft.object_id,
            "revision": revision,
            "value": value,
            "appended_offset": None,
            "correlation_id": correlation_id,
            "narrows": draft.narrows,
        }
        connection.execute(plan_entries.insert().values(scope=self._scope, **row))
        return Staged(str(draft.kind), draft.object_id, revision, value, None, draft.narrows)

    def _note_offset(self, connection: Connection, entry: Staged, offset: int) -> None:
        where = (
            plan_entries.c.scope == self._scope,
            plan_entries.c.kind == entry.kind,
            plan_entries.c.object_id == entry.object_id,
            plan_entries.c.revision == entry.revision,
        )
        connection.execute(plan_entries.update().where(*where).values(appended_offset=offset))


def _staged(row: sa.Row[tuple[object, ...]]) -> Staged:
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row by name
    return Staged(found["kind"], found["object_id"], found["revision"], found["value"], found["appended_offset"], found["narrows"])
