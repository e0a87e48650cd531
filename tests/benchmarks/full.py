"""What ``make bench-full`` runs beside the job: how ours holds at other sizes and in other settings."""

import argparse

from benchmarks.contest import Story
from benchmarks.report import Report


def full(asked: argparse.Namespace, say: Story) -> Report:
    """Run the parts."""
    raise NotImplementedError
