"""`cityhub ledger` and `cityhub bill` as a person and as a program use them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledger_town import AGREEMENT, LedgerTown
from sqlalchemy import update

from hub.agreements.file import parse_agreement
from hub.agreements.shelf import Shelf
from hub.broker.admin import Admin
from hub.model.names import Names
from hub.store.ledger_tables import USAGE_CHAINS, USAGE_HOURS

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
    with town.engine.begin() as connection:
        Shelf(scope=names.scope).put_draft(connection, parse_agreement(FILE, file="airline-delays.yaml"), at_ms=0)
    lane = town.lane()
    lane.step(1000, filtered=5)
    lane.step(1000)
    town.collect()
    yield town
    town.close()


def cityhub(ledger: LedgerTown, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on the ledger of the test."""
    environment = os.environ | {
        "CITYHUB_STATE": str(Path(ledger.url.removeprefix("sqlite:///")).parent),
        "CITYHUB_SCOPE": ledger.names.scope,
        "CITYHUB_TOPICS_PREFIX": ledger.names.prefix,
        "CITYHUB_BROKER__BOOTSTRAP": ledger.bootstrap,
    }
    command = [sys.executable, "-W", "ignore", "-m", "hub.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def answer(ledger: LedgerTown, *arguments: str) -> Any:
    """Return the JSON that a command prints; it has to succeed."""
    found = cityhub(ledger, *arguments, "--json")
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_ledger_show_gives_usage_per_agreement(ledger: LedgerTown) -> None:
    """And says up to where hub.usage is read."""
    found = answer(ledger, "ledger", "show")

    (row,) = found["rows"]
    assert (row["agreement_id"], row["delivered"], row["filtered"], row["steps"]) == (AGREEMENT, 2000, 5, 2)
    assert sum(found["usage_read_to"].values()) == 4


def test_ledger_show_by_hour_and_by_chain(ledger: LedgerTown) -> None:
    """The same sums by hour; where each chain stands."""
    hours = answer(ledger, "ledger", "show", "--by", "hour", "--agreement", AGREEMENT)["rows"]
    (chain,) = answer(ledger, "ledger", "show", "--by", "chain")["rows"]

    assert sum(row["delivered"] for row in hours) == 2000
    assert (chain["source"], chain["step"], chain["next_offset"], chain["state"]) == (f"{ledger.topic}-0", 2, 2005, "ok")


def test_a_person_reads_a_table(ledger: LedgerTown) -> None:
    """Data on stdout, talk on stderr."""
    found = cityhub(ledger, "ledger", "show")

    assert found.stdout.splitlines()[0].split()[:3] == ["id", "version", "delivered"]
    assert "2,000" in found.stdout
    assert "hub.usage is read up to" in found.stderr


def test_ledger_check_exits_0_while_the_counts_agree(ledger: LedgerTown) -> None:
    """With the three counts in its answer."""
    found = answer(ledger, "ledger", "check")

    assert (found["sound"], found["metered"], found["posted"], found["delivered"]) == (True, 2000, 2000, 2000)


def test_ledger_check_exits_5_and_names_where(ledger: LedgerTown) -> None:
    """Agreement, place and both numbers."""
    ledger.alter(USAGE_HOURS, delivered=USAGE_HOURS.c.delivered + 1, filtered=USAGE_HOURS.c.filtered - 1)

    found = cityhub(ledger, "ledger", "check", "--json")

    assert found.returncode == 5
    assert json.loads(found.stdout)["differences"][0]["agreement_id"] == AGREEMENT
    error = json.loads(found.stderr.splitlines()[-1])["error"]
    assert error["code"] == "HUB-LEDGER-002"
    assert error["problems"][0]["message"] == "ledger: expected delivered 2000, filtered 5, found delivered 2001, filtered 4"


def test_ledger_resume_gives_a_chain_back(ledger: LedgerTown) -> None:
    """As it is named by `ledger show --held`."""
    end = max(ledger.collect().positions.values())
    with ledger.engine.begin() as connection:
        connection.execute(update(USAGE_CHAINS).values(held_at=end, held_reason="hash"))
    (held,) = answer(ledger, "ledger", "show", "--held")["rows"]

    found = answer(ledger, "ledger", "resume", held["chain"])

    assert (found["held_at"], found["posted"]) == (None, 0)
    assert answer(ledger, "ledger", "show", "--held")["rows"] == []


def test_bill_preview_names_the_steps_behind_each_line(ledger: LedgerTown) -> None:
    """¥0.003 a record, 2,000 records: ¥6.00, out of two steps of one partition."""
    found = answer(ledger, "bill", "preview", "--consumer", "airline", "--period", PERIOD)

    (line,) = found["bill"]["lines"]
    (evidence,) = line["evidence"]
    assert (line["delivered"], line["charge_fen"], line["shadow_fen"], found["bill"]["charge_fen"]) == (2000, 600, 0, 600)
    assert (evidence["source_topic"], evidence["partition"], evidence["first_step"], evidence["last_step"]) == (ledger.topic, 0, 1, 2)
    assert evidence["last_usage_offset"] == evidence["first_usage_offset"] + 2


def test_bill_preview_for_people_is_in_yuan(ledger: LedgerTown) -> None:
    """With the steps and offsets of hub.usage that it comes from."""
    found = cityhub(ledger, "bill", "preview", "--consumer", "airline", "--period", PERIOD)

    assert "¥6.00" in found.stdout
    assert f"{ledger.topic}-0 steps 1–2" in found.stdout
    assert "a preview" in found.stderr


def test_bill_preview_of_an_unknown_consumer_says_who_is_near(ledger: LedgerTown) -> None:
    """An empty bill would be a lie."""
    found = cityhub(ledger, "bill", "preview", "--consumer", "airlines", "--period", PERIOD)

    assert found.returncode == 1
    assert "HUB-AGREE-002" in found.stderr
    assert "did you mean `airline`?" in found.stderr


def test_bill_preview_of_no_month_exits_2(ledger: LedgerTown) -> None:
    """With an example."""
    found = cityhub(ledger, "bill", "preview", "--consumer", "airline", "--period", "november")

    assert found.returncode == 2
    assert "HUB-LEDGER-003" in found.stderr
