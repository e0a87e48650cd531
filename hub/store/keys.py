"""Key files of the state folder: master keys of pseudonyms, the officer's signing key, and the keys that are trusted.

Layout of ``keys/``: ``master-<epoch>.key`` (32 bytes), ``officer.key`` (Ed25519, PEM), both of mode 0600, and
``trust.keys`` (lines of ``<key id> <base64 public key> <comment>``). A master key is never in a topic, SQL, log or
process list. Losing it changes every pseudonym: back it up.
"""

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from hub.model.errors import HubError
from hub.model.signing import key_id_of

MASTER_KEY_BYTES: Final = 32


def create_keys(folder: Path, *, epoch: int, comment: str) -> bool:
    """Make the keys that are missing; True when a new master key was made. Existing files are left alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = _write_once(folder / f"master-{epoch}.key", secrets.token_bytes(MASTER_KEY_BYTES))
    officer = folder / "officer.key"
    if not officer.exists():
        private = Ed25519PrivateKey.generate()
        _write_once(officer, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = load_officer_key(folder).public_key()
    trust = folder / "trust.keys"
    if not trust.exists() or key_id_of(public) not in load_trust_keys(folder):
        line = f"{key_id_of(public)} {base64.b64encode(public.public_bytes_raw()).decode()} {comment}\n"
        with trust.open("a", encoding="utf-8") as out:
            out.write(line)
    return made


def load_master_keys(folder: Path) -> Mapping[int, bytes]:
    """Return master keys by epoch; HUB-KEY-001 when there is none, or one is readable by others or of the wrong length."""
    found = {int(path.stem.removeprefix("master-")): _read_private(path) for path in sorted(folder.glob("master-*.key"))}
    if not found:
        raise HubError("HUB-KEY-001", f"no master key in `{folder}`", "copy `keys/master-1.key` from the hub's first machine")
    for epoch, key in found.items():
        if len(key) != MASTER_KEY_BYTES:
            raise HubError(
                "HUB-KEY-001", f"master key of epoch {epoch} is not {MASTER_KEY_BYTES} bytes", "restore the file from its backup"
            )
    return found


def keys_mark(folder: Path) -> tuple[object, ...]:
    """Return what changes when a master key or ``trust.keys`` is put in place, changed or taken away."""
    found = []
    for path in sorted([*folder.glob("master-*.key"), folder / "trust.keys"]):
        try:
            at = path.stat()
        except FileNotFoundError:
            continue
        found.append((path.name, at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino))
    return tuple(found)


def load_officer_key(folder: Path) -> Ed25519PrivateKey:
    """Return the local officer's signing key; HUB-KEY-001 when it is missing, readable by others or no Ed25519 key."""
    key = load_pem_private_key(_read_private(folder / "officer.key"), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise HubError("HUB-KEY-001", f"`{folder / 'officer.key'}` is no Ed25519 key", "restore the file from its backup")
    return key


def load_trust_keys(folder: Path) -> Mapping[str, Ed25519PublicKey]:
    """Return the trusted public keys by key id; HUB-KEY-001 when the file is missing or a line cannot be read."""
    path = folder / "trust.keys"
    if not path.exists():
        raise HubError("HUB-KEY-001", f"`{path}` is missing", "copy it from the hub's first machine")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            key_id, encoded = line.split()[:2]
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))
        except ValueError as error:
            raise HubError("HUB-KEY-001", f"`{path}` line {number} is no key", "write `<key id> <base64 public key> <comment>`") from error
        if key_id != key_id_of(public):
            raise HubError("HUB-KEY-001", f"`{path}` line {number}: the id is not that of the key", "copy the line again")
        found[key_id] = public
    return found


def _read_private(path: Path) -> bytes:
    if not path.exists():
        raise HubError("HUB-KEY-001", f"`{path}` is missing", "`cityhub up` makes it once; otherwise restore it from its backup")
    if path.stat().st_mode & 0o077:
        raise HubError("HUB-KEY-001", f"`{path}` is readable by others", f"chmod 600 {path}")
    return path.read_bytes()


def _write_once(path: Path, content: bytes) -> bool:
    """Write a new file of mode 0600 that appears whole or not at all; False when it is there already."""
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
