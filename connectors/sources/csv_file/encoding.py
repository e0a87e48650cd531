"""Which encoding a file has: its mark, else UTF-8 where all of it is UTF-8, else GB18030 where all of it is that, else refused.

Nothing is guessed from frequencies: guessing took a GB18030 file for Cyrillic. Python's GB18030 is that of the year 2000;
``GB18030_2022`` moves what later editions gave a place in Unicode out of the private area.
"""

import codecs
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from hub.model.errors import HubError, Problem

ENCODINGS: Final = ("utf-8", "gb18030", "utf-16")
READ_BYTES: Final = 1 << 20
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (b"\x84\x31\x95\x33", "gb18030"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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


def name_of(path: Path) -> str:
    """Return a file's name as text, also where its bytes are no UTF-8 (an archive unpacked under another locale)."""
    return os.fsencode(path.name).decode(errors="backslashreplace")


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
    found = encoding or _marked(head)
    name = _prove(path, found) if found else _first_that_fits(path)
    if fingerprint(path) != before:
        raise changed(name_of(path))
    return Examined(digest.hexdigest(), name, line_ends, before)


def changed(name: str) -> HubError:
    """Return the error of a file that was written to while it was being read."""
    fix = "write files elsewhere and move them in when they are whole; put the file back as it was, and later rows into a new one"
    return HubError("HUB-CONN-006", f"file `{name}` changed while it was being read", fix)


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _prove(path: Path, encoding: str) -> str:
    wrong = _first_wrong_byte(path, encoding)
    if wrong is not None:
        raise _unreadable(path, {encoding: wrong})
    return encoding


def _first_that_fits(path: Path) -> str:
    wrong: dict[str, int] = {}
    for name in ("utf-8", "gb18030"):
        found = _first_wrong_byte(path, name)
        if found is None:
            return name
        wrong[name] = found
    raise _unreadable(path, wrong)


def _unreadable(path: Path, wrong: dict[str, int]) -> HubError:
    problems = tuple(Problem(name_of(path), name, f"byte {offset} (from 0) is no {name}", _FIX) for name, offset in wrong.items())
    tried = ", ".join(f"{name} ends at byte {offset}" for name, offset in wrong.items())
    return HubError("HUB-CONN-002", f"file `{name_of(path)}` is not readable: {tried}", _FIX, problems=problems)


def _first_wrong_byte(path: Path, encoding: str) -> int | None:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    fed = 0
    try:
        for block in _blocks(path):
            fed += len(block)
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return fed - len(error.object) + error.start
    return None


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            yield block
