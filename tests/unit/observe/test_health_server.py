"""Probes answer fast, say why, and only on this machine."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from hub.model.errors import HubError
from hub.observe import health
from hub.observe.health import HealthServer


class Facts:
    """What the checks look at."""

    lanes: str | None = None
    live: str | None = None


@pytest.fixture
def facts() -> Facts:
    """Everything well."""
    return Facts()


def plan_is_broken() -> str | None:
    """Raise, as a check with a bug does."""
    message = "浙A12345"
    raise RuntimeError(message)


@pytest.fixture
def server(facts: Facts) -> Iterator[HealthServer]:
    """Serve the health of a worker with two checks, on a free port."""
    with HealthServer(0, {"plan": lambda: None, "lanes": lambda: facts.lanes}, process="worker", live=lambda: facts.live) as running:
        yield running


def get(server: HealthServer, path: str) -> tuple[int, str]:
    """Return status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_ready_answers_200(server: HealthServer) -> None:
    """All checks are well."""
    assert get(server, "/readyz") == (200, "ready\n")
    assert get(server, "/livez") == (200, "live\n")


def test_a_failed_check_answers_503_with_its_reason(server: HealthServer, facts: Facts) -> None:
    """The reason is the first thing a person reads."""
    facts.lanes = "2 lanes stopped"
    assert get(server, "/readyz") == (503, "[-]lanes 2 lanes stopped\nnot ready\n")
    assert get(server, "/livez")[0] == 200


def test_verbose_lists_every_check(server: HealthServer, facts: Facts) -> None:
    """Also those that are well."""
    facts.lanes = "2 lanes stopped"
    assert get(server, "/readyz?verbose") == (503, "[+]plan ok\n[-]lanes 2 lanes stopped\nnot ready\n")


def test_a_dead_loop_is_not_live(server: HealthServer, facts: Facts) -> None:
    """A process whose work has stopped is to be started again."""
    facts.live = "event loop has not turned for 30 s"
    assert get(server, "/livez") == (503, "[-]live event loop has not turned for 30 s\nnot ready\n")


def test_a_check_that_raises_is_a_failed_check_and_tells_no_text() -> None:
    """A bug in a check must not look like health, nor carry a value out."""
    with HealthServer(0, {"plan": plan_is_broken}, process="worker") as server:
        assert get(server, "/readyz") == (503, "[-]plan check raised RuntimeError\nnot ready\n")


def test_metrics_are_those_of_the_process(server: HealthServer) -> None:
    """A scraper reads them from the same port."""
    status, body = get(server, "/metrics")
    assert status == 200
    assert "cityhub_lanes" in body
    assert "cityhub_chains_held" not in body


def test_an_unknown_path_is_404(server: HealthServer) -> None:
    """And says what is known."""
    assert get(server, "/") == (404, "known here: /livez /readyz /metrics\n")


def test_it_listens_on_this_machine_alone(server: HealthServer) -> None:
    """Until identity has come nothing binds to another interface."""
    assert server._server.server_address == ("127.0.0.1", server.port)


def test_a_taken_port_is_a_coded_error(server: HealthServer) -> None:
    """The person sees which port and what to do."""
    with pytest.raises(HubError) as caught:
        HealthServer(server.port, {}, process="worker")
    assert caught.value.code == "HUB-BROKER-004"
    assert str(server.port) in caught.value.message


def test_idle_connections_cannot_use_up_the_server(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound of requests a further one is turned away, and the place is free again afterwards."""
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(health.REQUESTS_MAX)]
    with socket.create_connection(("127.0.0.1", server.port)) as one_more:
        one_more.settimeout(5)
        assert one_more.recv(1) == b""
    for connection in idle:
        connection.close()
    status = 0
    for _ in range(50):
        try:
            status = get(server, "/livez")[0]
            break
        except OSError:
            continue
    assert status == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_web_page_reads_nothing(server: HealthServer, headers: dict[str, str]) -> None:
    """A name of the page's own may lead to this port; a browser tells which name it asked for."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)  # noqa: S310 - our own server
    assert refused.value.code == 403
    refused.value.close()


def test_a_probe_that_names_no_host_is_answered(server: HealthServer) -> None:
    """HAProxy's checks are HTTP/1.0; a browser never leaves its host out."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as probe:
        probe.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert probe.recv(64).startswith(b"HTTP/1.0 200")
