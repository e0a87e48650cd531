"""Signed agreements for tests of the ledger: rows and entries as the control plane stores them, without a broker."""

from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, func, select

from hub.model.agreement import Agreement
from hub.model.entry import AgreementBody, Kind, encode_body
from hub.model.lifecycle import State
from hub.model.records import PlanEntry, encode_plan_entry
from hub.model.signing import sign_entry
from hub.store.acts import new_ulid
from hub.store.engine import writing
from hub.store.keys import create_keys, load_officer_key
from hub.store.tables import agreements, plan_entries


def officer_key(folder: Path) -> Ed25519PrivateKey:
    """Return the officer's key of a state folder, made where it is missing."""
    create_keys(folder / "keys", epoch=1, comment="test")
    return load_officer_key(folder / "keys")


def sign_into(engine: Engine, terms: Agreement, *, scope: str, key: Ed25519PrivateKey, state: State = State.ACTIVE) -> None:
    """Store a version of an agreement in ``state``, signed; the versions before it have ended."""
    body = AgreementBody(state=state, terms=terms, share_topic="share.x.y", key_epoch=1, output_schema_ids={}, since_ms=0)
    with writing(engine) as connection:
        mine = (plan_entries.c.scope == scope, plan_entries.c.object_id == terms.id)
        revision = (connection.scalar(select(func.max(plan_entries.c.revision)).where(*mine)) or 0) + 1
        entry = sign_entry(PlanEntry(Kind.AGREEMENT, terms.id, revision, scope, encode_body(body), "", b""), key)
        stored = {"scope": scope, "kind": entry.kind, "object_id": terms.id, "revision": revision, "value": encode_plan_entry(entry)}
        connection.execute(plan_entries.insert().values(**stored, appended_offset=revision, correlation_id=new_ulid()))
        whole = (agreements.c.scope == scope, agreements.c.agreement_id == terms.id)
        connection.execute(agreements.update().where(*whole).values(state=str(State.ENDED)))
        connection.execute(agreements.delete().where(*whole, agreements.c.version == terms.version))
        row = {"dataset": terms.dataset, "consumer": terms.consumer, "terms": msgspec.json.encode(terms).decode(), "state": str(state)}
        place = {"scope": scope, "agreement_id": terms.id, "version": terms.version}
        connection.execute(agreements.insert().values(**place, **row, file_name="a.yaml", file_text="", since_ms=0))
