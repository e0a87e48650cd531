"""``cityhub db``: where the tables of the store stand, and bringing them up to date."""

from typing import Annotated

import typer

from hub.cli.output import JsonFlag, emit, say, session, table
from hub.store.private import keep_private

app = typer.Typer(no_args_is_help=True)


@app.command()
def status(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Show the revision of the database's tables, what it lacks, and which copies were made. Exit 4 where it lacks something.

    The embedded database (SQLite) is brought up to date by `cityhub up` and `cityhub serve`, after a copy beside it. Another one is
    changed by `cityhub db upgrade` alone: back it up first with its own tools.

    Example: `cityhub db status --json`
    """
    from hub.store.engine import open_engine  # noqa: PLC0415 - SQL, which `--help` does not need
    from hub.store.upgrade import behind, standing  # noqa: PLC0415 - same

    engine = open_engine(session(ctx).settings.store_url)
    try:
        found = standing(engine)
        where = engine.url.render_as_string(hide_password=True)
    finally:
        engine.dispose()
    if as_json:
        emit({"database": where, "revision": found.revision, "newest": found.newest, "embedded": found.embedded, "pending": found.pending,
              "backups": found.backups}, as_json=True)  # fmt: skip
    else:
        rows = [("database", where), ("revision", found.revision or "none: it is empty"), ("newest known", found.newest)]
        rows += [("lacks", name) for name in found.pending] + [("copy", path) for path in found.backups]
        table("", (), rows)
    if found.pending:
        raise behind(found)


@app.command()
def upgrade(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which revisions would be run, and change nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring the tables of the database to the newest revision: an act, recorded. All of it is done, or nothing.

    No serve may lead meanwhile: stop it first. The embedded database is copied before, beside itself (`ledger.backups_kept` copies stay);
    of another one make a backup with its own tools. There is no way back but that copy: an older hub refuses newer tables (HUB-STORE-002).

    Example: `cityhub db upgrade --dry-run`

    Example: `cityhub down && cityhub db upgrade && cityhub up --background`
    """
    from hub.state import bring_up_to_date  # noqa: PLC0415 - half a second that --help need not pay
    from hub.store.engine import open_engine  # noqa: PLC0415 - as above
    from hub.store.upgrade import Upgraded, standing  # noqa: PLC0415 - as above

    settings = session(ctx).settings
    if dry_run:
        engine = open_engine(settings.store_url)
        try:
            found = standing(engine)
        finally:
            engine.dispose()
        done = Upgraded(before=found.revision, after=found.newest, run=found.pending)
    else:
        keep_private(settings.state)
        done = bring_up_to_date(settings, told=True)
    if as_json:
        emit({"before": done.before, "after": done.after, "run": done.run, "backup": done.backup, "dry_run": dry_run}, as_json=True)
        return
    if not done.run:
        say(f"nothing to do: the database is at the newest revision, {done.after}")
        return
    table("", (), [("would run" if dry_run else "run", name) for name in done.run])
    if done.backup:
        say(f"the database as it was: {done.backup}")
