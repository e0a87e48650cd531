"""How many requests are worked on at the same time: officers' acts and health have places of their own.

A request is read whole before it asks for a place, so that a slow caller holds none. Where all places of its kind are taken it waits
with a bounded number of others, and one more is refused with HUB-SERVE-004: readers who poll, or heavy checks of schemas, cannot
keep a withdrawal out. All who may wait take fewer connections than there are, since a whole request is never closed for a new one.
"""

import asyncio
from collections import deque
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.bodies import BODY_BYTES_MAX
from hub.api.problems import refusal
from hub.model.errors import HubError
from hub.observe import metrics
from hub.settings import ServeSettings

HEALTH: Final = ("/livez", "/readyz", "/metrics")


class Places:
    """Places for one kind of request, and those who wait for one."""

    def __init__(self, kind: str, *, most: int, waiting_max: int) -> None:
        """Have ``most`` free places."""
        self.kind = kind
        self._free = asyncio.Semaphore(most)
        self._waiting = 0
        self._waiting_max = waiting_max

    async def take(self) -> bool:
        """Wait for a place; False where too many wait already."""
        if self._free.locked() and self._waiting >= self._waiting_max:
            return False
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        return True

    def give_back(self) -> None:
        """Leave the place to the next."""
        self._free.release()


class Admission:
    """Lets so many requests of each kind in as there are places."""

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, connections: int) -> None:
        """Pass on to ``app``; as many may wait as leave some of ``connections`` to whoever comes next."""
        self.app = app
        waiting_max = settings.waiting_bound(connections)
        self._places = {kind: Places(kind, most=most, waiting_max=waiting_max) for kind, most in settings.places.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, once there is a place for it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        messages = await _read_whole(receive)
        if messages[-1]["type"] == "http.disconnect":
            return  # a caller who is gone asks for nothing: hundreds that are closed at once would fill the places of an officer
        places = self._places[kind_of(scope["method"], scope["path"])]
        if not await places.take():
            metrics.HTTP_REQUESTS_REFUSED.labels(kind=places.kind).inc()
            error = HubError("HUB-SERVE-004", "too many requests of this kind wait already", "ask again in some seconds, and less often")
            await refusal(Request(scope), error)(scope, receive, send)
            return
        try:
            await self.app(scope, _replay(messages, receive), send)
        finally:
            places.give_back()


def kind_of(method: str, path: str) -> str:
    """Return whose places a request takes; what only looks is ``read``, checks of schemas that change nothing are ``check``.

    A withdrawal has places of its own: a registration under thousands of agreements takes seconds, and several may wait.
    """
    if path in HEALTH:
        return "health"
    if method in {"GET", "HEAD"}:
        return "read"
    parts = path.strip("/").split("/")
    if parts[:2] == ["v1", "agreements"] and parts[3:] in (["suspend"], ["end"]):
        return "withdrawal"
    return "check" if parts[0] == "compatibility" or (parts[0] == "subjects" and parts[-1] != "versions") else "act"


async def _read_whole(receive: Receive) -> deque[Message]:
    """Return the messages of a request up to its end, or to the first byte beyond the bound of a body."""
    messages: deque[Message] = deque()
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False) or size > BODY_BYTES_MAX:
            return messages


def _replay(messages: deque[Message], receive: Receive) -> Receive:
    async def again() -> Message:
        return messages.popleft() if messages else await receive()

    return again
