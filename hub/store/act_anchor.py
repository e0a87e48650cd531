"""Anchors: a signed word, kept away from the database, of which act was the last one and what its hash was.

An anchor covers every act before it, by their hashes; rows are numbered from 1 without gaps, so its number is their count. It never
runs ahead of what SQL has committed, since it is made from what SQL answers. One copy stands in Kafka, one in the state folder.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.model.errors import HubError
from hub.model.signing import key_id_of

FILE: Final = "acts.anchor"
TEXT_BYTES_MAX: Final = 4_000
_FIX: Final = "find out who wrote it; the other copy, and the acts themselves, are not touched by this"


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last act of a scope's hub at some moment."""

    scope: str
    seq: int
    hash: str
    at_ms: int
    key_id: str
    signature: str
    """Hex; over everything else."""

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        return b"\0".join((b"cityhub anchor of acts", *(str(part).encode() for part in (self.scope, self.seq, self.hash, self.at_ms))))


def make_anchor(*, scope: str, seq: int, link: str, key: Ed25519PrivateKey) -> Anchor:
    """Return the signed anchor of act ``seq`` with hash ``link``."""
    bare = Anchor(scope=scope, seq=seq, hash=link, at_ms=time.time_ns() // 1_000_000, key_id=key_id_of(key.public_key()), signature="")
    return msgspec.structs.replace(bare, signature=key.sign(bare.signed).hex())


def write_anchor(anchor: Anchor) -> str:
    """Return an anchor as text."""
    return msgspec.json.encode(anchor).decode()


def read_anchor(text: str, *, scope: str, trust: Mapping[str, Ed25519PublicKey], where: str) -> Anchor:
    """Read what ``write_anchor`` wrote; HUB-ACTS-002 for what no trusted key signed for this scope."""
    try:
        anchor = msgspec.json.decode(text, type=Anchor)
        trust[anchor.key_id].verify(bytes.fromhex(anchor.signature), anchor.signed)
    except (msgspec.DecodeError, ValueError, KeyError, InvalidSignature):
        raise HubError("HUB-ACTS-002", f"the anchor {where} is not signed by a key that is trusted", _FIX) from None
    if anchor.scope != scope:
        raise HubError("HUB-ACTS-002", f"the anchor {where} is another hub's", _FIX)
    return anchor


class AnchorFile:
    """The copy in the state folder: small, of mode 0600, on disk before the call returns."""

    def __init__(self, state: Path) -> None:
        """Nothing is read yet."""
        self.path: Final = state / FILE

    def read(self) -> str | None:
        """Return its text, None where there is none."""
        try:
            return self.path.read_bytes()[: TEXT_BYTES_MAX + 1].decode(errors="replace")
        except FileNotFoundError:
            return None

    def write(self, text: str) -> None:
        """Put ``text`` in its place, whole or not at all."""
        fresh = self.path.with_suffix(".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, text.encode())
            os.fsync(file)
        finally:
            os.close(file)
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
