"""`cityhub serve` while its database is locked by another, full, or gone: it says so, refuses under a code, and goes on by itself."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest
from hall import ENTRY, VEHICLE, hall_settings, until

from hub.api.server import Serve
from hub.broker.embedded import EmbeddedBroker
from hub.model.names import Names
from hub.state import initialise

pytestmark = pytest.mark.broker


class Led:
    """A serve that leads in this process."""

    def __init__(self, *, bootstrap: str, names: Names, state: Path) -> None:
        """Start it and wait until it leads."""
        settings = hall_settings(bootstrap=bootstrap, names=names, state=state)
        initialise(settings)
        self.database = state / "hub.sqlite3"
        self.serve = Serve(settings)
        self._thread = Thread(target=self.serve.run)
        self._thread.start()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.serve.port}", timeout=60, trust_env=False)
        until(lambda: self.says() == "ready", within_s=60)

    def says(self) -> str:
        """Return the first line of /readyz."""
        try:
            return self.client.get("/readyz").text.partition("\n")[0]
        except httpx.TransportError:
            return ""

    def apply(self) -> httpx.Response:
        """Change something."""
        return self.client.post("/v1/datasets", json={"text": ENTRY, "file": "d.yaml", "schema": json.dumps(VEHICLE)})

    def connection(self, answer: httpx.Response) -> object:
        """Return which connection an answer came over."""
        return answer.extensions["network_stream"].get_extra_info("client_addr")

    def close(self) -> None:
        """Stop it."""
        self.client.close()
        self.serve.stop()
        self._thread.join(timeout=30)


@pytest.fixture
def led(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Led]:
    """Give a serve on a database of its own."""
    built = Led(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state")
    yield built
    built.close()


def test_a_database_that_another_holds_is_told_and_passes(led: Led) -> None:
    """HUB-STORE-001 on the same connection, /readyz red; nothing is left over once the other lets go."""
    first = led.client.get("/v1/datasets")
    other = sqlite3.connect(led.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = led.apply()
    assert (refused.status_code, refused.json()["code"]) == (503, "HUB-STORE-001")
    assert "another process holds its lock" in refused.json()["detail"]
    assert led.connection(refused) == led.connection(first)
    until(lambda: led.says().startswith("[-]store HUB-STORE-001"), within_s=40)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: led.says() == "ready", within_s=40)
    assert led.apply().is_success


def test_a_deleted_database_is_not_written_to(led: Led) -> None:
    """What is written to it would be lost with the process: a suspension among it."""
    led.database.unlink()
    assert led.says().startswith("[-]store HUB-STORE-001")
    refused = led.apply()
    assert (refused.status_code, refused.json()["code"]) == (503, "HUB-STORE-001")
    assert not led.database.exists()


def test_a_replaced_database_is_not_written_to(led: Led) -> None:
    """A backup that is put in place under the running serve is another file: it must be started anew."""
    copy = led.database.with_name("copy")
    copy.write_bytes(led.database.read_bytes())
    copy.replace(led.database)
    assert led.apply().json()["code"] == "HUB-STORE-001"
