"""Whoever carries an act out is known, and is known no longer once it has ended: repair passes over what is under way."""

from typing import Any

from hub.agreements.desk import Desk
from hub.store.acts import Act, Actor

OFFICER = Actor(person_id="wang-lei", org_id="vehicle-registry")


class EndsWhenSeen(set[str]):
    """Ids under way, of which each ends right after somebody has seen that it is there."""

    def __contains__(self, found: object) -> bool:
        """Look, and then let it end."""
        there = super().__contains__(found)
        self.discard(str(found))
        return there


def desk() -> Desk:
    """Give a desk that nothing asks for its database."""
    nothing: Any = None
    built = Desk(engine=nothing, scope="330100")
    built.open()
    return built


def test_a_claim_is_given_to_one_and_ends_with_it() -> None:
    """The second one is told no, and takes nothing away from the first."""
    one = desk()
    with one.claimed("a") as mine, one.claimed("a") as other:
        assert (mine, other, one.in_flight) == (True, False, {"a"})
    with one.acting(Act(verb="v", object_type="t", object_id="i"), actor=OFFICER) as opened:
        with one.claimed(opened.correlation_id) as other:
            assert not other
        assert one.in_flight == {opened.correlation_id}
    assert one.in_flight == set()


def test_a_claim_that_was_refused_leaves_nothing_behind_where_the_act_ends_just_then() -> None:
    """Else the act would be under way for ever, and no repair would finish it before the next start."""
    one = desk()
    one.in_flight = EndsWhenSeen({"a"})
    with one.claimed("a") as mine:
        assert not mine
    assert len(one.in_flight) == 0
