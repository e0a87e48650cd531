"""Connections to serve: what a caller that sends nothing, or half of something, may cost.

A connection is *silent* while it waits for its caller: for a head (also between two requests), for the rest of a body, or for
somebody to take the answer. uvicorn bounds one of these, the time between two requests; here the others have a bound as well,
counted from the first moment on, so that a byte now and then buys nothing. Where there are more connections than serve may have, the
one that has been silent longest is closed for the new one, unless bytes of its caller wait to be read: a crowd of them keeps nobody
out. A whole request is never silent; of those, ``admission`` lets fewer wait than there are connections, so that the new one is never
the only one that can be closed.

uvicorn offers no such bound, so its protocol class is extended; ``tests/contract/test_uvicorn_protocol.py`` holds what is used.
"""

import asyncio
import heapq
import resource
import select
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hub.model.errors import HubError
from hub.observe import metrics
from hub.settings import CONNECTIONS_KEPT, ServeSettings

BACKLOG: Final = 128
"""Connections that asyncio accepts in one go, before any of them can be refused."""
DESCRIPTORS_KEPT: Final = 256
"""For the store, Kafka, files, and one go of accepting."""
LOOKED_AT: Final = 32
"""Of the connections that have been silent longest, so many are asked whether their caller has just sent something."""
LINGER_S: Final = 1.0
"""How long a connection that was closed may take for what was written to it."""


def raise_descriptors() -> int:
    """Raise this process's limit of open files to the most that it may have, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_bound(settings: ServeSettings) -> int:
    """Return how many connections serve may have: as set, fewer where this process may not open so many files.

    HUB-CONF-001 where so few are left that requests at work could keep an officer out.
    """
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return settings.connections_max
    found = min(settings.connections_max, descriptors - DESCRIPTORS_KEPT)
    if settings.waiting_bound(found) < 0:
        least = DESCRIPTORS_KEPT + sum(settings.places.values()) + CONNECTIONS_KEPT
        raise HubError("HUB-CONF-001", f"this process may open {descriptors} files only", f"raise the limit, `ulimit -n {least}` at least")
    return found


def bounded_protocol(settings: ServeSettings) -> type[H11Protocol]:
    """Return the protocol class for uvicorn with the bounds of ``settings``."""
    return cast("type[H11Protocol]", type("Bounded", (BoundedProtocol,), {"settings": settings, "most": connections_bound(settings)}))


class BoundedProtocol(H11Protocol):
    """One connection, closed when its caller takes too long, or when a newer one needs its place."""

    settings: ServeSettings
    most: int

    silent_since: float | None = None
    """Since when it waits for its caller, by the loop's clock; None: it does not."""
    _patience: asyncio.TimerHandle | None = None
    _waits_for: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection; the one that has been silent longest goes where there are too many."""
        super().connection_made(transport)
        self._look()
        if len(self.connections) > self.most:
            metrics.HTTP_CONNECTIONS_CLOSED.labels(reason="crowded").inc()
            self._longest_silent().end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._wait_for(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the caller sent."""
        if self._waits_for == "next":
            self._wait_for("head")
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request, for at most the time that uvicorn gives it."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Wait for the caller to read."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """Go on: the caller reads."""
        super().resume_writing()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Close, also where an answer was never read."""
        super().timeout_keep_alive_handler()
        self._end_soon()

    def end(self) -> None:
        """Close, whoever waits for what."""
        self._wait_for(None)
        self.transport.close()
        self._end_soon()

    def _look(self) -> None:
        """Set the clock by what the connection waits for now; None: for us."""
        if self.flow.write_paused:
            waits_for: str | None = "reading"
        elif self.conn.their_state is h11.SEND_BODY:
            waits_for = "body"
        elif self.conn.their_state is h11.IDLE:
            waits_for = "head" if self._waits_for == "head" or self.cycle is None or self.conn.trailing_data[0] else "next"
        else:
            waits_for = None
        self._wait_for(waits_for)

    def _wait_for(self, what: str | None) -> None:
        if what == self._waits_for:
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._waits_for = what
        self.silent_since = None if what is None else self.loop.time()
        bounds = {"head": self.settings.head_timeout_s, "body": self.settings.body_timeout_s, "reading": self.settings.answer_timeout_s}
        if what in bounds:
            self._patience = self.loop.call_later(bounds[what], self._out_of_patience)

    def _out_of_patience(self) -> None:
        metrics.HTTP_CONNECTIONS_CLOSED.labels(reason="silent").inc()
        self.end()

    def _longest_silent(self) -> "BoundedProtocol":
        """Return the connection that has been silent longest; this one where every other is being served."""
        others = [cast("BoundedProtocol", other) for other in self.connections if other is not self]
        silent = [other for other in others if other.silent_since is not None and not other.transport.is_closing()]
        longest = min(silent, key=_since, default=self)
        if not longest.has_sent():
            return longest
        return next((other for other in heapq.nsmallest(LOOKED_AT, silent, key=_since) if not other.has_sent()), longest)

    def has_sent(self) -> bool:
        """Tell whether bytes wait to be read: then this process is behind, not the caller, who would be cut off in its request."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return False
        look = select.poll()
        look.register(sock.fileno(), select.POLLIN | select.POLLRDHUP)
        told = look.poll(0)
        return bool(told) and told[0][1] == select.POLLIN

    def _end_soon(self) -> None:
        """Drop what nobody takes: a closed connection would else stay until its last byte was read."""
        transport: Any = self.transport
        self.loop.call_later(LINGER_S, transport.abort)


def _since(connection: BoundedProtocol) -> float:
    return cast("float", connection.silent_since)
