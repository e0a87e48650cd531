"""A worker's metrics name the kernel that runs, and no other."""

from hub.exchange import kernel
from hub.exchange.observer import Observer
from hub.observe import metrics


def test_a_workers_observer_shows_the_kernel_that_runs_and_no_other(each_kernel: str) -> None:
    """An alert on workers that fell back to the reference hangs on it."""
    for name in metrics.KERNELS:
        metrics.KERNEL_INFO.forget(kernel=name)

    Observer()

    shown = [line for line in metrics.exposition("worker")[0].decode().splitlines() if line.startswith("cityhub_kernel_info{")]
    assert shown == [f'cityhub_kernel_info{{kernel="{each_kernel}"}} 1.0']
    assert kernel.name() == each_kernel
