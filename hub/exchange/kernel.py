"""The kernel that runs: the native one where it was built, else the reference, which is the same call, slower.

``CITYHUB_KERNEL`` chooses: ``auto`` (the default), ``native`` (which fails where there is none) or ``reference``.
Pure: no I/O, no clock. ``hub.exchange.verdict`` holds the values on both sides.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.errors import HubError

Run: TypeAlias = Callable[[Plan, Sequence[Chunk], Source, Moment], Verdict]

CHOICES: Final = ("auto", "native", "reference")


def run(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    """Decide every record of ``chunks`` at or above the position under ``plan``. Never raises because of a record."""
    return _RUN(plan, chunks, source, moment)


def name() -> str:
    """Return which kernel runs: shown by ``doctor``, the demo and a metric."""
    return _NAME


def here() -> Mapping[str, Run]:
    """Return every kernel that could run here, by name: for those who compare them."""
    return dict(_chosen(choice) for choice in ("reference", "auto"))


def _chosen(choice: str) -> tuple[str, Run]:
    if choice not in CHOICES:
        raise HubError("HUB-CONF-001", f"`{choice}` is no kernel", f"set CITYHUB_KERNEL to one of: {', '.join(CHOICES)}")
    if choice == "reference":
        return "reference", reference.run
    try:
        native: Run = importlib.import_module("hub.exchange.native").run
    except ImportError:
        if choice == "native":
            raise
        return "reference", reference.run
    return "native", native


_NAME, _RUN = _chosen(os.environ.get("CITYHUB_KERNEL", "auto"))
