"""What the command line prints: data on stdout, talk on stderr; tables for people, JSON for programs.

A command takes ``ctx: typer.Context`` and ``as_json: JsonFlag = False``, gets its settings from ``session(ctx).settings`` and
ends in one ``emit`` or ``table``. It raises ``HubError`` for whatever a person has to mend: ``hub.cli.main`` prints it and exits
with the code of its family.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import msgspec
import typer

from hub.model.errors import HubError
from hub.observe.progress import Progress, progress

if TYPE_CHECKING:
    from hub.settings import Settings

__all__ = ["JsonFlag", "Progress", "Session", "emit", "error_lines", "error_value", "progress", "say", "session", "table"]

LANGUAGES: Final = ("en", "zh")
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; errors as JSON on stderr.")]

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {"error": "error", "help": "help", "where": "where", "field": "field", "message": "what", "fix": "fix"},
    "zh": {"error": "错误", "help": "办法", "where": "位置", "field": "键", "message": "问题", "fix": "办法"},
}


class Session:
    """What one call of the command line was told before its noun: where the state and the settings are, and which language."""

    def __init__(self, *, state: Path | None = None, config: Path | None = None, lang: str = "en") -> None:
        """Keep the flags; the settings are read when a command asks for them."""
        self.state = state
        self.config = config
        self.lang = lang

    @cached_property
    def settings(self) -> "Settings":
        """The settings; HUB-CONF-001 and HUB-CONF-002 list every fault."""
        from hub.settings import load_settings  # noqa: PLC0415 - 0.3 s that --help need not pay

        found = load_settings(file=self.config, state=self.state)
        if found.broker.tls is not None:
            from hub.broker.security import secure  # noqa: PLC0415 - as above

            secure(found)
        return found

    @property
    def flags(self) -> list[str]:
        """The global flags again, to start another ``cityhub`` process with the same settings."""
        found: list[str] = ["--lang", self.lang]
        if self.config is not None:
            found += ["--config", str(self.config.absolute())]
        if self.state is not None:
            found += ["--state", str(self.state.absolute())]
        return found


def session(ctx: typer.Context) -> Session:
    """Return the session of the running command."""
    found = ctx.find_root().obj
    if not isinstance(found, Session):
        message = "a noun runs under hub.cli.main"
        raise TypeError(message)
    return found


def language(chosen: str | None = None) -> str:
    """Return ``chosen``, else ``CITYHUB_LANG``, else English; what is no language of ours is English."""
    asked = chosen or os.environ.get("CITYHUB_LANG", "")
    return "zh" if asked.lower().startswith("zh") else "en"


def emit(value: Any, *, as_json: bool) -> None:
    """Print ``value`` (structs, mappings, sequences, scalars) on stdout: one JSON document, or lines and tables for people."""
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    if as_json:
        _write(sys.stdout, json.dumps(plain, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
    elif isinstance(plain, list) and plain and all(isinstance(row, dict) for row in plain):
        columns = list(dict.fromkeys(key for row in plain for key in row))
        table("", columns, [[row.get(column) for column in columns] for row in plain])
    elif isinstance(plain, dict):
        table("", (), [(key, item) for key, item in plain.items()])
    else:
        _write(sys.stdout, "\n".join(map(_cell, plain)) if isinstance(plain, list) else _cell(plain))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, stream: TextIO | None = None) -> None:
    """Print rows under ``columns`` on stdout (or ``stream``): a ruled table on a terminal, aligned text elsewhere."""
    out = stream or sys.stdout
    cells = [[_cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[at], int | float) and not isinstance(row[at], bool) for row in rows) for at in _width(rows)]
    if out.isatty():
        _ruled(title, columns, cells, right, out)
    else:
        _write(out, _aligned(title, columns, cells, right))


def say(text: str) -> None:
    """Tell the person at the terminal something that is no data: on stderr. Nobody to tell, or no room for it, is no failure."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, text)


def error_value(error: HubError, *, lang: str) -> dict[str, Any]:
    """Return ``error`` for programs."""
    return {
        "error": {
            "code": error.code,
            "title": getattr(error.entry, lang),
            "message": error.message,
            "fix": error.fix,
            "problems": [msgspec.to_builtins(problem) for problem in error.problems],
            "exit": int(error.entry.exit),
        }
    }


def error_lines(error: HubError, *, lang: str) -> str:
    """Return ``error`` for people: code, title and cause, the table of its problems, and the fix on a line of its own."""
    words = _WORDS[lang]
    lines = [f"{words['error']} {error.code} {getattr(error.entry, lang)}: {error.message}"]
    if error.problems:
        columns = ("where", "field", "message", "fix")
        rows = [[getattr(problem, column) for column in columns] for problem in error.problems]
        lines.append(_aligned("", [words[column] for column in columns], rows, [False] * len(columns)))
    if error.fix:
        lines.append(f"{words['help']}: {error.fix}")
    return "\n".join(lines)


def _width(rows: Sequence[Sequence[Any]]) -> range:
    return range(max((len(row) for row in rows), default=0))


_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\u3000": "\u3000"}
"""How a cell of a table shows what would break its line."""


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _ESCAPES.get(letter, "\ufffd") for letter in str(value))


def _ruled(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], out: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415 - 30 ms that only a terminal has to pay
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    shown = Table(title=title or None, show_header=bool(columns), title_justify="left")
    for at, column in enumerate(columns or [""] * len(right)):
        shown.add_column(column, justify="right" if at < len(right) and right[at] else "left", overflow="fold")
    for row in cells:
        shown.add_row(*map(Text, row))
    Console(file=out).print(shown)


def _aligned(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    from rich.cells import cell_len  # noqa: PLC0415 - Chinese takes two columns a character; only tables need to know

    lines = [list(columns)] * bool(columns) + [list(row) for row in cells]
    widths = [max(cell_len(line[at]) for line in lines if at < len(line)) for at in range(max(map(len, lines), default=0))]

    def padded(text: str, at: int) -> str:
        space = " " * (widths[at] - cell_len(text))
        return space + text if at < len(right) and right[at] else text + space

    rendered = ["  ".join(padded(text, at) for at, text in enumerate(line)).rstrip() for line in lines]
    return "\n".join([title] * bool(title) + rendered)


def _write(out: TextIO, text: str) -> None:
    out.write(text + "\n")
    out.flush()
