"""The schema registry's endpoints, as Confluent's clients speak them, at the root of the server.

Supported: registering, looking up, listing, fetching by id, compatibility, configuration for reading. Only subjects of datasets
in the catalogue take new schemas: ``<prefix>dept.<org>.<dataset>-value``. Their compatibility is FULL_TRANSITIVE and cannot be
lowered; that of shares is NONE, since a new version of an agreement may grant anything else. An id is answered once hub.plan carries
it (``hub.catalogue.told``). The schemas of the hub's own records are found by their ids, too.
What a client asks for beyond that is refused by name (``registry_requests``).
"""

import json
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from hub.api.bodies import Body, answer
from hub.api.house import House
from hub.api.problems import REGISTRY_JSON, confluent_error
from hub.api.registry_requests import asked_schema, page_of, require_obeyed
from hub.catalogue.compatibility import LEVEL, NO_LEVEL
from hub.catalogue.gate import check_schema
from hub.catalogue.registry import Registered, require_compatible
from hub.model.errors import HubError
from hub.model.framing import HUB_SCHEMA_IDS_FROM
from hub.model.written import identifier
from hub.store.engine import reading

_HUB_RECORDS: Final = ("plan-entry", "usage-step", "quarantined")
_NO_SUBJECT: Final = (404, 40401, "subject not found")
_NO_VERSION: Final = (404, 40402, "version not found")
_NO_SCHEMA: Final = (404, 40403, "schema not found")
_BAD_VERSION: Final = (422, 42202, "the version is neither a positive number nor `latest`")
_ANY_CONTEXT: Final = ":*:"
"""How clients say "whatever context" before a prefix; there is one context here."""
VERSION_MAX: Final = 2**31 - 1


def registry_router(house: House) -> APIRouter:
    """Return the routes over ``house``."""
    router = APIRouter(tags=["schema registry"], dependencies=[Depends(require_obeyed)])
    _reading(router, house)
    _writing(router, house)
    _by_id(router, house)
    _configuration(router, house)
    return router


def _reading(router: APIRouter, house: House) -> None:
    hub = house.hub

    @router.get("/")
    def root() -> Response:
        """Answer an empty object, as clients expect of a live registry."""
        return _json({})

    @router.get("/subjects")
    def subjects(request: Request) -> Response:
        """List the subjects, those with `subjectPrefix` where it is asked for."""
        prefix = request.query_params.get("subjectPrefix", "").removeprefix(_ANY_CONTEXT)
        with reading(hub.engine) as connection:
            found = [subject for subject in hub.registry.subjects(connection) if subject.startswith(prefix)]
        return _json(page_of(request, found))

    @router.get("/subjects/{subject}/versions")
    def versions(request: Request, subject: str) -> Response:
        """List the version numbers of a subject."""
        found = _versions(house, subject)
        return _json([version.version for version in page_of(request, found)]) if found else confluent_error(*_NO_SUBJECT)

    @router.get("/subjects/{subject}/versions/{version}")
    def version(subject: str, version: str) -> Response:
        """Return one version, by number or as `latest`."""
        found = _version(house, subject, version)
        return _json(_wire(found)) if isinstance(found, Registered) else found

    @router.get("/subjects/{subject}/versions/{version}/schema")
    def version_schema(subject: str, version: str) -> Response:
        """Return the bare schema of one version."""
        found = _version(house, subject, version)
        return Response(found.schema, media_type=REGISTRY_JSON) if isinstance(found, Registered) else found


def _writing(router: APIRouter, house: House) -> None:
    hub = house.hub

    @router.post("/subjects/{subject}/versions")
    def register(subject: str, body: Body) -> Response:
        """Register a schema; its id is answered once every worker can learn of it."""
        schema = asked_schema(body)
        known = _known(house, subject, schema)
        if known is not None:
            return _json({"id": known.schema_id})
        found = house.control.schemas.register(subject=subject, schema=schema, actor=hub.officer)
        return _json({"id": found.schema_id})

    @router.post("/subjects/{subject}")
    def lookup(subject: str, body: Body) -> Response:
        """Return the version of a subject that is the schema sent."""
        schema = asked_schema(body)
        found = _known(house, subject, schema)
        if found is not None:
            return _json(_wire(found))
        check_schema(schema, where=identifier(subject))
        known = bool(_versions(house, subject))
        return confluent_error(*(_NO_SCHEMA if known else _NO_SUBJECT))

    @router.post("/compatibility/subjects/{subject}/versions/{version}")
    def compatible(subject: str, version: str, body: Body) -> Response:
        """Tell whether a schema could be registered; always against every version, whichever is named."""
        schema = asked_schema(body)
        found = _version(house, subject, version)
        if not isinstance(found, Registered):
            return found
        with reading(hub.engine) as connection:
            earlier = hub.registry.versions(connection, subject)
        check_schema(schema, where=identifier(subject), earlier=[version.schema for version in earlier])
        if level_of(house, subject) != LEVEL:
            return _json({"is_compatible": True})
        try:
            require_compatible(schema, subject=subject, earlier=earlier)
        except HubError as error:
            return _json({"is_compatible": False, "messages": [problem.message for problem in error.problems]})
        return _json({"is_compatible": True})


def _by_id(router: APIRouter, house: House) -> None:
    @router.get("/schemas/types")
    def types() -> Response:
        """List the types of schemas."""
        return _json(["AVRO"])

    @router.get("/schemas/ids/{schema_id}")
    def by_id(schema_id: int) -> Response:
        """Return the schema of an id."""
        text = _text(house, schema_id)
        return _json({"schema": text}) if text is not None else confluent_error(*_NO_SCHEMA)

    @router.get("/schemas/ids/{schema_id}/schema")
    def schema_by_id(schema_id: int) -> Response:
        """Return the bare schema of an id."""
        text = _text(house, schema_id)
        return Response(text, media_type=REGISTRY_JSON) if text is not None else confluent_error(*_NO_SCHEMA)

    @router.get("/schemas/ids/{schema_id}/versions")
    def uses(request: Request, schema_id: int) -> Response:
        """List the subjects and versions that an id stands under."""
        found = _uses(house, schema_id)
        return (
            _json([{"subject": use.subject, "version": use.version} for use in page_of(request, found)])
            if found
            else confluent_error(*_NO_SCHEMA)
        )

    @router.get("/schemas/ids/{schema_id}/subjects")
    def subjects_of(request: Request, schema_id: int) -> Response:
        """List the subjects that an id stands under."""
        found = _uses(house, schema_id)
        return _json(page_of(request, sorted({use.subject for use in found}))) if found else confluent_error(*_NO_SCHEMA)


def _configuration(router: APIRouter, house: House) -> None:
    @router.get("/config")
    def config() -> Response:
        """Return the compatibility level of the subjects that take schemas."""
        return _json({"compatibilityLevel": LEVEL})

    @router.get("/config/{subject}")
    def subject_config(subject: str) -> Response:
        """Return the compatibility level of a subject."""
        known = bool(_versions(house, subject))
        return _json({"compatibilityLevel": level_of(house, subject)}) if known else confluent_error(*_NO_SUBJECT)

    @router.get("/mode")
    def mode() -> Response:
        """Return the mode of every subject."""
        return _json({"mode": "READWRITE"})


def level_of(house: House, subject: str) -> str:
    """Return the compatibility that is held for a subject: the versions of a share follow from its agreement's, whatever it grants."""
    return LEVEL if house.hub.names.dataset_of_subject(subject) is not None else NO_LEVEL


def _json(value: Any) -> Response:
    return answer(value, media_type=REGISTRY_JSON)


def _wire(found: Registered) -> dict[str, Any]:
    return {"subject": found.subject, "version": found.version, "id": found.schema_id, "schema": found.schema}


def _versions(house: House, subject: str) -> tuple[Registered, ...]:
    with reading(house.hub.engine) as connection:
        return house.hub.told.versions(connection, subject)


def _version(house: House, subject: str, version: str) -> Registered | Response:
    found = _versions(house, subject)
    if version in {"latest", "-1"}:
        return found[-1] if found else confluent_error(*_NO_SUBJECT)
    if not version.isascii() or not version.isdigit() or len(version) > len(str(VERSION_MAX)) or not 1 <= int(version) <= VERSION_MAX:
        return confluent_error(*_BAD_VERSION)
    if not found:
        return confluent_error(*_NO_SUBJECT)
    return next((row for row in found if row.version == int(version)), None) or confluent_error(*_NO_VERSION)


def _known(house: House, subject: str, schema: str) -> Registered | None:
    """Return the version that a schema already is, once it may be shown: producers ask so, also of a serve that stands by."""
    with reading(house.hub.engine) as connection:
        return house.hub.told.find(connection, subject=subject, schema=schema)


def _text(house: House, schema_id: int) -> str | None:
    if schema_id >= HUB_SCHEMA_IDS_FROM:
        return _hub_schemas().get(schema_id)
    with reading(house.hub.engine) as connection:
        return house.hub.told.text(connection, schema_id)


def _uses(house: House, schema_id: int) -> tuple[Registered, ...]:
    with reading(house.hub.engine) as connection:
        return house.hub.told.uses(connection, schema_id)


def _hub_schemas() -> dict[int, str]:
    texts = [files("avro_schemas").joinpath(f"hub/{record}/v1.avsc").read_text(encoding="utf-8") for record in _HUB_RECORDS]
    return {int(json.loads(text)["cityhub.schema_id"]): text for text in texts}
