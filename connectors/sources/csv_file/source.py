"""The type ``csv-file``: files of a folder, or files by name, row by row into a dataset's topic."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from connectors.kit.contract import Column, Definition, Discovery, Finding, Previewed, Reader, Setting, Target
from connectors.kit.records import Misfit, RecordEncoder, RowShape
from connectors.kit.verbs import decoded, finding
from connectors.sources.csv_file.encoding import Examined, examine
from connectors.sources.csv_file.file_names import name_of
from connectors.sources.csv_file.header import fit, looks_like_data
from connectors.sources.csv_file.inbox import Inbox
from connectors.sources.csv_file.journal import IDENTITY_CHARACTERS, Journal
from connectors.sources.csv_file.proposal import would_fit
from connectors.sources.csv_file.reader import OTHER_CONTENT, CsvReader
from connectors.sources.csv_file.reading import CsvRows
from connectors.sources.csv_file.settings import SETTINGS, CsvSettings, read_settings
from hub.model.errors import HubError
from hub.model.manifest import Form

FILES_CHECKED_MAX: Final = 100
LEFT_ALONE_SAID_MAX: Final = 5
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class CsvFileSource:
    """A source of CSV files."""

    TYPE: ClassVar[str] = "csv-file"
    SUMMARY: ClassVar[str] = "CSV files of a folder: strict about encoding, rows and values; each file once, known by its content."
    SETTINGS: ClassVar[tuple[Setting, ...]] = SETTINGS

    @classmethod
    def read_settings(cls, form: Form, *, folder: Path) -> CsvSettings:
        """Read the type's keys; faults go to the form."""
        return read_settings(form, folder=folder)

    def __init__(self, definition: Definition) -> None:
        """Look at nothing yet."""
        self._definition = definition
        self._settings: CsvSettings = definition.settings
        self._inbox = Inbox(self._settings)

    def check(self, target: Target | None) -> Iterator[Finding]:
        """Try the folder, and of each file the encoding and the header."""
        try:
            files = self._inbox.files()
        except HubError as error:
            yield finding("files", error)
            return
        missing = self._inbox.missing()
        yield Finding(
            check="files",
            ok=not missing,
            detail=f"{len(files)} there" + (f", {len(missing)} missing" if missing else "") + _told(self._inbox.left_alone()),
            code="HUB-CONN-001" if missing else None,
            fix=f"put `{missing[0]}` there, or mend `files`" if missing else None,
        )
        for path in files[:FILES_CHECKED_MAX]:
            yield self._check_file(path, target)

    def discover(self, *, rows_max: int) -> Discovery:
        """Propose a schema from the first file: every column text, named by its heading."""
        path = self._first()
        with self._rows(path) as rows:
            sample = list(self._sample(rows, rows_max))
            columns = tuple(self._column(at, heading, sample) for at, heading in enumerate(rows.header))
            values = looks_like_data([heading.strip() for heading in rows.header])
        org, slug = self._definition.dataset.split("/")
        record = "".join(part.capitalize() for part in slug.split("-"))
        schema = {
            "type": "record",
            "name": record,
            "namespace": f"dept.{org}".replace("-", "_"),
            "fields": [_proposed(column) for column in columns],
        }
        return Discovery(schema=schema, columns=columns, rows_seen=len(sample), input=name_of(path), headings_like_values=values)

    def preview(self, target: Target, *, rows_max: int) -> Sequence[Previewed]:
        """Encode the first rows of the first file."""
        path = self._first()
        writer = target.schemas.latest()
        with self._rows(path) as rows:
            found = fit(rows.header, writer.schema, policy=self._definition.policy, key=self._settings.key, file=name_of(path))
            shape = RowShape(
                schema=writer.schema,
                schema_id=writer.id,
                columns=found.columns,
                width=len(rows.header),
                key=found.key,
                null_values=self._settings.null_values,
                partitions=target.partitions,
                value_bytes_max=target.record_bytes_max,
            )
            encoder, words = RecordEncoder(shape), found.words(writer.schema)
            identity = examine(path, encoding=self._settings.encoding).sha256[:IDENTITY_CHARACTERS]
            numbers = itertools.takewhile(lambda _: rows.next_row(), range(rows_max))
            return [self._preview_row(rows, encoder, shape, words, number, f"{identity}:{number}") for number in numbers]

    def open(self, target: Target, *, state: Path) -> Reader:
        """Return a reader of the files."""
        return CsvReader(self._definition, target, state=state)

    def _check_file(self, path: Path, target: Target | None) -> Finding:
        name = f"file {name_of(path)}"
        try:
            examined = examine(path, encoding=self._settings.encoding)
            with self._opened(path, examined) as rows:
                if target is None:
                    return Finding(check=name, ok=True, detail=f"{rows.encoding}, {len(rows.header)} columns")
                writer = target.schemas.latest()
                fit(rows.header, writer.schema, policy=self._definition.policy, key=self._settings.key, file=name_of(path))
                detail = f"{rows.encoding}, {len(rows.header)} columns fit schema {writer.id}{_before(path, examined, target)}"
                return Finding(check=name, ok=True, detail=detail)
        except HubError as error:
            return finding(name, error)

    def _rows(self, path: Path) -> CsvRows:
        return self._opened(path, examine(path, encoding=self._settings.encoding))

    def _opened(self, path: Path, examined: Examined) -> CsvRows:
        return CsvRows(path, examined, delimiter=self._settings.delimiter, row_characters_max=self._settings.row_characters_max)

    def _first(self) -> Path:
        found = next(iter(self._inbox.files()), None)
        if found is None:
            raise HubError("HUB-CONN-001", "there is no file to look at", "put one into the folder, or mend `folder`, `files` or `pattern`")
        return found

    def _sample(self, rows: CsvRows, rows_max: int) -> Iterator[list[str]]:
        for _ in range(rows_max):
            if not rows.next_row():
                return
            if rows.fault is None and len(rows.cells) == len(rows.header):
                yield rows.cells

    def _column(self, at: int, heading: str, sample: Iterable[Sequence[str]]) -> Column:
        values = [row[at] for row in sample]
        given = [value for value in values if value not in self._settings.null_values]
        title = heading.strip()
        return Column(
            column=title,
            field=title if _FIELD_NAME.match(title) else f"column_{at + 1}",
            type="string",
            would_fit=would_fit(given),
            nulls=len(values) - len(given),
        )

    def _preview_row(
        self, rows: CsvRows, encoder: RecordEncoder, shape: RowShape, words: Mapping[int, str], number: int, source_id: str
    ) -> Previewed:
        made = encoder.record(rows.cells, number=number, source_id=source_id.encode()) if rows.fault is None else Misfit(rows.fault, None)
        if isinstance(made, Misfit):
            column = None if made.column is None else words[made.column]
            return _previewed(rows, number, source_id, fault=str(made.fault), column=column)
        key = None if made.key is None else made.key.decode()
        record = decoded(made.value, shape.schema)
        return _previewed(rows, number, source_id, partition=made.partition, key=key, bytes=len(made.value), record=record)


def _before(path: Path, examined: Examined, target: Target) -> str:
    """Say what the connector has done with a file of this name, where it has."""
    if target.state is None or not (journal := Journal(target.state)).took(name_of(path)):
        return ""
    return "; published before" if journal.find(examined.sha256) is not None else f"; {OTHER_CONTENT}"


def _told(left_alone: Sequence[Path]) -> str:
    """Say which files of the folder are not taken, and that it is their names."""
    if not left_alone:
        return ""
    names = ", ".join(f"`{name_of(path)}`" for path in left_alone[:LEFT_ALONE_SAID_MAX])
    more = f" and {len(left_alone) - LEFT_ALONE_SAID_MAX} more" if len(left_alone) > LEFT_ALONE_SAID_MAX else ""
    return f", {len(left_alone)} left alone because of their names ({names}{more}): `pattern` says which are taken"


def _previewed(rows: CsvRows, number: int, source_id: str, **known: Any) -> Previewed:
    blank: dict[str, Any] = {"partition": None, "key": None, "bytes": None, "record": None, "fault": None, "column": None}
    return Previewed(row=number, line=rows.first_line, source_id=source_id, **blank | known)


def _proposed(column: Column) -> dict[str, Any]:
    nullable: dict[str, Any] = {"type": ["null", "string"], "default": None} if column.nulls else {"type": "string"}
    return {"name": column.field, **nullable, "title": column.column, "grade": "L3"}
