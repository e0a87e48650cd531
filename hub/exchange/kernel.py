"""The kernel that runs: today always the reference; a native kernel is the same call, faster, chosen here.

Pure: no I/O, no clock. ``hub.exchange.verdict`` holds the values on both sides.
"""

from collections.abc import Sequence

from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict


def run(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    """Decide every record of ``chunks`` at or above the position under ``plan``. Never raises because of a record."""
    return reference.run(plan, chunks, source, moment)


def name() -> str:
    """Return which kernel runs: shown by ``doctor``, the demo and a metric."""
    return "reference"
