"""The floor of the exchange: which lanes this worker has, and what they share.

Wires intake, clock, undeliverables and lanes for one Faust app. The consumer tells it which partitions are revoked and
assigned (``transport``), the agent gives it chunks, and it gives lanes their ``Flow``.
"""

import asyncio
import math
import os
import socket
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from aiokafka.client import AIOKafkaClient
from faust.types import TP

from hub.broker.requests import Coordinators, open_client
from hub.exchange import kernel
from hub.exchange.context import BrokerClock, LaneContext
from hub.exchange.intake import Intake
from hub.exchange.lane import Lane
from hub.exchange.observer import Observer
from hub.exchange.pace import Budget
from hub.exchange.plan import Plan
from hub.exchange.plan_book import PlanBook, limits_of
from hub.exchange.standing import EVERY_S as STANDING_EVERY_S
from hub.exchange.standing import TEXT_MAX, Standing, StandingReports
from hub.exchange.transport.reception import Reception
from hub.exchange.undeliverable import Undeliverables
from hub.exchange.verdict import Chunk
from hub.model.entry import LEVEL
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.settings import Settings
from hub.store.keys import keys_mark, load_master_keys, load_trust_keys

STOP_LANES_WITHIN_S: Final = 2.0
"""On a revocation; aiokafka sends no heartbeat meanwhile."""
END_LANES_WITHIN_S: Final = 8.0
"""On the end of the worker."""
END_WITHIN_S: Final = 14.0
"""From the order to the end of the worker's process; what lanes leave open times out at the broker."""
CLOSE_WITHIN_S: Final = 1.0
"""For each connection that is closed: a broker that is gone answers no farewell."""
LOOK_EVERY_S: Final = 1.0
GATHER_S_PER_LANE: Final = 0.005
"""For so long new datasets are gathered after the last ones: what it costs to begin a lane anew is a small part of it."""
GATHER_S_MAX: Final = 1.0
"""And no longer: until its lanes begin, what is published waits, and is decided by what is signed meanwhile."""
SHARES_TOLD_MAX: Final = 300
"""Characters of share partitions that /readyz names."""
KERNEL_THREADS_MAX: Final = 4
REFERENCE_SWITCH_S: Final = 0.0005
"""The reference holds the interpreter while it decides: other threads ask for it so often. The native kernel lets go of it."""

log = structlog.get_logger()


async def within(ending: Awaitable[Any], *, seconds: float) -> None:
    """Wait for what ends, for ``seconds`` at most: what does not end by then is left to the end of the process."""
    _, late = await asyncio.wait([asyncio.ensure_future(ending)], timeout=seconds)
    for task in late:
        task.cancel()


class FaustFlow:
    """The consuming side as lanes see it, on Faust's consumer."""

    def __init__(self, app: Any) -> None:
        """Use the consumer of ``app``, which exists once the app runs."""
        self._app = app

    def pause(self, partition: TopicPartition) -> None:
        """Hand out no more chunks of ``partition``."""
        self._app.consumer.pause_partitions([TP(*partition)])

    def resume(self, partition: TopicPartition) -> None:
        """Hand out chunks of ``partition`` again."""
        self._app.consumer.resume_partitions([TP(*partition)])

    async def begin(self, partition: TopicPartition, offset: int, topic_id: uuid.UUID) -> None:
        """Hand out chunks from ``offset`` on, of the topic that has this id and of no other under its name."""
        await self._app.consumer.begin(partition, offset, topic_id)

    def end_offset(self, partition: TopicPartition) -> int | None:
        """Return the end of the log as the last fetch answer told it, None before the first."""
        found: int | None = self._app.consumer.highwater(TP(*partition))
        return found

    def membership(self) -> tuple[int, str]:
        """Return generation and member id of this worker in the group."""
        found: tuple[int, str] = self._app.consumer.membership
        return found


class Floor:
    """All lanes of one worker."""

    def __init__(self, settings: Settings, *, app: Any) -> None:
        """Nothing is connected until ``open``."""
        self.settings = settings.exchange
        self.reception = Reception(settings.exchange.inflight_bytes_max // 2)
        self.observer = Observer()
        self._all = settings
        self._names = settings.names
        self._bootstrap = settings.bootstrap
        self._flow = FaustFlow(app)
        self._data_prefix = f"{settings.topics_prefix}dept."
        self._lanes: dict[TopicPartition, tuple[Lane, asyncio.Task[None]]] = {}
        self._context: LaneContext | None = None
        self._client: AIOKafkaClient | None = None
        self._intake: Intake | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        threads = self.settings.kernel_threads or min(KERNEL_THREADS_MAX, len(os.sched_getaffinity(0)))
        self._kernels = ThreadPoolExecutor(threads, thread_name_prefix="kernel")
        self._tasks: list[asyncio.Task[None]] = []
        self._new_topics = asyncio.Event()
        self._told_topics_at = -math.inf
        self._keys_mark: tuple[object, ...] = ()

    # -- what the transport asks ---------------------------------------------------------------------------------------

    def is_data(self, topic: str) -> bool:
        """Tell whether ``topic`` is a department's."""
        return topic.startswith(self._data_prefix)

    def refused(self, partition: TopicPartition) -> None:
        """Let the lane look around; called in the consumer's thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._look_around, partition)

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop the lanes of these partitions at a step's border, bounded in time."""
        await self._end([partition for partition in partitions if partition in self._lanes], within_s=STOP_LANES_WITHIN_S)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Begin a lane for each partition; returns at once."""
        for partition in partitions:
            if partition not in self._lanes and self._context is not None:
                lane = Lane(partition, context=self._context)
                self._lanes[partition] = (lane, asyncio.create_task(self._guard(lane), name=f"lane {partition}"))

    # -- what the worker does ------------------------------------------------------------------------------------------

    async def open(self) -> frozenset[str]:
        """Connect, read hub.plan to its end, and wait for a first dataset and the right keys; returns the topics."""
        self._loop = asyncio.get_running_loop()
        if kernel.name() == "reference":
            sys.setswitchinterval(REFERENCE_SWITCH_S)
        client = self._client = await open_client(self._bootstrap, client_id="cityhub-exchange")
        self._keys_mark = keys_mark(self._all.keys_folder)
        intake = self._intake = Intake(
            bootstrap=self._bootstrap, topic=self._names.plan, client=client, book=self._new_book(), changed=self._plans_changed
        )
        self._context = LaneContext(
            settings=self.settings,
            names=self._names,
            worker_id=f"{socket.gethostname()}-{os.getpid()}",
            client=client,
            coordinators=Coordinators(client),
            intake=intake,
            clock=BrokerClock(),
            undeliverables=Undeliverables(client=client, told=self.observer, wait_s=self.settings.undeliverable_wait_s),
            flow=self._flow,
            observer=self.observer,
            kernels=self._kernels,
            budget=Budget(self.settings.inflight_bytes_max // 2),
        )
        reports = StandingReports(coordinators=self._context.coordinators, group=self._names.standing_group, lanes=self._standings)
        await intake.start()
        self._tasks = [asyncio.create_task(self._every(LOOK_EVERY_S, self._look)), asyncio.create_task(self._probe_now_and_then())]
        self._tasks.append(asyncio.create_task(self._every(STANDING_EVERY_S, reports.tell)))
        told = ""
        while not intake.book.topics or intake.book.key_fault is not None:
            fault = intake.book.key_fault
            reason = str(fault) if fault is not None else "no dataset is published"
            if reason != told:
                log.warning("worker takes no lane", reason=reason, fix=fault.fix if fault is not None else None)
                told = reason
            await asyncio.sleep(0.2)
        return intake.book.topics

    async def new_topics(self, known: Iterable[str]) -> frozenset[str]:
        """Wait for datasets that are not among ``known``; returns their topics.

        A worker that subscribes to them makes every lane of every worker end and begin again. So one is told at once, and those that
        come right behind it together: the more lanes there are, the longer they are gathered.
        """
        have = frozenset(known)
        while self._intake is None or not self._intake.book.topics - have:
            self._new_topics.clear()
            await self._new_topics.wait()
        gathered_at = self._told_topics_at + min(GATHER_S_MAX, len(self._lanes) * GATHER_S_PER_LANE)
        await asyncio.sleep(max(0.0, gathered_at - time.monotonic()))
        self._told_topics_at = time.monotonic()
        return self._intake.book.topics - have

    def take(self, chunk: Chunk) -> None:
        """Give a chunk to its lane; one without a lane is dropped and fetched again by whoever owns the partition."""
        found = self._lanes.get(chunk.partition)
        if found is not None:
            found[0].take(chunk)

    async def close(self) -> None:
        """End every lane at a step's border and close the connections; no transaction stays open."""
        await self._end(list(self._lanes), within_s=END_LANES_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await within(asyncio.gather(*self._tasks, return_exceptions=True), seconds=CLOSE_WITHIN_S)
        if self._intake is not None:
            await within(self._intake.stop(), seconds=CLOSE_WITHIN_S)
        if self._client is not None:
            await within(self._client.close(), seconds=CLOSE_WITHIN_S)
        self._kernels.shutdown(wait=False)

    def readiness(self) -> dict[str, Callable[[], str | None]]:
        """Return the checks of /readyz."""
        return {
            f"plan entries up to level {LEVEL}": self._plan_check,
            "datasets": self._dataset_check,
            "agreements": self._agreement_check,
            "keys": self._key_check,
            "lanes": self._lane_check,
            "shares": self._share_check,
        }

    # -- inside --------------------------------------------------------------------------------------------------------

    def _look_around(self, partition: TopicPartition) -> None:
        found = self._lanes.get(partition)
        if found is not None:
            found[0].look_around()

    async def _guard(self, lane: Lane) -> None:
        """Run a lane; an exception that is not understood is logged by type and the lane starts anew, never silently dies."""
        while True:
            try:
                await lane.run()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.exception("lane failed", lane=str(lane.partition), error=type(error).__name__)
                self.observer.lane_restarts(lane.partition, why=error)
                await asyncio.sleep(1)
            else:
                return

    async def _end(self, partitions: list[TopicPartition], *, within_s: float) -> None:
        ending = {partition: self._lanes.pop(partition) for partition in partitions}
        for lane, _ in ending.values():
            lane.stop()
        tasks = [task for _, task in ending.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await within(asyncio.gather(*late, return_exceptions=True), seconds=CLOSE_WITHIN_S)
        for partition in ending:
            self.observer.lane_ended(partition)

    def _plans_changed(self, _topics: frozenset[str]) -> None:
        self._new_topics.set()

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do ``work`` again and again; what fails is logged by type and done again, never silently over."""
        while True:
            try:
                await work()
            except Exception as error:
                log.exception("duty failed", reason=work.__name__, error=type(error).__name__)
            await asyncio.sleep(seconds)

    async def _look(self) -> None:
        """Show the age of the plan, what it stops, and the lag of the lanes; take up keys that have changed."""
        if self._intake is None or self._context is None:
            return
        self._take_up_keys(self._intake)
        self.observer.plan_age(self._intake.age_s())
        self.observer.plan_stops(self._intake.book.stopped, self._intake.book.refused)
        for partition, (lane, _) in list(self._lanes.items()):
            end = self._flow.end_offset(partition)
            if end is not None and lane.next_offset is not None:
                self.observer.lag(partition, max(0, end - lane.next_offset))

    def _new_book(self) -> PlanBook:
        folder = self._all.keys_folder
        return PlanBook(
            scope=self._all.scope,
            trust=load_trust_keys(folder),
            master_keys=load_master_keys(folder),
            limits=limits_of(self.settings),
            alarm=self.observer.plan_alarm,
        )

    def _take_up_keys(self, intake: Intake) -> None:
        """Read hub.plan again by keys that were put in place while this worker ran; files that cannot be used change nothing."""
        try:
            mark = keys_mark(self._all.keys_folder)
            if mark == self._keys_mark:
                return
            self._keys_mark = mark
            intake.read_again(self._new_book())
        except (HubError, OSError) as error:
            self.observer.keys_refused(error)
        else:
            log.info("keys have changed: hub.plan is read again")

    async def _probe_now_and_then(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self.settings.undeliverable_retry_s))
            if self._context is not None and time.monotonic() - began >= self.settings.undeliverable_retry_s:
                began = time.monotonic()
                await self._context.undeliverables.probe()

    def _plan_check(self) -> str | None:
        if self._intake is None:
            return "hub.plan is not read yet"
        if self._intake.fault is not None:
            return _told(self._intake.fault)
        age = self._intake.age_s()
        return None if age <= self.settings.plan_fresh_s else "hub.plan did not answer for too long"

    def _dataset_check(self) -> str | None:
        stopped = self._intake.book.stopped if self._intake is not None else {}
        return None if not stopped else f"{len(stopped)} stand still: {', '.join(stopped)}: {_told(next(iter(stopped.values())))}"

    def _agreement_check(self) -> str | None:
        refused = self._intake.book.refused if self._intake is not None else {}
        return None if not refused else f"{len(refused)} are denied: {', '.join(refused)}: {_told(next(iter(refused.values())))}"

    def _key_check(self) -> str | None:
        fault = self._intake.book.key_fault if self._intake is not None else None
        return None if fault is None else _told(fault)

    def _lane_check(self) -> str | None:
        faults = self.observer.faults
        return None if not faults else f"{len(faults)} lanes stand still: {', '.join(sorted(set(faults.values())))}"

    def _standings(self) -> dict[TopicPartition, tuple[int, Standing]]:
        """Return the committed offset of each lane, and how it stands."""
        found = {}
        worker = self._context.worker_id if self._context is not None else ""
        denied = self._context.undeliverables.denied if self._context is not None else {}
        for partition, (lane, _) in self._lanes.items():
            still = lane.fault or self._plan_fault(partition)
            told = [still] if still is not None else self._denials(partition, denied)
            standing = Standing(worker)
            if told:
                cause, fix = (
                    "; ".join(dict.fromkeys(texts))[:TEXT_MAX] for texts in zip(*((one.message, one.fix) for one in told), strict=True)
                )
                since_ms = self.observer.since_ms(partition)
                standing = Standing(worker, told[0].code, cause, fix, since_ms, goes_on=still is None)
            found[partition] = (max(0, lane.next_offset or 0), standing)
        return found

    def _plan_fault(self, partition: TopicPartition) -> HubError | None:
        """Return why the next step of a lane would stop for what hub.plan is or says: an idle lane has not met it yet."""
        try:
            if self._context is not None:
                self._context.plan(partition)
        except HubError as error:
            return error
        return None

    def _denials(self, partition: TopicPartition, denied: Mapping[TopicPartition, int]) -> list[HubError]:
        """Return what a lane that goes on denies to some of its consumers."""
        try:
            plan = self._context.plan(partition) if self._context is not None else None
        except HubError:  # it came between two looks: the next one tells it
            plan = None
        if plan is None:
            return []
        return [one for one in (self._refuses(plan), self._denies(plan, partition, denied)) if one is not None]

    @staticmethod
    def _refuses(plan: Plan) -> HubError | None:
        """Return what is denied since this worker cannot compile it."""
        if not plan.refused:
            return None
        first = next(iter(plan.refused.values()))
        told = ", ".join(f"`{agreement_id}`" for agreement_id in sorted(plan.refused))
        return HubError(first.code, f"denied, while the lane goes on for the others: {told}: {first.message}", first.fix)

    def _denies(self, plan: Plan, partition: TopicPartition, denied: Mapping[TopicPartition, int]) -> HubError | None:
        """Return what is denied to a consumer whose share partition takes nothing."""
        lost = [one for one in plan.agreements if TopicPartition(one.share_topic, partition.partition) in denied]
        if not lost:
            return None
        told = "; ".join(f"`{one.id}`: {self.observer.denied_offsets(partition, one.id)}" for one in lost)
        return HubError(
            "HUB-LANE-014",
            f"lost to a consumer, since its share partition takes nothing: {told}",
            "run `cityhub serve`, which makes the topic again or widens it; redelivery of what was denied is not built yet",
        )

    def _share_check(self) -> str | None:
        denied = self._context.undeliverables.denied if self._context is not None else {}
        return f"{len(denied)} share partitions take nothing: {', '.join(sorted(map(str, denied)))[:SHARES_TOLD_MAX]}" if denied else None


def _told(fault: HubError) -> str:
    return f"{fault.code} {fault.message}; help: {fault.fix}"
