"""Which `Host` leads to serve: programs leave the default port out, and probes of HTTP/1.0 name no host at all."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from hub.api.doorway import Doorway, own_hosts


async def welcome(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def status(port: int, path: str, *hosts: str, host: str = "127.0.0.1") -> int:
    """Return what a request with these `Host` headers is answered."""
    said: list[MutableMapping[str, Any]] = []

    async def send(message: Message) -> None:
        said.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"host", name.encode()) for name in hosts]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers, "server": ("127.0.0.1", port)}
    asyncio.run(Doorway(welcome, hosts=own_hosts(host, port))({**scope, "scheme": "http", "root_path": ""}, receive, send))
    return int(said[0]["status"])


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_the_default_port_may_be_left_out_where_it_is_ours(name: str) -> None:
    """Clients do so at port 80, and only there."""
    assert status(80, "/v1/agreements", name) == status(80, "/v1/agreements", f"{name}:80") == 200
    assert status(18080, "/v1/agreements", f"{name}:18080") == 200
    assert status(18080, "/v1/agreements", name) == 403
    assert status(80, "/v1/agreements", "evil.example") == 403


def test_a_probe_without_a_host_is_answered_on_health_alone() -> None:
    """HAProxy's checks are HTTP/1.0; a browser never leaves its host out."""
    for path in ("/livez", "/readyz", "/metrics"):
        assert status(18080, path) == 200
        assert status(18080, path, "evil.example") == 403
        assert status(18080, path, "127.0.0.1:18080", "evil.example") == 403
    assert status(18080, "/v1/agreements") == 403


def test_an_ipv6_address_stands_in_brackets() -> None:
    """As clients send it."""
    assert status(18080, "/subjects", "[::1]:18080", host="::1") == 200
