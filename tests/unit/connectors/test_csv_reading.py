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


@pytest.mark.parametrize("blank", [",,", " , ,\t", '"","",""', ",,,,,", "\u3000,,"])
def test_rows_of_separators_are_no_rows(tmp_path: Path, blank: str) -> None:
    """A spreadsheet whose cells were cleared has thousands of them; each would be a record to pay for."""
    content = f"{blank}\nh,i,j\n{blank}\n1,a,b\n{blank}\n{blank}\n,,c\n{blank}\n"
    assert rows_of(tmp_path, content) == [(["1", "a", "b"], None, 4, 4), (["", "", "c"], None, 7, 7)]


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


def letter(lines: int) -> str:
    """Return the text of a letter, each line of which could be a row of three cells."""
    return "\n".join(f"{number},secret {number},x" for number in range(lines))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_no_line_of_a_cell_over_the_bound_is_read_as_a_row(tmp_path: Path, ending: str, delimiter: str) -> None:
    """What stands inside such a cell is granted to nobody: the row is set aside from its first line to its last."""
    content = ending.join(["h,i,j", "1,a,b", f'2,"{letter(200)}",c', "3,d,e", ""]).replace(",", delimiter)
    assert rows_of(tmp_path, content, delimiter=delimiter, most=60) == [
        (["1", "a", "b"], None, 2, 2),
        ([], RowFault.TOO_LARGE, 3, 202),
        (["3", "d", "e"], None, 203, 203),
    ]


def test_a_row_over_the_bound_is_set_aside_whole(tmp_path: Path) -> None:
    """So that it can be taken with a larger bound; only what no bound could take is cut, and says so."""
    path = tmp_path / "a.csv"
    row = f'2,"{letter(100)} said ""yes""",c\n'
    path.write_text(f"h,i,j\n{row}3,d,e\n")
    for held, whole in ((len(row), True), (len(row) - 1, False)):
        with CsvRows(path, examine(path), delimiter=",", row_characters_max=20, held_characters_max=held) as rows:
            assert rows.next_row()
            assert (rows.fault, rows.is_whole) == (RowFault.TOO_LARGE, whole)
            assert row.startswith(rows.text)
            assert (rows.text == row) is whole
            assert rows.next_row()
            assert rows.cells == ["3", "d", "e"]


INSIDE = "110101199003077715,Zhang San\n13800138000,Li Si\n"


@pytest.mark.parametrize(
    "letter",
    [
        f'"She said "no way\n{INSIDE}end of letter" ',
        f'"She said "no way\n{INSIDE}end of letter"\t',
        f'"She said "no way\n{INSIDE}end of letter"\u3000\u200b',
        f'"She said "no way\n{INSIDE}end of letter".',
        f'"She said "no", and\n{INSIDE}end of letter"',
        f'"She said "no"\n{INSIDE}end of letter"',
        f'"She said "no" \n{INSIDE}end of letter" ',
        f'"She said "no way\n{INSIDE}really,""',
        f'"She said:\n{INSIDE}"no", and\n{INSIDE}"yes", and\n{INSIDE}the end"',
        f'"5" of it\n{INSIDE}"more" of it"',
        f' "She said\n{INSIDE}end of letter"',
        f'\ufeff\u3000"She said\n{INSIDE}end of letter" ',
        f' "She said "no", and\n{INSIDE}end of letter"',
        f' "She said "no way\n{INSIDE}end of letter"',
        f'\t"She said, "no way\n{INSIDE}end of letter" ',
    ],
)
@pytest.mark.parametrize("most", [1_000, 40, 12])
def test_no_line_of_a_letter_with_a_misplaced_quote_is_a_row(tmp_path: Path, letter: str, most: int) -> None:
    """Whichever of its quotes seem to end it, and however long it may be: it is one fault as far as its last; the next row is one."""
    last = 3 + letter.count("\n")
    found = rows_of(tmp_path, f"id,letter\n1,ok\n2,{letter}\n3,fine\n", most=most)
    assert [(cells, first_line, last_line) for cells, _, first_line, last_line in found] == [
        (["1", "ok"], 2, 2),
        ([], 3, last),
        (["3", "fine"], last + 1, last + 1),
    ]


def test_a_file_that_ends_within_a_line_may_have_been_cut_within_the_cell(tmp_path: Path) -> None:
    """Where it ends with a line, a line as wide as the header was a slip."""
    content = f'id,letter\n1,ok\n2,"She said "no way\n{INSIDE}3,fine'
    assert rows_of(tmp_path, content)[1:] == [([], RowFault.SYNTAX, 3, 6)]
    assert [cells for cells, *_ in rows_of(tmp_path, f"{content}\n")[-1:]] == [["3", "fine"]]


def test_rows_up_to_the_last_quote_that_may_end_the_cell_are_set_aside_with_it(tmp_path: Path) -> None:
    """They may be lines of the cell; behind it they are rows."""
    assert rows_of(tmp_path, 'h,i,j\n1,"5" pipe",b\n2,c,d\n3,"e",f\n4,g,h\n') == [
        ([], RowFault.SYNTAX, 2, 4),
        (["4", "g", "h"], None, 5, 5),
    ]


def test_a_misplaced_quote_costs_its_line_only_where_no_quote_may_end_the_cell(tmp_path: Path) -> None:
    """A quote with text on both sides ends nothing; a second slip costs its line again."""
    assert rows_of(tmp_path, 'h,i,j\n1,"5" pipe",b\n2,c 4"x,d\n"e"x,f,g\n3,c,d\n') == [
        ([], RowFault.SYNTAX, 2, 2),
        (["2", 'c 4"x', "d"], None, 3, 3),
        ([], RowFault.SYNTAX, 4, 4),
        (["3", "c", "d"], None, 5, 5),
    ]


@pytest.mark.parametrize("cell", [' "b"', ' "b" ', '5" pipe', ' 5" pipe', ' b "c"', 'b" '])
def test_quotes_in_a_cell_that_is_not_open_at_its_end_are_text(tmp_path: Path, cell: str) -> None:
    """Inches, and cells that a program quoted behind a blank."""
    assert rows_of(tmp_path, f'h,i\n1,{cell}\n2,"c"\n') == [(["1", cell], None, 2, 2), (["2", "c"], None, 3, 3)]


@pytest.mark.parametrize("delimiter", [",", "\t", " "])
def test_blanks_before_quotes_inside_a_quoted_cell_are_text(tmp_path: Path, delimiter: str) -> None:
    """Nothing is misplaced there."""
    cell = f'a{delimiter} "b, c{delimiter} "" d\n "e'
    found = rows_of(tmp_path, f'h{delimiter}i\n1{delimiter}{quoted(cell)}\n"2"{delimiter}b\n', delimiter=delimiter)
    assert [cells for cells, *_ in found] == [["1", cell], ["2", "b"]]


def test_it_is_known_where_a_fault_may_have_taken_rows_with_it(tmp_path: Path) -> None:
    """Not where a row is only too long: its end is certain."""
    path = tmp_path / "a.csv"
    found = []
    path.write_text(f'h,i\n1,"{INSIDE * 3}"\n2,b\n3,"4" x",c\n4,c\n5,"d"\n6,e\n"7,f\n8,g\n')
    with CsvRows(path, examine(path), delimiter=",", row_characters_max=60) as rows:
        while rows.next_row():
            found.append((rows.first_line, rows.last_line, rows.in_doubt))
    assert found == [(2, 8, False), (9, 9, False), (10, 12, True), (13, 13, False), (14, 15, True)]


def test_a_broken_cell_that_a_cut_file_never_closes_gives_no_rows(tmp_path: Path) -> None:
    """The line is not as wide as the header: it goes on, and so does the cell."""
    assert rows_of(tmp_path, f'h,i,j\n1,"he said "yes" and\n{letter(5)}') == [([], RowFault.SYNTAX, 2, 7)]


def test_a_quote_that_never_closes_swallows_the_rest_of_the_file(tmp_path: Path) -> None:
    """Where it was meant to close nobody knows; what follows may be the cell's text."""
    found = rows_of(tmp_path, 'h,i\n1,a\n"1,a\n' + "2,b\n" * 10, most=20)
    assert found == [(["1", "a"], None, 2, 2), ([], RowFault.TOO_LARGE, 3, 13)]


def test_many_slips_are_read_in_one_pass(tmp_path: Path) -> None:
    """The rest of the file is looked through once, not once for each of them."""
    found = rows_of(tmp_path, "h,i\n" + '"a"x,b\n1,c\n' * 20_000)
    assert [fault for _, fault, *_ in found] == [RowFault.SYNTAX, None] * 20_000


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


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", b"\xef\xbb\xbf"), ("gb18030", b"\x84\x31\x95\x33"), ("utf-16", b"")])
@pytest.mark.parametrize("who", ["the file", "the connector file"])
def test_a_quote_behind_a_mark_is_a_quote(tmp_path: Path, encoding: str, mark: bytes, who: str) -> None:
    """Spreadsheets write a mark and quote every cell; whoever named the encoding, headings may hold commas and line ends."""
    path = tmp_path / "a.csv"
    path.write_bytes(mark + '"代,码","企业\r\n名称"\r\n"0012","a"\r\n'.encode(encoding))
    with CsvRows(
        path, examine(path, encoding=encoding if who == "the connector file" else None), delimiter=",", row_characters_max=100
    ) as rows:
        assert rows.header == ("代,码", "企业\r\n名称")
        assert not rows.header_text.startswith("\ufeff")


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


def quoted(cell: str) -> str:
    """Return a cell as RFC 4180 writes it."""
    return '"' + cell.replace('"', '""') + '"'


@given(st.lists(st.lists(st.text(st.sampled_from('ab",\n'), max_size=40), min_size=3, max_size=3), max_size=8))
def test_rows_of_any_cells_are_given_or_set_aside_whole(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    """Whatever is over the bound: each row that the writer wrote comes back as itself or as one row set aside."""
    lines = [",".join(map(quoted, row)) + "\n" for row in rows]
    found = rows_of(tmp_path_factory.mktemp("whole"), "h,i,j\n" + "".join(lines), most=30)
    assert [cells for cells, *_ in found] == [
        row if len(line) <= 30 else [] for row, line in zip(rows, lines, strict=True) if len(line) > 30 or "".join(row).strip()
    ]


@given(st.lists(st.text(st.sampled_from('"s,\n ."'), max_size=6), max_size=6), st.sampled_from(["", " ", ".", "\t"]), st.integers(6, 60))
def test_no_line_of_a_broken_cell_is_ever_a_row(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], behind: str, most: int
) -> None:
    """A cell with a quote that nobody doubled, and behind that anything that a careless program writes, to its closing quote."""
    cell = "\n".join(['he said "s', "S,S,S", *pieces, "S,S,S"])
    found = rows_of(tmp_path_factory.mktemp("broken"), f'h,i,j\n1,b,"{cell}"{behind}\n2,d,e\n', most=most)
    assert [cells for cells, *_ in found if cells] == [["2", "d", "e"]]
