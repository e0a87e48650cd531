"""File names in errors, logs and reports."""

from pathlib import Path

import pytest

from connectors.sources.csv_file.file_names import is_stand_in, name_of, stand_in


@pytest.mark.parametrize(
    "name",
    [
        "a.csv",
        "export_2026-12-01.CSV",
        "flights-20261201.csv",
        "x.20261201093000.csv",
        "part-01-of-12.csv",
        "day-2026-12-01_09-30.csv",
        "export20261201.csv",
        "1234567.csv",
    ],
)
def test_plain_names_are_said(name: str) -> None:
    """Whoever looks for the file finds it."""
    assert name_of(Path("in") / name) == name


@pytest.mark.parametrize(
    "name",
    [
        "王小明.csv",
        "330106199001011258.csv",
        "13800001258.csv",
        "330106-19900101-1258.csv",
        "19900101125.csv",
        "138-0013-8000.csv",
        "138.0013_8000.csv",
        "110101-19900307.csv",
        "E12345678.csv",
        "E19900307.csv",
        "12345678.csv",
        "a b.csv",
        "x" * 65,
    ],
)
def test_names_that_may_be_about_a_person_are_not(name: str) -> None:
    """They are shown by a hash, which stays the same and keeps the ending."""
    shown = name_of(Path("in") / name)
    assert shown == stand_in(Path(name))
    assert is_stand_in(shown)
    assert name.removesuffix(".csv") not in shown
    assert shown.endswith(".csv") is name.endswith(".csv")


def test_names_whose_bytes_are_no_utf_8_have_a_hash_too() -> None:
    """An archive unpacked under another locale."""
    assert len(name_of(Path("\udcb5\udcc8.csv"))) == len("file-.csv") + 12
