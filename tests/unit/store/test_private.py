"""The state folder is its owner's alone, also one that stood there before with wider rights."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.cli.checks import Status, run_checks
from hub.settings import Settings
from hub.store.engine import open_engine, writing
from hub.store.private import keep_private, open_to_others
from hub.store.upgrade import upgrade


@pytest.fixture(autouse=True)
def _mask() -> Iterator[None]:
    """Begin with the usual mask of a shell, whatever a test makes of it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of everything below ``folder``, and its own."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def old_state(folder: Path) -> Path:
    """Make a state folder as a careless hand leaves it: readable by everybody."""
    state = folder / "state"
    for name in ("keys", "logs", "connectors/cars/rejects", "broker/kafka"):
        (state / name).mkdir(parents=True)
    for name in (
        "hub.sqlite3",
        "hub.sqlite3-wal",
        "up.lock",
        "logs/serve.log",
        "connectors/cars/rejects/a.csv",
        "connectors/cars/files.json",
    ):
        (state / name).write_text("")
    return state


def test_what_others_could_read_is_closed(tmp_path: Path) -> None:
    """Terms, acts, ledger and rows set aside."""
    state = old_state(tmp_path)
    assert open_to_others(state)
    keep_private(state)
    assert open_to_others(state) == []
    found = modes(state)
    assert [name for name, mode in found.items() if mode & 0o077] == ["broker/kafka"], "closed as a whole, by the folder above"
    assert (found["."], found["hub.sqlite3"], found["connectors/cars/rejects/a.csv"]) == (0o700, 0o600, 0o600)


def test_what_is_written_from_then_on_is_closed_too(tmp_path: Path) -> None:
    """By every process of the hub."""
    state = old_state(tmp_path)
    keep_private(state)
    (state / "logs" / "new.log").write_text("")
    (state / "new").mkdir()
    assert [modes(state)[name] for name in ("logs/new.log", "new")] == [0o600, 0o700]


def test_what_is_not_the_hubs_is_left_alone(tmp_path: Path) -> None:
    """A state folder may be one that holds other things; a link leads elsewhere."""
    state = old_state(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("")
    (state / "README").write_text("")
    (state / "logs" / "link").symlink_to(other)
    keep_private(state)
    assert stat.S_IMODE(other.stat().st_mode) == stat.S_IMODE((state / "README").stat().st_mode) == 0o644


@pytest.mark.parametrize("before", ["nothing", "a file that others may read"])
def test_the_database_is_its_owners_alone(tmp_path: Path, before: str) -> None:
    """With its log and its index, wherever it stands."""
    file = tmp_path / "db" / "hub.sqlite3"
    file.parent.mkdir()
    if before != "nothing":
        file.touch(mode=0o644)
    engine = open_engine(f"sqlite:///{file}")
    upgrade(engine)
    with writing(engine):
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    engine.dispose()
    assert found.keys() >= {"hub.sqlite3", "hub.sqlite3-wal"}
    assert set(found.values()) == {0o600}


def test_doctor_tells_what_others_may_read(tmp_path: Path) -> None:
    """Also where only the folder stands open."""
    state = old_state(tmp_path)
    settings = Settings(state=state)
    found = run_checks(settings)["state folder"]
    assert found.status is Status.FAILED
    assert "broker, connectors, hub.sqlite3, hub.sqlite3-wal, keys" in f"{found.detail} {found.fix}"
    keep_private(state)
    assert run_checks(settings)["state folder"].status is Status.OK
    state.chmod(0o755)
    assert run_checks(settings)["state folder"].status is Status.WARN
