"""The tariff file is read strictly, and a reference that means nothing says what is near."""

import pytest

from hub.ledger.periods import Period, shown_hour
from hub.ledger.tariffs import read_tariffs, released_tariffs
from hub.model.errors import HubError


def test_the_released_tariff_per_record_is_three_tenths_of_a_fen() -> None:
    """Released prices never change: this test may only grow."""
    prices = {name: released_tariffs().at(name, hour=0).unit_price_micro_fen for name in released_tariffs().ids}

    assert prices == {"per-record@1": 300_000, "per-record-reduced@1": 100_000}


@pytest.mark.parametrize("reference", ["per-recrod@1", "per-record@2", "per-record@0", "per-record@", "Per-Record@1", "per-record@01"])
def test_an_unknown_tariff_is_refused_with_the_nearest_there_is(reference: str) -> None:
    """A slip of the pen in an agreement file costs a second, not a month."""
    with pytest.raises(HubError) as caught:
        released_tariffs().check(reference)

    assert caught.value.code == "HUB-LEDGER-004"
    assert caught.value.fix == "did you mean `per-record@1`?"


def test_what_resembles_nothing_gets_the_list() -> None:
    """There is always a way on."""
    with pytest.raises(HubError) as caught:
        released_tariffs().check("zzz")

    assert caught.value.fix == "there are: per-record@1, per-record-reduced@1"


def test_a_name_that_was_not_in_force_yet_is_refused() -> None:
    """No price is no price of zero."""
    with pytest.raises(HubError, match="HUB-LEDGER-004"):
        released_tariffs().at("per-record", hour=Period.parse("2025-12").hours.start)


@pytest.mark.parametrize(
    "text",
    [
        "tariffs: [{name: a, version: 1, from: 2026-01-01, title: t, unit_price_micro_fen: 1.5}]",
        "tariffs: [{name: a, version: true, from: 2026-01-01, title: t, unit_price_micro_fen: 1}]",
        "tariffs: [{name: a, version: 1, from: 2026-01-02, title: t, unit_price_micro_fen: 1}]",
        "tariffs: [{name: a, version: 1, from: 2026-01-01, title: t, unit_price_micro_fen: -1}]",
        "tariffs: [{name: a, version: 1, from: 2026-01-01, title: t, unit_price_micro_fen: 1, price: 2}]",
        "tariffs: [{name: a, version: 1, from: 2026-01-01, title: t}]",
        "tariffs: [nothing]",
        "tariffs: nothing",
        "prices: []",
        "[",
    ],
)
def test_a_tariff_file_with_a_fault_is_refused(text: str) -> None:
    """A price is not guessed."""
    with pytest.raises(HubError, match="HUB-CONF-001"):
        read_tariffs(text, where="tariffs.yaml")


def test_a_version_is_released_once() -> None:
    """Two prices under one id would make every bill a matter of luck."""
    row = "{name: a, version: 1, from: 2026-01-01, title: t, unit_price_micro_fen: 1}"

    with pytest.raises(HubError) as caught:
        read_tariffs(f"tariffs: [{row}, {row}]", where="tariffs.yaml")

    assert [problem.field for problem in caught.value.problems] == ["tariffs[1].version"]


def test_every_fault_is_listed_at_once() -> None:
    """Nobody mends a file one error at a time."""
    with pytest.raises(HubError) as caught:
        read_tariffs("tariffs: [{name: A, version: 0, titel: t, unit_price_micro_fen: x}]", where="tariffs.yaml")

    fields = [problem.field.removeprefix("tariffs[0].") for problem in caught.value.problems]
    assert fields == ["titel", "name", "version", "from", "title", "unit_price_micro_fen"]
    assert caught.value.problems[0].fix == "did you mean `title`?"


def test_a_period_is_a_month_in_shanghai() -> None:
    """Whole UTC hours, so that an hourly row lies in one period."""
    found = Period.parse("2026-12")

    assert (shown_hour(found.hours.start), shown_hour(found.hours.stop)) == ("2026-12-01 00:00 +08:00", "2027-01-01 00:00 +08:00")
    assert found.start_ms == 1_796_054_400_000
    assert Period.parse("2026-11").hours.stop == found.hours.start


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-1", "2026-11-01", "26-11", "november", "", "2026-11\n"])
def test_what_is_no_month_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(HubError, match="HUB-LEDGER-003"):
        Period.parse(text)
