"""The command line: ``cityhub <noun> <verb>``.

Owns flags, tables, exit codes and the words that people read in a terminal. Does not own any rule: commands call the
application or ``cityhub serve`` and print what comes back. A noun is one module of this room and one line of ``NOUNS``; it is
imported only when it is called, so that ``cityhub --help`` stays quick. The module has ``app: typer.Typer``.

Exit codes: 0 ok, 1 handled failure, 2 usage or configuration, 3 denied by policy, 4 dependency down, 5 integrity failure,
130 interrupted.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from hub import __version__
from hub.cli.output import Session, error_lines, error_value, language, say
from hub.model.errors import CODES, ExitCode, HubError, of_system


class Noun(NamedTuple):
    """One noun of the command line."""

    name: str
    help: str
    alone: bool = False
    """The noun is a command itself and has no verbs."""


NOUNS: Final = (
    Noun("demo", "Real data across the hub in a folder of its own, with every figure checked.", alone=True),
    Noun("up", "Start broker, serve and one worker on the default ports.", alone=True),
    Noun("down", "Stop what `cityhub up --background` started.", alone=True),
    Noun("doctor", "Check this machine and this hub, and say what is not protected.", alone=True),
    Noun("serve", "Run registry, catalogue, agreements, API and ledger collector.", alone=True),
    Noun("worker", "Run workers of the exchange.", alone=True),
    Noun("connector", "Publish a department's CSV files into the hub."),
    Noun("dataset", "Publish and look at entries of the catalogue."),
    Noun("schema", "Register and look at schemas."),
    Noun("agreement", "Apply, sign, suspend, resume and end agreements."),
    Noun("exchange", "See where each lane stands; adopt a position."),
    Noun("acts", "See who did what, and verify that the record of it is whole."),
    Noun("db", "See and bring up to date the tables of the database."),
    Noun("ledger", "Look at the ledger and check it against the deliveries."),
    Noun("bill", "See what a consumer will be charged."),
)


class Nouns(TyperGroup):
    """The group of ``NOUNS``: lists them all, imports only the one that is called."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer's own class for the same object
        """Return the nouns in the order of the tuple."""
        del ctx
        return [noun.name for noun in NOUNS]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # same
        """Return a stand-in that has name and help; what is called is loaded by ``resolve_command``."""
        del ctx
        for noun in NOUNS:
            if noun.name == cmd_name:
                return TyperCommand(noun.name, callback=None, help=noun.help)
        return None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]  # same
        """Return the real command of ``args``; a usage error where there is no such noun."""
        self.commands = {noun.name: self.get_command(ctx, noun.name) for noun in NOUNS}
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, stand_in and load_noun(str(name)), rest


def load_noun(name: str) -> Any:
    """Import a noun and return its command; HUB-CLI-003 where this build does not have its module."""
    noun = next(noun for noun in NOUNS if noun.name == name)
    if find_spec(f"hub.cli.{name}") is None:
        raise HubError("HUB-CLI-003", f"module `hub.cli.{name}` is missing", "install a build that has it")
    app = importlib.import_module(f"hub.cli.{name}").app
    group = typer.main.get_group(app)
    command: Any = next(iter(group.commands.values())) if noun.alone else group
    command.name = name
    command.help = command.help or noun.help
    return command


app = typer.Typer(name="cityhub", cls=Nouns, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"cityhub {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    state: Annotated[Path | None, typer.Option(help="State folder; else CITYHUB_STATE, else `.cityhub`.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; else CITYHUB_CONFIG, else `cityhub.yaml` if there is one.")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of errors: en or zh; else CITYHUB_LANG.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Exchange data between the departments of a city: records cross under agreements, metered exactly."""
    del version
    ctx.obj = Session(state=state, config=config, lang=language(lang))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one call of the command line and exit the process with its code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one call of the command line; return its exit code. Errors are on stderr, as JSON where ``--json`` is among the arguments."""
    lang = language(_flag(arguments, "--lang"))
    as_json = "--json" in arguments
    try:
        answer = typer.main.get_command(app).main(arguments, prog_name="cityhub", standalone_mode=False)
    except HubError as error:
        return _report(error, lang=lang, as_json=as_json)
    except TyperException as error:
        if not arguments:
            say(error.format_message())
            return ExitCode.USAGE
        return _report(_usage(error), lang=lang, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: a code and a place to look, never a trace with values
        return _report(_coded(error, arguments), lang=lang, as_json=as_json)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else ExitCode.OK


def _flag(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of a global flag before the noun is known, so that also a usage error speaks the language asked for."""
    for at, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name and at + 1 < len(arguments):
            return arguments[at + 1]
    return None


def _report(error: HubError, *, lang: str, as_json: bool) -> int:
    say(json.dumps(error_value(error, lang=lang), ensure_ascii=False) if as_json else error_lines(error, lang=lang))
    return CODES[error.code].exit


def _usage(error: TyperException) -> HubError:
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "cityhub"
    message = error.format_message().rstrip(".")
    return HubError("HUB-CLI-001", message[:1].lower() + message[1:], f"`{path} --help` shows what it takes")


def _coded(error: Exception, arguments: Sequence[str]) -> HubError:
    """Return what the system or the database refused under its code, anything else as unexpected."""
    databases = sys.modules.get("sqlalchemy.exc")  # where it was not imported, it raised nothing
    if databases is not None and isinstance(error, databases.SQLAlchemyError):
        from hub.store.engine import refused_by_store  # noqa: PLC0415 - SQL, which only its failure has to pay for

        return refused_by_store(error)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return _refused_by_system(error, arguments)
    return _unexpected(error, _flag(arguments, "--state"))


def _refused_by_system(error: OSError, arguments: Sequence[str]) -> HubError:
    """Return what the operating system refused; the state folder is named where it happened there, any other file may be a value."""
    home = Path(_flag(arguments, "--state") or os.environ.get("CITYHUB_STATE", ".cityhub")).absolute()
    file = Path(os.fsdecode(error.filename)).absolute() if isinstance(error.filename, str | bytes | os.PathLike) else None
    ours = file is not None and (file == home or home in file.parents)
    return of_system(error, doing="use the state folder" if ours else "use a file", path=str(file) if ours else "")


def _unexpected(error: Exception, state: str | None) -> HubError:
    """Keep type and frames of ``error`` in a file; its text may hold values of records and is kept nowhere."""
    from hub.observe.logs import frames_of  # noqa: PLC0415 - 0.2 s that only a failure has to pay

    cause = type(error).__name__
    if os.environ.get("CITYHUB_DEBUG") == "1":
        raise error
    home = Path(state or os.environ.get("CITYHUB_STATE", ".cityhub"))
    folder = home / "traces"
    file = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        file.write_text("\n".join([cause, *frames_of(error.__traceback__), ""]), encoding="utf-8")
    except OSError:
        return HubError("HUB-CLI-002", f"unexpected {cause}", "run it again with CITYHUB_DEBUG=1 and report the trace")
    return HubError("HUB-CLI-002", f"unexpected {cause}", f"report `{file}`; CITYHUB_DEBUG=1 shows the whole trace")
