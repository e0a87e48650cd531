"""Where a source of CSV files stands: which file, behind which row, with which schema.

Theory of operation. A file is known by its SHA-256, not by its name, so that the same content dropped again is a no-op. It is
entered in the journal, with the schema that all of its rows will be written in, before its first row is published. Rows count
from 0, bad ones too; a record's source id is ``<first 16 hex of the hash>:<row>``, and so is its place. What a kill does:

* before the journal is written: nothing happened · after it, before the first commit: the file is taken again from row 0;
* between rows, or between sending and committing: Kafka aborts, the rows are read again, rejects are cut back to the position;
* after the commit, before the file is moved to ``done``: its hash is in the journal, so it is found seen before, and moved.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from connectors.kit.contract import Batch, Definition, Limits, Outcome, TakeUp, Target, Unsettled, WriterSchema
from connectors.kit.records import Misfit, Outgoing, RecordEncoder, RowShape
from connectors.sources.csv_file.encoding import Examined, changed, examine, sha256_of
from connectors.sources.csv_file.file_names import name_of
from connectors.sources.csv_file.header import Fit, fit
from connectors.sources.csv_file.inbox import Inbox
from connectors.sources.csv_file.journal import Entry, FilePosition, Journal, counted_otherwise, parse_position
from connectors.sources.csv_file.reading import MARK, CsvRows
from connectors.sources.csv_file.rejects import Reject, RejectBounds, Rejects
from connectors.sources.csv_file.settings import DOUBT_LINES_MAX, CsvSettings
from hub.model.errors import HubError

OUTCOMES_MAX: Final = 10_000
CLOCK_EVERY_ROWS: Final = 64
OTHER_CONTENT: Final = "published before with other content: all of its rows are published again, those that it had before too"
_ENCODING_FIX: Final = (
    "name its encoding by `encoding:` in the connector file, or leave its rest out: `cityhub connector run --give-up-rest`"
)
_REFUSED: Final = ("HUB-CONN-002", "HUB-CONN-003")


class CsvReader:
    """Reads the files of one connector in their order."""

    def __init__(self, definition: Definition, target: Target, *, state: Path) -> None:
        """Stand nowhere yet; the journal and the rejects are kept in ``state``."""
        self._settings: CsvSettings = definition.settings
        self._policy = definition.policy
        self._target = target
        self._state = state
        self._journal = Journal(state)
        self._inbox = Inbox(self._settings)
        self._open: _OpenFile | None = None
        self._outcomes: list[Outcome] = []
        self._expected: dict[str, int] = {}

    @property
    def rows_expected(self) -> int:
        """About how many rows the files of this run have: their lines without the headers."""
        return sum(self._expected.values())

    @property
    def waits(self) -> bool:
        """Tell whether a file is there that is still being written."""
        return self._inbox.waits

    def start(self, position: str | None, *, take_up: TakeUp) -> None:
        """Stand where Kafka's position says, or before everything with ``ANEW``."""
        if self._open is not None and position == self._open.next.text():
            self._take_note(self._open)
        self.close()
        if take_up is TakeUp.ANEW:
            self._journal.begin_anew()
            return
        held = parse_position(position) if position is not None else None
        at = self._journal.stand(held, topic_id=self._target.topic_id)
        if held is not None:
            self._journal.see_commit()
        if at is not None:
            self._resume(at, is_held=held is not None and held.number == at.number, take_up=take_up)

    def read(self, limits: Limits) -> Batch | None:
        """Return the next rows of the open file, or the first of the next."""
        try:
            if self._open is None:
                self._open = self._take_next()
            return None if self._open is None else self._open.batch(limits)
        except HubError as error:
            raise self._unsettled(error) from None

    def settle(self, batch: Batch) -> None:
        """Hold that the file is still what was examined, and write the rows set aside."""
        del batch
        try:
            self._opened.settle()
        except HubError as error:
            raise self._unsettled(error) from None

    def committed(self, batch: Batch) -> None:
        """Count, and leave the file where it has come to its end."""
        del batch
        self._take_note(self._opened)

    def outcomes(self) -> list[Outcome]:
        """Return what became of files since this was asked last."""
        found, self._outcomes = self._outcomes[-OUTCOMES_MAX:], []
        return found

    def open_input(self) -> Outcome | None:
        """Return how far the open file has come."""
        return None if self._open is None else self._open.outcome()

    def close(self) -> None:
        """Close the open file; idempotent."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _take_note(self, opened: "_OpenFile") -> None:
        self._journal.see_commit()
        opened.is_held = True
        opened.done = opened.next
        if opened.done.ended:
            self._expected[opened.entry.sha256] = opened.done.rows - opened.first_row
            self._outcomes.append(opened.outcome())
            self.close()
            if opened.path is not None:
                self._inbox.finish(opened.path, identity=opened.entry.identity)

    @property
    def _opened(self) -> "_OpenFile":
        if self._open is None:
            raise AssertionError("a batch belongs to an open file")
        return self._open

    def _unsettled(self, error: HubError) -> Exception:
        """Return Unsettled, and forget the file, where it changed before anything of it was committed; else the error itself."""
        opened = self._open
        if error.code != "HUB-CONN-006" or opened is None or opened.is_held:
            return error
        self.close()
        self._journal.take_back(opened.entry.number)
        return Unsettled(opened.entry.name)

    def _take_next(self) -> "_OpenFile | None":
        """Return the next file that was not taken before; on disk in the journal when it is returned."""
        for path in self._inbox.ready():
            try:
                examined = examine(path, encoding=self._settings.encoding)
                known = self._journal.find(examined.sha256)
                if known is None:
                    return self._take(path, examined)
                self._outcomes.append(Outcome(input=name_of(path), outcome="seen_before", identity=known.identity, same_as=known.name))
                self._inbox.finish(path, identity=known.identity)
            except FileNotFoundError:
                continue
            except HubError as error:
                if error.code == "HUB-CONN-006":
                    self._inbox.waits = True
                elif error.code in _REFUSED:
                    self._refuse(path, error)
                else:
                    raise
        return None

    def _take(self, path: Path, examined: Examined) -> "_OpenFile":
        writer = self._target.schemas.latest()
        rows, found = self._read_header(path, examined, writer)
        if self._journal.took(name_of(path)):
            self._outcomes.append(Outcome(input=name_of(path), outcome="other_content", reason=OTHER_CONTENT))
        number = 1 if self._journal.last is None else self._journal.last.number + 1
        entry = Entry(
            number=number,
            sha256=examined.sha256,
            name=name_of(path),
            bytes=examined.fingerprint.bytes,
            schema_id=writer.id,
            taken_at=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        )
        self._journal.take(entry, topic_id=self._target.topic_id)
        self._expected[entry.sha256] = max(0, examined.line_ends - 1)
        return self._opening(entry, path, rows, writer, found, FilePosition(number, entry.identity, 0, 0, ended=False))

    def _resume(self, at: FilePosition, *, is_held: bool, take_up: TakeUp) -> None:
        """Open the file of the last entry again behind the rows that were done."""
        entry = self._journal.last
        if entry is None:
            raise AssertionError("a position stands in an entry")
        if self._journal.counts_otherwise and at.rows and take_up is not TakeUp.GIVE_UP_REST:
            raise counted_otherwise(entry, at)
        refused: list[HubError] = []
        found = None if self._journal.counts_otherwise and at.rows else next(self._same_content(entry, refused), None)
        if found is not None:
            self._journal.count_anew()
            path, examined = found
            writer = self._target.schemas.by_id(entry.schema_id)
            rows, fitted = self._read_header(path, examined, writer)
            self._expected.setdefault(entry.sha256, max(0, examined.line_ends - 1 - at.rows))
            self._open = self._opening(entry, path, rows, writer, fitted, at)
            self._open.is_held = is_held
            self._open.skip(at.rows)
        elif not is_held:
            self._journal.take_back(entry.number)
        elif take_up is TakeUp.GIVE_UP_REST:
            self._open = _OpenFile(entry, None, None, None, self._rejects(entry, ""), at)
        elif refused:
            raise refused[0]
        else:
            fix = f"put it back as it was ({entry.bytes} bytes), or leave its rest out: `cityhub connector run --give-up-rest`"
            raise HubError("HUB-CONN-006", f"file `{entry.name}` is gone or was changed behind row {at.rows}", fix)

    def _same_content(self, entry: Entry, refused: list[HubError]) -> Iterator[tuple[Path, Examined]]:
        """Return files that hold what the entry's file held, the one of its name first; to ``refused`` why one cannot be read now."""
        for path in sorted(self._inbox.files(), key=lambda path: name_of(path) != entry.name):
            try:
                if path.stat().st_size == entry.bytes:
                    examined = examine(path, encoding=self._settings.encoding)
                    if examined.sha256 == entry.sha256:
                        yield path, examined
            except FileNotFoundError:
                continue
            except HubError as error:
                if error.code in _REFUSED and sha256_of(path) == entry.sha256:
                    refused.append(HubError(error.code, error.message, _ENCODING_FIX, problems=error.problems))

    def _read_header(self, path: Path, examined: Examined, writer: WriterSchema) -> tuple[CsvRows, Fit]:
        settings = self._settings
        rows = CsvRows(path, examined, delimiter=settings.delimiter, row_characters_max=settings.row_characters_max)
        try:
            return rows, fit(rows.header, writer.schema, policy=self._policy, key=settings.key, file=name_of(path))
        except HubError:
            rows.close()
            raise

    def _opening(self, entry: Entry, path: Path, rows: CsvRows, writer: WriterSchema, found: Fit, at: FilePosition) -> "_OpenFile":
        shape = RowShape(
            schema=writer.schema,
            schema_id=writer.id,
            columns=found.columns,
            width=len(rows.header),
            key=found.key,
            null_values=self._settings.null_values,
            partitions=self._target.partitions,
            value_bytes_max=self._target.record_bytes_max,
        )
        rejects = self._rejects(entry, rows.header_text if rows.encoding == "utf-8" else MARK + rows.header_text)
        rejects.cut_back(at.set_aside)
        return _OpenFile(entry, path, rows, RecordEncoder(shape), rejects, at, words=found.words(writer.schema))

    def _rejects(self, entry: Entry, header: str) -> Rejects:
        bounds = RejectBounds(rows_max=self._settings.rejects_max, bytes_max=self._settings.rejects_mb_max << 20)
        return Rejects(self._state / "rejects", name=entry.name, identity=entry.identity, header=header, bounds=bounds)

    def _refuse(self, path: Path, error: HubError) -> None:
        outcome = Outcome(input=name_of(path), outcome="refused", code=error.code, reason=error.message, problems=error.problems)
        self._outcomes.append(outcome)
        self._inbox.refuse(path, error)


class _OpenFile:
    """One file between its first row and its last. ``done`` is what Kafka holds, ``next`` what the batch under way would make of it."""

    def __init__(
        self,
        entry: Entry,
        path: Path | None,
        rows: CsvRows | None,
        encoder: RecordEncoder | None,
        rejects: Rejects,
        at: FilePosition,
        *,
        words: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """Stand at ``at``; without rows there is only an end left to commit. ``words`` are the schema's, by column."""
        self.entry = entry
        self.path = path
        self.is_held = False
        self.done = self.next = at
        self.first_row = at.rows
        """From where on this run reads."""
        self._rows = rows
        self._encoder = encoder
        self._rejects = rejects
        self._words = words
        self._full: HubError | None = None
        """Why no further row is set aside."""

    def skip(self, rows: int) -> None:
        """Read past rows that are done."""
        for _ in range(rows):
            if self._rows is None or not self._rows.next_row():
                raise changed(self.entry.name)

    def batch(self, limits: Limits) -> Batch:
        """Return the next rows as records; the last batch of a file says that it is at its end."""
        if self._full is not None:
            raise self._full
        at = self.done
        records, read, ended = self._records(limits, first=at.rows) if self._rows is not None else ([], 0, True)
        self.next = FilePosition(at.number, at.identity, at.rows + read, at.set_aside + read - len(records), ended)
        return Batch(records, self.next.text(), read, self.entry.name)

    def settle(self) -> None:
        """Raise HUB-CONN-006 where the file has changed; write the rows set aside."""
        if self._rows is not None:
            self._rows.hold_unchanged(to_the_end=self.next.ended)
        self._rejects.settle()

    def outcome(self) -> Outcome:
        """Return what became of the file, as far as Kafka holds it."""
        done = self.done
        return Outcome(
            input=self.entry.name,
            outcome="partly" if not done.ended else "published" if self._rows is not None else "given_up",
            rows=done.rows,
            published=done.rows - done.set_aside,
            set_aside=done.set_aside,
            identity=self.entry.identity,
            report=str(self._rejects.report) if done.set_aside else None,
        )

    def close(self) -> None:
        """Close the file."""
        if self._rows is not None:
            self._rows.close()

    def _records(self, limits: Limits, *, first: int) -> tuple[list[Outgoing], int, bool]:
        """Return records, the number of rows they were made of, and whether the file ended."""
        rows, encoder = self._rows, self._encoder
        if rows is None or encoder is None:
            raise AssertionError("rows and their encoder come together")
        identity = self.entry.identity.encode()
        deadline = time.monotonic() + limits.seconds_max
        records: list[Outgoing] = []
        size = read = 0
        while read < limits.rows_max and size < limits.bytes_max:
            if read % CLOCK_EVERY_ROWS == 0 and time.monotonic() > deadline and read:
                break
            if not rows.next_row():
                return records, read, True
            number = first + read
            made = encoder.record(rows.cells, number=number, source_id=b"%s:%d" % (identity, number)) if rows.fault is None else None
            if isinstance(made, Outgoing):
                records.append(made)
                size += len(made.value)
            elif self._is_full(rows, set_aside=self.done.set_aside + read - len(records), published=number > 0):
                break
            else:
                size += self._set_aside(rows, number, made)
            read += 1
        if self._full is not None and not read:
            raise self._full
        return records, read, False

    def _is_full(self, rows: CsvRows, *, set_aside: int, published: bool) -> bool:
        """Tell whether the next row that is set aside is one too many, or stands for too many; rows before it are still published."""
        many = rows.last_line - rows.first_line >= DOUBT_LINES_MAX
        if (many and not rows.is_whole) or (rows.in_doubt and (many or not rows.is_whole)):
            self._full = self._rejects.doubt(first_line=rows.first_line, last_line=rows.last_line, published=published)
        else:
            self._full = self._rejects.refusal(set_aside=set_aside, row=rows.first_line)
        return self._full is not None

    def _set_aside(self, rows: CsvRows, number: int, misfit: Misfit | None) -> int:
        """Take a row to be written, and return how much of it is held until then."""
        fault = misfit.fault if misfit is not None else rows.fault
        if fault is None:
            raise AssertionError("a row is set aside for a reason")
        column = self._words.get(misfit.column) if misfit is not None and misfit.column is not None else None
        text = rows.text if rows.is_whole else ""
        self._rejects.add(Reject(number, rows.first_line, rows.last_line, column, fault, text, rows.is_whole))
        return len(text)
