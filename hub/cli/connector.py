"""``cityhub connector``: a department's sources, from the first look at a file to exactly one record per row."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from hub.cli.output import JsonFlag, Progress, emit, progress, say, session, table
from hub.model.errors import HubError
from hub.model.names import dataset_parts, is_slug
from hub.store.private import keep_private

if TYPE_CHECKING:
    from connectors.kit.access import HubAccess
    from connectors.kit.contract import Definition, Finding, Limits
    from connectors.kit.runner import Runner, RunSummary

PREVIEW_ROWS_MAX: Final = 1_000
DISCOVER_ROWS_MAX: Final = 100_000
FORCE_AFTER: Final = 2
"""Signals after which a run ends at once; its transaction is then finished by the next run, or by its time-out."""

app = typer.Typer(no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="Connector file, YAML.")]


@app.command()
def spec(
    kind: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="A type of source; without it every type is listed.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the types of source, or every key that a connector file of one type may have.

    Example: `cityhub connector spec csv-file`
    """
    from connectors.kit.definition import HEAD, source_type, source_types  # noqa: PLC0415 - kafka takes 0.3 s that --help need not pay

    if kind is None:
        emit([{"type": name, "summary": found.SUMMARY} for name, found in source_types().items()], as_json=as_json)
        return
    settings = [msgspec.to_builtins(setting) for setting in (*HEAD, *source_type(kind).SETTINGS)]
    if as_json:
        emit({"type": kind, "settings": settings}, as_json=True)
        return
    rows = [[row["key"], row["kind"], "required" if row["required"] else row["default"], row["help"]] for row in settings]
    table(f"keys of a connector file of type {kind}", ("key", "kind", "default", "meaning"), rows)


@app.command()
def init(
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="A type of source, as `cityhub connector spec` lists them.")],
    dataset: Annotated[str, typer.Option(help="The dataset it will publish, `<org>/<dataset>`.")],
    out: Annotated[Path, typer.Option(help="File to write; an existing one is left alone.")],
    name: Annotated[str | None, typer.Option(help="Name of the connector; else the dataset's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file, write nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a connector file to start from.

    Example: `cityhub connector init csv-file --dataset transport/flights --out flights.yaml`
    """
    from connectors.kit.definition import source_type, template  # noqa: PLC0415 - as above

    _, slug = dataset_parts(dataset)
    chosen = slug if name is None else name
    if not is_slug(chosen):
        raise HubError("HUB-NAME-003", f"`{chosen}` is no name of a connector", "write lower-case letters, digits and dashes, at most 40")
    text = template(source_type(kind), name=chosen, dataset=dataset)
    if not dry_run:
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise HubError("HUB-CONN-001", f"`{out}` exists", "give another `--out`, or edit that file") from None
    if as_json:
        emit({"file": str(out), "written": not dry_run, "text": text}, as_json=True)
    elif dry_run:
        emit(text.rstrip("\n"), as_json=False)
    else:
        say(f"wrote {out}; next: `cityhub connector check {out}`")


@app.command()
def check(ctx: typer.Context, file: File, as_json: JsonFlag = False) -> None:
    """Try everything that `run` will need: file, broker, topic, schema, each file's encoding and header. Writes nothing.

    Example: `cityhub connector check flights.yaml`
    """
    from connectors.kit import verbs  # noqa: PLC0415 - as above

    definition = _definition(file)
    findings = list(verbs.check(definition, _access(ctx)))
    if as_json:
        emit({"connector": definition.name, "ok": all(found.ok for found in findings), "findings": findings}, as_json=True)
    else:
        table("", ("check", "ok", "detail", "fix"), [[found.check, found.ok, found.detail, found.fix] for found in findings])
    _raise_first(findings)


@app.command()
def discover(
    file: File,
    rows: Annotated[int, typer.Option(min=1, max=DISCOVER_ROWS_MAX, help="Rows to look at.")] = 1_000,
    as_json: JsonFlag = False,
) -> None:
    """Look at the source and propose an Avro schema: text stays text, what would also fit is shown beside it.

    Example: `cityhub connector discover flights.yaml --json`
    """
    from connectors.kit import verbs  # noqa: PLC0415 - as above

    found = verbs.discover(_definition(file), rows_max=rows)
    if as_json:
        emit(found, as_json=True)
        return
    columns = [[row.column, row.field, row.type, row.would_fit, row.nulls] for row in found.columns]
    table(f"{found.input}, {found.rows_seen:,} rows seen", ("column", "field", "type", "would fit", "nulls"), columns)
    if found.headings_like_values:
        say(
            f"{found.headings_like_values} of the headings look like values: put the names of the columns into the first line, first of all"
        )
    say("--json prints the schema; name the fields, and give each its grade and identifier, before you register it")


@app.command()
def preview(
    ctx: typer.Context,
    file: File,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=PREVIEW_ROWS_MAX, help="Rows to show.")] = 10,
    as_json: JsonFlag = False,
) -> None:
    """Encode the first rows as `run` would, and read them back. Publishes nothing; shows values, to whoever may see the file.

    Example: `cityhub connector preview flights.yaml -n 3`
    """
    from connectors.kit import verbs  # noqa: PLC0415 - as above

    found = verbs.preview(_definition(file), _access(ctx), rows_max=rows)
    if as_json:
        emit(found, as_json=True)
        return
    fields = next((list(row.record) for row in found if row.record is not None), [])
    head = ["row", "line", "partition", "key", "bytes", *fields, "set aside"]
    table("", head, [_preview_cells(row, fields) for row in found])


@app.command()
def run(
    ctx: typer.Context,
    file: File,
    once: Annotated[bool, typer.Option("--once", help="End when every input that is there is done.")] = False,
    give_up_rest: Annotated[bool, typer.Option("--give-up-rest", help="Leave the rest of an input that is gone or changed.")] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Publish every input again, where the position cannot be used any more.")] = False,
    metrics_port: Annotated[int | None, typer.Option(help="Instead of the file's `metrics_port`; 0: a free one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish every row exactly once, until SIGTERM or Ctrl-C; whatever is killed, the next run goes on where Kafka says.

    Rows that do not fit are set aside with a report, the rest goes on. Exit code 2 where a file was refused as a whole.

    Example: `cityhub connector run flights.yaml --once`
    """
    from connectors.kit.contract import TakeUp  # noqa: PLC0415 - as above
    from connectors.kit.runner import Runner, RunOptions  # noqa: PLC0415 - same
    from hub.observe.logs import configure_logs  # noqa: PLC0415 - same

    definition = _definition(file)
    access = _access(ctx)
    configure_logs(process="connector")
    keep_private(access.state)
    take_up = TakeUp.ANEW if anew else TakeUp.GIVE_UP_REST if give_up_rest else TakeUp.GO_ON
    with _progress(definition.dataset, once=once) as shown:
        options = RunOptions(once=once, take_up=take_up, limits=_limits(ctx))
        runner = Runner(definition, access, options=options, progress=shown)
        port = definition.metrics_port if metrics_port is None else metrics_port
        with _told_to_stop(runner) as interrupted, _health(runner, port, once=once):
            summary = runner.run()
    _show(summary, as_json=as_json)
    if interrupted.is_set():
        raise KeyboardInterrupt
    _raise_refused(summary)


def _definition(file: Path) -> "Definition":
    from connectors.kit.definition import load_definition  # noqa: PLC0415 - as above

    return load_definition(file)


def _access(ctx: typer.Context) -> "HubAccess":
    from connectors.kit.access import HubAccess  # noqa: PLC0415 - as above

    settings = session(ctx).settings
    return HubAccess(
        bootstrap=settings.broker.bootstrap or f"127.0.0.1:{settings.broker.port}",
        serve_url=settings.serve_url,
        names=settings.names,
        state=settings.state.absolute(),
        record_bytes_max=settings.exchange.record_bytes_max,
        transaction_timeout_ms=settings.exchange.transaction_timeout_ms,
    )


def _limits(ctx: typer.Context) -> "Limits":
    from connectors.kit.contract import Limits  # noqa: PLC0415 - as above

    bounds = session(ctx).settings.connector
    return Limits(rows_max=bounds.transaction_rows_max, bytes_max=bounds.transaction_bytes_max, seconds_max=bounds.transaction_ms / 1000)


class _Silent:
    """Progress of a service: its log and its metrics say how it goes."""

    def advance(self, count: int = 1) -> None:
        """Say nothing."""

    def update(self, done: int, *, total: int | None = None) -> None:
        """Say nothing."""


def _progress(dataset: str, *, once: bool) -> AbstractContextManager[Progress]:
    """Show how far it has come, to a person or for a run that ends; a service without a terminal writes its log alone."""
    if once or sys.stderr.isatty():
        return progress(f"publishing {dataset}", unit="rows")
    return nullcontext(_Silent())


@contextmanager
def _told_to_stop(runner: "Runner") -> Iterator[threading.Event]:
    """Let SIGTERM and Ctrl-C end the run after the transaction under way; the event says that it was Ctrl-C."""
    interrupted = threading.Event()
    told: list[int] = []

    def tell(number: int, _frame: Any) -> None:
        told.append(number)
        if number == signal.SIGINT:
            interrupted.set()
        if len(told) >= FORCE_AFTER:
            raise KeyboardInterrupt
        runner.stop()

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield interrupted
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _health(runner: "Runner", port: int | None, *, once: bool) -> Any:
    """Serve health and metrics while it runs; a run that ends by itself only where a port was asked for."""
    if port is None and once:
        return nullcontext()
    from hub.observe.health import HealthServer  # noqa: PLC0415 - as above

    server = HealthServer(port or 0, {"publishing": lambda: runner.trouble}, process="connector")
    say(f"health and metrics: http://127.0.0.1:{server.port}/readyz")
    return server


def _show(summary: "RunSummary", *, as_json: bool) -> None:
    if as_json:
        emit(summary, as_json=True)
        return
    columns = ("file", "outcome", "rows", "published", "set aside", "why")
    again = [row for row in summary.files if row.outcome == "seen_before" and row.same_as == row.input]
    rows = [[row.input, row.outcome, row.rows, row.published, row.set_aside, _why(row)] for row in summary.files if row not in again]
    if rows:
        table("", columns, rows)
    if again:
        say("1 file is as it was published before" if len(again) == 1 else f"{len(again):,} files are as they were published before")
    say(f"{summary.published:,} records of {summary.rows:,} rows to {summary.topic} in {summary.seconds:,.1f} s")


def _why(row: Any) -> str | None:
    if row.same_as is not None:
        return f"same content as {row.same_as}, published before"
    return row.reason or (f"see {row.report}" if row.report is not None else None)


def _preview_cells(row: Any, fields: list[str]) -> list[Any]:
    record = row.record or {}
    fault = row.fault if row.column is None or row.fault is None else f"{row.fault} in {row.column}"
    return [row.row, row.line, row.partition, row.key, row.bytes, *(record.get(name) for name in fields), fault]


def _raise_first(findings: "list[Finding]") -> None:
    failed = [found for found in findings if not found.ok]
    if failed:
        first = failed[0]
        raise HubError(
            first.code or "HUB-CONN-001", f"{len(failed)} of {len(findings)} checks failed, `{first.check}` first", first.fix or ""
        )


def _raise_refused(summary: "RunSummary") -> None:
    refused = [row for row in summary.files if row.outcome == "refused"]
    if refused:
        problems = tuple(problem for row in refused for problem in row.problems)
        message = f"{len(refused)} files were refused, `{refused[0].input}` first"
        raise HubError(refused[0].code or "HUB-CONN-002", message, "mend them, and drop them in again", problems=problems)
