"""``cityhub schema``: the schemas of datasets and of what agreements deliver."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.client import ServeClient, read_text
from hub.cli.output import JsonFlag, emit, say, session, table
from hub.cli.reading import reading
from hub.model.errors import HubError

app = typer.Typer(no_args_is_help=True)


@app.command()
def register(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="`<org>/<dataset>`, as `transport/flights`.")],
    file: Annotated[Path, typer.Argument(help="Avro schema, `.avsc`.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Register a schema as the next version of a dataset's records.

    It must pass the gate, be compatible with every earlier version, and keep what live agreements grant: every field, and what it means.
    Registering a version again changes nothing: the newest stays the newest.

    Example: `cityhub schema register transport/flights avro_schemas/transport/flight/v2.avsc`
    """
    settings = session(ctx).settings
    sent = {"dataset": dataset, "schema": read_text(file, code="HUB-SCHEMA-001")}
    found = ServeClient(settings).post("v1", "schemas", body=sent, dry_run=dry_run)
    if as_json:
        emit(found, as_json=True)
        return
    said = "would be" if dry_run and found["new"] else "is"
    stays = "" if found["newest"] in (None, found["version"]) else f"; version {found['newest']} stays the newest"
    say(f"subject {found['subject']}: version {found['version']} {said} {'new' if found['new'] else 'known'}{stays}")
    table("", (), [("id", None if dry_run and found["new"] else found["schema_id"]), ("version", found["version"])])


@app.command("list")
def list_schemas(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List every subject with its versions.

    Example: `cityhub schema list`
    """
    from hub.catalogue.registry import Registry  # noqa: PLC0415 - SQL, which `--help` does not need

    settings = session(ctx).settings
    registry = Registry(scope=settings.scope)
    with reading(settings) as connection:
        found = [version for subject in registry.subjects(connection) for version in registry.versions(connection, subject)]
    rows = [{"subject": row.subject, "version": row.version, "id": row.schema_id} for row in found]
    if as_json:
        emit(rows, as_json=True)
    else:
        table("", ("subject", "version", "id"), [list(row.values()) for row in rows])


@app.command()
def show(ctx: typer.Context, schema_id: Annotated[int, typer.Argument(help="Schema id.")], as_json: JsonFlag = False) -> None:
    """Show the schema of an id, and the subjects that it stands under.

    Example: `cityhub schema show 1`
    """
    from hub.catalogue.registry import Registry  # noqa: PLC0415 - SQL, which `--help` does not need

    settings = session(ctx).settings
    registry = Registry(scope=settings.scope)
    with reading(settings) as connection:
        text = registry.text(connection, schema_id)
        uses = registry.uses(connection, schema_id)
    if text is None:
        raise HubError("HUB-SCHEMA-003", f"schema {schema_id} is not known", "`cityhub schema list` shows those that are")
    schema: dict[str, Any] = json.loads(text)
    if as_json:
        emit({"id": schema_id, "uses": [{"subject": use.subject, "version": use.version} for use in uses], "schema": schema}, as_json=True)
        return
    say(f"schema {schema_id}: {', '.join(f'{use.subject} version {use.version}' for use in uses)}")
    columns = ("name", "type", "grade", "identifier", "title")
    table("", columns, [[_cell(field.get(column)) for column in columns] for field in schema["fields"]])


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
