"""What may be written down of what somebody typed: identifiers, and nothing that only stands where one should.

People paste identity numbers, names and telephone numbers into paths, subjects, file names and settings. What is no identifier is
shown by its length; what is stored for ever (acts) or read by many (logs) holds no text of a caller at all, or has it cut out.
"""

import re
from typing import Final

CHARACTERS_MAX: Final = 160
DIGITS_MAX: Final = 8
"""In a row, whatever parts them into groups: a day has as many, the shortest number that belongs to a person has more."""
_IDENTIFIER: Final = re.compile(rf"(?=.{{1,{CHARACTERS_MAX}}}\Z)[A-Za-z_.][A-Za-z0-9_./:-]*(?:@[0-9]{{1,4}})?\Z")
"""``@`` before a version alone, as tariffs have it: else it is an address of somebody."""
_DIGITS: Final = re.compile(rf"[0-9]{{{DIGITS_MAX + 1},}}")
_PASSPORT: Final = re.compile(r"(?<![A-Za-z0-9])(?:[a-z][0-9]{8}|[A-Z][ ._-]?[0-9]{8}|[A-Z]{2}[ ._-]?[0-9]{7})(?![A-Za-z0-9])")
_PARTS: Final = re.compile(r"[\s._-]+")
"""What people part a number with."""
_KEY_ID: Final = rf"(?<![A-Za-z0-9._/-])(?![0-9a-f]*[0-9]{{{DIGITS_MAX + 1}}})[0-9a-f]{{16}}(?![A-Za-z0-9._/-])"
"""As ``key_id_of`` makes them, where no number that may be a person's stands in it."""
_OURS: Final = re.compile(
    rf"{_KEY_ID}|"
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"  # the id of a topic
    r"|(?<=[A-Za-z][._-])(?:19|20)[0-9]{2}-?(?:0[1-9]|1[0-2])-?(?:[0-2][0-9]|3[01])-[0-9]{1,3}(?=\s|\Z)"  # partition of a dataset of a day
    r"|(?<=//)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?=[:/]|\Z)"  # an address in a URL
)
"""Digits that are parted and belong to nobody."""
_QUOTED: Final = re.compile(r"`([^`]*)`")


def is_identifier(text: str) -> bool:
    """Tell whether ``text`` is an identifier in form: ASCII letters, a few signs, and no long number; or the id of a key."""
    return re.fullmatch(_KEY_ID, text) is not None or (_IDENTIFIER.match(text) is not None and not _holds_a_number(text))


def identifier(text: str) -> str:
    """Return an identifier as it is, and of anything else its length."""
    return text if is_identifier(text) else f"({len(text)} characters, no identifier)"


def masked(message: str) -> str:
    """Return an error's text without what a caller typed: what stands in back-ticks is kept where each word of it is an identifier.

    A back-tick in what was typed would end the quotation early: where they do not pair, all from the first to the last is typed.
    """
    ticks = message.count("`")
    if ticks % 2 == 0 and not any(_is_glued(message, found) for found in _QUOTED.finditer(message)):
        return _QUOTED.sub(lambda found: f"`{_kept(found[1])}`", message)
    first, last = message.index("`"), message.rindex("`")
    end = last if ticks > 1 else len(message)
    return f"{message[:first]}`({end - first - 1} characters)`{message[last + 1 :] if ticks > 1 else ''}"


def _is_glued(message: str, quoted: re.Match[str]) -> bool:
    """Tell whether a word, or another quotation, begins where one ends: none of our sentences does so."""
    before, after = message[: quoted.start()][-1:], message[quoted.end() :][:1]
    return before.isalnum() or after.isalnum() or after == "`"


def _kept(quoted: str) -> str:
    words = quoted.removeprefix("/").split(" ")
    if all(is_identifier(word.lstrip("-<[/") or "_") or _is_short_number(word) for word in words) and not _holds_a_number(quoted):
        return quoted
    return f"({len(quoted)} characters)"


def _is_short_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= DIGITS_MAX


def _holds_a_number(text: str) -> bool:
    """Tell whether ``text`` holds a number that may be a person's, also in groups."""
    return _DIGITS.search(_PARTS.sub("", _OURS.sub("/", text))) is not None or _PASSPORT.search(text) is not None
