"""Share partitions that do not take what a lane delivers: which, why, for how long, and what is made of it.

Nothing is final that may pass; what is denied in the end is that consumer's alone, partition by partition:

* *too large*: the topic takes smaller batches. The step is decided again and its batches for that partition are cut smaller, down to
  records alone. Serve sets the topic's bound back meanwhile.
* *may pass* (not authorised, too few replicas): the lane waits with HUB-LANE-013 until it passes. No record is denied, so that all
  consumers of the source partition wait; to suspend the one agreement lets the others go on.
* *gone*, shorter than its source, set so that it refuses, or too narrow for one record alone: serve makes it again, widens it or sets
  it back. The lane waits with HUB-LANE-014, ``exchange.undeliverable_wait_s`` at most, so that one consumer does not hold the others for
  ever. What is decided after that, until the partition takes records again, is denied by ``undeliverable``, with an alarm.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from aiokafka.client import AIOKafkaClient

from hub.broker.batches import HEADER_BYTES, RECORD_OVERHEAD_BYTES, build_batches, headers, read_records, stamp
from hub.broker.record_frames import RecordRow
from hub.broker.requests import absent
from hub.broker.transactions import MAY_PASS, TOO_LARGE, Output, Refusal
from hub.exchange.plan import OUTPUT_BYTES_MAX, Plan
from hub.exchange.verdict import Batch, Verdict
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.model.reasons import DeniedBy
from hub.model.usage import UsageEntry

_ANY_SIZE: Final = 1 << 30


class Told(Protocol):
    """Who is told."""

    def undeliverable(self, place: TopicPartition, *, code: int) -> None:
        """Note that a share partition takes nothing: what is for it is denied from now on."""

    def deliverable(self, place: TopicPartition) -> None:
        """Note that a share partition is there, and that its records are delivered again where it takes them."""

    def well(self, place: TopicPartition) -> None:
        """Note that a share partition takes what it refused."""

    def narrowed(self, place: TopicPartition, *, bytes_max: int) -> None:
        """Note that a share partition takes smaller batches only."""


class _Trouble:
    """What is known of one share partition."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.since: float | None = None
        """When it was first met; kept until it takes as much as it refused, so that the others wait once."""
        self.refusal = Refusal(0)
        self.batch_max: int | None = None
        """Bytes of the largest batch that is tried."""
        self.alone_max: int | None = None
        """A record that makes a batch of as many bytes by itself is denied: the wait for it is over."""
        self.denied = False
        """Everything is denied: the wait is over."""


class Undeliverables:
    """The share partitions that trouble the lanes of one worker."""

    def __init__(self, *, client: AIOKafkaClient, told: Told, wait_s: float) -> None:
        """None at first; ``wait_s`` is how long a lane waits for one that is gone."""
        self._client = client
        self._told = told
        self._wait_s = wait_s
        self._found: dict[TopicPartition, _Trouble] = {}

    @property
    def denied(self) -> Mapping[TopicPartition, int]:
        """Share partitions for which records are denied now, with Kafka's code."""
        return {place: known.refusal.code for place, known in self._found.items() if known.denied or known.alone_max is not None}

    def meet(self, refusals: Mapping[tuple[str, int], Refusal]) -> None:
        """Take note of what a step met: returns where the step is to be decided again, raises where the lane has to wait."""
        waits = [HubError(*_waits(place, self._wait_s)) for place, refusal in refusals.items() if self._must_wait(place, refusal)]
        passing = [place for place, refusal in refusals.items() if refusal.code in MAY_PASS]
        if passing:
            raise HubError(*_may_pass(passing[0], refusals[passing[0]].code))
        if waits:
            raise waits[0]

    def of(self, plan: Plan, partition: int) -> frozenset[str]:
        """Return ids of the plan's agreements that are denied in ``partition``."""
        if not self._found:
            return frozenset()
        denied = {place.topic for place, known in self._found.items() if known.denied and place.partition == partition}
        return frozenset(agreement.id for agreement in plan.agreements if agreement.share_topic in denied)

    def fit(self, verdict: Verdict, *, plan: Plan, partition: int) -> Verdict:
        """Return the verdict with batches as small as their partitions take them, and without records that fit in none."""
        for agreement in plan.agreements if self._found else ():
            known = self._found.get(TopicPartition(agreement.share_topic, partition))
            batches = verdict.deliveries.get(agreement.share_topic, ())
            if known is None or not batches or (known.batch_max is None and known.alone_max is None):
                continue
            fitted, left_out = _refit(batches, known)
            entries = tuple(_without(entry, left_out) if entry.agreement_id == agreement.id else entry for entry in verdict.entries)
            deliveries = {**verdict.deliveries, agreement.share_topic: fitted}
            verdict = msgspec.structs.replace(
                verdict, deliveries={name: kept for name, kept in deliveries.items() if kept}, entries=entries
            )
        return verdict

    def delivered(self, outputs: Iterable[Output]) -> None:
        """Take note of what partitions took: one that takes as much as it refused is well."""
        if not self._found:
            return
        for output in outputs:
            place = TopicPartition(output.topic, output.partition)
            known = self._found.get(place)
            if known is not None and len(output.data) >= known.refusal.size:
                del self._found[place]
                self._told.well(place)

    async def probe(self) -> None:
        """Let lanes try again: partitions that exist, batches twice as large, records that were too large."""
        gone = await absent(self._client, self.denied) if self.denied else frozenset()
        for place, known in self._found.items():
            if place in self.denied and place not in gone:
                known.denied, known.alone_max = False, None
                self._told.deliverable(place)
            if known.batch_max is not None:
                known.batch_max = min(known.batch_max * 2, OUTPUT_BYTES_MAX)

    def _must_wait(self, at: tuple[str, int], refusal: Refusal) -> bool:
        """Note one refusal; True where the lane has to wait for serve to mend it."""
        place = TopicPartition(*at)
        if refusal.code in MAY_PASS:
            return False
        known = self._found.setdefault(place, _Trouble())
        if refusal.code not in TOO_LARGE:
            known.refusal = Refusal(refusal.code)
        elif refusal.size >= known.refusal.size:
            known.refusal = refusal
        if refusal.code in TOO_LARGE and refusal.records > 1:
            known.batch_max = min(refusal.size, known.batch_max or OUTPUT_BYTES_MAX) // 2
            self._told.narrowed(place, bytes_max=known.batch_max)
            return False
        now = time.monotonic()
        known.since = known.since or now
        if now - known.since < self._wait_s:
            return True
        if refusal.code in TOO_LARGE:
            known.alone_max = min(refusal.size, known.alone_max or refusal.size)
        else:
            known.denied = True
        self._told.undeliverable(place, code=refusal.code)
        return False


def _refit(batches: Sequence[Batch], known: _Trouble) -> tuple[tuple[Batch, ...], list[RecordRow]]:
    """Return the batches cut at record borders to ``batch_max``, and the records that a batch of their own is too large for."""
    out: list[Batch] = []
    left_out: list[RecordRow] = []
    bound = known.batch_max or OUTPUT_BYTES_MAX
    for batch in batches:
        if len(batch.data) <= bound and (known.alone_max is None or len(batch.data) < known.alone_max):
            out.append(batch)
            continue
        data = bytes(stamp(batch.data, producer_id=-1, epoch=-1, sequence=-1, transactional=False))  # a native batch has no CRC yet
        (_, _, header) = next(headers(data))
        for group in _groups(read_records(data), bound):
            built = build_batches(
                [(row.key, row.value) for row in group], bytes_max=_ANY_SIZE, timestamp_ms=header.first_timestamp, codec=header.codec
            )
            if len(group) == 1 and known.alone_max is not None and len(built[0].data) >= known.alone_max:
                left_out += group
            else:
                out += [Batch(*one) for one in built]
    return tuple(out), left_out


def _groups(rows: Sequence[RecordRow], bound: int) -> Iterator[list[RecordRow]]:
    group: list[RecordRow] = []
    size = HEADER_BYTES
    for row in rows:
        room = RECORD_OVERHEAD_BYTES + _size(row)
        if group and size + room > bound:
            yield group
            group, size = [], HEADER_BYTES
        group.append(row)
        size += room
    if group:
        yield group


def _size(row: RecordRow) -> int:
    return len(row.key or b"") + len(row.value or b"")


def _without(entry: UsageEntry, left_out: Sequence[RecordRow]) -> UsageEntry:
    """Return the entry with ``left_out`` denied; of source bytes, which nobody counted by record, their share by number."""
    if not left_out:
        return entry
    return msgspec.structs.replace(
        entry,
        delivered=entry.delivered - len(left_out),
        denied=entry.denied + len(left_out),
        denied_by=DeniedBy.UNDELIVERABLE,
        bytes_source=entry.bytes_source - entry.bytes_source * len(left_out) // entry.delivered,
        bytes_delivered=entry.bytes_delivered - sum(_size(row) for row in left_out),
    )


def _may_pass(at: tuple[str, int], code: int) -> tuple[str, str, str]:
    agreement = at[0].rpartition(".")[2]
    fix = (
        "mend its ACLs or replicas: the lane goes on by itself, and nothing is denied. Until then the partition waits for every consumer; "
        f"`cityhub agreement suspend {agreement}` lets the others go on"
    )
    return "HUB-LANE-013", f"`{TopicPartition(*at)}` refuses for now (Kafka's code {code})", fix


def vital_fault(refusals: Mapping[tuple[str, int], Refusal]) -> HubError:
    """Return why a lane waits whose usage or quarantine topic takes nothing: gone before what may pass, since serve mends that alone."""
    gone = {place: refusal for place, refusal in refusals.items() if refusal.code not in MAY_PASS}
    at = min(gone or refusals)
    code, place = refusals[at].code, TopicPartition(*at)
    if gone:
        fix = "run `cityhub serve`: the one that leads makes it again within seconds, and the lane goes on by itself"
        return HubError("HUB-LANE-008", f"`{place}` is gone or refuses (Kafka's code {code})", fix)
    fix = "mend its ACLs or replicas: nothing is delivered without it, and the lane goes on by itself"
    return HubError("HUB-LANE-013", f"`{place}` refuses for now (Kafka's code {code})", fix)


def _waits(at: tuple[str, int], wait_s: float) -> tuple[str, str, str]:
    fix = f"run `cityhub serve`, which mends it within seconds; after {wait_s:.0f} s its records are denied, and the others go on"
    return "HUB-LANE-014", f"`{TopicPartition(*at)}` is gone, refuses, or is too narrow for a record", fix
