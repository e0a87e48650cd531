"""The catalogue of datasets: entries in SQL, from applied to published."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.catalogue.entry_file import SCHEMA_PATH
from hub.catalogue.tables import datasets
from hub.model.dataset import DatasetEntry
from hub.model.errors import HubError, Problem
from hub.model.times import shown_time
from hub.model.written import identifier

APPLIED: Final = "applied"
PUBLISHED: Final = "published"
_FIXED_ONCE_PUBLISHED: Final = ("partitions", "key_identifier")


class CatalogueRow(msgspec.Struct, frozen=True):
    """One dataset of the catalogue."""

    entry: DatasetEntry
    state: str
    since_ms: int

    @property
    def published(self) -> bool:
        """Tell whether departments may send records to it."""
        return self.state == PUBLISHED


class Catalogue:
    """Keeps the dataset entries of one scope."""

    def __init__(self, *, scope: str) -> None:
        """Keep entries of ``scope``."""
        self.scope = scope

    def find(self, connection: Connection, dataset: str) -> CatalogueRow | None:
        """Return the entry of ``<org>/<dataset>``, None where there is none."""
        wanted = sa.select(datasets).where(datasets.c.scope == self.scope, datasets.c.dataset == dataset)
        row = connection.execute(wanted).first()
        return _row(row) if row is not None else None

    def require(self, connection: Connection, dataset: str) -> CatalogueRow:
        """Return the entry of ``<org>/<dataset>``; HUB-DATASET-003 where there is none."""
        found = self.find(connection, dataset)
        if found is None:
            fix = "apply its entry first: `cityhub dataset apply FILE`"
            raise HubError("HUB-DATASET-003", f"dataset `{identifier(dataset)}` is not known", fix)
        return found

    def all(self, connection: Connection) -> tuple[CatalogueRow, ...]:
        """Return every entry, sorted by name."""
        wanted = sa.select(datasets).where(datasets.c.scope == self.scope).order_by(datasets.c.dataset)
        return tuple(_row(row) for row in connection.execute(wanted))

    def check_change(self, connection: Connection, entry: DatasetEntry) -> str:
        """Return ``new``, ``changed`` or ``exists``; HUB-DATASET-004 names what cannot change once a dataset is published."""
        known = self.find(connection, entry.dataset)
        if known is None:
            return "new"
        if known.entry == entry:
            return "exists"
        if known.published:
            problems = tuple(_fixed(known.entry, entry))
            if problems:
                names = ", ".join(f"`{problem.field}`" for problem in problems)
                raise HubError(
                    "HUB-DATASET-004", f"published dataset `{entry.dataset}` cannot change {names}", "give a new dataset", problems=problems
                )
        return "changed"

    def put(self, connection: Connection, entry: DatasetEntry, *, at_ms: int) -> None:
        """Store ``entry``, in the place of the one before; its state stays."""
        text = msgspec.json.encode(entry).decode()
        where = (datasets.c.scope == self.scope, datasets.c.dataset == entry.dataset)
        if self.find(connection, entry.dataset) is not None:
            connection.execute(datasets.update().where(*where).values(entry=text))
        else:
            values = {"scope": self.scope, "dataset": entry.dataset, "entry": text, "state": APPLIED, "since_ms": at_ms}
            connection.execute(datasets.insert().values(**values))

    def mark_published(self, connection: Connection, dataset: str, *, at_ms: int) -> None:
        """Note that ``dataset`` is open for records."""
        where = (datasets.c.scope == self.scope, datasets.c.dataset == dataset)
        connection.execute(datasets.update().where(*where).values(state=PUBLISHED, since_ms=at_ms))


def dataset_view(row: CatalogueRow) -> dict[str, Any]:
    """Return a dataset as it is shown: its entry and its state, the time also in Asia/Shanghai."""
    return {**msgspec.to_builtins(row.entry), "state": row.state, "since": shown_time(row.since_ms)}


def shipped_schema(path: str) -> str | None:
    """Return the schema file that an entry names, from the hub's own ``avro_schemas``; None where it is not there."""
    if SCHEMA_PATH.match(path) is None:
        return None
    file = files("avro_schemas").joinpath(path)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _fixed(before: DatasetEntry, after: DatasetEntry) -> Iterator[Problem]:
    for name in _FIXED_ONCE_PUBLISHED:
        if getattr(before, name) != getattr(after, name):
            yield Problem(after.dataset, name, "cannot change once the dataset is published", "give a new dataset a new name")


def _row(row: Any) -> CatalogueRow:
    return CatalogueRow(msgspec.json.decode(row.entry, type=DatasetEntry), row.state, row.since_ms)
