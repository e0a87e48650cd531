"""The journal of files taken: every pair of position and journal, and what is on disk."""

import stat
from pathlib import Path

import pytest

from connectors.kit.positions import POSITION_BYTES_MAX, read_position, write_position
from connectors.sources.csv_file.file_names import name_of
from connectors.sources.csv_file.journal import Entry, FilePosition, Journal, parse_position
from hub.model.errors import HubError

TOPIC = "0d6f3c0e-8a59-4f3e-9b9b-0d2f6b1c2a11"
OTHER = "11111111-8a59-4f3e-9b9b-0d2f6b1c2a11"


def entry(number: int) -> Entry:
    """Return the entry of a file."""
    sha256 = f"{number:x}" * 64
    return Entry(number=number, sha256=sha256[:64], name=f"{number}.csv", bytes=1, schema_id=1, taken_at="2026-11-24T00:00:00+00:00")


def journal(folder: Path, entries: int, *, commit_seen: bool = True) -> Journal:
    """Return a journal of so many files."""
    built = Journal(folder)
    for number in range(1, entries + 1):
        built.take(entry(number), topic_id=TOPIC)
    if commit_seen:
        built.see_commit()
    return Journal(folder)


def at(number: int, *, rows: int = 5, ended: bool = False) -> FilePosition:
    """Return a position in a file."""
    return FilePosition(number, entry(number).identity, rows, 1, ended)


@pytest.mark.parametrize(
    ("entries", "commit_seen", "position", "stands"),
    [
        (0, False, None, None),
        (1, False, None, FilePosition(1, entry(1).identity, 0, 0, ended=False)),
        (2, True, at(2), at(2)),
        (2, True, at(2, ended=True), None),
        (2, True, at(1, ended=True), FilePosition(2, entry(2).identity, 0, 0, ended=False)),
    ],
)
def test_position_and_journal_together_say_where_to_go_on(
    tmp_path: Path, *, entries: int, commit_seen: bool, position: FilePosition | None, stands: FilePosition | None
) -> None:
    """The table of the module, row by row."""
    assert journal(tmp_path, entries, commit_seen=commit_seen).stand(position, topic_id=TOPIC) == stands


@pytest.mark.parametrize(
    ("entries", "commit_seen", "position", "topic_id"),
    [
        (0, True, at(1), TOPIC),
        (1, True, None, TOPIC),
        (2, False, None, TOPIC),
        (3, True, at(1, ended=True), TOPIC),
        (2, True, at(1), TOPIC),
        (2, True, at(3), TOPIC),
        (2, True, FilePosition(2, entry(7).identity, 0, 0, ended=False), TOPIC),
        (2, True, at(2), OTHER),
    ],
)
def test_any_other_pair_stops_the_source(
    tmp_path: Path, *, entries: int, commit_seen: bool, position: FilePosition | None, topic_id: str
) -> None:
    """One of the two was lost, set back, or is another connector's."""
    with pytest.raises(HubError) as raised:
        journal(tmp_path, entries, commit_seen=commit_seen).stand(position, topic_id=topic_id)
    assert raised.value.code == "HUB-CONN-005"


def test_the_journal_is_written_whole_for_its_owner_only(tmp_path: Path) -> None:
    """A draft that a kill left behind is not looked at."""
    built = journal(tmp_path, 2)
    (tmp_path / ".files.json.draft").write_text("half")
    assert stat.S_IMODE(built.file.stat().st_mode) == 0o600
    assert Journal(tmp_path).find(entry(2).sha256) == entry(2)


def test_a_journal_that_cannot_be_read_stops_the_source(tmp_path: Path) -> None:
    """It is never taken for an empty one."""
    (tmp_path / "files.json").write_text("{")
    with pytest.raises(HubError, match="HUB-CONN-005"):
        Journal(tmp_path)


def test_a_journal_of_a_later_version_stops_the_source(tmp_path: Path) -> None:
    """What it counts is not known here."""
    built = journal(tmp_path, 1)
    built.file.write_text(built.file.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(HubError, match="HUB-CONN-005"):
        Journal(tmp_path)


def test_names_that_an_older_version_wrote_as_they_were_are_shown_by_their_hash(tmp_path: Path) -> None:
    """Once, and the same ever after, whatever digits the hash is made of."""
    built = journal(tmp_path, 2)
    built.file.write_text(built.file.read_text().replace("1.csv", "王小明.csv").replace("2.csv", "file-123456789012.csv"))
    again = Journal(tmp_path)
    again.take(entry(3), topic_id=TOPIC)
    for one in (again, Journal(tmp_path)):
        assert one.took(name_of(Path("王小明.csv")))
        assert one.took("file-123456789012.csv")
    assert "王小明" not in built.file.read_text()


def test_the_last_entry_can_be_taken_back(tmp_path: Path) -> None:
    """As long as no position names it, which the reader knows."""
    built = journal(tmp_path, 2)
    built.take_back(2)
    assert Journal(tmp_path).last == entry(1)
    assert built.find(entry(2).sha256) is None


def test_beginning_anew_keeps_the_old_journal_beside(tmp_path: Path) -> None:
    """It says what was published before."""
    journal(tmp_path, 2).begin_anew()
    assert Journal(tmp_path).last is None
    assert (tmp_path / "files.1.json").exists()


def test_a_journal_takes_as_many_files_as_its_bound_and_not_one_more(tmp_path: Path) -> None:
    """Nothing grows without end."""
    built = Journal(tmp_path, entries_max=2)
    built.take(entry(1), topic_id=TOPIC)
    built.take(entry(2), topic_id=TOPIC)
    with pytest.raises(HubError, match="HUB-CONN-008"):
        built.take(entry(3), topic_id=TOPIC)


def test_a_position_reads_back_and_never_nears_the_bound() -> None:
    """The largest numbers that it can hold."""
    position = FilePosition(999_999_999, "f" * 16, 999_999_999_999, 999_999_999_999, ended=True)
    held = read_position(write_position(position.text(), topic_id=TOPIC))
    assert (held.topic_id, parse_position(held.position)) == (TOPIC, position)
    assert len(write_position(position.text(), topic_id=TOPIC)) < 120


def test_a_position_at_the_bound_passes_and_one_byte_more_is_refused_before_it_is_sent() -> None:
    """Kafka would refuse it in the middle of a transaction."""
    room_left = POSITION_BYTES_MAX - len(write_position("", topic_id=TOPIC))
    assert len(write_position("x" * room_left, topic_id=TOPIC)) == POSITION_BYTES_MAX
    with pytest.raises(HubError, match="HUB-CONN-005"):
        write_position("x" * (room_left + 1), topic_id=TOPIC)


@pytest.mark.parametrize("text", ["", "2;x;y", "1;no-uuid;1", f"1;{TOPIC}", f"1;{TOPIC.upper()};1"])
def test_metadata_of_someone_else_is_no_position(text: str) -> None:
    """A position is never invented."""
    with pytest.raises(HubError, match="HUB-CONN-005"):
        read_position(text)


@pytest.mark.parametrize(
    "text", ["", "0,ffffffffffffffff,0,0,open", "1,ff,0,0,open", "1,ffffffffffffffff,0,0,done", "1,ffffffffffffffff,-1,0,end"]
)
def test_text_that_is_no_place_in_files_is_refused(text: str) -> None:
    """Also that of another type of source."""
    with pytest.raises(HubError, match="HUB-CONN-005"):
        parse_position(text)
