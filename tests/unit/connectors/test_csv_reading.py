"""Rows of CSV files: lines, quotes, bounds, and what a bad row costs."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.encoding import examine
from connectors.sources.csv_file.reading import CsvRows
from hub.model.errors import HubError


def rows_of(
    folder: Path, content: str | bytes, *, delimiter: str = ",", most: int = 1_000
) -> list[tuple[list[str], RowFault | None, int, int]]:
    """Return each row's cells, fault, first and last line."""
    path = folder / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = []
    with CsvRows(path, examine(path), delimiter=delimiter, row_characters_max=most) as rows:
        while rows.next_row():
            found.append((rows.cells, rows.fault, rows.first_line, rows.last_line))
        rows.hold_unchanged(to_the_end=True)
    return found


def test_a_quoted_field_may_span_lines_and_they_are_counted(tmp_path: Path) -> None:
    """Line numbers are those that an editor shows."""
    assert rows_of(tmp_path, 'h,i\n1,"a\nb\r\nc"\n2,d\n') == [
        (["1", "a\nb\r\nc"], None, 2, 4),
        (["2", "d"], None, 5, 5),
    ]


def test_blank_lines_are_no_rows_and_are_counted_as_lines(tmp_path: Path) -> None:
    """Editors leave them at the end."""
    assert rows_of(tmp_path, "h\n\n1\n\n\n2\n\n") == [(["1"], None, 3, 3), (["2"], None, 6, 6)]


def test_text_stays_as_it_stands(tmp_path: Path) -> None:
    """Spaces, leading zeros, quotes in the middle and NUL are text."""
    assert rows_of(tmp_path, 'h,i\n 007 ,5" pipe\n"say ""hi""",\x00\n') == [
        ([" 007 ", '5" pipe'], None, 2, 2),
        (['say "hi"', "\x00"], None, 3, 3),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_ends_a_row(tmp_path: Path, ending: str) -> None:
    """Also that of old Macs."""
    assert [cells for cells, *_ in rows_of(tmp_path, ending.join(["h,i", "1,a", "2,b"]))] == [["1", "a"], ["2", "b"]]


def test_text_after_a_closing_quote_is_no_csv_and_the_next_row_is(tmp_path: Path) -> None:
    """The row costs itself only."""
    assert rows_of(tmp_path, 'h,i\n"a"x,b\n1,c\n') == [([], RowFault.SYNTAX, 2, 2), (["1", "c"], None, 3, 3)]


def test_a_quote_that_never_closes_swallows_no_more_than_the_bound(tmp_path: Path) -> None:
    """Reading goes on with the line after."""
    found = rows_of(tmp_path, 'h,i\n"1,a\n' + "2,b\n" * 10, most=20)
    assert found[0] == ([], RowFault.TOO_LARGE, 2, 6)
    assert found[1:] == [(["2", "b"], None, line, line) for line in range(7, 13)]


def test_a_quote_that_never_closes_before_the_end_is_no_csv(tmp_path: Path) -> None:
    """The end of the file is the end of the row."""
    assert rows_of(tmp_path, 'h,i\n1,a\n"2,b\n3,c\n') == [(["1", "a"], None, 2, 2), ([], RowFault.SYNTAX, 3, 4)]


def test_a_row_at_the_bound_passes_and_one_character_more_does_not(tmp_path: Path) -> None:
    """The bound counts the line's ending."""
    assert rows_of(tmp_path, "h\n" + "x" * 9 + "\n" + "y" * 10 + "\nz\n", most=10) == [
        (["x" * 9], None, 2, 2),
        ([], RowFault.TOO_LARGE, 3, 3),
        (["z"], None, 4, 4),
    ]


def test_a_line_without_end_is_read_past_in_pieces(tmp_path: Path) -> None:
    """Memory does not grow with the file."""
    assert rows_of(tmp_path, "h\n" + "x" * 500_000 + "\n1\n", most=10) == [([], RowFault.TOO_LARGE, 2, 2), (["1"], None, 3, 3)]


def test_the_text_of_a_bad_row_is_cut_at_the_bound(tmp_path: Path) -> None:
    """What is set aside is bounded too."""
    path = tmp_path / "a.csv"
    path.write_text("h\n" + "x" * 100 + "\n")
    with CsvRows(path, examine(path), delimiter=",", row_characters_max=10) as rows:
        assert rows.next_row()
        assert rows.text == "x" * 11


def test_moved_letters_of_gb18030_are_put_right(tmp_path: Path) -> None:
    """In every cell."""
    content = "序号\n".encode("gb18030") + bytes.fromhex("fe59") + b"\n"
    assert rows_of(tmp_path, content) == [(["龴"], None, 2, 2)]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\x84\x31\x95\x33"])
def test_a_mark_is_no_part_of_the_first_heading(tmp_path: Path, mark: bytes) -> None:
    """Else the first column would never be found."""
    path = tmp_path / "a.csv"
    path.write_bytes(mark + b"h,i\n1,2\n")
    with CsvRows(path, examine(path), delimiter=",", row_characters_max=100) as rows:
        assert rows.header == ("h", "i")


def test_an_empty_file_has_no_header(tmp_path: Path) -> None:
    """It is refused by the header's check, not by a crash."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    with CsvRows(path, examine(path), delimiter=",", row_characters_max=100) as rows:
        assert rows.header == ()


@pytest.mark.parametrize("change", ["append", "same size"])
def test_a_file_written_to_while_it_is_open_is_noticed(tmp_path: Path, change: str) -> None:
    """By its size and time, and at the end by its hash."""
    path = tmp_path / "a.csv"
    path.write_text("h\n1\n")
    examined = examine(path)
    with CsvRows(path, examined, delimiter=",", row_characters_max=100) as rows:
        assert rows.next_row()
        rows.hold_unchanged(to_the_end=False)
        with path.open("a" if change == "append" else "r+") as file:
            file.write("2\n" if change == "append" else "x")
        with pytest.raises(HubError, match="HUB-CONN-006"):
            rows.hold_unchanged(to_the_end=False)


def test_other_content_of_the_same_size_and_time_is_noticed_by_its_hash(tmp_path: Path) -> None:
    """Clocks and copies can lie; the hash cannot."""
    path = tmp_path / "a.csv"
    path.write_text("h\n1\n")
    examined = examine(path)
    path.write_text("h\n2\n")
    os.utime(path, ns=(examined.fingerprint.mtime_ns, examined.fingerprint.mtime_ns))
    with CsvRows(path, examined, delimiter=",", row_characters_max=100) as rows:
        while rows.next_row():
            pass
        with pytest.raises(HubError, match="HUB-CONN-006"):
            rows.hold_unchanged(to_the_end=True)


@given(st.lists(st.text(st.sampled_from('a",\n\r;'), max_size=12), max_size=12))
def test_no_text_crashes_the_reader_and_it_always_ends(tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    """Whatever stands in the file, lines go up and every row has a reason or cells."""
    found = rows_of(tmp_path_factory.mktemp("fuzz"), "h,i\n" + "".join(pieces), most=30)
    last = 1
    for cells, fault, first_line, last_line in found:
        assert last < first_line <= last_line
        assert (fault is None) == bool(cells)
        last = last_line
