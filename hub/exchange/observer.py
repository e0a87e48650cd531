"""The observer of the lanes: counts, times and says what happened. The lane computes; nothing here decides."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter as PromCounter
from prometheus_client import Gauge, Histogram

from hub.broker.requests import Lost
from hub.broker.transactions import Fenced
from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.model.entry import LEVEL
from hub.model.errors import HubError
from hub.model.names import TopicPartition
from hub.model.reasons import DeniedBy
from hub.model.usage import Position, UsageEntry, UsageStep
from hub.observe import metrics

log = structlog.get_logger()
DENIED_TOLD_EVERY_S: Final = 10.0


class OfTopic(NamedTuple):
    """The metrics that each step of a topic counts in."""

    steps: PromCounter
    seconds: Histogram
    records: PromCounter
    plan_offset: Gauge


class Observer:
    """Metrics and log lines of one worker's exchange."""

    def __init__(self) -> None:
        """Say which kernel runs."""
        self._states: dict[TopicPartition, str] = {}
        self._faults: dict[TopicPartition, str] = {}
        self._shown_codes: set[str] = set()
        self._plan_codes: set[str] = set()
        self._topics: dict[str, OfTopic] = {}
        self._records: dict[tuple[str, str], PromCounter] = {}
        self._lags: dict[TopicPartition, int] = {}
        self._undeliverable: set[TopicPartition] = set()
        self._denied_since: dict[tuple[TopicPartition, str], tuple[float, int, int]] = {}
        """By lane and agreement: when it was told last, and what was denied since."""
        self._denied: dict[tuple[TopicPartition, str], tuple[int, int]] = {}
        """By lane and agreement: the first and the next offset of all that was denied."""
        self._stopped_ms: dict[TopicPartition, int] = {}
        metrics.KERNEL_INFO.labels(kernel=kernel.name()).set(1)
        metrics.PLAN_LEVEL.set(LEVEL)

    @property
    def faults(self) -> dict[TopicPartition, str]:
        """Codes of lanes that stand still."""
        return dict(self._faults)

    def lane_started(self, partition: TopicPartition, position: Position) -> None:
        """Note that a lane runs from ``position`` on."""
        self._faults.pop(partition, None)
        self._stopped_ms.pop(partition, None)
        self._state(partition, "running")
        log.info("lane started", lane=str(partition), offset=position.offset, step=position.step, plan_offset=position.plan_offset)

    def lane_restarts(self, partition: TopicPartition, *, why: Exception) -> None:
        """Note that a lane was fenced or lost its transaction, and starts anew."""
        self._state(partition, "starting")
        outcome = "fenced" if isinstance(why, Fenced) else "failed"
        metrics.STEPS.labels(topic=partition.topic, outcome=outcome).inc()
        reason = str(why) if isinstance(why, Fenced | Lost) else type(why).__name__  # the texts of others may hold values
        if isinstance(why, Fenced) and not why.by_group:
            log.info("lane was fenced: it goes on under what holds now", lane=str(partition), reason=reason)
        else:
            log.warning("lane starts anew", lane=str(partition), reason=reason)

    def since_ms(self, partition: TopicPartition) -> int | None:
        """Return since when a lane stands still, UTC milliseconds by this machine's clock; None while it moves."""
        return self._stopped_ms.get(partition)

    def denied_offsets(self, partition: TopicPartition, agreement_id: str) -> str:
        """Return in words what this worker has denied to an agreement whose share partition takes nothing."""
        found = self._denied.get((partition, agreement_id))
        return f"partition {partition.partition}, offsets {found[0]} to {found[1] - 1}" if found else f"partition {partition.partition}"

    def lane_stopped(self, partition: TopicPartition, fault: HubError) -> None:
        """Raise the alarm, once for each fault: a partition stands still until a person acts, or until what is tried again works."""
        known = self._faults.get(partition) == fault.code
        self._faults[partition] = fault.code
        self._state(partition, "stopped")
        if not known:
            self._stopped_ms[partition] = time.time_ns() // 1_000_000
            log.error("lane stopped", lane=str(partition), code=fault.code, message=fault.message, fix=fault.fix)

    def lane_ended(self, partition: TopicPartition) -> None:
        """Note that this worker does not own the lane any more."""
        self._states.pop(partition, None)
        self._faults.pop(partition, None)
        self._lags.pop(partition, None)
        self._stopped_ms.pop(partition, None)
        self._forget_denied(lambda lane, _: lane == partition)
        self._show_states()
        metrics.CONSUMER_LAG_RECORDS.forget(topic=partition.topic, partition=str(partition.partition))

    def plan_stale(self, partition: TopicPartition) -> None:
        """Note that a lane waits for hub.plan's leader."""
        self._state(partition, "waiting")

    def step_committed(self, usage: UsageStep, *, plan: Plan, seconds: float) -> None:
        """Count a committed step."""
        topic = usage.source_topic
        self._state(TopicPartition(topic, usage.source_partition), "running")
        steps, seconds_of, records, plan_offset = self._of_topic(topic)
        steps.inc()
        seconds_of.observe(seconds)
        records.inc(usage.records)
        plan_offset.set(plan.plan_offset)
        if usage.gaps:
            metrics.GAPS.inc(usage.gaps)
        for entry in usage.entries:
            for disposition in metrics.DISPOSITIONS:
                count = getattr(entry, disposition)
                if count:
                    self._records_of(entry.agreement_id, disposition).inc(count)
            if entry.denied_by is not None:
                metrics.DENIED.labels(agreement=entry.agreement_id, reason=entry.denied_by).inc(entry.denied)
                if entry.denied_by == DeniedBy.UNDELIVERABLE:
                    self._denied_undeliverable(usage, entry)
        metrics.DELIVERIES_BYTES.inc(sum(entry.bytes_delivered for entry in usage.entries))

    def _of_topic(self, topic: str) -> OfTopic:
        """Return what a step of a topic counts; kept, since finding a metric by its labels costs ten times as much as counting."""
        found = self._topics.get(topic)
        if found is None:
            found = self._topics[topic] = OfTopic(
                metrics.STEPS.labels(topic=topic, outcome="committed"),
                metrics.STEP_SECONDS.labels(stage="total"),
                metrics.RECORDS_READ.labels(topic=topic),
                metrics.PLAN_OFFSET.labels(topic=topic),
            )
        return found

    def _records_of(self, agreement_id: str, disposition: str) -> PromCounter:
        """Return the counter of an agreement's records; kept for the same reason."""
        found = self._records.get((agreement_id, disposition))
        if found is None:
            found = self._records[agreement_id, disposition] = metrics.RECORDS.labels(agreement=agreement_id, disposition=disposition)
        return found

    def step_rerun(self, partition: TopicPartition, *, why: str) -> None:
        """Count a step that was aborted and is decided again."""
        metrics.STEPS.labels(topic=partition.topic, outcome="rerun").inc()
        log.info("step decided again", lane=str(partition), reason=why)

    def quarantined(self, topic: str, codes: Counter[str]) -> None:
        """Count quarantined records by reason."""
        for code, count in codes.items():
            metrics.QUARANTINED.labels(topic=topic, code=code).inc(count)
        if codes:
            log.warning("records quarantined", topic=topic, count=sum(codes.values()), reason=", ".join(sorted(codes)))

    def records_lost(self, partition: TopicPartition, count: int) -> None:
        """Raise the alarm: retention took offsets before they were read."""
        metrics.LOST.inc(count)
        log.error("retention took offsets before they were read", lane=str(partition), lost=count)

    def undeliverable(self, place: TopicPartition, *, code: int) -> None:
        """Raise the alarm: a share partition is gone, refuses or is too narrow for a record, and was waited for long enough."""
        self._undeliverable.add(place)
        self._show_undeliverable(place.topic)
        fix = "make or widen it: `cityhub serve` does; what was denied is shown by `cityhub exchange status`"
        log.error("share partition takes nothing", topic=place.topic, partition=place.partition, kafka_error=code, fix=fix)

    def deliverable(self, place: TopicPartition) -> None:
        """Note that a share partition is there, and that its records are delivered again where it takes them."""
        self._undeliverable.discard(place)
        self._show_undeliverable(place.topic)
        log.info("share partition is there again", topic=place.topic, partition=place.partition)

    def well(self, place: TopicPartition) -> None:
        """Note that a share partition takes what it refused: the next trouble with it is told with offsets of its own."""
        agreement = place.topic.rpartition(".")[2]
        self._forget_denied(lambda lane, agreement_id: (lane.partition, agreement_id) == (place.partition, agreement))

    def narrowed(self, place: TopicPartition, *, bytes_max: int) -> None:
        """Note that a share partition takes smaller batches only."""
        log.warning("share partition is too narrow", topic=place.topic, partition=place.partition, bytes=bytes_max)

    def _show_undeliverable(self, topic: str) -> None:
        count = sum(place.topic == topic for place in self._undeliverable)
        metrics.UNDELIVERABLE.labels(agreement=topic.rpartition(".")[2]).set(count)

    def _forget_denied(self, over: Callable[[TopicPartition, str], bool]) -> None:
        """Forget what was denied where a trouble is over, or is another worker's to tell."""
        for table in (self._denied, self._denied_since):
            for key in [key for key in table if over(*key)]:
                del table[key]

    def _denied_undeliverable(self, usage: UsageStep, entry: UsageEntry) -> None:
        """Raise the alarm for records that a consumer will not get, with their offsets: at once, then every few seconds."""
        metrics.UNDELIVERED.labels(agreement=entry.agreement_id).inc(entry.denied)
        lane = TopicPartition(usage.source_topic, usage.source_partition)
        self._denied[lane, entry.agreement_id] = (self._denied.get((lane, entry.agreement_id), (usage.first_offset,))[0], usage.next_offset)
        told_at, first, count = self._denied_since.get((lane, entry.agreement_id), (0.0, usage.first_offset, 0))
        count += entry.denied
        if time.monotonic() - told_at > DENIED_TOLD_EVERY_S:
            log.error(
                "records denied, since their share partition takes nothing",
                lane=str(lane),
                agreement=entry.agreement_id,
                first_offset=first,
                next_offset=usage.next_offset,
                count=count,
            )
            told_at, first, count = time.monotonic(), usage.next_offset, 0
        self._denied_since[lane, entry.agreement_id] = (told_at, first, count)

    def plan_alarm(self, error: HubError) -> None:
        """Raise the alarm: an entry of hub.plan was refused, or a plan does not compile."""
        metrics.PLAN_ALARMS.labels(code=error.code).inc()
        log.error("plan entry refused", code=error.code, message=error.message, fix=error.fix)

    def plan_stops(self, stopped: Mapping[str, HubError], refused: Mapping[str, HubError]) -> None:
        """Show which datasets stand still for what hub.plan says, and which agreements are denied because they do not compile."""
        codes = Counter(fault.code for fault in stopped.values())
        for code in set(codes) | self._plan_codes:
            metrics.PLAN_STOPPED.labels(code=code).set(codes.get(code, 0))
        self._plan_codes = set(codes)
        metrics.AGREEMENTS_REFUSED.set(len(refused))

    def keys_refused(self, error: Exception) -> None:
        """Say that changed key files cannot be used; those in use stay."""
        code, fix = (error.code, error.fix) if isinstance(error, HubError) else ("HUB-KEY-001", "restore the files from their backup")
        message = error.message if isinstance(error, HubError) else type(error).__name__
        log.error("changed keys cannot be used", code=code, message=message, fix=fix)

    def plan_age(self, seconds: float) -> None:
        """Show how old the knowledge of hub.plan is."""
        metrics.PLAN_AGE_SECONDS.set(seconds)

    def lag(self, partition: TopicPartition, records: int) -> None:
        """Show how far a lane is behind the end of its log."""
        if self._lags.get(partition) == records:
            return
        self._lags[partition] = records
        metrics.CONSUMER_LAG_RECORDS.labels(topic=partition.topic, partition=str(partition.partition)).set(records)

    def _state(self, partition: TopicPartition, state: str) -> None:
        if self._states.get(partition) != state:
            self._states[partition] = state
            self._show_states()

    def _show_states(self) -> None:
        counts = Counter(self._states.values())
        for state in metrics.LANE_STATES:
            metrics.LANES.labels(state=state).set(counts.get(state, 0))
        codes = Counter(self._faults.values())
        for code in set(codes) | self._shown_codes:
            metrics.LANE_STOPPED.labels(code=code).set(codes.get(code, 0))
        self._shown_codes = set(codes)
