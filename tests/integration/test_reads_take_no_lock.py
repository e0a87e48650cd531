"""Looking takes no write lock: while another process holds the store, everything that only reads is answered at once.

A withdrawal has one second, and SQLite has one write lock: a list, a compatibility check or a command that took it would keep
every withdrawal waiting for as long as it lasts.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, Hall, hall_settings
from sqlalchemy import select
from starlette.testclient import TestClient

from hub.api.faces import build_app
from hub.api.server import Serve
from hub.broker.embedded import EmbeddedBroker
from hub.cli.reading import reading
from hub.model.names import Names
from hub.store.engine import reading as store_reading
from hub.store.tables import acts

pytestmark = pytest.mark.broker
GETS = (
    "/",
    "/config",
    "/config/{subject}",
    "/mode",
    "/schemas/types",
    "/v1/acts",
    "/v1/acts/{act_id}",
    "/schemas/ids/1",
    "/schemas/ids/1/schema",
    "/schemas/ids/1/subjects",
    "/schemas/ids/1/versions",
    "/subjects",
    "/subjects/{subject}/versions",
    "/subjects/{subject}/versions/{version}",
    "/subjects/{subject}/versions/{version}/schema",
    "/v1/agreements",
    "/v1/agreements/parking-vehicles",
    "/v1/datasets",
    f"/v1/datasets/{DATASET}",
    "/v1/lanes",
)


@pytest.fixture(scope="module")
def served(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Give a serve that stands by a hub with one agreement: reading is the same whether it leads."""
    state: Path = tmp_path_factory.mktemp("reads") / "state"
    settings = hall_settings(bootstrap=broker.bootstrap, names=Names(scope="339903", prefix="reads."), state=state)
    hall = Hall(settings, watch=False)
    control, officer = hall.hub.control, hall.hub.officer
    control.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(VEHICLE), actor=officer)
    control.datasets.publish(DATASET, actor=officer)
    hall.sign(AGREEMENT)
    serve = Serve(settings)
    yield serve
    serve.hub.close()
    hall.close()


@pytest.fixture
def client(served: Serve) -> TestClient:
    """Give a client of its routes."""
    return TestClient(build_app(served), base_url=f"http://127.0.0.1:{served.port}")


@contextmanager
def held(serve: Serve) -> Iterator[None]:
    """Hold the write lock as another program would."""
    other = sqlite3.connect(serve.hub.settings.state / "hub.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def act_of(serve: Serve) -> str:
    """Return the id of an act."""
    with store_reading(serve.hub.engine) as connection:
        return str(connection.scalar(select(acts.c.act_id).limit(1)))


def _path(serve: Serve, route: str) -> str:
    return (
        route.replace("{subject}", serve.hub.names.dept_subject(DATASET)).replace("{version}", "latest").replace("{act_id}", act_of(serve))
    )


@pytest.mark.parametrize("route", GETS)
def test_every_reading_route_is_answered_while_the_store_is_held(served: Serve, client: TestClient, route: str) -> None:
    """The lock is held before the question and until after the answer."""
    with held(served):
        answered = client.get(_path(served, route))
    assert answered.status_code == 200, answered.text


def test_the_list_of_reading_routes_is_whole(served: Serve) -> None:
    """A route that is added and looks something up must be held here, too."""
    paths = build_app(served).openapi()["paths"]
    known = {path for path, verbs in paths.items() if "get" in verbs}
    asked = {
        route.replace("parking-vehicles", "{agreement_id}").replace(DATASET, "{org}/{slug}").replace("ids/1", "ids/{schema_id}")
        for route in GETS
    }
    assert known == asked


def test_compatibility_is_checked_while_the_store_is_held(served: Serve, client: TestClient) -> None:
    """Clients ask for it from build pipelines, again and again."""
    wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "colour", "type": ["null", "string"], "default": None}]}
    subject = served.hub.names.dept_subject(DATASET)
    with held(served):
        asked = client.post(f"/compatibility/subjects/{subject}/versions/latest", json={"schema": json.dumps(wider)})
        known = client.post(f"/subjects/{subject}", json={"schema": json.dumps(VEHICLE)})
    assert asked.json() == {"is_compatible": True}
    assert known.json()["version"] == 1


def test_commands_that_look_read_while_the_store_is_held(served: Serve) -> None:
    """They also look whether tables are missing, which is no reason to take the lock."""
    with held(served), reading(served.hub.settings) as connection:
        assert served.hub.catalogue.require(connection, DATASET).published
        assert len(served.hub.signed_terms().terms) == 1


def test_a_change_on_a_held_store_is_refused_with_a_code_and_a_fix(
    served: Serve, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of all above: what writes does need the lock."""
    monkeypatch.setattr("hub.store.engine.LOCK_WAIT_S", 0.2)
    hall = Hall(served.hub.settings, watch=False)
    monkeypatch.setattr(Serve, "control", property(lambda _: hall.hub.control))
    client = TestClient(build_app(served), base_url=f"http://127.0.0.1:{served.port}")
    with held(served):
        refused: httpx.Response = client.post("/v1/agreements/parking-vehicles/suspend")
    assert refused.status_code == 503
    assert refused.json()["code"] == "HUB-STORE-001"
    assert refused.json()["fix"]
    assert client.post("/v1/agreements/parking-vehicles/suspend").json()["state"] == "suspended"
    hall.close()
