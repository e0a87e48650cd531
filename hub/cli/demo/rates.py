"""How fast the kernels are: the demo's own records, decided once more by each that is here, in this process and one thread."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.exchange.replay import Rate, measure, read_chunks
from hub.model.names import TopicPartition

SECONDS: Final = 1.5
"""For each kernel. The reference decides a part of the records in that time, the native kernel all of them several times."""
REPLAYED_BYTES_MAX: Final = 64 * 1024 * 1024
REFERENCE: Final = "reference"
TO_GET_NATIVE: Final = "the native kernel is not built here: install Rust (rustup.rs, or your system's packages), then `make native`"


class KernelRate(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` says of a kernel: so many records in so many seconds, each decided for every agreement on it."""

    name: str
    records: int
    seconds: float
    records_per_s: int


def measure_kernels(bootstrap: str, plans: Mapping[str, Plan]) -> tuple[KernelRate, ...]:
    """Return the rate of every kernel that is here, the reference first."""
    lanes = [TopicPartition(topic, number) for topic in sorted(plans) for number in range(plans[topic].partitions)]
    chunks = read_chunks(bootstrap, lanes, bytes_max=REPLAYED_BYTES_MAX)
    return tuple(_told(measure(name, run, plans, chunks, seconds=SECONDS)) for name, run in kernel.here().items())


def ratio(rates: Sequence[KernelRate]) -> float | None:
    """Return how many times as fast as the reference the native kernel is, None where there is none."""
    by_name = {rate.name: rate.records_per_s for rate in rates}
    reference, others = by_name[REFERENCE], [rate for name, rate in by_name.items() if name != REFERENCE]
    return round(others[0] / reference, 1) if others and reference else None


def told(rates: Sequence[KernelRate]) -> str:
    """Return the rates in words."""
    words = [f"{rate.name} {rate.records_per_s:,} records a second (from {rate.records:,})" for rate in reversed(rates)]
    times = ratio(rates)
    return ", ".join(words) + (f": {times:,.0f} times as fast" if times is not None else "")


def _told(rate: Rate) -> KernelRate:
    return KernelRate(name=rate.kernel, records=rate.records, seconds=round(rate.seconds, 3), records_per_s=round(rate.records_per_s))
