"""`docs/reference/style.md` names what holds each rule; what is held here is what no tool holds."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
from reference_pages import ROOT, headings, modules, read_table

PAGE: Final = "style.md"
FUNCTION_LINES_MAX: Final = 60
FILE_LINES_MAX: Final = 500
EMPTY_NAMES: Final = re.compile(r"(?:utils?|helpers?|common|misc|managers?)\Z|Manager|Helper|Utils?\b")
_REASON: Final = r"\s*(?:- \S|\(\S|# \S)"
SUPPRESSION: Final = re.compile(
    rf"#\s*(?:noqa(?!: [A-Z]+\d+(?:, [A-Z]+\d+)*{_REASON})|type: ignore(?!\[[a-z-]+(?:, ?[a-z-]+)*\]{_REASON}))"
)
"""One without a rule's code, or without a reason."""


def rules() -> list[tuple[str, str]]:
    """Return every rule of the page and what holds it."""
    text = (ROOT / "docs/reference" / PAGE).read_text(encoding="utf-8")
    return [(row[0], row[1]) for name in headings(text)[1:] for row in read_table(PAGE, name).rows]


@pytest.mark.parametrize(("rule", "holder"), rules(), ids=lambda value: value[:60])
def test_what_holds_a_rule_is_there(rule: str, holder: str) -> None:
    """A rule that names a test which is gone is held by nobody."""
    assert is_there(holder), rule


def is_there(holder: str) -> bool:
    """Tell whether a test, a folder, a door or a rule of ruff is what a row says; `review` is a person."""
    if holder == "review":
        return True
    found = re.fullmatch(r"(?:ruff )?`([^`]+)`", holder)
    if found is None:
        return False
    if holder.startswith("ruff "):
        return is_selected(found[1])
    if found[1].startswith("make "):
        return re.search(rf"^{found[1].removeprefix('make ')}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE) is not None
    path, _, name = found[1].partition("::")
    return (ROOT / path).exists() and (not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"))


def is_selected(rule: str) -> bool:
    """Tell whether ruff holds a rule in the product."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    known = subprocess.run([Path(sys.executable).with_name("ruff"), "rule", rule], capture_output=True, check=False).returncode == 0
    return known and settings["lint"]["select"] == ["ALL"] and rule not in settings["lint"]["ignore"]


@pytest.mark.parametrize(
    "holder", ["`tests/unit/test_house.py::test_nothing`", "`make nothing`", "ruff `COM812`", "ruff `X999`", "somebody", ""]
)
def test_what_holds_nothing_is_found(holder: str) -> None:
    """The positive control."""
    assert not is_there(holder)


def test_numbers_of_the_page_are_those_of_the_settings() -> None:
    """The line and the arguments."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    text = (ROOT / "docs/reference" / PAGE).read_text(encoding="utf-8")
    assert f"at most {settings['line-length']} characters" in text
    assert f"a function has at most {settings['lint']['pylint']['max-args']}" in text
    assert f"at most {FUNCTION_LINES_MAX} lines, a file of the product {FILE_LINES_MAX}" in text


def too_long(text: str) -> list[str]:
    """Return the functions of a module that are longer than one may be."""
    found = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.name for node in found if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX]


def test_functions_and_files_are_small() -> None:
    """What does not fit on a screen is read by nobody."""
    python = [*(ROOT / "hub").rglob("*.py"), *(ROOT / "connectors").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert {str(file): long for file in python if (long := too_long(file.read_text(encoding="utf-8")))} == {}
    product = {module.name: module.text for module in modules()}
    product |= {str(file): file.read_text(encoding="utf-8") for file in (ROOT / "native/src").rglob("*.rs")}
    assert len(product) > 200
    assert [name for name, text in product.items() if len(text.splitlines()) > FILE_LINES_MAX] == []


@pytest.mark.parametrize(("lines", "found"), [(FUNCTION_LINES_MAX - 1, []), (FUNCTION_LINES_MAX, ["f"])])
def test_a_function_that_is_too_long_is_found(lines: int, found: list[str]) -> None:
    """The positive control, at the bound and one past it."""
    assert too_long("def f():\n" + "    x = 1\n" * lines) == found


def test_no_name_says_nothing() -> None:
    """What lies in `utils` belongs to nobody."""
    files = [module.file.stem for module in modules()]
    classes = [node.name for module in modules() for node in module.nodes if isinstance(node, ast.ClassDef)]
    assert len(classes) > 300
    assert [name for name in (*files, *classes) if EMPTY_NAMES.search(name)] == []
    assert all(EMPTY_NAMES.search(name) for name in ("utils", "helpers", "TopicManager", "KeyHelper"))


def test_every_suppression_says_why() -> None:
    """A rule that is switched off without a reason stays off for ever."""
    guilty = [
        f"{module.name}:{number}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if SUPPRESSION.search(line)
    ]
    assert guilty == []
    assert all(SUPPRESSION.search(line) for line in ("x  # noqa", "x  # noqa: S101", "x  # type: ignore", "x  # type: ignore[misc]"))
    assert not any(
        SUPPRESSION.search(line) for line in ("x  # noqa: S101 - why", "x  # noqa: A1, B2 (why)", "x  # type: ignore[a-b]  # why")
    )


def test_every_room_says_what_it_is() -> None:
    """The first line is read by whoever looks for where a thing belongs; a room with modules also says what it owns."""
    said = {module.file: ast.get_docstring(module.nodes[0]) or "" for module in modules() if module.file.name == "__init__.py"}
    assert len(said) > 15
    assert [str(file.relative_to(ROOT)) for file, text in said.items() if not text] == []
    top = {file: text for file, text in said.items() if file.parent.parent == ROOT / "hub"}
    assert [str(file.relative_to(ROOT)) for file, text in top.items() if "Owns " not in text] == []
