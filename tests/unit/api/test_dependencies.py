"""When `/readyz` is red for the store: one refused statement is a suspicion, which the next look confirms or drops."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hall import until
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from hub.api.dependencies import Dependencies
from hub.settings import BrokerSettings, Settings
from hub.store.engine import open_engine
from hub.store.upgrade import upgrade


class Store:
    """A database, and what serve makes of it; each look is made by hand."""

    def __init__(self, state: Path) -> None:
        """Have a store that is well."""
        settings = Settings(state=state, broker=BrokerSettings(bootstrap="127.0.0.1:1"))
        self.engine: Engine = open_engine(settings.store_url)
        upgrade(self.engine)
        self.found = Dependencies(settings, self.engine)
        self.look = self.found._look_at_store

    def refuse(self) -> None:
        """Have a statement refused."""
        with pytest.raises(OperationalError), self.engine.begin() as connection:
            connection.execute(sa.text("UPDATE nothing_of_that_name SET a = 1"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give a store."""
    built = Store(tmp_path)
    yield built
    built.engine.dispose()


def test_one_refused_statement_does_not_make_serve_not_ready(store: Store) -> None:
    """Balancers would take it out of service for what was over before they looked."""
    store.refuse()
    assert store.found.check_store() is None
    assert store.look() is None
    assert store.found.check_store() is None


def test_a_store_that_refuses_the_look_too_is_told_until_it_takes_writes_again(store: Store) -> None:
    """The look tries what was refused: to write."""
    store.refuse()
    with store.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE store_version RENAME TO away"))
    assert store.look() is not None
    assert (store.found.check_store() or "").startswith("HUB-STORE-001")
    with store.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO store_version"))
    assert store.look() is None
    assert store.found.check_store() is None


def test_looks_are_made_again_and_again(store: Store) -> None:
    """A suspicion does not wait for anybody to ask."""
    stop = threading.Event()
    store.refuse()
    with store.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE store_version RENAME TO away"))
    store.found.watch(stop)
    try:
        until(lambda: store.found.check_store() is not None)
    finally:
        stop.set()
