"""A worker that is told to end does so within seconds, whatever became of its broker."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hall import until
from town import FLIGHT, Town, encode, flight, terms

from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.exchange.floor import END_WITHIN_S
from hub.model.names import Names

pytestmark = pytest.mark.broker


class Doomed:
    """A broker of its own, whose end concerns nobody else, and a town on it."""

    def __init__(self, folder: Path) -> None:
        """Start the broker, publish a dataset and sign an agreement."""
        self.broker = EmbeddedBroker(folder=folder / "broker", heap_mb=256)
        self.broker.start()
        self.admin = Admin(self.broker.bootstrap, client_id="doomed")
        self.town = Town(names=Names(scope="339903"), admin=self.admin, folder=folder / "state")
        self.schema_id = self.town.schema("transport/flights", FLIGHT)
        self.topic = self.town.publish("transport/flights")
        self.town.agree(terms("doomed"))

    def produce(self, count: int) -> None:
        """Publish records."""
        self.town.produce(self.topic, [(n % 2, None, encode(self.schema_id, FLIGHT, flight(n))) for n in range(count)])

    def close(self) -> None:
        """End everything; the broker may be gone or frozen."""
        if self.broker.pid is not None:
            os.kill(self.broker.pid, signal.SIGCONT)
        for worker in self.town._workers:
            worker.kill()
            worker.wait()
        self.broker.kill()
        self.admin.close()


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Doomed]:
    """Give a town whose broker may die."""
    (tmp_path / "state").mkdir()
    built = Doomed(tmp_path)
    yield built
    built.close()


def _ended(worker: subprocess.Popen[bytes]) -> bool:
    return worker.poll() is not None


@pytest.mark.parametrize("fate", ["killed", "frozen", "killed long ago"])
def test_a_worker_ends_though_its_broker_is_gone(doomed: Doomed, fate: str) -> None:
    """Transactions that were open time out at the broker, as after a kill; waiting for it would keep `down` and service managers."""
    worker = doomed.town.start_worker()
    doomed.produce(100)
    doomed.town.wait_done(doomed.topic)
    assert doomed.broker.pid is not None
    os.kill(doomed.broker.pid, signal.SIGSTOP if fate == "frozen" else signal.SIGKILL)
    if fate == "killed long ago":
        threading.Event().wait(12)  # sessions are over, the coordinator is looked for again and again
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=END_WITHIN_S + 10)
    assert worker.returncode in {0, 4}, doomed.town.log()[-2000:]


def test_a_worker_that_still_waits_for_its_broker_ends(doomed: Doomed) -> None:
    """It is told while it connects."""
    assert doomed.broker.pid is not None
    os.kill(doomed.broker.pid, signal.SIGSTOP)
    worker = doomed.town.start_worker()
    until(lambda: "health and metrics are served" in doomed.town.log() or _ended(worker), within_s=30)
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=END_WITHIN_S + 10)
