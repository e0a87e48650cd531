"""Golden files: what a human must judge, kept as text and compared to the letter.

A test marked ``golden`` calls ``hold("observe/metrics.txt", text)``. `make golden` writes the files anew; the difference is
looked at before it is committed. Tables of ``docs/reference`` are held in the same way (``tests/reference_pages.py``). Vectors of a
published rule (pseudonyms) are no golden files of this kind: they never change.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
VARIABLE = "CITYHUB_GOLDEN"


def hold(name: str, text: str) -> None:
    """Hold that ``text`` is what ``tests/golden/<name>`` says; write it there instead where `make golden` asks for it."""
    file = FOLDER / name
    if os.environ.get(VARIABLE) == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"no golden file {name}: `make golden` writes it"
    assert text == file.read_text(encoding="utf-8"), f"{name} has changed: `make golden`, then look at the difference"
