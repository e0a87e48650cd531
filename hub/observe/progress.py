"""Progress: a bar on a terminal, a line now and then elsewhere; always on stderr, so that data on stdout stays clean."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TextIO

if TYPE_CHECKING:
    from rich import progress as rich_progress

LINE_EVERY_S: Final = 5.0


class Progress(Protocol):
    """What a long piece of work tells of itself."""

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more units are done."""

    def update(self, done: int, *, total: int | None = None) -> None:
        """Say how many units are done in all, and of how many."""


@contextmanager
def progress(title: str, *, total: int | None = None, unit: str = "records", stream: TextIO | None = None) -> Iterator[Progress]:
    """Show how far ``title`` has come. ``total`` None: only a count. Without a terminal: the first line at once, then sparingly."""
    out = stream or sys.stderr
    if out.isatty():
        with _bar(title, total=total, unit=unit, out=out) as bar:
            yield bar
        return
    lines = _Lines(title, total=total, unit=unit, out=out)
    lines.show()
    yield lines
    lines.show()


@contextmanager
def _bar(title: str, *, total: int | None, unit: str, out: TextIO) -> Iterator[Progress]:
    from rich import progress as rich_progress  # noqa: PLC0415 - 30 ms that only a terminal has to pay
    from rich.console import Console  # noqa: PLC0415 - same

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=32),
        rich_progress.TextColumn(f"{{task.completed:,.0f}} {unit}"),
        rich_progress.TimeElapsedColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(file=out)) as shown:
        yield _Bar(shown, shown.add_task(title, total=total))


class _Bar:
    def __init__(self, shown: "rich_progress.Progress", task: "rich_progress.TaskID") -> None:
        self._shown = shown
        self._task = task

    def advance(self, count: int = 1) -> None:
        self._shown.advance(self._task, count)

    def update(self, done: int, *, total: int | None = None) -> None:
        self._shown.update(self._task, completed=done, total=total)


class _Lines:
    def __init__(self, title: str, *, total: int | None, unit: str, out: TextIO) -> None:
        self._title, self._total, self._unit, self._out = title, total, unit, out
        self._done = 0
        self._shown_at = time.monotonic()
        self._shown: str | None = None

    def advance(self, count: int = 1) -> None:
        self.update(self._done + count)

    def update(self, done: int, *, total: int | None = None) -> None:
        self._done = done
        self._total = self._total if total is None else total
        if time.monotonic() - self._shown_at >= LINE_EVERY_S:
            self.show()

    def show(self) -> None:
        of = "" if self._total is None else f" of {self._total:,}"
        line = f"{self._title}: {self._done:,}{of} {self._unit}"
        if line != self._shown:
            self._out.write(line + "\n")
            self._out.flush()
        self._shown, self._shown_at = line, time.monotonic()
