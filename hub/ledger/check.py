"""``ledger check``: three counts that know nothing of each other have to agree.

0. *Signed*: agreements in SQL against the signed entries, see ``signed_terms``; everything below is by what was signed.
1. *Metered*: hub.usage is read from its beginning by the rule of ``chain``: hashes, offsets without gaps, step numbers, sums.
2. *Posted*: the ledger in SQL, against what hub.usage gives up to the usage offsets where the ledger stands.
3. *Delivered*: committed records of the share topics, counted from batch headers, against what was metered as delivered.

What retention took before any check counted it is ``unverifiable``, never a difference, and so is what went with a share topic that
was deleted or made again; what was counted once stays counted. What of hub.usage was lost and accepted as lost is named in every
report: from there on the three are held to each other again, beginning with what was posted.
"""

from typing import Final

import msgspec
from sqlalchemy import Engine

from hub.ledger.deliveries import Deliveries, Metered, Unverifiable
from hub.ledger.loss_rows import StoredLoss
from hub.ledger.losses import lost_room
from hub.ledger.periods import utc
from hub.ledger.rating import Terms
from hub.ledger.signed_terms import BETWEEN as SIGNED
from hub.ledger.signed_terms import UNTRUSTED, SignedTerms
from hub.ledger.usage_log import GONE_FIX, UsageLog
from hub.ledger.walk import Books, Difference, Walk, read_books
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition
from hub.observe.progress import progress

DEADLINE_S: Final = 30.0
RECORDS_MAX: Final = 5_000
DIFFERENCES_MAX: Final = 200
"""Differences that a report lists; it counts them all."""
NO_TOPIC: Final = "HUB-BROKER-009"


class LossTold(msgspec.Struct, frozen=True):
    """A part of hub.usage that was lost for good, and accepted by an act."""

    loss: str
    act: str
    at: str
    usage_partition: int
    how: str
    old_topic_id: str
    topic_id: str
    lost_from: int
    lost_to: int
    ledger_stood_at: int


class Unmetered(msgspec.Struct, frozen=True):
    """Source offsets of a chain whose usage steps were lost before anybody posted them: billed to nobody."""

    chain: str
    usage_partition: int
    first_offset: int
    next_offset: int


class Report(msgspec.Struct, frozen=True):
    """What a check came to."""

    sound: bool
    metered: int
    """Delivered records by usage steps."""
    posted: int
    """Delivered records in the ledger."""
    delivered: int
    """Records counted in share topics, by this check or one before."""
    unverifiable: int
    """Metered records that nobody can count any more."""
    unmetered: int
    """Delivered records whose usage steps were lost with hub.usage: billed to nobody."""
    steps: int
    chains: int
    refused: int
    """Records of hub.usage that are no usage steps of this hub."""
    usage_read_to: dict[int, int]
    ledger_read_to: dict[int, int]
    differences_found: int
    differences: tuple[Difference, ...]
    unverifiable_partitions: tuple[Unverifiable, ...]
    losses: tuple[LossTold, ...]
    unmetered_offsets: tuple[Unmetered, ...]

    @property
    def code(self) -> str | None:
        """Error code of the worst difference, None where there is none."""
        if self.sound:
            return None
        between = {found.between for found in self.differences}
        codes = {"chain": "HUB-LEDGER-001", SIGNED: "HUB-LEDGER-008", UNTRUSTED: "HUB-KEY-004"}
        return next((code for kind, code in codes.items() if kind in between), "HUB-LEDGER-002")


def check(
    bootstrap: str, *, names: Names, engine: Engine, signed: SignedTerms, full: bool = False, deadline_s: float = DEADLINE_S
) -> Report:
    """Compare usage steps, ledger and deliveries as they are now; progress goes to stderr.

    Share topics are counted from where an earlier check found them equal to usage; with ``full`` from their beginning.

    Where what is kept of a loss is not what an act accepted, that is told alone: nobody can say from where on to compare.

    HUB-LEDGER-007 when a topic cannot be read to its end, HUB-LEDGER-006 when hub.usage is not the whole log that the ledger read.
    """
    terms = signed.terms
    books = read_books(engine, scope=names.scope)
    losses = books.last_losses
    walk = Walk(
        scope=names.scope,
        ledger_read_to=books.read_to,
        strange=books.strange,
        losses=losses,
        bridges=books.bridges,
        chains=books.chains,
    )
    if not books.comparable:
        known = [*signed.differences, *_unproven(books)]
        return _report(walk, books, Deliveries(engine=engine, names=names, terms=terms), {}, known)
    try:
        usage = UsageLog(bootstrap, names=names, client_id="cityhub-check")
    except HubError as error:
        if error.code != NO_TOPIC or books.read_to:
            raise
        return _report(walk, books, Deliveries(engine=engine, names=names, terms=terms), {}, list(signed.differences))
    with usage:
        if books.usage_topic_ids - {usage.topic_id}:
            raise HubError("HUB-LEDGER-006", "hub.usage was deleted and made again", GONE_FIX)
        since = {number: losses[number].lost.lost_to if number in losses else 0 for number in usage.partitions}
        usage.require_whole(since)
        usage.seek(since)
        _read_usage(usage, walk, deadline_s=deadline_s)
        room = lost_room(losses.values(), walk.bridges.values(), sources=books.sources, begun=walk.begun)
        deliveries = Deliveries(engine=engine, names=names, terms=terms, room=room)
        before = deliveries.by_partition(walk.metered)
        with progress("counting deliveries", total=sum(before.values())) as shown:
            deliveries.count(bootstrap, before, full=full, deadline_s=deadline_s, tell=shown.update)
        metered = _read_on(usage, walk, deliveries, before, deadline_s=deadline_s)
        differences = [*signed.differences, *_unproven(books), *walk.doubtful_bridges(), *walk.broken_chains()]
        differences += [*walk.differs_from(books), *_nameless(walk, terms), *deliveries.differences(metered)]
        return _report(walk, books, deliveries, usage.positions, differences)


def _read_usage(usage: UsageLog, walk: Walk, *, deadline_s: float) -> None:
    """Read hub.usage to its end of now."""
    ends = usage.high_watermarks()
    with progress("reading usage steps", total=sum(ends.values()), unit="offsets") as shown:
        for stretches in usage.read_to(ends, deadline_s=deadline_s, records_max=RECORDS_MAX):
            for _ in walk.take(stretches):
                pass
            shown.update(sum(usage.positions.values()))


def _read_on(
    usage: UsageLog, walk: Walk, deliveries: Deliveries, before: dict[TopicPartition, int], *, deadline_s: float
) -> dict[TopicPartition, Metered]:
    """Read what was metered while deliveries were counted; returns sums by share partition before, after and between."""
    sums = dict(before)
    between: dict[TopicPartition, set[int]] = {}
    for stretches in usage.read_to(usage.high_watermarks(), deadline_s=deadline_s, records_max=RECORDS_MAX):
        for reading in walk.take(stretches):
            for entry in reading.step.entries:
                place = deliveries.place(entry.agreement_id, entry.agreement_version, reading.step.source_partition)
                if place is not None and entry.delivered:
                    sums[place] = sums.get(place, 0) + entry.delivered
                    between.setdefault(place, set()).add(sums[place])
    return {place: Metered(before.get(place, 0), after, frozenset(between.get(place, ()))) for place, after in sums.items()}


def _nameless(walk: Walk, terms: Terms) -> list[Difference]:
    """Return usage under agreement versions that nobody knows."""
    found = sorted({(agreement_id, version) for agreement_id, version, _ in walk.metered} - terms.keys())
    return [
        Difference("terms", "hub.usage", agreement_id, "known terms", f"version {version} is not known") for agreement_id, version in found
    ]


def _unproven(books: Books) -> list[Difference]:
    """Return accepted losses that no act accepted as they stand here."""
    return [Difference("loss", "hub.usage", None, "what an act accepted", doubt) for doubt in books.loss_doubts]


def _report(walk: Walk, books: Books, deliveries: Deliveries, read_to: dict[int, int], differences: list[Difference]) -> Report:
    return Report(
        sound=not differences,
        metered=sum(walk.metered.values()),
        posted=books.delivered,
        delivered=deliveries.delivered,
        unverifiable=sum(found.records for found in deliveries.unverifiable),
        unmetered=deliveries.unmetered,
        steps=walk.steps,
        chains=walk.chains,
        refused=walk.refused,
        usage_read_to=dict(read_to),
        ledger_read_to=books.read_to,
        differences_found=len(differences),
        differences=tuple(differences[:DIFFERENCES_MAX]),
        unverifiable_partitions=tuple(deliveries.unverifiable),
        losses=tuple(map(_loss_told, books.losses)),
        unmetered_offsets=tuple(
            Unmetered(str(one.chain_id), one.usage_partition, one.after_offset, one.first_offset) for _, one in sorted(walk.bridges.items())
        ),
    )


def _loss_told(loss: StoredLoss) -> LossTold:
    lost = loss.lost
    return LossTold(
        loss=loss.loss_id,
        act=loss.correlation_id,
        at=utc(loss.at_ms),
        usage_partition=lost.usage_partition,
        how=lost.how,
        old_topic_id=lost.old_topic_id,
        topic_id=lost.usage_topic_id,
        lost_from=lost.lost_from,
        lost_to=lost.lost_to,
        ledger_stood_at=lost.position,
    )
