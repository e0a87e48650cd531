"""Administration of the cluster: versions, topics, offsets, committed positions, open transactions.

Synchronous, on kafka-python. Every call is bounded in time; Kafka's errors become coded ones.
"""

import socket
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, TypeVar

from kafka import TopicPartition as KafkaPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError
from kafka.protocol.consumer import IsolationLevel

from hub.broker.topics import TopicSpec
from hub.model.errors import HubError
from hub.model.names import TopicPartition

REQUEST_TIMEOUT_MS: Final = 15_000
ANSWER_WITHIN_MS: Final = 1_000
CONNECT_WITHIN_MS: Final = 10_000
_END_TXN: Final = 26
_END_TXN_VERSION_MIN: Final = 5
_T = TypeVar("_T")


class OpenTransaction(NamedTuple):
    """One transactional id as the transaction coordinators list it."""

    transactional_id: str
    producer_id: int
    state: str


class Admin:
    """One connection to the cluster for administration. A context manager."""

    def __init__(self, bootstrap: str, *, client_id: str = "cityhub-admin") -> None:
        """Connect; HUB-BROKER-001 when no broker answers."""
        self.bootstrap = bootstrap
        self._client = _connect(bootstrap, client_id=client_id, within_ms=CONNECT_WITHIN_MS)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def check_version(self) -> str:
        """Return what the cluster speaks; HUB-BROKER-002 when it is older than 4.0 (no EndTxn v5, KIP-890)."""
        versions = self._ask(self._client.api_versions)
        found = next((maximum for key, (_, maximum) in versions.items() if int(key) == _END_TXN), 0)
        features = self._ask(self._client.describe_features)
        level = features.get("transaction.version", {}).get("finalized", (0, 0))[1]
        if found < _END_TXN_VERSION_MIN or level < 2:
            raise HubError(
                "HUB-BROKER-002",
                f"the cluster at `{self.bootstrap}` speaks EndTxn v{found} and transaction.version {level}",
                "upgrade it to Kafka 4.0 or newer and finalise transaction.version 2 (`kafka-features.sh upgrade`)",
            )
        return f"EndTxn v{found}, transaction.version {level}"

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make topics that are missing; HUB-BROKER-008 for one that exists with other partitions or configuration."""
        there = self.topic_ids([spec.name for spec in specs])
        missing = [spec for spec in specs if spec.name not in there]
        for spec in specs:
            if spec.name in there:
                self._hold_same(spec)
        if not missing:
            return
        wanted = {
            spec.name: {"num_partitions": spec.partitions, "replication_factor": spec.replication, "configs": dict(spec.config)}
            for spec in missing
        }
        try:
            self._client.create_topics(wanted, timeout_ms=REQUEST_TIMEOUT_MS, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            for spec in missing:
                self._hold_same(spec)
        except KafkaError as error:
            raise self._failed(error) from error

    def delete_topics(self, names: Collection[str]) -> None:
        """Delete topics; HUB-BROKER-009 for one that is not there."""
        self._ask(lambda: self._client.delete_topics(list(names), timeout_ms=REQUEST_TIMEOUT_MS))

    def topic_ids(self, names: Collection[str]) -> dict[str, uuid.UUID]:
        """Return ids of the topics that exist; absent ones are absent."""
        if not names:
            return {}
        found = self._ask(lambda: self._client.describe_topics(sorted(set(names))))
        return {row["name"]: row["topic_id"] for row in found if row["error_code"] == 0}

    def partitions(self, name: str) -> int:
        """Return the number of partitions; HUB-BROKER-009 when the topic is not there."""
        (row,) = self._ask(lambda: self._client.describe_topics([name]))
        if row["error_code"] != 0:
            raise HubError("HUB-BROKER-009", f"topic `{name}` does not exist", "create it, or look at the name")
        return len(row["partitions"])

    def end_offsets(self, partitions: Collection[TopicPartition], *, committed: bool = False) -> dict[TopicPartition, int]:
        """Return high watermarks, or with ``committed`` last stable offsets: where a read_committed reader ends."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, OffsetSpec.LATEST, level)

    def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offsets that the logs still hold."""
        return self._offsets(partitions, OffsetSpec.EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        """Return committed offsets and metadata of a group as they stand; a partition without one is absent."""
        if not partitions:
            return {}
        wanted = [KafkaPartition(*partition) for partition in partitions]
        found = self._ask(lambda: self._client.list_group_offsets({group: wanted}))[group]
        return {TopicPartition(at.topic, at.partition): (row.offset, row.metadata or "") for at, row in found.items() if row.offset >= 0}

    def open_transactions(self) -> list[OpenTransaction]:
        """Return every transactional id that has a transaction which is neither empty nor over."""
        found = self._ask(self._client.list_transactions)
        rows = [OpenTransaction(row.transactional_id, row.producer_id, str(row.state.value)) for rows in found.values() for row in rows]
        return [row for row in rows if row.state in {"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"}]

    def alter_topic_config(self, name: str, config: Mapping[str, str]) -> None:
        """Set configuration of a topic, leaving the rest as it is."""
        resource = ConfigResource(ConfigResourceType.TOPIC, name, dict(config))
        self._ask(lambda: self._client.alter_configs([resource]))

    def _hold_same(self, spec: TopicSpec) -> None:
        count = self.partitions(spec.name)
        resource = ConfigResource(ConfigResourceType.TOPIC, spec.name, None)
        rows = self._ask(lambda: self._client.describe_configs([resource], config_filter="all"))["topic"][spec.name]
        other = sorted(key for key, value in spec.config.items() if str(rows[key]["value"]) != value)
        if count != spec.partitions or other:
            what = ", ".join([*other, *(["partitions"] if count != spec.partitions else [])])
            raise HubError(
                "HUB-BROKER-008",
                f"topic `{spec.name}` exists with another {what}",
                "set it as README, topics, says, or use a topics_prefix",
            )

    def _offsets(self, partitions: Collection[TopicPartition], spec: Any, level: Any) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        wanted = {KafkaPartition(*partition): spec for partition in partitions}
        found = self._ask(lambda: self._client.list_partition_offsets(wanted, isolation_level=level, timeout_ms=REQUEST_TIMEOUT_MS))
        return {TopicPartition(at.topic, at.partition): row.offset for at, row in found.items()}

    def _ask(self, question: Callable[[], _T]) -> _T:
        """Ask, and again while the answer is one that passes by itself, such as a coordinator that is loading."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
        while True:
            try:
                return question()
            except UnknownTopicOrPartitionError as error:
                raise HubError("HUB-BROKER-009", "a topic or partition does not exist", "create it, or look at the name") from error
            except KafkaError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise self._failed(error) from error
                time.sleep(0.1)

    def _failed(self, error: KafkaError) -> HubError:
        return HubError("HUB-BROKER-010", f"`{self.bootstrap}` answered {type(error).__name__}", "look at the broker's log, then try again")


def answers(bootstrap: str) -> bool:
    """Tell whether a broker answers within a second."""
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_WITHIN_MS / 1000).close()
    except OSError:
        return False
    try:
        client = _connect(bootstrap, client_id="cityhub-probe", within_ms=ANSWER_WITHIN_MS)
    except HubError:
        return False
    try:
        return bool(client.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        client.close()


def _connect(bootstrap: str, *, client_id: str, within_ms: int) -> Any:
    try:
        return KafkaAdminClient(
            bootstrap_servers=bootstrap, client_id=client_id, bootstrap_timeout_ms=within_ms, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
    except KafkaError as error:
        raise HubError("HUB-BROKER-001", f"no broker answers at `{bootstrap}`", "start it, or set `broker.bootstrap`") from error
