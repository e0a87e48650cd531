"""Tables on paper: a value never breaks the line that it stands on."""

import io

from hub.cli.output import table


def test_a_line_break_in_a_value_stays_in_its_cell() -> None:
    """Preview shows cells of several lines."""
    out = io.StringIO()
    table("", ("row", "letter"), [[1, "dear\nsir,\r\n\tyes \x1b[31m"], [2, "浙A 123"]], stream=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "dear\\nsir,\\r\\n\\tyes \ufffd[31m" in lines[1]
    assert "浙A 123" in lines[2]
