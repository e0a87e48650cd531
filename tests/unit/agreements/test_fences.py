"""Fences that calls share: whoever asks is covered by a fence that began after the asking."""

import threading
import time
from collections.abc import Sequence

import pytest

from hub.agreements.fences import SharedFence
from hub.model.names import TopicPartition

LANES = [TopicPartition("dept.transport.flights", partition) for partition in range(4)]


class SlowGate:
    """Counts fences; each one waits until it is let through."""

    def __init__(self) -> None:
        """Hold the first fence."""
        self.rounds: list[Sequence[TopicPartition]] = []
        self.begun = threading.Semaphore(0)
        self.through = threading.Semaphore(0)

    def fence(self, lanes: Sequence[TopicPartition]) -> None:
        """Fence, slowly."""
        self.rounds.append(lanes)
        self.begun.release()
        assert self.through.acquire(timeout=10)


def test_calls_that_come_during_a_fence_share_the_next_one() -> None:
    """The running one may have passed their append already: it does not count for them."""
    gate = SlowGate()
    shared = SharedFence(gate.fence)
    threads = [threading.Thread(target=shared, args=([LANES[0]],))]
    threads[0].start()
    assert gate.begun.acquire(timeout=10)
    for lane in LANES[1:]:
        threads.append(threading.Thread(target=shared, args=([lane],)))
        threads[-1].start()
    while len(shared._next.lanes) < 3:
        time.sleep(0.005)
    gate.through.release(2)
    for thread in threads:
        thread.join(timeout=10)
    assert gate.rounds == [[LANES[0]], LANES[1:]]


def test_a_fence_that_failed_fails_every_call_that_shared_it_and_no_other() -> None:
    """No answer without a fence that answered."""
    calls = []

    def fence(lanes: Sequence[TopicPartition]) -> None:
        calls.append(lanes)
        if len(calls) == 1:
            raise TimeoutError

    shared = SharedFence(fence)
    with pytest.raises(TimeoutError):
        shared(LANES)
    shared(LANES)
    assert len(calls) == 2
