"""Building the web application: routes, refusals, health, metrics and a page that lists the API without the internet."""

import html
import time
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import __version__
from hub.api.acts import acts_router
from hub.api.admission import Admission
from hub.api.connections import connections_bound
from hub.api.doorway import Doorway, own_hosts
from hub.api.house import House
from hub.api.lanes import lanes_router
from hub.api.ledger import ledger_router
from hub.api.problems import install
from hub.api.registry import registry_router
from hub.api.v1 import v1_router
from hub.observe import metrics
from hub.observe.health import render_checks, run_checks

OTHER_ROUTE: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are counted by their name; any other word is ``other``."""


def build_app(house: House) -> FastAPI:
    """Return the application over ``house``."""
    app = FastAPI(title="cityhub", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    install(app)
    serve = house.hub.settings.serve
    app.add_middleware(Admission, settings=serve, connections=connections_bound(serve))
    app.add_middleware(Doorway, hosts=own_hosts(serve.host, house.port))
    app.add_middleware(Counted)

    @app.get("/livez", include_in_schema=False)
    def live() -> Response:
        """Answer that the process answers."""
        return PlainTextResponse("live\n")

    @app.get("/readyz", include_in_schema=False)
    def ready(request: Request) -> Response:
        """Tell whether this process may write, and with ``?verbose`` what every check says."""
        found = run_checks(house.checks)
        text = render_checks(found, verbose="verbose" in request.query_params)
        return PlainTextResponse(text, status_code=503 if any(found.values()) else 200)

    @app.get("/metrics", include_in_schema=False)
    def exposition() -> Response:
        """Return the metrics of this process."""
        body, media_type = metrics.exposition("serve")
        return Response(body, media_type=media_type)

    @app.get("/v1/docs", include_in_schema=False)
    def docs() -> Response:
        """List every path; nothing is loaded from elsewhere."""
        return HTMLResponse(_page(app.openapi()))

    app.include_router(v1_router(house))
    app.include_router(lanes_router(house))
    app.include_router(acts_router(house))
    app.include_router(ledger_router(house))
    app.include_router(registry_router(house))
    return app


class Counted:
    """Counts and times requests by their route's template, never by the path that was sent."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass every request on to ``app``."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", OTHER_ROUTE)
            method = scope["method"] if scope["method"] in METHODS else OTHER_ROUTE
            metrics.HTTP_REQUESTS.labels(method=method, route=route, status=f"{status // 100}xx").inc()
            metrics.HTTP_REQUEST_SECONDS.labels(route=route).observe(time.perf_counter() - started)


_HEAD: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>cityhub API</title>
<style>body{font:16px sans-serif;margin:2em;max-width:70em}td{padding:.3em 1em;vertical-align:top}</style>
<h1>cityhub API</h1><p>Writes take <code>?dry_run=true</code>. Refusals under /v1 are problem+json, elsewhere Confluent's form.
For programs: <a href="/v1/openapi.json">openapi.json</a>.</p>"""


def _page(openapi: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td><td>{html.escape(found.get('description', ''))}</td></tr>"
        for path, methods in openapi["paths"].items()
        for method, found in methods.items()
    ]
    return f"{_HEAD}<table>{''.join(rows)}</table></html>"
