"""A crowd of requests that wait leaves room for an officer's new connection: real sockets, and an application that never answers."""

import asyncio
import resource
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from hall import until
from starlette.types import Receive, Scope, Send

from hub.api.admission import HEALTH, Admission
from hub.api.connections import BoundedProtocol, bounded_protocol, connections_bound
from hub.model.errors import HubError
from hub.settings import ServeSettings

CONNECTIONS = 56
CROWD = 80
READ = b"GET /v1/agreements HTTP/1.1\r\nHost: a\r\n\r\n"
WITHDRAW = b"POST /v1/agreements/a/suspend HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
HEALTHY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
SETTINGS = ServeSettings(
    connections_max=CONNECTIONS,
    waiting_requests_max=1_024,
    read_requests_max=2,
    act_requests_max=2,
    check_requests_max=1,
    withdrawal_requests_max=1,
    health_requests_max=1,
    idle_timeout_s=600,
)


class Slow:
    """An application whose readers wait until told; withdrawals and health are answered at once."""

    def __init__(self) -> None:
        """Nobody waits."""
        self.reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or wait for ever."""
        del receive
        if scope["method"] == "GET" and scope["path"] not in HEALTH:
            self.reading += 1
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def slow() -> Slow:
    """Give the application."""
    return Slow()


@pytest.fixture
def port(slow: Slow) -> Iterator[int]:
    """Serve it with the bounds of ``SETTINGS``; gives the port."""
    app = Admission(slow, settings=SETTINGS, connections=CONNECTIONS)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", http=bounded_protocol(SETTINGS), ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True)
        thread.start()
        until(lambda: server.started)
        yield bound.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join(timeout=10)


def ask(port: int, request: bytes) -> socket.socket:
    """Return a connection that has sent ``request``."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    opened.sendall(request)
    return opened


def test_readers_that_wait_leave_room_for_a_withdrawal_and_for_health(slow: Slow, port: int) -> None:
    """More whole requests than connections: none of them is silent, so the newest connection was the one that was closed."""
    crowd = [ask(port, READ) for _ in range(CROWD)]
    try:
        until(lambda: slow.reading == SETTINGS.read_requests_max)
        for request in (WITHDRAW, HEALTHY):
            with ask(port, request) as officer:
                assert officer.recv(64).startswith(b"HTTP/1.1 200")
    finally:
        for opened in crowd:
            opened.close()


def test_all_who_may_wait_take_fewer_connections_than_there_are() -> None:
    """By the settings, and by the bound that the limit of open files leaves."""
    for bound in (256, 512):
        waiting = ServeSettings().waiting_bound(bound)
        assert waiting > 0
        assert sum(ServeSettings().places.values()) + 5 * waiting < bound
    assert ServeSettings().waiting_bound(512) == ServeSettings().waiting_requests_max


def test_a_process_that_may_open_too_few_files_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests at work would take every connection; with enough files it is as set."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, 300))
    with pytest.raises(HubError) as refused:
        connections_bound(ServeSettings())
    assert (refused.value.code, "ulimit -n 318" in refused.value.fix) == ("HUB-CONF-001", True)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (512, 512))
    assert connections_bound(ServeSettings()) == 256
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    assert connections_bound(ServeSettings()) == 512


def test_a_caller_who_has_just_sent_is_not_the_one_that_goes() -> None:
    """The kept connection of an officer's program, silent between two acts, was closed under its next request."""
    pairs = [socket.socketpair() for _ in range(4)]
    connections: set[Any] = set()
    made: list[Any] = []
    for age, (ours, _) in enumerate(pairs):
        one: Any = BoundedProtocol.__new__(BoundedProtocol)
        one.connections, one.silent_since = connections, float(age)
        one.transport = SimpleNamespace(is_closing=lambda: False, get_extra_info=lambda _, ours=ours: ours)
        made.append(one)
    connections.update(made)
    newest = made[-1]
    assert newest._longest_silent() is made[0]
    pairs[0][1].sendall(WITHDRAW)
    assert newest._longest_silent() is made[1]
    pairs[1][1].close()  # it has gone, and has said so
    assert newest._longest_silent() is made[1]
    pairs[2][1].sendall(READ)
    pairs[1][0].close()
    assert newest._longest_silent() is made[1]
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
