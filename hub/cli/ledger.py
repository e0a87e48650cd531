"""``cityhub ledger``: what was used, whether it agrees with what was delivered, and chains that wait for somebody."""

from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from hub.app import Hub
from hub.cli.client import ServeClient
from hub.cli.output import JsonFlag, emit, say, session, table
from hub.ledger.chain import Break, ChainId, way_on
from hub.ledger.check import Report, check
from hub.ledger.resume import DEADLINE_S
from hub.ledger.show import Stand, show_chains, show_use
from hub.ledger.signed_terms import KEEP_KEYS
from hub.model.errors import HubError, Problem

app = typer.Typer(no_args_is_help=True)


ACCEPT_WITHIN_S: Final = 60.0
"""How long keeping all that the ledger has of the partitions that lost something may take."""
RESUME_WITHIN_S: Final = DEADLINE_S + 10.0
"""How long a chain may take to be read again."""


class By(StrEnum):
    """What a row of ``ledger show`` is about."""

    AGREEMENT = "agreement"
    HOUR = "hour"
    CHAIN = "chain"


_USE = ("delivered", "filtered", "denied", "suppressed", "quarantined", "gaps", "lost", "bytes_delivered", "steps")
_CHAIN = ("chain", "source", "step", "next_offset", "metered_at", "state", "held_at", "held_reason")


@app.command("show")
def show_command(
    ctx: typer.Context,
    by: Annotated[By, typer.Option(help="One row per agreement version, per hour and agreement version, or per chain.")] = By.AGREEMENT,
    agreement: Annotated[str | None, typer.Option(help="Only this agreement.")] = None,
    held: Annotated[bool, typer.Option("--held", help="Only chains that are held.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show usage as the ledger has it, and up to which usage offset it has read.

    Example: `cityhub ledger show --by hour --agreement parking-vehicles`
    """
    with Hub(session(ctx).settings) as hub:
        scope = hub.names.scope
        if by is By.CHAIN or held:
            _print_stand(show_chains(hub.engine, scope=scope, held_only=held), _CHAIN, as_json=as_json)
            return
        stand = show_use(hub.engine, scope=scope, agreement=agreement, by_hour=by is By.HOUR)
        columns = ("agreement_id", "agreement_version", *(("hour",) if by is By.HOUR else ()), *_USE)
        _print_stand(stand, columns, as_json=as_json)


@app.command("check")
def check_command(
    ctx: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Count every share topic from its beginning.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Count usage steps, ledger and deliveries apart and compare them; exits 5 on any difference.

    Share topics are counted from where the last check that found no difference stood; `--full` counts them whole.

    Example: `cityhub ledger check --json`
    """
    settings = session(ctx).settings
    with Hub(settings) as hub:
        report = check(settings.bootstrap, names=hub.names, engine=hub.engine, signed=hub.signed_terms(), full=full)
    if as_json:
        emit(report, as_json=True)
    else:
        _print_report(report)
    if report.code is not None:
        raise HubError(
            report.code,
            f"{report.differences_found} differences",
            KEEP_KEYS if report.code == "HUB-KEY-004" else "stop billing, keep the topics, and follow each difference from its usage step",
            problems=_problems(report),
        )


@app.command("resume")
def resume_command(
    ctx: typer.Context,
    chain: Annotated[str, typer.Argument(help="`<topic id>/<partition>`, as `ledger show --by chain` prints it.")],
    dataset: Annotated[str | None, typer.Option(help="Whose topic it was, for a chain that is held because no dataset has it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Read a held chain again from where it was held: an act, recorded. Exits 5 where it is held again.

    Example: `cityhub ledger show --held`, then `cityhub ledger resume CHAIN` with a chain it names
    """
    settings = session(ctx).settings
    body = {"chain": str(ChainId.parse(chain)), "dataset": dataset}
    found = ServeClient(settings, timeout_s=RESUME_WITHIN_S).post("v1", "ledger", "resume", body=body)
    emit(found, as_json=as_json)
    if found["held_at"] is not None:
        raise HubError(
            "HUB-LEDGER-001",
            f"chain `{chain}` is held again at usage offset {found['held_at']}: {found['held_reason']}",
            way_on(ChainId.parse(chain), Break(found["held_reason"])),
        )


@app.command("accept-loss")
def accept_loss_command(
    ctx: typer.Context,
    loss: Annotated[str | None, typer.Argument(help="The loss to accept, as `--dry-run` prints it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what of hub.usage is lost, and change nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Let the ledger go on without a part of hub.usage that is lost for good: an act, recorded. Restore the broker's data if you can.

    What was posted stays posted and billed. Usage steps that were lost before they were posted are billed to nobody; a chain
    that lacks some is held at its next step, until `cityhub ledger resume` lets it go on. `ledger check` names the loss for ever.

    Example: `cityhub ledger accept-loss --dry-run`, then `cityhub ledger accept-loss LOSS` with the loss it names
    """
    if loss is None and not dry_run:
        raise HubError("HUB-CLI-001", "no loss was named", "`cityhub ledger accept-loss --dry-run` shows what is lost, and its name")
    client = ServeClient(session(ctx).settings, timeout_s=ACCEPT_WITHIN_S)
    found = client.post("v1", "ledger", "accept-loss", body={"loss": loss}, dry_run=dry_run)
    if as_json:
        emit(found, as_json=True)
    else:
        print_loss(found)


def print_loss(found: Any) -> None:
    """Say what of hub.usage is lost, as serve has answered it, and how to accept it or that it is accepted."""
    for part in found["partitions"]:
        again = part["how"] == "made again"
        unread = again or part["ledger_stands_at"] < part["lost_to"] or any(row["may_lack_steps"] for row in part["chains"])
        gone = f"all of topic {part['old_topic_id']}" if again else f"offsets {part['lost_from']:,} to {part['lost_to']:,}"
        say(f"hub.usage-{part['usage_partition']} was {part['how']}: {gone} is lost; topic {part['topic_id']} is there")
        say(
            f"  the ledger stood at {part['ledger_stands_at']:,} and goes on at {part['goes_on_at']:,}; "
            f"{part['delivered_posted']:,} delivered records stay posted; "
            + ("steps that were not posted may be lost" if unread else "every step that is gone was posted")
        )
        if part["chains"]:
            columns = ("chain", "source", "last_step", "next_offset", "last_metered_at", "lane_at", "may_lack_steps")
            table("", columns, [[row[name] for name in columns] for row in part["chains"]])
    if found["accepted"]:
        say(
            f"loss {found['loss']} is accepted, act {found['act']}; `cityhub ledger show --held` names chains that wait for `ledger resume`"
        )
    else:
        say(f"to accept it: `cityhub ledger accept-loss {found['loss']}`")


def _print_stand(stand: Stand, columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        emit(stand, as_json=True)
        return
    table("", [column.removeprefix("agreement_") for column in columns], [[getattr(row, name) for name in columns] for row in stand.rows])
    if any("gaps" in column for column in columns):
        say("gaps are offsets without a record, such as the marks that end transactions; nobody is billed for them")
    say(f"hub.usage is read up to {_offsets(stand.usage_read_to)}; {stand.chains_held} chains held, {stand.refused} records refused")


def _print_report(report: Report) -> None:
    rows: list[tuple[str, Any]] = [
        ("metered in usage steps", report.metered),
        ("posted in the ledger", report.posted),
        ("counted in share topics", report.delivered),
        ("unverifiable: gone, see below", report.unverifiable),
        ("delivered, usage steps lost", report.unmetered),
        ("records of hub.usage refused", report.refused),
        ("usage steps", report.steps),
        ("chains", report.chains),
        ("differences", report.differences_found),
    ]
    table("", ("delivered records", "count"), rows)
    for gone in report.unverifiable_partitions:
        say(f"{gone.where}: {gone.records:,} records of `{gone.agreement_id}` cannot be counted any more: {gone.why}")
    for loss in report.losses:
        where = f"topic {loss.old_topic_id}" if loss.how == "made again" else f"offsets {loss.lost_from:,} to {loss.lost_to:,}"
        say(f"hub.usage-{loss.usage_partition} was {loss.how}: {where} lost, the ledger stood at {loss.ledger_stood_at:,}; act {loss.act}")
    for gap in report.unmetered_offsets:
        say(f"{gap.chain}: source offsets {gap.first_offset:,} to {gap.next_offset:,} are in no usage step any more, billed to nobody")
    behind = {number: end for number, end in report.usage_read_to.items() if report.ledger_read_to.get(number, 0) < end}
    if behind:
        say(f"the ledger has read hub.usage up to {_offsets(report.ledger_read_to)} of {_offsets(report.usage_read_to)}")


def _problems(report: Report) -> tuple[Problem, ...]:
    return tuple(
        Problem(found.where, found.agreement_id or found.between, f"{found.between}: expected {found.expected}, found {found.found}", "")
        for found in report.differences
    )


def _offsets(positions: dict[int, int]) -> str:
    """Return positions in hub.usage for people."""
    return ", ".join(f"{partition}: {offset:,}" for partition, offset in sorted(positions.items())) or "nothing"
