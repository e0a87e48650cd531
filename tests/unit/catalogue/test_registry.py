"""The registry: ids for ever, versions per subject."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from hub.catalogue.registry import Registry, fingerprint
from hub.store.engine import open_engine
from hub.store.tables import create_tables

ONE = json.dumps({"type": "record", "name": "A", "fields": [{"name": "a", "type": "string", "grade": "L1"}]})
TWO = json.dumps({"type": "record", "name": "A", "fields": [{"name": "a", "type": "string", "grade": "L2"}]})


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Give a transaction on an empty store."""
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    create_tables(engine)
    with engine.begin() as open_connection:
        yield open_connection
    engine.dispose()


def test_ids_count_from_one_and_versions_too(connection: Connection) -> None:
    """As the clients of that ecosystem expect."""
    registry = Registry(scope="330100")
    first = registry.register(connection, subject="s-value", schema=ONE, at_ms=0)
    second = registry.register(connection, subject="s-value", schema=TWO, at_ms=0)
    assert [(first.schema_id, first.version, first.new), (second.schema_id, second.version, second.new)] == [(1, 1, True), (2, 2, True)]


def test_the_same_schema_again_is_the_same_version(connection: Connection) -> None:
    """White space and the order of keys do not make a schema; field properties do."""
    registry = Registry(scope="330100")
    registry.register(connection, subject="s-value", schema=ONE, at_ms=0)
    again = registry.register(connection, subject="s-value", schema=json.dumps(json.loads(ONE), indent=4, sort_keys=True), at_ms=0)
    assert (again.schema_id, again.version, again.new) == (1, 1, False)
    assert registry.find(connection, subject="s-value", mark=fingerprint(TWO)) is None


def test_one_schema_under_two_subjects_has_one_id(connection: Connection) -> None:
    """An id names a text."""
    registry = Registry(scope="330100")
    ids = {registry.register(connection, subject=subject, schema=ONE, at_ms=0).schema_id for subject in ("s-value", "t-value")}
    assert ids == {1}
    assert [use.subject for use in registry.uses(connection, 1)] == ["s-value", "t-value"]


def test_after_a_restore_ids_begin_above_the_largest_that_hub_plan_carried(connection: Connection) -> None:
    """An id given out before the backup must never mean another schema."""
    registry = Registry(scope="330100")
    registry.raise_floor(41)
    registry.raise_floor(2_000_000_003)
    assert registry.register(connection, subject="s-value", schema=ONE, at_ms=0).schema_id == 42


def test_scopes_do_not_see_each_other(connection: Connection) -> None:
    """Several hubs may share a database."""
    Registry(scope="330100").register(connection, subject="s-value", schema=ONE, at_ms=0)
    assert Registry(scope="440300").subjects(connection) == ()
