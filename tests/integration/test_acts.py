"""Acts as a person and a program see them, and what is told when they are not what was recorded."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hall import Hall, hall_settings, until

from hub.agreements.anchoring import KafkaPlace
from hub.broker.admin import Admin
from hub.broker.embedded import EmbeddedBroker
from hub.cli import run
from hub.cli.checks import Status, run_check
from hub.model.names import Names, TopicPartition
from hub.store.act_anchor import AnchorFile
from hub.store.act_views import ActFilter, find_acts
from hub.store.tables import acts

pytestmark = pytest.mark.broker


@pytest.fixture
def hall(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Hall]:
    """Give a hub that leads, with an agreement that was suspended; its acts are anchored as serve anchors them."""
    built = Hall(hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path))
    built.open_dataset()
    built.hub.control.agreements.suspend(built.sign(), actor=built.hub.officer)
    stop = threading.Event()
    duty = threading.Thread(target=built.hub.anchor.run, args=(stop,))
    duty.start()
    until(lambda: anchored(built) == len(built.acts()))
    stop.set()
    duty.join()
    yield built
    built.close()


def anchored(hall: Hall) -> int | None:
    """Return the number of the last act that the anchor in Kafka names."""
    text = KafkaPlace(hall.hub.settings.bootstrap, hall.names, client_id="t").read()
    return None if not text else int(json.loads(text)["seq"])


class Printed(NamedTuple):
    """What a call of the command line came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def cityhub(hall: Hall, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    """Run the command line on the hub of the test."""
    settings = hall.hub.settings
    monkeypatch.setenv("CITYHUB_STATE", str(settings.state))
    monkeypatch.setenv("CITYHUB_SCOPE", settings.scope)
    monkeypatch.setenv("CITYHUB_TOPICS_PREFIX", settings.topics_prefix)
    monkeypatch.setenv("CITYHUB_BROKER__BOOTSTRAP", settings.bootstrap)

    def call(*arguments: str) -> Printed:
        capsys.readouterr()
        code = run(list(arguments))
        return Printed(int(code), *capsys.readouterr())

    return call


def tamper(hall: Hall, *statements: Any) -> None:
    """Change acts behind the hub's back, as who has the database may, and put the triggers back."""
    with hall.hub.engine.begin() as connection:
        kept = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
        for name, _ in kept:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, text in kept:
            connection.exec_driver_sql(text)


def test_who_suspended_an_agreement_when_and_how_is_listed(hall: Hall, cityhub: Callable[..., Printed]) -> None:
    """Newest first, by object, by act, by outcome, and page by page."""
    found = json.loads(cityhub("acts", "list", "--object", "parking-vehicles", "--act", "suspend", "--outcome", "done", "--json").out)
    (act,) = found["acts"]
    assert (act["act"], act["actor_person_id"], act["outcome"]) == ("suspend.agreement", "local-officer", "done")

    whole = json.loads(cityhub("acts", "list", "--json").out)["acts"]
    first = json.loads(cityhub("acts", "list", "--limit", "2", "--json").out)
    second = json.loads(cityhub("acts", "list", "--limit", "2", "--before", str(first["next_before"]), "--json").out)
    assert [row["seq"] for row in whole] == list(range(len(hall.acts()), 0, -1))
    assert first["acts"] + second["acts"] == whole[:4]
    assert json.loads(cityhub("acts", "list", "--since", "2999-01-01", "--json").out)["acts"] == []


def test_an_act_is_shown_from_its_intent_to_its_outcome(hall: Hall, cityhub: Callable[..., Printed]) -> None:
    """By the id of either row; an id that is none is refused with the way on."""
    with hall.hub.engine.connect() as connection:
        newest = find_acts(connection, scope=hall.names.scope, wanted=ActFilter(), limit=1).acts[0]

    rows = json.loads(cityhub("acts", "show", newest.act_id, "--json").out)

    assert [row["outcome"] for row in rows] == ["intended", "done"]
    assert cityhub("acts", "show", "nothing").code == 1


def test_acts_that_are_whole_verify(hall: Hall, cityhub: Callable[..., Printed]) -> None:
    """With how many there are and up to where they are anchored."""
    found = cityhub("acts", "verify", "--json")
    shown = json.loads(found.out)

    assert found.code == 0
    assert (shown["acts"], shown["anchored"], shown["code"]) == (len(hall.acts()), len(hall.acts()), None)
    assert run_check("acts", hall.hub.settings).status is Status.OK


def test_a_changed_act_is_named_and_exits_5(hall: Hall, cityhub: Callable[..., Printed]) -> None:
    """By command and doctor, and serve is not ready."""
    tamper(hall, acts.update().where(acts.c.seq == 3).values(actor_person_id="nobody"))

    found = cityhub("acts", "verify")

    assert found.code == 5
    assert "HUB-ACTS-001" in found.err
    assert "act 3 (" in found.err
    assert run_check("acts", hall.hub.settings).status is Status.FAILED
    assert "HUB-ACTS-001" in str(hall.hub.anchor.check().broken and hall.hub.anchor.trouble())


@pytest.mark.parametrize("kept", ["both copies", "in Kafka alone", "in the state folder alone"])
def test_a_cut_tail_is_found_by_either_copy_of_the_anchor(hall: Hall, cityhub: Callable[..., Printed], kept: str) -> None:
    """What is left is well linked and the database has nothing to tell."""
    count = len(hall.acts())
    if kept == "in Kafka alone":
        AnchorFile(hall.hub.settings.state).path.unlink()
    elif kept == "in the state folder alone":
        with Admin(hall.hub.settings.bootstrap) as admin:
            admin.commit(hall.names.acts_group, TopicPartition(hall.names.plan, 0), offset=0, metadata="")
    tamper(hall, acts.delete().where(acts.c.seq > count - 2))

    found = cityhub("acts", "verify")

    assert found.code == 5
    assert f"acts {count - 1} to {count} are gone" in found.err


def test_a_forged_anchor_in_kafka_is_told_and_the_other_copy_still_holds(hall: Hall, cityhub: Callable[..., Printed]) -> None:
    """Nobody is asked who he is on Kafka yet."""
    text = str(AnchorFile(hall.hub.settings.state).read()).replace('"seq":', '"seq":1')
    KafkaPlace(hall.hub.settings.bootstrap, hall.names, client_id="t").write(text)

    found = cityhub("acts", "verify")

    assert found.code == 5
    assert "HUB-ACTS-002" in found.err
    assert "in Kafka is not signed" in found.err


def test_without_a_broker_the_copy_in_the_folder_verifies(
    hall: Hall, cityhub: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said that the other one was not read; with no copy at all it is a dependency that is missing."""
    monkeypatch.setenv("CITYHUB_BROKER__BOOTSTRAP", "127.0.0.1:1")
    found = cityhub("acts", "verify")
    assert (found.code, "an anchor was not read: HUB-BROKER-001" in found.err) == (0, True)

    AnchorFile(hall.hub.settings.state).path.unlink()
    assert cityhub("acts", "verify").code == 4


def test_after_an_older_backup_the_lost_acts_are_named_and_adoption_is_the_way_on(hall: Hall, cityhub: Callable[..., Printed]) -> None:
    """The fix that is told works, is an act itself, and the anchor holds again."""
    settings, count = hall.hub.settings, len(hall.acts())
    tamper(hall, acts.delete().where(acts.c.seq > count - 2))
    hall.close()
    assert cityhub("acts", "verify").code == 5

    again = Hall(settings, adopt_plan=True)

    try:
        found = json.loads(cityhub("acts", "list", "--act", "adopt.plan", "--outcome", "done", "--json").out)["acts"]
        assert f"the anchor named act {count}" in found[0]["reason"]
        assert cityhub("acts", "verify").code == 0
    finally:
        again.close()


def test_an_anchor_stands_in_kafka_before_the_first_act(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> None:
    """So that its absence is a finding from the first act on."""
    settings = hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path)
    hall = Hall(settings, watch=False)
    try:
        assert anchored(hall) == 0
        AnchorFile(tmp_path).path.unlink()
        with Admin(settings.bootstrap) as admin:
            admin.commit(names.acts_group, TopicPartition(names.plan, 0), offset=0, metadata="")
        assert hall.hub.verify_acts().code == "HUB-ACTS-002"
    finally:
        hall.close()
