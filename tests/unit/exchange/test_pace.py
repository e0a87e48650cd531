"""The pace of lanes: steps of a saturated worker stay short, and lanes share what memory there is in their order."""

import asyncio
import contextlib

import pytest

from hub.exchange.pace import CARRIED_BYTES_MIN, CHANGE_MAX, DECIDED_S_MIN, Budget, Pace

MB = 1024 * 1024


def _steps(pace: Pace, *, bytes_a_second: float, lanes: int, steps: int = 60) -> float:
    """Run saturated lanes that share a worker's rate; return how long the last steps took on average."""
    times = []
    for _ in range(steps):
        size = pace.bytes
        seconds = lanes * size / bytes_a_second
        times.append(seconds)
        pace.took(size, came=size, seconds=seconds)
    return sum(times[-10:]) / 10


@pytest.mark.parametrize("rate_mb", [30, 150, 400])
@pytest.mark.parametrize("lanes", [4, 16, 64])
def test_a_saturated_lane_commits_about_every_100_to_150_ms(rate_mb: int, lanes: int) -> None:
    """Whatever the worker can do, and however many lanes share it: unless its bounds end it before."""
    pace = Pace(step_ms=100, bytes_max=2 * MB)
    interval = _steps(pace, bytes_a_second=rate_mb * MB, lanes=lanes)
    least = CARRIED_BYTES_MIN // 2  # as much comes of a step as it reads
    if pace.bytes not in {least, 2 * MB}:
        assert 0.1 <= interval <= 0.15
    assert (pace.bytes > least) or interval >= 0.125
    assert (pace.bytes < 2 * MB) or interval <= 0.125


def test_a_step_is_never_smaller_than_what_pays_for_a_transaction() -> None:
    """A broker that is slow by itself must not be sent ever more, ever smaller transactions; what is delivered pays as what is read."""
    for growth in (1, 3, 15):
        pace = Pace(step_ms=100, bytes_max=2 * MB)
        for _ in range(50):
            pace.took(pace.bytes, came=growth * pace.bytes, seconds=5.0)
        assert pace.bytes == CARRIED_BYTES_MIN // (1 + growth)


@pytest.mark.parametrize("end", ["committed", "aborted"])
def test_a_kernel_that_is_slow_gets_short_steps_however_they_end(end: str) -> None:
    """The reference decides megabytes in seconds: a step that a withdrawal aborts each time must become one that it does not reach."""
    pace, rate, lanes = Pace(step_ms=100, bytes_max=2 * MB), 1.5 * MB, 16
    for _ in range(40):
        size = pace.bytes
        pace.decided(size, seconds=size / rate)
        if end == "committed":
            pace.took(size, came=size, seconds=lanes * size / rate)
    assert pace.bytes / rate <= 0.125
    if end == "committed":
        assert pace.bytes == int(rate * DECIDED_S_MIN) < CARRIED_BYTES_MIN // 2


def test_a_kernel_that_is_quick_changes_no_step() -> None:
    """The least step is one that pays for its transaction, as long as the kernel hardly feels it."""
    pace = Pace(step_ms=100, bytes_max=2 * MB)
    for _ in range(50):
        pace.decided(pace.bytes, seconds=pace.bytes / (300 * MB))
        pace.took(pace.bytes, came=pace.bytes, seconds=5.0)
    assert pace.bytes == CARRIED_BYTES_MIN // 2


def test_a_lane_that_empties_its_log_grows_back_and_one_that_is_slow_then_does_not_shrink() -> None:
    """How long a full step takes cannot be seen from a small one."""
    pace = Pace(step_ms=100, bytes_max=2 * MB)
    before = pace.bytes
    pace.took(10, came=10, seconds=5.0)
    assert pace.bytes == before
    pace.took(10, came=10, seconds=0.01)
    assert pace.bytes == int(before * CHANGE_MAX)


def test_what_will_come_of_a_step_is_guessed_from_what_came_last() -> None:
    """Up at once, down slowly: memory is reserved before the verdict is known."""
    pace = Pace(step_ms=100, bytes_max=2 * MB)
    pace.took(1_000, came=9_000, seconds=0.1)
    assert pace.expects(100) == 900
    pace.took(1_000, came=1_000, seconds=0.1)
    assert 800 <= pace.expects(100) < 900


def test_lanes_are_let_in_by_bytes_and_in_their_order() -> None:
    """A small step does not overtake a large one that asked before, or the large one would wait for ever."""

    async def run() -> list[str]:
        budget, order = Budget(10), list[str]()

        async def lane(name: str, size: int, until: asyncio.Event) -> None:
            async with budget.hold(size):
                order.append(name)
                await until.wait()

        first, rest = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(lane(name, size, until)) for name, size, until in (("a", 6, first), ("b", 8, rest), ("c", 1, rest))]
        await asyncio.sleep(0.01)
        assert order == ["a"]
        first.set()
        await asyncio.sleep(0.01)
        assert order == ["a", "b", "c"]
        assert budget.held == 9
        rest.set()
        await asyncio.gather(*tasks)
        assert budget.held == 0
        return order

    asyncio.run(run())


def test_one_that_needs_more_than_there_is_goes_alone() -> None:
    """At the bound and one past it: nothing waits for bytes that cannot be let in."""

    async def run() -> None:
        budget = Budget(10)
        async with budget.hold(10):
            assert budget.held == 10
        async with budget.hold(11):
            waiting = asyncio.ensure_future(budget.hold(1).__aenter__())
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting
        assert budget.held == 1

    asyncio.run(run())


def test_what_a_step_turns_out_to_need_is_held_and_the_rest_given_back() -> None:
    """The guess is not the truth."""

    async def run() -> None:
        budget = Budget(10)
        async with budget.hold(8) as held:
            waiting = asyncio.ensure_future(budget.hold(5).__aenter__())
            await asyncio.sleep(0)
            held.needs(20)
            assert budget.held == 20
            held.needs(4)
            await waiting
            assert budget.held == 9
        assert budget.held == 5

    asyncio.run(run())


@pytest.mark.parametrize("let_in", [False, True])
def test_a_lane_that_is_stopped_while_it_waits_holds_nothing(let_in: bool) -> None:  # noqa: FBT001 - parametrized
    """Also when its turn came in the same moment."""

    async def run() -> None:
        budget = Budget(10)
        first = budget.hold(10)
        await first.__aenter__()
        waiting = asyncio.create_task(budget.hold(10).__aenter__())
        behind = asyncio.create_task(budget.hold(10).__aenter__())
        await asyncio.sleep(0)
        if let_in:
            await first.__aexit__(None, None, None)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        if not let_in:
            await first.__aexit__(None, None, None)
        await asyncio.wait_for(behind, 1)
        assert budget.held == 10

    asyncio.run(run())
