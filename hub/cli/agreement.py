"""``cityhub agreement``: from a file to deliveries, and back."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hub.cli.client import ServeClient, read_text
from hub.cli.output import JsonFlag, emit, say, session, table
from hub.cli.reading import reading
from hub.model.errors import HubError
from hub.model.written import identifier

CONSEQUENCES: Final = {
    "sign": "delivery begins with what is published from now on; what stands in the dataset's topic already is not delivered",
    "suspend": "what is published until `cityhub agreement resume` is denied for good: a suspension is not caught up on",
    "resume": "delivery goes on with what is published from now on; what came meanwhile stays denied",
}
"""What an act means for records that its words do not tell."""

app = typer.Typer(no_args_is_help=True)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]
AgreementId = Annotated[str, typer.Argument(help="Id of the agreement, as `parking-vehicles`.")]


@app.command()
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Agreement, YAML.")],
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Check an agreement file and store it as a draft; every fault is listed at once.

    Example: `cityhub agreement apply parking-vehicles.yaml --dry-run`
    """
    sent = {"text": read_text(file, code="HUB-AGREE-001"), "file": file.name}
    _show(ServeClient(session(ctx).settings).post("v1", "agreements", body=sent, dry_run=dry_run), as_json=as_json)


@app.command()
def sign(ctx: typer.Context, agreement_id: AgreementId, dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Make a draft active: from now on it delivers.

    Example: `cityhub agreement sign parking-vehicles`
    """
    _move(ctx, agreement_id, "sign", dry_run=dry_run, as_json=as_json)


@app.command()
def suspend(ctx: typer.Context, agreement_id: AgreementId, dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Take a right away for now; the answer says per partition where it ended.

    Example: `cityhub agreement suspend parking-vehicles --json`
    """
    _move(ctx, agreement_id, "suspend", dry_run=dry_run, as_json=as_json)


@app.command()
def resume(ctx: typer.Context, agreement_id: AgreementId, dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Give a suspended right back.

    Example: `cityhub agreement resume parking-vehicles`
    """
    _move(ctx, agreement_id, "resume", dry_run=dry_run, as_json=as_json)


@app.command()
def end(ctx: typer.Context, agreement_id: AgreementId, dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """End an agreement for good; the answer says per partition where the right ended.

    Example: `cityhub agreement end parking-vehicles --dry-run`
    """
    _move(ctx, agreement_id, "end", dry_run=dry_run, as_json=as_json)


@app.command("list")
def list_agreements(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List every version of every agreement.

    Example: `cityhub agreement list`
    """
    rows = _read(ctx)
    if as_json:
        emit(rows, as_json=True)
        return
    columns = ("id", "version", "state", "consumer", "dataset", "purpose", "valid_until", "tariff")
    table("", columns, [[row[column] for column in columns] for row in rows])


@app.command()
def show(ctx: typer.Context, agreement_id: AgreementId, as_json: JsonFlag = False) -> None:
    """Show every version of one agreement, newest first: terms, the state in effect, and where its right ended.

    Example: `cityhub agreement show parking-vehicles`
    """
    rows = list(reversed(_read(ctx, agreement_id)))
    if not rows:
        fix = "`cityhub agreement list` shows those that are"
        raise HubError("HUB-AGREE-002", f"agreement `{identifier(agreement_id)}` is not known", fix)
    if as_json:
        emit(rows, as_json=True)
        return
    for row in rows:
        withdrawals = row.pop("withdrawals")
        table("", (), [(key, value) for key, value in row.items() if not key.endswith("_ms")])
        for found in withdrawals:
            say(f"{found['act']} at {found['at']}, plan offset {found['plan_offset']}:")
            _show_partitions(found["partitions"])


def _read(ctx: typer.Context, agreement_id: str | None = None) -> list[dict[str, Any]]:
    """Return what is shown of every agreement, or of one with every withdrawal."""
    from hub.agreements.shelf import Shelf  # noqa: PLC0415 - SQL, which `--help` does not need
    from hub.agreements.withdrawals import agreement_views  # noqa: PLC0415 - same

    settings = session(ctx).settings
    with reading(settings) as connection:
        rows = [row for row in Shelf(scope=settings.scope).all(connection) if agreement_id in {None, row.terms.id}]
        return agreement_views(connection, rows, scope=settings.scope, agreement_id=agreement_id)


def _move(ctx: typer.Context, agreement_id: str, step: str, *, dry_run: bool, as_json: bool) -> None:
    client = ServeClient(session(ctx).settings)
    _show(client.post("v1", "agreements", agreement_id, step, dry_run=dry_run), as_json=as_json)
    if step in CONSEQUENCES and not as_json:
        say(CONSEQUENCES[step])


def _show(change: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(change, as_json=True)
        return
    say(f"agreement {change['id']} version {change['version']}: {change['outcome']}")
    table("", (), [(key, change[key]) for key in ("state", "dataset", "share_topic", "plan_offset", "seconds")])
    if change["partitions"]:
        _show_partitions(change["partitions"])


def _show_partitions(rows: list[dict[str, Any]]) -> None:
    say("the right ended in each partition at:")
    columns = ("partition", "source_offset", "share_end_offset")
    table("", columns, [[row[column] for column in columns] for row in rows])
