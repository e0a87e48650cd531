"""How commands that only look read SQL: no broker, no serve, and few imports."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hub.settings import Settings


@contextmanager
def reading(settings: "Settings") -> "Iterator[Connection]":
    """Give a connection that sees one moment of the store, whose tables are made where they are missing; HUB-STORE-001, -002 and -003."""
    from hub.store import engine as store  # noqa: PLC0415 - SQL, which `--help` does not need
    from hub.store.tables import create_tables, require_scope  # noqa: PLC0415 - same

    engine = store.open_engine(settings.store_url)
    try:
        create_tables(engine)
        require_scope(engine, settings.scope)
        with store.reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()
