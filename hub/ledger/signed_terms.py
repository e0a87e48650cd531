"""The terms that were signed, out of the signed entries in SQL, and where the agreements in SQL say something else.

A bill is a function of what was *signed*: it is rated by the bodies of ``plan_entries``, each held to its signature, never by the
table of agreements, which who owns the database may change. Where the two differ, no bill is made until somebody has looked. An entry
whose key was taken out of ``trust.keys`` is told apart: it may well have been signed, and its agreement is compared with nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from hub.ledger.rating import Terms
from hub.ledger.walk import Difference
from hub.model.agreement import Agreement
from hub.model.entry import AgreementBody, Kind, decode_body
from hub.model.errors import HubError, Problem
from hub.model.lifecycle import State
from hub.model.records import decode_plan_entry
from hub.model.signing import verify_entry
from hub.model.written import identifier
from hub.store.tables import agreements, plan_entries

BETWEEN: Final = "signed"
UNTRUSTED: Final = "key"
"""A difference that only says that ``trust.keys`` lacks the key of an entry: whether it was signed cannot be told."""
KEEP_KEYS: Final = (
    "keep the lines of earlier officers' keys in `trust.keys`, what they signed is read by them: put the key's line back from a backup; "
    "where no officer of this hub ever had it, restore the database's newest sound backup and find out who wrote the entry"
)
_LIVE: Final = (State.ACTIVE, State.SUSPENDED)
_COPIED: Final = ("dataset", "consumer")
"""Columns of an agreement's row that repeat one of its terms."""


class SignedTerms(NamedTuple):
    """What a ledger rates by."""

    terms: Terms
    """Every signed version of every agreement."""
    differences: tuple[Difference, ...]
    """Where SQL is not what was signed."""

    def require_sound(self) -> Terms:
        """Return the terms; HUB-LEDGER-008 names every agreement and member that is not as it was signed."""
        if not self.differences:
            return self.terms
        problems = tuple(
            Problem(one.where, one.agreement_id or "", f"signed {one.expected}, found {one.found}", "") for one in self.differences
        )
        if all(one.between == UNTRUSTED for one in self.differences):
            keys = ", ".join(sorted({f"`{one.expected}`" for one in self.differences}))
            raise HubError(
                "HUB-KEY-004", f"agreements are signed with {keys}, which `trust.keys` does not hold", KEEP_KEYS, problems=problems
            )
        raise HubError(
            "HUB-LEDGER-008",
            f"{len(problems)} agreements in the database are not what was signed, `{self.differences[0].agreement_id}` first",
            "make no bill: restore the newest backup that `cityhub ledger check` finds sound, and find out who changed it",
            problems=problems,
        )


def read_signed_terms(connection: Connection, *, scope: str, trust: Mapping[str, Ed25519PublicKey]) -> SignedTerms:
    """Read every signed version and compare it with its agreement's row; ``connection`` sees both at one moment."""
    signed: dict[tuple[str, int], AgreementBody] = {}
    newest: dict[str, int] = {}
    differences: list[Difference] = []
    unread: set[str] = set()
    wanted = sa.select(plan_entries).where(plan_entries.c.scope == scope, plan_entries.c.kind == str(Kind.AGREEMENT))
    for row in connection.execute(wanted.order_by(plan_entries.c.object_id, plan_entries.c.revision)):
        body = _body(row, scope=scope, trust=trust)
        if isinstance(body, Difference):
            differences.append(body)
            unread.add(row.object_id)
            continue
        if isinstance(body, str):
            differences.append(Difference(BETWEEN, f"plan entry, revision {row.revision}", row.object_id, "by a trusted key", body))
            continue
        known = signed.get((body.terms.id, body.terms.version))
        if known is not None and known.terms != body.terms:
            found = f"other {_members(known.terms, body.terms)}"
            differences.append(Difference(BETWEEN, f"plan entry, revision {row.revision}", row.object_id, "the same terms", found))
        signed[body.terms.id, body.terms.version] = body
        newest[body.terms.id] = body.terms.version
    differences += [found for found in _compare(connection, signed, newest, scope=scope) if found.agreement_id not in unread]
    return SignedTerms({key: body.terms for key, body in signed.items()}, tuple(differences))


def _body(row: Any, *, scope: str, trust: Mapping[str, Ed25519PublicKey]) -> AgreementBody | Difference | str:
    """Return the body of a stored entry, or what is wrong with it; a difference where its key is not there to tell."""
    try:
        entry = decode_plan_entry(row.value)
        if entry.key_id not in trust:
            where = f"plan entry, revision {row.revision}"
            return Difference(UNTRUSTED, where, row.object_id, identifier(entry.key_id), "a key that trust.keys does not hold")
        verify_entry(entry, trust)
        body = decode_body(Kind.AGREEMENT, entry.body)
    except HubError as error:
        return f"{error.code} {error.entry.en}"
    except Exception:  # noqa: BLE001 - whatever stands there, it is nothing that was signed
        return "bytes that cannot be read"
    said = (entry.kind, entry.object_id, entry.revision, entry.scope)
    if said != (row.kind, row.object_id, row.revision, scope) or not isinstance(body, AgreementBody) or body.terms.id != row.object_id:
        return "an entry about something else"
    return body


def _compare(
    connection: Connection, signed: Mapping[tuple[str, int], AgreementBody], newest: Mapping[str, int], *, scope: str
) -> Iterator[Difference]:
    """Yield each version whose row is gone, was never signed, or says something else."""
    missing = dict(signed)
    for row in connection.execute(sa.select(agreements).where(agreements.c.scope == scope)):
        body = missing.pop((row.agreement_id, row.version), None)
        expected, found = _apart(row, body, newest=newest.get(row.agreement_id))
        if expected or found:
            yield Difference(BETWEEN, f"version {row.version}", row.agreement_id, expected, found)
    for agreement_id, version in sorted(missing):
        yield Difference(BETWEEN, f"version {version}", agreement_id, "a version", "none in the database")


def _apart(row: Any, body: AgreementBody | None, *, newest: int | None) -> tuple[str, str]:
    """Return how a row differs from what was signed, as two texts; empty where it does not."""
    if body is None:
        return ("nothing", f"a version that is {row.state}") if row.state in _LIVE else ("", "")
    try:
        terms = msgspec.json.decode(row.terms, type=Agreement)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "terms", "a text that cannot be read"
    members = _members(body.terms, terms)
    copied = [name for name in _COPIED if getattr(row, name) != getattr(body.terms, name)]
    if members or copied:
        return "terms", f"other {members or ', '.join(copied)}"
    state = body.state if row.version == newest else State.ENDED
    return ("", "") if row.state == state else (f"state {state}", f"state {row.state}")


def _members(one: Agreement, other: Agreement) -> str:
    """Return the names of the terms in which two differ; their values may be a rule's operands and are not told."""
    return ", ".join(f"`{name}`" for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name))
