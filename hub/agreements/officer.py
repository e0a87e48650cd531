"""Whose key signs hub.plan: a serve whose officer's key is not the one that workers know must not lead.

It would answer withdrawals that no worker obeys. Whether workers know a key is told by what stands in hub.plan and in SQL already:
entries that it signed. A hub that has said nothing yet may begin with any key that its own ``trust.keys`` holds; another key takes the
place of an old one only where an officer says so.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.model.errors import HubError
from hub.model.records import PlanEntry, decode_plan_entry
from hub.model.signing import verify_entry

CHANGE: Final = (
    "restore `keys/officer.key` from its backup. To change the key: first add the new line of trust.keys to that of every worker, then "
    "start once with `--lead-with-officer-key {own}` (`cityhub up` or `cityhub serve`)"
)


def require_officer(
    values: Iterable[bytes | None], *, own: str, trust: Mapping[str, Ed25519PublicKey], scope: str, told: str | None = None
) -> bool:
    """Hold that serve may sign with the key ``own``; True where it takes the place of another, which ``told``, its id, must name.

    ``values`` are the entries of hub.plan and of SQL. HUB-KEY-004 where trust.keys lacks the key, HUB-KEY-005 where others signed.
    """
    if own not in trust:
        fix = f"restore `keys/` from its backup; {CHANGE.format(own=own)}"
        raise HubError("HUB-KEY-004", f"the officer's key `{own}` is not in trust.keys", fix)
    if told is not None and told != own:
        raise HubError("HUB-KEY-005", f"the officer's key here is `{own}`, not `{told}`", "name the key that is in `keys/officer.key`")
    others: set[str] = set()
    strangers = 0
    for entry in _entries(values, scope=scope):
        if entry.key_id not in trust or not _is_signed(entry, trust):
            strangers += 1
        elif entry.key_id == own:
            return False
        else:
            others.add(entry.key_id)
    if not others and not strangers:
        return False
    if told == own:
        return True
    signers = f"`{'`, `'.join(sorted(others))}`" if others else "keys that trust.keys does not hold"
    raise HubError("HUB-KEY-005", f"hub.plan is signed with {signers}, and `{own}` signed nothing in it", CHANGE.format(own=own))


def _entries(values: Iterable[bytes | None], *, scope: str) -> Iterable[PlanEntry]:
    for value in values:
        try:
            entry = decode_plan_entry(value or b"")
        except Exception:  # noqa: BLE001, S112 - whatever a stranger wrote is no entry
            continue
        if entry.scope == scope:
            yield entry


def _is_signed(entry: PlanEntry, trust: Mapping[str, Ed25519PublicKey]) -> bool:
    try:
        verify_entry(entry, trust)
    except HubError:
        return False
    return True
