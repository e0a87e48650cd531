"""Acts: append-only, linked, each open one found again after a crash."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hub.model.errors import HubError
from hub.store.acts import Act, Actor, new_ulid, open_acts, record_act
from hub.store.engine import open_engine
from hub.store.tables import acts, require_scope, store_version
from hub.store.upgrade import upgrade

OFFICER = Actor(person_id="li-wei", org_id="city-hub")
SIGN = Act(verb="sign.agreement", object_type="agreement", object_id="parking-vehicles", object_version=1)


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """Give an empty store."""
    opened = open_engine(store_url)
    upgrade(opened)
    yield opened
    opened.dispose()


def record(connection: Connection, outcome: str, correlation_id: str) -> str:
    """Record one row of an act."""
    return record_act(connection, SIGN, actor=OFFICER, scope="330100", outcome=outcome, correlation_id=correlation_id)


@pytest.mark.parametrize("change", [acts.update().values(reason="x"), acts.delete()])
def test_an_act_can_be_neither_changed_nor_removed(engine: Engine, change: sa.Executable) -> None:
    """The database itself refuses."""
    with engine.begin() as connection:
        record(connection, "done", "C1")
    with pytest.raises(sa.exc.DBAPIError, match="acts only grow"), engine.begin() as connection:
        connection.execute(change)


def test_an_act_without_outcome_is_found_again(engine: Engine) -> None:
    """A process that died between intent and effect leaves work to finish."""
    with engine.begin() as connection:
        record(connection, "intended", "C1")
        record(connection, "done", "C1")
        record(connection, "intended", "C2")
        record(connection, "refused", "C3")
        assert [row.correlation_id for row in open_acts(connection, scope="330100")] == ["C2"]


def test_ulids_are_26_characters_and_sort_by_time() -> None:
    """As the standard has them."""
    ids = [new_ulid() for _ in range(100)]
    assert {len(ulid) for ulid in ids} == {26}
    assert len(set(ids)) == 100
    assert [ulid[:10] for ulid in ids] == sorted(ulid[:10] for ulid in ids)


def test_a_database_of_a_newer_hub_is_refused(engine: Engine) -> None:
    """An older program would misread it."""
    with engine.begin() as connection:
        connection.execute(store_version.update().values(version=99))
    with pytest.raises(HubError) as refusal:
        upgrade(engine)
    assert refusal.value.code == "HUB-STORE-002"


def test_a_database_of_another_hub_is_refused(engine: Engine) -> None:
    """Both would write into one chain of acts, of which each has an anchor."""
    require_scope(engine, "440300")
    with engine.begin() as connection:
        record(connection, "done", "C1")
    require_scope(engine, "330100")
    with pytest.raises(HubError, match="scope `330100`, this hub is of scope `440300`") as refusal:
        require_scope(engine, "440300")
    assert refusal.value.code == "HUB-STORE-003"
