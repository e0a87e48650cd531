"""Theory of operation: the life of an agreement.

``apply`` stores terms as a draft. ``sign`` makes them active and publishes them to hub.plan. ``suspend`` narrows a right to
nothing and ``resume`` gives it back; while suspended, records count ``denied``. ``end`` is final: the agreement leaves the plan.
Outside its term and over quota are conditions of a record, not states of an agreement. Later issues add requests, approvals
and probation as rows of this table.
"""

from enum import StrEnum
from typing import Final

from hub.model.errors import HubError


class State(StrEnum):
    """Where an agreement stands."""

    DRAFT = "draft"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"


class Act(StrEnum):
    """What an officer does to an agreement."""

    APPLY = "apply"
    SIGN = "sign"
    SUSPEND = "suspend"
    RESUME = "resume"
    END = "end"


TRANSITIONS: Final[dict[tuple[State, Act], State]] = {
    (State.DRAFT, Act.APPLY): State.DRAFT,
    (State.DRAFT, Act.SIGN): State.ACTIVE,
    (State.DRAFT, Act.END): State.ENDED,
    (State.ACTIVE, Act.SUSPEND): State.SUSPENDED,
    (State.ACTIVE, Act.END): State.ENDED,
    (State.SUSPENDED, Act.RESUME): State.ACTIVE,
    (State.SUSPENDED, Act.END): State.ENDED,
}
NARROWING: Final = frozenset({Act.SUSPEND, Act.END})
"""Acts that take a right away: they fence every lane of the dataset before they answer."""


def next_state(state: State, act: Act, *, agreement_id: str) -> State:
    """Return the state after ``act``; HUB-AGREE-004 names the acts that are allowed instead."""
    found = TRANSITIONS.get((state, act))
    if found is None:
        allowed = ", ".join(f"`{other}`" for (at, other) in TRANSITIONS if at is state) or "none: an ended agreement stays ended"
        raise HubError(
            "HUB-AGREE-004",
            f"agreement `{agreement_id}` is {state}: `{act}` is not allowed",
            f"allowed now: {allowed}",
        )
    return found
