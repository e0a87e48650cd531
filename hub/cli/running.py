"""What runs on a state folder: ``up.lock`` lets one `up` at a time in, ``up.json`` says who it is and who its children are."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from hub.cli.children import Mark, stop_marked
from hub.locks import FileLock
from hub.model.errors import HubError

STOP_ORDER: Final = ("worker", "serve", "broker")
GRACE_S: Final = 30.0


class Running(msgspec.Struct, frozen=True):
    """An `up` and its children."""

    up: Mark
    status: str
    """``starting`` or ``ready``."""
    children: Mapping[str, Mark]


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the folder for this `up`; HUB-UP-001 when another one has it. The kernel frees it whatever way this process ends."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(state / "up.lock")
    if not lock.take():
        raise HubError("HUB-UP-001", f"another `cityhub up` runs on `{state}`", "`cityhub down` stops it; or give another `--state`")
    try:
        yield
    finally:
        lock.release()


def log_folder(state: Path) -> Path:
    """Return where the logs of the children are."""
    return state.absolute() / "logs"


def write_running(state: Path, running: Running | None) -> None:
    """Note who runs on the folder; None: nobody."""
    if running is None:
        (state / "up.json").unlink(missing_ok=True)
    else:
        write_json(state / "up.json", msgspec.to_builtins(running))


def read_running(state: Path) -> Running | None:
    """Return who was noted last, dead or alive; None where nobody is."""
    try:
        return msgspec.json.decode((state / "up.json").read_bytes(), type=Running)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def stop_left_behind(state: Path, *, say: Callable[[str], None]) -> list[str]:
    """Stop the children of an `up` that was killed; return their names. Does nothing while that `up` lives."""
    running = read_running(state)
    if running is None or (running.up.alive and running.up.pid != os.getpid()):
        return []
    stopped = []
    for name in STOP_ORDER:
        mark = running.children.get(name)
        if mark is None or not mark.alive:
            continue
        say(f"stopping {name}, which a killed `up` left behind …")
        if not stop_marked(mark, grace_s=GRACE_S):
            raise HubError("HUB-UP-003", f"`{name}` (process {mark.pid}) does not end", "end it by hand, then try again")
        stopped.append(name)
    write_running(state, None)
    return stopped


def write_json(file: Path, value: Any) -> None:
    """Write ``value`` so that a reader sees the old file or the new one, never half of it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
