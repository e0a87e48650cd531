"""Refusals on the wire: problem+json (RFC 9457) under /v1, Confluent's error form everywhere else.

Both carry the same codes, causes and fixes as the command line. What was not expected is answered 500 without its text, which
could hold values; its type and frames go to the log.
"""

from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.bodies import answer
from hub.model.errors import HubError
from hub.store.engine import refused_by_store

log = structlog.get_logger()
PROBLEM_JSON: Final = "application/problem+json"
REGISTRY_JSON: Final = "application/vnd.schemaregistry.v1+json"
RETRY_AFTER_S: Final = 1
ERROR_CODES: Final = {
    "HUB-SCHEMA-001": (422, 42201),
    "HUB-SCHEMA-002": (422, 42201),
    "HUB-SCHEMA-003": (404, 40403),
    "HUB-SCHEMA-004": (409, 409),
    "HUB-SCHEMA-005": (422, 42205),
    "HUB-SCHEMA-006": (503, 50003),
    "HUB-BROKER-001": (503, 50003),
    "HUB-BROKER-010": (503, 50003),
    "HUB-API-001": (422, 42201),
    "HUB-API-003": (403, 40301),
    "HUB-SERVE-002": (503, 50003),
    "HUB-SERVE-003": (503, 50003),
    "HUB-SERVE-004": (503, 50003),
    "HUB-STORE-001": (500, 50001),
}
"""Confluent's status and error code by ours; every other code is 50001, their word for trouble behind the registry."""


def install(app: FastAPI) -> None:
    """Answer every refusal of ``app`` in the form of its path."""
    app.add_middleware(Answered)
    app.add_exception_handler(HubError, refusal)  # type: ignore[arg-type]  # Starlette types handlers by Exception
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]  # same
    app.add_exception_handler(RequestValidationError, _unreadable)  # type: ignore[arg-type]  # same
    app.add_exception_handler(SQLAlchemyError, _store)  # type: ignore[arg-type]  # same
    app.add_exception_handler(ClientDisconnect, _gone)  # type: ignore[arg-type]  # same


class Answered:
    """Answers what was not expected, inside the server: beyond it such an answer would cost the caller its connection."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass every request on to ``app``."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await _unexpected(Request(scope), error)(scope, receive, send)


def refusal(request: Request, error: HubError) -> Response:
    """Return a refusal in the form of the request's path."""
    return problem(error) if _is_ours(request) else registry_error(error)


def problem(error: HubError) -> Response:
    """Return a refusal as problem+json."""
    entry = error.entry
    body = {
        "type": f"urn:cityhub:error:{error.code}",
        "code": error.code,
        "title": entry.en,
        "title_zh": entry.zh,
        "status": entry.status,
        "detail": error.message,
        "fix": error.fix,
        "problems": error.problems,
        "exit": int(entry.exit),
    }
    return _when(answer(body, status=entry.status, media_type=PROBLEM_JSON))


def registry_error(error: HubError) -> Response:
    """Return a refusal in Confluent's form."""
    status, code = ERROR_CODES.get(error.code, (500, 50001))
    listed = "".join(f"; {found.field or found.where}: {found.message} ({found.fix})" for found in error.problems[:20])
    fix = f" ({error.fix})" if error.fix and not listed else ""
    return confluent_error(status, code, f"{error.code} {error.message}{fix}{listed}")


def confluent_error(status: int, error_code: int, message: str) -> Response:
    """Return Confluent's error form."""
    return _when(answer({"error_code": error_code, "message": message}, status=status, media_type=REGISTRY_JSON))


def _when(response: Response) -> Response:
    """Say when to ask again, where waiting helps."""
    if response.status_code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _http(request: Request, error: HTTPException) -> Response:
    if not _is_ours(request):
        return confluent_error(error.status_code, error.status_code, f"HTTP {error.status_code} {error.detail}")
    code = "HUB-API-002" if error.status_code in {404, 405} else "HUB-API-001"
    return problem(HubError(code, f"`{request.method}` does not lead anywhere here", "`/v1/docs` lists every path"))


def _unreadable(request: Request, error: RequestValidationError) -> Response:
    """Answer for a path or query that cannot be read, without the value that was sent."""
    places = ", ".join(sorted({str(fault["loc"][-1]) for fault in error.errors()}))
    return refusal(request, HubError("HUB-API-001", f"`{places}` cannot be read", "`/v1/docs` lists every path and its parameters"))


def _store(request: Request, error: SQLAlchemyError) -> Response:
    """Answer that the database refuses, as every command says it."""
    log.error("request_failed", error=type(error).__name__, code="HUB-STORE-001")
    return refusal(request, refused_by_store(error))


def _gone(request: Request, error: ClientDisconnect) -> Response:
    """Answer nobody: the caller went away in the middle of its request."""
    del error
    return refusal(request, HubError("HUB-API-001", "the request ended in the middle", "send it whole"))


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request_failed", route=_route(request), exc_info=error)
    if _is_ours(request):
        body = {
            "type": "about:blank",
            "title": "unexpected failure",
            "status": 500,
            "detail": type(error).__name__,
            "fix": "look at serve's log",
        }
        return answer(body, status=500, media_type=PROBLEM_JSON)
    return confluent_error(500, 50001, f"unexpected {type(error).__name__}")


def _route(request: Request) -> str:
    """Return the template of the path that was asked for: the path itself may hold anything."""
    return str(getattr(request.scope.get("route"), "path", "(no route)"))


def _is_ours(request: Request) -> bool:
    return request.url.path == "/v1" or request.url.path.startswith("/v1/")
