"""The clocks of the benchmark: processor time of threads, children and children that ended; who else was there."""

import os
import subprocess
import sys
import time

import pytest
from benchmarks import machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


def test_a_process_has_the_time_of_its_threads_and_of_children_alive_and_gone() -> None:
    """A worker that moved its work into a child would else look cheap."""
    script = (
        "import subprocess, sys, threading, time\n"
        f"burn = {BURN.format(seconds=0.2)!r}\n"
        "subprocess.run([sys.executable, '-c', burn])\n"
        "thread = threading.Thread(target=exec, args=(burn, {}))\nthread.start()\nthread.join()\n"
        "child = subprocess.Popen([sys.executable, '-c', burn + '\\ntime.sleep(30)'])\n"
        "time.sleep(30)"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 25
        while (used := machine.cpu_s(process.pid)) < 0.6 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert used >= 0.6
        assert len(machine.children(process.pid)) == 1
    finally:
        for child in machine.children(process.pid):
            os.kill(child, 9)
        process.kill()
        process.wait()
    assert machine.cpu_s(process.pid) == 0.0


def test_what_is_ours_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted as others', a contender would disturb itself; counted twice as ours, others would never be seen."""
    busy = iter([10.0, 13.0])
    own = iter([1.0, 2.0])
    at = iter([0.0, 10.0])
    monkeypatch.setattr(machine, "machine_usage", lambda: machine.Usage(next(busy), 0.0, next(at)))
    monkeypatch.setattr(machine, "cpu_s", lambda _pid: next(own))
    with machine.Onlookers([]) as onlookers:
        pass
    assert onlookers.other_cores == pytest.approx(0.2)


def test_time_between_two_looks_is_shared_out() -> None:
    """The window of a run begins and ends between looks."""
    sampler = machine.Sampler(os.getpid())
    sampler.close()
    sampler.samples = [machine.Sample(0.0, 1.0, 0.5), machine.Sample(10.0, 2.0, 0.7), machine.Sample(20.0, 4.0, 0.7)]
    assert sampler.between(5.0, 15.0) == pytest.approx((1.5, 0.1))
    assert sampler.between(0.0, 99.0) == pytest.approx((3.0, 0.2))


def test_cores_are_apart_where_there_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contender and broker must not slow each other; on one core they cannot help it, and the report says so."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    assert machine.cores() == machine.Cores(frozenset({0}), frozenset({1}))
    assert machine.cores().pinned
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert not machine.cores().pinned
