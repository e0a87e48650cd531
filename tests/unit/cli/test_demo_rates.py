"""The demo's rates of the kernels: what is measured is all of what was read, and what is said is true with one kernel and with two."""

import pytest
from kernel_kit import LANE, batch_at, chunk_of, plan_of, source_at, terms, vehicle

from hub.cli.demo.rates import KernelRate, ratio, told
from hub.exchange import kernel
from hub.exchange.kernel import Run
from hub.exchange.replay import measure
from hub.exchange.verdict import Verdict

REFERENCE = KernelRate(name="reference", records=12_000, seconds=1.5, records_per_s=8_000)
NATIVE = KernelRate(name="native", records=1_500_000, seconds=1.5, records_per_s=1_000_000)


def test_two_kernels_are_told_beside_each_other_with_what_they_were_measured_on() -> None:
    """The native one first, since it runs."""
    said = told((REFERENCE, NATIVE))
    assert said == "native 1,000,000 records a second (from 1,500,000), reference 8,000 records a second (from 12,000): 125 times as fast"
    assert ratio((REFERENCE, NATIVE)) == 125.0


def test_without_the_native_kernel_there_is_no_ratio() -> None:
    """Nothing is claimed that was not measured."""
    assert told((REFERENCE,)) == "reference 8,000 records a second (from 12,000)"
    assert ratio((REFERENCE,)) is None


def test_the_reference_is_always_there_and_comes_first() -> None:
    """What runs is among what could run."""
    found = kernel.here()
    assert next(iter(found)) == "reference"
    assert kernel.name() in found


@pytest.mark.parametrize("name", list(kernel.here()))
def test_a_chunk_that_a_kernel_decides_in_several_steps_is_measured_whole(name: str) -> None:
    """A step that ends early is gone on with, and each record counts once."""
    plan = plan_of(terms("parking", "model"), step_plain_bytes_max=1_000)
    batches = [batch_at(20 * at, [(None, vehicle())] * 20) for at in range(5)]
    chunk = chunk_of(*batches, first_offset=0, next_offset=100)
    steps: list[int] = []

    found = measure(name, _counting(kernel.here()[name], steps), {LANE.topic: plan}, [(source_at(0), chunk)], seconds=0.0)

    assert found.records == 100
    assert len(steps) > 2
    assert found.records_per_s > 0


def _counting(run: Run, steps: list[int]) -> Run:
    def counted(*arguments: object) -> Verdict:
        verdict = run(*arguments)  # type: ignore[arg-type]
        steps.append(verdict.records)
        return verdict

    return counted
