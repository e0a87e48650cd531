"""`cityhub ledger` and `cityhub bill` as a person and as a program use them."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ledger_town import AGREEMENT, LedgerTown
from signed_agreements import officer_key, sign_into
from sqlalchemy import update

from hub.agreements.file import parse_agreement
from hub.broker.admin import Admin
from hub.cli import run
from hub.ledger.tables import USAGE_CHAINS, USAGE_HOURS
from hub.model.names import Names
from hub.store.tables import agreements

pytestmark = pytest.mark.broker
FILE = """
apiVersion: cityhub/v1
kind: Agreement
id: airline-delays
provider: transport
consumer: airline
dataset: transport/flights
purpose: operations
legal_basis: local
valid_until: 2027-12-31
tariff: per-record@1
charge_basis: guided_price
fields: [carrier]
"""
PERIOD = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m")


@pytest.fixture
def ledger(names: Names, admin: Admin, tmp_path: Path) -> Iterator[LedgerTown]:
    """Give a ledger with one agreement and two steps of 1,000 records each."""
    town = LedgerTown(names=names, admin=admin, folder=tmp_path)
    terms = parse_agreement(FILE, file="airline-delays.yaml").agreement
    sign_into(town.engine, terms, scope=names.scope, key=officer_key(tmp_path))
    lane = town.lane()
    lane.step(1000, filtered=5)
    lane.step(1000)
    town.collect()
    yield town
    town.close()


class Printed(NamedTuple):
    """What a call of the command line came to."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Printed]


@pytest.fixture
def cityhub(ledger: LedgerTown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line on the ledger of the test."""
    monkeypatch.setenv("CITYHUB_STATE", str(Path(ledger.url.removeprefix("sqlite:///")).parent))
    monkeypatch.setenv("CITYHUB_SCOPE", ledger.names.scope)
    monkeypatch.setenv("CITYHUB_TOPICS_PREFIX", ledger.names.prefix)
    monkeypatch.setenv("CITYHUB_BROKER__BOOTSTRAP", ledger.bootstrap)
    monkeypatch.setenv("CITYHUB_SERVE__PORT", "1")

    def call(*arguments: str) -> Printed:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Printed(int(code), out, err)

    return call


def answer(cityhub: Call, *arguments: str) -> Any:
    """Return the JSON that a command prints; it has to succeed."""
    found = cityhub(*arguments, "--json")
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_ledger_show_gives_usage_per_agreement(ledger: LedgerTown, cityhub: Call) -> None:
    """And says up to where hub.usage is read."""
    found = answer(cityhub, "ledger", "show")

    (row,) = found["rows"]
    assert (row["agreement_id"], row["delivered"], row["filtered"], row["steps"]) == (AGREEMENT, 2000, 5, 2)
    assert sum(found["usage_read_to"].values()) == 4


def test_ledger_show_by_hour_and_by_chain(ledger: LedgerTown, cityhub: Call) -> None:
    """The same sums by hour; where each chain stands."""
    hours = answer(cityhub, "ledger", "show", "--by", "hour", "--agreement", AGREEMENT)["rows"]
    (chain,) = answer(cityhub, "ledger", "show", "--by", "chain")["rows"]

    assert sum(row["delivered"] for row in hours) == 2000
    assert (chain["source"], chain["step"], chain["next_offset"], chain["state"]) == (f"{ledger.topic}-0", 2, 2005, "ok")


def test_a_person_reads_a_table(ledger: LedgerTown, cityhub: Call) -> None:
    """Data on stdout, talk on stderr."""
    found = cityhub("ledger", "show")

    assert found.stdout.splitlines()[0].split()[:3] == ["id", "version", "delivered"]
    assert "2,000" in found.stdout
    assert "hub.usage is read up to" in found.stderr


def test_ledger_check_exits_0_while_the_counts_agree(ledger: LedgerTown, cityhub: Call) -> None:
    """With the three counts in its answer."""
    found = answer(cityhub, "ledger", "check")

    assert (found["sound"], found["metered"], found["posted"], found["delivered"]) == (True, 2000, 2000, 2000)


def test_ledger_check_exits_5_and_names_where(ledger: LedgerTown, cityhub: Call) -> None:
    """Agreement, place and both numbers."""
    ledger.alter(USAGE_HOURS, delivered=USAGE_HOURS.c.delivered + 1, filtered=USAGE_HOURS.c.filtered - 1)

    found = cityhub("ledger", "check", "--json")

    assert found.returncode == 5
    assert json.loads(found.stdout)["differences"][0]["agreement_id"] == AGREEMENT
    error = json.loads(found.stderr.splitlines()[-1])["error"]
    assert error["code"] == "HUB-LEDGER-002"
    assert error["problems"][0]["message"] == "ledger: expected delivered 2000, filtered 5, found delivered 2001, filtered 4"


def test_ledger_resume_is_an_act_and_needs_serve(ledger: LedgerTown, cityhub: Call) -> None:
    """It changes what counts: who resumes a chain is recorded, or nothing is resumed."""
    (chain,) = answer(cityhub, "ledger", "show", "--by", "chain")["rows"]
    with ledger.engine.begin() as connection:
        connection.execute(update(USAGE_CHAINS).values(held_at=0, held_reason="hash"))

    found = cityhub("ledger", "resume", chain["chain"])

    assert (found.returncode, "HUB-SERVE-001" in found.stderr) == (4, True)
    assert len(answer(cityhub, "ledger", "show", "--held")["rows"]) == 1


def test_bill_preview_names_the_steps_behind_each_line(ledger: LedgerTown, cityhub: Call) -> None:
    """¥0.003 a record, 2,000 records: ¥6.00, out of two steps of one partition."""
    found = answer(cityhub, "bill", "preview", "--consumer", "airline", "--period", PERIOD)

    (line,) = found["bill"]["lines"]
    (evidence,) = line["evidence"]
    assert (line["delivered"], line["charge_fen"], line["shadow_fen"], found["bill"]["charge_fen"]) == (2000, 600, 0, 600)
    assert (evidence["source_topic"], evidence["partition"], evidence["first_step"], evidence["last_step"]) == (ledger.topic, 0, 1, 2)
    assert evidence["last_usage_offset"] == evidence["first_usage_offset"] + 2


def test_bill_preview_for_people_is_in_yuan(ledger: LedgerTown, cityhub: Call) -> None:
    """With the steps and offsets of hub.usage that it comes from."""
    found = cityhub("bill", "preview", "--consumer", "airline", "--period", PERIOD)

    assert "¥6.00" in found.stdout
    assert f"{ledger.topic}-0 steps 1–2" in found.stdout
    assert "a preview" in found.stderr


def test_bill_preview_of_an_unknown_consumer_says_who_is_near(ledger: LedgerTown, cityhub: Call) -> None:
    """An empty bill would be a lie."""
    found = cityhub("bill", "preview", "--consumer", "airlines", "--period", PERIOD)

    assert found.returncode == 1
    assert "HUB-AGREE-002" in found.stderr
    assert "did you mean `airline`?" in found.stderr


def test_the_bill_of_a_consumer_whose_agreement_is_a_draft_is_empty(ledger: LedgerTown, cityhub: Call) -> None:
    """Nothing was signed, so nothing was used; the consumer is no slip of the pen."""
    row = {"scope": ledger.names.scope, "agreement_id": "planned", "version": 1, "dataset": "transport/flights", "consumer": "harbour"}
    rest = {"terms": "{}", "file_name": "planned.yaml", "file_text": "", "state": "draft", "since_ms": 0}
    with ledger.engine.begin() as connection:
        connection.execute(agreements.insert().values(**row, **rest))

    found = answer(cityhub, "bill", "preview", "--consumer", "harbour", "--period", PERIOD)

    assert found["bill"]["lines"] == []


def test_bill_preview_of_no_month_exits_2(ledger: LedgerTown, cityhub: Call) -> None:
    """With an example."""
    found = cityhub("bill", "preview", "--consumer", "airline", "--period", "november")

    assert found.returncode == 2
    assert "HUB-LEDGER-003" in found.stderr


def test_an_empty_bill_names_the_months_that_have_use(ledger: LedgerTown, cityhub: Call) -> None:
    """An empty table would look like a loss."""
    found = cityhub("bill", "preview", "--consumer", "airline", "--period", "2020-01")

    assert found.returncode == 0
    assert f"no use in 2020-01; periods with use: {PERIOD}" in found.stderr
