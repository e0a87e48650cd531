"""``cityhub exchange``: where each lane stands, and the way on for one that stopped."""

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.client import ServeClient
from hub.cli.output import JsonFlag, emit, say, session, table
from hub.model.errors import ExitCode

if TYPE_CHECKING:
    from hub.exchange.status import LaneStatus

app = typer.Typer(no_args_is_help=True)


@app.command()
def status(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Show the lanes of every published dataset: position, lag, step, and why one stands still. Exit 5 when one does.

    A lane stands still when its worker stopped it, when it would stop if it started now, and when no worker has it. `offset` is the
    next source offset to decide, `end` that of the topic, `lag` what lies between; `step` counts the lane's transactions; `plan offset`
    is that of the newest entry of hub.plan about its dataset which its last step was decided under, and differs from dataset to dataset.
    A lane that goes on may be named too, for what it denies to one consumer: of which offsets (HUB-LANE-014), or of which agreement
    that its worker cannot compile (HUB-AGREE-005, HUB-PLAN-002, HUB-KEY-002).

    Example: `cityhub exchange status`
    """
    from hub.app import Hub  # noqa: PLC0415 - half a second that --help need not pay

    with Hub(session(ctx).settings) as hub:
        rows = hub.lanes()
    if as_json:
        emit(list(rows), as_json=True)
    else:
        columns = ("lane", "offset", "end", "lag", "step", "plan offset", "stands still with", "denies with")
        cells = [
            (f"{row.topic}-{row.partition}", row.offset, row.end_offset, row.lag, row.step, row.plan_offset, *_named(row)) for row in rows
        ]
        table("", columns, cells)
        for row in rows:
            if row.code:
                say(f"{row.code} {row.cause}\n  help: {row.fix}")
    if any(row.code for row in rows):
        raise typer.Exit(ExitCode.INTEGRITY)


def _named(row: "LaneStatus") -> tuple[str, str]:
    """Return a lane's code in the column of what it means."""
    return ("", row.code or "") if row.goes_on else (row.code or "", "")


@app.command()
def adopt(
    ctx: typer.Context,
    lane: Annotated[str, typer.Argument(help="The lane, as `dept.transport.flights-2`.")],
    at: Annotated[int, typer.Option("--at", min=0, help="Source offset to go on from.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Let a stopped lane go on at an offset: an act, recorded.

    Never goes back behind what was delivered and metered. Offsets that are left out stand in the chain as lost.

    Example: `cityhub exchange adopt dept.transport.flights-2 --at 700 --dry-run`
    """
    found = ServeClient(session(ctx).settings).post("v1", "lanes", lane, "adopt", body={"at": at}, dry_run=dry_run)
    emit(found, as_json=as_json)
