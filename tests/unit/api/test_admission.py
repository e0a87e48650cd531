"""Whose places a request takes: a withdrawal waits for nobody who reads, checks or registers."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from hub.api.admission import Admission, kind_of
from hub.settings import ServeSettings


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/agreements/parking/suspend", "withdrawal"),
        ("POST", "/v1/agreements/parking/end", "withdrawal"),
        ("POST", "/v1/agreements/parking/sign", "act"),
        ("POST", "/v1/agreements", "act"),
        ("POST", "/subjects/s/versions", "act"),
        ("POST", "/subjects/s", "check"),
        ("POST", "/compatibility/subjects/s/versions/latest", "check"),
        ("GET", "/v1/agreements/suspend", "read"),
        ("GET", "/readyz", "health"),
    ],
)
def test_each_kind_of_request_has_places_of_its_own(method: str, path: str, kind: str) -> None:
    """Registrations under thousands of agreements take all places of acts, and a right must be withdrawn beside them."""
    assert kind_of(method, path) == kind


def test_a_request_whose_caller_has_gone_takes_no_place() -> None:
    """Hundreds of half bodies that are closed at the same moment would keep an officer's act out."""
    asked: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        asked.append(scope["path"])

    async def scenario(*messages: Message) -> None:
        left = list(messages)

        async def receive() -> Message:
            return left.pop(0)

        async def send(_message: Message) -> None:
            pytest.fail("nobody is there to be answered")

        scope = {"type": "http", "method": "POST", "path": "/v1/agreements"}
        await Admission(app, settings=ServeSettings(), connections=512)(scope, receive, send)

    half = {"type": "http.request", "body": b"{", "more_body": True}
    asyncio.run(scenario(half, {"type": "http.disconnect"}))
    assert asked == []
    asyncio.run(scenario(half, {"type": "http.request", "body": b"}", "more_body": False}))
    assert asked == ["/v1/agreements"]
