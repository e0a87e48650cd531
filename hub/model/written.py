"""What may be written down of what somebody typed: identifiers, and nothing that only stands where one should.

People paste identity numbers, names and telephone numbers into paths, subjects, file names and settings. What is no identifier is
shown by its length; what is stored for ever (acts) or read by many (logs) holds no text of a caller at all, or has it cut out.
"""

import re
from typing import Final

CHARACTERS_MAX: Final = 160
DIGITS_MAX: Final = 8
"""In a row: a day has as many, the shortest number that belongs to a person has more."""
_IDENTIFIER: Final = re.compile(rf"[A-Za-z_.][A-Za-z0-9_./@:-]{{0,{CHARACTERS_MAX - 1}}}\Z")
_DIGITS: Final = re.compile(rf"[0-9]{{{DIGITS_MAX + 1},}}")
_QUOTED: Final = re.compile(r"`([^`]*)`")


def is_identifier(text: str) -> bool:
    """Tell whether ``text`` is an identifier in form: ASCII letters, a few signs, and no long number."""
    return _IDENTIFIER.match(text) is not None and _DIGITS.search(text) is None


def identifier(text: str) -> str:
    """Return an identifier as it is, and of anything else its length."""
    return text if is_identifier(text) else f"({len(text)} characters, no identifier)"


def masked(message: str) -> str:
    """Return an error's text without what a caller typed: what stands in back-ticks is kept where each word of it is an identifier."""
    return _QUOTED.sub(lambda found: f"`{_kept(found[1])}`", message)


def _kept(quoted: str) -> str:
    path = quoted.removeprefix("/")
    if all(is_identifier(word.lstrip("-<[/") or "_") or (word.isdigit() and len(word) <= DIGITS_MAX) for word in path.split(" ")):
        return quoted
    return f"({len(quoted)} characters)"
