"""Comparing deliveries with usage: what lies in the share topics against what was metered as delivered.

Deliveries and their usage step commit in one transaction. So, without knowing one moment for both: what was metered *before*
the counting must be the exact count of the share partition at some point of its log where no transaction was open; and what was
counted in the end must be the exact sum of the usage steps at some point up to *after* the counting.

Where usage steps were lost with hub.usage, more may be there than is metered: at most as many as source offsets were lost. The first
check that counts while nothing is open settles how many they were; from then on that number is part of the exact count.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from hub.broker.admin import Admin
from hub.broker.committed import Counted, Span, count_committed
from hub.ledger.rating import Terms
from hub.ledger.tables import DELIVERIES_UNMETERED, DELIVERIES_VERIFIED
from hub.ledger.walk import Difference
from hub.model.names import Names, TopicPartition
from hub.store.engine import reading, writing
from hub.store.topics_seen import topics_seen

BETWEEN: Final = "deliveries"
RETENTION: Final = "gone by retention"
MADE_AGAIN: Final = "gone with a topic that was made again"
GONE: Final = "gone with its topic"


class Verified(NamedTuple):
    """Up to ``next_offset`` a share partition was compared: ``metered`` had been metered then and ``counted`` of it counted."""

    share_topic_id: str
    next_offset: int
    metered: int
    counted: int


NOTHING: Final = Verified("", 0, 0, 0)


class Unverifiable(msgspec.Struct, frozen=True):
    """Records that were metered as delivered and that nobody can count any more."""

    where: str
    agreement_id: str
    records: int
    why: str = RETENTION


class Metered(NamedTuple):
    """Delivered records of one share partition by usage steps: before the counting, after it, and at each step between."""

    before: int
    after: int
    between: frozenset[int]


class Unmetered(NamedTuple):
    """Deliveries of a share partition that no usage step tells of: ``records`` were counted when ``room`` source offsets were lost."""

    room: int
    records: int


class Compared(NamedTuple):
    """What comparing one share partition came to."""

    delivered: int
    """Counted now or by a check before."""
    verified: Verified | None
    """What the next check may rely on; None: what this one relied on."""
    unverifiable: int
    difference: tuple[str, str] | None
    """Expected and found."""
    unmetered: int | None = None
    """How many of them more than metered were found, once and for all; None: that is not settled."""


def compare(found: Counted, *, known: Verified, topic_id: str, metered: Metered, was_another: bool = False, lost_room: int = 0) -> Compared:
    """Compare the count of one share partition with its usage; ``known`` is what earlier checks have verified of it.

    ``was_another`` says that serve has seen the topic under another id: it was made again, maybe before any check.

    Where retention took records, or the topic was made again, fewer may be there than were metered: as many as there were
    offsets, respectively any number. More than were metered is a difference, unless usage steps were lost: ``lost_room`` is how many
    source offsets they may have told of that no check has settled.
    """
    more = _unmetered(found, known=known, metered=metered, lost_room=lost_room) if lost_room else None
    if more is None:
        return _compare(found, known=known, topic_id=topic_id, metered=metered, was_another=was_another)
    delivered, behind = known.counted + found.records, known.metered - known.counted
    if metered.before != metered.after or found.open_records:
        return Compared(delivered, None, behind, None)
    return Compared(delivered, Verified(topic_id, found.next_offset, metered.after + more, delivered), behind, None, more)


def _compare(found: Counted, *, known: Verified, topic_id: str, metered: Metered, was_another: bool) -> Compared:
    before, after = metered.before - known.metered, metered.after - known.metered
    delivered = known.counted + found.records
    behind = known.metered - known.counted
    told = (f"{metered.before:,} metered", f"{delivered + behind:,} delivered")
    made_again = known.share_topic_id != topic_id if known.share_topic_id else was_another
    room = found.begin_offset - found.span.first_offset
    if found.is_cut:
        return Compared(known.counted, None, behind, (told[0], f"the log ends at {found.next_offset}, before what was verified"))
    if found.records > after:
        return Compared(delivered, None, behind, (f"{metered.after:,} metered", told[1]))
    if not room and not made_again:
        if found.met_at is None or found.records + known.metered not in metered.between | {metered.before}:
            return Compared(delivered, None, behind, told)
        return Compared(delivered, Verified(topic_id, found.met_at, metered.before, known.counted + before), behind, None)
    missing = max(0, before - found.records)
    if missing > room and not made_again:
        return Compared(delivered, None, behind, told)
    settled = before == after and not found.open_records
    verified = Verified(topic_id, found.next_offset, metered.after, delivered) if settled else None
    return Compared(delivered, verified, behind + missing, None)


def _unmetered(found: Counted, *, known: Verified, metered: Metered, lost_room: int) -> int | None:
    """Return how many more were counted than are metered, at some moment of the counting; None where lost steps do not explain it."""
    if found.is_cut:
        return None
    moments = sorted({metered.before, metered.after, *metered.between}, reverse=True)
    more = (known.metered + found.records - moment for moment in moments)
    return next((one for one in more if 0 <= one <= lost_room), None)


class Deliveries:
    """The share partitions of all agreements: which there are, what was verified of them, what they hold now."""

    def __init__(self, *, engine: Engine, names: Names, terms: Terms, room: Mapping[tuple[str, int], int] | None = None) -> None:
        """Read what earlier checks have verified; ``room``: source offsets of lost steps by source topic and partition."""
        self._engine = engine
        self._names = names
        self._terms = terms
        self._agreements = {self._topic(agreement_id, version): agreement_id for agreement_id, version in terms}
        with reading(engine) as connection:
            self._kept = dict(_read_verified(connection, scope=names.scope))
            self._seen = topics_seen(connection, scope=names.scope)
            settled = dict(_read_unmetered(connection, scope=names.scope))
        sources = {self._topic(agreement_id, version): names.dept(one.dataset) for (agreement_id, version), one in terms.items()}
        self._room = {
            TopicPartition(share, number): found
            for (source, number), found in (room or {}).items()
            for share, its_source in sources.items()
            if its_source == source
        }
        self._settled = {place: Unmetered(one.room, min(one.records, self._room.get(place, 0))) for place, one in settled.items()}
        self._known: Mapping[TopicPartition, Verified] = self._kept
        self._ids: dict[str, str] = {}
        self._counted: list[Counted] = []
        self.delivered = 0
        self.unmetered = 0
        """Deliveries whose usage steps were lost, as far as checks have settled them."""
        self.unverifiable: list[Unverifiable] = []

    def by_partition(self, metered: Mapping[tuple[str, int, int], int]) -> dict[TopicPartition, int]:
        """Return sums by share partition, over all versions; agreements that nobody knows are left out."""
        sums = {place: one.records for place, one in self._settled.items() if place.topic in self._agreements}
        for (agreement_id, version, partition), records in metered.items():
            if (place := self.place(agreement_id, version, partition)) is not None:
                sums[place] = sums.get(place, 0) + records
        return sums

    def place(self, agreement_id: str, version: int, partition: int) -> TopicPartition | None:
        """Return the share partition that a source partition's records are delivered to, None for an unknown agreement."""
        known = (agreement_id, version) in self._terms
        return TopicPartition(self._topic(agreement_id, version), partition) if known else None

    def count(
        self, bootstrap: str, before: Mapping[TopicPartition, int], *, full: bool = False, deadline_s: float, tell: Callable[[int], None]
    ) -> None:
        """Count every share partition that there is from where it was verified; ``before`` is what was metered so far.

        ``full``: from its beginning, where the log still has it; what retention took was verified, or nobody can count it any more.
        """
        with Admin(bootstrap, client_id="cityhub-check") as admin:
            self._ids = {name: str(topic_id) for name, topic_id in admin.topic_ids(self._agreements).items()}
            counts = admin.partition_counts(self._ids)
            places = [TopicPartition(name, number) for name in sorted(counts) for number in range(counts[name])]
            begins = admin.begin_offsets(places) if full else {}
        self._known = {place: known for place, known in self._kept.items() if begins.get(place) != 0 or self._was_another(place.topic)}
        spans = []
        for place in places:
            known = self._known.get(place, NOTHING)
            first = known.next_offset if known.share_topic_id == self._ids[place.topic] else 0
            spans.append(Span(place, first, before.get(place, 0) - known.metered))
        self._counted = count_committed(bootstrap, spans, deadline_s=deadline_s, tell=tell)

    def differences(self, metered: Mapping[TopicPartition, Metered]) -> Iterator[Difference]:
        """Compare what was counted, keep what is verified, yield what differs."""
        verified: dict[TopicPartition, Verified] = {}
        settled: dict[TopicPartition, Unmetered] = {}
        none = Metered(0, 0, frozenset())
        for found in self._counted:
            place = found.span.partition
            topic_id = self._ids[place.topic]
            known = self._known.get(place, NOTHING)
            was_another = self._was_another(place.topic)
            before, room = self._settled.get(place, Unmetered(0, 0)), self._room.get(place, 0)
            result = compare(
                found,
                known=known,
                topic_id=topic_id,
                metered=metered.get(place, none),
                was_another=was_another,
                lost_room=max(0, room - before.room),
            )
            if result.unmetered is not None:
                settled[place] = Unmetered(room, before.records + result.unmetered)
            self.delivered += result.delivered
            made_again = was_another or known.share_topic_id not in {"", topic_id}
            self._note(place, result.unverifiable, MADE_AGAIN if made_again else RETENTION)
            if result.verified is not None and result.verified != self._kept.get(place):
                verified[place] = result.verified
            if result.difference is not None:
                yield Difference(BETWEEN, str(place), self._agreements[place.topic], *result.difference)
        counted = {found.span.partition for found in self._counted}
        for place in sorted(metered.keys() - counted):
            known = self._known.get(place, NOTHING)
            self.delivered += known.counted
            self._note(place, metered[place].before - known.counted, GONE)
        self.unmetered = sum(one.records for one in (self._settled | settled).values())
        self._keep(verified, settled)

    def _was_another(self, topic: str) -> bool:
        """Tell whether a topic was made again since it was first counted."""
        return bool(self._seen.get(topic, set()) - {self._ids.get(topic)})

    def _topic(self, agreement_id: str, version: int) -> str:
        return self._names.share(consumer=self._terms[agreement_id, version].consumer, agreement=agreement_id)

    def _note(self, place: TopicPartition, records: int, why: str) -> None:
        if records > 0:
            self.unverifiable.append(Unverifiable(str(place), self._agreements[place.topic], records, why))

    def _keep(self, verified: Mapping[TopicPartition, Verified], settled: Mapping[TopicPartition, Unmetered]) -> None:
        with writing(self._engine) as connection:
            for table, rows in ((DELIVERIES_VERIFIED, verified), (DELIVERIES_UNMETERED, settled)):
                for place, row in rows.items():
                    key = {"scope": self._names.scope, "share_topic": place.topic, "share_partition": place.partition}
                    same = [table.c[name] == value for name, value in key.items()]
                    if connection.execute(update(table).where(*same).values(row._asdict())).rowcount == 0:
                        connection.execute(insert(table).values(key | row._asdict()))


def _read_verified(connection: Connection, *, scope: str) -> Iterator[tuple[TopicPartition, Verified]]:
    table = DELIVERIES_VERIFIED
    for row in connection.execute(select(table).where(table.c.scope == scope)):
        yield TopicPartition(row.share_topic, row.share_partition), Verified(row.share_topic_id, row.next_offset, row.metered, row.counted)


def _read_unmetered(connection: Connection, *, scope: str) -> Iterator[tuple[TopicPartition, Unmetered]]:
    table = DELIVERIES_UNMETERED
    for row in connection.execute(select(table).where(table.c.scope == scope)):
        yield TopicPartition(row.share_topic, row.share_partition), Unmetered(row.room, row.records)
