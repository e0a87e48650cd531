"""The reference kernel's one call: every record of a step is decided, in order, and nothing is lost on the way.

A batch that cannot be read is quarantined whole and counted as the transport counts it; a record that cannot be read is
quarantined once for all; one that fails its transform only for that agreement. An agreement without a right at this moment has
every record of the step denied, readable or not.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from hub.broker.batches import BatchHeader, UnreadableBatch, headers, read_records
from hub.broker.codecs import NAMES
from hub.broker.record_frames import RecordRow
from hub.exchange.plan import Plan, PlannedAgreement
from hub.exchange.reference.anonymise import Form, KeyForm
from hub.exchange.reference.authorise import Predicate, denials
from hub.exchange.reference.decode import Decode, Rejected
from hub.exchange.reference.meter import Tally
from hub.exchange.reference.program import WriterProgram, program_of
from hub.exchange.reference.quarantine import set_aside
from hub.exchange.reference.route import Output, build_deliveries, output_bytes, output_limit
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.framing import HEADER_BYTES, schema_id_of
from hub.model.reasons import Reject
from hub.model.records import Quarantined


def run(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    """Decide every record of ``chunks`` at or above the position under ``plan``. Never raises because of a record."""
    step = _Step(plan, source, moment)
    for chunk in chunks:
        floor = max(chunk.first_offset, source.position)
        data = bytes(chunk.data)
        for start, end, header in headers(data):
            if header.base_offset + header.last_offset_delta < floor:
                continue
            if step.is_full():
                return step.verdict(next_offset=max(header.base_offset, floor))
            try:
                rows = read_records(data[start:end])
            except UnreadableBatch as unreadable:
                code = Reject.BATCH_TOO_LARGE if unreadable.code == "too-large" else Reject.BATCH_CORRUPT
                step.set_batch_aside(data[start:end], header, floor=floor, code=code)
            else:
                undecided = step.decide(rows, floor=floor, codec=header.codec)
                if undecided is not None:
                    return step.verdict(next_offset=undecided)
    return step.verdict(next_offset=chunks[-1].next_offset if chunks else source.position)


_CODECS: Final = {name: number for number, name in NAMES.items()}
"""What `source` is not among: it is that of the first batch."""


class _Share(NamedTuple):
    """An agreement that has a right in this step."""

    agreement: PlannedAgreement
    tally: Tally
    outputs: list[Output]
    key: KeyForm
    tombstones: bool


class _ShareOfWriter(NamedTuple):
    share: _Share
    test: int | None
    form: Form | None


class _Writer(NamedTuple):
    """A writer schema with the shares that have a right in this step."""

    decode: Decode
    tests: tuple[Predicate, ...]
    shares: tuple[_ShareOfWriter, ...]


class _Step:
    def __init__(self, plan: Plan, source: Source, moment: Moment) -> None:
        program = program_of(plan)
        self._plan = plan
        self._source = source
        self._moment = moment
        self._limit = output_limit(plan)
        self._denials = denials(plan, moment)
        self._codec = _CODECS.get(plan.limits.output_codec)
        self._records = 0
        self._plain_bytes = self._output_bytes = self._quarantined_bytes = 0
        self._quarantined: list[Quarantined] = []
        self._unknown: set[int] = set()
        self._all = tuple(
            _Share(agreement, Tally(), [], key, tombstones)
            for agreement, key, tombstones in zip(plan.agreements, program.keys, program.tombstones, strict=True)
        )
        self._shares = tuple(share for share, denied in zip(self._all, self._denials, strict=True) if denied is None)
        self._writers = {header: self._with_rights(writer) for header, writer in program.writers.items()}

    def _with_rights(self, writer: WriterProgram) -> _Writer:
        shares = tuple(
            _ShareOfWriter(share, of_writer.test, of_writer.form)
            for share, of_writer, denied in zip(self._all, writer.shares, self._denials, strict=True)
            if denied is None
        )
        return _Writer(writer.decode, writer.tests if shares else (), shares)

    def is_full(self) -> bool:
        """Tell whether a limit of the step is reached: what is not decided yet belongs to the next."""
        limits = self._plan.limits
        return (
            self._plain_bytes >= limits.step_plain_bytes_max
            or self._output_bytes >= limits.step_output_bytes_max
            or len(self._quarantined) >= limits.step_quarantined_max
            or self._quarantined_bytes >= limits.step_quarantined_bytes_max
        )

    def decide(self, rows: Sequence[RecordRow], *, floor: int, codec: int) -> int | None:
        """Decide the rows of one batch from offset ``floor`` on; returns the first offset that is left for the next step, if any."""
        if self._codec is None:
            self._codec = codec
        writers = self._writers
        for row in rows:
            if row.offset < floor:
                continue
            if self.is_full():
                return row.offset
            self._records += 1
            value = row.value
            self._plain_bytes += output_bytes(row.key, value)
            if value is None:
                self._decide_tombstone(row)
                continue
            writer = writers.get(value[:HEADER_BYTES])
            if writer is None:
                self._set_record_aside(row, self._unknown_framing(value))
                continue
            try:
                self._decide_record(row, value, writer)
            except Rejected as refusal:
                self._set_record_aside(row, refusal.code)
        return None

    def _decide_record(self, row: RecordRow, value: bytes, writer: _Writer) -> None:
        decoded = writer.decode(value)
        values = decoded.values
        truths = [test(values) for test in writer.tests]
        for share, test, form in writer.shares:
            if test is not None and truths[test] is not True:
                share.tally.filtered += 1
                continue
            if form is None:
                self._set_aside_for(share, row, Reject.OUTPUT_SCHEMA_MISSING)
                continue
            try:
                self._deliver(share, row, (share.key(row.key), form(value, decoded)))
            except Rejected as refusal:
                self._set_aside_for(share, row, refusal.code)

    def _decide_tombstone(self, row: RecordRow) -> None:
        for share in self._shares:
            if row.key is None or not share.tombstones:
                share.tally.suppressed += 1
                continue
            try:
                self._deliver(share, row, (share.key(row.key), None))
            except Rejected as refusal:
                self._set_aside_for(share, row, refusal.code)

    def _deliver(self, share: _Share, row: RecordRow, output: Output) -> None:
        size = output_bytes(*output)
        if size > self._limit:
            raise Rejected(Reject.OUTPUT_TOO_LARGE)
        share.tally.deliver(source=output_bytes(row.key, row.value), delivered=size)
        share.outputs.append(output)
        self._output_bytes += size

    def _unknown_framing(self, value: bytes) -> Reject:
        schema_id = schema_id_of(value)
        if schema_id is None:
            return Reject.FRAMING
        self._unknown.add(schema_id)
        return Reject.SCHEMA_UNKNOWN

    def _set_record_aside(self, row: RecordRow, code: Reject) -> None:
        """Quarantine a record once, for every agreement that has a right."""
        for share in self._shares:
            share.tally.quarantined += 1
        self._keep(set_aside(self._source, first_offset=row.offset, next_offset=row.offset + 1, code=code, key=row.key, value=row.value))

    def _set_aside_for(self, share: _Share, row: RecordRow, code: Reject) -> None:
        share.tally.quarantined += 1
        self._keep(
            set_aside(
                self._source,
                first_offset=row.offset,
                next_offset=row.offset + 1,
                code=code,
                key=row.key,
                value=row.value,
                agreement_id=share.agreement.id,
            )
        )

    def set_batch_aside(self, batch: bytes, header: BatchHeader, *, floor: int, code: Reject) -> None:
        """Quarantine a batch that cannot be read, whole, from offset ``floor`` on."""
        first = max(header.base_offset, floor)
        claimed = _claimed_records(header, first=first)
        self._records += claimed
        for share in self._shares:
            share.tally.quarantined += claimed
        next_offset = header.base_offset + header.last_offset_delta + 1
        self._plain_bytes += len(batch)
        self._keep(set_aside(self._source, first_offset=first, next_offset=next_offset, code=code, key=None, value=batch))

    def _keep(self, record: Quarantined) -> None:
        self._quarantined.append(record)
        self._quarantined_bytes += output_bytes(record.key, record.value)

    def verdict(self, *, next_offset: int) -> Verdict:
        """Return what the step came to."""
        return Verdict(
            records=self._records,
            entries=tuple(
                share.tally.entry(share.agreement, records=self._records, denied_by=denied)
                for share, denied in zip(self._all, self._denials, strict=True)
            ),
            deliveries=build_deliveries(
                self._plan, [share.outputs for share in self._all], codec=self._codec or 0, timestamp_ms=self._moment.now_ms
            ),
            quarantined=tuple(self._quarantined),
            next_offset=next_offset,
            unknown_schema_ids=frozenset(self._unknown),
        )


def _claimed_records(header: BatchHeader, *, first: int) -> int:
    """Return how many records of a broken batch, from ``first`` on, its header claims: as the transport counts its gaps.

    A count that the offsets cannot hold is no count, and where the position cuts the batch only the offset deltas of its
    records could tell, which cannot be read: then every offset is a record.
    """
    span = header.last_offset_delta + 1
    cut = first - header.base_offset
    return header.records if cut == 0 and 0 <= header.records < span else span - cut
