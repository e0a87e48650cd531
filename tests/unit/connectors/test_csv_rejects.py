"""Rows set aside: the report, the rows beside it, and that both follow the position."""

import json
import stat
from pathlib import Path

from connectors.kit.faults import RowFault
from connectors.sources.csv_file.rejects import Reject, Rejects


def rejects(folder: Path) -> Rejects:
    """Return the rejects of one file."""
    return Rejects(folder / "rejects", name="a.csv", identity="0123456789abcdef", header="号牌,座位数\r\n")


def reject(row: int, text: str = "x,y\n") -> Reject:
    """Return a row set aside."""
    return Reject(row, row + 2, row + 2, "座位数", RowFault.NOT_WHOLE, text)


def rows_in(report: Path) -> list[int]:
    """Return the rows that a report names."""
    return [json.loads(line)["row"] for line in report.read_text(encoding="utf-8").splitlines()]


def test_nothing_is_written_before_it_is_settled(tmp_path: Path) -> None:
    """Rows of a transaction that is aborted leave no trace."""
    built = rejects(tmp_path)
    built.add(reject(1))
    assert not built.report.exists()
    built.settle()
    assert rows_in(built.report) == [1]


def test_the_report_leads_to_the_row_and_holds_no_value(tmp_path: Path) -> None:
    """Offset and length of the raw row, in a file for its owner only."""
    built = rejects(tmp_path)
    built.add(reject(1, "浙A1,many\r\n"))
    built.add(reject(4, '"浙\nB2",few'))
    built.settle()
    raw = built.rows.read_bytes()
    places = [json.loads(line)["set_aside"] for line in built.report.read_text(encoding="utf-8").splitlines()]
    assert [raw[place["offset"] : place["offset"] + place["bytes"]].decode() for place in places] == ["浙A1,many\n", '"浙\nB2",few\n']
    assert raw.decode("utf-8-sig").splitlines()[0] == "号牌,座位数"
    assert "many" not in built.report.read_text(encoding="utf-8")
    assert {stat.S_IMODE(file.stat().st_mode) for file in (built.report, built.rows)} == {0o600}


def test_both_are_cut_back_to_what_the_position_counts(tmp_path: Path) -> None:
    """Also a line that a kill left half written."""
    built = rejects(tmp_path)
    for row in range(5):
        built.add(reject(row))
    built.settle()
    with built.report.open("ab") as out:
        out.write(b'{"row": 5, "li')
    again = rejects(tmp_path)
    assert again.cut_back(3)
    again.add(reject(9, "9,z"))
    again.settle()
    assert rows_in(again.report) == [0, 1, 2, 9]
    assert again.rows.read_text(encoding="utf-8") == "号牌,座位数\n" + "x,y\n" * 3 + "9,z\n"


def test_cut_back_to_nothing_begins_with_the_header_again(tmp_path: Path) -> None:
    """The file of rows can always be dropped in."""
    built = rejects(tmp_path)
    built.add(reject(0))
    built.settle()
    assert built.cut_back(0)
    built.add(reject(0))
    built.settle()
    assert built.rows.read_text(encoding="utf-8") == "号牌,座位数\nx,y\n"
    assert rows_in(built.report) == [0]


def test_a_report_that_is_shorter_than_the_position_says_so(tmp_path: Path) -> None:
    """Somebody took lines away."""
    built = rejects(tmp_path)
    assert not built.cut_back(1)


def test_a_row_that_is_too_long_to_be_kept_is_reported_by_its_lines(tmp_path: Path) -> None:
    """Half of it, with a quote that stands open, would swallow the rows behind it when they are dropped in again."""
    built = rejects(tmp_path)
    built.add(Reject(0, 2, 900, None, RowFault.TOO_LARGE, '"half', is_whole=False))
    built.add(reject(1))
    built.settle()
    found = [json.loads(line) for line in built.report.read_text(encoding="utf-8").splitlines()]
    assert [(one["line"], one["last_line"], one["set_aside"]["bytes"]) for one in found] == [(2, 900, 0), (3, 3, 4)]
    assert built.rows.read_text(encoding="utf-8-sig") == "号牌,座位数\nx,y\n"
    assert built.cut_back(1)
    assert built.rows.read_text(encoding="utf-8-sig") == "号牌,座位数\n"
