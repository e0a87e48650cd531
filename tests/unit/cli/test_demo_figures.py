"""The demo's comparison of its figures with the reckoning: each way in which they can differ is named."""

from typing import Any

import pytest

from hub.cli.demo.figures import BillLine, compare, refuse
from hub.cli.demo.play import conserved
from hub.cli.demo.stage import coded_error
from hub.ledger.rating import Evidence
from hub.model.errors import ExitCode, HubError
from hub.model.names import LIVE

RECKONED: dict[str, Any] = {
    "published": {"transport/flights": {"records": 10}},
    "agreements": [{"id": "jfk-delays", "delivered": 4, "filtered": 6, "denied": 0, "suppressed": 0, "quarantined": 0}],
}
LEDGER = {
    "jfk-delays": {"delivered": 4, "filtered": 6, "denied": 0, "suppressed": 0, "quarantined": 0, "gaps": 2, "lost": 0, "offsets": 12}
}


def test_equal_figures_have_no_problem() -> None:
    """The demo ends with 0 only on this."""
    problems = compare(LEDGER, RECKONED, published={"transport/flights": 10}, read_differences=[])
    assert problems == ()
    refuse(problems)


@pytest.mark.parametrize("name", ["delivered", "filtered", "denied", "suppressed", "quarantined"])
def test_each_disposition_that_differs_is_named(name: str) -> None:
    """One record more or less anywhere is seen."""
    ledger = {"jfk-delays": LEDGER["jfk-delays"] | {name: LEDGER["jfk-delays"][name] + 1}}
    (problem,) = compare(ledger, RECKONED, published={"transport/flights": 10}, read_differences=[])
    assert (problem.where, problem.field) == ("agreement `jfk-delays`", name)


def test_agreement_without_usage_differs() -> None:
    """Nothing metered is not nothing expected."""
    assert {problem.field for problem in compare({}, RECKONED, published={"transport/flights": 10}, read_differences=[])} == {
        "delivered",
        "filtered",
    }


def test_differences_end_the_demo_with_the_code_of_integrity() -> None:
    """What the foreign reader and the connector found differs as well."""
    problems = compare(LEDGER, RECKONED, published={}, read_differences=["jfk-delays partition 0: records is 3, reckoned 4"])
    with pytest.raises(HubError) as refusal:
        refuse(problems)
    assert refusal.value.code == "HUB-DEMO-001"
    assert refusal.value.entry.exit is ExitCode.INTEGRITY
    assert [problem.where for problem in refusal.value.problems] == ["dataset `transport/flights`", "share topics"]


@pytest.mark.parametrize(("change", "holds"), [({}, True), ({"filtered": 5}, False), ({"gaps": 1}, False), ({"lost": 1}, False)])
def test_conservation_counts_records_and_offsets(change: dict[str, int], holds: bool) -> None:  # noqa: FBT001 (a column of the table)
    """Ten records on twelve offsets, of which two are markers."""
    assert conserved(LEDGER["jfk-delays"] | change, 10) is holds


def test_bill_line_names_the_steps_that_it_rests_on() -> None:
    """The walk ends at a line only where the line's evidence holds the record's step."""
    steps = Evidence(
        source_topic="dept.transport.flights",
        topic_id="-",
        partition=2,
        pass_id=LIVE,
        agreement_version=1,
        first_step=3,
        last_step=7,
        steps=5,
        usage_partition=0,
        first_usage_offset=4,
        last_usage_offset=12,
        delivered=4,
    )
    line = BillLine(
        period="2026-11",
        agreement_id="jfk-delays",
        payer="airport-office",
        charge_basis="shadow",
        tariff="per-record@1",
        unit_price_micro_fen=300_000,
        delivered=4,
        charge_fen=0,
        shadow_fen=1,
        evidence=(steps,),
    )
    assert [line.names_step(topic="dept.transport.flights", partition=2, step=step) for step in (2, 3, 7, 8)] == [False, True, True, False]
    assert not line.names_step(topic="dept.transport.flights", partition=1, step=5)


def test_error_of_a_command_is_taken_over_with_code_and_problems() -> None:
    """What a child command refused is told as that command would tell it."""
    said = """progress: 1 of 2
{"error": {"code": "HUB-CONN-003", "title": "t", "message": "m", "fix": "f", "exit": 2,
"problems": []}}"""
    assert coded_error(said) is None
    whole = said.replace("2,\n", "2, ")
    error = coded_error(whole + "\nnot json\n")
    assert error is not None
    assert (error.code, error.message, error.fix) == ("HUB-CONN-003", "m", "f")
    assert coded_error('{"error": {"code": "NOT-OURS"}}') is None
