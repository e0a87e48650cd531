"""What texts of the repository cite: pages and their headings, laws, names of the code, files. Each must be there.

Read are docstrings and comments of Python, comments of Rust, all texts of the product's own strings, and pages and schemas as a
whole. A page is cited by its path from the root of the repository or from the citing file's folder; a heading of it stands behind it
in double quotes: ``docs/reference/shapes.md "Usage steps"``.
"""

import ast
import importlib
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from reference_pages import ROOT, anchor, headings

ELSEWHERE: Final = re.compile(r"\b(?:SHAPES|DESIGN|STYLE)\b")
"""Pages of a plan, which are not in the repository."""
_PAGE: Final = re.compile(r'(?<![\w/:.*-])((?:[\w-][\w.-]*/)*[\w.-]+\.md)\b((?:(?: and)? "[^"]+")*)')
_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_LAW: Final = re.compile(r"\blaws? (\d+)(?:-(\d+))?\b")
_NAME: Final = re.compile(r"``((?:hub|connectors)(?:\.\w+)+)(?:\(\))?``")
_FILE: Final = re.compile(r"`((?:hub|connectors|tests|native|deploy|docs|avro_schemas)/[\w./-]*\w)`")
_TOPICS: Final = {"hub.plan", "hub.usage"}
_RECORD: Final = re.compile(r"hub\.[A-Z]\w+\Z")
"""Avro's full name of a record of the hub."""
_WHOLE: Final = (".md", ".avsc", ".json", ".yaml", ".yml", ".toml", ".sh", "")


class Said(NamedTuple):
    """A text and where it stands."""

    file: Path
    line: int
    text: str

    @property
    def place(self) -> str:
        """Return file and line."""
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def tracked() -> list[Path]:
    """Return the files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def texts() -> Iterator[Said]:
    """Yield every text in which something may be cited."""
    for file in tracked():
        name = file.relative_to(ROOT).as_posix()
        if file.suffix == ".py":
            yield from of_python(file, strings=name.startswith(("hub/", "connectors/")))
        elif file.suffix == ".rs":
            comments = re.findall(r"//.*", file.read_text(encoding="utf-8"))
            yield Said(file, 1, "\n".join(comments))
        elif file.suffix in _WHOLE:
            yield Said(file, 1, file.read_text(encoding="utf-8", errors="ignore"))


def of_python(file: Path, *, strings: bool) -> Iterator[Said]:
    """Yield comments and docstrings of a module, and with ``strings`` every text in it."""
    source = file.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Said(file, token.start[0], token.string)
    for node in ast.walk(ast.parse(source)):
        if strings and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Said(file, node.lineno, node.value)
        elif not strings and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Said(file, node.lineno, node.value.value)


def faults_of(said: Said) -> Iterator[str]:
    """Yield what a text cites that is not there."""
    text = re.sub(r"\s*\n\s*", " ", said.text) if said.file.suffix == ".py" else said.text
    yield from (f"{word[0]} is a page of a plan, and not in the repository" for word in ELSEWHERE.finditer(text))
    for path, cited in _PAGE.findall(re.sub(r"\[[^]]*\]\([^)]*\)", "", text)):
        page = next((place for place in (ROOT / path, said.file.parent / path) if place.is_file()), None)
        if page is None:
            yield f"there is no page {path}"
            continue
        known = headings(page.read_text(encoding="utf-8"))
        yield from (f'{path} has no heading "{heading}"' for heading in re.findall(r'"([^"]+)"', cited) if heading not in known)
    if said.file.suffix == ".md":
        yield from _links(said, text)
    for first, last in _LAW.findall(text):
        if not set(range(int(first), int(last or first) + 1)) <= laws():
            yield f"there is no law {last or first}"
    yield from (f"there is no {name}" for name in _NAME.findall(text) if not is_name(name))
    yield from (f"there is no file {path}" for path in _FILE.findall(text) if not (ROOT / path).exists() and not _is_made(path))


def _links(said: Said, text: str) -> Iterator[str]:
    for path, section in _LINK.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        page = (said.file.parent / path) if path else said.file
        if not page.exists():
            yield f"there is no {path}"
        elif section and section not in {anchor(heading) for heading in headings(page.read_text(encoding="utf-8"))}:
            yield f"{path or 'this page'} has no heading #{section}"


def laws() -> set[int]:
    """Return the numbers of the laws in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("\n## Laws\n")[2].partition("\n## ")[0]
    return {int(number) for number in re.findall(r"^(\d+)\. \*\*", text, re.MULTILINE)}


def is_name(name: str) -> bool:
    """Tell whether a dotted name is a module or something in one, at any depth; topics and records have dots too."""
    if name in _TOPICS or _RECORD.match(name):
        return True
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            if part not in getattr(found, "__annotations__", {}) and not hasattr(found, part):
                return False
            found = getattr(found, part, None)
        return True
    return False


def _is_made(path: str) -> bool:
    """Tell whether git does not keep a path: what a set-up makes, or a build."""
    return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0
