"""``cityhub acts``: who did what, when and why, and whether the record of it is whole."""

from typing import Annotated, Final

import typer

from hub.cli.output import JsonFlag, emit, progress, say, session, table
from hub.model.errors import HubError

app = typer.Typer(no_args_is_help=True)
_COLUMNS: Final = ("seq", "at", "act", "object_id", "object_version", "outcome", "actor_person_id", "reason", "act_id")
_HEAD: Final = ("seq", "at (UTC)", "act", "object", "version", "outcome", "by", "reason", "id")


@app.command("list")
def list_command(
    ctx: typer.Context,
    object_id: Annotated[str | None, typer.Option("--object", help="Only acts on this object, such as an agreement's id.")] = None,
    act: Annotated[str | None, typer.Option(help="Only these acts: `suspend`, or `suspend.agreement`.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only `intended`, `done`, `refused` or `failed`.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this moment on, UTC unless it says otherwise: 2026-11-24.")] = None,
    before: Annotated[int | None, typer.Option(help="Only acts before this number, to read on.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Acts to show.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List what was done, newest first.

    Example: `cityhub acts list --object parking-vehicles`

    Example: `cityhub acts list --act suspend --outcome done --since 2026-11-01`
    """
    from hub.cli.reading import reading  # noqa: PLC0415 - SQL, which `--help` does not need
    from hub.store.act_views import ActFilter, find_acts  # noqa: PLC0415 - same

    settings = session(ctx).settings
    wanted = ActFilter(object_id=object_id, act=act, outcome=outcome, since=since, before=before)
    with reading(settings) as connection:
        page = find_acts(connection, scope=settings.scope, wanted=wanted, limit=limit)
    if as_json:
        emit(page, as_json=True)
        return
    table("", _HEAD, [[getattr(row, name) for name in _COLUMNS] for row in page.acts])
    if page.next_before is not None:
        say(f"older ones: --before {page.next_before}")


@app.command()
def show(
    ctx: typer.Context,
    act_id: Annotated[str, typer.Argument(help="Id of an act, as `cityhub acts list` prints it.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one act, from its intent to its outcome, with its hashes.

    Example: `cityhub acts show ACT`
    """
    from hub.cli.reading import reading  # noqa: PLC0415 - as above
    from hub.store.act_views import require_act  # noqa: PLC0415 - same

    settings = session(ctx).settings
    with reading(settings) as connection:
        rows = require_act(connection, act_id, scope=settings.scope)
    if as_json:
        emit(rows, as_json=True)
        return
    for row in rows:
        table("", (), [(name, getattr(row, name)) for name in row.__struct_fields__])


@app.command()
def verify(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Follow every act from the first to the last and hold them against their anchors; exits 5 where one was changed or is gone.

    Example: `cityhub acts verify`
    """
    from hub.app import Hub  # noqa: PLC0415 - half a second that --help need not pay

    with Hub(session(ctx).settings) as hub, progress("following acts", unit="acts") as shown:
        found = hub.verify_acts(tell=shown.update)
    if as_json:
        emit(found, as_json=True)
    else:
        rows = [("acts", found.acts), ("hash of the last", found.head), ("anchored up to act", found.anchored)]
        table("", (), rows)
        for note in found.notes:
            say(note)
    if found.code is not None:
        raise HubError(found.code, found.cause or "", found.fix)
