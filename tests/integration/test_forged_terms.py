"""What is signed is what is billed: terms that were changed in the database make no bill, and are named."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hall import AGREEMENT, Hall, hall_settings
from sqlalchemy import insert, select, update

from hub.broker.embedded import EmbeddedBroker
from hub.cli import run
from hub.model.names import Names
from hub.store.ledger_tables import USAGE_HOURS
from hub.store.tables import agreements

pytestmark = pytest.mark.broker
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
