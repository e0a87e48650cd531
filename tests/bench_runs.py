"""Made-up runs for tests of the benchmark's figures and report."""

import dataclasses

from benchmarks.figures import OURS, Line, Run

OURS_LINE = Line(OURS, 5, "none", exact=True)
PEER_LINE = Line("go", 5, "none")


def run(line: Line, number: int, cost_us: float, **changes: float) -> Run:
    """Return a run of a million deliveries that cost so much."""
    plain = Run(
        line=line,
        round=number,
        records=500_000,
        deliveries=1_000_000,
        seconds=1.0,
        cpu_s=cost_us,
        rss_mb=100.0,
        broker_cores=0.3,
        other_cores=0.0,
        steal_cores=0.0,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]
