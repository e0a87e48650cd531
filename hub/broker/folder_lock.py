"""A lock on a folder that a child process inherits: held as long as any of them lives."""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Final

from hub.model.errors import HubError

LEAVING_WITHIN_S: Final = 20.0
"""A broker whose owner was killed is stopping by itself: the next start waits for it this long."""


class FolderLock:
    """An advisory lock (flock) whose file tells who holds it: ``owner``, the process that took it, and ``broker``, its child."""

    def __init__(self, path: Path) -> None:
        """Nothing is taken yet."""
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """What a child inherits to hold the lock as well."""
        if self._descriptor is None:
            message = "the lock is not held"
            raise RuntimeError(message)
        return self._descriptor

    def take(self) -> None:
        """Take it; HUB-BROKER-003 naming the holder. Waits where the owner is gone and its broker is about to stop."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEAVING_WITHIN_S
        while not _lock(descriptor):
            holder = _read(descriptor)
            if _is_alive(holder.get("owner")) or time.monotonic() > deadline:
                os.close(descriptor)
                raise self._held(holder)
            time.sleep(0.1)
        self._descriptor = descriptor
        self.tell()

    def tell(self, *, broker: int | None = None) -> None:
        """Write who holds it."""
        text = json.dumps({"owner": os.getpid(), "broker": broker}).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text, 0)

    def release(self) -> None:
        """Let go; again is no error."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _held(self, holder: dict[str, int]) -> HubError:
        owner, broker = holder.get("owner"), holder.get("broker")
        who = f"process {broker if _is_alive(broker) else owner or 'unknown'}"
        if _is_alive(owner) and _is_alive(broker) and owner != broker:
            who += f", started by process {owner}"
        return HubError("HUB-BROKER-003", f"`{self._path.parent}` is in use by {who}", "stop that one first, or give another --state")


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> dict[str, int]:
    with contextlib.suppress(ValueError):
        found = json.loads(os.pread(descriptor, 200, 0))
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if isinstance(value, int)}
    return {}


def _is_alive(pid: int | None) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
