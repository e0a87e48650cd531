"""The life of an agreement: every pair of state and act is decided here, so that none is decided by accident."""

import itertools

import pytest

from hub.model.errors import HubError
from hub.model.lifecycle import NARROWING, TRANSITIONS, Act, State, next_state

TABLE = {
    ("draft", "apply"): "draft",
    ("draft", "sign"): "active",
    ("draft", "suspend"): None,
    ("draft", "resume"): None,
    ("draft", "end"): "ended",
    ("active", "apply"): None,
    ("active", "sign"): None,
    ("active", "suspend"): "suspended",
    ("active", "resume"): None,
    ("active", "end"): "ended",
    ("suspended", "apply"): None,
    ("suspended", "sign"): None,
    ("suspended", "suspend"): None,
    ("suspended", "resume"): "active",
    ("suspended", "end"): "ended",
    ("ended", "apply"): None,
    ("ended", "sign"): None,
    ("ended", "suspend"): None,
    ("ended", "resume"): None,
    ("ended", "end"): None,
}


def test_the_table_names_every_pair() -> None:
    """A new state or act must be decided against all others."""
    assert set(TABLE) == {(str(state), str(act)) for state, act in itertools.product(State, Act)}


@pytest.mark.parametrize(("pair", "after"), TABLE.items())
def test_each_pair_leads_where_the_table_says(pair: tuple[str, str], after: str | None) -> None:
    """Allowed acts move, the others are refused."""
    state, act = State(pair[0]), Act(pair[1])
    if after is None:
        with pytest.raises(HubError) as refusal:
            next_state(state, act, agreement_id="parking-vehicles")
        assert refusal.value.code == "HUB-AGREE-004"
        assert refusal.value.fix.startswith("allowed now: ")
    else:
        assert next_state(state, act, agreement_id="parking-vehicles") == after


def test_an_ended_agreement_stays_ended() -> None:
    """Its id is never used again."""
    assert not [pair for pair in TRANSITIONS if pair[0] is State.ENDED]


def test_every_act_that_takes_a_right_away_is_fenced() -> None:
    """What leaves `active`, other than to itself, narrows."""
    narrowing = {act for (state, act), after in TRANSITIONS.items() if state is State.ACTIVE and after is not State.ACTIVE}
    assert narrowing == NARROWING
