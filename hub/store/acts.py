"""Acts: who did what, recorded before it takes effect, never changed, each linked to the one before by its hash.

An act is two rows of one correlation id: ``intended``, then ``done``, ``refused`` or ``failed``. A refusal that is found before
anything was intended is one row. The link is SHA-256 over the canonical JSON of a row with its ``prev_hash``; the officer signs it.
Whether what stands here is what was recorded is held by ``hub.store.act_chain``.
"""

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import rfc8785
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from hub.model.signing import key_id_of
from hub.store.tables import act_signatures, acts

GENESIS: Final = "0" * 64
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REASON_CHARACTERS_MAX: Final = 1_000
_LINKED: Final = tuple(column.name for column in acts.columns if column.name != "hash")


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: a person, for an organisation, in a role, known by some means."""

    person_id: str
    org_id: str
    role: str = "steward"
    auth_method: str = "local"


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to what; ``verb`` reads ``sign.agreement``."""

    verb: str
    object_type: str
    object_id: str
    object_version: int | None = None
    before_hash: str | None = None
    after_hash: str | None = None


def new_ulid() -> str:
    """Return a new ULID: 48 bits of milliseconds, 80 random bits, Crockford's base 32."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def record_act(
    connection: Connection,
    act: Act,
    *,
    actor: Actor,
    scope: str,
    outcome: str,
    correlation_id: str,
    reason: str | None = None,
    key: Ed25519PrivateKey | None = None,
) -> str:
    """Append one row to ``acts``, signed with ``key``, and return its id. The caller's SQL transaction decides whether it stands."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE acts IN EXCLUSIVE MODE"))
    last = connection.execute(sa.select(acts.c.seq, acts.c.hash).order_by(acts.c.seq.desc()).limit(1)).first()
    row: dict[str, Any] = {
        "seq": last.seq + 1 if last else 1,
        "act_id": new_ulid(),
        "scope": scope,
        "actor_person_id": actor.person_id,
        "actor_org_id": actor.org_id,
        "role": actor.role,
        "auth_method": actor.auth_method,
        "act": act.verb,
        "object_type": act.object_type,
        "object_id": act.object_id,
        "object_version": act.object_version,
        "before_hash": act.before_hash,
        "after_hash": act.after_hash,
        "reason": reason[:_REASON_CHARACTERS_MAX] if reason else None,
        "outcome": outcome,
        "correlation_id": correlation_id,
        "at": datetime.now(tz=UTC).isoformat(timespec="milliseconds"),
        "prev_hash": last.hash if last else GENESIS,
    }
    row["hash"] = link_of(row)
    connection.execute(acts.insert().values(**row))
    if key is not None:
        signed = {"key_id": key_id_of(key.public_key()), "signature": key.sign(signing_bytes(row["hash"]))}
        connection.execute(act_signatures.insert().values(act_id=row["act_id"], **signed))
    return str(row["act_id"])


def open_acts(connection: Connection, *, scope: str) -> Sequence[sa.Row[Any]]:
    """Return the rows ``intended`` whose correlation id has no outcome yet, oldest first."""
    later = acts.alias()
    ended = sa.exists().where(later.c.correlation_id == acts.c.correlation_id, later.c.outcome != "intended")
    wanted = sa.select(acts).where(acts.c.scope == scope, acts.c.outcome == "intended", ~ended)
    return connection.execute(wanted.order_by(acts.c.seq)).all()


def content_hash(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, for ``before_hash`` and ``after_hash``."""
    return hashlib.sha256(rfc8785.dumps(msgspec.to_builtins(value))).hexdigest()


def link_of(row: Mapping[str, Any]) -> str:
    """Return the hash that a row of ``acts`` must carry; whatever JSON cannot hold raises ValueError or TypeError."""
    return hashlib.sha256(rfc8785.dumps({name: row[name] for name in _LINKED})).hexdigest()


def signing_bytes(link: str) -> bytes:
    """Return what the officer's signature on an act covers."""
    return b"cityhub act\0" + link.encode()
