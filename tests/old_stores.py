"""Stores as hubs of earlier versions left them, on either kind of database, and what a store is made of, for tests of the upgrade."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hub.store.engine import open_engine, writing

FOLDER: Final = Path(__file__).parent / "stores"
VERSIONS: Final = tuple(sorted(int(file.stem) for file in FOLDER.glob("*.json")))


class OldStore:
    """What a hub of some version wrote: ``tests/stores/write.py`` says how."""

    def __init__(self, version: int) -> None:
        """Read the file of a version."""
        self.version = version
        self._file: Mapping[str, Any] = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
        self.scope: str = self._file["scope"]
        self.period: str = self._file["period"]
        self.trust_keys: str = self._file["trust_keys"]
        self.figures: Mapping[str, Any] = self._file["figures"]

    @property
    def tables(self) -> tuple[str, ...]:
        """Its tables."""
        return tuple(self._file["rows"])

    @property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Every row, by table."""
        return {name: [{key: _plain(value) for key, value in row.items()} for row in rows] for name, rows in self._file["rows"].items()}

    def write(self, url: str) -> Engine:
        """Make it again in an empty database, with its own statements."""
        engine = open_engine(url)
        with writing(engine) as connection:
            for statement in self._file["ddl"][engine.dialect.name]:
                connection.exec_driver_sql(statement)
            for name, rows in self.rows.items():
                if rows:
                    connection.execute(sa.table(name, *(sa.column(column) for column in rows[0])).insert(), rows)
        return engine


def rows_of(connection: Connection, names: Iterator[str] | tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """Return every row of some tables."""
    return {name: [dict(row) for row in connection.execute(sa.text(f'SELECT * FROM "{name}"')).mappings()] for name in names}  # noqa: S608


def described(connection: Connection) -> dict[str, Any]:
    """Return all that a database says of its tables: columns, keys, constraints with their names and texts, indexes, comments, triggers."""
    inspector = sa.inspect(connection)
    found = {name: _table(inspector, name) for name in sorted(inspector.get_table_names())}
    return {**found, "triggers": sorted(map(str, connection.execute(sa.text(_TRIGGERS[connection.dialect.name]))))}


_TRIGGERS: Final = {
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
}


def _table(inspector: Any, name: str) -> dict[str, Any]:
    columns = {
        column["name"]: (str(column["type"]), column["nullable"], column["default"], column.get("comment"))
        for column in inspector.get_columns(name)
    }
    return {
        "columns": columns,
        "key": inspector.get_pk_constraint(name)["constrained_columns"],
        "checks": {check["name"]: " ".join(check["sqltext"].split()) for check in inspector.get_check_constraints(name)},
        "uniques": sorted((str(one["name"]), tuple(one["column_names"])) for one in inspector.get_unique_constraints(name)),
        "foreign": sorted(
            (str(one["name"]), tuple(one["constrained_columns"]), one["referred_table"], tuple(one["referred_columns"]))
            for one in inspector.get_foreign_keys(name)
        ),
        "indexes": sorted((str(one["name"]), tuple(one["column_names"]), bool(one["unique"])) for one in inspector.get_indexes(name)),
        "comment": inspector.get_table_comment(name)["text"] if inspector.dialect.supports_comments else None,
    }


def _plain(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
