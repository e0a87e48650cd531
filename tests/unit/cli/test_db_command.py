"""`cityhub db`, as an operator uses it: what it says, what it exits with, and what a kill in the middle of an upgrade leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from old_stores import VERSIONS, OldStore, described, rows_of
from sqlalchemy import Engine

from hub.cli import run
from hub.locks import FileLock
from hub.settings import MASTER_KEY_EPOCH
from hub.store.act_chain import walk
from hub.store.engine import open_engine, reading, writing
from hub.store.keys import create_keys, load_trust_keys
from hub.store.tables import act_signatures, acts
from hub.store.upgrade import standing

NEWEST = "0003_leases"
STEPS = ("copied", "0002_tables_of_version_two", NEWEST, "done")


class State:
    """A state folder whose database an older hub left, on either kind of store."""

    def __init__(self, folder: Path, url: str, version: int, patch: pytest.MonkeyPatch) -> None:
        """Make it."""
        self.folder = folder / "state"
        self.folder.mkdir()
        self.embedded = url.startswith("sqlite")
        self.url = f"sqlite:///{self.folder / 'hub.sqlite3'}" if self.embedded else url
        self.old = OldStore(version)
        create_keys(self.folder / "keys", epoch=MASTER_KEY_EPOCH, comment="test")
        self.engine: Engine = self.old.write(self.url)
        patch.setenv("CITYHUB_STATE", str(self.folder))
        patch.setenv("CITYHUB_SCOPE", self.old.scope)
        if not self.embedded:
            patch.setenv("CITYHUB_LEDGER__URL", url)

    def say(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Call the command line; return its exit code, what it put out, and its error."""
        code = run([*words, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out or "{}"), json.loads(err or "{}").get("error", {})


@pytest.fixture
def state(request: pytest.FixtureRequest, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """Give a folder of version one, or of the version asked for."""
    made = State(tmp_path, store_url, getattr(request, "param", 1), monkeypatch)
    yield made
    made.engine.dispose()


def test_status_says_what_is_missing_and_upgrade_brings_it(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """What was run, and for the embedded store where the copy is."""
    code, found, error = state.say(capsys, "db", "status")
    assert (code, error["code"], found["revision"], found["newest"]) == (4, "HUB-STORE-004", "0001_first_tables", NEWEST)
    assert found["pending"] == ["0002_tables_of_version_two", NEWEST]

    code, planned, _ = state.say(capsys, "db", "upgrade", "--dry-run")
    assert (code, planned["run"], planned["dry_run"], planned["backup"]) == (0, found["pending"], True, None)
    assert standing(state.engine).revision == "0001_first_tables"

    code, done, _ = state.say(capsys, "db", "upgrade")
    assert (code, done["run"], done["after"]) == (0, found["pending"], NEWEST)
    assert (done["backup"] is not None) == state.embedded

    code, found, _ = state.say(capsys, "db", "status")
    assert (code, found["revision"], found["pending"]) == (0, NEWEST, [])
    assert found["backups"] == ([done["backup"]] if state.embedded else [])
    assert state.say(capsys, "db", "upgrade")[1]["run"] == []


def test_people_read_it_in_words(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """In the language asked for; a password is in neither."""
    assert run(["--lang", "zh", "db", "status"]) == 4
    out, err = capsys.readouterr()
    assert "0001_first_tables" in out
    assert "数据库版本低于程序" in err
    assert run(["db", "upgrade"]) == 0
    out, err = capsys.readouterr()
    assert NEWEST in out
    assert ("the database as it was" in err) == state.embedded
    assert run(["db", "upgrade"]) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("state", VERSIONS, indirect=True)
def test_an_upgrade_is_an_act(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """In the chain, and signed where acts are: else the anchor would not cover it."""
    assert state.say(capsys, "db", "upgrade")[0] == 0

    with reading(state.engine) as connection:
        rows = connection.execute(sa.select(acts).order_by(acts.c.seq.desc()).limit(2)).mappings().all()
        signed = set(connection.scalars(sa.select(act_signatures.c.act_id)))
    assert [(row["act"], row["outcome"]) for row in rows] == [("upgrade.store", "done"), ("upgrade.store", "intended")]
    assert rows[0]["reason"] == f"from {'0001_first_tables' if state.old.version == 1 else '0002_tables_of_version_two'} to {NEWEST}"
    assert {row["act_id"] in signed for row in rows} == {state.old.version > 1}
    with (state.folder / "keys" / "trust.keys").open("a", encoding="utf-8") as trust:
        trust.write(state.old.trust_keys)
    found = walk(state.engine, trust=load_trust_keys(state.folder / "keys"), signed_after=0 if state.old.version > 1 else None)
    assert (found.broken, found.head.seq) == (None, len(state.old.rows["acts"]) + 2)


def test_nobody_upgrades_under_a_serve_that_leads(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """It would write into tables that change."""
    leads = FileLock(state.folder / "serve.lock")
    assert leads.take()
    code, _, error = state.say(capsys, "db", "upgrade")
    assert (code, error["code"]) == (4, "HUB-STORE-007")
    assert standing(state.engine).revision == "0001_first_tables"
    leads.release()
    assert state.say(capsys, "db", "upgrade")[0] == 0


def test_who_only_looks_is_told(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that reads changes nothing of an old store, and says what does."""
    code, _, error = state.say(capsys, "acts", "list")
    assert (code, error["code"]) == (4, "HUB-STORE-004")
    assert "cityhub db upgrade" in error["fix"]


def test_serve_upgrades_the_embedded_store_alone(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """An outside database only when told: serve says so and ends, before it listens."""
    environment = {**os.environ, "CITYHUB_SERVE__PORT": "0", "CITYHUB_BROKER__BOOTSTRAP": "127.0.0.1:1"}
    command = [sys.executable, "-m", "hub.cli", "serve"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as serve:
        assert serve.stderr is not None
        said = next((line for line in serve.stderr if "serve_listening" in line or "HUB-STORE-004" in line), "")
        if state.embedded:
            serve.kill()  # it waits for a broker that is not there
    assert ("serve_listening" in said) == state.embedded
    assert (standing(state.engine).pending == ()) == state.embedded
    assert serve.returncode == (-signal.SIGKILL if state.embedded else 4)
    assert state.say(capsys, "db", "upgrade")[0] == 0


@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_that_is_killed_leaves_the_old_store_or_the_new(state: State, step: str, tmp_path: Path) -> None:
    """At every point: after the copy, before each revision, and before the commit. The next one does it all."""
    mark = tmp_path / "mark"
    if step == "copied" and not state.embedded:
        pytest.skip("an outside database is not copied by us")
    visit = STEPS.index(step) + (1 if state.embedded else 0)
    environment = {**os.environ, "CITYHUB_FAILPOINT": f"store.upgrade@{visit}=hang:{mark}"}
    with reading(state.engine) as connection:
        before = (described(connection), rows_of(connection, state.old.tables))
    process = subprocess.Popen([sys.executable, "-m", "hub.cli", "db", "upgrade"], env=environment)
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert json.loads(mark.read_text())["detail"] == step
    process.send_signal(signal.SIGKILL)
    process.wait()

    other = open_engine(state.url)
    with writing(other) as connection:  # the dead one's transaction is gone, with its locks
        assert (described(connection), rows_of(connection, state.old.tables)) == before
    other.dispose()
    assert run(["db", "upgrade"]) == 0
    assert standing(state.engine).pending == ()
    with reading(state.engine) as connection:
        kept = rows_of(connection, ("usage_hour", "plan_entries"))
    assert kept == {name: before[1][name] for name in kept}
