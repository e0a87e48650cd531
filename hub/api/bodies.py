"""Bodies of requests and answers: bounded, read strictly, written as JSON."""

import inspect
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Depends, Request, Response

from hub.model.errors import HubError, Problem

BODY_BYTES_MAX: Final = 512 * 1024
T = TypeVar("T")


async def read_body(request: Request) -> bytes:
    """Return the body; HUB-API-001 when it is larger than the bound."""
    out = bytearray()
    async for part in request.stream():
        out += part
        if len(out) > BODY_BYTES_MAX:
            raise HubError("HUB-API-001", "request body is too large", f"keep it within {BODY_BYTES_MAX} bytes")
    return bytes(out)


Body = Annotated[bytes, Depends(read_body)]


def require_known_query(request: Request) -> None:
    """Refuse a parameter of the query that a route of the hub's own does not know, such as a misspelt ``dry_run``: HUB-API-001.

    What a route knows are the parameters of its function that have a default. Names that were sent are not repeated.
    """
    declared = inspect.signature(request.scope["route"].endpoint).parameters
    known = sorted(name for name, parameter in declared.items() if parameter.default is not inspect.Parameter.empty)
    if not set(request.query_params) <= set(known):
        fix = f"known here: {', '.join(known)}" if known else "leave the query out: no parameter is known here"
        raise HubError("HUB-API-001", "the query holds a parameter that is not known here", fix)


def decode(body: bytes, kind: type[T]) -> T:
    """Read a JSON body as ``kind``; HUB-API-001 names the place of the fault, never a value."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        place = str(error).rpartition(" - at `")[2].rstrip("`") if isinstance(error, msgspec.ValidationError) else ""
        fix = f"send a JSON object with {', '.join(kind.__struct_encode_fields__)}"  # type: ignore[attr-defined]  # kinds are structs
        raise HubError(
            "HUB-API-001", "request body cannot be read", fix, problems=(Problem("body", place, "is not as expected", fix),)
        ) from None


def answer(value: Any, *, status: int = 200, media_type: str = "application/json") -> Response:
    """Return ``value`` (structs, mappings, sequences) as a JSON response."""
    return Response(msgspec.json.encode(value), status_code=status, media_type=media_type)
