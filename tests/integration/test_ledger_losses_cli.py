"""`cityhub ledger accept-loss` as an officer gives it: through serve, whose own collector goes on."""

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hall import hall_settings, until
from kafka import KafkaProducer
from ledger_steps import Writer, entry
from ledger_town import AGREEMENT

from hub.api.server import Serve
from hub.app import Hub
from hub.broker.embedded import EmbeddedBroker
from hub.catalogue.topics import remember_topic
from hub.cli import run
from hub.ledger.show import show_chains
from hub.model.names import Names
from hub.model.records import encode_usage_step
from hub.model.usage import UsageStep
from hub.state import initialise
from hub.store.engine import writing

pytestmark = pytest.mark.broker
TYPED = "11010519491231002X"


class Desk:
    """An officer at the command line, beside a serve that runs in this process."""

    def __init__(self, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
        """Know one source topic of a dataset."""
        self.serve, self.capsys = serve, capsys
        self.writer = Writer(topic_id=uuid.uuid4(), topic=self.hub.names.dept("transport/flights"), scope=self.hub.names.scope)

    @property
    def hub(self) -> Hub:
        """The hub that serves."""
        return self.serve.hub

    def call(self, *words: str) -> tuple[int, str]:
        """Give a command; returns its exit code and all that it said."""
        self.capsys.readouterr()
        code = run(list(words))
        return int(code), "".join(self.capsys.readouterr())

    def answer(self, *words: str) -> Any:
        """Give a command that must succeed, and return its JSON."""
        code, said = self.call(*words, "--json")
        assert code == 0, said
        return documents(said)[0]

    def next_step(self) -> UsageStep:
        """Return the next step of the one chain."""
        return self.writer.next(entry(AGREEMENT, delivered=1))

    def meter(self, step: UsageStep) -> None:
        """Write a usage step."""
        producer = KafkaProducer(bootstrap_servers=self.hub.settings.bootstrap)
        producer.send(self.hub.names.usage, key=step.key, value=encode_usage_step(step)).get(15)
        producer.close()

    def posted(self) -> list[int]:
        """Return the last step of each chain that the ledger has."""
        rows = show_chains(self.hub.engine, scope=self.hub.names.scope).rows
        return [row.step for row in rows]  # type: ignore[union-attr]


def documents(said: str) -> list[Any]:
    """Return the JSON that a command printed: serve logs between it, in this process."""
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@pytest.fixture
def desk(
    names: Names, broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    """Give an officer at a hub that leads and has posted one step."""
    settings = hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state")
    initialise(settings)
    serve = Serve(settings)
    thread = threading.Thread(target=serve.run)
    thread.start()
    chosen = {"STATE": settings.state, "SCOPE": names.scope, "TOPICS_PREFIX": names.prefix, "BROKER__BOOTSTRAP": broker.bootstrap}
    for name, value in (chosen | {"SERVE__PORT": serve.port}).items():
        monkeypatch.setenv(f"CITYHUB_{name}", str(value))
    made = Desk(serve, capsys)
    try:
        until(lambda: made.call("ledger", "accept-loss", "--dry-run")[0] == 1, within_s=60)
        with writing(made.hub.engine) as connection:
            known = {"dataset": "transport/flights", "topic": made.writer.topic, "topic_id": str(made.writer.topic_id)}
            remember_topic(connection, scope=names.scope, **known)
        made.meter(made.next_step())
        until(lambda: made.posted() == [1])
        yield made
    finally:
        serve.stop()
        thread.join(timeout=30)


def test_nothing_lost_is_said(desk: Desk) -> None:
    """Neither shown nor accepted."""
    for words in (("--dry-run",), ("0" * 12,)):
        code, said = desk.call("ledger", "accept-loss", *words)
        assert (code, "HUB-LEDGER-010" in said) == (1, True)


def test_a_loss_is_shown_then_accepted_by_its_name_and_that_is_an_act(desk: Desk) -> None:
    """Every fix leads there; what the caller typed is written nowhere; the ledger goes on by itself and names the loss."""
    admin, usage = desk.hub.admin, desk.hub.names.usage
    before = admin.topic_ids([usage])
    admin.delete_topics([usage])
    until(lambda: admin.topic_ids([usage]) not in ({}, before), within_s=60)
    until(lambda: "HUB-LEDGER-006" in desk.call("ledger", "check")[1])
    code, said = desk.call("ledger", "check")
    assert (code, "accept-loss --dry-run" in said) == (5, True)

    shown = desk.answer("ledger", "accept-loss", "--dry-run")
    readable = desk.call("ledger", "accept-loss", "--dry-run")[1]
    refused, unnamed = desk.call("ledger", "accept-loss", TYPED), desk.call("ledger", "accept-loss")
    done = desk.call("ledger", "accept-loss", shown["loss"])

    assert (shown["accepted"], {part["how"] for part in shown["partitions"]}) == (False, {"made again"})
    (row,) = [row for part in shown["partitions"] for row in part["chains"]]
    assert (row["last_step"], row["may_lack_steps"]) == (1, True)
    assert f"accept-loss {shown['loss']}" in readable
    assert "was made again" in readable
    assert (refused[0], "HUB-LEDGER-011" in refused[1], unnamed[0]) == (1, True, 2)
    assert (done[0], "is accepted" in done[1]) == (0, True)
    listed = desk.answer("acts", "list")["acts"]
    assert TYPED not in json.dumps(listed)
    told = [(act["object_id"], act["outcome"]) for act in listed if act["act"] == "accept.loss"]
    assert told[:3] == [(shown["loss"], "done"), (shown["loss"], "intended"), ("-", "refused")]
    assert desk.call("acts", "verify")[0] == 0
    desk.meter(desk.next_step())
    until(lambda: desk.posted() == [2], within_s=60)
    report, *_ = documents(desk.call("ledger", "check", "--json")[1])
    assert {loss["loss"] for loss in report["losses"]} == {shown["loss"]}
    assert {found["between"] for found in report["differences"]} == {"terms"}, "the agreement of this test was never signed"
    assert "was made again" in desk.call("ledger", "check")[1]
