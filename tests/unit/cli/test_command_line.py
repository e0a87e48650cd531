"""The command line: exit codes, errors for people and for programs, and nouns that keep one shape."""

import errno
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hub.cli import NOUNS, Noun, load_noun, run
from hub.cli.output import Session, emit, error_lines, language, table
from hub.model.errors import HubError, Problem, of_system


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Walk the verbs below ``command``."""
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from commands(below, f"{path} {name}")
    else:
        yield path, command


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, so that no test finds a hub of someone's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CITYHUB_LANG", raising=False)
    monkeypatch.delenv("CITYHUB_DEBUG", raising=False)


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, exit 0."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cityhub ")


def test_help_lists_every_noun_without_importing_one() -> None:
    """Help is quick also where Kafka's clients, SQL and a web server are slow to import."""
    script = (
        "import sys; from hub.cli import run; code = run(['--help'])\n"
        "heavy = {'kafka', 'aiokafka', 'faust', 'sqlalchemy', 'fastapi', 'pydantic_settings'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert all(noun.name in found.stdout for noun in NOUNS)


def test_no_word_at_all_is_a_usage_error_that_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was asked; exit 2, so that a script sees it."""
    assert run([]) == 2
    assert "doctor" in "".join(capsys.readouterr())


def test_an_unknown_noun_is_a_usage_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """Typing errors happen."""
    assert run(["doctr"]) == 2
    said = capsys.readouterr().err
    assert "HUB-CLI-001" in said
    assert "'doctor'" in said


def test_a_usage_error_is_json_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read stderr too; stdout stays empty."""
    assert run(["doctor", "--nope", "--json"]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert json.loads(said)["error"]["code"] == "HUB-CLI-001"


def test_a_coded_error_exits_with_the_code_of_its_family(capsys: pytest.CaptureFixture[str]) -> None:
    """HUB-CONF is configuration: 2. Every fault of the file is in the table, each with its fix."""
    Path("cityhub.yaml").write_text("scop: '330100'\nbroker: {prt: 1}\n", encoding="utf-8")
    assert run(["doctor"]) == 2
    said = capsys.readouterr().err
    assert "HUB-CONF-002" in said
    assert "did you mean `scope`?" in said
    assert "did you mean `broker.port`?" in said
    assert said.rstrip().splitlines()[-1].startswith("help: ")


@pytest.mark.parametrize("asked", [["--lang", "zh"], ["--lang=zh"]])
def test_titles_are_in_the_language_asked_for(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Also those of errors that come before the noun runs."""
    Path("cityhub.yaml").write_text("scop: 1\n", encoding="utf-8")
    assert run([*asked, "doctor"]) == 2
    assert capsys.readouterr().err.startswith("错误 HUB-CONF-002 未知配置项: ")


def test_the_environment_chooses_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over it; what is no language of ours is English."""
    monkeypatch.setenv("CITYHUB_LANG", "zh_CN.UTF-8")
    assert language() == "zh"
    assert language("en") == "en"
    monkeypatch.setenv("CITYHUB_LANG", "fr")
    assert language() == "en"


def test_an_unexpected_failure_leaves_frames_in_a_file_and_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of an exception may hold a value of a record: it is neither shown nor kept."""

    def broken(_ctx: object) -> None:
        message = "浙A12345"
        raise KeyError(message)

    load_noun("doctor")
    monkeypatch.setattr("hub.cli.doctor.session", broken)
    assert run(["--state", str(tmp_path / "s"), "doctor"]) == 1
    said = capsys.readouterr().err
    assert "HUB-CLI-002" in said
    assert "KeyError" in said
    (trace,) = (tmp_path / "s" / "traces").iterdir()
    kept = trace.read_text(encoding="utf-8")
    assert str(trace) in said
    assert "doctor.py" in kept
    assert "浙A12345" not in said + kept


def test_what_the_system_refuses_has_a_code_and_names_the_state_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the state folder should be: no trace, no type of Python's, a way out."""
    (tmp_path / "s").write_text("", encoding="utf-8")
    assert run(["--state", str(tmp_path / "s" / "inner"), "up"]) == 4
    said = capsys.readouterr().err
    assert "HUB-FILE-002" in said
    assert f"cannot use the state folder `{tmp_path / 's' / 'inner'}`: a file stands where a folder must be" in said
    assert "unexpected" not in said


def test_every_kind_of_refusal_by_the_system_has_words_and_a_fix() -> None:
    """What is not known by its number is still coded; no file but ours is named."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EIO, errno.ELOOP):
        found = of_system(OSError(number, "words", "王小明.csv"), doing="write")
        assert found.code.startswith("HUB-FILE-"), number
        assert found.fix, number
        assert "王小明" not in str(found), number
    assert of_system(OSError(errno.ENOSPC, ""), doing="write").code == "HUB-FILE-001"


def test_ctrl_c_exits_130(tmp_path: Path) -> None:
    """A shell that waits for the command sees that it was interrupted."""
    script = (
        "import sys\n"
        "from hub.cli import output, run\n"
        "class Interrupted:\n"
        "    def __get__(self, *_): raise KeyboardInterrupt\n"
        "output.Session.settings = Interrupted()\n"
        "sys.exit(run(['doctor']))"
    )
    environment = {**os.environ, "CITYHUB_STATE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False).returncode == 130


def test_a_noun_that_this_build_lacks_fails_clearly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And the other nouns go on."""
    monkeypatch.setattr("hub.cli.find_spec", lambda _name: None)
    assert run(["ledger", "show"]) == 1
    assert "HUB-CLI-003" in capsys.readouterr().err


@pytest.mark.parametrize("noun", NOUNS, ids=[noun.name for noun in NOUNS])
def test_every_command_has_json_and_a_help_with_an_example(noun: Noun) -> None:
    """Programs can call everything; people see how. Nothing in the tuple of nouns is missing."""
    for path, command in commands(load_noun(noun.name), noun.name):
        flags = {flag for parameter in command.params for flag in getattr(parameter, "opts", ())}
        assert "--json" in flags or path in {"serve", "worker"}, path
        assert "Example" in inspect.cleandoc(command.help or ""), path


def test_a_session_is_told_again_to_children(tmp_path: Path) -> None:
    """`up` starts its processes with the settings that it was given."""
    found = Session(state=tmp_path, config=tmp_path / "c.yaml", lang="zh")
    assert found.flags == ["--lang", "zh", "--config", str(tmp_path / "c.yaml"), "--state", str(tmp_path)]


def test_emit_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Chinese stays readable, structs become objects."""
    emit({"problems": (Problem("a.yaml:1", "名称", "m", "f"),), "n": 1}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "problems": [{"where": "a.yaml:1", "field": "名称", "message": "m", "fix": "f"}],
        "n": 1,
    }


def test_tables_without_a_terminal_are_aligned_also_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    """A Chinese character takes two columns; numbers stand to the right."""
    table("用量", ("agreement", "delivered"), [("停车", 12), ("parking", 336_776)])
    assert capsys.readouterr().out == "用量\nagreement  delivered\n停车              12\nparking      336,776\n"


def test_an_empty_table_shows_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found is told as such."""
    table("", ("agreement", "state"), [])
    assert capsys.readouterr().out == "agreement  state\n"


def test_problems_stand_in_a_table_and_the_fix_apart() -> None:
    """All faults of a file at once, each with where and how."""
    error = HubError("HUB-AGREE-001", "2 faults", "mend each", problems=(Problem("a.yaml:3", "rows", "bad", "do x"),) * 2)
    assert error_lines(error, lang="en").splitlines() == [
        "error HUB-AGREE-001 agreement file is not valid: 2 faults",
        "where     field  what  fix",
        "a.yaml:3  rows   bad   do x",
        "a.yaml:3  rows   bad   do x",
        "help: mend each",
    ]


def test_a_noun_outside_main_is_refused() -> None:
    """Settings come from the session and from nowhere else."""
    from hub.cli.output import session  # noqa: PLC0415 - the one use

    bare = typer.Typer()

    @bare.command()
    def lonely(ctx: typer.Context) -> None:
        session(ctx)

    with pytest.raises(TypeError, match=r"hub\.cli\.main"):
        typer.main.get_command(bare).main([], standalone_mode=False)
