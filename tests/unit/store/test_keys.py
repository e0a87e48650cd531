"""Keys are made once, for a hub that is new: what is missing beside an old state is never made anew."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import Engine

from hub.model.errors import HubError
from hub.model.signing import key_id_of
from hub.settings import Settings
from hub.state import initialise
from hub.store.acts import Act, Actor, record_act
from hub.store.engine import open_engine, writing
from hub.store.keys import create_keys, keys_mark, load_master_keys, load_officer_key, load_trust_keys

NAMES = ("master-1.key", "officer.key", "trust.keys")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings of a hub whose state is not there yet."""
    return Settings(state=tmp_path / "state", scope="330100")


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def used(settings: Settings) -> Engine:
    """Note an act, as the first start of serve does."""
    engine = open_engine(settings.store_url)
    with writing(engine) as connection:
        actor = Actor(person_id="p", org_id="o")
        record_act(
            connection, Act(verb="v", object_type="t", object_id="i"), actor=actor, scope="330100", outcome="done", correlation_id="c"
        )
    return engine


def test_a_new_hub_gets_all_its_keys_and_the_officer_is_trusted(settings: Settings) -> None:
    """The second time finds them and makes none."""
    assert initialise(settings)
    folder = settings.keys_folder
    assert sorted(contents(folder)) == sorted(NAMES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in NAMES} == {0o600}
    assert list(load_trust_keys(folder)) == [key_id_of(load_officer_key(folder).public_key())]
    assert list(load_master_keys(folder)) == [1]
    before = contents(folder)
    assert not initialise(settings)
    assert contents(folder) == before
    assert [path.name for path in settings.state.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("lost", NAMES)
@pytest.mark.parametrize("was_used", [True, False])
def test_a_key_that_is_missing_beside_others_is_refused_and_not_made(settings: Settings, lost: str, *, was_used: bool) -> None:
    """A new officer's key is one that no worker trusts; a new master key changes every pseudonym; a new trust.keys trusts anybody."""
    initialise(settings)
    if was_used:
        used(settings).dispose()
    (settings.keys_folder / lost).unlink()
    before = contents(settings.keys_folder)
    with pytest.raises(HubError, match=f"HUB-KEY-001.*{lost}") as refused:
        initialise(settings)
    assert "restore `keys/` from its backup" in refused.value.fix
    assert contents(settings.keys_folder) == before


@pytest.mark.parametrize("state", ["acts", "broker"])
def test_no_keys_are_made_for_a_state_that_a_hub_has_worked_with(settings: Settings, state: str) -> None:
    """All of keys/ is gone: a backup has them, or nobody."""
    initialise(settings)
    if state == "acts":
        used(settings).dispose()
    else:
        (settings.state / "broker" / "log").mkdir(parents=True)
    for name in NAMES:
        (settings.keys_folder / name).unlink()
    with pytest.raises(HubError, match="HUB-KEY-001"):
        initialise(settings)
    assert contents(settings.keys_folder) == {}


def test_a_first_start_that_was_broken_off_before_any_act_begins_again(settings: Settings) -> None:
    """Tables alone are no hub: nothing was signed, and no pseudonym was made."""
    initialise(settings)
    for name in NAMES:
        (settings.keys_folder / name).unlink()
    assert initialise(settings)


def test_keys_are_made_beside_files_that_are_none(tmp_path: Path) -> None:
    """A note that somebody put there is left alone."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "README").write_text("ours", encoding="utf-8")
    assert create_keys(folder, epoch=1, comment="test")
    assert sorted(contents(folder)) == sorted([*NAMES, "README"])


def test_a_key_put_in_place_is_seen(tmp_path: Path) -> None:
    """Workers look at the mark every second; a backup may bring the very same size and time."""
    folder = tmp_path / "keys"
    assert keys_mark(folder) == ()
    create_keys(folder, epoch=1, comment="test")
    before = keys_mark(folder)
    assert keys_mark(folder) == before
    draft = folder / "draft"
    draft.write_bytes((folder / "master-1.key").read_bytes())
    draft.replace(folder / "master-1.key")
    assert keys_mark(folder) != before


@pytest.mark.parametrize("name", ["master-1.old.key", "master-.key", "master-01.key", "master-１.key"])
def test_a_file_that_is_named_like_a_master_key_and_names_no_epoch_is_refused(tmp_path: Path, name: str) -> None:
    """A copy that somebody kept beside the key: whoever reads the folder is told its name."""
    folder = tmp_path / "keys"
    create_keys(folder, epoch=1, comment="test")
    (folder / name).write_bytes((folder / "master-1.key").read_bytes())
    (folder / name).chmod(0o600)
    with pytest.raises(HubError, match=r"HUB-KEY-001.*names no epoch"):
        load_master_keys(folder)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"no-key", b"a \xe9\xe9\xe9= comment"])
def test_a_line_that_is_no_text_or_no_key_is_named(tmp_path: Path, line: bytes) -> None:
    """An editor may write another encoding; the first line is the officer's and is well."""
    folder = tmp_path / "keys"
    create_keys(folder, epoch=1, comment="test")
    with (folder / "trust.keys").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(HubError, match=r"HUB-KEY-001.*line 2 is no key"):
        load_trust_keys(folder)


def test_an_officers_key_that_is_no_key_is_refused(tmp_path: Path) -> None:
    """As every other file of the folder."""
    folder = tmp_path / "keys"
    create_keys(folder, epoch=1, comment="test")
    (folder / "officer.key").write_bytes(b"nothing")
    with pytest.raises(HubError, match=r"HUB-KEY-001.*no Ed25519 key"):
        load_officer_key(folder)
