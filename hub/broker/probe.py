"""Whether a broker is ready, by one Metadata request over a plain socket: cheap enough to ask every few milliseconds.

Ready means that it lists itself (in KRaft: it is registered and no longer fenced) and that every partition has a leader, so
that the first client after a ``kill -9`` meets no error. Layout: Metadata version 1 of Apache Kafka's protocol.
"""

import socket
import struct
from typing import Final

_METADATA: Final = 3
_VERSION: Final = 1
_ALL_TOPICS: Final = -1
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


def is_ready(host: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Tell whether the broker at ``host`` and ``port`` is ready; False also where nothing sensible answers in time."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(_request())
            size = int.from_bytes(_receive(connection, 4), "big")
            if size > _ANSWER_BYTES_MAX:
                return False
            return _all_led(_Reader(_receive(connection, size)))
    except (OSError, EOFError, struct.error):
        return False


def _request() -> bytes:
    client = b"cityhub-probe"
    body = struct.pack(">hhih", _METADATA, _VERSION, 0, len(client)) + client + struct.pack(">i", _ALL_TOPICS)
    return struct.pack(">i", len(body)) + body


def _receive(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = connection.recv(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _all_led(answer: "_Reader") -> bool:
    answer.take("i")
    brokers = answer.take("i")
    for _ in range(brokers):
        answer.take("i")
        answer.skip_text()
        answer.take("i")
        answer.skip_text()
    answer.take("i")
    led = brokers > 0
    for _ in range(answer.take("i")):
        answer.take("h")
        answer.skip_text()
        answer.take("b")
        for _ in range(answer.take("i")):
            answer.take("h")
            answer.take("i")
            led &= answer.take("i") >= 0
            answer.skip_ints()
            answer.skip_ints()
    return led


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, kind: str) -> int:
        (value,) = struct.unpack_from(f">{kind}", self._data, self._at)
        self._at += struct.calcsize(kind)
        return int(value)

    def skip_text(self) -> None:
        size = self.take("h")
        self._at += max(0, size)

    def skip_ints(self) -> None:
        count = self.take("i")
        self._at += 4 * max(0, count)
