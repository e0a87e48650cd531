"""Which encoding a file has: its mark, else the one asked for, else UTF-8 or GB18030 where all of it can be nothing else.

Nothing is guessed from frequencies: guessing took a GB18030 file for Cyrillic. But almost any bytes are GB18030 by chance, so a
file is not taken for it that begins as sound UTF-8 and goes on as something else (cut in a transfer, or two files joined); nor for
UTF-8 where it is both and holds no sequence of three bytes, which every Chinese letter has in UTF-8. Such files are refused.

Python's GB18030 is that of the year 2000; ``GB18030_2022`` moves what later editions gave a place in Unicode out of the private
area.
"""

import codecs
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from connectors.sources.csv_file.file_names import name_of
from hub.model.errors import HubError, Problem

ENCODINGS: Final = ("utf-8", "gb18030", "utf-16")
READ_BYTES: Final = 1 << 20
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (b"\x84\x31\x95\x33", "gb18030"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SOUND_MAX: Final = 4
"""Weight of sound UTF-8 (one for a sequence of two bytes, four for a longer one) that text in GB18030 does not begin with: a letter of
it is two such bytes in one of six cases, a beginning of three in one of a thousand."""
SOUND_MAX_SAID: Final = 12
"""The same where ``encoding:`` says that it is GB18030: three letters of Chinese in a row."""
_LONGER: Final = 4
_TWO_BYTES: Final = bytes(range(0xC2, 0xE0))
_MORE_BYTES: Final = bytes(range(0xE0, 0xF5))
_ALL_BUT: Final = {kind: bytes(sorted({*range(256)} - {*kind})) for kind in (_TWO_BYTES, _MORE_BYTES)}
_FIX: Final = "save the file as UTF-8, or as GB18030, and check that no part of it was pasted in another encoding"

_MOVED: Final = (
    *((0xE78D, 0xFE10), (0xE78E, 0xFE12), (0xE78F, 0xFE11)),
    *((0xE790 + place, 0xFE13 + place) for place in range(7)),
    *((0xE81E, 0x9FB4), (0xE826, 0x9FB5), (0xE82B, 0x9FB6), (0xE82C, 0x9FB7)),
    *((0xE832, 0x9FB8), (0xE843, 0x9FB9), (0xE854, 0x9FBA), (0xE864, 0x9FBB)),
    (0xE7C7, 0x1E3F),
)
GB18030_2022: Final = dict(_MOVED)
"""18 code points that GB 18030-2022 moved (two bytes A6D9…A6F3 and FE59…FEA0), and A8BC, which the edition of 2005 had moved."""


class Fingerprint(msgspec.Struct, frozen=True):
    """What a file looks like from outside; another one means that the file has been written to, or is another file."""

    bytes: int
    mtime_ns: int
    inode: int


class Examined(msgspec.Struct, frozen=True):
    """What one look at the whole file established."""

    sha256: str
    encoding: str
    """A name for ``open``: ``utf-8``, ``utf-8-sig``, ``gb18030`` or ``utf-16``."""
    line_ends: int
    fingerprint: Fingerprint


def fingerprint(path: Path | int) -> Fingerprint:
    """Return the fingerprint of a file, by path or open descriptor."""
    found = path.stat() if isinstance(path, Path) else os.fstat(path)
    return Fingerprint(found.st_size, found.st_mtime_ns, found.st_ino)


def examine(path: Path, *, encoding: str | None = None) -> Examined:
    """Read the whole file once: its hash, its encoding (or prove the one asked for). HUB-CONN-002 names the byte; 006 a change."""
    before = fingerprint(path)
    digest = hashlib.sha256()
    head = b""
    line_ends = 0
    for block in _blocks(path):
        head = head or block[:4]
        digest.update(block)
        line_ends += block.count(b"\n")
    marked = _marked(head)
    if marked is not None:
        name = _prove(path, marked)
    elif encoding is not None:
        name = _as_said(path, encoding)
    else:
        name = _the_one_that_fits(path)
    if fingerprint(path) != before:
        raise changed(name_of(path))
    return Examined(digest.hexdigest(), name, line_ends, before)


def sha256_of(path: Path) -> str:
    """Return the hash of a file, whatever its encoding."""
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def changed(name: str) -> HubError:
    """Return the error of a file that was written to while it was being read."""
    fix = "write files elsewhere and move them in when they are whole; put the file back as it was, and later rows into a new one"
    return HubError("HUB-CONN-006", f"file `{name}` changed while it was being read", fix)


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _prove(path: Path, encoding: str) -> str:
    looked = _look(path, encoding)
    if looked.wrong is not None:
        raise _unreadable(path, {encoding: looked.wrong})
    return encoding


def _as_said(path: Path, encoding: str) -> str:
    """Prove the encoding that the connector file names."""
    if encoding == "gb18030":
        utf_8 = _look(path, "utf-8")
        if utf_8.sound >= SOUND_MAX_SAID:
            raise _not_gb18030(path, utf_8.wrong)
    return _prove(path, encoding)


def _the_one_that_fits(path: Path) -> str:
    """Return UTF-8 or GB18030, where it cannot be the other."""
    utf_8 = _look(path, "utf-8")
    if utf_8.wrong is None:
        if utf_8.sound > 0 and not utf_8.longer and _look(path, "gb18030").wrong is None:
            fix = "say which in the connector file: `encoding: utf-8` or `encoding: gb18030`"
            raise _refused(path, "reads as UTF-8 and as GB18030: it cannot be told which of them it is", fix)
        return "utf-8"
    if utf_8.sound >= SOUND_MAX:
        raise _not_gb18030(path, utf_8.wrong)
    gb18030 = _look(path, "gb18030")
    if gb18030.wrong is not None:
        raise _unreadable(path, {"utf-8": utf_8.wrong, "gb18030": gb18030.wrong})
    return "gb18030"


def _not_gb18030(path: Path, wrong: int | None) -> HubError:
    if wrong is None:
        fix = "take `encoding:` out of the connector file, or begin the file with the mark of its encoding"
        return _refused(path, "is UTF-8 from its first byte to its last, and GB18030 by chance", fix)
    message = f"is UTF-8 as far as byte {wrong} (from 0), and from there something else: it was cut, or two files were joined"
    return _refused(path, message, f"{_FIX}; where all of it is GB18030, begin it with the mark 84 31 95 33")


def _refused(path: Path, message: str, fix: str) -> HubError:
    name = name_of(path)
    return HubError("HUB-CONN-002", f"file `{name}` {message}", fix, problems=(Problem(name, "encoding", message, fix),))


def _unreadable(path: Path, wrong: dict[str, int]) -> HubError:
    problems = tuple(Problem(name_of(path), name, f"byte {offset} (from 0) is no {name}", _FIX) for name, offset in wrong.items())
    tried = ", ".join(f"{name} ends at byte {offset}" for name, offset in wrong.items())
    return HubError("HUB-CONN-002", f"file `{name_of(path)}` is not readable: {tried}", _FIX, problems=problems)


class _Look(msgspec.Struct, frozen=True):
    """What a file is in one encoding."""

    wrong: int | None
    """Offset of the first byte that is none of it; None: all of it is."""
    sound: int
    """Weight of what is sound before, as far as the bounds ask; of UTF-8 alone."""
    longer: bool
    """Whether a sequence of more than two bytes is among it."""


def _look(path: Path, encoding: str) -> _Look:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    fed = two = more = 0
    try:
        for block in _blocks(path):
            fed += len(block)
            decoder.decode(block)
            if encoding == "utf-8" and more < SOUND_MAX_SAID and not block.isascii():
                two, more = two + _count(block, _TWO_BYTES), more + _count(block, _MORE_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        sound = error.object[: error.start] if encoding == "utf-8" else b""
        two, more = two + _count(sound, _TWO_BYTES), more + _count(sound, _MORE_BYTES)
        return _Look(fed - len(error.object) + error.start, two + _LONGER * more, more > 0)
    return _Look(None, two + _LONGER * more, more > 0)


def _count(block: bytes, kind: bytes) -> int:
    """Return how many bytes of ``kind`` stand in ``block``."""
    return len(block.translate(None, _ALL_BUT[kind]))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            yield block
