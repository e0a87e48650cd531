"""Every command that the product or its documents name can be given: the noun, the verb and each flag are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from hub.cli import NOUNS, app, load_noun

ROOT = Path(__file__).parents[3]
DOCUMENTS = (
    "README.md",
    "README.zh-CN.md",
    "ARCHITECTURE.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
)
PLACEHOLDER = re.compile(r"[A-Z…<{主源部偏].*|\.\.\.")


class Named(NamedTuple):
    """One command as it is named somewhere."""

    place: str
    words: tuple[str, ...]


def in_texts() -> Iterator[Named]:
    """Yield what stands in back-ticks in any text of the source: fixes, causes, help, docstrings."""
    for folder in ("hub", "connectors"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                    text = node.value
                else:
                    continue
                yield from named(text, f"{file.relative_to(ROOT)}:{node.lineno}")


def in_documents() -> Iterator[Named]:
    """Yield what documents name in back-ticks and in their consoles."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        yield from named(text, name)
        for line in re.findall(r"^\$ (cityhub .*)$", text, re.MULTILINE):
            yield from split(line.partition("#")[0], name)


def named(text: str, place: str) -> Iterator[Named]:
    """Yield the commands in back-ticks of ``text``."""
    for command in re.findall(r"`(cityhub [^`]+)`", text.replace("``", "`")):
        yield from split(command, place)


def split(command: str, place: str) -> Iterator[Named]:
    """Yield the commands of one line."""
    for part in command.split("&&"):
        words = tuple(part.split())
        if words and words[0] == "cityhub":
            yield Named(place, words[1:])


def fault_of(words: tuple[str, ...]) -> str | None:
    """Say what of a command is not there."""
    root: Any = typer.main.get_command(app)
    command, found = root, [word for word in words if not word.startswith("-")]
    if found and PLACEHOLDER.match(found[0]):
        return None
    if found:
        noun = next((noun for noun in NOUNS if noun.name == found[0]), None)
        if noun is None:
            return f"no noun `{found[0]}`"
        command = load_noun(noun.name)
        if not noun.alone and len(found) > 1:
            if PLACEHOLDER.match(found[1]):
                return None
            command = command.commands.get(found[1])
            if command is None:
                return f"no verb `{found[1]}` of `{found[0]}`"
    flags = {flag for known in (root, command) for parameter in known.params for flag in getattr(parameter, "opts", ())} | {"--help"}
    return next((f"no flag `{word}`" for word in words if word.startswith("--") and word.partition("=")[0] not in flags), None)


def test_every_command_that_is_named_can_be_given() -> None:
    """A fix that names a command that is not there is worse than none."""
    everything = [*in_texts(), *in_documents()]
    assert len({place for place, _ in everything}) > 30, "commands are named elsewhere: this test would hold nothing"
    wrong = {f"{place}: `cityhub {' '.join(words)}`: {fault}" for place, words in everything if (fault := fault_of(words)) is not None}
    assert sorted(wrong) == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("bill tariff", "no verb `tariff` of `bill`"),
        ("bil preview", "no noun `bil`"),
        ("agreement sign x --now", "no flag `--now`"),
        ("doctor --all", "no flag `--all`"),
        ("agreement sign x --dry-run", None),
        ("exchange adopt TOPIC --at OFFSET", None),
        ("<noun> <verb>", None),
        ("--help", None),
    ],
)
def test_a_command_that_is_not_there_is_found(command: str, fault: str | None) -> None:
    """The positive control."""
    assert fault_of(tuple(command.split())) == fault


def test_files_that_help_and_documents_name_are_there() -> None:
    """An example that is typed as it stands finds its file."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    texts |= {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in (ROOT / "hub" / "cli").rglob("*.py")}
    found = {
        (name, path) for name, text in texts.items() for path in re.findall(r"(?<![\w/.-])((?:deploy|docs|tests|native)/[\w/.-]*\w)", text)
    }
    assert len(found) > 10
    made = {"deploy/kafka/libs"}  # by ./cityhub-setup
    assert sorted((name, path) for name, path in found if path not in made and not (ROOT / path).exists()) == []


def test_doors_that_fixes_name_are_in_the_makefile() -> None:
    """`make setup` and its like."""
    doors = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    texts = [file.read_text(encoding="utf-8") for folder in ("hub", "connectors") for file in (ROOT / folder).rglob("*.py")]
    texts += [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    found = {door for text in texts for door in re.findall(r"`make ([a-z-]+)", text)}
    assert {"setup", "demo"} <= found
    assert found - doors == set()
