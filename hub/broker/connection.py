"""Connections that copy no record: answers arrive in buffers of their own, requests leave as the buffers that they are made of.

aiokafka reads through a stream, which copies every byte twice before a chunk can be cut from it, and joins a request before it
is written, which copies it up to three times. Here the socket fills one buffer per answer, of which the records are views, and a
request's buffers go to the transport in one call (uvloop writes them by ``writev``; TLS takes them one after the other). What
aiokafka does well it keeps on doing: it connects, negotiates, authenticates, and tells a lost connection to everyone who waits
for an answer on it.

A request of ours (``Request``) has its version fixed and knows its answer's type, which has ``read(memoryview)``; any other
request passes as aiokafka would send it. Private API under exact pins: see ``tests/contract``.
"""

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason

from hub.broker.compact import after_tags, request_header
from hub.broker.protocol import Data, Request

SMALL_FRAME_BYTES: Final = 64 * 1024
"""Answers up to this size share one buffer and are copied out of it; a larger one gets a buffer of its own."""
FRAME_BYTES_MAX: Final = 128 * 1024 * 1024
"""A broker that announces more is not believed: the connection is closed."""
FAREWELL_S: Final = 0.1
_SIZE: Final = struct.Struct(">i")


class Client(AIOKafkaClient):
    """aiokafka's client over connections that copy no record. The class may be given to a client that aiokafka has made."""

    allocate: Callable[[int], Any] = bytearray
    """Makes the buffer of a large answer: writable memory of exactly that size."""

    async def send(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Return the answer of a node; KafkaError where there is none. ``group`` names one of several connections to it."""
        if not isinstance(request, Request):
            return await super().send(node_id, request, group=group)
        connection = self._conns.get((node_id, group))
        if connection is None or type(connection) is not Connection or not connection.connected():
            connection = await self._get_conn(node_id, group=group)
        if connection is None:
            raise kafka_errors.NodeNotReadyError(node_id)
        await connection.writable()
        return await connection.ask(request)

    async def close(self) -> None:
        """Close every connection, and let those end that aiokafka does not wait for: under TLS a farewell takes a moment."""
        await super().close()
        if self._ssl_context is not None:
            await asyncio.sleep(FAREWELL_S)

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        connection = await super()._get_conn(node_id, group=group, no_hint=no_hint)
        if type(connection) is AIOKafkaConnection:  # just made: nobody has been given it, and nothing is asked on it
            connection.__class__ = Connection
            connection.take_over(self.allocate, timeout_s=self._request_timeout_ms / 1000)
        return connection


class Connection(AIOKafkaConnection):
    """A connection that aiokafka has opened, read by ``Frames`` from then on.

    What is written is bounded by the transport's high-water mark: who finds it crowded waits, and is let go at the latest when the
    oldest answer is overdue.
    """

    def take_over(self, allocate: Callable[[int], Any], *, timeout_s: float) -> None:
        """Read no more through aiokafka's stream, and close where an answer takes longer than ``timeout_s``."""
        self._timeout_s = timeout_s
        self._asked_at: deque[float] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._read_task.cancel()
        self._writer.transport.set_protocol(Frames(self, self._protocol, allocate))

    def ask(self, request: Request) -> asyncio.Future[Any]:
        """Send a request and return its answer to come; KafkaConnectionError where the connection is gone already."""
        correlation_id = self._next_correlation_id()
        head = request_header(
            api_key=request.API_KEY, api_version=request.API_VERSION, correlation_id=correlation_id, client_id=self._client_id
        )
        parts = request.parts()
        size = len(head) + sum(map(len, parts))
        try:
            if self._writer is None or self._writer.transport.is_closing():
                raise ConnectionResetError
            self._writer.transport.writelines([_SIZE.pack(size) + head, *parts])
        except (OSError, RuntimeError) as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise kafka_errors.KafkaConnectionError(f"the connection to {self._host}:{self._port} is broken") from error
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._requests.append((correlation_id, request, answer))
        self._asked_at.append(self._loop.time())
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        return answer

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        """Close, and watch over nothing any more."""
        self._asked_at.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        return super().close(reason=reason, exc=exc)

    def _look(self) -> None:
        """Close where the oldest answer is overdue: none that comes late may be taken for the next one's.

        One timer serves all requests of a connection: a lane asks three times a step.
        """
        self._watch = None
        if not self._asked_at:
            return
        left = self._asked_at[0] + self._timeout_s - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
            return
        for _, _, answer in self._requests:
            if not answer.done():
                answer.set_exception(kafka_errors.RequestTimedOutError())
        transport = self._writer.transport
        self.close(reason=CloseReason.CONNECTION_TIMEOUT)
        transport.abort()  # what is not written yet never will be: whoever waits to write must hear of it

    async def writable(self) -> None:
        """Return once the transport takes more: what is on its way already is bounded by its high-water mark."""
        if self._protocol._paused:  # noqa: SLF001 - asyncio's own flag: awaiting ``drain`` for nothing costs as much as sending
            try:
                await self._writer.drain()
            except OSError as error:
                raise kafka_errors.KafkaConnectionError(f"the connection to {self._host}:{self._port} is broken") from error

    def take(self, frame: Data) -> None:
        """Give an answer to who waits for it; whatever is wrong with it closes the connection."""
        try:
            correlation_id, request, waiting = self._requests[0]
            answered = _SIZE.unpack_from(frame)[0]
            if answered != correlation_id:
                raise kafka_errors.CorrelationIdError(f"asked {correlation_id}, answered {answered}")
            if not isinstance(request, Request):
                self._handle_frame(bytes(frame))
                return
            self._asked_at.popleft()
            if not waiting.done():
                view = memoryview(frame)
                waiting.set_result(request.RESPONSE_TYPE.read(view[after_tags(view, _SIZE.size) :]))
        except Exception as error:  # noqa: BLE001 - an answer that cannot be read leaves nothing in step behind it
            self.close(reason=CloseReason.OUT_OF_SYNC, exc=error)
            return
        self._last_action = time.monotonic()
        self._requests.popleft()


class Frames(asyncio.BufferedProtocol):
    """Cuts what arrives into frames: small ones out of one buffer, a large one straight into its own."""

    def __init__(self, connection: Connection, stream: Any, allocate: Callable[[int], Any]) -> None:
        """``stream`` is aiokafka's protocol, which keeps on watching over writing and closing."""
        self._connection = connection
        self._stream = stream
        self._allocate = allocate
        self._small = memoryview(bytearray(SMALL_FRAME_BYTES))
        self._filled = 0
        self._large: Any = None
        self._missing: memoryview | None = None
        """What is not there yet of the large frame."""

    def get_buffer(self, _hint: int) -> memoryview:
        """Return where the next bytes go."""
        return self._small[self._filled :] if self._missing is None else self._missing

    def buffer_updated(self, count: int) -> None:
        """Take note of bytes that have come."""
        if self._missing is None:
            self._filled += count
            self._cut()
        elif count < len(self._missing):
            self._missing = self._missing[count:]
        else:
            frame, self._large, self._missing = self._large, None, None
            self._connection.take(frame)

    def _cut(self) -> None:
        """Take whole frames out of the small buffer; begin a large one, or move a piece to the front."""
        small, at, end = self._small, 0, self._filled
        while end - at >= _SIZE.size:
            size = _SIZE.unpack_from(small, at)[0]
            begin = at + _SIZE.size
            if begin + size <= end and size >= 0:
                at = begin + size
                self._connection.take(bytes(small[begin:at]))
                continue
            if size > SMALL_FRAME_BYTES - _SIZE.size or size < 0:
                self._begin_large(size, small[begin:end])
                return
            break
        if at:
            small[: end - at] = small[at:end]
            self._filled = end - at

    def _begin_large(self, size: int, there: memoryview) -> None:
        self._filled = 0
        if not 0 <= size <= FRAME_BYTES_MAX:
            self._connection.close(reason=CloseReason.OUT_OF_SYNC)
            return
        self._large = self._allocate(size)
        whole = memoryview(self._large)
        whole[: len(there)] = there
        self._missing = whole[len(there) :]

    def eof_received(self) -> bool:
        """Close: a broker that closes its side answers no more."""
        self._connection.close(reason=CloseReason.CONNECTION_BROKEN)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell aiokafka's protocol, then everyone who waits for an answer."""
        self._stream.connection_lost(error)
        self._connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)

    def pause_writing(self) -> None:
        """Let writers wait."""
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._stream.resume_writing()
