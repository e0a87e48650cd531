"""Reading hub.plan as it stands: every record by offset, also those that no one of ours wrote.

Reads uncommitted on purpose: an open transaction of a stranger must not hide entries from the one who repairs the topic.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

from hub.broker.security import security
from hub.model.errors import HubError

READ_TIMEOUT_MS: Final = 15_000
POLL_RECORDS_MAX: Final = 1_000
_T = TypeVar("_T")


class LogEntry(NamedTuple):
    """One record of hub.plan."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Truncated(Exception):  # noqa: N818 - a state of the log
    """The log no longer holds the offset that was to be read next: the topic was re-created or emptied."""


class PlanLog:
    """Reads one partition from its beginning, then on; not for use by several threads."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Connect; HUB-BROKER-001 when the broker does not answer."""
        self._partition = KafkaPartition(topic, 0)
        self._topic = topic
        self._begin: int | None = None
        """Where the log began when it was read; compaction does not move it."""
        self._consumer: Any = self._asked(
            lambda: KafkaConsumer(
                bootstrap_servers=bootstrap,
                client_id="cityhub-plan-log",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_uncommitted",
                allow_auto_create_topics=False,
                fetch_max_wait_ms=200,
                max_poll_records=POLL_RECORDS_MAX,
                request_timeout_ms=READ_TIMEOUT_MS,
                bootstrap_timeout_ms=READ_TIMEOUT_MS,
                metrics_enabled=False,
                **security(bootstrap),
            )
        )
        self._consumer.assign([self._partition])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection."""
        self.close()

    def end(self) -> int:
        """Return the high watermark."""
        found = self._asked(lambda: self._consumer.end_offsets([self._partition], timeout_ms=READ_TIMEOUT_MS))
        return int(found[self._partition])

    def read_all(self) -> list[LogEntry]:
        """Return every record from the beginning up to the high watermark as asked now; ``poll`` goes on from there."""
        begin = self._asked(lambda: self._consumer.beginning_offsets([self._partition], timeout_ms=READ_TIMEOUT_MS))[self._partition]
        self._consumer.seek(self._partition, begin)
        self._begin = int(begin)
        return self.read_on()

    def read_on(self) -> list[LogEntry]:
        """Return every record that was not read yet, up to the high watermark as asked now."""
        end = self.end()
        out: list[LogEntry] = []
        idle = 0
        while self.position() < end:
            found = self.poll(timeout_ms=500)
            out.extend(found)
            idle = 0 if found else idle + 1
            if idle * 500 > READ_TIMEOUT_MS:
                raise HubError("HUB-BROKER-001", f"`{self._topic}` could not be read to its end", "look at the broker's log")
        return out

    def hold(self) -> None:
        """Hold that the log is the one that was read: ``Truncated`` where records were deleted from it, or it ends before what was read."""
        begin = self._asked(lambda: self._consumer.beginning_offsets([self._partition], timeout_ms=READ_TIMEOUT_MS))[self._partition]
        if self._begin not in {None, int(begin)} or self.end() < self.position():
            raise Truncated

    def position(self) -> int:
        """Return the offset that is read next."""
        return int(self._asked(lambda: self._consumer.position(self._partition, timeout_ms=READ_TIMEOUT_MS)))

    def poll(self, *, timeout_ms: int) -> list[LogEntry]:
        """Return the records that have come; ``Truncated`` when the position lies outside the log."""
        try:
            found = self._asked(lambda: self._consumer.poll(timeout_ms=timeout_ms))
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise Truncated from error
        records = found.get(self._partition, ())
        return [LogEntry(record.offset, record.key, record.value, tuple(record.headers or ())) for record in records]

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _asked(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (OffsetOutOfRangeError, LogTruncationError):
            raise
        except KafkaError as error:
            raise HubError("HUB-BROKER-001", f"`{self._topic}`: {type(error).__name__}", "start the broker: `cityhub up`") from error
