"""The ledger over the API: acts that change what counts."""

import msgspec
from fastapi import APIRouter, Depends, Response

from hub.api.bodies import Body, answer, decode, require_known_query
from hub.api.house import House
from hub.ledger.chain import ChainId


class ResumeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A held chain, and where its topic belonged to no dataset: the one that it belonged to."""

    chain: str
    dataset: str | None = None


class LossRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The loss to accept, by the name that it was shown under; none to be shown it."""

    loss: str | None = None


class AnewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The dataset that a source publishes anew."""

    dataset: str


class OutcomeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What became of an act."""

    outcome: str


def ledger_router(house: House) -> APIRouter:
    """Return the routes over ``house``."""
    router = APIRouter(prefix="/v1", tags=["ledger"], dependencies=[Depends(require_known_query)])
    hub = house.hub

    @router.post("/ledger/resume")
    def resume_chain(body: Body) -> Response:
        """Read a held chain of usage again from where it was held: JSON `{"chain": …}`, an act."""
        sent = decode(body, ResumeRequest)
        house.control.desk.require_open()
        return answer(hub.resume_chain(ChainId.parse(sent.chain), dataset=sent.dataset))

    @router.post("/ledger/accept-loss")
    def accept_loss(body: Body, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
        """Go on without a part of hub.usage that is lost for good: JSON `{"loss": …}`, an act; a dry run shows it and needs no name."""
        sent = decode(body, LossRequest)
        house.control.desk.require_open()
        return answer(hub.accept_loss(sent.loss, dry_run=dry_run))

    @router.post("/connectors/{connector}/anew")
    def intend_anew(connector: str, body: Body) -> Response:
        """Record that a source is about to publish everything again: JSON `{"dataset": …}`; answers with the act's id."""
        sent = decode(body, AnewRequest)
        return answer({"act": house.control.outside.intend_anew(connector, dataset=sent.dataset, actor=hub.officer)})

    @router.post("/connectors/{connector}/anew/{act_id}")
    def settle_anew(connector: str, act_id: str, body: Body) -> Response:
        """Record what became of it: JSON `{"outcome": "done"}` or `failed`."""
        house.control.outside.settle_anew(connector, act_id, outcome=decode(body, OutcomeRequest).outcome)
        return answer({"act": act_id})

    return router
