"""How a file is called in errors, logs and reports: by its name where that is plain, else by a name that is made of its hash.

People write persons' names and numbers into file names. A plain name is of ASCII letters, digits, dots, dashes and underscores, and
of no more digits than a time has. Any other is shown as ``file-<12 hex>``, the beginning of the SHA-256 of the name, with the ending.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

STAND_IN_HEX: Final = 12
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_DIGITS: Final = re.compile(r"[0-9]+")
_TIME: Final = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])[0-9]{4}(?:[0-9]{2})?\Z")
_DAY_DIGITS: Final = 8
_TIME_DIGITS: Final = 14
_ENDING: Final = re.compile(r"\.[A-Za-z]{1,8}\Z")


def name_of(path: Path) -> str:
    """Return how the file is called."""
    return path.name if _is_plain(path.name) else stand_in(path)


def stand_in(path: Path) -> str:
    """Return the name that is made of the hash of a file's name: the same for the same name, also where its bytes are no UTF-8."""
    ending = _ENDING.search(path.name)
    return f"file-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:STAND_IN_HEX]}{ending[0] if ending else ''}"


def _is_plain(name: str) -> bool:
    runs = _DIGITS.findall(name)
    fits = all(len(run) <= _DAY_DIGITS or _TIME.match(run) for run in runs)
    return _PLAIN.match(name) is not None and fits and sum(map(len, runs)) <= _TIME_DIGITS
