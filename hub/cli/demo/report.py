"""The summary that people read: what crossed, what it costs, one record's walk, and what to try next."""

from collections.abc import Sequence

from hub.cli.demo.figures import DISPOSITIONS, BillLine
from hub.cli.demo.play import FOLLOWED, Outcome
from hub.cli.demo.rates import TO_GET_NATIVE, told
from hub.cli.demo.stage import Stage
from hub.cli.demo.walk import Walk
from hub.cli.output import say, table
from hub.model.agreement import Agreement
from hub.model.money import yuan


def print_outcome(outcome: Outcome, stage: Stage) -> None:
    """Print the summary on stdout."""
    figures = outcome.figures
    table("published", ("dataset", "records"), list(outcome.published.items()))
    columns = ("agreement", "consumer", "published", *DISPOSITIONS, "reckoned")
    rows = [
        (
            one.id,
            one.consumer,
            outcome.published[_terms(outcome.agreements, one.id).dataset],
            *(getattr(one, name) for name in DISPOSITIONS),
            one.expected_delivered,
        )
        for one in figures.agreements
    ]
    table("\ndelivered, and reckoned apart from the hub", columns, rows)
    _print_bill(outcome.bill)
    if outcome.walk is not None:
        table("\none record's walk", (), [*_deliveries(outcome.walk, outcome.agreements), *_metered(outcome.walk, outcome.bill)])
    table("\nin short", (), _facts(outcome))
    if stage.keep:
        print_ways_on(stage)


def print_ways_on(stage: Stage) -> None:
    """Say how to look further at a hub that goes on running, and how to stop it."""
    rows = [
        (stage.shown("exchange", "status"), "where each lane stands"),
        (stage.shown("ledger", "show", "--by", "hour"), "usage by hour"),
        (stage.shown("bill", "preview", "--consumer", "harbour-insurance", "--period", stage.month), "the bill, with its usage steps"),
        (stage.shown("agreement", "suspend", "jfk-delays"), "take a right away, and see from which offset on"),
        (f"curl {stage.settings.serve_url}/subjects", "the schema registry; /docs shows the API"),
        (f"kafka consumers: {stage.bootstrap}, isolation.level=read_committed", "read `share.airport-office.jfk-delays`"),
        (stage.shown("down"), "stop everything"),
        (f"rm -r {stage.folder}", "and forget it"),
    ]
    table("\nit goes on running; to look further:", (), rows)


def tell_of_keep() -> None:
    """Say what to do after a demo that is over."""
    say("next: `cityhub demo --keep` leaves the hub running to look around; README, five minutes, is the same by hand")


def _print_bill(lines: Sequence[BillLine]) -> None:
    columns = ("agreement", "payer", "basis", "tariff", "records", "to pay", "shadow, not collected")
    rows = [
        (line.agreement_id, line.payer, line.charge_basis, line.tariff, line.delivered, yuan(line.charge_fen), yuan(line.shadow_fen))
        for line in lines
    ]
    total = (
        "",
        "",
        "",
        "",
        sum(line.delivered for line in lines),
        yuan(sum(line.charge_fen for line in lines)),
        yuan(sum(line.shadow_fen for line in lines)),
    )
    table(f"\nthe bill, {', '.join(sorted({line.period for line in lines}))}", columns, [*rows, total])


def _deliveries(walk: Walk, agreements: Sequence[Agreement]) -> list[tuple[str, str]]:
    rows = [("CSV", f"{walk.file} line {walk.line:,}"), ("published", f"{walk.topic}-{walk.partition} offset {walk.offset:,}")]
    for one in walk.deliveries:
        terms = _terms(agreements, one.agreement_id)
        if one.offset is None:
            rows.append((f"decided by {one.agreement_id}", "filtered: the row rule is not true"))
            continue
        form = ", ".join(grant.name if grant.transform == "keep" else f"{grant.name} ({grant.transform})" for grant in terms.fields)
        key = f"; key {one.key}" if one.key is not None else "; no key"
        rows.append((f"decided by {one.agreement_id}", f"delivered: {form}"))
        rows.append(("", f"{one.topic}-{walk.partition} offset {one.offset:,}{key}"))
    return rows


def _metered(walk: Walk, lines: Sequence[BillLine]) -> list[tuple[str, str]]:
    step = walk.usage
    place = f"{step.topic}-{step.partition} offset {step.offset:,}"
    span = f"step {step.step:,} of {walk.topic}-{walk.partition}, offsets {step.first_offset:,}–{step.next_offset - 1:,}"
    billed = [
        ("billed", f"{line.period}, {line.payer}: {line.delivered:,} records at {line.tariff}, {yuan(line.charge_fen)}")
        for line in lines
        if line.agreement_id == FOLLOWED and line.names_step(topic=walk.topic, partition=walk.partition, step=step.step)
    ]
    return [("metered", f"{place}: {span}, {step.delivered:,} delivered for {FOLLOWED}"), *billed]


def _facts(outcome: Outcome) -> list[tuple[str, str]]:
    figures, check = outcome.figures, outcome.ledger_check
    checked = (
        f"; three counts agree: {check['metered']:,} metered, {check['posted']:,} posted, {check['delivered']:,} delivered" if check else ""
    )
    return [
        ("conservation", f"{'holds' if figures.conservation else 'DOES NOT HOLD'}{checked}"),
        ("independent reckoning", "equal: counts and SHA-256 of every body and key, by partition" if not outcome.problems else "DIFFERS"),
        (
            "crossing",
            f"{figures.records_published:,} records in {outcome.crossing_s:.1f} s, {figures.crossing_records_per_s:,} a second",
        ),
        ("kernel", figures.kernel if figures.kernel_ratio is not None else f"{figures.kernel}; {TO_GET_NATIVE}"),
        ("in one thread, the same records", told(figures.kernels)),
        ("in all", f"{figures.seconds:.1f} s"),
    ]


def _terms(agreements: Sequence[Agreement], agreement_id: str) -> Agreement:
    return next(one for one in agreements if one.id == agreement_id)
