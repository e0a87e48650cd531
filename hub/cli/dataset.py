"""``cityhub dataset``: entries of the catalogue."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.client import ServeClient, read_text
from hub.cli.output import JsonFlag, emit, say, session, table
from hub.cli.reading import reading
from hub.model.errors import HubError
from hub.model.names import dataset_parts
from hub.model.written import identifier

app = typer.Typer(no_args_is_help=True)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]
Dataset = Annotated[str, typer.Argument(help="`<org>/<dataset>`, as `transport/flights`.")]


@app.command()
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Dataset entry, YAML.")],
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Put a dataset entry into the catalogue and register its schema.

    The schema is looked for under `avro_schemas/`, upwards from the entry's folder, then in the working folder, then among those
    that the hub ships.

    Example: `cityhub dataset apply deploy/demo/datasets/flights.yaml`
    """
    text = read_text(file, code="HUB-DATASET-001")
    sent = {"text": text, "file": file.name, "schema": _schema_beside(file, text)}
    _show(ServeClient(session(ctx).settings).post("v1", "datasets", body=sent, dry_run=dry_run), as_json=as_json)


@app.command()
def publish(ctx: typer.Context, dataset: Dataset, dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Open a dataset for records: topics, lanes, and its entry in hub.plan.

    Example: `cityhub dataset publish transport/flights`
    """
    org, slug = dataset_parts(dataset)
    client = ServeClient(session(ctx).settings)
    _show(client.post("v1", "datasets", org, slug, "publish", dry_run=dry_run), as_json=as_json)


@app.command("list")
def list_datasets(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the catalogue.

    Example: `cityhub dataset list --json`
    """
    rows = _read(ctx)
    if as_json:
        emit(rows, as_json=True)
        return
    columns = ("dataset", "title", "state", "sharing", "level", "accountable_person")
    table("", ("dataset", "title", "state", "sharing", "level", "accountable"), [[row[column] for column in columns] for row in rows])


@app.command()
def show(ctx: typer.Context, dataset: Dataset, as_json: JsonFlag = False) -> None:
    """Show one entry of the catalogue, with its topic and subject.

    Example: `cityhub dataset show transport/flights`
    """
    names = session(ctx).settings.names
    row = next((row for row in _read(ctx) if row["dataset"] == dataset), None)
    if row is None:
        raise HubError("HUB-DATASET-003", f"dataset `{identifier(dataset)}` is not known", "`cityhub dataset list` shows those that are")
    emit({**row, "topic": names.dept(dataset), "subject": names.dept_subject(dataset)}, as_json=as_json)


def _read(ctx: typer.Context) -> list[dict[str, Any]]:
    from hub.catalogue.datasets import Catalogue, dataset_view  # noqa: PLC0415 - SQL, which `--help` does not need

    settings = session(ctx).settings
    with reading(settings) as connection:
        return [dataset_view(row) for row in Catalogue(scope=settings.scope).all(connection)]


def _schema_beside(file: Path, text: str) -> str | None:
    """Return the schema that an entry names, where it lies near the entry; serve reports what is wrong with the entry itself."""
    from hub.catalogue.entry_file import schema_path  # noqa: PLC0415 - YAML, which `--help` does not need

    path = schema_path(text)
    if path is None:
        return None
    for folder in (*file.absolute().parents, Path.cwd()):
        found = folder / "avro_schemas" / path
        if found.is_file():
            return read_text(found, code="HUB-SCHEMA-001")
    return None


def _show(change: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(change, as_json=True)
        return
    say(f"dataset {change['dataset']}: {change['outcome']}")
    table("", (), [(key, change[key]) for key in ("state", "topic", "subject", "schema_ids", "partitions", "plan_offset")])
