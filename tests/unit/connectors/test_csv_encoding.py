"""Encodings: proven from the whole file, never guessed."""

import hashlib
from pathlib import Path

import pytest

from connectors.sources.csv_file.encoding import GB18030_2022, READ_BYTES, examine
from hub.model.errors import HubError


def written(folder: Path, content: bytes) -> Path:
    """Write a file."""
    path = folder / "a.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"plain", "utf-8"),
        (b"", "utf-8"),
        ("号牌".encode(), "utf-8"),
        (b"\xef\xbb\xbf" + "号牌".encode(), "utf-8-sig"),
        ("号牌".encode("gb18030"), "gb18030"),
        (b"\x84\x31\x95\x33" + "号牌".encode("gb18030"), "gb18030"),
        ("号牌".encode("utf-16"), "utf-16"),
    ],
)
def test_the_mark_decides_else_utf_8_else_gb18030(tmp_path: Path, content: bytes, encoding: str) -> None:
    """In this order."""
    assert examine(written(tmp_path, content)).encoding == encoding


@pytest.mark.parametrize("at", [0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1])
def test_the_first_wrong_byte_is_named_wherever_it_stands(tmp_path: Path, at: int) -> None:
    """Also at the border of two reads."""
    with pytest.raises(HubError) as raised:
        examine(written(tmp_path, b"a" * at + b"\xff" + b"a" * 10))
    assert raised.value.code == "HUB-CONN-002"
    assert [(problem.field, problem.message.split()[1]) for problem in raised.value.problems] == [("utf-8", str(at)), ("gb18030", str(at))]


def test_a_sequence_cut_by_the_end_of_the_file_is_wrong_where_it_begins(tmp_path: Path) -> None:
    """A file that was copied in part."""
    with pytest.raises(HubError) as raised:
        examine(written(tmp_path, b"ab" + "号".encode()[:2]), encoding="utf-8")
    assert "byte 2" in raised.value.problems[0].message


def test_a_mark_that_lies_is_no_licence(tmp_path: Path) -> None:
    """Marked as UTF-8 and not UTF-8: refused, not tried as something else."""
    with pytest.raises(HubError, match="HUB-CONN-002"):
        examine(written(tmp_path, b"\xef\xbb\xbf" + "号牌".encode("gb18030")))


def test_the_encoding_asked_for_is_proven_too(tmp_path: Path) -> None:
    """An override is a claim about the file."""
    path = written(tmp_path, "号牌号".encode("gb18030"))
    assert examine(path, encoding="gb18030").encoding == "gb18030"
    with pytest.raises(HubError, match="HUB-CONN-002"):
        examine(path, encoding="utf-8")


@pytest.mark.parametrize(
    ("raw", "letter"),
    [
        *(("a6d9", "︐"), ("a6da", "︒"), ("a6db", "︑"), ("a6dc", "︓"), ("a6dd", "︔"), ("a6de", "︕"), ("a6df", "︖")),
        *(("a6ec", "︗"), ("a6ed", "︘"), ("a6f3", "︙"), ("a8bc", "ḿ")),
        *(("fe59", "龴"), ("fe61", "龵"), ("fe66", "龶"), ("fe67", "龷"), ("fe6d", "龸"), ("fe7e", "龹"), ("fe90", "龺"), ("fea0", "龻")),
    ],
)
def test_letters_that_later_editions_moved_leave_the_private_area(raw: str, letter: str) -> None:
    """Python's codec is of the year 2000; glibc's iconv was asked for these."""
    assert bytes.fromhex(raw).decode("gb18030").translate(GB18030_2022) == letter
    assert len(GB18030_2022) == 19


def test_hash_and_line_ends_are_of_the_whole_file(tmp_path: Path) -> None:
    """The hash is the file's identity."""
    found = examine(written(tmp_path, b"a\nb\nc"))
    assert found.sha256 == hashlib.sha256(b"a\nb\nc").hexdigest()
    assert (found.line_ends, found.fingerprint.bytes) == (2, 5)
