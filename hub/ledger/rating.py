"""Rating: usage and terms in, bill lines out. A function of its arguments alone, so that a replay gives identical bytes.

One line per agreement, tariff version, payer and charge basis, over all versions of the agreement; rounded once per line.
What the charge basis means: ``free`` costs nothing, ``shadow`` is shown and not collected, the others are collected.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from hub.ledger.periods import TZ, Period, utc
from hub.ledger.tally import HourKey, HourSums
from hub.ledger.tariffs import TariffBook
from hub.model.agreement import Agreement
from hub.model.errors import HubError
from hub.model.money import round_to_fen
from hub.model.tariff import Tariff

Terms: TypeAlias = Mapping[tuple[str, int], Agreement]
"""Every version of every agreement, by agreement id and version."""

COLLECTED: Final = frozenset({"cost_allocation", "service_contract", "guided_price"})
SHADOW: Final = "shadow"
CURRENCY: Final = "CNY"


class Evidence(msgspec.Struct, frozen=True):
    """The usage steps behind a bill line, of one source partition, pass and agreement version."""

    source_topic: str
    topic_id: str
    partition: int
    pass_id: str
    agreement_version: int
    first_step: int
    last_step: int
    steps: int
    usage_partition: int
    first_usage_offset: int
    last_usage_offset: int
    delivered: int


class BillLine(msgspec.Struct, frozen=True):
    """What one agreement's use comes to under one tariff version."""

    agreement_id: str
    agreement_versions: tuple[int, ...]
    dataset: str
    provider: str
    purpose: str
    payer: str
    charge_basis: str
    tariff: str
    unit_price_micro_fen: int
    delivered: int
    bytes_delivered: int
    amount_micro_fen: int
    charge_fen: int
    """Collected."""
    shadow_fen: int
    """Shown, not collected."""
    evidence: tuple[Evidence, ...]


class Bill(msgspec.Struct, frozen=True):
    """What a consumer used in a period, and what of it is collected."""

    scope: str
    consumer: str
    period_id: str
    tz: str
    start_utc: str
    end_utc: str
    currency: str
    lines: tuple[BillLine, ...]
    charge_fen: int
    shadow_fen: int
    charge_fen_by_payer: dict[str, int]


class _LineKey(NamedTuple):
    agreement_id: str
    tariff: str
    payer: str
    charge_basis: str


class _Use(NamedTuple):
    key: HourKey
    sums: HourSums
    tariff: Tariff
    terms: Agreement


def rate(
    usage: Iterable[tuple[HourKey, HourSums]],
    *,
    scope: str,
    consumer: str,
    period: Period,
    terms: Terms,
    tariffs: TariffBook,
    topics: Mapping[str, str],
) -> Bill:
    """Return the bill of ``consumer`` for ``period`` over hourly ``usage`` in any order; ``topics`` names source topics by id.

    HUB-AGREE-002 where usage names an agreement version that ``terms`` does not have.
    """
    grouped: dict[_LineKey, list[_Use]] = {}
    for key, sums in usage:
        if key.hour not in period.hours:
            continue
        found = terms_of(terms, key)
        if found.consumer != consumer:
            continue
        tariff = tariffs.at(found.tariff, hour=key.hour)
        line = _LineKey(key.agreement_id, tariff.id, found.payer, found.charge_basis)
        grouped.setdefault(line, []).append(_Use(key, sums, tariff, found))
    lines = tuple(_line(key, grouped[key], topics) for key in sorted(grouped))
    payers = sorted({line.payer for line in lines})
    return Bill(
        scope=scope,
        consumer=consumer,
        period_id=period.period_id,
        tz=TZ,
        start_utc=utc(period.start_ms),
        end_utc=utc(period.end_ms),
        currency=CURRENCY,
        lines=lines,
        charge_fen=sum(line.charge_fen for line in lines),
        shadow_fen=sum(line.shadow_fen for line in lines),
        charge_fen_by_payer={payer: sum(line.charge_fen for line in lines if line.payer == payer) for payer in payers},
    )


def terms_of(terms: Terms, key: HourKey) -> Agreement:
    """Return the terms that usage was metered under; HUB-AGREE-002 where nobody has them."""
    found = terms.get((key.agreement_id, key.agreement_version))
    if found is None:
        raise HubError(
            "HUB-AGREE-002",
            f"usage was metered under agreement `{key.agreement_id}` version {key.agreement_version}, whose signed terms are not here",
            "restore the database of the hub that signed it; `cityhub serve --adopt-plan` brings back what hub.plan still holds",
        )
    return found


def _line(key: _LineKey, uses: list[_Use], topics: Mapping[str, str]) -> BillLine:
    tariff = uses[0].tariff
    newest = max(uses, key=lambda use: use.key.agreement_version).terms
    delivered = sum(use.sums.delivered for use in uses)
    amount = 0 if key.charge_basis == "free" else tariff.charge_micro_fen(delivered=delivered)
    fen = round_to_fen(amount)
    return BillLine(
        agreement_id=key.agreement_id,
        agreement_versions=tuple(sorted({use.key.agreement_version for use in uses})),
        dataset=newest.dataset,
        provider=newest.provider,
        purpose=newest.purpose,
        payer=key.payer,
        charge_basis=key.charge_basis,
        tariff=key.tariff,
        unit_price_micro_fen=tariff.unit_price_micro_fen,
        delivered=delivered,
        bytes_delivered=sum(use.sums.bytes_delivered for use in uses),
        amount_micro_fen=amount,
        charge_fen=fen if key.charge_basis in COLLECTED else 0,
        shadow_fen=fen if key.charge_basis == SHADOW else 0,
        evidence=tuple(_evidence(uses, topics)),
    )


def _evidence(uses: list[_Use], topics: Mapping[str, str]) -> Iterable[Evidence]:
    places: dict[tuple[str, int, str, int], list[HourSums]] = {}
    for use in uses:
        place = (use.key.topic_id, use.key.source_partition, use.key.pass_id, use.key.agreement_version)
        places.setdefault(place, []).append(use.sums)
    for (topic_id, partition, pass_id, version), sums in sorted(places.items()):
        yield Evidence(
            source_topic=topics.get(topic_id, ""),
            topic_id=topic_id,
            partition=partition,
            pass_id=pass_id,
            agreement_version=version,
            first_step=min(part.first_step for part in sums),
            last_step=max(part.last_step for part in sums),
            steps=sum(part.steps for part in sums),
            usage_partition=sums[0].usage_partition,
            first_usage_offset=min(part.first_usage_offset for part in sums),
            last_usage_offset=max(part.last_usage_offset for part in sums),
            delivered=sum(part.delivered for part in sums),
        )
