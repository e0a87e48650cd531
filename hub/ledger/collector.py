"""The collector: follows hub.usage into the ledger, each step once, whatever is killed.

The position in hub.usage and everything that its records change move in one SQL transaction (``books.post``), so there is
nothing to recover after a kill: the collector reads on from what SQL holds. A second collector does no harm, see ``Overtaken``.
"""

import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from kafka.errors import KafkaError
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from hub.ledger.books import REFUSED, Overtaken, open_positions, post, post_singly
from hub.ledger.chain import STRANGE, way_on
from hub.ledger.tables import USAGE_CHAINS
from hub.ledger.tally import Stretch, Tally
from hub.ledger.usage_log import UsageLog
from hub.model.errors import HubError
from hub.model.names import Names
from hub.observe import metrics
from hub.store.engine import reading

RECORDS_MAX: Final = 2_000
"""Records of hub.usage in one SQL transaction."""
RETRY_S_MIN: Final = 0.5
RETRY_S_MAX: Final = 15.0
HELD_EVERY_S: Final = 5.0
"""How often the chains that are held are counted again: `ledger resume` is another process."""
HOLD_EVERY_S: Final = 10.0
"""How often hub.usage itself is looked at: a reader of a topic that was made again would wait for its offsets for ever."""
DEADLINE_S: Final = 30.0
"""A transaction that its owner left is ended by the broker within 20 s."""

log: Final = structlog.get_logger()


class Collected(msgspec.Struct, frozen=True):
    """Where the ledger stands after ``collect_once``."""

    positions: dict[int, int]
    """Next offset by partition of hub.usage."""
    until: dict[int, int]
    """High watermarks asked for at the start."""
    posted: int
    refused: int
    held: int
    """Chains that are held now."""


class Collector:
    """Brings usage steps into the ledger; one per database is enough, more do no harm."""

    def __init__(self, bootstrap: str, names: Names, engine: Engine, *, records_max: int = RECORDS_MAX) -> None:
        """Nothing is connected yet."""
        self._bootstrap = bootstrap
        self._names = names
        self._engine = engine
        self._records_max = records_max
        self._trouble: str | None = "not connected yet"
        self._held_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Follow hub.usage until ``stop`` is set; what fails is alarmed and tried again."""
        pause = RETRY_S_MIN
        while not stop.is_set():
            try:
                with self._open() as usage:
                    pause = RETRY_S_MIN
                    self._trouble = None
                    held_at = time.monotonic()
                    while not stop.is_set():
                        self._take(usage, usage.poll(records_max=self._records_max))
                        if time.monotonic() - held_at > HOLD_EVERY_S:
                            usage.hold()
                            held_at = time.monotonic()
            except Exception as error:
                # the thread must live: the ledger catches up once the cause is gone
                self._trouble = _cause(error)
                fix = error.fix if isinstance(error, HubError) else None
                log.exception("ledger collector waits", exc_info=_unexpected(error), reason=self._trouble, fix=fix, wait_s=pause)
                stop.wait(pause)
                pause = min(2 * pause, RETRY_S_MAX)
        self._trouble = "stopped"

    def collect_once(self, *, deadline_s: float = DEADLINE_S) -> Collected:
        """Bring the ledger up to the high watermarks of hub.usage as they are now; HUB-LEDGER-007 when that takes too long."""
        posted = refused = 0
        with self._open() as usage:
            until = usage.high_watermarks()
            for stretches in usage.read_to(until, deadline_s=deadline_s, records_max=self._records_max):
                for tally in self._take(usage, stretches):
                    posted += tally.posted
                    refused += len(tally.refused) + tally.strange
            return Collected(dict(usage.positions), until, posted, refused, self.count_held())

    def trouble(self) -> str | None:
        """Say what keeps the collector from following hub.usage, None when nothing does: a check of ``/readyz``."""
        return self._trouble

    def count_held(self) -> int:
        """Return how many chains are held; the metric follows."""
        table = USAGE_CHAINS
        wanted = (
            select(func.count())
            .select_from(table)
            .where(table.c.scope == self._names.scope, table.c.held_at.is_not(None), table.c.held_reason.not_in(STRANGE))
        )
        with reading(self._engine) as connection:
            found: int = connection.execute(wanted).scalar_one()
        metrics.CHAINS_HELD.set(found)
        self._held_at = time.monotonic()
        return found

    def _open(self) -> UsageLog:
        usage = UsageLog(self._bootstrap, names=self._names, client_id="cityhub-ledger")
        try:
            self._seek(usage)
            usage.hold()
        except BaseException:
            usage.__exit__(None, None, None)
            raise
        return usage

    def _seek(self, usage: UsageLog) -> None:
        usage.seek(open_positions(self._engine, scope=self._names.scope, usage_topic_id=usage.topic_id, partitions=usage.partitions))

    def _take(self, usage: UsageLog, stretches: list[Stretch]) -> list[Tally]:
        """Post ``stretches``; where somebody else was first, read on from where the ledger stands now."""
        tallies = []
        for stretch in stretches:
            try:
                found = self._post(stretch)
            except Overtaken:
                self._seek(usage)
                break
            tallies += found
            for tally in found:
                _tell(tally)
        self._measure(usage, tallies)
        return tallies

    def _post(self, stretch: Stretch) -> list[Tally]:
        try:
            return [post(self._engine, stretch, scope=self._names.scope)]
        except REFUSED as error:
            log.warning("a stretch of usage is posted record by record", error=type(error).__name__, records=len(stretch.records))
            return post_singly(self._engine, stretch, scope=self._names.scope)

    def _measure(self, usage: UsageLog, tallies: list[Tally]) -> None:
        positions: Mapping[int, int] = usage.positions
        for partition, offset in positions.items():
            metrics.COLLECTOR_POSITION.labels(partition=str(partition)).set(offset)
        metrics.COLLECTOR_LAG_RECORDS.set(usage.behind())
        if any(tally.held for tally in tallies) or time.monotonic() - self._held_at > HELD_EVERY_S:
            self.count_held()


def _tell(tally: Tally) -> None:
    """Count what was posted and alarm what was not."""
    metrics.USAGE_STEPS.inc(tally.posted)
    metrics.USAGE_REFUSED.inc(len(tally.refused) + tally.strange)
    for (partition, offset), reason in tally.refused.items():
        log.error("record of hub.usage refused", partition=partition, offset=offset, reason=reason.value)
    for chain_id in tally.held:
        held = tally.chain(chain_id).held
        if held is not None:
            log.error(
                "chain of usage steps held",
                code="HUB-LEDGER-009" if held.reason in STRANGE else "HUB-LEDGER-001",
                chain=str(chain_id),
                offset=held.usage_offset,
                reason=held.reason.value,
                fix=way_on(chain_id, held.reason),
            )


def _cause(error: Exception) -> str:
    """Return what to tell of ``error``: our own words, else its type; texts of others may hold values."""
    return str(error) if isinstance(error, HubError) else type(error).__name__


def _unexpected(error: Exception) -> Exception | None:
    return None if isinstance(error, HubError | KafkaError | SQLAlchemyError) else error
