"""Locks between the processes of one machine: ``flock`` on a file, which the kernel gives back however a process ends.

A lock is on the file that was opened, not on its name: who deletes the file and makes it anew lets a second one in. ``FileLock.stands``
tells the first one so.
"""

import fcntl
import os
from pathlib import Path


class FileLock:
    """A lock on a file, of mode 0600, whose content says who holds it; a child that inherits ``descriptor`` holds it as well."""

    def __init__(self, path: Path) -> None:
        """Take nothing yet."""
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Tell whether this object took it and has not let go."""
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        """What a child inherits to hold the lock as well."""
        if self._descriptor is None:
            message = "the lock is not held"
            raise RuntimeError(message)
        return self._descriptor

    def take(self) -> bool:
        """Take it if it is free; True when it is held by this object. OSError where the file cannot be made."""
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            if not self._is_named(descriptor):
                os.close(descriptor)  # deleted between the two calls: the lock would be on a file that nobody else finds
                continue
            self._descriptor = descriptor
        return True

    def stands(self) -> bool:
        """Tell whether it is held, and the file still has its name: else another process can hold the same name."""
        return self._descriptor is not None and self._is_named(self._descriptor)

    def write(self, text: str) -> None:
        """Say who holds it, in place of what was said before."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def read(self) -> str:
        """Return what the file says, whoever holds it; nothing where it is not there."""
        try:
            with self.path.open("rb") as file:
                return file.read(200).decode(errors="replace")
        except OSError:
            return ""

    def release(self) -> None:
        """Let go; again is no error."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_named(self, descriptor: int) -> bool:
        try:
            named = self.path.stat()
        except OSError:
            return False
        ours = os.fstat(descriptor)
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
