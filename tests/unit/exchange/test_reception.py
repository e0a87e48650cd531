"""Memory for answers: bounded, and back when the last view of it is gone."""

import gc
import threading

import pytest

from hub.exchange.transport import reception
from hub.exchange.transport.reception import ANSWER_BYTES_MIN, Reception

MB = 1024 * 1024


@pytest.fixture(params=["as built", "plain"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the native memory where it is there, and with plain memory."""
    if request.param == "plain":
        monkeypatch.setattr(reception, "_make", reception._Memory)


@pytest.mark.usefixtures("maker")
def test_memory_counts_until_its_last_view_is_gone() -> None:
    """A chunk is a view: the whole answer lives as long as one of its chunks."""
    pool = Reception(4 * MB)
    memory = pool.allocate(3 * MB)
    chunk = memoryview(memory)[10:20]
    chunk[:] = b"0123456789"
    del memory
    assert pool.left() == 1 * MB
    assert bytes(chunk) == b"0123456789"
    del chunk
    gc.collect()
    assert pool.left() == 4 * MB


@pytest.mark.usefixtures("maker")
def test_there_is_no_room_below_what_is_worth_asking_for() -> None:
    """At the bound and one past it."""
    pool = Reception(ANSWER_BYTES_MIN + 100)
    kept = [pool.allocate(100)]
    assert pool.left() == ANSWER_BYTES_MIN
    kept.append(pool.allocate(1))
    assert pool.left() == 0
    kept.append(pool.allocate(2 * MB))  # one batch may be larger than what was asked for
    assert pool.left() == 0
    kept.clear()
    assert pool.left() == ANSWER_BYTES_MIN + 100


@pytest.mark.usefixtures("maker")
def test_whoever_waits_for_room_is_woken_once_in_whichever_thread() -> None:
    """The last view dies in a kernel's thread as well as on the event loop."""
    pool = Reception(1 * MB)
    woken: list[str] = []
    pool.freed = lambda: woken.append(threading.current_thread().name)
    kept = {"a": pool.allocate(600_000), "b": pool.allocate(600_000)}
    thread = threading.Thread(target=lambda: kept.pop("a"), name="kernel")
    thread.start()
    thread.join()
    kept.clear()
    assert woken == ["kernel"]
