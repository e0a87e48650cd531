"""Signatures over plan entries: Ed25519 (RFC 8032) over ``hub.model.entry.signing_bytes``."""

import hashlib
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.model.entry import signing_bytes
from hub.model.errors import HubError
from hub.model.records import PlanEntry


def key_id_of(public: Ed25519PublicKey) -> str:
    """Return the id of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def sign_entry(entry: PlanEntry, key: Ed25519PrivateKey) -> PlanEntry:
    """Return ``entry`` with key id and signature of ``key``."""
    named = msgspec.structs.replace(entry, key_id=key_id_of(key.public_key()), signature=b"")
    return msgspec.structs.replace(named, signature=key.sign(signing_bytes(named)))


def verify_entry(entry: PlanEntry, trust: Mapping[str, Ed25519PublicKey]) -> None:
    """Hold that a trusted key signed ``entry``; HUB-KEY-004 for an unknown key, HUB-KEY-003 for a bad signature."""
    public = trust.get(entry.key_id)
    if public is None:
        raise HubError(
            "HUB-KEY-004",
            f"entry `{entry.kind}/{entry.object_id}` revision {entry.revision} is signed with key `{entry.key_id}`",
            "add the key to trust.keys if it is one of the hub's, otherwise find out who wrote to hub.plan",
        )
    try:
        public.verify(entry.signature, signing_bytes(entry))
    except InvalidSignature as error:
        raise HubError(
            "HUB-KEY-003",
            f"entry `{entry.kind}/{entry.object_id}` revision {entry.revision} does not carry a valid signature of `{entry.key_id}`",
            "find out who wrote to hub.plan; `cityhub serve` repairs the entry",
        ) from error
