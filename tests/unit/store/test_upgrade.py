"""A store that can grow: whatever hub made it, it is brought to the tables of this one with every row, or it stays what it was."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from old_stores import VERSIONS, OldStore, described, rows_of
from setuptools import find_packages
from sqlalchemy import Engine

import hub.app  # noqa: F401 - every room, with the tables it defines
from hub.ledger.periods import Period
from hub.ledger.preview import preview
from hub.ledger.show import show_chains, show_use
from hub.ledger.signed_terms import read_signed_terms
from hub.ledger.tariffs import released_tariffs
from hub.model.errors import HubError
from hub.store import backup
from hub.store.act_chain import walk
from hub.store.backup import backups
from hub.store.engine import METADATA, altering, open_engine, reading, writing
from hub.store.keys import load_trust_keys
from hub.store.migrations.history import HERE, VERSION_TABLE, History, number_of
from hub.store.tables import STORE_VERSION, acts, store_version
from hub.store.upgrade import require_current, standing, upgrade

GROWN = '''
"""A revision as a later hub may bring it: a column, a wider CHECK, and a table that others point to made anew."""
import sqlalchemy as sa
from alembic import op

revision = "9999_grown"
down_revision = "{newest}"


def upgrade():
    with op.batch_alter_table("agreements") as table:
        table.add_column(sa.Column("approved_by", sa.String(80)))
        table.drop_constraint("agreements_state", "check")
        table.create_check_constraint("agreements_state", "state IN ('draft', 'review', 'active', 'suspended', 'ended')")
    with op.batch_alter_table("schemas", {recreate}) as table:
        table.alter_column("text", nullable=True, existing_type=sa.Text)
    {more}
'''


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest) -> OldStore:
    """Give the store of each earlier version."""
    return OldStore(request.param)


@pytest.fixture
def engine(old: OldStore, store_url: str) -> Iterator[Engine]:
    """Give an old store on each kind of database."""
    made = old.write(store_url)
    yield made
    made.dispose()


@pytest.fixture
def fresh(store_url: str) -> Iterator[Engine]:
    """Give a new store on each kind of database."""
    made = open_engine(store_url)
    upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def other_url(store_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Give a second empty database of the same kind."""
    if store_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'other.sqlite3'}"
    return str(request.getfixturevalue("postgres").new_database())


def as_json(value: object) -> Any:
    """Return a value as the old hub wrote it down."""
    return msgspec.json.decode(msgspec.json.encode(value))


def same_rows(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Return rows in an order of their own: neither kind of database promises one."""
    return {name: sorted(str(sorted(row.items())) for row in rows) for name, rows in found.items()}


def test_the_history_is_one_line_of_numbered_revisions() -> None:
    """Two heads would leave it to chance which tables a database gets."""
    history = History()
    assert [number_of(name) for name in history.names] == list(range(1, STORE_VERSION + 1))
    assert [script.down_revision for script in history.revisions] == [None, *history.names[:-1]]
    assert not any(script.is_merge_point or script.is_branch_point or script.branch_labels for script in history.revisions)
    assert [Path(str(script.path)).stem for script in history.revisions] == [f"r{name}" for name in history.names]


def test_the_revisions_are_part_of_what_is_installed() -> None:
    """A wheel without them could open no database."""
    root = HERE.parents[2]
    assert "hub.store.migrations.versions" in find_packages(str(root), include=["hub*"])


def test_revisions_import_nothing_of_the_hub() -> None:
    """What is done to a database must not change with the hub."""
    files = list((HERE / "versions").glob("r*.py"))
    assert len(files) == STORE_VERSION
    assert [
        file.name for file in files if "hub." in file.read_text(encoding="utf-8").replace("hub.usage", "").replace("hub.plan", "")
    ] == []


def test_a_new_store_has_the_tables_that_the_rooms_define(fresh: Engine, other_url: str) -> None:
    """The revisions are what makes a database; the definitions are what the code works with."""
    wanted = open_engine(other_url)
    with writing(wanted) as connection:
        METADATA.create_all(connection)
        defined = described(connection)
    with reading(fresh) as connection:
        made = described(connection)
    wanted.dispose()

    assert made.pop("triggers") != defined.pop("triggers"), "triggers stand in the revisions alone"
    made.pop(VERSION_TABLE)
    assert made == defined


def test_an_old_store_becomes_what_a_new_one_is(old: OldStore, engine: Engine, other_url: str) -> None:
    """Column by column, with every constraint, index and trigger; and every row is there, but the number of the version."""
    new = open_engine(other_url)
    upgrade(new)
    with reading(new) as connection:
        wanted = described(connection)
    new.dispose()

    done = upgrade(engine)

    assert (number_of(done.before), number_of(done.after)) == (old.version, STORE_VERSION)
    with reading(engine) as connection:
        assert described(connection) == wanted
        kept = tuple(name for name in old.tables if name != "store_version")
        assert same_rows(rows_of(connection, kept)) == same_rows({name: old.rows[name] for name in kept})
        assert connection.scalar(sa.select(store_version.c.version)) == STORE_VERSION
    assert upgrade(engine).run == ()
    assert standing(engine).pending == ()
    with pytest.raises(sa.exc.DBAPIError, match="acts only grow"), writing(engine) as connection:
        connection.execute(acts.delete())


def test_figures_and_bills_are_those_of_the_hub_that_wrote_them(old: OldStore, engine: Engine, tmp_path: Path) -> None:
    """Held to what the old hub's own code said of its ledger, before the tables were touched."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "trust.keys").write_text(old.trust_keys, encoding="utf-8")
    upgrade(engine)

    hours = as_json(show_use(engine, scope=old.scope, agreement=None, by_hour=True))
    for row in (*hours["rows"], *old.figures["hours"]["rows"]):
        row["hour"] = row["hour"].removesuffix(" +08:00")  # which the first hub left out
    assert hours == old.figures["hours"]
    assert as_json(show_chains(engine, scope=old.scope, held_only=False)) == old.figures["chains"]
    trust = load_trust_keys(tmp_path / "keys")
    with reading(engine) as connection:
        terms = read_signed_terms(connection, scope=old.scope, trust=trust).require_sound()
    for consumer, bill in old.figures["bills"].items():
        period = Period.parse(old.period)
        found = preview(engine, scope=old.scope, consumer=consumer, period=period, terms=terms, tariffs=released_tariffs())
        assert as_json(found.bill) == bill
        assert found.bill.charge_fen > 0
    whole = walk(engine, trust=trust, signed_after=0 if old.version > 1 else None)
    assert (whole.broken, whole.head.seq) == (None, len(old.rows["acts"]))


def test_a_store_that_has_some_of_version_two_gets_the_rest(store_url: str) -> None:
    """Hubs of that version made what was missing, and noted nothing."""
    engine = OldStore(2).write(store_url)
    with altering(engine) as connection:
        connection.exec_driver_sql("DROP TABLE withdrawals")
    assert standing(engine).revision == "0001_first_tables"
    assert upgrade(engine).run[0] == "0002_tables_of_version_two"
    with reading(engine) as connection:
        assert sa.inspect(connection).has_table("withdrawals")
        assert len(rows_of(connection, ("act_signatures",))["act_signatures"]) == len(OldStore(2).rows["act_signatures"])
    engine.dispose()


def test_a_later_revision_may_change_tables_that_stand(fresh: Engine, tmp_path: Path) -> None:
    """A new column and a wider CHECK reach a database that has rows, and no constraint, key or row is lost on the way."""
    _fill(fresh)
    history = _grown(tmp_path, sqlite=fresh.dialect.name == "sqlite")
    with reading(fresh) as connection:
        before = described(connection)
        rows = rows_of(connection, ("agreements", "schemas", "subject_versions"))

    with altering(fresh) as connection:
        history.run(connection, history.names[-2], tell=lambda _: None)

    with reading(fresh) as connection:
        after = described(connection)
        grown = rows_of(connection, ("agreements", "schemas", "subject_versions"))
    assert "'review'" in after["agreements"]["checks"].pop("agreements_state")
    assert before["agreements"]["checks"].pop("agreements_state")
    assert after["agreements"]["columns"].pop("approved_by")[1] is True
    assert after["schemas"]["columns"].pop("text")[1] is True
    assert before["schemas"]["columns"].pop("text")[1] is False
    assert after == before
    for row in grown["agreements"]:
        assert row.pop("approved_by") is None
    assert same_rows(grown) == same_rows(rows)
    with pytest.raises(sa.exc.IntegrityError), writing(fresh) as connection:
        connection.exec_driver_sql("DELETE FROM schemas")  # others point to it, and that is enforced again


def test_a_revision_that_would_lose_a_trigger_or_a_row_changes_nothing(tmp_path: Path) -> None:
    """SQLite drops the triggers of a table that is made anew, and lets rows point to nothing meanwhile."""
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    upgrade(engine)
    _fill(engine)
    with reading(engine) as connection:
        before = described(connection)
    made_anew = "with op.batch_alter_table('acts', recreate='always'): pass"
    losses = ((made_anew, "trigger `acts_no_DELETE`"), ("op.execute('DELETE FROM schemas')", "points to one of `schemas`"))
    for number, (more, what) in enumerate(losses):
        history = _grown(tmp_path / str(number), sqlite=True, more=more)
        with pytest.raises(HubError, match=what) as refusal, altering(engine) as connection:
            history.run(connection, history.names[-2], tell=lambda _: None)
        assert refusal.value.code == "HUB-STORE-006"
        with reading(engine) as connection:
            assert described(connection) == before
    engine.dispose()


def _grown(folder: Path, *, sqlite: bool, more: str = "") -> History:
    shutil.copytree(HERE / "versions", folder / "grown" / "versions", ignore=shutil.ignore_patterns("__pycache__"))
    recreate = "recreate='always'" if sqlite else ""
    text = GROWN.format(newest=History().names[-1], recreate=recreate, more=more)
    (folder / "grown" / "versions" / "r9999_grown.py").write_text(text, encoding="utf-8")
    return History(folder / "grown")


def _fill(engine: Engine) -> None:
    known = OldStore(2).rows
    with writing(engine) as connection:
        for name in ("agreements", "schemas", "subject_versions", "schema_forms"):
            connection.execute(METADATA.tables[name].insert(), known[name])


@pytest.mark.parametrize("old", [1], indirect=True)
def test_two_that_upgrade_at_once_take_turns(engine: Engine, old: OldStore) -> None:
    """The second finds nothing to do."""
    gate = threading.Barrier(2)

    def run() -> tuple[str, ...]:
        other = open_engine(engine.url.render_as_string(hide_password=False))
        gate.wait()
        try:
            return upgrade(other).run
        finally:
            other.dispose()

    with ThreadPoolExecutor(2) as pool:
        found = sorted(future.result() for future in [pool.submit(run) for _ in range(2)])
    assert found == [(), History().names[old.version :]]


def test_the_copy_of_an_upgrade_stays_whatever_else_lies_beside_it(tmp_path: Path) -> None:
    """What a killed one left, an operator's own file, and a copy of a clock that was ahead: none of them may push it out."""
    file = tmp_path / "hub.sqlite3"
    engine = OldStore(VERSIONS[0]).write(f"sqlite:///{file}")
    ghosts = [tmp_path / f"hub.sqlite3.before-0001_first_tables-20990101T000000Z{ending}" for ending in (".draft", ".draft-journal")]
    own, ahead = tmp_path / "hub.sqlite3.before-repair", tmp_path / "hub.sqlite3.before-0001_first_tables-20990101T000000Z"
    for path in (*ghosts, own, ahead):
        path.write_bytes(b"left")

    done = upgrade(engine, keep=1)

    copy = Path(done.backup or "")
    assert sorted(path.name for path in tmp_path.iterdir() if "before" in path.name) == sorted([copy.name, own.name])
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_embedded_store_is_copied_before(version: int, tmp_path: Path) -> None:
    """Whole, beside it, for its owner only; and no more copies stay than asked for."""
    file = tmp_path / "hub.sqlite3"
    old = OldStore(version)
    engine = old.write(f"sqlite:///{file}")
    (tmp_path / "hub.sqlite3.before-0001_first_tables-20200101T000000Z").write_bytes(b"older")
    (tmp_path / "hub.sqlite3.before-0001_first_tables-20200102T000000Z").write_bytes(b"old")

    done = upgrade(engine, keep=2)

    copy = Path(done.backup or "")
    assert copy.name.startswith(f"hub.sqlite3.before-{done.run[0]}-20")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [path.name[-16:] for path in backups(file)] == [copy.name[-16:], "20200102T000000Z"]
    assert sorted(path.name for path in tmp_path.iterdir() if "before" in path.name) == sorted(path.name for path in backups(file))
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT version FROM store_version").fetchone() == (version,)
        assert connection.execute("SELECT count(*) FROM usage_hour").fetchone() == (len(old.rows["usage_hour"]),)
    restored = open_engine(f"sqlite:///{copy}")
    assert upgrade(restored).run == done.run, "a copy is a store: an older hub opens it, and this one upgrades it"
    restored.dispose()
    engine.dispose()


def test_nothing_is_upgraded_where_the_copy_has_no_room_or_is_not_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is the only way back."""
    engine = OldStore(1).write(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(backup.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
        with pytest.raises(HubError, match="nothing was changed") as refusal:
            upgrade(engine)
    assert refusal.value.code == "HUB-FILE-001"
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_rows", lambda database: {"acts": id(database)})
        with pytest.raises(HubError, match="does not hold what the database does") as refusal:
            upgrade(engine)
    assert refusal.value.code == "HUB-STORE-006"
    assert (standing(engine).revision, backups(tmp_path / "hub.sqlite3")) == ("0001_first_tables", [])
    assert list(tmp_path.glob("*.draft*")) == []
    assert upgrade(engine).run
    engine.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_disk_that_is_full_in_the_middle_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the look before was wrong: somebody else wrote meanwhile."""
    place = tmp_path / "small"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=512k tmpfs {place} 2>/dev/null") != 0:  # noqa: S605 - a path of this test
        pytest.skip("this sandbox mounts nothing")
    try:
        monkeypatch.setattr(backup, "_require_room", lambda _: None)
        engine = OldStore(1).write(f"sqlite:///{place / 'hub.sqlite3'}")
        (place / "filler").write_bytes(bytes(max(0, shutil.disk_usage(place).free - 64 * 1024)))
        with pytest.raises(HubError) as refusal:
            upgrade(engine)
        assert refusal.value.code in {"HUB-FILE-001", "HUB-STORE-001"}
        (place / "filler").unlink()
        assert (standing(engine).revision, backups(place / "hub.sqlite3")) == ("0001_first_tables", [])
        engine.dispose()
    finally:
        os.system(f"umount {place}")  # noqa: S605 - same


def test_a_store_of_a_newer_hub_is_refused(fresh: Engine) -> None:
    """By the number that every hub reads, and by the revision."""
    with writing(fresh) as connection:
        connection.execute(store_version.update().values(version=STORE_VERSION + 1))
    for ask in (standing, require_current, upgrade):
        with pytest.raises(HubError) as refusal:
            ask(fresh)
        assert refusal.value.code == "HUB-STORE-002"
    with writing(fresh) as connection:
        connection.execute(store_version.update().values(version=STORE_VERSION))
        connection.execute(sa.table(VERSION_TABLE, sa.column("version_num")).update().values(version_num="0099_later"))
    for ask in (standing, upgrade):
        with pytest.raises(HubError, match="0099_later") as refusal:
            ask(fresh)
        assert refusal.value.code == "HUB-STORE-002"


def test_a_database_that_is_nobodys_hub_is_left_alone(store_url: str) -> None:
    """Tables of our names that no hub made may hold anything."""
    engine = open_engine(store_url)
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE acts (n INTEGER)")
    with pytest.raises(HubError) as refusal:
        upgrade(engine)
    assert refusal.value.code == "HUB-STORE-005"
    engine.dispose()


def test_only_an_empty_embedded_store_is_made_by_who_reads(store_url: str) -> None:
    """An outside database is changed by nobody who was not told to."""
    engine = open_engine(store_url)
    if engine.dialect.name == "sqlite":
        require_current(engine)
        assert standing(engine).pending == ()
    else:
        with pytest.raises(HubError, match="revision `none`") as refusal:
            require_current(engine)
        assert (refusal.value.code, "cityhub db upgrade" in refusal.value.fix) == ("HUB-STORE-004", True)
        with reading(engine) as connection:
            assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


@pytest.mark.parametrize("old", [1], indirect=True)
def test_an_old_store_is_not_changed_by_who_reads(engine: Engine, old: OldStore) -> None:
    """A command that only looks makes no copies and holds no lease."""
    with pytest.raises(HubError) as refusal:
        require_current(engine)
    assert refusal.value.code == "HUB-STORE-004"
    assert number_of(standing(engine).revision) == old.version
