"""How commands that only look read SQL: no broker, no serve, and few imports."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from hub.settings import Settings


@contextmanager
def reading(settings: "Settings") -> "Iterator[Connection]":
    """Give a connection that sees one moment of the store; an embedded one that is empty is made. HUB-STORE-001 to -005."""
    from hub.store import engine as store  # noqa: PLC0415 - SQL, which `--help` does not need
    from hub.store.tables import require_scope  # noqa: PLC0415 - same
    from hub.store.upgrade import require_current  # noqa: PLC0415 - same

    engine = store.open_engine(settings.store_url)
    try:
        require_current(engine)
        require_scope(engine, settings.scope)
        with store.reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()
