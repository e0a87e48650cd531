"""Progress speaks on a stream of its own, at once and then sparingly."""

import io

from hub.observe import progress as module
from hub.observe.progress import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_without_a_terminal_there_is_a_first_and_a_last_line() -> None:
    """A log of a run shows that it began, and where it ended, and not each step."""
    out = io.StringIO()
    with progress("publishing", total=1000, stream=out) as bar:
        for _ in range(1000):
            bar.advance()
    assert out.getvalue() == "publishing: 0 of 1,000 records\npublishing: 1,000 of 1,000 records\n"


def test_lines_come_again_after_a_while(monkeypatch: object) -> None:
    """A long run is seen to move."""
    out = io.StringIO()
    shown_every_s, module.LINE_EVERY_S = module.LINE_EVERY_S, 0.0
    try:
        with progress("reading", unit="rows", stream=out) as bar:
            bar.update(5)
            bar.update(9, total=9)
    finally:
        module.LINE_EVERY_S = shown_every_s
    assert out.getvalue() == "reading: 0 rows\nreading: 5 rows\nreading: 9 of 9 rows\n"


def test_on_a_terminal_there_is_a_bar() -> None:
    """For people."""
    out = Terminal()
    with progress("publishing", total=10, stream=out) as bar:
        bar.advance(10)
    assert "publishing" in out.getvalue()
    assert "10 records" in out.getvalue()
