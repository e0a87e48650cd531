"""The schema registry over HTTP, as any client of that ecosystem would ask it."""

from typing import Any, Final
from urllib.parse import quote

import httpx

from connectors.kit.contract import WriterSchema
from hub.model.errors import CODES, HubError
from hub.model.source_schema import read_schema

TIMEOUT_S: Final = 30.0
_NOT_FOUND: Final = 404


class Registry:
    """Schemas of one dataset's subject. A context manager."""

    def __init__(self, url: str, *, subject: str, timeout_s: float = TIMEOUT_S) -> None:
        """Connect to nothing yet."""
        self._url = url
        self._subject = subject
        self._client = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)

    def latest(self) -> WriterSchema:
        """Return the newest schema of the subject."""
        found = self._get(f"/subjects/{quote(self._subject, safe='')}/versions/latest", missing=f"subject `{self._subject}` has no schema")
        return WriterSchema(int(found["id"]), read_schema(found["schema"]))

    def by_id(self, schema_id: int) -> WriterSchema:
        """Return a schema by its id."""
        return WriterSchema(
            schema_id, read_schema(self._get(f"/schemas/ids/{schema_id}", missing=f"schema {schema_id} is not known")["schema"])
        )

    def subjects(self) -> list[str]:
        """Return every subject of the registry."""
        found = self._asked("/subjects", missing="the registry lists no subjects")
        return [subject for subject in found if isinstance(subject, str)] if isinstance(found, list) else []

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _get(self, path: str, *, missing: str) -> dict[str, Any]:
        found = self._asked(path, missing=missing)
        if not isinstance(found, dict) or "schema" not in found:
            raise self._down()
        return found

    def _down(self) -> HubError:
        return HubError("HUB-SERVE-001", f"the registry at `{self._url}` does not answer", "start it: `cityhub up`, or `cityhub serve`")

    def _asked(self, path: str, *, missing: str) -> Any:
        try:
            answer = self._client.get(path)
            if answer.status_code == _NOT_FOUND:
                raise HubError("HUB-SCHEMA-003", missing, "put it into the catalogue first: `cityhub dataset apply FILE`")
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError):
            raise self._down() from None


def post(url: str, path: str, body: dict[str, str]) -> dict[str, Any]:
    """Ask serve for an act; its refusals come back with their codes, HUB-SERVE-001 where it does not answer."""
    fix = "start it: `cityhub up`, or `cityhub serve`; an act is recorded there before it takes effect"
    try:
        answer = httpx.post(f"{url}{path}", json=body, timeout=TIMEOUT_S, trust_env=False)
        found = answer.json()
    except (httpx.HTTPError, ValueError):
        raise HubError("HUB-SERVE-001", f"`{url}` does not answer", fix) from None
    if isinstance(found, dict) and answer.is_success:
        return found
    code = str(found.get("code", "")) if isinstance(found, dict) else ""
    if code in CODES:
        raise HubError(code, str(found.get("detail", "")), str(found.get("fix", "")))
    raise HubError("HUB-SERVE-001", f"serve answered {answer.status_code}", fix)
