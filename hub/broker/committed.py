"""Counting the committed records of partitions from batch headers: not one record is decoded.

A batch of a transaction counts once its commit marker has come, an aborted one never; batches outside transactions count as
they are. So the count at a point of the log is what a ``read_committed`` reader would have seen of it. A caller who knows how
many records to expect learns where the count was exactly that with no transaction open.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest_v10
from aiokafka.structs import TopicPartition as KafkaPartition

from hub.broker.batches import headers, read_records
from hub.broker.protocol import FixedVersion
from hub.broker.requests import EARLIEST, LATEST, Lost, list_offset, list_offsets, open_client
from hub.model.errors import HubError
from hub.model.names import TopicPartition

FETCH_BYTES_MAX: Final = 32 * 1024 * 1024
PARTITION_BYTES_MAX: Final = 4 * 1024 * 1024
PARTITIONS_MAX: Final = 64
"""Partitions in one fetch request."""
FETCH_WAIT_MS: Final = 100
OFFSET_OUT_OF_RANGE: Final = 1
_MARKER: Final = struct.Struct(">hh")
_COMMIT: Final = 1


class Span(NamedTuple):
    """What to count: from an offset at which no transaction was open, and how many records are expected."""

    partition: TopicPartition
    first_offset: int
    expected: int


class Counted(NamedTuple):
    """What was counted of a span."""

    span: Span
    begin_offset: int
    """Where the log begins if that is later: retention took what was before."""
    next_offset: int
    """Up to where was counted: the high watermark asked for at the start or later."""
    records: int
    open_records: int
    """In transactions that were still open there."""
    met_at: int | None
    """Last offset at which the count was what is expected and nothing open; None: nowhere."""

    @property
    def is_cut(self) -> bool:
        """True where the log ends before the span begins: committed records are gone."""
        return self.next_offset < self.span.first_offset


class Tallier:
    """Counts one span over raw message sets, in their order."""

    def __init__(self, span: Span) -> None:
        """Begin at the span's first offset."""
        self.span = span
        self.begin_offset = span.first_offset
        self.next_offset = span.first_offset
        self.records = 0
        self._open: dict[int, int] = {}
        self.met_at: int | None = span.first_offset if span.expected == 0 else None

    @property
    def open_records(self) -> int:
        """Records of transactions that are open here."""
        return sum(self._open.values())

    def begin_at(self, offset: int) -> None:
        """Skip to ``offset``: what lies before is gone."""
        if offset > self.next_offset:
            self.begin_offset = self.next_offset = offset

    def take(self, data: bytes) -> None:
        """Count whole batches of a message set that was fetched at ``next_offset``."""
        for start, end, header in headers(data):
            after = header.base_offset + header.last_offset_delta + 1
            if after <= self.next_offset:
                continue
            if header.is_control:
                self._mark(header.producer_id, data[start:end])
            else:
                whole = header.base_offset >= self.next_offset
                count = header.records if whole else sum(row.offset >= self.next_offset for row in read_records(data[start:end]))
                if header.is_transactional:
                    self._open[header.producer_id] = self._open.get(header.producer_id, 0) + count
                else:
                    self.records += count
            self.next_offset = after
            if not self._open and self.records == self.span.expected:
                self.met_at = after

    def counted(self) -> Counted:
        """Return where the count stands."""
        return Counted(self.span, self.begin_offset, self.next_offset, self.records, self.open_records, self.met_at)

    def _mark(self, producer_id: int, batch: bytes) -> None:
        for row in read_records(batch):
            if row.key is not None and len(row.key) >= _MARKER.size and _MARKER.unpack_from(row.key)[1] in {0, _COMMIT}:
                count = self._open.pop(producer_id, 0)
                self.records += count if _MARKER.unpack_from(row.key)[1] == _COMMIT else 0


def count_committed(
    bootstrap: str, spans: Iterable[Span], *, deadline_s: float, tell: Callable[[int], None] = lambda _: None
) -> list[Counted]:
    """Count every span up to the high watermark as it is now; ``tell`` hears the records counted so far.

    What is asked of all partitions is asked in few requests, and only those with something new are fetched.

    Goes on behind it, for ``deadline_s`` at most, where records are short of what is expected and a transaction is open: its
    marker may be on the way. HUB-BROKER-001 when no broker answers, HUB-BROKER-009 when a topic is gone.
    """
    return asyncio.run(_count_all(bootstrap, list(spans), deadline_s=deadline_s, tell=tell))


async def _count_all(bootstrap: str, spans: Sequence[Span], *, deadline_s: float, tell: Callable[[int], None]) -> list[Counted]:
    client = await open_client(bootstrap, client_id="cityhub-check")
    places = [span.partition for span in spans]
    found: dict[TopicPartition, Counted] = {}
    try:
        begins = await list_offsets(client, places, at=EARLIEST)
        ends = await list_offsets(client, places, at=LATEST)
        if gone := next((place for place in places if place not in begins or place not in ends), None):
            raise _gone(gone)
        talliers = [_tallier(span, begin=begins[span.partition], end=ends[span.partition]) for span in spans]
        found = {one.span.partition: one.counted() for one in talliers if one.next_offset >= ends[one.span.partition]}
        due = [one for one in talliers if one.span.partition not in found]
        for start in range(0, len(due), PARTITIONS_MAX):
            group = due[start : start + PARTITIONS_MAX]
            counting = _Counting(client, group, ends, before=sum(one.records for one in found.values()), tell=tell)
            found |= {one.span.partition: one for one in await counting.run(deadline_s=deadline_s)}
    except (Lost, kafka_errors.KafkaError):
        raise HubError("HUB-BROKER-001", f"the broker at `{bootstrap}` stopped answering", "try again once it is back") from None
    finally:
        await client.close()
    return [found[place] for place in places]


def _tallier(span: Span, *, begin: int, end: int) -> Tallier:
    """Return a tallier that stands where counting a span begins."""
    tallier = Tallier(span)
    tallier.begin_at(begin)
    tallier.next_offset = min(tallier.next_offset, end)
    return tallier


def _gone(place: TopicPartition) -> HubError:
    return HubError("HUB-BROKER-009", f"topic `{place.topic}` is gone", "try again")


class _Counting:
    """Fetches a group of spans until each is counted up to its end."""

    def __init__(
        self,
        client: AIOKafkaClient,
        talliers: Sequence[Tallier],
        ends: Mapping[TopicPartition, int],
        *,
        before: int,
        tell: Callable[[int], None],
    ) -> None:
        self._client = client
        self._before = before
        self._talliers = {tallier.span.partition: tallier for tallier in talliers}
        self._ends = {place: ends[place] for place in self._talliers}
        self._tell = tell

    async def run(self, *, deadline_s: float) -> list[Counted]:
        """Return what was counted, in the order of the spans."""
        ends = self._ends
        waiting_since = time.monotonic()
        while due := [place for place, tallier in self._talliers.items() if tallier.next_offset < ends[place]]:
            if await self._fetch(due):
                waiting_since = time.monotonic()
                self._tell(self._before + sum(tallier.records for tallier in self._talliers.values()))
            elif time.monotonic() - waiting_since > deadline_s:
                raise HubError("HUB-LEDGER-007", f"`{due[0]}` could not be read to its end", "look at the broker's log, then try again")
        await self._wait_for_markers(ends, deadline_s=deadline_s)
        return [tallier.counted() for tallier in self._talliers.values()]

    async def _wait_for_markers(self, ends: dict[TopicPartition, int], *, deadline_s: float) -> None:
        """Read on where expected records stand in open transactions."""
        deadline = time.monotonic() + deadline_s
        while short := [
            place for place, one in self._talliers.items() if one.met_at is None and one.open_records and one.records < one.span.expected
        ]:
            if time.monotonic() > deadline:
                return
            for place in short:
                ends[place] = await self._ask(place, LATEST)
            if due := [place for place in short if self._talliers[place].next_offset < ends[place]]:
                await self._fetch(due)
            else:
                await asyncio.sleep(0.05)

    async def _ask(self, place: TopicPartition, at: int) -> int:
        found = await list_offset(self._client, place, at=at)
        if found is None:
            raise _gone(place)
        return found

    async def _fetch(self, due: Sequence[TopicPartition]) -> bool:
        """Fetch once from every leader of ``due``; True when something came."""
        by_leader: dict[int, list[TopicPartition]] = {}
        for place in due:
            leader = self._client.cluster.leader_for_partition(KafkaPartition(*place))
            if leader not in {None, -1}:
                by_leader.setdefault(leader, []).append(place)
        moved = [await self._fetch_from(node, places) for node, places in by_leader.items()]
        if not any(moved):
            await asyncio.sleep(0.02)
        return any(moved)

    async def _fetch_from(self, node: int, places: Sequence[TopicPartition]) -> bool:
        topics: dict[str, list[tuple[int, int, int, int, int]]] = {}
        for place in places:
            row = (place.partition, -1, self._talliers[place].next_offset, -1, PARTITION_BYTES_MAX)
            topics.setdefault(place.topic, []).append(row)
        request = FetchRequest_v10(-1, FETCH_WAIT_MS, 1, FETCH_BYTES_MAX, 0, 0, -1, list(topics.items()), [])
        answer = await self._client.send(node, FixedVersion(request))
        moved = False
        for topic, partitions in answer.topics:
            for row in partitions:
                moved = await self._take(TopicPartition(topic, row[0]), row) or moved
        return moved

    async def _take(self, place: TopicPartition, row: Any) -> bool:
        _, code, _, _, _, _, data = row
        tallier = self._talliers[place]
        before = tallier.next_offset
        if code == OFFSET_OUT_OF_RANGE:
            tallier.begin_at(await self._ask(place, EARLIEST))
        elif code:
            await self._client.force_metadata_update()
        elif data:
            tallier.take(data)
        return tallier.next_offset > before
