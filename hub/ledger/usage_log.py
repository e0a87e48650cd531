"""Reading hub.usage: committed records, in stretches, from positions that the caller keeps."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import CorruptRecordError, OffsetOutOfRangeError

from hub.broker.admin import Admin
from hub.broker.clients import consumer_config
from hub.ledger.losses import ACCEPT_LOSS
from hub.ledger.tally import Stretch
from hub.model.errors import HubError
from hub.model.names import Names, TopicPartition

POSITION_TIMEOUT_MS: Final = 5_000
POLL_MS: Final = 200
FETCH_MIN_BYTES: Final = 64 * 1024
FETCH_MAX_WAIT_MS: Final = 250
"""What is written in a quarter of a second is read at once, and posted in one transaction, however many steps that are."""


GONE_FIX: Final = f"restore the broker's data; what was posted stays posted and billed. Where they are gone for good: {ACCEPT_LOSS}"
RESTORE_FIX: Final = f"restore the broker's data, and run `cityhub ledger check`. Where they are gone for good: {ACCEPT_LOSS}"


class UsageLog(AbstractContextManager["UsageLog"]):
    """A reader of hub.usage; HUB-BROKER-009 when there is no such topic.

    It begins nowhere: ``seek`` first. A position that the log does not have is HUB-LEDGER-006, never a jump elsewhere.
    """

    def __init__(self, bootstrap: str, *, names: Names, client_id: str) -> None:
        """Connect, and ask for the topic's id and partitions."""
        self.topic: Final = names.usage
        with Admin(bootstrap, client_id=client_id) as admin:
            found = admin.topic_ids([self.topic]).get(self.topic)
            if found is None:
                raise HubError("HUB-BROKER-009", f"topic `{self.topic}` does not exist", "`cityhub serve` makes it when it starts")
            self.topic_id: Final = str(found)
            self._partitions = {number: KafkaPartition(self.topic, number) for number in range(admin.partitions(self.topic))}
        self._bootstrap = bootstrap
        self._client_id = client_id
        waits = {"fetch_min_bytes": FETCH_MIN_BYTES, "fetch_max_wait_ms": FETCH_MAX_WAIT_MS}
        self._consumer: Any = KafkaConsumer(**consumer_config(bootstrap, client_id=client_id) | waits)
        self._consumer.assign(list(self._partitions.values()))
        self.positions: dict[int, int] = {}

    @property
    def partitions(self) -> tuple[int, ...]:
        """Partitions of hub.usage."""
        return tuple(self._partitions)

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Disconnect."""
        self._consumer.close(autocommit=False, timeout_ms=1_000)

    def seek(self, positions: Mapping[int, int]) -> None:
        """Read on from ``positions``; partitions that are not named are not read."""
        self._consumer.assign([self._partitions[number] for number in positions])
        for number, offset in positions.items():
            self._consumer.seek(self._partitions[number], offset)
        self.positions = dict(positions)

    def high_watermarks(self) -> dict[int, int]:
        """Ask each leader for the end of its log, open transactions included."""
        with Admin(self._bootstrap, client_id=self._client_id) as admin:
            ends = admin.end_offsets([TopicPartition(self.topic, number) for number in self._partitions])
        return {place.partition: offset for place, offset in ends.items()}

    def hold(self) -> None:
        """Hold that hub.usage is still the topic that was opened, and has every position; HUB-LEDGER-006 where it was cut or made again."""
        with Admin(self._bootstrap, client_id=self._client_id) as admin:
            places = [TopicPartition(self.topic, number) for number in self.positions]
            same = str(admin.topic_ids([self.topic]).get(self.topic)) == self.topic_id
            begins, ends = admin.begin_offsets(places), admin.end_offsets(places)
        if not same:
            raise HubError("HUB-LEDGER-006", f"`{self.topic}` was deleted, or made again", RESTORE_FIX)
        for place in places:
            at, begin, end = self.positions[place.partition], begins.get(place), ends.get(place)
            if begin is None or end is None or not begin <= at <= end:
                cut = f"`{place}` holds offsets {begin} to {end}, the ledger stands at {at}: what lies between was deleted"
                raise HubError("HUB-LEDGER-006", cut, RESTORE_FIX)

    def require_whole(self, since: Mapping[int, int]) -> None:
        """Hold that nothing from ``since`` on was deleted, by partition; HUB-LEDGER-006 names the partitions and offsets that are gone."""
        with Admin(self._bootstrap, client_id=self._client_id) as admin:
            begins = admin.begin_offsets([TopicPartition(self.topic, number) for number in self._partitions])
        gone = [f"`{place}` offsets below {begin}" for place, begin in sorted(begins.items()) if begin > since.get(place.partition, 0)]
        if gone:
            raise HubError("HUB-LEDGER-006", f"deleted from hub.usage: {', '.join(gone)}", GONE_FIX)

    def poll(self, *, records_max: int, timeout_ms: int = POLL_MS) -> list[Stretch]:
        """Return what came next, one stretch per partition that moved; markers without records move it too."""
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms, max_records=records_max)
        except OffsetOutOfRangeError:
            raise HubError(
                "HUB-LEDGER-006",
                f"`{self.topic}` does not have the offset where the ledger stands",
                RESTORE_FIX,
            ) from None
        except CorruptRecordError:
            raise HubError("HUB-LEDGER-006", f"a record batch of `{self.topic}` is corrupt", "restore the broker's data") from None
        stretches = []
        for number, before in self.positions.items():
            place = self._partitions[number]
            after = self._consumer.position(place, timeout_ms=POSITION_TIMEOUT_MS)
            if after is not None and after != before:
                stretches.append(Stretch(self.topic_id, number, before, after, polled.get(place, ())))
                self.positions[number] = after
        return stretches

    def behind(self) -> int:
        """Return how many offsets lie between the positions and the ends that the last fetches told of."""
        return sum(max(0, (self._consumer.highwater(self._partitions[number]) or 0) - offset) for number, offset in self.positions.items())

    def read_to(self, ends: Mapping[int, int], *, deadline_s: float, records_max: int) -> Iterator[list[Stretch]]:
        """Yield stretches until every position has reached ``ends``.

        A reader of committed records stops at the first open transaction, anybody's; ends asked for by ``high_watermarks`` lie
        behind it. HUB-LEDGER-007 when nothing has moved for ``deadline_s``: longer than a transaction lives.
        """
        moved_at = time.monotonic()
        while any(self.positions[number] < end for number, end in ends.items()):
            stretches = self.poll(records_max=records_max)
            if stretches:
                moved_at = time.monotonic()
                yield stretches
            elif time.monotonic() - moved_at > deadline_s:
                short = sorted(number for number, end in ends.items() if self.positions[number] < end)
                raise HubError(
                    "HUB-LEDGER-007",
                    f"`{self.topic}`, partitions {short}: not read to the end within {deadline_s:g} s",
                    "an open transaction hides it: try again in half a minute, then look for it with `kafka-transactions.sh list`",
                )
