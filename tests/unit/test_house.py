"""The house itself: what a room may import, which codes may be raised, and what must not stand in a file."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from citations import Said, faults_of, texts

from hub.model.errors import CODES, ExitCode

ROOT = Path(__file__).parents[2]
README_LINES_MAX = 240
SUITABLE_FOR_CONNECTORS = ("hub.locks", "hub.model", "hub.broker", "hub.observe")


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """Return (file, imported module) for every import below ``folder``, also those inside functions."""
    for file in sorted((ROOT / folder).glob("**/*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file.name, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield file.name, node.module


def test_the_oracle_imports_nothing_of_the_hub() -> None:
    """A reckoning that shared code with the hub would share its mistakes."""
    found = list(imports("tests/oracle"))
    assert found, "the oracle has moved: this test would hold nothing"
    guilty = [pair for pair in found if pair[1].split(".")[0] in {"hub", "connectors", "faust", "aiokafka"}]
    assert guilty == []


def test_connectors_import_only_what_they_may() -> None:
    """Also a room that is made later is closed to them until it is opened here."""
    for file, module in imports("connectors"):
        if module.split(".")[0] == "hub":
            assert module == "hub" or module.startswith(SUITABLE_FOR_CONNECTORS), (file, module)


def test_every_code_in_the_source_stands_in_the_catalogue() -> None:
    """A code that is raised and not catalogued would have no title, no exit code and no status."""
    used = {code for folder in ("hub", "connectors") for file in (ROOT / folder).glob("**/*.py") for code in _codes(file)}
    assert sorted(used - set(CODES)) == []


def _codes(file: Path) -> set[str]:
    return set(re.findall(r"HUB-[A-Z]+-\d{3}\b", file.read_text(encoding="utf-8")))


def test_titles_are_lower_case_and_in_both_languages() -> None:
    """As docs/reference/style.md wants them: no full stop, and real Chinese."""
    for code, entry in CODES.items():
        assert entry.en, code
        assert not entry.en.endswith("."), code
        assert re.search(r"[\u4e00-\u9fff]", entry.zh), code
        assert entry.exit is not ExitCode.OK, code
        assert 400 <= entry.status <= 599, code


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-demo.lock"])
def test_a_lock_has_hashes_and_names_no_host(name: str) -> None:
    """Where packages come from is the machine's affair; what they are is ours."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    blocks = re.sub(r"\\\n\s*", "", text).splitlines()
    pinned = [block for block in blocks if re.match(r"[a-z0-9]", block)]
    assert pinned
    assert [block.split()[0] for block in pinned if "==" not in block or "--hash=sha256:" not in block] == []


def test_the_lock_holds_every_dependency_that_the_project_declares() -> None:
    """Else `make setup` would install a project that does not start."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    for requirement in declared:
        name, version = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(?:==(\S+))?", requirement).groups()
        normal = re.sub(r"[-_.]+", "-", name).lower()
        assert normal in locked, f"{name}: run `make lock`"
        assert version is None or locked[normal] == version, f"{name}: run `make lock`"


def test_the_readmes_are_short_and_say_what_is_not_protected() -> None:
    """At most 240 lines, every exit code, and no silence about what is missing."""
    for name, words in (("README.md", "Not protected yet"), ("README.zh-CN.md", "尚未保护")):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= README_LINES_MAX, name
        assert words in text, name
        assert "read_committed" in text, name
        assert all(f"| {int(code)} |" in text for code in ExitCode), name


def test_what_the_architecture_points_at_exists() -> None:
    """A reader who follows a path finds a file."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:hub|connectors|tests|deploy|native)/[a-z0-9_/.-]+)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_setup_says_what_it_does_and_does_nothing_where_it_is_asked_wrongly() -> None:
    """`--help` ran the whole set-up."""
    setup = ROOT / "cityhub-setup"
    shown = subprocess.run([setup, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: ./cityhub-setup [native]" in shown.stdout
    assert shown.stderr == ""
    wrong = subprocess.run([setup, "nativ"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Usage" in wrong.stderr


def test_every_door_of_the_makefile_is_listed_and_real() -> None:
    """`make help` shows what there is; a script that a door calls exists."""
    shown = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    doors = set(re.findall(r"^  make (\S+)", shown, re.MULTILINE))
    assert {"setup", "demo", "up", "test", "check", "faults", "faults-controls", "revocation", "golden", "lock", "clean"} <= doors
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [script for script in re.findall(r"tests/\S+\.py", makefile) if not (ROOT / script).exists()] == []


def test_rooms_keep_their_layers() -> None:
    """The same contracts as `make check`, so that a test run finds a wrong import too."""
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_every_transaction_says_whether_it_reads_or_writes() -> None:
    """One that does not say so takes SQLite's write lock: whoever looks would keep a withdrawal waiting."""
    opens = re.compile(r"\b_?engine\.(begin|connect)\b")
    guilty = {}
    for file in (*sorted((ROOT / "hub").glob("**/*.py")), *sorted((ROOT / "connectors").glob("**/*.py"))):
        found = opens.findall(file.read_text(encoding="utf-8"))
        if found:
            guilty[file.relative_to(ROOT).as_posix()] = found
    assert guilty.pop("hub/store/engine.py") == ["connect", "begin", "connect"]
    assert guilty.pop("hub/store/lease.py") == ["connect"], "the connection that holds the advisory lock writes nothing"
    assert guilty == {}


def test_what_texts_cite_is_in_the_repository() -> None:
    """A page, a heading, a law, a file or a name that is not there sends a reader nowhere."""
    said = list(texts())
    assert {".py", ".rs", ".md", ".avsc"} <= {one.file.suffix for one in said}
    assert any("docs/reference/shapes.md" in one.text for one in said), "nothing is cited: this would hold nothing"
    assert [f"{one.place}: {fault}" for one in said for fault in faults_of(one)] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Source: SHAPES.", "SHAPES is a page of a plan, and not in the repository"),
        ("see docs/reference/laws.md", "there is no page docs/reference/laws.md"),
        ('see docs/reference/shapes.md "Topics" and "Tropics"', 'docs/reference/shapes.md has no heading "Tropics"'),
        ('see docs/reference/shapes.md\n"Tropics"', 'docs/reference/shapes.md has no heading "Tropics"'),
        ("laws 1-99 hold", "there is no law 99"),
        ("``hub.model.names.Nobody`` does it", "there is no hub.model.names.Nobody"),
        ("``hub.nowhere`` does it", "there is no hub.nowhere"),
        ("in `hub/nowhere.py`", "there is no file hub/nowhere.py"),
    ],
)
def test_what_a_text_cites_and_is_not_there_is_found(text: str, fault: str) -> None:
    """The positive control."""
    assert list(faults_of(Said(ROOT / "hub" / "app.py", 1, text))) == [fault]


@pytest.mark.parametrize(
    "text", ['docs/reference/shapes.md "Topics" and "Usage steps"', "law 3", "``hub.model.names.Names.dept``", "``hub.plan``"]
)
def test_what_a_text_cites_and_is_there_passes(text: str) -> None:
    """A check that refuses everything would hold nothing either."""
    assert list(faults_of(Said(ROOT / "hub" / "app.py", 1, text))) == []
