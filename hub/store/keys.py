"""Key files of the state folder: master keys of pseudonyms, the officer's signing key, and the keys that are trusted.

Layout of ``keys/``: ``master-<epoch>.key`` (32 bytes), ``officer.key`` (Ed25519, PEM), both of mode 0600, and
``trust.keys`` (lines of ``<key id> <base64 public key> <comment>``). A master key is never in a topic, SQL, log or
process list. Losing it changes every pseudonym: back it up. Keys are made once, together, for a hub that has none and never had.
"""

import base64
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from hub.model.errors import HubError
from hub.model.signing import key_id_of
from hub.model.written import is_identifier

MASTER_KEY_BYTES: Final = 32
OFFICER: Final = "officer.key"
TRUST: Final = "trust.keys"
RESTORE: Final = (
    "restore `keys/` from its backup: new keys would be those of another hub, whose entries workers refuse and whose pseudonyms differ; "
    "a new hub needs a `--state` of its own"
)


def create_keys(folder: Path, *, epoch: int, comment: str) -> bool:
    """Make the keys of a new hub, all of them; True when they were made, False when they are there.

    HUB-KEY-001 where some are there and one is missing: it is never made anew, since what it signed or derived belongs to the old one.
    """
    if has_keys(folder):
        require_keys(folder)
        return False
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    try:
        _make(draft, epoch=epoch, comment=comment)
        if not folder.exists() or not any(folder.iterdir()):
            draft.replace(folder)
        else:
            for path in draft.iterdir():
                path.rename(folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def has_keys(folder: Path) -> bool:
    """Tell whether any key of a hub is in ``folder``."""
    return any(folder.glob("master-*.key")) or any((folder / name).exists() for name in (OFFICER, TRUST))


def require_keys(folder: Path) -> None:
    """Hold that every kind of key is in ``folder``; HUB-KEY-001 names the first that is missing."""
    missing = [name for name in (OFFICER, TRUST) if not (folder / name).exists()]
    missing += [] if any(folder.glob("master-*.key")) else ["master-1.key"]
    if missing:
        raise HubError("HUB-KEY-001", f"`{folder / missing[0]}` is missing, and this is the state of a hub that had it", RESTORE)


def _make(folder: Path, *, epoch: int, comment: str) -> None:
    _write(folder / f"master-{epoch}.key", secrets.token_bytes(MASTER_KEY_BYTES))
    private = Ed25519PrivateKey.generate()
    while not is_identifier(key_id_of(private.public_key())):  # one in some two hundred reads like a person's number
        private = Ed25519PrivateKey.generate()
    _write(folder / OFFICER, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key()
    line = f"{key_id_of(public)} {base64.b64encode(public.public_bytes_raw()).decode()} {comment}\n"
    _write(folder / TRUST, line.encode())


def load_master_keys(folder: Path) -> Mapping[int, bytes]:
    """Return master keys by epoch; HUB-KEY-001 when there is none, or one is readable by others or of the wrong length."""
    found = {_epoch_of(path): _read_private(path) for path in sorted(folder.glob("master-*.key"))}
    if not found:
        raise HubError("HUB-KEY-001", f"no master key in `{folder}`", "copy `keys/master-1.key` from the hub's first machine")
    for epoch, key in found.items():
        if len(key) != MASTER_KEY_BYTES:
            raise HubError(
                "HUB-KEY-001", f"master key of epoch {epoch} is not {MASTER_KEY_BYTES} bytes", "restore the file from its backup"
            )
    return found


def _epoch_of(path: Path) -> int:
    epoch = path.stem.removeprefix("master-")
    if not (epoch.isascii() and epoch.isdigit()) or str(int(epoch)) != epoch:
        raise HubError("HUB-KEY-001", f"`{path}` names no epoch", "name it `master-<epoch>.key`, or move it out of this folder")
    return int(epoch)


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
    text = _read_private(folder / "officer.key")
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise HubError("HUB-KEY-001", f"`{folder / 'officer.key'}` is no Ed25519 key", "restore the file from its backup")
    return key


def load_trust_keys(folder: Path) -> Mapping[str, Ed25519PublicKey]:
    """Return the trusted public keys by key id; HUB-KEY-001 when the file is missing or a line cannot be read."""
    path = folder / "trust.keys"
    if not path.exists():
        raise HubError("HUB-KEY-001", f"`{path}` is missing", "copy it from the hub's first machine")
    found = {}
    for number, content in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            line = content.decode()
            if not line.strip() or line.startswith("#"):
                continue
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
        raise HubError(
            "HUB-KEY-001", f"`{path}` is missing", "`cityhub up` makes it once, for a new hub; otherwise restore it from its backup"
        )
    if path.stat().st_mode & 0o077:
        raise HubError("HUB-KEY-001", f"`{path}` is readable by others", f"chmod 600 {path}")
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
