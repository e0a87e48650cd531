"""The contract of a source: what a type offers, and what the kit gives it. Verbs: spec, init, check, discover, preview, run.

A type is one class, found by its entry point (group ``cityhub.sources``). The kit reads the connector file, finds topic and
schema, publishes exactly once and counts; a source says which rows there are, and where it stands in them, as text.

Theory of operation. The runner asks ``reader.read`` for a batch: records, and the position behind them. It sends both in one
Kafka transaction. Just before the commit it calls ``reader.settle``: what the position relies on must be on disk by then.
After any failure the runner takes a new producer, reads the position that Kafka holds and calls ``reader.start`` with it:
a reader keeps nothing that contradicts it. So a kill at any point repeats nothing and loses nothing.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import msgspec

from connectors.kit.records import Outgoing
from hub.model.errors import Problem
from hub.model.manifest import Form
from hub.model.source_schema import SourceSchema

POLICIES: Final = ("freeze", "discard_value")
"""What a source does with columns that the schema does not know: refuse the file, or leave the column out."""
POLICIES_LATER: Final = ("evolve", "discard_row")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a connector file that a type understands: what ``spec`` shows and ``init`` writes."""

    key: str
    kind: str
    """In words: ``text``, ``path``, ``list of texts``, …"""
    help: str
    default: str | None = None
    """As it would be written; None: there is none."""
    required: bool = False
    example: str | None = None
    """What ``init`` writes; None: the line is written as a comment with its default."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A connector file, read and found whole."""

    name: str
    type: str
    dataset: str
    policy: str
    metrics_port: int | None
    """Port of /livez, /readyz and /metrics; 0: a free one; None: not said."""
    settings: Any
    """The type's own settings, as its ``read`` returned them."""
    file: str


class WriterSchema(msgspec.Struct, frozen=True):
    """A schema of the dataset's subject, as registered."""

    id: int
    schema: SourceSchema


class Schemas(Protocol):
    """The schema registry, as a source sees it. HUB-SERVE-001 when it does not answer, HUB-SCHEMA-003 when it knows none."""

    def latest(self) -> WriterSchema:
        """Return the newest schema of the dataset."""

    def by_id(self, schema_id: int) -> WriterSchema:
        """Return a schema by its id."""


class Target(msgspec.Struct, frozen=True):
    """Where the records go."""

    topic: str
    topic_id: str
    partitions: int
    schemas: Schemas
    record_bytes_max: int
    state: Path | None = None
    """The connector's own folder, for checks that look at what was done before; None: there is none yet."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one batch, which is one Kafka transaction."""

    rows_max: int = 5_000
    bytes_max: int = 4 * 1024 * 1024
    seconds_max: float = 0.2


class Batch(NamedTuple):
    """What one transaction publishes."""

    records: Sequence[Outgoing]
    position: str
    """Where the source stands behind these records."""
    rows: int
    """Rows read, published and set aside."""
    input: str
    """Name of the file (or table) that they come from."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one input."""

    input: str
    outcome: str
    """``published``, ``seen_before``, ``refused``; ``partly`` where the run ended inside it, ``given_up`` where its rest was left.
    ``other_content``: an input of this name was published before, and is about to be again, since its content is another."""
    rows: int = 0
    """Data rows read, since its first."""
    published: int = 0
    set_aside: int = 0
    identity: str = ""
    """The beginning of the content's SHA-256."""
    same_as: str | None = None
    """``seen_before``: the name under which the same content was taken."""
    report: str | None = None
    """Where the rows that were set aside are reported."""
    code: str | None = None
    """``refused``: why."""
    reason: str | None = None
    problems: tuple[Problem, ...] = ()


class Unsettled(Exception):  # noqa: N818 (not an error: the input is looked at again a little later)
    """An input changed before anything of it was committed."""


class TakeUp(StrEnum):
    """How a reader takes up the position that Kafka holds."""

    GO_ON = "go_on"
    GIVE_UP_REST = "give_up_rest"
    """Where the input at the position is gone or changed: leave its rest, go on with the next."""
    ANEW = "anew"
    """Forget what was taken: every input is published again."""


class Reader(Protocol):
    """A source that stands somewhere."""

    def start(self, position: str | None, *, take_up: TakeUp) -> None:
        """Stand at ``position`` (None: Kafka holds none). HUB-CONN-005 where it cannot be used, 006 where its input is gone."""

    def read(self, limits: Limits) -> Batch | None:
        """Return the next rows; None where there are none at the moment. Unsettled, or HUB-CONN-006, where the input changes."""

    def settle(self, batch: Batch) -> None:
        """Put on disk what the batch's position relies on. Unsettled, or HUB-CONN-006, where the input has changed."""

    def committed(self, batch: Batch) -> None:
        """Take note that Kafka holds the batch and its position."""

    @property
    def waits(self) -> bool:
        """Tell whether an input is there that is not ready to be read, such as a file still being written."""

    @property
    def rows_expected(self) -> int:
        """About how many rows the inputs that this run has seen so far have."""

    def outcomes(self) -> list[Outcome]:
        """Return what became of inputs since this was asked last."""

    def open_input(self) -> Outcome | None:
        """Return how far the input has come that is open, None where none is."""

    def close(self) -> None:
        """Close what is open; idempotent."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of ``check``."""

    check: str
    ok: bool
    detail: str
    code: str | None = None
    fix: str | None = None


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column that ``discover`` found."""

    column: str
    field: str
    type: str
    """The proposed type: text stays text."""
    would_fit: str
    """The narrowest type that all rows of the sample would fit as they are written: for a person to decide."""
    nulls: int
    """Rows of the sample with a null value."""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What ``discover`` found: a schema to start from, and the columns that it was made of."""

    schema: dict[str, Any]
    columns: tuple[Column, ...]
    rows_seen: int
    input: str
    headings_like_values: int = 0
    """How many headings look like values: the first row may be data, and no heading of it belongs into a schema."""


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """One row as ``preview`` shows it."""

    row: int
    line: int
    partition: int | None
    key: str | None
    source_id: str
    bytes: int | None
    record: dict[str, Any] | None
    fault: str | None
    column: str | None


class SourceType(Protocol):
    """A type of source."""

    TYPE: ClassVar[str]
    SUMMARY: ClassVar[str]
    SETTINGS: ClassVar[tuple[Setting, ...]]

    @classmethod
    def read_settings(cls, form: Form, *, folder: Path) -> Any:
        """Read the type's keys, noting every fault in the form; paths are relative to ``folder``."""

    def __init__(self, definition: Definition) -> None:
        """Look at nothing yet."""

    def check(self, target: Target | None) -> Iterable[Finding]:
        """Try everything on the source's side; without a target what needs none."""

    def discover(self, *, rows_max: int) -> Discovery:
        """Look at the source and propose a schema."""

    def preview(self, target: Target, *, rows_max: int) -> Sequence[Previewed]:
        """Encode the first rows without publishing them."""

    def open(self, target: Target, *, state: Path) -> Reader:
        """Return a reader that stands nowhere yet; ``state`` is the connector's own folder."""
