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


def text_of(letters: int) -> str:
    """Return rows with so many letters of Chinese in the second of two cells."""
    return "id,name\n" + "".join(f"{number},{'东西南北'[:letters]}\n" for number in range(5))


def refusal(path: Path, **options: str) -> str:
    """Return why a file is refused."""
    with pytest.raises(HubError) as raised:
        examine(path, **options)
    assert raised.value.code == "HUB-CONN-002"
    return raised.value.message


@pytest.mark.parametrize("said", [{}, {"encoding": "gb18030"}])
@pytest.mark.parametrize("letters", [1, 2, 3, 4])
def test_a_file_of_utf_8_joined_with_gb18030_is_refused_where_utf_8_ends(tmp_path: Path, letters: int, said: dict[str, str]) -> None:
    """Whether its cells have odd or even numbers of letters: it is GB18030 by chance at most."""
    sound = text_of(letters).encode()
    rest = "6,中文\n".encode("gb18030")
    assert f"byte {len(sound) + 2} " in refusal(written(tmp_path, sound + rest), **said).replace("gb18030 ends at", "")


@pytest.mark.parametrize("cut", [1, 2])
def test_a_file_of_utf_8_that_lost_its_end_is_refused_where_it_was_cut(tmp_path: Path, cut: int) -> None:
    """A transfer that broke off inside a letter."""
    whole = (text_of(2) + "9,东").encode()
    assert f"byte {len(whole) - 3} " in refusal(written(tmp_path, whole[:-cut]))


def test_text_that_is_utf_8_and_gb18030_alike_is_refused_until_somebody_says_which(tmp_path: Path) -> None:
    """Each letter of the one is two bytes of the other: nothing in the file tells."""
    path = written(tmp_path, "id,name\n1,路拢\n".encode("gb18030"))
    assert "cannot be told" in refusal(path)
    assert [examine(path, encoding=said).encoding for said in ("utf-8", "gb18030")] == ["utf-8", "gb18030"]


def test_utf_8_is_not_read_as_gb18030_because_somebody_says_so(tmp_path: Path) -> None:
    """A mended file in a folder of another system."""
    assert "UTF-8 from its first byte to its last" in refusal(written(tmp_path, text_of(2).encode()), encoding="gb18030")


@pytest.mark.parametrize("said", ["utf-8", "gb18030", "utf-16"])
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\x84\x31\x95\x33"])
def test_a_mark_is_believed_before_the_connector_file(tmp_path: Path, said: str, mark: bytes) -> None:
    """The file knows best; its mark is no text, whoever named the encoding."""
    name = {b"\xef\xbb\xbf": "utf-8-sig"}.get(mark, "gb18030")
    assert examine(written(tmp_path, mark + text_of(2).encode(name.removesuffix("-sig"))), encoding=said).encoding == name


@pytest.mark.parametrize("text", ["编号,姓名\n1,李四\n", "id,name\n1,李四\n2,王小明\n", "啊,阿\n", "id\n1\n"])
def test_files_of_one_encoding_need_no_word(tmp_path: Path, text: str) -> None:
    """The rule against joined files costs nobody else."""
    assert examine(written(tmp_path, text.encode())).encoding == "utf-8"
    assert examine(written(tmp_path, text.encode("gb18030"))).encoding == ("utf-8" if text.isascii() else "gb18030")


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
