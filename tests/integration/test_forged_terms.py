"""What is signed is what is billed: terms that were changed in the database make no bill, and are named."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hall import AGREEMENT, DATASET, Hall, hall_settings
from kafka import KafkaProducer
from ledger_steps import Writer, entry
from sqlalchemy import insert, select, update

from hub.broker.embedded import EmbeddedBroker
from hub.cli import run
from hub.ledger.chain import ChainId
from hub.ledger.tables import USAGE_HOURS
from hub.model.errors import HubError
from hub.model.names import Names
from hub.model.records import encode_usage_step
from hub.store.keys import create_keys
from hub.store.tables import agreements

pytestmark = pytest.mark.broker
AGAIN = "again"
PERIOD = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m")
COUNTS = ("offsets", "delivered", "steps", "first_step", "last_step")
ZEROES = ("gaps", "lost", "filtered", "denied", "suppressed", "quarantined", "bytes_source", "bytes_delivered", "usage_partition")


@pytest.fixture
def hall(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Hall]:
    """Give a hub with one agreement, at a price, under which one step delivered."""
    built = Hall(hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path), watch=False)
    built.open_dataset()
    built.sign(AGREEMENT.replace("tariff: per-record@1", "tariff: per-record@1\ncharge_basis: guided_price"))
    place = {"agreement_id": "parking-vehicles", "agreement_version": 1, "pass_id": "live", "topic_id": "t", "source_partition": 0}
    row = {"scope": names.scope, **place, "hour": int(time.time() // 3600), **dict.fromkeys(COUNTS, 1), **dict.fromkeys(ZEROES, 0)}
    row |= {"offsets": 1000, "delivered": 1000, "first_usage_offset": 0, "last_usage_offset": 0}
    with built.hub.engine.begin() as connection:
        connection.execute(insert(USAGE_HOURS).values(row))
    yield built
    built.close()


class Printed(NamedTuple):
    """What a call of the command line came to."""

    code: int
    out: str
    err: str


Call = Callable[..., Printed]


@pytest.fixture
def cityhub(hall: Hall, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
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


def forge(hall: Hall, **members: Any) -> None:
    """Change terms, or the state, in the table of agreements."""
    with hall.hub.engine.begin() as connection:
        state = members.pop("state", "active")
        terms = json.loads(connection.execute(select(agreements.c.terms)).scalar_one()) | members
        connection.execute(update(agreements).values(terms=json.dumps(terms), state=state))


def test_signed_terms_make_the_bill(hall: Hall, cityhub: Call) -> None:
    """The control: 1,000 records at ¥0.003."""
    found = cityhub("bill", "preview", "--consumer", "parking-office", "--period", PERIOD, "--json")
    assert (found.code, json.loads(found.out)["bill"]["charge_fen"]) == (0, 300)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"tariff": "per-record@2"}, "`tariff`"),
        ({"charge_basis": "free"}, "`charge_basis`"),
        ({"payer": "somebody-else"}, "`payer`"),
        ({"consumer": "somebody-else"}, "`consumer`"),
        ({"state": "suspended"}, "state suspended"),
    ],
    ids=["tariff", "charge basis", "payer", "consumer", "state"],
)
def test_forged_terms_make_no_bill(hall: Hall, cityhub: Call, members: dict[str, Any], told: str) -> None:
    """Bill and check exit 5 and name agreement and member."""
    forge(hall, **members)

    bill = cityhub("bill", "preview", "--consumer", "parking-office", "--period", PERIOD)
    check = cityhub("ledger", "check", "--json")

    assert (bill.code, check.code) == (5, 5)
    assert "HUB-LEDGER-008" in bill.err
    assert "parking-vehicles" in bill.err
    assert told in bill.err
    assert any(told in row["found"] for row in json.loads(check.out)["differences"])


def test_a_forged_chain_on_the_real_topic_cannot_be_resumed_into_a_bill(hall: Hall, cityhub: Call) -> None:
    """A partition beyond the dataset's, a pass of its own, and both on a topic that somebody says was the dataset's."""
    topic = hall.names.dept(DATASET)
    real, gone = hall.hub.admin.topic_ids([topic])[topic], uuid.uuid4()
    forged = [Writer(partition=99, topic_id=real), Writer(pass_id=AGAIN, topic_id=real), Writer(partition=99, topic_id=gone)]
    old = Writer(partition=1, topic_id=gone)
    producer = KafkaProducer(bootstrap_servers=hall.hub.settings.bootstrap, acks="all")
    for writer in [*forged, old]:
        writer.topic, writer.scope = topic, hall.names.scope
        step = writer.next(entry("parking-vehicles", delivered=500))
        producer.send(hall.names.usage, key=step.key, value=encode_usage_step(step)).get(15)
    producer.close()

    found = hall.hub.collector().collect_once()

    assert (found.posted, found.refused, found.held) == (0, 4, 0)
    for writer in forged:
        chain = ChainId(str(writer.topic_id), writer.partition, writer.pass_id)
        with pytest.raises(HubError) as refusal:
            hall.hub.resume_chain(chain, dataset=DATASET)
        assert refusal.value.code == "HUB-LEDGER-009"
        assert "no lane" in refusal.value.message
    bill = cityhub("bill", "preview", "--consumer", "parking-office", "--period", PERIOD, "--json")
    assert json.loads(bill.out)["bill"]["charge_fen"] == 300
    resumed = hall.hub.resume_chain(ChainId(str(gone), 1), dataset=DATASET)
    assert (resumed.posted, resumed.held_at) == (1, None)


def test_a_retired_key_that_is_missing_stops_the_bill_under_its_own_code(hall: Hall, cityhub: Call, tmp_path: Path) -> None:
    """Bill and check say to put its line back, not to restore a backup."""
    trust = hall.hub.settings.keys_folder / "trust.keys"
    before = trust.read_text()
    create_keys(tmp_path / "next", epoch=1, comment="next")
    trust.write_text((tmp_path / "next" / "trust.keys").read_text())

    for words in (("bill", "preview", "--consumer", "parking-office", "--period", PERIOD), ("ledger", "check")):
        found = cityhub(*words)
        assert (found.code, "HUB-KEY-004" in found.err) == (5, True), found.err
        assert "put the key's line back" in " ".join(found.err.split())
    trust.write_text(before)
    assert cityhub("bill", "preview", "--consumer", "parking-office", "--period", PERIOD).code == 0
