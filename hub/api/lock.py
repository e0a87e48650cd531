"""The lock of the state folder: whoever holds it is the one writer."""

import fcntl
import os
from pathlib import Path
from typing import IO


class ServeLock:
    """``serve.lock`` in the state folder, held by ``flock``: the kernel gives it back however a process ends."""

    def __init__(self, folder: Path) -> None:
        """Take nothing yet."""
        self._path = folder / "serve.lock"
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Tell whether this process holds it."""
        return self._file is not None

    def take(self) -> bool:
        """Take the lock if it is free; True when this process holds it."""
        if self._file is not None:
            return True
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None
