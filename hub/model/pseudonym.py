"""Pseudonyms: the same value gives the same 26 characters within one consumer, purpose and identifier kind, and nowhere else.

``base32(HMAC-SHA-256(k, normal form))``, first 16 bytes, lower case, unpadded; ``k`` by HKDF-SHA-256 (RFC 5869) from the master
key of the key epoch. A value that is no valid form of its kind has no pseudonym: better none than one that joins with nothing.
``InvalidIdentifier`` never carries the value. Vectors: ``tests/golden/pseudonyms.json``. Told in docs/reference/shapes.md
"Pseudonyms"; GB 11643 (resident id), GB 32100 (credit code).
"""

import datetime as dt
import hmac
import re
import struct
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

IDENTIFIER_CHARACTERS_MAX: Final = 512
"""A longer text is no identifier; the bound stands before NFKC, whose cost is quadratic in runs of combining marks."""
PSEUDONYM_CHARACTERS: Final = 26
_UNSETTLED: Final = re.compile(
    "["
    "\u0558\u058b-\u058c\u05c8-\u05c9\u0897\u1acf-\u1af0\u209d-\u209f\ua7f1\U000105c9-\U000105e4"
    "\U000107bb-\U000107bf\U00010d69-\U00010d6d\U00010ecb-\U00010eff\U00011382-\U000113d0\U00011f41-\U00011f42"
    "\U0001611e-\U0001612f\U00016d63-\U00016d6a\U0001b123-\U0001b126\U0001ccd6-\U0001ccf9\U0001d127-\U0001d128"
    "\U0001d250-\U0001d281\U0001d6a6\U0001df95\U0001dfcd-\U0001dfff\U0001e030-\U0001e08f\U0001e4ec-\U0001e4ef"
    "\U0001e5ee-\U0001e5ef\U0001e6e3-\U0001e6f5"
    "]"
)
"""Characters that Unicode 14 (Python 3.11) leaves as they are and a version up to 18 normalises, and what lies close between them.

A text with one of them would have another pseudonym on another version of Python, so that it is no identifier. What a character
has once been given stays (Unicode's normalisation stability), so that no other text depends on the version. A test sums up all
normalisations but these: it fails on a Python that knows further ones.
"""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters, but for tab, line feed and carriage return, which some kinds drop as spaces."""
_INVISIBLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""What no eye sees in a normal form: control characters and marks of layout. The joiners of some scripts (U+200C, U+200D) are letters."""
_LABEL: Final = "cityhub/pseudonym/v1"
_CHECK_TEXT: Final = b"cityhub/key-check/v1"


class InvalidIdentifier(ValueError):  # noqa: N818 (a refusal, and no bug of the program)
    """A value is no valid form of its identifier kind. Names the kind, never the value."""

    def __init__(self, kind: str) -> None:
        """Keep the kind."""
        super().__init__(f"not a valid form of `{kind}`")
        self.kind = kind


def normal_form(kind: str, text: str) -> str:
    """Return the one form of ``text`` that its pseudonym is made of; InvalidIdentifier when it is no valid form of ``kind``."""
    if len(text) > IDENTIFIER_CHARACTERS_MAX or not (text.isascii() or _UNSETTLED.search(text) is None):
        raise InvalidIdentifier(kind)
    trimmed = unicodedata.normalize("NFKC", text).strip()
    normalise = _NORMAL_FORMS.get(kind)
    found = trimmed if normalise is None else normalise(trimmed)
    if not found or _INVISIBLE.search(found) is not None:
        raise InvalidIdentifier(kind)
    return found


def holds_control(text: str) -> bool:
    """Tell whether ``text`` has a control character other than tab, line feed and carriage return: framed bytes, and no identifier."""
    return _CONTROL.search(text) is not None


def derive_key(master: bytes, *, scope: str, consumer: str, purpose: str, kind: str, epoch: int) -> bytes:
    """Return the 32-byte pseudonym key of one consumer, purpose and identifier kind under ``master``, the key of ``epoch``."""
    info = b"".join(_prefixed(part) for part in (_LABEL, scope, consumer, purpose, kind, str(epoch)))
    extracted = hmac.digest(bytes(32), master, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def pseudonym(key: bytes, normal: str) -> str:
    """Return the pseudonym of a normal form."""
    number = int.from_bytes(hmac.digest(key, normal.encode(), "sha256")[:16], "big") << 2
    return "".join([_PAIRS[(number >> shift) & 0x3FF] for shift in _SHIFTS])


def check_value(master: bytes) -> str:
    """Return the hex check value of a master key, which stands in ``hub.plan`` under ``keys/<key epoch>``."""
    return hmac.digest(master, _CHECK_TEXT, "sha256").hex()


def _prefixed(part: str) -> bytes:
    encoded = part.encode()
    return struct.pack(">H", len(encoded)) + encoded


# Base32 by pairs of letters: 128 bits and two zero bits are 13 pairs, where base64.b32encode works letter by letter.
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS: Final = tuple(range(120, -1, -10))


# Normal forms. Each takes text after NFKC and trimming, and returns "" for what is no valid form.

_DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MIDDLE_DOTS: Final = "\u00b7\u2022\u2027\u2219\u22c5\u2e31\u30fb"
_DOTS: Final = "." + _MIDDLE_DOTS
_SPACES: Final = " \t\n\r\u3000"


def _without(characters: str) -> dict[int, None]:
    return dict.fromkeys(map(ord, characters))


_NO_SPACES_DASHES: Final = _without(_SPACES + _DASHES)
_NO_SPACES_DOTS_DASHES: Final = _without(_SPACES + _DOTS + _DASHES)
_PHONE_MARKS: Final = _without(_SPACES + _DOTS + _DASHES + "()")
_NAME_MARKS: Final[dict[int, str | None]] = {**_without(_SPACES), **dict.fromkeys(map(ord, _MIDDLE_DOTS), "\u00b7")}

_RESIDENT_18: Final = re.compile(r"[1-9][0-9]{16}[0-9X]\Z")
_RESIDENT_15: Final = re.compile(r"[1-9][0-9]{14}\Z")
_RESIDENT_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_CHECKS: Final = "10X98765432"
_PHONE: Final = re.compile(r"[0-9]{5,15}\Z")
_BEFORE_NUMBER: Final = re.compile(r"\+86|0086|\+")
_BEFORE_MOBILE: Final = re.compile(r"(?:86|0|086)(?=1[3-9][0-9]{9}\Z)")
_LIKE_MOBILE: Final = re.compile(r"(?:86|0|086)?1[3-9]")
_MOBILE: Final = re.compile(r"1[3-9][0-9]{9}\Z")
_LANDLINE_DIGITS_MAX: Final = 8
"""Of a landline without its area, which may begin with 86."""
_SHORT_TAIL: Final = re.compile(r"[^.]*\.[^.]{1,2}\Z")
_ZEROS_BEHIND: Final = re.compile(r"[^.]*\.0*\Z")
_NUMBER: Final = re.compile(r"[0-9]*\.[0-9]*(?:[Ee][0-9]+)?\Z")
_PLATE: Final = re.compile(r"(?=.*[0-9])[A-Z0-9\u4e00-\u9fff]{4,12}\Z")
_CREDIT: Final = re.compile(r"[0-9A-HJ-NPQRTUWXY]{18}\Z")
_CREDIT_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS: Final = tuple(pow(3, place, 31) for place in range(17))


def _resident_id(text: str) -> str:
    """Return 18 characters: no spaces and dashes, upper-case X; 15 digits (born in the 1900s) are widened. GB 11643."""
    bare = text.translate(_NO_SPACES_DASHES).upper()
    if _RESIDENT_15.match(bare):
        body = f"{bare[:6]}19{bare[6:]}"
        bare = body + _resident_check(body)
    elif not _RESIDENT_18.match(bare) or bare[17] != _resident_check(bare):
        return ""
    try:
        dt.date(int(bare[6:10]), int(bare[10:12]), int(bare[12:14]))
    except ValueError:
        return ""
    return bare


def _resident_check(digits: str) -> str:
    return _RESIDENT_CHECKS[sum(weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, digits, strict=False)) % 11]


def _phone(text: str) -> str:
    """Return the digits, without +86 or 0086; spaces, dots, dashes and brackets may stand between them.

    Before a mobile number 86, 0 and 086 go too; what begins like one and has not its eleven digits is no number. A full stop that
    only zeros follow, or one or two characters, is a decimal point (``13800000001.0``), and what has one is no number either.
    """
    written = text.translate(_NO_SPACES_DASHES)
    if _SHORT_TAIL.match(written) or _ZEROS_BEHIND.match(written):
        return ""
    bare = text.translate(_PHONE_MARKS)
    for before in (_BEFORE_NUMBER, _BEFORE_MOBILE):
        found = before.match(bare)
        bare = bare if found is None else bare[found.end() :]
    landline = bare.startswith("86") and len(bare) <= _LANDLINE_DIGITS_MAX
    if _LIKE_MOBILE.match(bare) and not _MOBILE.match(bare) and not landline:
        return ""
    return bare if _PHONE.match(bare) else ""


def _plate(text: str) -> str:
    """Return 4-12 upper-case letters, digits and Chinese characters, a digit among them; no spaces, dots, dashes.

    What reads as a decimal number, or has one or two characters behind a full stop, went through a spreadsheet and is none.
    """
    written = text.translate(_NO_SPACES_DASHES)
    if _SHORT_TAIL.match(written) or _NUMBER.match(written):
        return ""
    bare = written.translate(_NO_SPACES_DOTS_DASHES).upper()
    return bare if _PLATE.match(bare) else ""


def _credit_code(text: str) -> str:
    """Return 18 upper-case characters whose check character holds. GB 32100."""
    bare = text.upper()
    if not _CREDIT.match(bare):
        return ""
    total = sum(weight * _CREDIT_ALPHABET.index(char) for weight, char in zip(_CREDIT_WEIGHTS, bare, strict=False))
    return bare if _CREDIT_ALPHABET[-total % 31] == bare[17] else ""


def _name(text: str) -> str:
    """Return the name without inner spaces, every kind of middle dot as ``·``; where a space went, a mark may meet its letter."""
    return unicodedata.normalize("NFKC", text.translate(_NAME_MARKS))


_NORMAL_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "resident-id": _resident_id,
    "phone": _phone,
    "plate": _plate,
    "credit-code": _credit_code,
    "name": _name,
}
KINDS: Final = tuple(_NORMAL_FORMS)
"""Identifier kinds that have a normal form; ``hub.model.identifiers`` says which others there may be."""
