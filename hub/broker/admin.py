"""Administration of the cluster: versions, topics, offsets, committed positions, open transactions.

Synchronous, on kafka-python. Every call is bounded in time: it is asked again while the answer is one that passes by itself (a
broker that restarts, a coordinator that moved), for at most 15 s. Kafka's errors become coded ones. May be used by several threads.
"""

import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from kafka import TopicPartition as KafkaPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NoError,
    NotCoordinatorError,
    TopicAlreadyExistsError,
    UnknownBrokerIdError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.net.compat import KafkaNetClient
from kafka.protocol.consumer import ConsumerProtocolAssignment, IsolationLevel
from kafka.structs import OffsetAndMetadata

from hub.broker.security import security
from hub.broker.topics import TopicSpec
from hub.model.errors import HubError
from hub.model.names import TopicPartition

REQUEST_TIMEOUT_MS: Final = 10_000
ANSWER_WITHIN_MS: Final = 1_000
CONNECT_WITHIN_MS: Final = 10_000
ASK_WITHIN_S: Final = 15.0
PAUSE_S: Final = 0.1
FIRST_PAUSE_S: Final = 0.004
"""Before new topics are looked at again for the first time; each further pause is twice as long, up to ``PAUSE_S``."""
TOPICS_ASKED_MAX: Final = 200
"""Topics whose settings one request asks for."""
END_TXN: Final = 26
END_TXN_VERSION_MIN: Final = 5
TRANSACTION_LEVEL_MIN: Final = 2
_UNKNOWN: Final = 3
_REBALANCING: Final = frozenset({"PreparingRebalance", "CompletingRebalance"})
_AWAY: Final = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError)
_MOVED: Final = (NotCoordinatorError, UnknownBrokerIdError)
_OPEN: Final = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
_T = TypeVar("_T")


class OpenTransaction(NamedTuple):
    """One transactional id as the transaction coordinators list it."""

    transactional_id: str
    producer_id: int
    state: str


class TopicState(NamedTuple):
    """A topic as the cluster has it; ``config`` holds the settings that were asked for."""

    topic_id: uuid.UUID
    partitions: int
    config: Mapping[str, str]


class Offsets(dict[TopicPartition, int]):
    """Offsets of the partitions that exist; ``[...]`` of one that does not is HUB-BROKER-009, ``get`` gives None."""

    def __missing__(self, partition: TopicPartition) -> int:
        """Refuse."""
        raise HubError("HUB-BROKER-009", f"`{partition}` does not exist", "create the topic, or look at the name")


class Admin:
    """One connection to the cluster for administration. A context manager."""

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "cityhub-admin",
        connect_within_ms: int = CONNECT_WITHIN_MS,
        ask_within_s: float = ASK_WITHIN_S,
    ) -> None:
        """Connect; HUB-BROKER-001 when no broker answers. ``ask_within_s``: for how long a call is asked again."""
        self.bootstrap = bootstrap
        self._client_id = client_id
        self._ask_within_s = ask_within_s
        self._guard = threading.Lock()
        self._closed = False
        self._client: Any = _connect(bootstrap, client_id=client_id, within_ms=connect_within_ms)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the connection; again is no error."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._client.close()

    def check_version(self) -> str:
        """Return what every broker speaks; HUB-BROKER-002 when one is older than 4.0 (no EndTxn v5, KIP-890)."""
        features = self._ask(lambda client: client.describe_features())
        level = features.get("transaction.version", {}).get("finalized", (0, 0))[1]
        spoken = self._ask(_end_txn_versions)
        return judge_version(self.bootstrap, end_txn=min(spoken, default=0), transaction_level=level)

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make topics that are missing and wait until they have leaders; HUB-BROKER-008 for one that exists with other settings."""
        there = self.topic_ids([spec.name for spec in specs])
        missing = {spec.name: spec for spec in specs if spec.name not in there}
        for spec in specs:
            if spec.name in there:
                self._hold_same(spec)
        if missing:
            for name in self._ask(lambda client: _create(client, missing.values())):
                self._hold_same(missing[name])

    def topic_states(self, specs: Sequence[TopicSpec]) -> dict[str, TopicState]:
        """Return what there is of the topics of ``specs``, with the settings that they name; absent ones are absent."""
        rows = self._described([spec.name for spec in specs])
        there = [spec for spec in specs if spec.name in rows]
        found: dict[str, TopicState] = {}
        for at in range(0, len(there), TOPICS_ASKED_MAX):
            asked = there[at : at + TOPICS_ASKED_MAX]
            resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name, dict(spec.config)) for spec in asked]
            told = self._ask(partial(_configs, resources=resources))
            for spec in asked:
                config = {key: str(row.get("value")) for key, row in told.get(spec.name, {}).items()}
                found[spec.name] = TopicState(uuid.UUID(str(rows[spec.name]["topic_id"])), len(rows[spec.name]["partitions"]), config)
        return found

    def add_partitions(self, name: str, count: int) -> None:
        """Give a topic ``count`` partitions where it has fewer; what it holds is left as it is."""
        self._ask(lambda client: client.create_partitions({name: count}, timeout_ms=REQUEST_TIMEOUT_MS), about=f"topic `{name}`")

    def delete_topics(self, names: Collection[str]) -> None:
        """Delete topics and wait until they are gone; HUB-BROKER-009 for one that is not there."""
        wanted = sorted(set(names))
        if not wanted:
            return
        self._ask(lambda client: client.delete_topics(wanted, timeout_ms=REQUEST_TIMEOUT_MS), about=_listed(wanted))
        deadline = time.monotonic() + self._ask_within_s
        while (left := self.topic_ids(wanted)) and time.monotonic() < deadline:
            time.sleep(PAUSE_S)
        if left:
            raise HubError("HUB-BROKER-010", f"{_listed(sorted(left))} did not go away", "look at the broker's log")

    def topic_ids(self, names: Collection[str]) -> dict[str, uuid.UUID]:
        """Return ids of the topics that exist; absent ones are absent."""
        return {name: uuid.UUID(str(row["topic_id"])) for name, row in self._described(names).items()}

    def partitions(self, name: str) -> int:
        """Return the number of partitions; HUB-BROKER-009 when the topic is not there."""
        row = self._described([name]).get(name)
        if row is None:
            raise HubError("HUB-BROKER-009", f"topic `{name}` does not exist", "create it, or look at the name")
        return len(row["partitions"])

    def partition_counts(self, names: Collection[str]) -> dict[str, int]:
        """Return how many partitions each topic has; topics that are not there are absent."""
        return {name: len(row["partitions"]) for name, row in self._described(names).items()}

    def end_offsets(self, partitions: Collection[TopicPartition], *, committed: bool = False) -> Offsets:
        """Return high watermarks, or with ``committed`` last stable offsets: where a read_committed reader ends."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, OffsetSpec.LATEST, level)

    def begin_offsets(self, partitions: Collection[TopicPartition]) -> Offsets:
        """Return the first offsets that the logs still hold."""
        return self._offsets(partitions, OffsetSpec.EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def committed(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        """Return committed offsets and metadata of a group as they stand, pending ones left out; one without is absent."""
        if not partitions:
            return {}
        wanted = [KafkaPartition(*partition) for partition in partitions]
        found = self._ask(lambda client: client.list_group_offsets({group: wanted}), about=f"group `{group}`")[group]
        return {TopicPartition(at.topic, at.partition): (row.offset, row.metadata or "") for at, row in found.items() if row.offset >= 0}

    def commit(self, group: str, at: TopicPartition, *, offset: int, metadata: str) -> None:
        """Commit an offset with its metadata (4,000 bytes) for a group that nobody is a member of; HUB-BROKER-010 where it is refused."""
        wanted = {KafkaPartition(*at): OffsetAndMetadata(offset, metadata, -1)}
        self._ask(lambda client: _raise_refused(client.alter_group_offsets(group, wanted)), about=f"group `{group}`")

    def held(self, group: str) -> frozenset[TopicPartition] | None:
        """Return the partitions that members of a group have, None while the group gives them out anew."""
        found = self._ask(lambda client: client.describe_groups([group]), about=f"group `{group}`")[group]
        if found["group_state"] in _REBALANCING:
            return None
        held = set()
        for member in found["members"]:
            given = member["member_assignment"]
            if isinstance(given, bytes):
                given = ConsumerProtocolAssignment.decode(given).to_dict() if given else {}
            topics = (given or {}).get("assigned_partitions", ())
            held |= {TopicPartition(row["topic"], number) for row in topics for number in row["partitions"]}
        return frozenset(held)

    def open_transactions(self) -> list[OpenTransaction]:
        """Return every transactional id whose transaction is open or being ended, over all coordinators."""
        found = self._ask(lambda client: client.list_transactions())
        rows = [OpenTransaction(row.transactional_id, row.producer_id, str(row.state.value)) for rows in found.values() for row in rows]
        return sorted(row for row in rows if row.state in _OPEN)

    def alter_topic_config(self, name: str, config: Mapping[str, str]) -> None:
        """Set configuration of a topic, leaving the rest as it is; HUB-BROKER-009 no such topic, -010 refused."""
        self.partitions(name)
        resource = ConfigResource(ConfigResourceType.TOPIC, name, dict(config))
        try:
            found = self._ask(lambda client: client.alter_configs([resource]), about=f"topic `{name}`")
        except ValueError:
            raise _refused(f"topic `{name}`", "unknown configuration") from None
        if found["topic"].get(name) != "OK":
            raise _refused(f"topic `{name}`", str(found["topic"].get(name)).partition(":")[0])

    def _described(self, names: Collection[str]) -> dict[str, Any]:
        """Return metadata of the topics that exist; an answer that passes by itself is never taken for an absent topic."""
        if not names:
            return {}
        return self._ask(lambda client: _describe(client, sorted(set(names))), about=_listed(sorted(names)))

    def _hold_same(self, spec: TopicSpec) -> None:
        found = self.topic_states([spec]).get(spec.name)
        if found is None:
            raise HubError("HUB-BROKER-009", f"topic `{spec.name}` does not exist", "create it, or look at the name")
        other = [*spec.differs(found.config)]
        if found.partitions != spec.partitions:
            other.append("number of partitions")
        if other:
            fix = "set it back (`kafka-configs.sh`, `docs/reference/shapes.md` tells the settings), or choose another `topics_prefix`"
            raise HubError("HUB-BROKER-008", f"topic `{spec.name}` exists with another {', '.join(other)}", fix)

    def _offsets(self, partitions: Collection[TopicPartition], spec: Any, level: Any) -> Offsets:
        wanted = {KafkaPartition(*partition): spec for partition in partitions}
        try:
            return self._ask(lambda client: _list_offsets(client, wanted, level))
        except HubError as error:
            if error.code != "HUB-BROKER-009":
                raise
        counts = {name: len(row["partitions"]) for name, row in self._described({at.topic for at in wanted}).items()}
        there = {at: spec for at in wanted if at.partition < counts.get(at.topic, 0)}
        return self._ask(lambda client: _list_offsets(client, there, level))

    def _ask(self, question: Callable[[Any], _T], *, about: str = "a topic or partition") -> _T:
        """Ask, and again while the answer is one that passes by itself."""
        deadline = time.monotonic() + self._ask_within_s
        while True:
            client = self._client
            try:
                return question(client)
            except UnknownTopicOrPartitionError as error:
                raise HubError("HUB-BROKER-009", f"{about} does not exist", "create it, or look at the name") from error
            except (KafkaError, RuntimeError) as error:
                passes = isinstance(error, (RuntimeError, *_MOVED)) or error.retriable
                if self._closed or not passes or time.monotonic() > deadline:
                    raise self._failed(error, about=about) from error
                if not isinstance(error, CoordinatorLoadInProgressError):
                    self._renew(client)
                time.sleep(PAUSE_S)

    def _renew(self, client: Any) -> None:
        """Connect anew in place of ``client``: kafka-python keeps the coordinators that it has found, also when they moved."""
        with self._guard:
            if self._closed or client is not self._client:
                return
            try:
                fresh = _connect(self.bootstrap, client_id=self._client_id, within_ms=ANSWER_WITHIN_MS)
            except HubError:
                return
            self._client = fresh
            client.close()

    def _failed(self, error: Exception, *, about: str) -> HubError:
        if isinstance(error, _AWAY):
            return _away(self.bootstrap)
        return _refused(about, type(error).__name__)


def judge_version(bootstrap: str, *, end_txn: int, transaction_level: int) -> str:
    """Return what is spoken in words; HUB-BROKER-002 where it is less than Kafka 4.0's transaction protocol."""
    if end_txn < END_TXN_VERSION_MIN:
        raise HubError("HUB-BROKER-002", f"a broker at `{bootstrap}` speaks EndTxn v{end_txn} only", "upgrade it to Kafka 4.0 or newer")
    if transaction_level < TRANSACTION_LEVEL_MIN:
        raise HubError(
            "HUB-BROKER-002",
            f"the cluster at `{bootstrap}` runs with transaction.version {transaction_level}",
            f"`kafka-features.sh --bootstrap-server {bootstrap} upgrade --feature transaction.version={TRANSACTION_LEVEL_MIN}`",
        )
    return f"EndTxn v{end_txn}, transaction.version {transaction_level}"


def answers(bootstrap: str) -> bool:
    """Tell whether a broker answers within a second or two."""
    try:
        with Admin(bootstrap, client_id="cityhub-probe", connect_within_ms=ANSWER_WITHIN_MS):
            return True
    except HubError:
        return False


def _end_txn_versions(client: Any) -> list[int]:
    nodes = [row["broker_id"] for row in client.describe_cluster()["brokers"]]
    found = [client.get_broker_version_data(node).api_versions for node in nodes]
    return [int(versions.get(END_TXN, (0, 0))[1]) for versions in found]


def _create(client: Any, specs: Collection[TopicSpec]) -> list[str]:
    """Ask for topics; returns those that someone else has made meanwhile. Raises what Kafka has against one of them."""
    wanted = {
        spec.name: {"num_partitions": spec.partitions, "replication_factor": spec.replication, "configs": dict(spec.config)}
        for spec in specs
    }
    answer = client.create_topics(wanted, timeout_ms=REQUEST_TIMEOUT_MS, raise_errors=False)
    existing = []
    for row in answer["topics"]:
        error = for_code(row["error_code"])
        if error is TopicAlreadyExistsError:
            existing.append(row["name"])
        elif row["error_code"] != 0:
            if error.retriable:
                raise error
            raise _refused(f"topic `{row['name']}`", error.__name__)
    _wait_for_leaders(client, sorted(wanted))
    return existing


def _wait_for_leaders(client: Any, names: Sequence[str]) -> None:
    """Return once every partition of these topics has a leader; KafkaTimeoutError when that takes longer than a request may.

    Most have theirs within some milliseconds, so it is asked often at first: kafka-python's own wait sleeps 100 ms between two
    looks, which was half of what signing an agreement took.
    """
    deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
    pause_s = FIRST_PAUSE_S
    while not _are_led(client, names):
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(_listed(names))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_S)


def _are_led(client: Any, names: Sequence[str]) -> bool:
    try:
        rows = {row["name"]: row for row in client.describe_topics(names)}
    except KafkaError as error:
        if not error.retriable:
            raise
        return False
    return all(name in rows and is_led(rows[name]) for name in names)


def is_led(row: Mapping[str, Any]) -> bool:
    """Tell of a topic as Metadata describes it whether each of its partitions has a leader."""
    partitions = row["partitions"]
    return row["error_code"] == 0 and bool(partitions) and all(one["error_code"] == 0 and one["leader_id"] >= 0 for one in partitions)


def _describe(client: Any, names: Sequence[str]) -> dict[str, Any]:
    found = {}
    for row in client.describe_topics(names):
        if row["error_code"] == 0:
            found[row["name"]] = row
        elif row["error_code"] != _UNKNOWN:
            raise for_code(row["error_code"])
    return found


def _configs(client: Any, *, resources: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.describe_configs(resources, config_filter="all").get("topic", {})
    return found


def _raise_refused(found: Mapping[Any, type[KafkaError]]) -> None:
    for error in found.values():
        if error is not NoError:
            raise error


def _list_offsets(client: Any, wanted: Mapping[Any, Any], level: Any) -> Offsets:
    if not wanted:
        return Offsets()
    found = client.list_partition_offsets(wanted, isolation_level=level, timeout_ms=REQUEST_TIMEOUT_MS)
    return Offsets({TopicPartition(at.topic, at.partition): row.offset for at, row in found.items()})


def _connect(bootstrap: str, *, client_id: str, within_ms: int) -> Any:
    """Return kafka-python's administrator; it leaves thread and sockets behind when its own connecting fails, so both are closed here."""
    deadline = time.monotonic() + within_ms / 1000
    while not _listens(bootstrap):
        if time.monotonic() > deadline:
            raise _away(bootstrap)
        time.sleep(PAUSE_S)
    made: list[Any] = []

    def remembered(**config: Any) -> Any:
        made.append(KafkaNetClient(**config))
        return made[-1]

    try:
        return KafkaAdminClient(
            bootstrap_servers=bootstrap,
            client_id=client_id,
            bootstrap_timeout_ms=within_ms,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            reconnect_backoff_max_ms=ANSWER_WITHIN_MS,
            kafka_client=remembered,
            **security(bootstrap),
        )
    except KafkaError as error:
        for client in made:
            client.close()
        raise _away(bootstrap) from error


def _listens(bootstrap: str) -> bool:
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_MS / 1000).close()
        except (OSError, ValueError):
            continue
        return True
    return False


def _away(bootstrap: str) -> HubError:
    return HubError("HUB-BROKER-001", f"no broker answers at `{bootstrap}`", "start it (`cityhub up`), or set `broker.bootstrap`")


def _refused(about: str, why: str) -> HubError:
    return HubError("HUB-BROKER-010", f"Kafka refused a request about {about}: {why}", "look at the broker's log, then try again")


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"topic `{name}`" for name in names)
