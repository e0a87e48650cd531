"""How commands reach ``cityhub serve``: every write goes over HTTP to the one process that may write."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hub.model.errors import CODES, HubError, Problem

if TYPE_CHECKING:
    from hub.settings import Settings

_DOWN_FIX: Final = "start it: `cityhub up`, or `cityhub serve`"


class ServeClient:
    """Calls the API of one serve."""

    def __init__(self, settings: "Settings", *, timeout_s: float | None = None) -> None:
        """Call ``settings.serve_url``; ``timeout_s`` for what takes longer than the settings allow for a request."""
        self._url = settings.serve_url
        self._timeout_s = timeout_s or settings.serve.request_timeout_s

    def post(self, *path: str, body: Mapping[str, Any] | None = None, dry_run: bool = False) -> Any:
        """POST to a path given by its parts and return the JSON answered; refusals come back as the HubError they were."""
        return self._call("POST", path, body, {"dry_run": "true"} if dry_run else {})

    def get(self, *path: str) -> Any:
        """GET a path and return the JSON answered."""
        return self._call("GET", path, None, {})

    def _call(self, method: str, path: tuple[str, ...], body: Mapping[str, Any] | None, params: Mapping[str, str]) -> Any:
        import httpx  # noqa: PLC0415 - 0.1 s that commands which only read SQL need not pay

        url = "/".join([self._url, *(quote(part, safe="") for part in path)])
        try:
            response = httpx.request(method, url, json=body, params=params, timeout=self._timeout_s, trust_env=False)
        except httpx.TransportError as error:
            cause = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "does not answer"
            raise HubError("HUB-SERVE-001", f"`{self._url}` {cause}", _DOWN_FIX) from error
        try:
            answered = response.json()
        except ValueError as error:
            raise HubError("HUB-SERVE-001", f"`{self._url}` answered {response.status_code}, not as a hub does", _DOWN_FIX) from error
        if response.is_success:
            return answered
        raise refusal_of(answered if isinstance(answered, dict) else {}, status=response.status_code)


def refusal_of(answered: Mapping[str, Any], *, status: int) -> HubError:
    """Return the refusal that serve wrote as problem+json, or in Confluent's form."""
    code = str(answered.get("code", ""))
    if code in CODES:
        rows = answered.get("problems")
        problems = tuple(
            Problem(**{key: str(row.get(key, "")) for key in ("where", "field", "message", "fix")})
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        )
        return HubError(code, str(answered.get("detail", "")), str(answered.get("fix", "")), problems=problems)
    code, _, message = str(answered.get("message", "")).partition(" ")
    if code in CODES:
        return HubError(code, message, "")
    return HubError("HUB-SERVE-001", f"serve answered {status}", "look at serve's log")


def read_text(file: Path, *, code: str) -> str:
    """Return a file of the user's; ``code`` with the reason when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise HubError(code, f"`{file}` cannot be read ({type(error).__name__})", "look at the path") from error
    except UnicodeDecodeError as error:
        raise HubError(code, f"`{file}` is not UTF-8", "save it as UTF-8") from error
