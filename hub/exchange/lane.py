"""The lane: the transactional writer of one source partition.

Theory of operation. A lane's position (committed offset, step number, chain head, plan offset) stands in the metadata of its
offset commit and nowhere else; a lane never invents one. It starts by taking its transactional id over, which fences a
zombie and ends that one's transaction, then reads hub.plan to its end, then its position, then seeks. A step drains chunks
for a bounded time, decides on them by one kernel call, and commits position, deliveries, quarantined records and the usage
step in one Kafka transaction. Before the commit it checks conservation, freshness of the plan, and that the broker's clock
agrees with every term decision. Killed anywhere, the next owner finds the last committed position and decides again.

After anything that is not understood the lane starts anew: position and chain come from Kafka again.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from hub.broker.requests import Lost, committed_offset
from hub.broker.transactions import Fenced, Transaction, Undeliverable
from hub.exchange import kernel
from hub.exchange.context import LaneContext
from hub.exchange.inbox import Inbox, Taken
from hub.exchange.pace import Held, Pace
from hub.exchange.plan import Plan
from hub.exchange.spoilage import Spoilage
from hub.exchange.start import read_start
from hub.exchange.undeliverable import vital_fault
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.exchange.writing import Step, step_of
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.model.usage import Position
from hub.observe.failpoints import afailpoint

RERUNS_MAX: Final = 8
RESTART_PAUSE_S: Final = (0.0, 0.05, 0.2, 0.5, 1.0)
LOOK_AGAIN_S: Final = 1.0
RETRIED_EVERY_S: Final = {"HUB-LANE-008": 5.0, "HUB-LANE-013": 5.0, "HUB-LANE-014": 2.0, "HUB-BROKER-001": 10.0, "HUB-BROKER-010": 10.0}
"""Faults that may mend without an act of a person, and how often they are tried again."""
UNWRITTEN: Final = frozenset({"HUB-LANE-008", "HUB-LANE-013", "HUB-LANE-014"})
"""Faults of a topic that a step writes to: the records are still there, so that only a commit shows that it is mended."""

SPOILT: Final = "HUB-LANE-015"


class Decision(NamedTuple):
    """A verdict, and the plan and broker time it was reached under."""

    plan: Plan
    now_ms: int
    verdict: Verdict


class Signs(NamedTuple):
    """What an act of a person would change while a lane stands still."""

    committed: tuple[int, str] | None
    """None where the group does not answer, which is nobody's act; offset -1 where it has no position."""
    plan: object
    keys_well: bool


class Lane:
    """One source partition's writer. ``take`` gives it chunks, ``stop`` ends it at a step's border."""

    def __init__(self, partition: TopicPartition, *, context: LaneContext) -> None:
        """Nothing is sent until ``run``."""
        self.partition = partition
        self.fault: HubError | None = None
        """Why the partition stands still, None while it moves."""
        self.next_offset: int | None = None
        """The committed offset, None before the first start."""
        self._context = context
        self._inbox = Inbox(partition, context=context)
        self._pace = Pace(step_ms=context.settings.step_ms, bytes_max=context.settings.step_bytes_max)
        self._transaction = Transaction(
            context.client,
            context.coordinators,
            transactional_id=context.names.transactional_id(partition),
            group=context.names.exchange_group,
            timeout_ms=context.settings.transaction_timeout_ms,
            lines=context.lines(partition),
        )
        self._spoilage = Spoilage(partition, share=context.settings.quarantine_stop_share, records=context.settings.quarantine_stop_records)
        self._open = False
        self._membership = (-1, "")
        """Generation and member that this lane was started under: its commits are theirs, and end with them."""
        self._refused: tuple[int, str] | None = None
        self._tries_again = False
        """True while what could not be written is tried again: the fault stands until a step is committed."""
        self._stopping = asyncio.Event()

    def take(self, chunk: Chunk) -> None:
        """Accept a chunk; never waits. One that does not follow is dropped and asked for again."""
        self._inbox.put(chunk)

    def look_around(self) -> None:
        """Find out, before the next step, why a broker refuses the lane's place: another topic, or an offset that is no more."""
        self._inbox.look_around()

    async def run(self) -> None:
        """Start, step after step, and start anew after a fence or a loss, until stopped."""
        failures = 0
        while not self._stopping.is_set():
            try:
                position = await self._start()
                while not self._stopping.is_set():
                    position = await self._step(position)
                    failures = 0
            except (Fenced, Lost) as error:
                self._inbox.close()
                self._open = self._open and isinstance(error, Lost)
                self._context.observer.lane_restarts(self.partition, why=error)
                self._refused = self._membership if isinstance(error, Fenced) and error.by_group else None
                await self._wait(RESTART_PAUSE_S[min(failures, len(RESTART_PAUSE_S) - 1)])
                failures += 1
            except HubError as error:
                self._inbox.close()
                await self._stand_still(error)
        self._inbox.close()
        await self._abort()

    def stop(self) -> None:
        """Ask the lane to end at the border of the step in hand; ``run`` returns then."""
        self._stopping.set()
        self._inbox.close()

    async def _start(self) -> Position:
        key_fault = self._context.intake.book.key_fault
        if key_fault is not None:
            raise key_fault
        await self._belong()
        await self._transaction.initialise()
        self._open = False
        position = await read_start(self.partition, context=self._context)
        self._inbox.open(position.offset, topic_id=position.topic_id)
        await self._context.flow.begin(self.partition, position.offset, position.topic_id)
        self._context.flow.resume(self.partition)
        self.next_offset = position.offset
        if not self._tries_again:
            self.fault = None
            self._context.observer.lane_started(self.partition, position)
        return position

    async def _belong(self) -> None:
        """Wait until this worker is a member whom the group has not refused: a zombie would fence the owner again and again.

        Also because a transactional commit as no member (generation -1) passes the group unasked.
        """
        until = time.monotonic() + self._context.settings.session_timeout_s
        while not self._stopping.is_set():
            self._membership = self._context.flow.membership()
            if self._membership[0] >= 0 and (self._membership != self._refused or time.monotonic() > until):
                return
            await self._wait(0.05)
        raise Lost("stopped while this worker was no member of the group")

    async def _step(self, position: Position) -> Position:
        """One transaction: what was drained is decided, written, checked and committed; returns the new position."""
        taken = await self._inbox.drain(position.offset, bytes_max=self._pace.bytes)
        if taken is None:
            return position
        began = time.monotonic()
        await self._at("lane.drained")
        async with self._context.budget.hold(self._pace.expects(taken.size)) as held:
            step, plan = await self._carry(position, taken, held=held)
        seconds = time.monotonic() - began
        self._pace.took(taken.size, came=held.size, seconds=seconds)
        self.next_offset = step.position.offset
        if self.fault is not None:
            self.fault, self._tries_again = None, False
            self._context.observer.lane_started(self.partition, step.position)
        self._context.observer.step_committed(step.usage, plan=plan, seconds=seconds)
        self._context.observer.quarantined(self.partition.topic, step.rejects)
        return step.position

    async def _carry(self, position: Position, taken: Taken, *, held: Held) -> tuple[Step, Plan]:
        """Decide, write and commit what was drained; again where the broker's clock, or a share partition, does not agree."""
        now_ms = self._context.clock.now_ms()
        for _ in range(RERUNS_MAX):
            decision = await self._decide(position, taken, now_ms=now_ms)
            self._spoilage.hold(decision.verdict)
            part, rest = taken.cut(decision.verdict.next_offset)
            verdict = self._context.undeliverables.fit(decision.verdict, plan=decision.plan, partition=self.partition.partition)
            step = step_of(self.partition, position, part, plan=decision.plan, verdict=verdict, context=self._context)
            held.needs(step.size)
            append_ms = await self._write(step)
            if append_ms is not None and self._holds(decision, append_ms):
                await self._commit()
                self._context.undeliverables.delivered(step.outputs)
                self._spoilage.took(decision.verdict)
                if rest:
                    self._inbox.give_back(rest)
                    await self._at("lane.given_back")
                return step, decision.plan
            await self._undo()
            now_ms = append_ms or self._context.clock.now_ms()
        raise Lost("a step was rerun too often")

    async def _decide(self, position: Position, taken: Taken, *, now_ms: int) -> Decision:
        """Run the kernel off the event loop; unknown schema ids make it read hub.plan to its end and ask again."""
        plan = await self._fresh_plan(position)
        source = Source(self.partition, position.topic_id, taken.first_offset + taken.lost)
        moment = Moment(now_ms, self._context.undeliverables.of(plan, self.partition.partition))
        try:
            loop = asyncio.get_running_loop()
            verdict, seconds = await loop.run_in_executor(self._context.kernels, _timed, plan, taken.chunks, source, moment)
        except Exception as error:
            raise HubError(
                "HUB-LANE-011",
                f"the kernel failed on `{self.partition}` from {taken.first_offset} on: {type(error).__name__}",
                "keep the source topic and report this; `cityhub exchange adopt` can leave the records out",
            ) from error
        self._pace.decided(taken.size, seconds=seconds)
        if verdict.unknown_schema_ids:
            await self._context.intake.read_to_end()
            if self._context.plan(self.partition) is not plan:
                return await self._decide(position, taken, now_ms=now_ms)
        await self._at("lane.decided")
        return Decision(plan, now_ms, verdict)

    async def _fresh_plan(self, position: Position) -> Plan:
        """Return the newest plan once it is fresh; never one older than the position was decided under."""
        while self._context.intake.age_s() > self._context.settings.plan_fresh_s:
            self._context.plan(self.partition)
            self._context.observer.plan_stale(self.partition)
            if self._stopping.is_set():
                raise Lost("stopped while hub.plan did not answer")
            await self._wait(0.1)
        plan = self._context.plan(self.partition)
        if plan.plan_offset < position.plan_offset:
            raise HubError(
                "HUB-LANE-004",
                f"`{self.partition}` was decided under plan offset {position.plan_offset}, hub.plan holds {plan.plan_offset}",
                f"look at `cityhub exchange status`, then `cityhub exchange adopt {self.partition} --at OFFSET`",
            )
        return plan

    async def _write(self, step: Step) -> int | None:
        """Send position, then everything else; returns the latest append time, None where a share partition takes it otherwise only."""
        generation, member = self._membership
        self._open = True
        await self._transaction.commit_offset(
            self.partition, step.position.offset, step.position.metadata, generation=generation, member=member
        )
        await self._at("lane.offsets_sent")
        try:
            append_ms = await self._transaction.produce(step.outputs)
        except Undeliverable as gone:
            vital = {place: refusal for place, refusal in gone.refusals.items() if place[0] in step.vital_topics}
            if vital:
                raise vital_fault(vital) from gone
            self._context.undeliverables.meet(gone.refusals)
            return None
        if append_ms < 0:
            fix = "set `message.timestamp.type=LogAppendTime` on it: `cityhub serve` names every topic that is set otherwise"
            raise HubError("HUB-LANE-008", f"`{self._context.names.usage}` tells no append time, so no term can be held", fix)
        self._context.clock.see(append_ms)
        await self._at("lane.produced")
        return append_ms

    def _holds(self, decision: Decision, append_ms: int) -> bool:
        """Check before the commit: every term decision holds at the latest append time, and the plan is fresh."""
        if not decision.plan.same_terms(decision.now_ms, append_ms):
            self._context.observer.step_rerun(self.partition, why="term")
            return False
        if self._context.intake.age_s() > self._context.settings.plan_fresh_s:
            self._context.observer.step_rerun(self.partition, why="stale_plan")
            return False
        return True

    async def _commit(self) -> None:
        await self._at("lane.checked")
        await self._transaction.end(commit=True)
        self._open = False
        await self._at("lane.committed")

    async def _undo(self) -> None:
        """Abort what is open, surely: Lost where nobody knows, since a later commit would then commit it too."""
        if self._open:
            self._open = False
            await self._transaction.end(commit=False)

    async def _abort(self) -> None:
        """Abort what is open on the way out; a failure is left to whoever initialises next."""
        with contextlib.suppress(Lost):
            await self._undo()

    async def _stand_still(self, fault: HubError) -> None:
        """Alarm and wait until the position, the plan or the keys are others, or until a fault that may mend is tried again."""
        self.fault = fault
        self._context.observer.lane_stopped(self.partition, fault)
        self._context.flow.pause(self.partition)
        with contextlib.suppress(Fenced):
            await self._abort()
        seen = await self._signs(fault)
        until = time.monotonic() + RETRIED_EVERY_S.get(fault.code, float("inf"))
        while not self._stopping.is_set():
            await self._wait(LOOK_AGAIN_S)
            now = await self._signs(fault)
            answered = now.committed is not None and now.committed != seen.committed
            if answered or now[1:] != seen[1:]:
                self._forget_spoilage(seen, now, fault)
                self._tries_again = False
                return
            seen = now._replace(committed=now.committed or seen.committed)
            if time.monotonic() > until:
                self._tries_again = fault.code in UNWRITTEN
                return

    def _forget_spoilage(self, seen: Signs, now: Signs, fault: HubError) -> None:
        """Begin a new run of records where a person has set another position, or the records have other schemas now."""
        moved = now.committed is not None and now.committed[0] != self.next_offset
        if moved or (fault.code == SPOILT and now.plan != seen.plan):
            self._spoilage.forget()

    async def _signs(self, fault: HubError) -> Signs:
        """Return what an act of a person would change: of the plan the schemas alone where records cannot be read by them."""
        try:
            group = self._context.names.exchange_group
            committed = await committed_offset(self._context.coordinators, group=group, partition=self.partition) or (-1, "")
        except Lost:
            committed = None
        look = self._context.schema_ids if fault.code == SPOILT else self._context.plan_offset
        return Signs(committed, look(self.partition.topic), self._context.intake.book.key_fault is None)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), timeout=seconds)

    async def _at(self, place: str) -> None:
        await afailpoint(place, detail=self.partition)


def _timed(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> tuple[Verdict, float]:
    """Run the kernel; returns also how long it took, without the wait for a thread."""
    began = time.perf_counter()
    verdict = kernel.run(plan, chunks, source, moment)
    return verdict, time.perf_counter() - began
