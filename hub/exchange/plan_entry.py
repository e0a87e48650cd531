"""One record of hub.plan as a worker takes it: obeyed, met with a stop, or passed over.

Three things may be true of a record. A trusted key signed it for this scope: it is *proven*. It carries the hub's proof
(``hub.model.plan_proof``): this hub appended it, though the signature is of a key that this worker was not given. Neither: anybody
could have written it. What is proven and understood is obeyed. What this hub appended, and this worker refuses or cannot read, may
take a right away, so that the datasets it names stand still, or all of the scope where it names none that can be read. What anybody
could have written is refused with an alarm and stops nobody: else whoever reaches the topic could stop a city.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.model.entry import LEVEL, Body, Kind, decode_body, read_head
from hub.model.errors import HubError
from hub.model.plan_proof import is_proven
from hub.model.records import PlanEntry, decode_plan_entry
from hub.model.signing import verify_entry

UNREADABLE: Final = "HUB-PLAN-002"
NEWER: Final = "HUB-PLAN-004"
_UPDATE: Final = "update this worker: it reads plan entries of level {level}, and a newer `cityhub serve` wrote this one"
_TRUST: Final = (
    "if the key is one of the hub's, add its line in the `keys/trust.keys` of `cityhub serve` to this worker's: it is read at once; "
    "otherwise restore serve's `keys/` from its backup"
)
EVERYTHING: Final = None
"""In place of names of datasets: all of the scope."""


class Record(NamedTuple):
    """A record of hub.plan as it was read."""

    value: bytes
    offset: int
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Keys(NamedTuple):
    """What a worker proves entries with."""

    scope: str
    trust: Mapping[str, Ed25519PublicKey]
    master_keys: Mapping[int, bytes]


class Obeyed(NamedTuple):
    """An entry that is proven and understood."""

    key: bytes
    entry: PlanEntry
    body: Body


class Halting(NamedTuple):
    """An entry that this hub made and this worker cannot obey."""

    key: bytes
    revision: int | None
    """None where not even that can be read."""
    datasets: frozenset[str] | None
    """Those that must stand still; None: all of the scope. Empty for a schema: whoever refers to it cannot be compiled."""
    why: HubError


def read_record(record: Record, keys: Keys) -> Obeyed | Halting:
    """Return what a record of hub.plan comes to; HubError where it stops nobody: a stranger's, or of another scope."""
    try:
        entry = decode_plan_entry(record.value)
    except Exception as error:  # whatever anybody wrote, the decoder's refusal is one answer
        what = f"record at offset {record.offset} of hub.plan is no plan entry"
        if not _is_ours(record, keys):
            raise HubError(UNREADABLE, what, "find out who wrote to hub.plan") from error
        return Halting(record.key or b"", None, EVERYTHING, HubError(UNREADABLE, what, _UPDATE.format(level=LEVEL)))
    what = f"entry `{entry.kind}/{entry.object_id}`"
    key = f"{entry.kind}/{entry.object_id}".encode()
    try:
        verify_entry(entry, keys.trust)
    except HubError as refused:
        if entry.scope != keys.scope or not _is_ours(record, keys):
            raise
        return Halting(key, entry.revision, _named(entry), HubError(refused.code, refused.message, _TRUST))
    if entry.scope != keys.scope:
        raise HubError(UNREADABLE, f"{what} is of scope `{entry.scope}`", "find out who wrote to hub.plan")
    body = _body(entry)
    if isinstance(body, HubError):
        return Halting(key, entry.revision, _named(entry), body)
    return Obeyed(key, entry, body)


def _is_ours(record: Record, keys: Keys) -> bool:
    return is_proven(record.headers, master_keys=keys.master_keys, scope=keys.scope, key=record.key, value=record.value)


def _body(entry: PlanEntry) -> Body | HubError:
    """Return the body, or why it cannot be obeyed: a newer level or kind, or a body that is none of its kind."""
    what = f"`{entry.kind}/{entry.object_id}` revision {entry.revision}"
    fix = _UPDATE.format(level=LEVEL)
    if entry.kind not in tuple(Kind):
        return HubError(NEWER, f"{what} is of a kind that is not known here", fix)
    try:
        body = decode_body(Kind(entry.kind), entry.body)
    except (msgspec.MsgspecError, RecursionError):
        level = read_head(entry.body).level
        if level is not None and level > LEVEL:
            return HubError(NEWER, f"{what} is of level {level}", fix)
        return HubError(UNREADABLE, f"body of {what} cannot be read", fix)
    return body if body.level <= LEVEL else HubError(NEWER, f"{what} is of level {body.level}", fix)


def _named(entry: PlanEntry) -> frozenset[str] | None:
    """Return the datasets that an entry names by its head; None where it names none, so that it may be about each."""
    if entry.kind == Kind.SCHEMA:
        return frozenset()
    datasets = read_head(entry.body).datasets
    if entry.kind == Kind.DATASET:
        datasets |= {entry.object_id}
    return datasets or EVERYTHING
