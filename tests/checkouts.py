"""Checkouts of other commits, whose product runs beside this one's: each by its own interpreter, packages and kernel."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
KEPT_IN: Final = ROOT / "build" / "versus"
SET_UP_WITHIN_S: Final = 1_800


class Tree(NamedTuple):
    """A checkout whose product runs: its interpreter, and what stands on its path."""

    python: str
    path: str

    @classmethod
    def own(cls) -> "Tree":
        """Return the checkout that this code is of."""
        return cls(sys.executable, os.pathsep.join(path for path in sys.path if path))

    def kernel(self) -> str:
        """Return the kernel that workers of this checkout run."""
        told = [self.python, "-c", "from hub.exchange import kernel; print(kernel.name())"]
        alone = {"PYTHONPATH": self.path, "PATH": "/usr/bin:/bin"}
        return subprocess.run(told, env=alone, cwd=ROOT.parent, capture_output=True, text=True, check=True).stdout.strip()


def named(commit: str) -> str:
    """Return ten characters of a commit's hash; CalledProcessError where it is none of this repository."""
    words = ["git", "rev-parse", "--verify", "--short=10", f"{commit}^{{commit}}"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()[:10]


def checkout(name: str, *, say: Callable[[str], None], folder: Path = KEPT_IN) -> Tree:
    """Return the product of a commit, set up in a folder of its own; one that stands there already is taken as it is."""
    there = folder / name
    ready = there / ".ready"
    if not ready.exists():
        say(f"setting {name} up in {there}, once")
        there.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", name], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x"], cwd=there, input=archive, check=True)
        subprocess.run(["./cityhub-setup"], cwd=there, check=True, timeout=SET_UP_WITHIN_S, stdout=sys.stderr)
        ready.touch()
    return Tree(str(there / ".venv" / "bin" / "python"), str(there))
