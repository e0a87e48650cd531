"""Connections that copy no record: whatever pieces the bytes come in, answers are whole, in order, and given to who asked.

The broker here is a server of a few lines on a real socket, under asyncio's loop and under uvloop's.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Self

import pytest
import uvloop
from aiokafka.cluster import BrokerMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError

from hub.broker.connection import FRAME_BYTES_MAX, SMALL_FRAME_BYTES, Client, Connection
from hub.broker.protocol import Data, Request

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
SIZES = [0, 1, 100, SMALL_FRAME_BYTES - 20, SMALL_FRAME_BYTES, SMALL_FRAME_BYTES + 1, 1_000_000]
VERSIONS_ANSWER = struct.pack(">hi", 0, 0)


class Echo:
    """An answer that keeps its body, and whether it is a view of memory that ``allocate`` made."""

    def __init__(self, frame: memoryview) -> None:
        """Keep the view."""
        self.view = frame

    @classmethod
    def read(cls, frame: memoryview) -> Self:
        """Read nothing: an empty body is as good as any."""
        return cls(frame)


class Ask(Request):
    """A request of some buffers."""

    API_KEY = 999
    API_VERSION = 1
    RESPONSE_TYPE = Echo

    def __init__(self, *parts: Data) -> None:
        """Keep the buffers."""
        self._parts = parts

    def parts(self) -> list[Data]:
        """Return them."""
        return list(self._parts)


class Broker:
    """Answers each request by ``answer``, which is given its body; the first one of a connection asks for versions."""

    def __init__(self, answer: Callable[[bytes], Sequence[bytes] | None]) -> None:
        """Give the pieces that the frame (without its size) is sent in; None closes the connection."""
        self._answer = answer
        self.bodies: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = await reader.readexactly(size)
                key, _, correlation, name = struct.unpack_from(">hhih", frame)
                if key != Ask.API_KEY:
                    await self._send(writer, [struct.pack(">i", correlation) + VERSIONS_ANSWER])
                    continue
                body = frame[10 + name + 1 :]
                self.bodies.append(body)
                pieces = self._answer(body)
                if pieces is None:
                    break
                await self._send(writer, [struct.pack(">i", correlation) + b"\0", *pieces])
        writer.close()

    async def _send(self, writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
        writer.write(struct.pack(">i", sum(map(len, pieces))))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _client(broker: Broker, *, timeout_ms: int = 5_000) -> AsyncIterator[Client]:
    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Client(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=timeout_ms)
    client.cluster._brokers = {7: BrokerMetadata(7, "127.0.0.1", port, None)}
    try:
        yield client
    finally:
        await client.close()
        server.close()


def _run(loop: Callable[[], Any], work: Awaitable[Any]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work)  # type: ignore[arg-type]


@pytest.mark.parametrize("loop", LOOPS)
def test_answers_of_every_size_arrive_whole_and_in_order(loop: Callable[[], Any]) -> None:
    """Around the size of the shared buffer, several at once, each with bytes of its own."""

    async def ask() -> None:
        async with _client(Broker(lambda body: [body[at : at + 300_000] for at in range(0, len(body), 300_000)] or [b""])) as client:
            bodies = [bytes([number]) * size for number, size in enumerate(SIZES * 2)]
            found = await asyncio.gather(*(client.send(7, Ask(body)) for body in bodies))
            assert [bytes(answer.view) for answer in found] == bodies
            assert type(client._conns[7, 0]) is Connection

    _run(loop, ask())


@pytest.mark.parametrize("loop", LOOPS)
def test_frames_that_come_byte_by_byte_are_put_together(loop: Callable[[], Any]) -> None:
    """A socket may cut anywhere, also inside the four bytes of a size."""

    async def ask() -> None:
        async with _client(Broker(lambda body: [body[at : at + 1] for at in range(len(body))])) as client:
            answer = await client.send(7, Ask(b"0123456789" * 20))
            assert bytes(answer.view) == b"0123456789" * 20

    _run(loop, ask())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_large_answer_is_a_view_of_the_memory_that_was_made_for_it(loop: Callable[[], Any]) -> None:
    """Not one byte of a record is copied on the way to a chunk, and the memory is exactly as large as the frame."""
    made: list[bytearray] = []

    def allocate(size: int) -> bytearray:
        made.append(bytearray(size))
        return made[-1]

    async def ask() -> None:
        async with _client(Broker(lambda body: [body])) as client:
            client.allocate = allocate
            answer = await client.send(7, Ask(b"x" * 500_000))
            assert answer.view.obj is made[0]
            assert [len(one) for one in made] == [500_000 + 5]

    _run(loop, ask())


@pytest.mark.parametrize("loop", LOOPS)
def test_the_buffers_of_a_request_arrive_joined(loop: Callable[[], Any]) -> None:
    """Whatever kinds they are, also when there is more than a socket takes at once."""
    broker = Broker(lambda _: [b"ok"])
    parts: list[Data] = [b"head", bytearray(b"b" * 3_000_000), memoryview(b"c" * 2_000_000), b"tail"]

    async def ask() -> None:
        async with _client(broker) as client:
            await asyncio.gather(*(client.send(7, Ask(*parts)) for _ in range(4)))

    _run(loop, ask())
    assert broker.bodies == [b"".join(parts)] * 4


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_that_breaks_tells_everyone_who_waits_and_the_next_one_works(loop: Callable[[], Any]) -> None:
    """Half of an answer is no answer; nothing hangs."""
    answers: list[Sequence[bytes] | None] = [[b"one"], None, [b"three"]]
    broker = Broker(lambda _: answers.pop(0))

    async def ask() -> None:
        async with _client(broker) as client:
            assert bytes((await client.send(7, Ask(b"1"))).view) == b"one"
            broken = await asyncio.gather(client.send(7, Ask(b"2")), client.send(7, Ask(b"lost")), return_exceptions=True)
            assert [type(error) for error in broken] == [KafkaConnectionError, KafkaConnectionError]
            assert bytes((await client.send(7, Ask(b"3"))).view) == b"three"

    _run(loop, ask())


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_does_not_come_in_time_closes_the_connection(loop: Callable[[], Any]) -> None:
    """A late answer must not be taken for that of the next request."""

    async def ask() -> None:
        async with _client(Broker(lambda _: [b"x"]), timeout_ms=200) as client:
            await client.send(7, Ask(b""))
            connection = client._conns[7, 0]
            connection._writer.transport.pause_reading()
            with pytest.raises(RequestTimedOutError):
                await client.send(7, Ask(b""))
            assert not connection.connected()
            assert bytes((await client.send(7, Ask(b""))).view) == b"x"

    _run(loop, ask())


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_waits_to_write_to_a_broker_that_reads_nothing_hears_of_it_in_time(loop: Callable[[], Any]) -> None:
    """Also one that has sent nothing yet: a lane must find out that it has to go elsewhere."""

    class Deaf(Broker):
        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            correlation = struct.unpack_from(">hhi", await reader.readexactly(size))[2]
            await self._send(writer, [struct.pack(">i", correlation) + VERSIONS_ANSWER])
            await over.wait()
            writer.close()

    over = asyncio.Event()

    async def ask() -> None:
        async with _client(Deaf(lambda _: None), timeout_ms=300) as client:
            first = asyncio.create_task(client.send(7, Ask(bytes(50_000_000))))
            while not client._conns or not next(iter(client._conns.values()))._protocol._paused:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(client.send(7, Ask(b"small")))
            async with asyncio.timeout(5):
                found = await asyncio.gather(first, waiting, return_exceptions=True)
            assert [type(error) for error in found] == [RequestTimedOutError, KafkaConnectionError]
            over.set()
            await asyncio.sleep(0.1)

    _run(loop, ask())


@pytest.mark.parametrize("size", [-1, FRAME_BYTES_MAX + 1])
def test_a_frame_of_an_impossible_size_closes_the_connection(size: int) -> None:
    """No answer may swell the process."""

    async def ask() -> None:
        async with _client(Broker(lambda _: [b""])) as client:
            connection = await client._get_conn(7)
            protocol = connection._writer.transport.get_protocol()
            protocol.get_buffer(-1)[:4] = struct.pack(">i", size)
            protocol.buffer_updated(4)
            assert not connection.connected()

    asyncio.run(ask())


def test_requests_of_aiokafkas_own_pass_as_before() -> None:
    """Metadata, groups and coordinators are aiokafka's affair, on the same connection."""

    async def ask() -> None:
        async with _client(Broker(lambda _: [b""])) as client:
            connection = await client._get_conn(7)
            assert isinstance(connection, AIOKafkaConnection)
            await connection._do_version_lookup()
            assert connection._versions == {}

    asyncio.run(ask())


def test_requests_beyond_the_high_water_mark_wait_for_the_transport() -> None:
    """A broker that does not read must not make the worker hold gigabytes in a transport."""

    async def ask() -> None:
        async with _client(Broker(lambda _: [b""])) as client:
            connection = await client._get_conn(7)
            connection._protocol.pause_writing()
            waiting = asyncio.create_task(client.send(7, Ask(b"x")))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert not connection._requests
            connection._protocol.resume_writing()
            await asyncio.wait_for(waiting, 5)

    asyncio.run(ask())
