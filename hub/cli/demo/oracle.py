"""The independent reckoning, run as programs of their own: they share no code with the hub (``tests/oracle``)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from hub.cli.demo.stage import Stage
from hub.model.errors import HubError
from hub.settings import MASTER_KEY_EPOCH

TIMEOUT_S: Final = 120.0
DIFFERS: Final = 5
"""Exit status of ``read.py`` when it found a difference."""


class Oracle:
    """The reckoning of one run."""

    def __init__(self, root: Path, stage: Stage, *, records: int | None) -> None:
        """Keep where things are; nothing runs yet."""
        self._folder = root / "tests" / "oracle"
        self._root = root
        self._stage = stage
        self._records = records
        self._expected = stage.folder / "expected.json"

    def reckon(self, *, walk: str) -> Any:
        """Return what each agreement must have received, from the CSV files; ``walk`` names the agreement whose record is followed."""
        words = [
            "--data",
            str(self._root / "build" / "nycflights13"),
            "--agreements",
            str(self._root / "deploy" / "demo" / "agreements"),
            "--schemas",
            str(self._root / "avro_schemas"),
            "--master-key",
            str(self._stage.settings.keys_folder / f"master-{MASTER_KEY_EPOCH}.key"),
            "--key-epoch",
            str(MASTER_KEY_EPOCH),
            "--scope",
            self._stage.settings.scope,
            "--walk",
            walk,
        ]
        if self._records is not None:
            words += ["--records", str(self._records)]
        text = self._run("reckon.py", words, accepted=(0,))
        self._expected.write_text(text, encoding="utf-8")
        return json.loads(text)

    def read(self) -> list[str]:
        """Read the share topics with a foreign client; return what differs from what was reckoned before."""
        words = ["--bootstrap", self._stage.bootstrap, "--expected", str(self._expected)]
        found: list[str] = json.loads(self._run("read.py", words, accepted=(0, DIFFERS)))["differences"]
        return found

    def _run(self, script: str, words: list[str], *, accepted: tuple[int, ...]) -> str:
        command = [sys.executable, str(self._folder / script), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603 - our own command
        if done.returncode not in accepted:
            last = done.stderr.strip().rpartition("\n")[2][:300]
            raise HubError("HUB-DEMO-002", f"`tests/oracle/{script}` ended with exit status {done.returncode}: {last}", "report this")
        return done.stdout
