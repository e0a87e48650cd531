"""Pages of ``docs/reference`` as tests read them: headings, and tables whose first columns are the code's.

In such a table code decides the rows and the first columns, and a person writes what they mean. ``hold_table`` compares the first;
`make golden` writes them anew and keeps the words beside them. A row that is new there has ``?`` where its meaning must be written,
and no test passes until it is.
"""

import ast
import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from golden_files import VARIABLE

ROOT = Path(__file__).parents[1]
REFERENCE = "docs/reference"
UNWRITTEN = "?"
_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|[-:| ]+\|\Z")


class Table(NamedTuple):
    """A table of a page: where its rows stand, and their cells."""

    page: Path
    first_line: int
    rows: list[list[str]]


class Module(NamedTuple):
    """A module of the source, read once for all tests."""

    file: Path
    text: str
    nodes: tuple[ast.AST, ...]
    """Every node of its tree."""

    @property
    def name(self) -> str:
        """Return its dotted name."""
        return ".".join(self.file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @property
    def strings(self) -> list[str]:
        """Return every text in it, docstrings too."""
        return [node.value for node in self.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """Return the modules of folders, those of the product where none is named."""
    found = []
    for folder in folders or ("connectors", "hub"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            found.append(Module(file, text, tuple(ast.walk(ast.parse(text)))))
    return tuple(found)


def headings(text: str) -> list[str]:
    """Return the headings of a page, without those in its code."""
    bare = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [found.strip() for found in re.findall(r"^#+ (.+)$", bare, re.MULTILINE)]


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def read_table(name: str, heading: str) -> Table:
    """Return the first table under ``heading`` of ``docs/reference/<name>``."""
    page = ROOT / REFERENCE / name
    lines = page.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line)]
    assert len(starts) == 1, f"{name} has {len(starts)} headings `{heading}`"
    for number, (line, after) in enumerate(pairwise(lines[starts[0] + 1 :]), starts[0] + 1):
        assert not line.startswith("#"), f"{name}: there is no table under `{heading}`"
        if line.startswith("|") and _RULE.match(after):
            rows = []
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append([cell.strip() for cell in _CELL.split(row)[1:-1]])
            return Table(page, number + 2, rows)
    raise AssertionError(f"{name}: there is no table under `{heading}`")


def column(name: str, heading: str, place: int = 0) -> list[str]:
    """Return one column of a table, without back-ticks."""
    return [row[place].replace("`", "") for row in read_table(name, heading).rows]


def code(text: object) -> str:
    """Return ``text`` as a cell in back-ticks."""
    return f"`{text}`".replace("|", "\\|")


def hold_table(name: str, heading: str, wanted: Iterable[Sequence[str]]) -> None:
    """Hold that the table under ``heading`` has the rows ``wanted`` in its first columns, and words in all others."""
    expected = [list(row) for row in wanted]
    assert expected, "code gives no rows: this would hold nothing"
    table = read_table(name, heading)
    if os.environ.get(VARIABLE) == "write":
        _write(table, expected)
        table = read_table(name, heading)
    found = [row[: len(expected[0])] for row in table.rows]
    assert found == expected, f"{name}, `{heading}`: code says otherwise: `make golden`, then look at the difference"
    unwritten = [row[0] for row in table.rows if any(cell in {"", UNWRITTEN} for cell in row)]
    assert unwritten == [], f"{name}, `{heading}`: say what these mean"


def _write(table: Table, expected: list[list[str]]) -> None:
    lines = table.page.read_text(encoding="utf-8").splitlines()
    width = len(_CELL.split(lines[table.first_line - 2])) - 2
    size = len(expected[0])
    words = {row[0]: row[size:] for row in table.rows}
    fresh = [[*row, *words.get(row[0], [UNWRITTEN] * (width - size))] for row in expected]
    lines[table.first_line : table.first_line + len(table.rows)] = [f"| {' | '.join(row)} |" for row in fresh]
    table.page.write_text("\n".join(lines) + "\n", encoding="utf-8")
