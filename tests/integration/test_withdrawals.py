"""A withdrawal is shown as one until it is in effect, and where the right ended can be asked for again, whatever became of the call."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hall import AGREEMENT, Hall, hall_settings, until

from hub.agreements.fences import Revocations
from hub.agreements.withdrawals import agreement_views
from hub.broker.embedded import EmbeddedBroker
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.names import Names
from hub.settings import Settings
from hub.store.engine import reading

pytestmark = pytest.mark.broker
ID = "parking-vehicles"
KEY = f"agreement/{ID}"
SECOND = AGREEMENT.replace(f"id: {ID}", f"id: {ID}\nversion: 2")


@pytest.fixture
def settings(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Settings:
    """Give settings of a hub of its own."""
    return hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state")


@pytest.fixture
def hall(settings: Settings) -> Iterator[Hall]:
    """Give a hub with a signed agreement."""
    built = Hall(settings)
    built.open_dataset()
    built.sign()
    yield built
    built.close()


def shown(hall: Hall) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return what is shown of each version: its state, and where its right ended."""
    with reading(hall.hub.engine) as connection:
        rows = hall.hub.shelf.require(connection, ID)
        return [(view["state"], view["withdrawals"]) for view in agreement_views(connection, rows, scope=hall.names.scope, agreement_id=ID)]


def states(hall: Hall) -> list[str]:
    """Return the states that are shown."""
    return [state for state, _ in shown(hall)]


def refuse_appends(hall: Hall, *, limit: str) -> None:
    """Let hub.plan take batches of so many bytes: with 100 it refuses every append."""
    hall.hub.admin.alter_topic_config(hall.names.plan, {"max.message.bytes": limit})


def test_a_withdrawal_that_hub_plan_refuses_is_shown_as_suspending_until_it_is_in_effect(hall: Hall) -> None:
    """SQL knows it, workers do not: what is shown must not say that the right has ended."""
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    refuse_appends(hall, limit="100")
    for _ in range(2):
        with pytest.raises(HubError, match="HUB-BROKER-010"):
            acts.suspend(ID, actor=officer)
        assert shown(hall) == [("suspending", [])]
        assert hall.body(KEY).state is State.ACTIVE
    until(lambda: hall.keeper.trouble is not None)
    refuse_appends(hall, limit="1048588")
    change = acts.suspend(ID, actor=officer)
    assert [found.source_offset for found in change.partitions] == [0, 0]
    assert hall.body(KEY).state is State.SUSPENDED
    ((state, kept),) = shown(hall)
    assert (state, len(kept), kept[0]["plan_offset"]) == ("suspended", 1, change.plan_offset)
    assert [(found["partition"], found["source_offset"]) for found in kept[0]["partitions"]] == [(0, 0), (1, 0)]
    until(lambda: hall.keeper.trouble is None)
    assert [act for act in hall.acts() if act[0] == "suspend.agreement"] == [
        ("suspend.agreement", ID, "intended"),
        ("suspend.agreement", ID, "done"),
    ]


def test_a_withdrawal_asked_for_again_answers_with_the_same_offsets(hall: Hall) -> None:
    """The connection broke while it was answered: nothing is lost, and no second act is made."""
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    first = acts.suspend(ID, actor=officer)
    before = len(hall.log())
    again = acts.suspend(ID, actor=officer)
    assert (again.outcome, again.plan_offset, again.partitions) == ("exists", first.plan_offset, first.partitions)
    assert len(hall.log()) == before
    acts.resume(ID, actor=officer)
    second = acts.suspend(ID, actor=officer)
    assert second.plan_offset == before + 1
    assert acts.suspend(ID, actor=officer).plan_offset == second.plan_offset
    ended = acts.end(ID, actor=officer)
    assert acts.end(ID, actor=officer).partitions == ended.partitions
    ((state, kept),) = shown(hall)
    assert (state, [found["act"] for found in kept]) == ("ended", ["suspend.agreement", "suspend.agreement", "end.agreement"])
    with pytest.raises(HubError, match="HUB-AGREE-004"):
        acts.suspend(ID, actor=officer)


def test_a_call_that_comes_while_the_same_withdrawal_is_under_way_waits_for_it(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answer, with one act and one append; meanwhile it is shown as under way."""
    begun, go_on = threading.Event(), threading.Event()
    answer = Revocations.answer

    def slowly(self: Revocations, **how: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return answer(self, **how)

    monkeypatch.setattr(Revocations, "answer", slowly)
    changes: list[Any] = []
    calls = [
        threading.Thread(target=lambda: changes.append(hall.hub.control.agreements.suspend(ID, actor=hall.hub.officer))) for _ in range(3)
    ]
    calls[0].start()
    assert begun.wait(20)
    for call in calls[1:]:
        call.start()
    assert states(hall) == ["suspending"]
    go_on.set()
    for call in calls:
        call.join(30)
    assert len({(change.plan_offset, change.partitions) for change in changes}) == 1
    assert (len(changes), states(hall)) == (3, ["suspended"])
    assert [act[2] for act in hall.acts() if act[0] == "suspend.agreement"] == ["intended", "done"]


def test_a_replacement_under_way_shows_the_old_version_as_ending(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old right may be narrower or wider: it is over when every lane is fenced; repair keeps the answer as a call does."""
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    acts.apply(SECOND, file="a.yaml", actor=officer)
    with monkeypatch.context() as patched:
        patched.setattr(Revocations, "answer", lambda *_, **__: (_ for _ in ()).throw(HubError("HUB-BROKER-010", "no answer", "")))
        with pytest.raises(HubError, match="HUB-BROKER-010"):
            acts.sign(ID, actor=officer)
        assert states(hall) == ["ending", "replacing"]
    until(lambda: states(hall) == ["ended", "active"])
    (_, kept), (_, none) = shown(hall)
    assert ([found["act"] for found in kept], none) == (["sign.agreement"], [])
    assert kept[0]["plan_offset"] == hall.last(KEY)[0].offset


def test_what_a_dead_serve_left_open_is_finished_with_its_offsets_by_the_next(settings: Settings) -> None:
    """The one answer that would have told them is gone with the process."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    refuse_appends(first, limit="100")
    with pytest.raises(HubError):
        first.hub.control.agreements.suspend(ID, actor=first.hub.officer)
    refuse_appends(first, limit="1048588")
    first.close()
    second = Hall(settings, watch=False)
    try:
        ((state, kept),) = shown(second)
        assert (state, [found["plan_offset"] for found in kept]) == ("suspended", [second.last(KEY)[0].offset])
        again = second.hub.control.agreements.suspend(ID, actor=second.hub.officer)
        assert (again.outcome, again.plan_offset, len(again.partitions)) == ("exists", second.last(KEY)[0].offset, 2)
    finally:
        second.close()


def test_a_withdrawal_that_a_newer_entry_overtook_is_finished_by_that_one(hall: Hall) -> None:
    """Suspended in vain, then ended: the suspension is over where the end is, and is never appended behind it."""
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    refuse_appends(hall, limit="100")
    with pytest.raises(HubError):
        acts.suspend(ID, actor=officer)
    with pytest.raises(HubError):
        acts.end(ID, actor=officer)
    assert states(hall) == ["ending"]
    refuse_appends(hall, limit="1048588")
    ended = acts.end(ID, actor=officer)
    until(lambda: len(shown(hall)[0][1]) == 2)
    assert {found["plan_offset"] for found in shown(hall)[0][1]} == {ended.plan_offset}
    assert hall.body(KEY).state is State.ENDED
