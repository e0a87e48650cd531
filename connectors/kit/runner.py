"""The verb run: batches from the reader, transactions to Kafka, counts to the observer; starts anew after every failure.

Whatever went wrong, the next step is the same: a new producer, the position that Kafka holds, the reader set upon it. An outage
is waited for, with a bound; a refusal with a code ends the run.
"""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from connectors.kit.access import HubAccess, topic_is_missing
from connectors.kit.contract import Batch, Definition, Limits, Outcome, Reader, TakeUp, Target, Unsettled
from connectors.kit.positions import read_position, unusable, write_position
from connectors.kit.publisher import Overtaken, Publisher, Unpublished
from connectors.kit.verbs import open_source
from hub.locks import FileLock
from hub.model.errors import ExitCode, HubError
from hub.observe import metrics
from hub.observe.progress import Progress

log = structlog.get_logger()

OUTAGE_S_MAX: Final = 120.0
"""Without a commit for so long while there is something to commit, the run ends: a supervisor starts it again."""
PAUSE_S: Final = 0.2
PAUSE_S_MAX: Final = 5.0
OVERTAKEN_MAX: Final = 3
OVERTAKEN_WITHIN_S: Final = 60.0
"""Another producer may take the transactional id so often within this time before this one yields."""
OUTCOMES_MAX: Final = 1_000
POLL_S: Final = 1.0
WAIT_S: Final = 0.1
_UNRECORDED: Final = ("HUB-SERVE-001", "HUB-SERVE-002", "HUB-SERVE-003")
"""Serve did not record the act of publishing anew: then nothing is published anew, and nobody waits for it."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run."""

    once: bool = False
    """End when every input that is there is done; else go on until told to stop."""
    take_up: TakeUp = TakeUp.GO_ON
    limits: Limits = Limits()


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did."""

    connector: str
    dataset: str
    topic: str
    rows: int
    """Data rows read by this run and committed."""
    published: int
    set_aside: int
    transactions: int
    seconds: float
    files: tuple[Outcome, ...]
    """Per input, the newest last; the counts of an input are since its first row, over all runs."""


class Runner:
    """Runs one connector until it is done, or told to stop."""

    def __init__(self, definition: Definition, access: HubAccess, *, options: RunOptions, progress: Progress) -> None:
        """Connect to nothing yet."""
        self._definition = definition
        self._access = access
        self._options = options
        self._progress = progress
        self._folder = access.folder(definition)
        self._stop = threading.Event()
        self._tally = _Tally(definition, access)
        self._take_up = options.take_up
        self._quiet_since = time.monotonic()
        self._overtaken: list[float] = []
        self._in_doubt: Batch | None = None
        """Handed to Kafka, and no answer yet: the next position says whether it was committed."""
        self.trouble: str | None = "starting"
        """Why the connector does not publish; None: it does."""

    def stop(self) -> None:
        """End after the transaction under way. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> RunSummary:
        """Publish; return what was done. HUB-CONN-005 … -010 where it cannot go on."""
        # kafka-python's own loop complains whenever the encoding of rows keeps its thread waiting for 0.1 s
        logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
        with only_one(self._folder), ExitStack() as stack:
            target = self._reach(stack)
            if target is None:
                return self._tally.summary()
            publisher = self._access.publisher(self._definition)
            reader = open_source(self._definition).open(target, state=self._folder)
            try:
                self._go_on(publisher, reader, target)
            finally:
                self._tally.take(reader.outcomes(), reader.open_input())
                reader.close()
                publisher.close()
        return self._tally.summary()

    def _reach(self, stack: ExitStack) -> Target | None:
        """Return the target; waits for a broker that is away, unless the run is to end by itself. None: told to stop meanwhile."""
        while not self._stop.is_set():
            try:
                return stack.enter_context(self._access.target(self._definition))
            except HubError as error:
                if self._options.once:
                    raise
                self._hold_passing(error)
                self._stop.wait(PAUSE_S_MAX)
        return None

    def _go_on(self, publisher: Publisher, reader: Reader, target: Target) -> None:
        """Publish until there is no more to do, beginning again after each failure that passes."""
        pause = PAUSE_S
        while not self._stop.is_set():
            committed_before = self._tally.transactions
            try:
                self._take_up_position(publisher, reader, target)
                self._publish_all(publisher, reader, target)
            except Unsettled:
                log.info("an input changed before anything of it was published", connector=self._definition.name)
                self._stop.wait(PAUSE_S)
            except (Unpublished, HubError, OSError) as error:
                self._hold_passing(_unwritable(error) if isinstance(error, OSError) else error)
                pause = PAUSE_S if self._tally.transactions > committed_before else min(2 * pause, PAUSE_S_MAX)
                self._stop.wait(pause)
            else:
                return

    def _take_up_position(self, publisher: Publisher, reader: Reader, target: Target) -> None:
        metadata = publisher.open()
        anew = self._take_up is TakeUp.ANEW
        try:
            self._hold_topic(publisher, target)
            held = None if metadata is None else read_position(metadata)
            if held is not None and held.topic_id != target.topic_id:
                raise unusable("the position belongs to another topic of the same name: the topic was re-created")
            if held is not None and self._in_doubt is not None and held.position == self._in_doubt.position:
                self._tally.count(self._in_doubt)
            self._in_doubt = None
            reader.start(None if held is None else held.position, take_up=TakeUp.GO_ON if anew else self._take_up)
        except HubError as error:
            if error.code != "HUB-CONN-005" or not anew:
                raise
            with self._access.recorded_anew(self._definition):
                reader.start(None, take_up=TakeUp.ANEW)
        else:
            if anew:
                fix = "run it without `--anew`: it goes on where it stands"
                raise HubError("HUB-CONN-010", "the position can be used: publishing anew would publish records twice", fix)
        self._take_up = TakeUp.GO_ON
        self.trouble = None

    def _publish_all(self, publisher: Publisher, reader: Reader, target: Target) -> None:
        while not self._stop.is_set():
            batch = reader.read(self._options.limits)
            self._tally.take(reader.outcomes(), None)
            if batch is not None:
                self._publish(publisher, reader, target, batch)
                continue
            if not reader.waits:
                self._quiet_since = time.monotonic()
            if self._options.once and not reader.waits:
                return
            if self._options.once and time.monotonic() - self._quiet_since > OUTAGE_S_MAX:
                fix = "run it again when the file is whole, or write files elsewhere and move them in"
                raise HubError("HUB-CONN-006", f"an input was still being written after {OUTAGE_S_MAX:.0f} s", fix)
            self._stop.wait(WAIT_S if reader.waits else POLL_S)

    def _publish(self, publisher: Publisher, reader: Reader, target: Target, batch: Batch) -> None:
        metadata = write_position(batch.position, topic_id=target.topic_id)

        def settle() -> None:
            reader.settle(batch)
            self._hold_topic(publisher, target)

        self._in_doubt = batch
        publisher.publish(batch.records, metadata, settle=settle)
        self._in_doubt = None
        reader.committed(batch)
        self._quiet_since = time.monotonic()
        self._tally.count(batch)
        self._tally.take(reader.outcomes(), None)
        self._progress.update(self._tally.rows, total=reader.rows_expected)

    def _hold_topic(self, publisher: Publisher, target: Target) -> None:
        topic_id = publisher.topic_id()
        if topic_id is None:
            raise topic_is_missing(target.topic, dataset=self._definition.dataset)
        if topic_id != target.topic_id:
            raise unusable("the topic was re-created under the same name while the connector was running")

    def _hold_passing(self, error: Unpublished | HubError) -> None:
        """Raise what does not pass by waiting, and what has been waited for long enough."""
        passes = not isinstance(error, HubError) or error.entry.exit is ExitCode.DEPENDENCY
        if isinstance(error, HubError) and (not passes or (self._take_up is TakeUp.ANEW and error.code in _UNRECORDED)):
            raise error
        reason = error.code if isinstance(error, HubError) else str(error)
        self.trouble = f"no commit, {reason}"
        log.warning("not published, trying again", connector=self._definition.name, reason=reason)
        now = time.monotonic()
        if isinstance(error, Overtaken):
            self._overtaken = [*(at for at in self._overtaken if now - at < OVERTAKEN_WITHIN_S), now]
        if len(self._overtaken) >= OVERTAKEN_MAX:
            fix = "stop the other one; one connector of a name runs at a time, also on several machines"
            raise HubError("HUB-CONN-007", f"another connector `{self._definition.name}` keeps taking over", fix) from error
        if now - self._quiet_since > OUTAGE_S_MAX:
            if isinstance(error, HubError):
                raise error
            fix = "look at the broker; nothing is lost, the next run goes on from the position"
            raise HubError("HUB-CONN-007", f"no transaction was committed for {OUTAGE_S_MAX:.0f} s: {reason}", fix) from error


def _unwritable(error: OSError) -> HubError:
    what = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return HubError("HUB-CONN-011", f"a file of the source or of the connector's state cannot be used: {what}", "look at space and rights")


class _Tally:
    """Counts what was committed: for the summary, the metrics and the log."""

    def __init__(self, definition: Definition, access: HubAccess) -> None:
        self._definition = definition
        self._topic = access.names.dept(definition.dataset)
        self._started = time.monotonic()
        self._published = 0
        self._files: deque[Outcome] = deque(maxlen=OUTCOMES_MAX)
        self.rows = 0
        self.transactions = 0

    def count(self, batch: Batch) -> None:
        name = self._definition.name
        self.rows += batch.rows
        self._published += len(batch.records)
        self.transactions += 1
        metrics.ROWS.labels(connector=name, outcome="published").inc(len(batch.records))
        metrics.ROWS.labels(connector=name, outcome="set_aside").inc(batch.rows - len(batch.records))
        metrics.LAST_SUCCESS_TIMESTAMP_SECONDS.labels(connector=name).set_to_current_time()

    def take(self, outcomes: list[Outcome], open_input: Outcome | None) -> None:
        """Take outcomes, each once; ``open_input`` when the run ends inside one."""
        for outcome in [*outcomes, *([open_input] if open_input is not None else [])]:
            self._files.append(outcome)
            kind = {"published": "published", "seen_before": "seen_before", "refused": "set_aside"}.get(outcome.outcome)
            if kind is not None:
                metrics.FILES.labels(connector=self._definition.name, outcome=kind).inc()
            self._tell(outcome)

    def summary(self) -> RunSummary:
        """Return the sums."""
        return RunSummary(
            connector=self._definition.name,
            dataset=self._definition.dataset,
            topic=self._topic,
            rows=self.rows,
            published=self._published,
            set_aside=self.rows - self._published,
            transactions=self.transactions,
            seconds=round(time.monotonic() - self._started, 3),
            files=tuple(self._files),
        )

    def _tell(self, outcome: Outcome) -> None:
        words = {
            "published": "file published",
            "seen_before": "file was published before, nothing to do",
            "refused": "file refused",
            "partly": "file published in part",
            "given_up": "rest of a file left out",
            "other_content": "file was published before with other content",
        }
        tell = log.warning if outcome.outcome in {"refused", "other_content"} or outcome.set_aside else log.info
        tell(
            words[outcome.outcome],
            connector=self._definition.name,
            file=outcome.input,
            rows=outcome.rows,
            records=outcome.published,
            code=outcome.code or ("HUB-CONN-004" if outcome.set_aside else None),
            reason=outcome.reason,
        )


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the connector's state folder; HUB-CONN-009 while another process has it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(folder / "lock")
    if not lock.take():
        raise HubError("HUB-CONN-009", f"a connector is running on `{folder}`", "stop it first; one runs at a time")
    try:
        yield
    finally:
        lock.release()
