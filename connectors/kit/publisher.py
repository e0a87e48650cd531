"""Publishing exactly once with kafka-python: records and position in one transaction, and a new producer after every failure.

kafka-python 3.0.12 speaks the older transaction protocol: the epoch stays the same from one transaction to the next, so a
produce request that comes late must never meet a later transaction of the same epoch. Hence: every future is awaited before
the commit; after any error the producer is dropped for good, and InitProducerId of the next one raises the epoch and finishes
whatever was open. Only then is the position read (an offset read right after EndTxn may not be there yet).

Its commit waits without end where the coordinator is gone: waits are bounded here, through its private transaction manager
(``PRIVATE`` names what is touched; a contract test fails first when the pin moves).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from kafka import KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import InvalidProducerEpochError, KafkaError, KafkaTimeoutError, ProducerFencedError
from kafka.structs import OffsetAndMetadata

from connectors.kit.records import SOURCE_ID_HEADER, Outgoing
from hub.broker.admin import Admin
from hub.broker.clients import producer_config
from hub.model.names import TopicPartition
from hub.observe.failpoints import failpoint

TRANSACTION_TIMEOUT_MS: Final = 10_000
BATCH_BYTES: Final = 256 * 1024
LINGER_MS: Final = 5
RETRY_BACKOFF_MS: Final = 10
"""Also how long a first AddPartitionsToTxn waits for the markers of the transaction before."""
BLOCK_MS_MAX: Final = 20_000
ABORT_MS_MAX: Final = 5_000
CLOSE_S_MAX: Final = 2.0
DELIVERY_MS_MAX: Final = 20_000
PRIVATE: Final = (
    "_transaction_manager.send_offsets_to_transaction",
    "_transaction_manager.begin_commit",
    "_transaction_manager.begin_abort",
    "_sender.wakeup",
)


class Unpublished(Exception):  # noqa: N818 (an outage, to be tried again)
    """Kafka did not take a transaction, or did not say that it has: what is true stands in the position."""


class Overtaken(Unpublished):
    """The transactional id is in other hands, or the transaction ran out of time: Kafka says no more than that."""


class Publisher:
    """One transactional producer of one connector, and the group that holds its position."""

    def __init__(self, bootstrap: str, *, topic: str, group: str, transactional_id: str, timeout_ms: int = TRANSACTION_TIMEOUT_MS) -> None:
        """Connect to nothing yet."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._place = TopicPartition(topic, 0)
        self._group = group
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self._producer: Any = None
        self._admin: Admin | None = None

    def open(self) -> str | None:
        """Fence whoever held the transactional id, finish its transaction, and return the position's metadata; None: there is none."""
        self.close()
        name = self._transactional_id
        config = producer_config(self._bootstrap, client_id=name, transactional_id=name, timeout_ms=self._timeout_ms)
        own = {
            "batch_size": BATCH_BYTES,
            "delivery_timeout_ms": DELIVERY_MS_MAX,
            "linger_ms": LINGER_MS,
            "max_block_ms": BLOCK_MS_MAX,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
        }
        try:
            self._producer = KafkaProducer(**config | own)
            self._producer.init_transactions()
        except KafkaError as error:
            self.close()
            raise _unpublished(error) from error
        self._admin = Admin(self._bootstrap, client_id=f"{name}-admin")
        found = self._admin.committed(self._group, [self._place]).get(self._place)
        return None if found is None else found[1]

    def publish(self, records: Sequence[Outgoing], metadata: str, *, settle: Callable[[], None]) -> None:
        """Commit records and position together. ``settle`` is called when Kafka has every record, right before the commit.

        Unpublished where Kafka failed, or whatever ``settle`` raises; nothing is committed then, except where a commit was sent
        and no answer came. In each case this producer is at its end: ``open`` comes next.
        """
        try:
            self._send(records, metadata)
            settle()
            failpoint("connector.before_commit")
            self._wait(self._producer._transaction_manager.begin_commit(), within_ms=self._timeout_ms + ABORT_MS_MAX)  # noqa: SLF001 - see PRIVATE
        except (KafkaError, ValueError) as error:
            self._give_up()
            raise _unpublished(error) from error
        except BaseException:
            self._give_up()
            raise
        failpoint("connector.after_commit")

    def topic_id(self) -> str | None:
        """Return the id that the topic has now, None where it is gone."""
        if self._admin is None:
            raise AssertionError("a publisher is opened before it is asked")
        found = self._admin.topic_ids([self._topic]).get(self._topic)
        return None if found is None else str(found)

    def close(self) -> None:
        """Drop producer and connection; idempotent."""
        if self._producer is not None:
            self._producer.close(timeout=CLOSE_S_MAX)
            self._producer = None
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _send(self, records: Sequence[Outgoing], metadata: str) -> None:
        producer = self._producer
        if producer is None:
            raise AssertionError("a publisher is opened before it publishes")
        producer.begin_transaction()
        send, topic = producer.send, self._topic
        futures = []
        for partition, key, value, source_id in records:
            futures.append(send(topic, value, key, [(SOURCE_ID_HEADER, source_id)], partition))
            failpoint("connector.row_sent")
        # offset 0: an offset of the topic means nothing here, the position is the metadata
        offsets = {KafkaPartition(*self._place): OffsetAndMetadata(0, metadata, -1)}
        self._wait(producer._transaction_manager.send_offsets_to_transaction(offsets, self._group), within_ms=BLOCK_MS_MAX)  # noqa: SLF001 - see PRIVATE
        deadline = time.monotonic() + DELIVERY_MS_MAX / 1000
        for future in futures:
            if not future.is_done:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
            elif future.failed():
                raise future.exception

    def _wait(self, result: Any, *, within_ms: int) -> None:
        self._producer._sender.wakeup()  # noqa: SLF001 - see PRIVATE
        if not result.wait(timeout_ms=within_ms):
            raise KafkaTimeoutError

    def _give_up(self) -> None:
        """Abort, so that readers need not wait for the time-out, and drop the producer."""
        try:
            self._wait(self._producer._transaction_manager.begin_abort(), within_ms=ABORT_MS_MAX)  # noqa: SLF001 - see PRIVATE
        except KafkaError:
            pass
        finally:
            self.close()


def _unpublished(error: Exception) -> Unpublished:
    kind = Overtaken if isinstance(error, ProducerFencedError | InvalidProducerEpochError) else Unpublished
    return kind(type(error).__name__)
