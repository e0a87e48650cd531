"""The hub's proof: what tells an entry of hub.plan that this hub made from one that anybody could have written.

Serve appends every record of hub.plan with a header that only a holder of the master key can make: HMAC-SHA-256 over record key and
value, under a key derived from the master key (RFC 5869) for this and nothing else. A worker that meets an entry whose signature it
refuses can so tell an officer's key that it was not given from a stranger. The proof is no right: what it proves is never obeyed,
only not passed over.
"""

import hmac
import struct
from collections.abc import Iterable, Mapping
from typing import Final

HEADER: Final = "ch-hub-proof"
_LABEL: Final = "cityhub/plan-proof/v1"
_EPOCH: Final = struct.Struct(">I")
_DIGEST_BYTES: Final = 32


def plan_proof(master: bytes, *, scope: str, epoch: int, key: bytes, value: bytes) -> bytes:
    """Return the header's value for one record: the key epoch as 4 bytes, then the HMAC."""
    derived = _derived(master, scope=scope, epoch=epoch)
    return _EPOCH.pack(epoch) + hmac.digest(derived, _prefixed(key) + _prefixed(value), "sha256")


def is_proven(
    headers: Iterable[tuple[str, bytes | None]], *, master_keys: Mapping[int, bytes], scope: str, key: bytes | None, value: bytes | None
) -> bool:
    """Tell whether one of a record's headers is this hub's proof of ``key`` and ``value``, under one of the ``master_keys``."""
    return any(
        _holds(proof, master_keys=master_keys, scope=scope, key=key or b"", value=value or b"")
        for name, proof in headers
        if name == HEADER and proof is not None
    )


def _holds(proof: bytes, *, master_keys: Mapping[int, bytes], scope: str, key: bytes, value: bytes) -> bool:
    if len(proof) != _EPOCH.size + _DIGEST_BYTES:
        return False
    (epoch,) = _EPOCH.unpack_from(proof)
    master = master_keys.get(epoch)
    return master is not None and hmac.compare_digest(proof, plan_proof(master, scope=scope, epoch=epoch, key=key, value=value))


def _derived(master: bytes, *, scope: str, epoch: int) -> bytes:
    info = b"".join(_prefixed(part.encode()) for part in (_LABEL, scope, str(epoch)))
    return hmac.digest(hmac.digest(bytes(_DIGEST_BYTES), master, "sha256"), info + b"\x01", "sha256")


def _prefixed(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part
