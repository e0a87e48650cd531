"""The native kernel lets go of the interpreter: event loop, heartbeats, plan intake and /metrics go on while a step is decided.

No clock is asked. The interpreter is told never to change threads by itself, so that another thread's turns are those which the call
under test gives it; a call that holds the interpreter gives none, however long it takes.
"""

import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from kernel_kit import NOW, batch_at, chunk_of, plan_of, source_at, terms, vehicle
from kernels import KERNELS

from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment
from hub.model.agreement import Condition, Grant

NEVER_S: Final = 3_600.0
TURN_S: Final = 0.001
SEVERAL: Final = 5
RECORDS: Final = 500
BATCHES: Final = 1_000
AGREEMENTS: Final = 80
UNBOUNDED: Final = dict.fromkeys(("step_plain_bytes_max", "step_output_bytes_max"), 2**40)


@pytest.fixture(autouse=True)
def _no_turns_but_given_ones() -> Iterator[None]:
    """Let a thread keep the interpreter until it gives it away."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(NEVER_S)
    yield
    sys.setswitchinterval(before)


def turns_during(call: Callable[[], Any]) -> int:
    """Return how many turns this thread took between begin and end of ``call`` in another one."""
    began, ended = threading.Event(), threading.Event()

    def told() -> None:
        began.set()
        try:
            call()
        finally:
            ended.set()

    thread = threading.Thread(target=told)
    turns = 0
    thread.start()
    began.wait()
    while not ended.wait(TURN_S):
        turns += 1
    thread.join()
    return turns


def large_step() -> tuple[Plan, list[Chunk]]:
    """Return a plan and chunks that keep a kernel for some tenths of a second."""
    agreements = [
        terms(f"a{place:02}", "plate", Grant("owner_id", "pseudonym"), rows=Condition("seats", "gteq", 55 + place % 5), key="pseudonym")
        for place in range(AGREEMENTS)
    ]
    records = [(f"浙A{number:05}".encode(), vehicle(plate=f"浙A{number:05}", seats=number % 60)) for number in range(RECORDS)]
    batch = batch_at(0, records)[8:]
    chunks = [
        chunk_of(struct.pack(">q", first) + batch, first_offset=first, next_offset=first + RECORDS)
        for first in range(100, 100 + BATCHES * RECORDS, RECORDS)
    ]
    return plan_of(*agreements, **UNBOUNDED), chunks


@pytest.mark.skipif("native" not in KERNELS, reason="the native kernel was not built: `make native`")
def test_other_threads_go_on_while_the_native_kernel_decides() -> None:
    """A lane's step must not keep its worker from the group's heartbeats, from hub.plan and from whoever scrapes it."""
    plan, chunks = large_step()
    decide = KERNELS["native"]
    verdicts = [decide(plan, chunks[:1], source_at(100), Moment(now_ms=NOW))]  # compiles the plan, which is Python

    turns = turns_during(lambda: verdicts.append(decide(plan, chunks, source_at(100), Moment(now_ms=NOW))))

    assert verdicts[1].records == RECORDS * BATCHES
    assert turns >= SEVERAL


def test_a_call_that_holds_the_interpreter_gives_no_turn() -> None:
    """The positive control: so it would look without `py.detach` in native/src/python/program.rs."""
    assert turns_during(lambda: sum(range(5_000_000))) <= 1
