"""Who may speak to serve: programs of this machine, and no page of a web site that a browser of this machine shows.

A browser lets any page send requests to 127.0.0.1, simple ones (a POST of ``text/plain``) without asking first, and a name of the
page's own may lead there too (DNS rebinding), so that the page reads the answers. Binding to the loopback interface keeps neither
out. A browser cannot help but say the truth in ``Host``, ``Origin`` and ``Sec-Fetch-Site``; programs send the first alone.
"""

from collections.abc import Collection
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.api.admission import HEALTH
from hub.api.problems import refusal
from hub.model.errors import HubError

HTTP_PORT: Final = 80
OWN_SITES: Final = ("same-origin", "none")
"""``none``: a person typed the address."""


def own_hosts(host: str, port: int) -> frozenset[str]:
    """Return the values of ``Host`` that lead here by a name that no web site can have; clients leave the default port out."""
    names = ("127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host)
    return frozenset(f"{name}:{port}" for name in names) | (frozenset(names) if port == HTTP_PORT else frozenset())


class Doorway:
    """Refuses requests of web pages, before anything reads them."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        """Pass on to ``app`` what was sent to one of ``hosts``."""
        self.app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (cause := self._foreign(Request(scope))) is not None:
            fix = "call 127.0.0.1 or localhost at serve's own port, by a program: web pages of other sites may not"
            await refusal(Request(scope), HubError("HUB-API-003", cause, fix))(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _foreign(self, request: Request) -> str | None:
        """Return why a request is refused; what was sent is not repeated."""
        named = request.headers.getlist("host")
        probe = not named and request.url.path in HEALTH  # HTTP/1.0, as balancers probe: no browser leaves its host out
        if not probe and named not in [[host] for host in self._hosts]:
            return "the request names another host than this one"
        origins = request.headers.getlist("origin")
        if any(origin not in {f"http://{host}" for host in self._hosts} for origin in origins):
            return "the request comes from a page of another origin"
        if any(site not in OWN_SITES for site in request.headers.getlist("sec-fetch-site")):
            return "the request comes from a page of another site"
        return None
