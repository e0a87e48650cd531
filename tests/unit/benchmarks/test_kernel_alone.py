"""The daily look at the kernel: what it prints figures of was compared with the reference, and there was something to compare."""

import contextlib
import importlib
from typing import Any

import pytest
from benchmarks import stages
from benchmarks.job import dataset
from benchmarks.ours import Topic
from benchmarks.records import make_source

from hub.exchange.verdict import Chunk, Moment

pytest.importorskip("hub.exchange._native", reason="the native kernel is not built")
kernel: Any = importlib.import_module("benchmarks.kernel")
native: Any = importlib.import_module("hub.exchange.native")
NOW = Moment(1_800_000_000_000)
AFTER_THE_TERM = Moment(4_000_000_000_000)


@pytest.fixture(scope="module")
def chunks() -> list[Chunk]:
    """Return a step of some batches."""
    source = make_source(16_000, schema_id=kernel.SCHEMA_ID)
    found = stages.chunks_of(Topic(dataset("none"), kernel.LANE.topic, "none", source), kernel.plan_of(1))
    assert len(found) > 1
    return found


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_whole_step_is_compared(chunks: list[Chunk], left_out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its chunks, for all agreements: a kernel that leaves the last one out is refused, one that does not is let pass."""
    right = native.run
    monkeypatch.setattr(native, "run", lambda plan, given, *rest: right(plan, given[: len(given) - left_out], *rest))
    refused = pytest.raises(SystemExit, match="differ") if left_out else contextlib.nullcontext()
    with refused as refusal:
        kernel.hold(kernel.plan_of(2), chunks, moment=NOW, records=chunks[-1].next_offset)
    assert (refusal is not None) == bool(left_out)


def test_a_step_that_is_shorter_than_told_is_refused(chunks: list[Chunk]) -> None:
    """The figures would be those of another step."""
    with pytest.raises(SystemExit, match="records of 12,000"):
        kernel.hold(kernel.plan_of(1), chunks, moment=NOW, records=stages.STEP_RECORDS)


def test_a_step_of_which_nothing_is_delivered_is_refused(chunks: list[Chunk]) -> None:
    """Two kernels that deny everything agree, and say nothing."""
    with pytest.raises(SystemExit, match="received nothing"):
        kernel.hold(kernel.plan_of(1), chunks, moment=AFTER_THE_TERM, records=chunks[-1].next_offset)
