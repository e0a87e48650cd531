"""The folder: order, files still being written, and where files go."""

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.kit.definition import parse_definition, source_types
from connectors.sources.csv_file.inbox import Inbox
from hub.model.errors import HubError

HEAD = "apiVersion: cityhub/v1\nkind: Source\nname: cars\ntype: csv-file\ndataset: vehicle-registry/cars\n"


def inbox(folder: Path, text: str = "folder: in\nsettle_s: 0\n") -> Inbox:
    """Return the inbox of a connector file in ``folder``."""
    settings: Any = parse_definition(HEAD + text, file="x.yaml", folder=folder, types=source_types()).settings
    return Inbox(settings)


def put(folder: Path, *names: str) -> None:
    """Put files there."""
    (folder / "in").mkdir(exist_ok=True)
    for name in names:
        (folder / "in" / name).write_text("h\n1\n")


def ready(box: Inbox) -> list[str]:
    """Return names of the files that are ready."""
    return [path.name for path in box.ready()]


def test_files_are_taken_in_the_order_of_their_names_and_those_in_transit_not(tmp_path: Path) -> None:
    """Hidden names, and endings that copying programs use, are files still being written."""
    put(tmp_path, "b.csv", "a.csv", ".c.csv", "d.csv.part", "e.txt", "f.csv.tmp")
    (tmp_path / "in" / "folder.csv").mkdir()
    assert ready(inbox(tmp_path)) == ["a.csv", "b.csv"]


def test_files_given_by_name_keep_their_order(tmp_path: Path) -> None:
    """And those that are missing are known."""
    put(tmp_path, "b.csv", "a.csv")
    box = inbox(tmp_path, "files: [in/b.csv, in/a.csv, in/c.csv]\nsettle_s: 0\n")
    assert ready(box) == ["b.csv", "a.csv"]
    assert [path.name for path in box.missing()] == ["c.csv"]


def test_a_file_just_written_waits_until_it_rests(tmp_path: Path) -> None:
    """A file that is still being copied must not be read to the point where it is."""
    put(tmp_path, "a.csv")
    box = inbox(tmp_path, "folder: in\nsettle_s: 1\n")
    assert ready(box) == []
    assert box.waits
    time.sleep(1.1)
    assert ready(box) == ["a.csv"]
    assert not box.waits


def test_a_file_from_the_future_is_looked_at_twice(tmp_path: Path) -> None:
    """Clocks of file servers differ."""
    put(tmp_path, "a.csv")
    ahead = time.time() + 3600
    os.utime(tmp_path / "in" / "a.csv", (ahead, ahead))
    box = inbox(tmp_path, "folder: in\nsettle_s: 1\n")
    assert ready(box) == []
    time.sleep(1.1)
    assert ready(box) == ["a.csv"]


def test_a_finished_file_is_left_alone_until_it_changes(tmp_path: Path) -> None:
    """It need not be read again to find it unchanged."""
    put(tmp_path, "a.csv")
    box = inbox(tmp_path)
    box.finish(tmp_path / "in" / "a.csv")
    assert ready(box) == []
    (tmp_path / "in" / "a.csv").write_text("h\n1\n2\n")
    assert ready(box) == ["a.csv"]


def test_done_never_overwrites_a_file(tmp_path: Path) -> None:
    """Names come again with other content."""
    box = inbox(tmp_path, "folder: in\ndone: done\n")
    for _ in range(3):
        put(tmp_path, "a.csv")
        box.finish(tmp_path / "in" / "a.csv", identity="0123")
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["a.csv", "a.csv.0123.1", "a.csv.0123.2"]


def test_a_refused_file_has_its_reason_beside_it(tmp_path: Path) -> None:
    """Whoever finds it knows what to mend."""
    box = inbox(tmp_path, "folder: in\nrejected: bad\n")
    put(tmp_path, "a.csv")
    box.refuse(tmp_path / "in" / "a.csv", HubError("HUB-CONN-002", "cause", "mend it"))
    assert json.loads((tmp_path / "bad" / "a.csv.why.json").read_text())["code"] == "HUB-CONN-002"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """It is not taken for an empty one."""
    with pytest.raises(HubError, match="HUB-CONN-001"):
        ready(inbox(tmp_path))


def test_names_in_capitals_are_taken_by_default(tmp_path: Path) -> None:
    """Windows programs and old registers write them."""
    put(tmp_path, "A.CSV", "b.csv", "c.Csv", "d.txt", "e.CSV.part")
    box = inbox(tmp_path)
    assert ready(box) == ["A.CSV", "b.csv", "c.Csv"]
    assert [path.name for path in box.left_alone()] == ["d.txt", "e.CSV.part"]


def test_a_pattern_of_ones_own_is_taken_at_its_word(tmp_path: Path) -> None:
    """And what it leaves alone is known."""
    put(tmp_path, "A.CSV", "b.csv")
    box = inbox(tmp_path, 'folder: in\nsettle_s: 0\npattern: "?.CSV"\n')
    assert ready(box) == ["A.CSV"]
    assert ready(inbox(tmp_path, 'folder: in\nsettle_s: 0\npattern: "*.csv"\n')) == ["b.csv"]
    assert [path.name for path in box.left_alone()] == ["b.csv"]


def test_the_reason_beside_a_refused_file_is_its_owners_alone(tmp_path: Path) -> None:
    """So is the folder that is made for it."""
    put(tmp_path, "a.csv")
    box = inbox(tmp_path, "folder: in\nsettle_s: 0\nrejected: bad\n")
    (path,) = box.ready()
    box.refuse(path, HubError("HUB-CONN-003", "why", "fix"))
    assert stat.S_IMODE((tmp_path / "bad").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "bad" / "a.csv.why.json").stat().st_mode) == 0o600
