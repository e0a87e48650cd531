"""TLS to the cluster, certificates shown by both sides: each client of the hub speaks it, and a stranger gets nowhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tls import authority, listener, signed
from town import FLIGHT, Town, encode, flight, terms, wait_until

from hub.broker.admin import Admin
from hub.broker.clock import skew_ms
from hub.broker.embedded import EmbeddedBroker
from hub.broker.fencing import LaneGate
from hub.broker.plan_log import PlanLog
from hub.broker.ports import HOST
from hub.broker.security import secure
from hub.model.errors import HubError
from hub.model.names import Names
from hub.settings import BrokerSettings, Settings, TlsSettings

pytestmark = pytest.mark.broker


class Guarded(NamedTuple):
    """A broker with a TLS listener beside the plain one, and the files that open it."""

    broker: EmbeddedBroker
    bootstrap: str
    tls: TlsSettings

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a process that speaks TLS."""
        files = {f"CITYHUB_BROKER__TLS__{name.upper()}": str(path) for name, path in self.tls.model_dump().items()}
        return {"CITYHUB_BROKER__BOOTSTRAP": self.bootstrap, **files}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Start a broker of this module's own."""
    folder = tmp_path_factory.mktemp("tls")
    signer = authority(folder)
    port, properties = listener(signer, folder)
    certificate, key = signed(signer, folder, "worker")
    with EmbeddedBroker(folder=folder / "broker", heap_mb=384, more=properties) as broker:
        yield Guarded(broker, f"{HOST}:{port}", TlsSettings(ca=signer.file, certificate=certificate, key=key))


@pytest.fixture
def guarded_town(guarded: Guarded, names: Names, tmp_path: Path) -> Iterator[Town]:
    """Give a hub on that broker; what the test itself does goes over the plain listener."""
    with Admin(guarded.broker.bootstrap) as admin:
        town = Town(names=names, admin=admin, folder=tmp_path)
        yield town
        town.close()


def test_a_worker_reads_and_delivers_over_tls_alone(guarded: Guarded, guarded_town: Town) -> None:
    """Megabytes both ways, so that answers and requests are cut into many records of TLS; each record once, in order."""
    town = guarded_town
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("all"))
    town.produce(topic, [(number % 2, None, encode(schema_id, FLIGHT, flight(number))) for number in range(30_000)])

    with town.worker(**guarded.environment):
        town.wait_done(topic)

    assert [row["id"] for row in town.shared("all")] == [*range(0, 30_000, 2), *range(1, 30_000, 2)]


def test_a_worker_without_a_certificate_gets_nowhere(guarded: Guarded, guarded_town: Town) -> None:
    """The control of the test above: the listener asks for one."""
    town = guarded_town
    schema_id = town.schema("transport/flights", FLIGHT)
    topic = town.publish("transport/flights")
    town.agree(terms("all"))
    town.produce(topic, [(0, None, encode(schema_id, FLIGHT, flight(1)))])
    stranger = {name: value for name, value in guarded.environment.items() if not name.endswith(("CERTIFICATE", "KEY"))}

    worker = town.start_worker(**stranger)

    wait_until(lambda: worker.poll() is not None or "HUB-BROKER-001" in town.log(), within_s=60, what=town.log)
    assert town.usage() == []


def test_every_client_of_the_control_plane_has_it(guarded: Guarded, guarded_town: Town) -> None:
    """By its address alone: administrator, lanes from outside, reader of hub.plan, clock."""
    secure(Settings(broker=BrokerSettings(bootstrap=guarded.bootstrap, tls=guarded.tls)))

    with Admin(guarded.bootstrap) as admin:
        assert guarded_town.names.plan in admin.topic_ids([guarded_town.names.plan])
    LaneGate(guarded.bootstrap, timeout_ms=5_000).close()
    with PlanLog(guarded.bootstrap, guarded_town.names.plan) as log:
        assert log is not None
    assert abs(skew_ms(guarded.bootstrap)) < 60_000


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
def test_a_file_that_is_not_there_is_named(guarded: Guarded, tmp_path: Path, name: str) -> None:
    """With the setting that has to be mended."""
    broken = guarded.tls.model_copy(update={name: tmp_path / "absent.pem"})

    with pytest.raises(HubError) as caught:
        secure(Settings(broker=BrokerSettings(bootstrap="127.0.0.1:1", tls=broken)))

    assert caught.value.code == "HUB-CONF-001"
    assert f"broker.tls.{name}" in str(caught.value)
