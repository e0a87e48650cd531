"""A bill is a function of usage, terms and tariffs: same in, same bytes out; rounded once per line; never collected by mistake."""

import random
from collections.abc import Iterable

import msgspec
import pytest
from ledger_steps import SCOPE, TOPIC, TOPIC_ID

from hub.ledger.periods import Period
from hub.ledger.rating import COLLECTED, SHADOW, Bill, Terms, rate
from hub.ledger.tally import HourKey, HourSums
from hub.ledger.tariffs import TariffBook, read_tariffs, released_tariffs
from hub.model.agreement import CHARGE_BASES, Agreement, Grant
from hub.model.errors import HubError

NOVEMBER = Period.parse("2026-11")
Usage = list[tuple[HourKey, HourSums]]
VERSIONS = """
tariffs:
  - {name: dated, version: 1, from: 2026-01-01, title: first price, unit_price_micro_fen: 300000}
  - {name: dated, version: 2, from: 2026-12-01, title: second price, unit_price_micro_fen: 500000}
"""


def agreement(agreement_id: str = "airline-delays", version: int = 1, **terms: str) -> Agreement:
    """Return terms of an industry consumer that pays, unless told otherwise."""
    named = {"consumer": "airline", "payer": "airline", "tariff": "per-record@1", "charge_basis": "guided_price"} | terms
    return Agreement(
        id=agreement_id,
        version=version,
        provider="transport",
        dataset="transport/flights",
        purpose="operations",
        legal_basis="local",
        valid_until_ms=2_000_000_000_000,
        fields=(Grant("carrier"),),
        **named,
    )


def terms_of(*found: Agreement) -> Terms:
    """Return terms by id and version."""
    return {(one.id, one.version): one for one in found}


def use(delivered: int, *, agreement_id: str = "airline-delays", version: int = 1, partition: int = 0, hour: int | None = None) -> Usage:
    """Return one hourly row."""
    when = NOVEMBER.hours.start if hour is None else hour
    key = HourKey(agreement_id, version, "live", str(TOPIC_ID), partition, when)
    step = when - NOVEMBER.hours.start + 1
    sums = HourSums(0, first_step=step, last_step=step, first_usage_offset=step, last_usage_offset=step, steps=1)
    sums.offsets = sums.delivered = delivered
    return [(key, sums)]


def bill(usage: Usage, terms: Terms, *, period: Period = NOVEMBER, tariffs: TariffBook | None = None, consumer: str = "airline") -> Bill:
    """Return the bill of ``consumer``."""
    book = tariffs or released_tariffs()
    return rate(usage, scope=SCOPE, consumer=consumer, period=period, terms=terms, tariffs=book, topics={str(TOPIC_ID): TOPIC})


def joined(*parts: Iterable[tuple[HourKey, HourSums]]) -> Usage:
    """Return rows of several parts."""
    return [row for part in parts for row in part]


def test_a_record_costs_its_tariff() -> None:
    """1,000 records at ¥0.003 are ¥3.00."""
    found = bill(use(1000), terms_of(agreement()))

    assert (found.lines[0].amount_micro_fen, found.lines[0].charge_fen, found.charge_fen) == (300_000_000, 300, 300)


def test_a_line_is_rounded_once_half_to_even() -> None:
    """Five half-fen hours are 2.5 fen and round to 2, not five times to 0."""
    tariffs = read_tariffs("tariffs: [{name: half, version: 1, from: 2026-01-01, title: half, unit_price_micro_fen: 500000}]", where="t")
    usage = joined(*(use(1, hour=NOVEMBER.hours.start + at) for at in range(5)))

    found = bill(usage, terms_of(agreement(tariff="half@1")), tariffs=tariffs)

    assert [line.charge_fen for line in found.lines] == [2]


def test_shadow_is_shown_and_not_collected() -> None:
    """Between departments statutory sharing is free of charge; its worth is shown all the same."""
    found = bill(use(1000), terms_of(agreement(charge_basis="shadow")))

    assert (found.lines[0].charge_fen, found.lines[0].shadow_fen, found.charge_fen, found.shadow_fen) == (0, 300, 0, 300)


def test_free_is_worth_nothing() -> None:
    """Neither shown nor collected; the use is still there."""
    line = bill(use(1000), terms_of(agreement(charge_basis="free"))).lines[0]

    assert (line.delivered, line.amount_micro_fen, line.charge_fen, line.shadow_fen) == (1000, 0, 0, 0)


def test_every_charge_basis_is_free_shadow_or_collected() -> None:
    """A new basis must not fall through to uncollected in silence."""
    assert {*COLLECTED, SHADOW, "free"} == set(CHARGE_BASES)


def test_versions_with_one_price_share_a_line() -> None:
    """A change of terms must not cost another rounding."""
    usage = joined(use(1), use(1, version=2), use(3, version=2, partition=1))

    lines = bill(usage, terms_of(agreement(), agreement(version=2))).lines

    assert [(line.agreement_versions, line.delivered) for line in lines] == [((1, 2), 5)]
    assert [(e.agreement_version, e.partition, e.delivered) for e in lines[0].evidence] == [(1, 0, 1), (2, 0, 1), (2, 1, 3)]


def test_versions_with_other_payers_are_other_lines() -> None:
    """Each payer pays for what was metered while it was the payer."""
    usage = joined(use(1000), use(2000, version=2))

    found = bill(usage, terms_of(agreement(payer="city-finance"), agreement(version=2)))

    assert found.charge_fen_by_payer == {"airline": 600, "city-finance": 300}


def test_use_outside_the_period_is_not_in_it() -> None:
    """The border is midnight in Shanghai, 16:00 UTC of the day before."""
    last = NOVEMBER.hours.stop - 1
    usage = joined(use(1, hour=NOVEMBER.hours.start - 1), use(10, hour=NOVEMBER.hours.start), use(100, hour=last), use(1000, hour=last + 1))

    assert bill(usage, terms_of(agreement())).lines[0].delivered == 110


def test_other_consumers_are_not_in_the_bill() -> None:
    """A bill shows its consumer's use only."""
    terms = terms_of(agreement(), agreement("parking-vehicles", consumer="parking-office", payer="parking-office"))
    usage = joined(use(5), use(7, agreement_id="parking-vehicles"))

    assert [line.agreement_id for line in bill(usage, terms).lines] == ["airline-delays"]


def test_a_bare_tariff_name_is_the_version_in_force_at_metering_time() -> None:
    """December's price does not reach back into November."""
    december = Period.parse("2026-12")
    usage = joined(use(1000), use(1000, hour=december.hours.start))
    terms, tariffs = terms_of(agreement(tariff="dated")), read_tariffs(VERSIONS, where="t")

    assert [line.tariff for line in bill(usage, terms, tariffs=tariffs).lines] == ["dated@1"]
    assert [line.charge_fen for line in bill(usage, terms, tariffs=tariffs, period=december).lines] == [500]


def test_a_numbered_tariff_is_that_version_for_ever() -> None:
    """An agreement that names a version keeps its price."""
    december = Period.parse("2026-12")
    usage = use(1000, hour=december.hours.start)

    found = bill(usage, terms_of(agreement(tariff="dated@1")), tariffs=read_tariffs(VERSIONS, where="t"), period=december)

    assert found.charge_fen == 300


def test_a_replay_gives_identical_bytes_whatever_the_order_of_rows() -> None:
    """Law 5: anybody with the same usage, terms and tariffs comes to the same bill."""
    terms = terms_of(agreement(), agreement(version=2), agreement("weather", charge_basis="shadow"))
    usage = joined(
        *(
            use(17 * at, agreement_id=name, version=version, partition=partition, hour=NOVEMBER.hours.start + at)
            for at in range(5)
            for partition in range(3)
            for name, version in (("airline-delays", 1), ("airline-delays", 2), ("weather", 1))
        )
    )
    once = msgspec.json.encode(bill(usage, terms))

    for seed in range(5):
        shuffled = random.Random(seed).sample(usage, len(usage))
        assert msgspec.json.encode(bill(shuffled, terms)) == once


def test_a_line_names_the_usage_steps_behind_it() -> None:
    """From a figure on a bill to the records of hub.usage, without asking anybody."""
    found = bill(joined(use(5), use(6, hour=NOVEMBER.hours.start + 9)), terms_of(agreement())).lines[0].evidence

    assert [(e.source_topic, e.partition, e.first_step, e.last_step, e.steps, e.delivered) for e in found] == [(TOPIC, 0, 1, 10, 2, 11)]


def test_usage_under_terms_that_nobody_has_is_an_error() -> None:
    """Guessing a price, or leaving use out, would both be wrong."""
    with pytest.raises(HubError, match="HUB-AGREE-002"):
        bill(use(1, version=9), terms_of(agreement()))
