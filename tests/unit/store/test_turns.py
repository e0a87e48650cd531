"""Turns are given in the order of asking, to those who withdraw a right first, and to nobody who comes by."""

import threading
from collections.abc import Callable

from hub.store.turns import Turns


def _queue(turns: Turns, names: list[str], urgent: Callable[[str], bool]) -> list[str]:
    """Let a thread for each name ask while the lock is held, one after the other; return the order in which they got it."""
    order: list[str] = []

    def take(name: str) -> None:
        with turns.held(urgent=urgent(name)):
            order.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in names]
    with turns:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while turns.waiting < number:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join(timeout=10)
    return order


def test_turns_come_in_the_order_of_asking() -> None:
    """Else one who asks again and again could keep another waiting for ever."""
    names = [str(number) for number in range(20)]
    assert _queue(Turns(), names, lambda _: False) == names


def test_who_withdraws_a_right_comes_before_all_who_wait() -> None:
    """A withdrawal has one second; a queue of others may be longer."""
    order = _queue(Turns(), ["a", "b", "withdrawal", "c", "second"], lambda name: name in {"withdrawal", "second"})
    assert order == ["withdrawal", "second", "a", "b", "c"]


def test_the_holder_may_take_it_again_and_gives_it_back_once() -> None:
    """What holds the write lock calls parts that take it."""
    turns = Turns()
    with turns, turns.held(urgent=True):
        assert _is_taken(turns)
    assert not _is_taken(turns)


def test_no_two_hold_it_at_once() -> None:
    """A counter that is read, then written, loses nothing under many threads."""
    turns = Turns()
    counted = [0]

    def count() -> None:
        for number in range(200):
            with turns.held(urgent=number % 3 == 0):
                before = counted[0]
                threading.Event().wait(0)
                counted[0] = before + 1

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert counted == [1_600]


def _is_taken(turns: Turns) -> bool:
    got = threading.Event()

    def take() -> None:
        with turns:
            got.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return not got.wait(0.2)
