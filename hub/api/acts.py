"""Acts over the API: what was done, by whom, with which outcome."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from hub.api.bodies import answer, require_known_query
from hub.api.house import House
from hub.store.act_views import PAGE_MAX, ActFilter, find_acts, require_act
from hub.store.engine import reading

PAGE_ROWS = 100


def acts_router(house: House) -> APIRouter:
    """Return the routes over ``house``."""
    router = APIRouter(prefix="/v1/acts", tags=["acts"], dependencies=[Depends(require_known_query)])
    hub = house.hub

    @router.get("")
    def acts(
        object: str | None = None,  # noqa: A002 - the name of the query parameter
        act: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        before: int | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_ROWS,
    ) -> Response:
        """List acts, newest first; `next_before` of the answer is `before` of the next page."""
        wanted = ActFilter(object_id=object, act=act, outcome=outcome, since=since, before=before)
        with reading(hub.engine) as connection:
            return answer(find_acts(connection, scope=hub.names.scope, wanted=wanted, limit=limit))

    @router.get("/{act_id}")
    def act(act_id: str) -> Response:
        """Return every row of one act: its intent and its outcome."""
        with reading(hub.engine) as connection:
            return answer(require_act(connection, act_id, scope=hub.names.scope))

    return router
