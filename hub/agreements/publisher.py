"""The one writer of hub.plan: signs entries, gives each its revision, and appends what belongs together, batch by batch.

SQL first (``store``, in the transaction of the change), then the append, then its offsets. What was stored and not appended is found
again by ``hub.agreements.repair``. A batch is atomic: readers see all of it or nothing; a change of several is put ``in_order``, so
that no worker acts on half of it. Callers hold the write lock of ``Desk`` over each batch.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from hub.broker.batches import HEADER_BYTES, RECORD_OVERHEAD_BYTES, build_batches
from hub.model.entry import AgreementBody, Body, Kind, decode_body, encode_body, plan_key
from hub.model.errors import HubError
from hub.model.plan_proof import HEADER, plan_proof
from hub.model.records import PlanEntry, decode_plan_entry, encode_plan_entry
from hub.model.signing import key_id_of, sign_entry
from hub.observe.failpoints import failpoint
from hub.store.engine import reading, writing
from hub.store.tables import plan_entries

CHANGE_BYTES_MAX: Final = 900_000
"""One record batch, which must fit into the broker's limit of a message. A change that needs several is cut by ``batches_of``."""
PROOFS_BYTES_MAX: Final = 500
"""What the proofs of one record take, under all master keys."""
_KEYS_ASKED_MAX: Final = 500
_ORDER: Final = (Kind.KEYS, Kind.SCHEMA, Kind.AGREEMENT, Kind.DATASET)


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
    correlation_id: str = ""

    @property
    def room_bytes(self) -> int:
        """What it takes in a batch, at most."""
        return len(self.key) + len(self.value) + RECORD_OVERHEAD_BYTES + PROOFS_BYTES_MAX

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return plan_key(Kind(self.kind), self.object_id)


class Mark(NamedTuple):
    """The newest revision of an object, and its offset in hub.plan, None until it was acknowledged."""

    revision: int
    offset: int | None


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
        """Sign ``drafts`` as the next revision of their objects and store them, in the caller's SQL transaction; HUB-PLAN-003."""
        wanted = list(drafts)
        known = self.newest_revisions(connection, [plan_key(draft.kind, draft.object_id) for draft in wanted])
        signed = self.sign(wanted, known, correlation_id=correlation_id)
        self.store(connection, signed)
        return signed

    def sign(self, drafts: Iterable[Draft], known: Mapping[bytes, int], *, correlation_id: str) -> tuple[Staged, ...]:
        """Return ``drafts`` signed, each of the revision after the one ``known`` by its key; needs no database and no lock.

        HUB-PLAN-003 for an entry that no batch of hub.plan can hold: it is refused before anything of its change stands.
        """
        return tuple(self._signed(draft, known.get(plan_key(draft.kind, draft.object_id), 0) + 1, correlation_id) for draft in drafts)

    def store(self, connection: Connection, signed: Sequence[Staged]) -> None:
        """Store signed entries, in the caller's SQL transaction; their revisions must be the next ones."""
        rows = [
            {
                "scope": self._scope,
                "kind": entry.kind,
                "object_id": entry.object_id,
                "revision": entry.revision,
                "value": entry.value,
                "appended_offset": None,
                "correlation_id": entry.correlation_id,
                "narrows": entry.narrows,
            }
            for entry in signed
        ]
        if rows:
            connection.execute(plan_entries.insert(), rows)

    def append(self, staged: Sequence[Staged], *, urgent: bool = False) -> int:
        """Append entries that are stored as one batch, note their offsets, and return the offset of the last of them.

        Entries that have been overtaken by a newer revision, or that repair has appended meanwhile, are left out: revisions reach
        the log in their order.
        """
        with reading(self._engine) as connection:
            marks = self.marks(connection, [entry.key for entry in staged])
        due = [entry for entry in staged if marks[entry.key] == Mark(entry.revision, None)]
        return self.append_again(due, urgent=urgent) if due else max(mark.offset or 0 for mark in marks.values())

    def append_again(self, entries: Sequence[Staged], *, urgent: bool = False) -> int:
        """Append entries that are stored as one batch, whether they stand in hub.plan already or not; as ``append``."""
        batches = build_batches(
            [(entry.key, entry.value, self._headers(entry)) for entry in entries],
            bytes_max=CHANGE_BYTES_MAX,
            timestamp_ms=time.time_ns() // 1_000_000,
        )
        if len(batches) != 1:
            raise HubError("HUB-PLAN-003", f"{len(entries)} entries do not fit into one batch", "report this: they were to be cut before")
        failpoint("plan.before_append")
        first = self._append(batches[0].data)
        failpoint("plan.appended")
        self.note_offsets({entry: first + place for place, entry in enumerate(entries)}, urgent=urgent)
        failpoint("plan.noted")
        return first + len(entries) - 1

    def _headers(self, entry: Staged) -> list[tuple[str, bytes | None]]:
        """Return the hub's proof of one record under each master key, made anew at each append: SQL keeps the value alone."""
        keys = self._master_keys.items()
        return [(HEADER, plan_proof(key, scope=self._scope, epoch=epoch, key=entry.key, value=entry.value)) for epoch, key in keys]

    def note_offsets(self, offsets: Mapping[Staged, int], *, urgent: bool = False) -> None:
        """Keep where entries stand in hub.plan."""
        table = plan_entries
        same = (table.c.scope == self._scope, *(table.c[name] == sa.bindparam(f"of_{name}") for name in ("kind", "object_id", "revision")))
        rows = [
            {"of_kind": entry.kind, "of_object_id": entry.object_id, "of_revision": entry.revision, "appended_offset": offset}
            for entry, offset in offsets.items()
        ]
        with writing(self._engine, urgent=urgent) as connection:
            connection.execute(table.update().where(*same), rows)

    def newest_revisions(self, connection: Connection, keys: Collection[bytes]) -> dict[bytes, int]:
        """Return the newest revision by record key; keys of which nothing was ever said are absent."""
        return {key: mark.revision for key, mark in self.marks(connection, keys).items()}

    def marks(self, connection: Connection, keys: Collection[bytes]) -> dict[bytes, Mark]:
        """Return the newest revision and where it stands in hub.plan, by record key; keys of which nothing was said are absent."""
        by_kind: dict[str, list[str]] = {}
        for key in keys:
            kind, _, object_id = key.decode().partition("/")
            by_kind.setdefault(kind, []).append(object_id)
        table = plan_entries
        found: dict[bytes, Mark] = {}
        for kind, ids in by_kind.items():
            for start in range(0, len(ids), _KEYS_ASKED_MAX):
                wanted = sa.select(table.c.object_id, table.c.revision, table.c.appended_offset).where(
                    table.c.scope == self._scope, table.c.kind == kind, table.c.object_id.in_(ids[start : start + _KEYS_ASKED_MAX])
                )
                for row in connection.execute(wanted.order_by(table.c.revision)):
                    found[plan_key(Kind(kind), row.object_id)] = Mark(row.revision, row.appended_offset)
        return found

    def newest(self, connection: Connection) -> dict[bytes, Staged]:
        """Return the newest revision of every object, by record key."""
        return {entry.key: entry for entry in self._newest(connection)}

    def _newest(self, connection: Connection, *only: sa.ColumnElement[bool]) -> Iterator[Staged]:
        columns = (plan_entries.c.kind, plan_entries.c.object_id)
        last = (
            sa.select(*columns, sa.func.max(plan_entries.c.revision).label("revision"))
            .where(plan_entries.c.scope == self._scope, *only)
            .group_by(*columns)
            .subquery()
        )
        same = sa.and_(*(plan_entries.c[name] == last.c[name] for name in ("kind", "object_id", "revision")))
        wanted = sa.select(plan_entries).join(last, same).where(plan_entries.c.scope == self._scope)
        return (_staged(row) for row in connection.execute(wanted))

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

    def bodies(self, connection: Connection, kind: Kind, object_ids: Collection[str]) -> dict[str, Body]:
        """Return the newest body of each object by its id; those of which nothing was ever said are absent."""
        wanted = set(object_ids)
        newest = (entry for entry in self._newest(connection, plan_entries.c.kind == str(kind)) if entry.object_id in wanted)
        return {entry.object_id: decode_body(kind, decode_plan_entry(entry.value).body) for entry in newest}

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

    def _signed(self, draft: Draft, revision: int, correlation_id: str) -> Staged:
        entry = PlanEntry(str(draft.kind), draft.object_id, revision, self._scope, encode_body(draft.body), "", b"")
        value = encode_plan_entry(sign_entry(entry, self._key))
        signed = Staged(str(draft.kind), draft.object_id, revision, value, None, draft.narrows, correlation_id)
        if HEADER_BYTES + signed.room_bytes > CHANGE_BYTES_MAX:
            what = f"the entry of {draft.kind} `{draft.object_id}` has {len(value)} bytes, hub.plan takes {CHANGE_BYTES_MAX}"
            raise HubError("HUB-PLAN-003", what, "shorten lists in the rules, or grant fewer fields in an agreement")
        return signed


def batches_of(entries: Sequence[Staged]) -> Iterator[list[Staged]]:
    """Cut entries, in their order, into runs that fit into one batch each."""
    run: list[Staged] = []
    size = HEADER_BYTES
    for entry in entries:
        if run and size + entry.room_bytes > CHANGE_BYTES_MAX:
            yield run
            run, size = [], HEADER_BYTES
        run.append(entry)
        size += entry.room_bytes
    if run:
        yield run


def in_order(entries: Iterable[Staged]) -> list[Staged]:
    """Put entries into the order in which no worker sees half of a change, wherever it stops to read.

    An agreement comes after the output schemas that it names, and a dataset, which lets records of a new schema in, after its
    agreements: a plan knows no writer schema that its dataset does not list.
    """
    return sorted(entries, key=lambda entry: _ORDER.index(Kind(entry.kind)))


def _staged(row: sa.Row[tuple[object, ...]]) -> Staged:
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row by name
    return Staged(
        found["kind"],
        found["object_id"],
        found["revision"],
        found["value"],
        found["appended_offset"],
        found["narrows"],
        found["correlation_id"],
    )
