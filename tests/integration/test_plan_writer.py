"""The one writer of hub.plan: the broker itself refuses whoever was it before, from the successor's first append on."""

from collections.abc import Iterator

import pytest

from hub.broker import plan_writer
from hub.broker.admin import Admin
from hub.broker.batches import build_batches
from hub.broker.embedded import EmbeddedBroker
from hub.broker.fencing import LaneGate
from hub.broker.plan_log import PlanLog
from hub.broker.topics import plan_topic
from hub.model.errors import HubError
from hub.model.names import Names

pytestmark = pytest.mark.broker


def batch(*values: str) -> bytes:
    """Return one record batch."""
    (made,) = build_batches([(b"key", value.encode(), []) for value in values], bytes_max=10_000, timestamp_ms=1)
    return made.data


@pytest.fixture
def gates(broker: EmbeddedBroker, admin: Admin, names: Names) -> Iterator[tuple[LaneGate, LaneGate]]:
    """Give two gates on one hub.plan, as two serves have."""
    admin.create_topics([plan_topic(names, replication=1)])
    made = (LaneGate(broker.bootstrap, timeout_ms=10_000), LaneGate(broker.bootstrap, timeout_ms=10_000))
    yield made
    for gate in made:
        gate.close()


def values(broker: EmbeddedBroker, names: Names) -> list[bytes | None]:
    """Return what stands in hub.plan."""
    with PlanLog(broker.bootstrap, names.plan) as log:
        return [entry.value for entry in log.read_all()]


def test_who_was_the_writer_before_appends_nothing_behind_its_successor(
    gates: tuple[LaneGate, LaneGate], broker: EmbeddedBroker, names: Names
) -> None:
    """It was stopped with an entry in hand and woken: compaction would keep the older right."""
    old, new = gates
    old.own_plan(names)
    assert [old.append_plan(batch(text), names=names) for text in ("one", "two")] == [0, 1]
    new.own_plan(names)
    assert new.append_plan(batch("three", "four"), names=names) == 2
    for _ in range(2):
        with pytest.raises(HubError, match="another serve writes") as refusal:
            old.append_plan(batch("late"), names=names)
        assert refusal.value.code == "HUB-SERVE-005"
    assert [new.append_plan(batch(text), names=names) for text in ("five", "six")] == [4, 5]
    assert values(broker, names) == [b"one", b"two", b"three", b"four", b"five", b"six"]


def test_a_topic_that_was_made_again_is_written_on(
    gates: tuple[LaneGate, LaneGate], broker: EmbeddedBroker, admin: Admin, names: Names
) -> None:
    """It knows no writer, and none of the numbers that were counted."""
    writer, _ = gates
    writer.own_plan(names)
    for text in ("one", "two"):
        writer.append_plan(batch(text), names=names)
    admin.delete_topics([names.plan])
    admin.create_topics([plan_topic(names, replication=1)])
    writer.append_plan(batch("three"), names=names)
    assert values(broker, names) == [b"three"]


def test_an_append_without_an_answer_is_followed_by_an_epoch_of_its_own(
    gates: tuple[LaneGate, LaneGate], broker: EmbeddedBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it stands is not known: the next one must neither be taken for it nor be refused; and a successor is not robbed so."""
    old, new = gates
    old.own_plan(names)
    old.append_plan(batch("one"), names=names)

    async def silent(*_: object, **__: object) -> int:
        raise HubError("HUB-BROKER-010", "appending answered 7", "look at the broker's log")

    with monkeypatch.context() as patch:
        patch.setattr("hub.broker.plan_writer.append", silent)
        with pytest.raises(HubError, match="HUB-BROKER-010"):
            old.append_plan(batch("lost"), names=names)
    assert old.append_plan(batch("two"), names=names) == 1

    new.own_plan(names)
    with monkeypatch.context() as patch:
        patch.setattr("hub.broker.plan_writer.append", silent)
        with pytest.raises(HubError, match="HUB-BROKER-010"):
            old.append_plan(batch("lost"), names=names)
    with pytest.raises(HubError, match="HUB-SERVE-005"):
        old.append_plan(batch("late"), names=names)
    assert new.append_plan(batch("three"), names=names) == 2
    assert values(broker, names) == [b"one", b"two", b"three"]


def test_an_epoch_is_begun_anew_before_the_coordinator_forgets_it(
    gates: tuple[LaneGate, LaneGate], broker: EmbeddedBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And entries stand once, in their order; whoever was fenced stays so."""
    monkeypatch.setattr(plan_writer, "OWNED_FOR_S", 0.0)
    old, new = gates
    old.own_plan(names)
    assert [old.append_plan(batch(text), names=names) for text in ("one", "two", "three")] == [0, 1, 2]
    new.own_plan(names)
    assert new.append_plan(batch("four"), names=names) == 3
    with pytest.raises(HubError, match="HUB-SERVE-005"):
        old.append_plan(batch("late"), names=names)
    assert values(broker, names) == [b"one", b"two", b"three", b"four"]


def test_an_epoch_that_is_given_out_twice_loses_no_entry(gates: tuple[LaneGate, LaneGate], broker: EmbeddedBroker, names: Names) -> None:
    """After a power cut the broker may take an epoch's first batch for the one it holds, and answer with that one's offset."""
    gate, _ = gates
    gate.own_plan(names)
    assert gate.append_plan(batch("active"), names=names) == 0
    assert gate._plan is not None
    gate._plan._sequence = 0  # as whoever owns it has it, who was given the same epoch

    assert gate.append_plan(batch("suspended"), names=names) == 1
    assert values(broker, names) == [b"active", b"suspended"]
