"""Fixtures that every test may ask for: the real broker, an administrator, and names of a test's own."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels import KERNELS, kernel_names
from postgres import Postgres
from town import Town

from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.exchange import kernel
from hub.model.names import Names

os.environ.setdefault("CITYHUB_LOG_STRICT", "1")
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")  # a broker of a test ends before Java's second compiler pays
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell that started the tests in the background: programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
_COUNT = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that asks for the shared broker, so that ``-m "not broker"`` runs the rest in seconds."""
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker("broker")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One real Kafka for all tests of a run, on free ports, stopped at the end."""
    with EmbeddedBroker(folder=tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="session")
def admin(broker: EmbeddedBroker) -> Iterator[Admin]:
    """Connect an administrator to the shared broker."""
    with Admin(broker.bootstrap) as connected:
        yield connected


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for all tests of a run, made when the first asks for it."""
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty store of the test's own: each test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.sqlite3'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def names() -> Names:
    """Names that no other test uses: a scope and a topic prefix of this test's own."""
    number = next(_COUNT)
    return Names(scope=f"{330000 + number}", prefix=f"t{number}.")


@pytest.fixture
def town(names: Names, admin: Admin, tmp_path: Path) -> Iterator[Town]:
    """Give a hub of the test's own on the shared broker."""
    built = Town(names=names, admin=admin, folder=tmp_path)
    yield built
    built.close()


@pytest.fixture(scope="module", params=kernel_names())
def each_kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let ``kernel.run`` be each kernel in turn, for a whole module; its name."""
    name = str(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_RUN", KERNELS[name])
        patch.setattr(kernel, "_NAME", name)
        yield name
