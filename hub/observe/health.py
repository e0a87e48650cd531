"""Health: a small HTTP server in a thread for /livez, /readyz and /metrics, on 127.0.0.1 only.

A check is a name and a function that returns None when all is well, else the reason in a few words. /readyz answers 503 with
the reasons when a check fails; ``/readyz?verbose`` lists every check. Checks run in the server's thread: they look at values
that are already there and never wait.
"""

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from hub.model.errors import HubError
from hub.observe import metrics

HOST: Final = "127.0.0.1"
HTTP_PORT: Final = 80
REQUESTS_MAX: Final = 16
"""Requests answered at the same time; more are turned away."""
REQUEST_TIMEOUT_S: Final = 5.0
_TEXT: Final = "text/plain; charset=utf-8"

Check = Callable[[], str | None]


def run_checks(checks: Mapping[str, Check]) -> dict[str, str | None]:
    """Return the reason of each check, None where all is well. A check that raises has failed: its type is the reason."""
    found: dict[str, str | None] = {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except Exception as error:  # noqa: BLE001 - whatever a check raises, the answer is "not ready"
            found[name] = error.code if isinstance(error, HubError) else f"check raised {type(error).__name__}"
    return found


def render_checks(found: Mapping[str, str | None], *, verbose: bool) -> str:
    """Return the body of /readyz: ``[+]name ok`` and ``[-]name reason`` lines, failed ones only unless ``verbose``."""
    lines = [f"[+]{name} ok" if reason is None else f"[-]{name} {reason}" for name, reason in found.items() if verbose or reason]
    return "\n".join([*lines, "not ready" if any(found.values()) else "ready", ""])


class HealthServer:
    """Serves health and metrics until closed. A context manager; ``port`` 0 takes a free one."""

    def __init__(self, port: int, checks: Mapping[str, Check], *, process: str, live: Check | None = None) -> None:
        """Bind at once: HUB-BROKER-004 when the port is taken. ``live`` decides /livez; None: the thread answering is enough."""
        handler = type("Handler", (_Handler,), {"checks": dict(checks), "process": process, "live": {"live": live} if live else {}})
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            raise HubError(
                "HUB-BROKER-004", f"port {port} of {HOST} cannot be bound", f"stop what listens on {port}, or set another port"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port; idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=REQUEST_TIMEOUT_S)

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(REQUESTS_MAX)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    checks: Mapping[str, Check]
    live: Mapping[str, Check]
    process: str
    timeout = REQUEST_TIMEOUT_S
    server_version = "cityhub"
    sys_version = ""

    def do_GET(self) -> None:
        named = self.headers.get_all("Host")  # None: HTTP/1.0, as balancers probe; no browser leaves its host out
        if not (named is None or named in [[host] for host in self._own_hosts()]) or self.headers.get("Origin") is not None:
            self._answer(HTTPStatus.FORBIDDEN, b"only programs of this machine are answered, by 127.0.0.1 or localhost\n", _TEXT)
            return
        url = urlsplit(self.path)
        verbose = "verbose" in parse_qs(url.query, keep_blank_values=True)
        if url.path == "/livez":
            self._answer_checks(run_checks(self.live), verbose=verbose, good="live")
        elif url.path == "/readyz":
            self._answer_checks(run_checks(self.checks), verbose=verbose)
        elif url.path == "/metrics":
            body, content_type = metrics.exposition(self.process)
            self._answer(HTTPStatus.OK, body, content_type)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"known here: /livez /readyz /metrics\n", _TEXT)

    def _own_hosts(self) -> frozenset[str]:
        """Return what leads here; clients leave the default port out."""
        port = self.connection.getsockname()[1]
        bare = (HOST, "localhost") if port == HTTP_PORT else ()
        return frozenset((*bare, *(f"{name}:{port}" for name in (HOST, "localhost"))))

    def _answer_checks(self, found: Mapping[str, str | None], *, verbose: bool, good: str = "") -> None:
        failed = any(found.values())
        text = render_checks(found, verbose=verbose) if failed or verbose or not good else f"{good}\n"
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK, text.encode(), _TEXT)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
        """Say nothing: a scrape every few seconds is no event."""
