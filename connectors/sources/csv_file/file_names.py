"""How a file is called in errors, logs and reports: by its name where that is plain, else by a name that is made of its hash.

People write persons' names and numbers into file names. A plain name is of ASCII letters, digits, dots, dashes and underscores; eight
digits or more, however they are grouped, are a day or a time in it, and stand behind no one or two letters. Any other is shown as
``file-<12 hex>``, the beginning of the SHA-256 of the name, with the ending.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

STAND_IN_HEX: Final = 12
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_GROUPS: Final = re.compile(r"[0-9](?:[._-]*[0-9])*")
_BETWEEN: Final = re.compile(r"[._-]+")
_DAY: Final = r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])"
_TIME: Final = re.compile(rf"{_DAY}(?:[0-9]{{4}}(?:[0-9]{{2}})?)?\Z")
_DOCUMENT: Final = re.compile(r"(?<![A-Za-z])[A-Za-z]{1,2}[0-9]{8}")
"""The number of a passport or permit: a day may look like it."""
_SHORT_DIGITS: Final = 7
_TIME_DIGITS: Final = 14
_STAND_IN: Final = re.compile(rf"file-[0-9a-f]{{{STAND_IN_HEX}}}(?:\.[A-Za-z]{{1,8}})?\Z")
_ENDING: Final = re.compile(r"\.[A-Za-z]{1,8}\Z")


def name_of(path: Path) -> str:
    """Return how the file is called."""
    return path.name if _is_plain(path.name) else stand_in(path)


def stand_in(path: Path) -> str:
    """Return the name that is made of the hash of a file's name: the same for the same name, also where its bytes are no UTF-8."""
    ending = _ENDING.search(path.name)
    return f"file-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:STAND_IN_HEX]}{ending[0] if ending else ''}"


def is_stand_in(name: str) -> bool:
    """Tell whether a name is one that ``stand_in`` makes."""
    return _STAND_IN.match(name) is not None


def _is_plain(name: str) -> bool:
    groups = [_BETWEEN.sub("", group) for group in _GROUPS.findall(name)]
    fits = all(len(group) <= _SHORT_DIGITS or _TIME.match(group) for group in groups) and _DOCUMENT.search(name) is None
    return _PLAIN.match(name) is not None and fits and sum(map(len, groups)) <= _TIME_DIGITS
