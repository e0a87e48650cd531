"""What serve depends on, as it stands now: the store and the broker. Looked at every few seconds in threads of their own.

``/readyz`` reads what was found and never waits. A look that does not come back is itself a finding, so a broker that hangs is told
like one that is gone. One failed look is no trouble yet: a broker that restarts, or a long change that holds the store's lock, passes.
One refused statement is none either; it is where the look after it, which tries to write, is refused as well.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Engine

from hub.broker.admin import answers
from hub.model.errors import HubError
from hub.settings import Settings
from hub.store.engine import open_engine, refused_by_store, writing
from hub.store.tables import store_version

LOOK_EVERY_S: Final = 2.0
BROKER_AWAY_AFTER_S: Final = 6.0
STORE_AWAY_AFTER_S: Final = 6.0


class Look:
    """One thing that is looked at again and again; trouble once no look was good for a while."""

    def __init__(self, look: Callable[[], str | None], *, patience_s: float) -> None:
        """Take it as well until it was looked at."""
        self._look = look
        self._patience_s = patience_s
        self._good_at = time.monotonic()
        self._reason = "no answer"

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            try:
                reason = self._look()
            except Exception as error:  # noqa: BLE001 - whatever it raises, it is not well
                reason = type(error).__name__
            if reason is None:
                self._good_at = time.monotonic()
            self._reason = reason or "no answer"
            stop.wait(LOOK_EVERY_S)

    def trouble(self) -> str | None:
        """Return the reason of the last look where none was good for too long."""
        away_s = time.monotonic() - self._good_at
        return None if away_s <= self._patience_s else f"{self._reason} for {away_s:.0f} s"


class StoreFile:
    """The file of an SQLite database: what is written to one that was deleted is lost when the process ends."""

    def __init__(self, engine: Engine) -> None:
        """Remember which file the database is; other databases have none."""
        name = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
        self._path = Path(name) if name and name != ":memory:" else None
        self._identity = self._now()

    def require(self) -> None:
        """Return where the file is the one that was opened; HUB-STORE-001 where it was deleted or replaced."""
        if self._identity is not None and self._now() != self._identity:
            fix = "stop this serve, restore the database from its backup, then start it again"
            raise HubError("HUB-STORE-001", f"`{self._path}` was deleted or replaced under the running serve", fix)

    def _now(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class Dependencies:
    """Store and broker of one serve."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        """Look at nothing yet."""
        self.file = StoreFile(engine)
        self._url = settings.store_url
        self._bootstrap = settings.bootstrap
        self._suspicion: HubError | None = None
        """What a statement was refused for, until a look has tried the same."""
        self._refused: str | None = None
        self._broker = Look(self._look_at_broker, patience_s=BROKER_AWAY_AFTER_S)
        self._store = Look(self._look_at_store, patience_s=STORE_AWAY_AFTER_S)
        sa.event.listen(engine, "handle_error", self._note_refusal)

    def watch(self, stop: threading.Event) -> None:
        """Begin to look, until ``stop`` is set."""
        for name, look in (("broker", self._broker), ("store", self._store)):
            threading.Thread(target=look.run, args=(stop,), name=f"look at {name}", daemon=True).start()

    def check_broker(self) -> str | None:
        """Say that the broker does not answer, and since when."""
        trouble = self._broker.trouble()
        return None if trouble is None else f"HUB-BROKER-001 {trouble}"

    def check_store(self) -> str | None:
        """Say that the store refuses what serve writes, is locked by another, or is another file than the one opened."""
        try:
            self.file.require()
        except HubError as error:
            return f"{error.code} {error.message}"
        refused = self._refused or self._store.trouble()
        return None if refused is None else f"HUB-STORE-001 {refused}"

    def _look_at_broker(self) -> str | None:
        return None if answers(self._bootstrap) else "no answer"

    def _look_at_store(self) -> str | None:
        """Try to begin a change, and to make one where the last was refused. A file that is gone is not made anew."""
        self.file.require()
        suspicion, engine = self._suspicion, open_engine(self._url)
        try:
            with writing(engine) as connection:
                if suspicion is None:
                    connection.execute(sa.select(store_version.c.version))
                else:
                    connection.execute(store_version.update().values(version=store_version.c.version))
        except HubError as error:
            self._refused = None if suspicion is None else error.message
            return error.message
        else:
            self._refused = None
            if self._suspicion is suspicion:
                self._suspicion = None
        finally:
            engine.dispose()
        return None

    def _note_refusal(self, context: Any) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, sa.exc.OperationalError):
            self._suspicion = refused_by_store(error)
