"""Lanes over the API: where each stands, and the way on for one that stopped."""

import msgspec
from fastapi import APIRouter, Depends, Response

from hub.api.bodies import Body, answer, decode, require_known_query
from hub.api.house import House
from hub.model.names import TopicPartition


class AdoptRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Where a lane shall go on."""

    at: int


def lanes_router(house: House) -> APIRouter:
    """Return the routes over ``house``."""
    router = APIRouter(prefix="/v1/lanes", tags=["exchange"], dependencies=[Depends(require_known_query)])
    hub = house.hub

    @router.get("")
    def lanes() -> Response:
        """Tell where each lane stands, and why one would stop."""
        return answer(hub.lanes())

    @router.post("/{lane}/adopt")
    def adopt_lane(lane: str, body: Body, dry_run: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
        """Let a stopped lane go on at an offset: JSON `{"at": …}`."""
        house.control.desk.require_open()
        return answer(hub.adopt(TopicPartition.parse(lane), at=decode(body, AdoptRequest).at, dry_run=dry_run)._asdict())

    return router
