"""The reader without Kafka: what it gives, what it keeps on disk, and where it stands after whatever position Kafka holds."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.kit.contract import Limits, Outcome, TakeUp, Target, Unsettled, WriterSchema
from connectors.kit.definition import parse_definition, source_types
from connectors.sources.csv_file.file_names import name_of
from connectors.sources.csv_file.reader import OTHER_CONTENT, CsvReader
from connectors.sources.csv_file.settings import DOUBT_LINES_MAX
from connectors.sources.csv_file.source import CsvFileSource
from hub.model.errors import HubError
from hub.model.source_schema import read_schema

TOPIC_ID = "0d6f3c0e-8a59-4f3e-9b9b-0d2f6b1c2a11"
SCHEMA = read_schema({"type": "record", "name": "R", "fields": [{"name": "n", "type": "int"}]})
HEAD = "apiVersion: cityhub/v1\nkind: Source\nname: cars\ntype: csv-file\ndataset: vehicle-registry/cars\nfolder: in\nsettle_s: 0\n"


class Schemas:
    """One schema for ever."""

    def latest(self) -> WriterSchema:
        """Return it."""
        return self.by_id(1)

    def by_id(self, schema_id: int) -> WriterSchema:
        """Return it."""
        return WriterSchema(schema_id, SCHEMA)


def reader(folder: Path, text: str = "") -> CsvReader:
    """Return a reader of ``folder``/in."""
    for name in ("in", "state"):
        (folder / name).mkdir(exist_ok=True)
    definition = parse_definition(HEAD + text, file="x.yaml", folder=folder, types=source_types())
    return CsvReader(definition, Target("dept.x", TOPIC_ID, 4, Schemas(), 900_000), state=folder / "state")


def put(folder: Path, name: str, rows: int) -> Path:
    """Put a file with so many rows there."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / name
    path.write_text("n\n" + "".join(f"{number}\n" for number in range(rows)))
    return path


def batches(source: CsvReader, *, commit: bool = True) -> list[tuple[int, str]]:
    """Read to the end; return (rows, position) of each batch."""
    found: list[tuple[int, str]] = []
    while (batch := source.read(Limits(rows_max=2, seconds_max=60))) is not None:
        source.settle(batch)
        if not commit:
            return [(batch.rows, batch.position)]
        source.committed(batch)
        found.append((batch.rows, batch.position))
    return found


def kinds(outcomes: list[Outcome]) -> list[tuple[str, str, int]]:
    """Return name, outcome and rows."""
    return [(one.input, one.outcome, one.rows) for one in outcomes]


def test_positions_grow_row_by_row_and_end_each_file(tmp_path: Path) -> None:
    """The last one says that the file is at its end, also where its rows fill a batch exactly."""
    put(tmp_path, "a.csv", 2)
    put(tmp_path, "b.csv", 3)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    assert [(rows, position.split(",")[0], *position.split(",")[2:]) for rows, position in batches(source)] == [
        (2, "1", "2", "0", "open"),
        (0, "1", "2", "0", "end"),
        (2, "2", "2", "0", "open"),
        (1, "2", "3", "0", "end"),
    ]
    assert kinds(source.outcomes()) == [("a.csv", "published", 2), ("b.csv", "published", 3)]


def test_a_file_with_a_header_only_is_published_without_rows(tmp_path: Path) -> None:
    """It is taken like any other, so that it is a no-op the next time."""
    put(tmp_path, "a.csv", 0)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    assert [rows for rows, _ in batches(source)] == [0]
    assert kinds(source.outcomes()) == [("a.csv", "published", 0)]


def test_a_commit_whose_answer_was_lost_counts_once_it_is_seen(tmp_path: Path) -> None:
    """The next position says that it was committed: the file is published, and leaves the folder."""
    put(tmp_path, "a.csv", 1)
    source = reader(tmp_path, "done: done\n")
    source.start(None, take_up=TakeUp.GO_ON)
    ((_, position),) = batches(source, commit=False)
    source.start(position, take_up=TakeUp.GO_ON)
    assert kinds(source.outcomes()) == [("a.csv", "published", 1)]
    assert (tmp_path / "done" / "a.csv").exists()
    assert batches(source) == []


def test_an_abort_reads_the_same_rows_again(tmp_path: Path) -> None:
    """The position that Kafka holds is the truth, whatever the reader had read."""
    put(tmp_path, "a.csv", 5)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    first = batches(source, commit=False)
    source.start(None, take_up=TakeUp.GO_ON)
    assert batches(source, commit=False) == first


def test_a_file_that_changes_before_its_first_commit_is_unsettled(tmp_path: Path) -> None:
    """Nothing was published of it: it is taken again, as it is then."""
    path = put(tmp_path, "a.csv", 5)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batch = source.read(Limits(rows_max=2))
    assert batch is not None
    put(tmp_path, "a.csv", 6)
    with pytest.raises(Unsettled):
        source.settle(batch)
    source.start(None, take_up=TakeUp.GO_ON)
    assert sum(rows for rows, _ in batches(source)) == 6
    assert path.exists()


def test_a_file_that_changes_after_a_commit_stops_with_its_name(tmp_path: Path) -> None:
    """What was published of it cannot be taken back."""
    put(tmp_path, "a.csv", 5)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batch = source.read(Limits(rows_max=2))
    assert batch is not None
    source.settle(batch)
    source.committed(batch)
    put(tmp_path, "a.csv", 6)
    second = source.read(Limits(rows_max=2))
    assert second is not None
    with pytest.raises(HubError, match="HUB-CONN-006"):
        source.settle(second)


def test_the_same_content_twice_in_one_folder_is_published_once(tmp_path: Path) -> None:
    """And said."""
    put(tmp_path, "a.csv", 2)
    put(tmp_path, "b.csv", 2)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batches(source)
    assert [(one.input, one.outcome, one.same_as) for one in source.outcomes()] == [
        ("a.csv", "published", None),
        ("b.csv", "seen_before", "a.csv"),
    ]


def test_a_file_name_that_is_no_utf_8_is_shown_and_taken(tmp_path: Path) -> None:
    """Archives unpacked under another locale leave such names."""
    path = put(tmp_path, "a.csv", 1)
    raw = os.fsencode(path.parent) + b"/\xba\xc5.csv"
    os.rename(os.fsencode(path), raw)  # noqa: PTH104 - pathlib has no bytes
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batches(source)
    assert kinds(source.outcomes()) == [("file-896cfbe8c750.csv", "published", 1)]
    assert kinds(_outcomes_of_new(tmp_path)) == [("file-896cfbe8c750.csv", "seen_before", 0)]


def _outcomes_of_new(folder: Path) -> list[Outcome]:
    source = reader(folder)
    entry: Any = source._journal.last
    source.start(f"1,{entry.identity},1,0,end", take_up=TakeUp.GO_ON)
    batches(source)
    return source.outcomes()


def good_and_bad(folder: Path, text: str) -> Path:
    """Put a file there whose rows are good or bad, as the letters g and b say."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / "a.csv"
    path.write_text("n\n" + "".join("1\n" if kind == "g" else "x\n" for kind in text))
    return path


def run_to_a_refusal(source: CsvReader) -> tuple[str, list[tuple[int, int]], str | None]:
    """Read until the reader refuses; return the code, rows and records of each batch, and the last position."""
    found: list[tuple[int, int]] = []
    position = None
    try:
        while (batch := source.read(Limits(rows_max=100, seconds_max=60))) is not None:
            source.settle(batch)
            source.committed(batch)
            found.append((batch.rows, len(batch.records)))
            position = batch.position
    except HubError as error:
        return error.code, found, position
    return "nothing was refused", found, position


@pytest.mark.parametrize(
    ("most", "rows", "expected"),
    [(2, "gbgbgbg", [(5, 3)]), (0, "ggb", [(2, 2)]), (0, "b", []), (1, "bb", [(1, 0)])],
)
def test_one_bad_row_more_than_may_be_set_aside_stops_the_run(
    tmp_path: Path, most: int, rows: str, expected: list[tuple[int, int]]
) -> None:
    """What stands before it is published; each run is refused with a code, until somebody decides."""
    good_and_bad(tmp_path, rows)
    source = reader(tmp_path, f"rejects_max: {most}\n")
    source.start(None, take_up=TakeUp.GO_ON)
    code, found, position = run_to_a_refusal(source)
    assert (code, found) == ("HUB-CONN-012", expected)
    again = reader(tmp_path, f"rejects_max: {most}\n")
    again.start(position, take_up=TakeUp.GO_ON)
    assert run_to_a_refusal(again)[:2] == ("HUB-CONN-012", [])
    more = reader(tmp_path, "rejects_max: 1000\n")
    more.start(position, take_up=TakeUp.GO_ON)
    assert sum(count for count, _ in batches(more)) == len(rows) - sum(count for count, _ in expected)


def test_as_many_bad_rows_as_may_be_set_aside_stop_nothing(tmp_path: Path) -> None:
    """At the bound."""
    good_and_bad(tmp_path, "gbgbgg")
    source = reader(tmp_path, "rejects_max: 2\n")
    source.start(None, take_up=TakeUp.GO_ON)
    assert sum(rows for rows, _ in batches(source)) == 6


def slipped(folder: Path, *, before: int, between: int) -> Path:
    """Put a file there with a misplaced quote behind good rows, and many lines behind it a cell that may be its end."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / "a.csv"
    path.write_text("n\n" + "1\n" * before + '"2"x\n' + "3\n" * between + '"4"\n')
    return path


@pytest.mark.parametrize("before", [0, 250])
def test_a_misplaced_quote_that_may_take_many_rows_with_it_stops_the_run(tmp_path: Path, before: int) -> None:
    """What stands before it is published, nothing behind it is; it is no single row set aside."""
    slipped(tmp_path, before=before, between=DOUBT_LINES_MAX)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    code, found, position = run_to_a_refusal(source)
    assert (code, sum(rows for rows, _ in found), sum(records for _, records in found)) == ("HUB-CONN-012", before, before)
    assert not (tmp_path / "state" / "rejects").exists()
    again = reader(tmp_path)
    again.start(position, take_up=TakeUp.GO_ON)
    with pytest.raises(HubError, match=f"line {before + 2} .* line {before + DOUBT_LINES_MAX + 3}"):
        batches(again)


def test_as_many_lines_as_a_misplaced_quote_may_take_are_one_row_set_aside_whole(tmp_path: Path) -> None:
    """At the bound."""
    slipped(tmp_path, before=1, between=DOUBT_LINES_MAX - 2)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    assert sum(rows for rows, _ in batches(source)) == 2
    (aside,) = (tmp_path / "state" / "rejects").glob("*.csv")
    assert len(aside.read_text(encoding="utf-8").splitlines()) == 1 + DOUBT_LINES_MAX


@pytest.mark.parametrize(("lines", "length", "code"), [(120, 8_000, "HUB-CONN-012"), (50, 20_000, ""), (1, 900_000, ""), (120, 1_000, "")])
def test_a_row_that_is_too_long_to_be_held_and_has_many_lines_stops_the_run(tmp_path: Path, lines: int, length: int, code: str) -> None:
    """A forgotten quote and the next one may have made it of many; what is kept of it, or has few lines, is one row set aside."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text('n\n1\n"' + f"{'x' * length}\n" * lines + '"\n2\n')
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    found = run_to_a_refusal(source)
    assert found[0] == (code or "nothing was refused")
    assert sum(rows for rows, _ in found[1]) == (1 if code else 3)


def test_a_file_that_stopped_at_its_first_row_is_mended_in_place(tmp_path: Path) -> None:
    """Nothing of it was published: it is another file."""
    path = slipped(tmp_path, before=0, between=DOUBT_LINES_MAX)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    assert run_to_a_refusal(source)[0] == "HUB-CONN-012"
    path.write_text(path.read_text().replace('"2"x', "2"))
    again = reader(tmp_path)
    again.start(None, take_up=TakeUp.GO_ON)
    assert sum(rows for rows, _ in batches(again)) == DOUBT_LINES_MAX + 2


def test_a_file_that_stopped_behind_rows_goes_on_in_a_new_file(tmp_path: Path) -> None:
    """As the error says: moved away, its rest given up, and the lines from the quote on put there, mended."""
    path = slipped(tmp_path, before=150, between=DOUBT_LINES_MAX)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    code, _, position = run_to_a_refusal(source)
    assert code == "HUB-CONN-012"
    lines = path.read_text().replace('"2"x', "2").splitlines(keepends=True)
    path.unlink()
    again = reader(tmp_path)
    again.start(position, take_up=TakeUp.GIVE_UP_REST)
    assert sum(rows for rows, _ in batches(again)) == 0
    (tmp_path / "in" / "b.csv").write_text("".join([lines[0], *lines[151:]]))
    assert sum(rows for rows, _ in batches(again)) == DOUBT_LINES_MAX + 2


def older(folder: Path, *, name: str = "a.csv", rows: int, ended: bool) -> str:
    """Write the journal of the first version for the file that is there, and return Kafka's position."""
    (path,) = (folder / "in").iterdir()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "state").mkdir()
    (folder / "state" / "files.json").write_text(f"""{{
 "version": 1,
 "topic_id": "{TOPIC_ID}",
 "commit_seen": {str(rows > 0).lower()},
 "entries": [
  {{
   "number": 1,
   "sha256": "{sha256}",
   "name": "{name}",
   "bytes": {path.stat().st_size},
   "schema_id": 1,
   "taken_at": "2026-11-24T00:00:00+00:00"
  }}
 ]
}}""")
    return f"1,{sha256[:16]},{rows},0,{'end' if ended else 'open'}"


def test_a_file_that_is_open_under_an_older_version_is_refused_until_its_rest_is_given_up(tmp_path: Path) -> None:
    """That version counted a row of separators as a row: going on behind its row 3 would leave out a row without a word."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("n\n1\n \n2\n3\n4\n")
    position = older(tmp_path, rows=3, ended=False)
    for _ in range(2):
        with pytest.raises(HubError, match=r"HUB-CONN-005.*`a\.csv` is open behind row 3 of an earlier version"):
            reader(tmp_path).start(position, take_up=TakeUp.GO_ON)
    given_up = reader(tmp_path)
    given_up.start(position, take_up=TakeUp.GIVE_UP_REST)
    (last,) = [position for _, position in batches(given_up)]
    assert last.endswith(",3,0,end")
    put(tmp_path, "b.csv", 2)
    again = reader(tmp_path)
    again.start(last, take_up=TakeUp.GO_ON)
    ((_, held),) = batches(again, commit=False)
    assert kinds(again.outcomes()) == [("a.csv", "seen_before", 0)]
    reader(tmp_path).start(held, take_up=TakeUp.GO_ON)


def test_a_file_of_an_older_version_without_a_row_published_or_at_its_end_is_good(tmp_path: Path) -> None:
    """Nothing was counted, or nothing is counted any more."""
    put(tmp_path, "a.csv", 3)
    older(tmp_path, rows=0, ended=False)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    ((rows, held),) = batches(source, commit=False)
    again = reader(tmp_path)
    again.start(held, take_up=TakeUp.GO_ON)
    assert rows + sum(rows for rows, _ in batches(again)) == 3


def test_a_name_that_an_older_version_wrote_is_neither_said_nor_forgotten(tmp_path: Path) -> None:
    """Other content under it is told."""
    path = put(tmp_path, "王小明.csv", 3)
    position = older(tmp_path, name=path.name, rows=3, ended=True)
    (tmp_path / "in" / "b.csv").write_bytes(path.read_bytes())
    put(tmp_path, path.name, 4)
    source = reader(tmp_path)
    source.start(position, take_up=TakeUp.GO_ON)
    batches(source)
    shown = name_of(path)
    assert [(one.input, one.outcome, one.same_as) for one in source.outcomes()] == [
        ("b.csv", "seen_before", shown),
        (shown, "other_content", None),
        (shown, "published", None),
    ]


def test_a_half_published_file_whose_encoding_cannot_be_told_any_more_says_so(tmp_path: Path) -> None:
    """It is there, and as it was: naming its encoding lets it go on."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes("n,é\n1,a\n2,b\n3,c\n".encode())
    source = reader(tmp_path, "encoding: utf-8\npolicy: discard_value\n")
    source.start(None, take_up=TakeUp.GO_ON)
    batch = source.read(Limits(rows_max=2, seconds_max=60))
    assert batch is not None
    source.settle(batch)
    source.committed(batch)
    with pytest.raises(HubError, match="HUB-CONN-002") as raised:
        reader(tmp_path, "policy: discard_value\n").start(batch.position, take_up=TakeUp.GO_ON)
    assert "`encoding:`" in raised.value.fix
    again = reader(tmp_path, "encoding: utf-8\npolicy: discard_value\n")
    again.start(batch.position, take_up=TakeUp.GO_ON)
    assert sum(rows for rows, _ in batches(again)) == 1


def test_rows_set_aside_have_a_bound_over_all_files(tmp_path: Path) -> None:
    """A source of bad rows only must not fill the disk."""
    (tmp_path / "in").mkdir()
    for name in ("a.csv", "b.csv", "c.csv", "d.csv"):
        (tmp_path / "in" / name).write_text("n\n" + f"{name}{'x' * 40_000}\n" * 10)
    source = reader(tmp_path, "rejects_mb_max: 1\n")
    source.start(None, take_up=TakeUp.GO_ON)
    assert run_to_a_refusal(source)[0] == "HUB-CONN-012"
    assert 1_000_000 < sum(path.stat().st_size for path in (tmp_path / "state" / "rejects").iterdir()) < 1_200_000


def test_what_a_batch_holds_of_rows_set_aside_counts_for_its_size(tmp_path: Path) -> None:
    """A transaction of long bad rows alone is as bounded as one of good rows."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("n\n" + f"{'x' * 10_000}\n" * 100)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batch = source.read(Limits(bytes_max=25_000, seconds_max=60))
    assert batch is not None
    assert batch.rows == 3


def test_a_row_over_the_bound_can_be_dropped_in_again_with_a_larger_one(tmp_path: Path) -> None:
    """It was set aside whole."""
    (tmp_path / "in").mkdir()
    cell = '"' + "1\n" * 50 + '"'
    (tmp_path / "in" / "a.csv").write_text(f"n\n1\n{cell}\n2\n")
    source = reader(tmp_path, "row_characters_max: 20\n")
    source.start(None, take_up=TakeUp.GO_ON)
    assert sum(rows for rows, _ in batches(source)) == 3
    (aside,) = (tmp_path / "state" / "rejects").glob("*.csv")
    assert aside.read_text(encoding="utf-8-sig") == f"n\n{cell}\n"


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8"])
def test_rows_set_aside_come_back_as_they_were(tmp_path: Path, encoding: str) -> None:
    """Mended in any editor and dropped in again under a connector that says which encoding its source has."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes("n,名\n三十,李四\n".encode(encoding))
    source = reader(tmp_path, f"encoding: {encoding}\npolicy: discard_value\n")
    source.start(None, take_up=TakeUp.GO_ON)
    batches(source)
    (aside,) = (tmp_path / "state" / "rejects").glob("*.csv")
    (tmp_path / "in" / "b.csv").write_bytes(aside.read_bytes().replace("三十".encode(), b"30"))
    batches(source)
    assert [(one.input, one.outcome, one.set_aside) for one in source.outcomes()] == [("a.csv", "published", 1), ("b.csv", "published", 0)]


def test_a_file_with_other_content_under_its_name_is_told_before_it_is_published_again(tmp_path: Path) -> None:
    """A daily export that overwrites the last one bills the stock each day."""
    put(tmp_path, "a.csv", 2)
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batches(source)
    put(tmp_path, "a.csv", 3)
    batches(source)
    assert [(one.input, one.outcome, one.rows) for one in source.outcomes()] == [
        ("a.csv", "published", 2),
        ("a.csv", "other_content", 0),
        ("a.csv", "published", 3),
    ]


def checks(folder: Path, text: str = "") -> list[str]:
    """Return what ``check`` says of each thing."""
    definition = parse_definition(HEAD + text, file="x.yaml", folder=folder, types=source_types())
    target = Target("dept.x", TOPIC_ID, 4, Schemas(), 900_000, state=folder / "state")
    return [found.detail for found in CsvFileSource(definition).check(target)]


def test_check_sees_what_was_done_with_a_file_before(tmp_path: Path) -> None:
    """And which files it leaves alone."""
    put(tmp_path, "a.csv", 2)
    assert checks(tmp_path) == ["1 there", "utf-8, 1 columns fit schema 1"]
    source = reader(tmp_path)
    source.start(None, take_up=TakeUp.GO_ON)
    batches(source)
    assert checks(tmp_path)[1].endswith("fit schema 1; published before")
    put(tmp_path, "a.csv", 3)
    put(tmp_path, "王小明.txt", 1)
    found = checks(tmp_path)
    assert found[1].endswith(f"fit schema 1; {OTHER_CONTENT}")
    assert found[0].startswith("1 there, 1 left alone because of their names (`file-")
    assert "王小明" not in found[0]


def test_rows_expected_are_rows_once_a_file_is_done(tmp_path: Path) -> None:
    """Lines are counted first, and a cell may hold several."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text('n,t\n1,"a\nb\nc"\n2,d\n')
    source = reader(tmp_path, "policy: discard_value\n")
    source.start(None, take_up=TakeUp.GO_ON)
    batches(source)
    assert source.rows_expected == 2


@pytest.mark.parametrize(("rows", "like"), [("330106199001011258,王小明,13800001258", 2), ("证件号,姓名,电话", 0)])
def test_discover_says_where_headings_look_like_values(tmp_path: Path, rows: str, like: int) -> None:
    """No heading of such a file belongs into a schema."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(f"{rows}\n1,2,3\n")
    definition = parse_definition(HEAD, file="x.yaml", folder=tmp_path, types=source_types())
    assert CsvFileSource(definition).discover(rows_max=10).headings_like_values == like
