"""The duty that anchors the acts: within a second or two of an act, its number and hash stand signed where SQL's writers do not reach.

In the offset commit's metadata of a group of its own on hub.plan, as lanes keep their positions, and in the state folder. An anchor
only ever moves along rows that continue it; where they do not, it stays, and says so until ``renew``: an act, by ``--adopt-plan``.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from hub.broker.admin import Admin
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.observe import metrics
from hub.settings import ACTS_ANCHOR_AGAIN_S, ACTS_ANCHOR_EVERY_S
from hub.store.act_anchor import Anchor, AnchorFile, make_anchor, read_anchor, write_anchor
from hub.store.act_chain import START, Broken, Link, Walked, has_signatures, head_of, link_before, walk
from hub.store.engine import reading

log = structlog.get_logger()
ADOPT_FIX: Final = (
    "restore the newest backup of the database; where there is none, `cityhub serve --adopt-plan` records that these acts are lost"
)
CHANGED_FIX: Final = "stop, keep the database as evidence, and restore the newest backup that `cityhub acts verify` finds sound"


class Place(Protocol):
    """Where a copy of the anchor stands."""

    def read(self) -> str | None:
        """Return its text, None where there is none."""

    def write(self, text: str) -> None:
        """Put ``text`` there."""


class KafkaPlace:
    """The copy in Kafka: metadata of a committed offset, which a group without members keeps for days only, so it is written anew."""

    def __init__(self, bootstrap: str, names: Names, *, client_id: str) -> None:
        """Connect when asked."""
        self._bootstrap, self._client_id = bootstrap, client_id
        self._group, self._at = names.acts_group, TopicPartition(names.plan, 0)

    def read(self) -> str | None:
        """Return its text; HUB-BROKER-001 where no broker answers."""
        with Admin(self._bootstrap, client_id=self._client_id) as admin:
            return admin.committed(self._group, [self._at]).get(self._at, (0, None))[1]

    def write(self, text: str) -> None:
        """Commit ``text``."""
        with Admin(self._bootstrap, client_id=self._client_id) as admin:
            admin.commit(self._group, self._at, offset=0, metadata=text)


class Copies(NamedTuple):
    """The anchors that stand somewhere, and what is wrong with copies that cannot be used."""

    anchors: tuple[Anchor, ...]
    faults: tuple[HubError, ...]

    @property
    def newest(self) -> Anchor | None:
        """The one that covers most."""
        return max(self.anchors, key=lambda anchor: anchor.seq, default=None)


def read_copies(places: Mapping[str, Place], *, scope: str, trust: Mapping[str, Ed25519PublicKey]) -> Copies:
    """Read every copy; one that no trusted key signed, and a place that does not answer, are faults."""
    anchors, faults = [], []
    for where, place in places.items():
        try:
            text = place.read()
            if text is not None:
                anchors.append(read_anchor(text, scope=scope, trust=trust, where=where))
        except HubError as error:
            faults.append(error)
        except OSError as error:
            why = error.strerror or type(error).__name__
            faults.append(
                HubError("HUB-STORE-001", f"the anchor {where} cannot be read: {why}", "let `cityhub serve` read its state folder")
            )
    return Copies(tuple(anchors), tuple(faults))


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying the acts came to."""

    acts: int
    """Acts that hold, from the first on."""
    head: str
    """Hash of the last of them."""
    anchored: int | None
    """Number of the last act that an anchor covers; None: no anchor was found."""
    notes: tuple[str, ...]
    code: str | None = None
    cause: str | None = None
    fix: str = ""


def verify(
    engine: Engine,
    *,
    scope: str,
    trust: Mapping[str, Ed25519PublicKey],
    places: Mapping[str, Place],
    newest: int | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Walk every act, or the ``newest`` few, and hold them against the anchors; HUB-BROKER-001 where none can be read: a place is away.

    The anchors are read first, so acts that are recorded meanwhile raise no alarm.
    """
    copies = read_copies(places, scope=scope, trust=trust)
    forged = [fault for fault in copies.faults if fault.code == "HUB-ACTS-002"]
    away = [fault for fault in copies.faults if fault.code != "HUB-ACTS-002"]
    anchor = copies.newest
    signed_after = None if anchor is None else anchor.seq
    after = START if newest is None else link_before(engine, newest=newest)
    walked = walk(engine, trust=trust, after=after, signed_after=signed_after, anchors=copies.anchors, tell=tell)
    error = refusal_of(walked.broken) if walked.broken is not None else next(iter(forged), None)
    notes = [f"an anchor was not read: {fault}" for fault in away]
    if error is None and anchor is None:
        if away:
            raise away[0]
        error = _without_anchor(engine)
        notes.append("no anchor was made yet: `cityhub serve` makes it when it leads")
    return Verified(
        acts=walked.head.seq,
        head=walked.head.hash,
        anchored=signed_after,
        notes=tuple(notes),
        code=None if error is None else error.code,
        cause=None if error is None else error.message,
        fix="" if error is None else error.fix,
    )


def _without_anchor(engine: Engine) -> HubError | None:
    """Return why there should be an anchor, None where there need be none: nothing was ever signed."""
    with reading(engine) as connection:
        if not has_signatures(connection):
            return None
    return HubError("HUB-ACTS-002", "the anchor of the acts is gone from Kafka and from the state folder", ADOPT_FIX)


class ActAnchor:
    """Keeps the anchor of one scope at the head of its acts; for the one serve that leads."""

    def __init__(
        self,
        *,
        engine: Engine,
        scope: str,
        key: Ed25519PrivateKey,
        trust: Mapping[str, Ed25519PublicKey],
        places: Mapping[str, Place],
    ) -> None:
        """Nothing is read yet: ``open`` first."""
        self._engine, self._scope, self._key, self._trust, self._places = engine, scope, key, trust, places
        self._at: Link | None = None
        self._written: dict[str, float] = {}
        """When each place got the anchor that stands at ``_at``."""
        self._trouble: HubError | None = None

    def trouble(self) -> str | None:
        """Say what does not hold, None while everything does: a check of ``/readyz``."""
        return None if self._trouble is None else f"{self._trouble.code} {self._trouble.message}"

    def open(self) -> None:
        """Find the anchor, or make the first one; before the first act of this process is recorded."""
        copies = read_copies(self._places, scope=self._scope, trust=self._trust)
        for fault in copies.faults:
            log.warning("acts_anchor", code=fault.code, message=fault.message)
        if copies.newest is not None:
            self._at = Link(copies.newest.seq, copies.newest.hash)
            return
        gone = _without_anchor(self._engine)
        if gone is not None:
            self._tell(gone)
            return
        walked = walk(self._engine, trust=self._trust)
        if walked.broken is not None:
            self._tell(refusal_of(walked.broken))
            return
        self._move(walked.head)

    def run(self, stop: threading.Event) -> None:
        """Walk all acts once, then follow them until ``stop`` is set; trouble is told and never written over."""
        whole = False
        while not stop.is_set():
            try:
                if not whole:
                    self.check()
                    whole = True
                self.follow()
            except HubError as error:
                log.warning("acts_anchor", code=error.code, message=error.message)
            except SQLAlchemyError as error:
                log.warning("acts_anchor", code="HUB-STORE-001", error=type(error).__name__)
            except Exception as error:  # a thread that dies in silence would let the anchor fall behind, and nothing would say so
                log.exception("acts_anchor", error=type(error).__name__)
            stop.wait(ACTS_ANCHOR_EVERY_S)
        try:
            self.follow()
        except Exception as error:  # noqa: BLE001 - the process ends; the next serve follows from where the anchor stands
            log.warning("acts_anchor", error=type(error).__name__)

    def check(self) -> Walked:
        """Walk every act and hold them against every anchor."""
        copies = read_copies(self._places, scope=self._scope, trust=self._trust)
        after = None if copies.newest is None else copies.newest.seq
        walked = walk(self._engine, trust=self._trust, signed_after=after, anchors=copies.anchors)
        if walked.broken is not None:
            self._tell(refusal_of(walked.broken))
        return walked

    def follow(self) -> None:
        """Move the anchor to the last act where the acts continue it; write it again where it was not written for long."""
        if self._at is None or self._trouble is not None:
            return
        with reading(self._engine) as connection:
            head = head_of(connection)
        if head != self._at:
            if head.seq <= self._at.seq:
                self._tell(refusal_of(_cut(head, self._at)))
                return
            walked = walk(self._engine, trust=self._trust, after=self._at, signed_after=self._at.seq)
            if walked.broken is not None:
                self._tell(refusal_of(walked.broken))
                return
            head = walked.head
        self._move(head)

    def lost(self) -> str | None:
        """Say which acts the anchors name and the database does not have; None where it has all, or what it has is not linked itself."""
        copies = read_copies(self._places, scope=self._scope, trust=self._trust)
        bare = walk(self._engine, trust=self._trust)
        if bare.broken is not None:
            raise refusal_of(bare.broken)
        if copies.newest is None:
            return "the anchor was lost: acts behind those that are here may be lost too" if self._trouble is not None else None
        held = walk(self._engine, trust=self._trust, signed_after=copies.newest.seq, anchors=copies.anchors)
        if held.broken is None:
            return None
        if held.broken.seq > copies.newest.seq:
            return f"no act that the anchor named is lost; behind it act {held.broken.seq} stands without a valid signature"
        return f"acts are lost: the anchor named act {copies.newest.seq}, which the database does not have"

    def renew(self) -> None:
        """Anchor the acts as they are, whatever the anchor said: what ``lost`` told stands among them."""
        self._trouble = None
        metrics.ACTS_BROKEN.set(0)
        self._at = None
        self._move(walk(self._engine, trust=self._trust).head)

    def _move(self, head: Link) -> None:
        """Write the anchor of ``head`` wherever it does not stand, or stands for long; a place that is away does not keep others."""
        if head != self._at:
            self._at, self._written = head, {}
        now = time.monotonic()
        due = [where for where in self._places if now - self._written.get(where, -ACTS_ANCHOR_AGAIN_S) >= ACTS_ANCHOR_AGAIN_S]
        text = write_anchor(make_anchor(scope=self._scope, seq=head.seq, link=head.hash, key=self._key)) if due else ""
        for where in due:
            try:
                self._places[where].write(text)
                self._written[where] = now
            except HubError as error:
                log.warning("acts_anchor", code=error.code, message=error.message)
            except OSError as error:
                log.warning("acts_anchor", error=type(error).__name__)
        metrics.ACTS_ANCHORED.set(min((head.seq for where in self._written), default=0))

    def _tell(self, error: HubError) -> None:
        if self._trouble is None:
            log.error("acts_broken", code=error.code, message=error.message, fix=error.fix)
        self._trouble = error
        metrics.ACTS_BROKEN.set(1)


def _cut(head: Link, anchored: Link) -> Broken:
    if head.seq == anchored.seq:
        return Broken(head.seq, None, "it is not the act that the anchor names: it was written anew")
    what = f"acts {head.seq + 1:,} to {anchored.seq:,} are gone: the anchor names act {anchored.seq:,}"
    return Broken(head.seq + 1, None, what)


def refusal_of(broken: Broken) -> HubError:
    """Return what is told of the first row that does not hold."""
    if broken.act_id is None:
        return HubError("HUB-ACTS-002", broken.what, ADOPT_FIX)
    return HubError("HUB-ACTS-001", f"act {broken.seq:,} (`{broken.act_id}`): {broken.what}", CHANGED_FIX)


def known_places(bootstrap: str, *, names: Names, file: AnchorFile, client_id: str) -> dict[str, Place]:
    """Return the places of a hub's anchor."""
    return {"in Kafka": KafkaPlace(bootstrap, names, client_id=client_id), "in the state folder": file}
