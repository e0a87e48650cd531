"""The tables of `docs/reference` can fail: each way in which a page and the code may part is found, and `make golden` loses no words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import reference_pages
from golden_files import VARIABLE
from reference_pages import column, hold_table

PAGE = """# Page

## Colours

Words before it.

| colour | hue | meaning |
|---|---|---|
| `red` | 0 | stop |
| `a\\|b` | 1 | either |

Words behind it.

## Nothing
"""
ROWS = (("`red`", "0"), ("`a\\|b`", "1"))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a page of its own in the place of the reference."""
    monkeypatch.setattr(reference_pages, "ROOT", tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    found = tmp_path / reference_pages.REFERENCE / "page.md"
    found.parent.mkdir(parents=True)
    found.write_text(PAGE, encoding="utf-8")
    return found


@pytest.mark.usefixtures("page")
def test_a_table_that_says_what_code_says_is_held() -> None:
    """Also a cell with a bar in it is one cell."""
    hold_table("page.md", "Colours", ROWS)
    assert column("page.md", "Colours") == ["red", "a\\|b"]


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize(
    "rows",
    [ROWS[:1], ROWS[::-1], (("`red`", "7"), ROWS[1]), (*ROWS, ("`new`", "2")), ()],
    ids=["one row too many", "another order", "another value", "a row that is missing", "no row of the code"],
)
def test_a_table_that_says_something_else_is_found(rows: tuple[tuple[str, str], ...]) -> None:
    """The positive control of every table."""
    with pytest.raises(AssertionError):
        hold_table("page.md", "Colours", rows)


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("heading", ["Nothing", "Nowhere"])
def test_a_table_that_is_not_there_is_found(heading: str) -> None:
    """A heading that was renamed, a table that was taken out."""
    with pytest.raises(AssertionError):
        hold_table("page.md", heading, ROWS)


def test_a_meaning_that_nobody_wrote_is_found(page: Path) -> None:
    """A row without words tells nobody anything."""
    page.write_text(PAGE.replace("| stop |", "| |"), encoding="utf-8")
    with pytest.raises(AssertionError, match="say what these mean"):
        hold_table("page.md", "Colours", ROWS)


def test_golden_writes_the_columns_of_the_code_and_keeps_the_words(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new waits for its words, and what is gone goes; the text around the table stays as it was."""
    monkeypatch.setenv(VARIABLE, "write")
    with pytest.raises(AssertionError, match="say what these mean"):
        hold_table("page.md", "Colours", (("`new`", "2"), ("`red`", "3")))
    expected = PAGE.replace("| `red` | 0 | stop |\n| `a\\|b` | 1 | either |", "| `new` | 2 | ? |\n| `red` | 3 | stop |")
    assert page.read_text(encoding="utf-8") == expected
