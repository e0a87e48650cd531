"""Loads on serve beside which `make revocation` suspends: `pressure.py KIND URL …`, until SIGTERM; the last line says what was done.

* ``readers URL``: fifty clients that list agreements, lanes, subjects and schemas, each every half second;
* ``compatibility URL SUBJECT``: four clients that ask, one question behind the other, whether a schema of 450 fields would fit;
* ``silent HOST PORT``: a thousand connections that say nothing, half a head or half a body, opened again when they are closed;
* ``registration URL SUBJECT``: one client that registers a new version of a schema as soon as the one before is answered.
"""

import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import httpx

READERS: Final = 50
READ_EVERY_S: Final = 0.5
ASKERS: Final = 4
CONNECTIONS: Final = 1_000
FIELDS: Final = 450
VERSIONS: Final = 25
ANSWERED_WITHIN_S: Final = 60.0
READ: Final = ("/v1/agreements", "/v1/agreements/watched", "/v1/lanes", "/subjects", "/v1/datasets")
SILENCES: Final = (
    b"",
    b"GET /v1/agreements HTTP/1.1\r\nHost: ",
    b"POST /v1/agreements HTTP/1.1\r\nHost: {host}\r\nContent-Length: 900\r\n\r\n{",
)

counts: Counter[str] = Counter()
over = threading.Event()


def wide_schema(name: str, *, version: int, fields: int = FIELDS) -> str:
    """Return a schema of so many fields; each version has one more, with a default, so that all are compatible."""
    rows: list[dict[str, Any]] = [{"name": f"field_{number}", "type": "string", "grade": "L1"} for number in range(fields)]
    rows += [{"name": f"later_{number}", "type": ["null", "string"], "default": None, "grade": "L1"} for number in range(version)]
    return json.dumps({"type": "record", "name": name, "namespace": "pressure", "fields": rows})


def readers(url: str) -> None:
    """Poll as people's screens and other programs do."""
    _together(READERS, lambda number: _poll(url, number))


def compatibility(url: str, subject: str) -> None:
    """Ask for the costliest check there is."""
    question = {"schema": wide_schema("Wide", version=VERSIONS + 1)}

    def ask(_number: int) -> None:
        with httpx.Client(base_url=url, timeout=ANSWERED_WITHIN_S, trust_env=False) as client:
            while not over.is_set():
                _count(lambda: client.post(f"/compatibility/subjects/{subject}/versions/latest", json=question))

    _together(ASKERS, ask)


def registration(url: str, subject: str) -> None:
    """Register one version after the other."""
    with httpx.Client(base_url=url, timeout=ANSWERED_WITHIN_S, trust_env=False) as client:
        version = len(client.get(f"/subjects/{subject}/versions").json())
        while not over.is_set():
            schema = wide_schema("Plain", version=version, fields=4)
            if _count(lambda schema=schema: client.post(f"/subjects/{subject}/versions", json={"schema": schema})):
                version += 1


def silent(host: str, port: str) -> None:
    """Hold connections open without ever finishing a request."""
    held: list[socket.socket] = []
    while not over.is_set():
        held = [one for one in held if not _is_closed(one)]
        while len(held) < CONNECTIONS and not over.is_set():
            try:
                one = socket.create_connection((host, int(port)), timeout=2)
                one.sendall(SILENCES[len(held) % len(SILENCES)].replace(b"{host}", f"{host}:{port}".encode()))
            except OSError:
                counts["refused"] += 1
                time.sleep(0.05)
                break
            counts["opened"] += 1
            held.append(one)
        over.wait(0.2)
    for one in held:
        one.close()


def _poll(url: str, number: int) -> None:
    with httpx.Client(base_url=url, timeout=ANSWERED_WITHIN_S, trust_env=False) as client:
        turn = number
        while not over.wait(READ_EVERY_S):
            path = READ[turn % len(READ)]
            _count(lambda path=path: client.get(path))
            turn += 1


def _count(ask: Callable[[], httpx.Response]) -> bool:
    """Ask, and count how it was answered."""
    try:
        answer = ask()
    except httpx.TransportError as error:
        counts[type(error).__name__] += 1
        over.wait(0.1)
        return False
    counts[str(answer.status_code)] += 1
    if answer.status_code in {429, 503}:
        over.wait(float(answer.headers.get("Retry-After", "1")))
    return answer.is_success


def _is_closed(one: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        one.setblocking(False)
        try:
            return one.recv(4096) == b""
        except ConnectionError:
            return True
    return False


def _together(many: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(many)]
    for thread in threads:
        thread.start()
    over.wait()
    for thread in threads:
        thread.join(timeout=5)


def main() -> None:
    """Press until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    kind, *words = sys.argv[1:]
    {"readers": readers, "compatibility": compatibility, "silent": silent, "registration": registration}[kind](*words)
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
