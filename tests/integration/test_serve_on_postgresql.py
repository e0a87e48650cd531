"""`cityhub serve` on PostgreSQL, from an empty database on: two of them on machines of their own, as far as they can tell; one leads."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest
import sqlalchemy as sa
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, hall_settings, until
from postgres import Postgres

from hub.api.server import Serve
from hub.broker.embedded import EmbeddedBroker
from hub.broker.plan_log import PlanLog
from hub.model.errors import HubError
from hub.model.names import Names
from hub.settings import LedgerSettings
from hub.state import bring_up_to_date, initialise
from hub.store.act_chain import walk
from hub.store.engine import reading, writing
from hub.store.keys import load_trust_keys
from hub.store.tables import acts, plan_entries

pytestmark = pytest.mark.broker


class Machine:
    """A serve with a state folder of its own."""

    def __init__(self, *, bootstrap: str, names: Names, state: Path, url: str) -> None:
        """Start nothing yet."""
        base = hall_settings(bootstrap=bootstrap, names=names, state=state)
        self.settings = base.model_copy(update={"ledger": LedgerSettings(url=url)})
        self.ended: HubError | None = None

    def start(self) -> None:
        """Start serve."""
        self.serve = Serve(self.settings)
        self._thread = Thread(target=self._run)
        self._thread.start()

    def says(self) -> str:
        """Return what /readyz says, empty once nobody listens."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.serve.port}/readyz?verbose", trust_env=False).text
        except httpx.TransportError:
            return ""

    def post(self, *path: str) -> httpx.Response:
        """Ask for an act."""
        return httpx.post("/".join((f"http://127.0.0.1:{self.serve.port}/v1", *path)), json={}, timeout=60, trust_env=False)

    def open_dataset(self) -> str:
        """Apply and publish a dataset, apply and sign an agreement; return its id."""
        control, officer = self.serve.hub.control, self.serve.hub.officer
        change = control.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(VEHICLE), actor=officer)
        control.datasets.publish(change.dataset, actor=officer)
        drafted = control.agreements.apply(AGREEMENT, file="a.yaml", actor=officer)
        return control.agreements.sign(drafted.id, actor=officer).id

    def stop(self) -> None:
        """Stop it, as a signal does, and wait for its end."""
        self.serve.stop()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        try:
            self.serve.run()
        except HubError as error:
            self.ended = error


@pytest.fixture
def machines(broker: EmbeddedBroker, names: Names, tmp_path: Path, postgres: Postgres) -> Iterator[tuple[Machine, Machine]]:
    """Give two machines on one database; the first leads, the second stands by."""
    url = postgres.new_database()
    first, second = (Machine(bootstrap=broker.bootstrap, names=names, state=tmp_path / name, url=url) for name in ("first", "second"))
    with pytest.raises(HubError) as refusal:
        initialise(first.settings)
    assert refusal.value.code == "HUB-STORE-004", "an outside database is changed by nobody who was not told to"
    bring_up_to_date(first.settings, told=True)
    initialise(first.settings)
    shutil.copytree(tmp_path / "first" / "keys", tmp_path / "second" / "keys")
    first.start()
    until(lambda: "ready" in first.says().splitlines()[-1:], within_s=90)
    second.start()
    until(lambda: "standby" in second.says(), within_s=60)
    yield first, second
    for machine in (first, second):
        machine.stop()


def test_a_leader_that_loses_its_lease_ends_and_the_other_goes_on(machines: tuple[Machine, Machine], postgres: Postgres) -> None:
    """No act is doubled or lost, nothing is written by the first behind the second's beginning, and the chain of acts is whole."""
    first, second = machines
    agreement = first.open_dataset()
    assert second.post("agreements", agreement, "suspend").json()["code"] == "HUB-SERVE-002"

    database = sa.make_url(first.settings.store_url).database or ""
    assert postgres.end_connections(database, like="%advisory%") >= 1
    until(lambda: first.ended is not None, within_s=60)
    assert first.ended is not None
    assert first.ended.code == "HUB-SERVE-005"
    until(lambda: "ready" in second.says().splitlines()[-1:], within_s=90)
    for attempt in (lambda: first.serve.control, lambda: writing(first.serve.hub.engine).__enter__()):
        with pytest.raises(HubError) as refusal:
            attempt()
        assert refusal.value.code == "HUB-SERVE-005"

    assert second.post("agreements", agreement, "suspend").is_success
    assert second.post("agreements", agreement, "resume").is_success

    hub = second.serve.hub
    with reading(hub.engine) as connection:
        done = list(connection.scalars(sa.select(acts.c.act).where(acts.c.outcome == "done").order_by(acts.c.seq)))
        revisions = connection.scalar(sa.select(sa.func.max(plan_entries.c.revision)).where(plan_entries.c.object_id == agreement))
    assert [act for act in done if "agreement" in act] == ["apply.agreement", "sign.agreement", "suspend.agreement", "resume.agreement"]
    assert walk(hub.engine, trust=load_trust_keys(second.settings.keys_folder), signed_after=0).broken is None
    with PlanLog(second.settings.bootstrap, hub.names.plan) as log:
        entries = [entry.key for entry in log.read_all() if entry.key is not None and agreement.encode() in entry.key]
    assert len(entries) == revisions == 3
    assert DATASET in httpx.get(f"http://127.0.0.1:{second.serve.port}/v1/datasets", trust_env=False).text
