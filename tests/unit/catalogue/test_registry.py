"""The registry: ids for ever, versions per subject."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, delete, func, select

from hub.catalogue.registry import Registry
from hub.catalogue.tables import schema_forms
from hub.store.engine import open_engine
from hub.store.upgrade import upgrade

ONE = json.dumps({"type": "record", "name": "A", "fields": [{"name": "a", "type": "string", "grade": "L1"}]})
TWO = json.dumps({"type": "record", "name": "A", "fields": [{"name": "a", "type": "string", "grade": "L2"}]})


@pytest.fixture
def connection(store_url: str) -> Iterator[Connection]:
    """Give a transaction on an empty store."""
    engine = open_engine(store_url)
    upgrade(engine)
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
    assert registry.find(connection, subject="s-value", schema=TWO) is None


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


STEWARD = json.dumps({"type": "record", "name": "dept.reg.A", "fields": [{"name": "a", "type": {"type": "string"}, "order": "ascending"}]})
JAVA = json.dumps({"type": "record", "name": "A", "namespace": "dept.reg", "fields": [{"name": "a", "type": "string"}]})


def test_a_schema_in_other_words_is_the_version_that_it_is(connection: Connection) -> None:
    """A steward writes a file, Java's clients send what their parser prints; what is stored keeps the first words."""
    registry = Registry(scope="330100")
    registry.register(connection, subject="s-value", schema=STEWARD, at_ms=0)
    found = registry.find(connection, subject="s-value", schema=JAVA)
    assert found is not None
    assert (found.schema_id, found.version, found.schema) == (1, 1, STEWARD)
    assert registry.first_wording(connection, JAVA) == STEWARD
    assert registry.find(connection, subject="s-value", schema="{") is None
    assert registry.find(connection, subject="s-value", schema="[" * 100_000) is None


def test_of_two_ids_with_one_form_each_answers_to_its_words_and_the_oldest_to_any_others(connection: Connection) -> None:
    """Databases from before forms were known hold such ids, and ids stay what they are."""
    registry = Registry(scope="330100")
    for schema in (STEWARD, JAVA):
        registry.register(connection, subject="s-value", schema=schema, at_ms=0)
    third = json.dumps({"type": "record", "name": "dept.reg.A", "fields": [{"name": "a", "type": "string"}]})
    found = [registry.find(connection, subject="s-value", schema=schema) for schema in (STEWARD, JAVA, third)]
    assert [version and version.schema_id for version in found] == [1, 2, 1]
    assert [registry.first_wording(connection, schema) for schema in (STEWARD, JAVA, third)] == [STEWARD, JAVA, STEWARD]


def test_forms_of_an_older_database_are_noted_once(connection: Connection) -> None:
    """The table is new, the schemas are not."""
    registry = Registry(scope="330100")
    registry.register(connection, subject="s-value", schema=STEWARD, at_ms=0)
    connection.execute(delete(schema_forms))
    assert registry.find(connection, subject="s-value", schema=JAVA) is None
    assert (registry.note_forms(connection), registry.note_forms(connection)) == (1, 0)
    assert registry.find(connection, subject="s-value", schema=JAVA) is not None
    assert Registry(scope="440300").note_forms(connection) == 0
    assert connection.scalar(select(func.count()).select_from(schema_forms)) == 1
