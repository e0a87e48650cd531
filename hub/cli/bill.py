"""``cityhub bill``: what a consumer's use comes to."""

from typing import Annotated

import typer

from hub.app import Hub
from hub.cli.output import JsonFlag, emit, say, session, table
from hub.ledger.periods import Period
from hub.ledger.preview import Preview, preview
from hub.ledger.rating import SHADOW, BillLine, Evidence
from hub.ledger.tariffs import released_tariffs
from hub.model.money import yuan

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bill() -> None:
    """See what a consumer will be charged."""


@app.command("preview")
def preview_command(
    ctx: typer.Context,
    consumer: Annotated[str, typer.Option(help="Whose use.")],
    period: Annotated[str, typer.Option(help="Month in Asia/Shanghai, such as 2026-11.")],
    as_json: JsonFlag = False,
) -> None:
    """Show the bill of a period as the ledger stands, each line with the usage steps behind it.

    Example: `cityhub bill preview --consumer harbour-insurance --period 2026-11`
    """
    month = Period.parse(period)
    with Hub(session(ctx).settings) as hub:
        terms, tariffs = hub.signed_terms().require_sound(), released_tariffs()
        found = preview(hub.engine, scope=hub.names.scope, consumer=consumer, period=month, terms=terms, tariffs=tariffs)
    if as_json:
        emit(found, as_json=True)
    else:
        _print(found)


def _print(found: Preview) -> None:
    bill = found.bill
    columns = ("agreement", "dataset", "basis", "payer", "tariff", "records", "to pay", "shadow")
    rows = [
        (
            line.agreement_id,
            line.dataset,
            line.charge_basis,
            line.payer,
            line.tariff,
            line.delivered,
            yuan(line.charge_fen),
            yuan(line.shadow_fen),
        )
        for line in bill.lines
    ]
    table(f"{bill.consumer}, {bill.period_id} ({bill.tz}), {bill.currency}", columns, rows)
    table(
        "", ("agreement", "usage steps", "in hub.usage", "records"), [_shown(line, part) for line in bill.lines for part in line.evidence]
    )
    table("", (), [("to pay", yuan(bill.charge_fen)), ("shadow, not collected", yuan(bill.shadow_fen))])
    if not bill.lines:
        say(f"no use in {bill.period_id}; periods with use: {', '.join(found.periods) or 'none'}")
    if any(line.charge_basis == SHADOW for line in bill.lines):
        say("`shadow` is what use would cost and nobody pays: the charge basis of agreements whose file names no other")
    if len(bill.charge_fen_by_payer) > 1:
        table("", ("payer", "to pay"), [(payer, yuan(fen)) for payer, fen in bill.charge_fen_by_payer.items()])
    offsets = ", ".join(f"{partition}: {offset:,}" for partition, offset in sorted(found.usage_read_to.items()))
    say(f"a preview: hub.usage is read up to {offsets or 'nothing'}")
    if found.chains_held:
        say(f"not complete: {len(found.chains_held)} chains are held; see `cityhub ledger show --held`")
    if found.losses:
        say("hub.usage was lost in part: use that was not posted by then is in no bill; `cityhub ledger check` names what")


def _shown(line: BillLine, part: Evidence) -> tuple[str, str, str, int]:
    steps = f"{part.source_topic}-{part.partition} steps {part.first_step:,}–{part.last_step:,}"
    place = f"partition {part.usage_partition} offsets {part.first_usage_offset:,}–{part.last_usage_offset:,}"
    return line.agreement_id, steps, place, part.delivered
