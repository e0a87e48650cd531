"""Identifier kinds: what a value identifies, and so which normal form its pseudonym is made of.

The list is closed: departments that write one kind alike get pseudonyms that can be joined, and a misspelt kind would be a kind of
its own, without normal form and without a check. What no kind here fits begins with ``x-`` and is taken as it is written.
"""

import difflib
import re
from typing import Final

from hub.model.pseudonym import KINDS

OWN: Final = re.compile(r"x-[a-z0-9][a-z0-9-]{0,37}\Z")


def is_identifier_kind(kind: str) -> bool:
    """Tell whether ``kind`` is one of ``KINDS``, or one's own (``x-…``)."""
    return kind in KINDS or OWN.match(kind) is not None


def kind_fix(kind: object) -> str:
    """Return what to write in place of ``kind``; it is not repeated, as a value may stand where a kind should."""
    near = difflib.get_close_matches(kind.lower(), KINDS, n=1) if isinstance(kind, str) else []
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"{hint}write one of {', '.join(KINDS)}, or a kind of your own that begins with `x-`"
