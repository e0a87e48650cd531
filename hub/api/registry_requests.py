"""What clients of the registry may ask: members of bodies and parameters of queries that are obeyed, or refused by name.

Confluent's registry knows more than this one does. What is passed over in silence is believed to be done: a client that sends
rules would go on without them. So a request that asks for something else than what happens is refused, and one that spells out
what happens anyway (``deleted=false``, ``"metadata": null``) passes. Names are told only where they are words of that API.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request

from hub.api.bodies import decode
from hub.model.errors import HubError

T = TypeVar("T")
_COUNT: Final = re.compile(r"-?[0-9]{1,9}\Z")
_OTHER_MEMBERS: Final = ("id", "version", "guid", "metadata", "ruleSet", "schemaTagsToAdd", "schemaTagsToRemove", "propagateSchemaTags")
_ASKS_NOTHING: Final = (b"null", b"[]", b"{}", b"false", b'""')


class SchemaRequest(msgspec.Struct, rename={"schema_type": "schemaType"}):
    """What clients send: the schema as text. Other types than Avro and references to other schemas are refused."""

    schema: str
    schema_type: str | None = None
    references: list[Any] | None = None


def asked_schema(body: bytes) -> str:
    """Return the schema of a body; HUB-API-001, HUB-SCHEMA-001 and -002 refuse by name what else it asks for."""
    sent = decode(body, SchemaRequest)
    for name, value in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items():
        if name in SchemaRequest.__struct_encode_fields__ or bytes(value) in _ASKS_NOTHING or (name, bytes(value)) == ("version", b"-1"):
            continue
        told = f"`{name}`, which" if name in _OTHER_MEMBERS else "a member that"
        fix = f"leave it out; the members known here: {', '.join(SchemaRequest.__struct_encode_fields__)}"
        raise HubError("HUB-API-001", f"the body holds {told} this registry does not act on", fix)
    if sent.schema_type not in {None, "AVRO"}:
        raise HubError("HUB-SCHEMA-001", "`schemaType` is not `AVRO`", "records of datasets are Avro")
    if sent.references:
        raise HubError("HUB-SCHEMA-002", "`references` name other schemas", "send the schema whole, without references")
    return sent.schema


def require_obeyed(request: Request) -> None:
    """Refuse, by name, a parameter of the query that this registry would not act on: HUB-API-001."""
    known = _PARAMETERS.get((request.method, request.scope["route"].path), {})
    for name, value in request.query_params.multi_items():
        fits = known.get(name)
        if fits is not None and fits(value):
            continue
        told = f"`{name}`" if name in _WORDS else "a parameter"
        what = "with a value that this registry does not act on" if fits is not None else "which this registry does not act on here"
        fix = f"obeyed here: {', '.join(sorted(known))}" if known else "leave it out: no parameter is known here"
        raise HubError("HUB-API-001", f"the query asks for {told}, {what}", fix)


def page_of(request: Request, listed: Sequence[T]) -> Sequence[T]:
    """Return the part of a list that ``offset`` and ``limit`` of the query ask for; a negative limit is none."""
    offset = max(int(request.query_params.get("offset", "0")), 0)
    limit = int(request.query_params.get("limit", "-1"))
    return listed[offset:] if limit < 0 else listed[offset : offset + limit]


def _either(value: str) -> bool:
    return value.lower() in {"true", "false"}


def _no(value: str) -> bool:
    return value.lower() == "false"


def _nothing(value: str) -> bool:
    return value == ""


def _anything(_value: str) -> bool:
    return True


def _count(value: str) -> bool:
    return _COUNT.match(value) is not None


Fits = Callable[[str], bool]
_PAGE: Final[Mapping[str, Fits]] = {"offset": _count, "limit": _count}
_DELETED: Final[Mapping[str, Fits]] = {"deleted": _either, "deleted_only": _no, "deletedOnly": _no}
"""Nothing is ever deleted here, so that all there is is what is not deleted."""
_FORMAT: Final[Mapping[str, Fits]] = {"format": _nothing, "reference_format": _nothing}
_ID: Final[Mapping[str, Fits]] = {"subject": _anything}
"""A hint in which context an id is looked for; there is one context here."""
_PARAMETERS: Final[Mapping[tuple[str, str], Mapping[str, Fits]]] = {
    ("GET", "/subjects"): {**_PAGE, **_DELETED, "subjectPrefix": _anything},
    ("GET", "/subjects/{subject}/versions"): {**_PAGE, **_DELETED},
    ("GET", "/subjects/{subject}/versions/{version}"): {**_DELETED, **_FORMAT},
    ("GET", "/subjects/{subject}/versions/{version}/schema"): {**_DELETED, **_FORMAT},
    ("POST", "/subjects/{subject}/versions"): {"normalize": _either, **_FORMAT},
    ("POST", "/subjects/{subject}"): {"normalize": _either, **_DELETED, **_FORMAT},
    ("POST", "/compatibility/subjects/{subject}/versions/{version}"): {"normalize": _either, "verbose": _either},
    ("GET", "/schemas/ids/{schema_id}"): {**_ID, **_FORMAT, "fetchMaxId": _no},
    ("GET", "/schemas/ids/{schema_id}/schema"): {**_ID, **_FORMAT},
    ("GET", "/schemas/ids/{schema_id}/versions"): {**_ID, **_PAGE, **_DELETED},
    ("GET", "/schemas/ids/{schema_id}/subjects"): {**_ID, **_PAGE, **_DELETED},
    ("GET", "/config"): {"defaultToGlobal": _either},
    ("GET", "/config/{subject}"): {"defaultToGlobal": _either},
    ("GET", "/mode"): {"defaultToGlobal": _either},
}
"""By route, what may be asked. A schema is known under any spelling, with and without ``normalize``."""
_WORDS: Final = frozenset(
    {name for known in _PARAMETERS.values() for name in known}
    | {"force", "permanent", "latestOnly", "findTags", "key", "value", "lookupDeletedSchema", "aliases", "ruleType", "resourceType"}
)
"""Words of that API: any other name may be a value that was typed in the wrong place, and is not repeated."""
