"""Acts on what counts whose process was killed: none stays intended for ever, and its outcome is what the ledger shows."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hall import DATASET, Hall, hall_settings, until
from kafka import KafkaProducer
from ledger_steps import Writer, entry
from sqlalchemy import update

from hub.agreements import outside_acts
from hub.broker.embedded import EmbeddedBroker
from hub.ledger.chain import ChainId
from hub.ledger.tables import USAGE_CHAINS
from hub.model.names import Names
from hub.model.records import encode_usage_step
from hub.settings import Settings
from hub.store.engine import reading
from hub.store.tables import acts

pytestmark = pytest.mark.broker
KILLED_IN_RESUME = """
import os, signal, sys
import hub.app as app
from hub.ledger.chain import ChainId
from hub.settings import Settings
whole = app.resume
def killed(*given, **named):
    if sys.argv[3] == "after":
        whole(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
app.resume = killed
hub = app.Hub(Settings.model_validate_json(sys.argv[1]))
hub.take_over()
hub.resume_chain(ChainId.parse(sys.argv[2]))
"""


@pytest.fixture
def settings(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Settings:
    """Give settings of a hub of its own."""
    return hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state")


@pytest.fixture
def chain(settings: Settings) -> ChainId:
    """Give a chain of one posted step that is held at its second, of a hub that has ended."""
    hall = Hall(settings, watch=False)
    try:
        hall.open_dataset()
        hub = hall.hub
        topic = hub.names.dept(DATASET)
        topic_id = hub.admin.topic_ids([topic])[topic]
        writer = Writer(topic_id=topic_id, topic=topic, scope=hub.names.scope)
        producer = KafkaProducer(bootstrap_servers=settings.bootstrap)
        steps = [writer.next(entry("parking-vehicles", delivered=3)) for _ in range(2)]
        hub.remember_topics()
        for step in steps:
            producer.send(hub.names.usage, key=step.key, value=encode_usage_step(step)).get(15)
            if step.step == 1:
                hub.collector().collect_once()
                with hub.engine.begin() as connection:
                    connection.execute(update(USAGE_CHAINS).values(held_at=1, held_reason="conservation"))
        producer.close()
        hub.collector().collect_once()
    finally:
        hall.close()
    return ChainId(str(topic_id), 0)


def outcomes(hall: Hall, verb: str) -> list[tuple[str, str | None]]:
    """Return outcome and reason of every row of an act."""
    with reading(hall.hub.engine) as connection:
        rows = connection.execute(acts.select().where(acts.c.act == verb).order_by(acts.c.seq))
        return [(row.outcome, row.reason) for row in rows]


@pytest.mark.parametrize(("when", "outcome"), [("before", "failed"), ("after", "done")])
def test_a_resume_whose_serve_is_killed_gets_the_outcome_that_its_chain_shows(
    settings: Settings, chain: ChainId, when: str, outcome: str
) -> None:
    """Held still: failed, and it can be resumed again; going on: done. Never intended for ever."""
    command = [sys.executable, "-c", KILLED_IN_RESUME, settings.model_dump_json(), str(chain), when]
    found = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert found.returncode == -signal.SIGKILL, found.stderr.decode()

    hall = Hall(settings, watch=False)
    try:
        (intended, _), (came_to, reason) = outcomes(hall, "resume.chain")
        again = hall.hub.resume_chain(chain)
    finally:
        hall.close()

    assert (intended, came_to) == ("intended", outcome)
    assert ("held at usage offset" in (reason or "")) is (outcome == "failed")
    assert (again.posted, again.held_at) == (1 if outcome == "failed" else 0, None)


def test_a_connector_that_was_killed_is_waited_for_by_a_serve_that_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve may run for months: its acts are not left until another takes over."""
    monkeypatch.setattr(outside_acts, "TELL_WITHIN", timedelta(seconds=2))
    hall = Hall(settings)
    try:
        hall.open_dataset()
        hall.hub.control.outside.intend_anew("flights", dataset=DATASET, actor=hall.hub.officer)
        assert outcomes(hall, "anew.connector") == [("intended", None)]
        until(lambda: outcomes(hall, "anew.connector") == [("intended", None), ("failed", outside_acts.UNTOLD)])
    finally:
        hall.close()


def test_publishing_anew_waits_for_its_connector_and_then_no_longer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A serve that starts anew hinders no connector; one that was killed is unknown in the end, or asks again."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    outside = first.hub.control.outside
    outside.intend_anew("flights", dataset=DATASET, actor=first.hub.officer)
    second_ask = outside.intend_anew("flights", dataset=DATASET, actor=first.hub.officer)
    first.close()

    second = Hall(settings, watch=False)
    second.hub.control.outside.settle_anew("flights", second_ask, outcome="done")
    second.hub.control.outside.intend_anew("flights", dataset=DATASET, actor=second.hub.officer)
    second.close()
    monkeypatch.setattr(outside_acts, "TELL_WITHIN", outside_acts.TELL_WITHIN * 0)
    third = Hall(settings, watch=False)
    try:
        found = outcomes(third, "anew.connector")
    finally:
        third.close()

    assert found == [
        ("intended", None),
        ("failed", outside_acts.ASKED_AGAIN),
        ("intended", None),
        ("done", "told by the connector"),
        ("intended", None),
        ("failed", outside_acts.UNTOLD),
    ]
