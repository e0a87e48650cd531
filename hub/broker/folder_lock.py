"""A lock on a folder that a child process inherits: held as long as any of them lives."""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Final

from hub.locks import FileLock
from hub.model.errors import HubError

LEAVING_WITHIN_S: Final = 20.0
"""A broker whose owner was killed is stopping by itself: the next start waits for it this long."""


class FolderLock:
    """An advisory lock (flock) whose file tells who holds it: ``owner``, the process that took it, and ``broker``, its child."""

    def __init__(self, path: Path) -> None:
        """Nothing is taken yet."""
        self._lock = FileLock(path)

    @property
    def descriptor(self) -> int:
        """What a child inherits to hold the lock as well."""
        return self._lock.descriptor

    def take(self) -> None:
        """Take it; HUB-BROKER-003 naming the holder, also where it is this object. Waits for the broker of an owner that is gone."""
        deadline = time.monotonic() + LEAVING_WITHIN_S
        while self._lock.held or not self._lock.take():
            holder = _told(self._lock.read())
            if _is_alive(holder.get("owner")) or time.monotonic() > deadline:
                raise self._held(holder)
            time.sleep(0.1)
        self.tell()

    def tell(self, *, broker: int | None = None) -> None:
        """Write who holds it."""
        self._lock.write(json.dumps({"owner": os.getpid(), "broker": broker}))

    def release(self) -> None:
        """Let go; again is no error."""
        self._lock.release()

    def _held(self, holder: dict[str, int]) -> HubError:
        owner, broker = holder.get("owner"), holder.get("broker")
        who = f"process {broker if _is_alive(broker) else owner or 'unknown'}"
        if _is_alive(owner) and _is_alive(broker) and owner != broker:
            who += f", started by process {owner}"
        return HubError("HUB-BROKER-003", f"`{self._lock.path.parent}` is in use by {who}", "stop that one first, or give another --state")


def _told(text: str) -> dict[str, int]:
    with contextlib.suppress(ValueError):
        found = json.loads(text)
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
