"""Pseudonyms and partitions, written down again from RFC 2104, 5869 and 4648 and from murmur2's reference, with hashlib alone."""

import hashlib

BLOCK_BYTES = 64
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
LABEL = "cityhub/pseudonym/v1"


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256 as RFC 2104 defines it."""
    if len(key) > BLOCK_BYTES:
        key = hashlib.sha256(key).digest()
    key = key.ljust(BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()


def hkdf_sha256(secret: bytes, *, info: bytes, length: int, salt: bytes = b"") -> bytes:
    """Return HKDF-SHA-256 as RFC 5869 defines it; no salt is 32 zero bytes."""
    extracted = hmac_sha256(salt or bytes(32), secret)
    out, block, number = b"", b"", 0
    while len(out) < length:
        number += 1
        block = hmac_sha256(extracted, block + info + bytes([number]))
        out += block
    return out[:length]


def base32(raw: bytes) -> str:
    """Return RFC 4648 base32 in lower case without padding."""
    bits = "".join(f"{byte:08b}" for byte in raw)
    bits += "0" * (-len(bits) % 5)
    return "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


class Pseudonyms:
    """The pseudonyms of one consumer, purpose and identifier kind."""

    def __init__(self, master: bytes, *, scope: str, consumer: str, purpose: str, kind: str, epoch: int) -> None:
        """Derive the key once."""
        parts = [part.encode() for part in (LABEL, scope, consumer, purpose, kind, str(epoch))]
        info = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
        self._key = hkdf_sha256(master, info=info, length=32)
        self._known: dict[str, str] = {}

    def of(self, text: str) -> str:
        """Return the pseudonym of an identifier that needs no other normal form than trimming."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = base32(hmac_sha256(self._key, text.strip().encode())[:16])
        return found


def murmur2(data: bytes) -> int:
    """Return Kafka's murmur2 (seed 0x9747b28c) as an unsigned 32-bit number."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    found = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        found = (found * factor & mask) ^ word
    rest = data[whole:]
    if rest:
        found = (found ^ int.from_bytes(rest, "little")) * factor & mask
    found = (found ^ found >> 13) * factor & mask
    return found ^ found >> 15


def partition_of(key: str | None, *, row: int, partitions: int) -> int:
    """Return where the record of data row ``row`` (from 0) stands."""
    if key is None:
        return row % partitions
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
