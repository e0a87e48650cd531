"""The hub's own API: datasets and agreements. Writes take ``?dry_run=true``; refusals are problem+json with the hub's codes."""

from typing import Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from hub.agreements.agreement_acts import AgreementChange
from hub.agreements.withdrawals import agreement_views
from hub.api.bodies import Body, answer, decode, require_known_query
from hub.api.house import House
from hub.catalogue.datasets import dataset_view
from hub.model.errors import HubError
from hub.model.lifecycle import Act
from hub.store.engine import reading

FILE_NAME_CHARACTERS_MAX: Final = 200
_STEPS: Final = (Act.SIGN, Act.SUSPEND, Act.RESUME, Act.END)


class FileRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A file sent with its name, so that faults are reported on its lines; a dataset entry may bring its schema."""

    text: str
    file: str = "request"
    schema: str | None = None


class SchemaRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A schema for the records of a dataset."""

    dataset: str
    schema: str


def v1_router(house: House) -> APIRouter:
    """Return the routes over ``house``."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(require_known_query)])
    hub = house.hub

    @router.post("/datasets", tags=["datasets"])
    def apply_dataset(request: Request, body: Body, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
        """Store a dataset entry: YAML as the body, or JSON `{"text": …, "file": …, "schema": …}`."""
        sent = _file(request, body)
        return answer(house.control.datasets.apply(sent.text, file=sent.file, schema=sent.schema, actor=hub.officer, dry_run=dry_run))

    @router.post("/datasets/{org}/{slug}/publish", tags=["datasets"])
    def publish_dataset(org: str, slug: str, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - same
        """Open a dataset for records."""
        return answer(house.control.datasets.publish(f"{org}/{slug}", actor=hub.officer, dry_run=dry_run))

    @router.get("/datasets", tags=["datasets"])
    def datasets() -> Response:
        """List the catalogue."""
        with reading(hub.engine) as connection:
            return answer([dataset_view(row) for row in hub.catalogue.all(connection)])

    @router.get("/datasets/{org}/{slug}", tags=["datasets"])
    def dataset(org: str, slug: str) -> Response:
        """Return one entry of the catalogue."""
        with reading(hub.engine) as connection:
            return answer(dataset_view(hub.catalogue.require(connection, f"{org}/{slug}")))

    @router.post("/schemas", tags=["schemas"])
    def register_schema(body: Body, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - same
        """Register a schema as the next version of a dataset's records: JSON `{"dataset": …, "schema": …}`."""
        sent = decode(body, SchemaRequest)
        subject = hub.names.dept_subject(sent.dataset)
        return answer(house.control.schemas.register(subject=subject, schema=sent.schema, actor=hub.officer, dry_run=dry_run))

    @router.post("/agreements", tags=["agreements"])
    def apply_agreement(request: Request, body: Body, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - same
        """Store an agreement as a draft: YAML as the body, or JSON `{"text": …, "file": …}`."""
        sent = _file(request, body)
        return answer(house.control.agreements.apply(sent.text, file=sent.file, actor=hub.officer, dry_run=dry_run))

    @router.post("/agreements/{agreement_id}/{step}", tags=["agreements"])
    def move_agreement(agreement_id: str, step: str, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - same
        """Sign, suspend, resume or end an agreement; suspend and end answer per partition where the right ended."""
        return answer(_moved(house, agreement_id, step, dry_run=dry_run))

    @router.get("/agreements", tags=["agreements"])
    def agreements() -> Response:
        """List every version of every agreement, each with where its right ended last."""
        with reading(hub.engine) as connection:
            return answer(agreement_views(connection, hub.shelf.all(connection), scope=hub.names.scope))

    @router.get("/agreements/{agreement_id}", tags=["agreements"])
    def agreement(agreement_id: str) -> Response:
        """Return every version of one agreement, with where its rights ended."""
        with reading(hub.engine) as connection:
            rows = hub.shelf.require(connection, agreement_id)
            return answer(agreement_views(connection, rows, scope=hub.names.scope, agreement_id=agreement_id))

    return router


def _moved(house: House, agreement_id: str, step: str, *, dry_run: bool) -> AgreementChange:
    acts = house.control.agreements
    moves = {Act.SIGN: acts.sign, Act.SUSPEND: acts.suspend, Act.RESUME: acts.resume, Act.END: acts.end}
    if step not in _STEPS:
        raise HubError("HUB-API-002", "there is no such act", f"acts on an agreement: {', '.join(_STEPS)}")
    return moves[Act(step)](agreement_id, actor=house.hub.officer, dry_run=dry_run)


def _file(request: Request, body: bytes) -> FileRequest:
    """Read a file sent whole, or as JSON with its name."""
    if "json" in request.headers.get("content-type", ""):
        sent = decode(body, FileRequest)
    else:
        try:
            sent = FileRequest(body.decode("utf-8"))
        except UnicodeDecodeError:
            raise HubError("HUB-API-001", "the file is not UTF-8", "save it as UTF-8") from None
    name = "".join(letter for letter in sent.file if letter.isprintable())[-FILE_NAME_CHARACTERS_MAX:]
    return FileRequest(sent.text, name or "request", sent.schema)
