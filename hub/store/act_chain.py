"""Whether the acts are what was recorded: each row's hash and link, the anchors, and signatures behind the newest anchor.

The hashes alone find what was changed, taken out or put in between. Who writes to the database could hash a tail anew, or cut it
off: an *anchor* stands elsewhere (``hub.store.act_anchor``) and tells a row and its hash. What was recorded after the newest anchor
is held to the officer's signature on each row, so nothing can be put there either.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, Engine

from hub.store.act_anchor import Anchor
from hub.store.acts import GENESIS, link_of, signing_bytes
from hub.store.engine import reading
from hub.store.tables import act_signatures, acts

PAGE_ROWS: Final = 500
"""Rows of ``acts`` that a walk holds in memory at once."""
Trust = Mapping[str, Ed25519PublicKey]


class Link(NamedTuple):
    """Where a chain of acts stands: its last row and that row's hash."""

    seq: int
    hash: str


START: Final = Link(0, GENESIS)


class Broken(msgspec.Struct, frozen=True):
    """The first row that does not hold."""

    seq: int
    act_id: str | None
    """None where the row is gone."""
    what: str


class Walked(msgspec.Struct, frozen=True):
    """What a walk came to."""

    head: Link
    """Last row that holds."""
    broken: Broken | None


def walk(
    engine: Engine,
    *,
    trust: Trust,
    after: Link = START,
    signed_after: int | None = None,
    anchors: Collection[Anchor] = (),
    tell: Callable[[int], None] = lambda _: None,
) -> Walked:
    """Follow the chain behind ``after`` to its end, page by page, and stop at the first row that does not hold.

    Rows behind ``signed_after`` must be signed by a key of ``trust``; None: a row without a signature is one of an older hub. Each
    of ``anchors`` must name a row that is there, with its hash.
    """
    head = after
    told = {anchor.seq: anchor for anchor in anchors if anchor.seq > after.seq}
    for page in _pages(engine, after=after.seq or None):
        for row in page:
            what = _fault(row, head) or _unsigned(row, trust, needed=signed_after is not None and row["seq"] > signed_after)
            if what is None and (anchor := told.pop(row["seq"], None)) is not None and anchor.hash != row["hash"]:
                what = "it is not the act that the anchor names: it was written anew, and what follows it"
            if what is not None:
                return Walked(head, Broken(row["seq"], str(row["act_id"]), what))
            head = Link(row["seq"], row["hash"])
        tell(head.seq)
    if told:
        last = max(told)
        what = f"acts {head.seq + 1:,} to {last:,} are gone: the anchor names act {last:,}, the database ends at act {head.seq:,}"
        return Walked(head, Broken(head.seq + 1, None, what))
    return Walked(head, None)


def head_of(connection: Connection) -> Link:
    """Return the last row as it stands."""
    last = connection.execute(sa.select(acts.c.seq, acts.c.hash).order_by(acts.c.seq.desc()).limit(1)).first()
    return Link(last.seq, last.hash) if last is not None else START


def link_before(engine: Engine, *, newest: int) -> Link:
    """Return the row that stands before the ``newest`` ones, as it says of itself; the beginning where there are no more."""
    wanted = sa.select(acts.c.seq, acts.c.hash).order_by(acts.c.seq.desc()).offset(newest).limit(1)
    with reading(engine) as connection:
        row = connection.execute(wanted).first()
    return Link(row.seq, row.hash) if row is not None else START


def has_signatures(connection: Connection) -> bool:
    """Tell whether any act was ever signed: such a hub has an anchor."""
    return connection.execute(sa.select(act_signatures.c.act_id).limit(1)).first() is not None


def _pages(engine: Engine, *, after: int | None) -> Iterator[list[Any]]:
    """Yield rows with their signatures in the order of ``seq``, each page in a transaction of its own; None: from the very first."""
    joined = acts.outerjoin(act_signatures, acts.c.act_id == act_signatures.c.act_id)
    wanted = sa.select(acts, act_signatures.c.key_id, act_signatures.c.signature).select_from(joined).order_by(acts.c.seq).limit(PAGE_ROWS)
    while True:
        with reading(engine) as connection:
            page = list(connection.execute(wanted if after is None else wanted.where(acts.c.seq > after)).mappings())
        if not page:
            return
        yield page
        after = page[-1]["seq"]


def _fault(row: Any, before: Link) -> str | None:
    if row["seq"] != before.seq + 1:
        return f"the act before it is gone: act {before.seq + 1:,} was expected here"
    if row["prev_hash"] != before.hash:
        return "it is not linked to the act before it: one of the two was changed"
    try:
        expected = link_of(row)
    except (ValueError, TypeError):
        expected = ""
    return None if row["hash"] == expected else "its content is not what was hashed: it was changed"


def _unsigned(row: Any, trust: Trust, *, needed: bool) -> str | None:
    """Return what is wrong with a row's signature; a row that needs none and has none is well."""
    if row["signature"] is None:
        return "it is not signed: no hub recorded it" if needed else None
    if not needed:
        return None  # the anchor's own signature covers it by its hash
    public = trust.get(row["key_id"])
    if public is None:
        return "it is signed with a key that is not trusted"
    try:
        public.verify(row["signature"], signing_bytes(row["hash"]))
    except InvalidSignature:
        return "its signature is not valid"
    return None
