"""The private API of faust and aiokafka that the hub touches, under exact pins: this fails first when a pin moves."""

import asyncio
import inspect
from importlib.metadata import entry_points, version

import faust
import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, AIOKafkaProtocol
from aiokafka.consumer import fetcher
from aiokafka.consumer.consumer import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.api import RequestStruct
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers import by_url
from yarl import URL

from hub.exchange.transport import Transport
from hub.exchange.transport.fetch import ChunkFetcher, OneChunk
from hub.exchange.verdict import Chunk
from hub.model.names import TopicPartition


@pytest.mark.parametrize(("package", "pin"), [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0"), ("kafka-python", "3.0.12")])
def test_the_pins_are_the_versions_that_were_read(package: str, pin: str) -> None:
    """Another version may have moved what is touched here: read it before moving the pin."""
    assert version(package) == pin


def test_the_fetcher_asks_and_takes_in_the_two_methods_that_are_replaced() -> None:
    """Its loop calls them as they are called here, and reads nothing else of what they return."""
    routine = inspect.getsource(fetcher.Fetcher._fetch_requests_routine)
    assert ") = self._get_actions_per_node(assignment)" in routine
    assert "self._proc_fetch_request(assignment, node_id, request)" in routine
    for name in ("fetch_requests", "reset_requests", "timeout", "invalid_metadata", "resume_futures"):
        assert name in routine
    parameters = list(inspect.signature(fetcher.PartitionRecords.__init__).parameters)
    assert parameters == [
        "self",
        "tp",
        "records",
        "aborted_transactions",
        "fetch_offset",
        "key_deserializer",
        "value_deserializer",
        "check_crcs",
        "isolation_level",
    ]


def test_the_fetcher_has_what_the_chunk_fetcher_reads() -> None:
    """Attributes of aiokafka's own, by name."""
    source = inspect.getsource(fetcher.Fetcher)
    for name in (
        "_client", "_records", "_in_flight", "_fetch_waiters", "_fetcher_timeout", "_fetch_min_bytes", "_fetch_max_bytes",
        "_fetch_max_wait_ms", "_max_partition_fetch_bytes", "_retry_backoff", "_default_reset_strategy", "_subscriptions",
        "_wait_consume_future", "_loop", "_key_deserializer", "_value_deserializer", "_check_crcs", "_isolation_level",
    ):  # fmt: skip
        assert f"self.{name}" in source


def test_the_chunk_fetcher_has_the_layout_of_the_original() -> None:
    """``__class__`` can be assigned only between classes of one layout."""
    plain = object.__new__(fetcher.Fetcher)
    plain.__class__ = ChunkFetcher
    assert ChunkFetcher._proc_fetch_request is not fetcher.Fetcher._proc_fetch_request
    plain.__class__ = fetcher.Fetcher


def test_what_a_fetch_result_reads_from_its_records_exists_on_chunks() -> None:
    """FetchResult iterates, and compares ``next_fetch_offset`` with the position."""
    assert "next_fetch_offset" in inspect.getsource(fetcher.FetchResult)
    assert list(inspect.signature(fetcher.FetchResult.__init__).parameters) == ["self", "tp", "assignment", "partition_records", "backoff"]
    chunk = Chunk(partition=TopicPartition("dept.a.b", 0), data=b"", first_offset=7, next_offset=9, gaps=2)
    records = OneChunk(chunk)
    assert records.next_fetch_offset == 7
    assert [record.offset for record in records] == [8]
    assert records.next_fetch_offset == 9


def test_the_consumer_reads_its_settings_from_the_attributes_that_are_set() -> None:
    """The consumer is built by Faust; isolation and fetch waits are set before it starts."""
    source = inspect.getsource(AIOKafkaConsumer)
    for attribute in (
        "_isolation_level",
        "_fetch_max_wait_ms",
        "_fetch_min_bytes",
        "_fetch_max_bytes",
        "_fetcher",
        "_coordinator",
        "_client",
    ):
        assert f"self.{attribute}" in source
    assert {"generation", "member_id"} <= set(dir(GroupCoordinator)) | set(GroupCoordinator.__init__.__code__.co_names)


def test_faust_keeps_the_hooks_that_are_overridden() -> None:
    """Named private by Faust, stable since its beginning."""
    assert {"_new_consumer_thread", "_to_message", "_add_gap", "_wait_next_records", "on_partitions_revoked"} <= set(dir(driver.Consumer))
    assert {"on_start", "_create_worker_consumer"} <= set(dir(driver.AIOKafkaConsumerThread))
    assert Conductor._resubscribe_sleep_lock_seconds == 45.0
    assert Transport.Conductor._resubscribe_sleep_lock_seconds < 1
    assert {"_flag_changes"} <= set(dir(Conductor))
    assert "_topic_name_index" in inspect.getsource(Conductor)
    assert "self._read_offset = " in inspect.getsource(Consumer.__init__)
    assert "get_read_offset = self._read_offset.__getitem__" in inspect.getsource(Consumer._drain_messages)
    assert "_stop_consumer" in dir(faust.App)


def test_the_transport_is_found_by_its_url() -> None:
    """``broker='cityhub://…'`` works from the entry point alone."""
    assert by_url(URL("cityhub://127.0.0.1:9092")) is Transport
    assert [point.value for point in entry_points(group="faust.transports", name="cityhub")] == ["hub.exchange.transport:Transport"]


def test_requests_of_one_version_are_accepted_by_the_client() -> None:
    """``AIOKafkaClient.send`` prepares a request for the versions of the connection; ours is prepared already."""
    assert "request.prepare(" in inspect.getsource(
        inspect.getmodule(AIOKafkaClient.send).create_conn.__globals__["AIOKafkaConnection"].send
    )
    assert {"FLEXIBLE_VERSION", "build_request_header", "parse_response_header"} <= set(dir(RequestStruct))
    assert ConnectionGroup.COORDINATION == 1


def test_a_connection_is_what_its_class_can_be_changed_of() -> None:
    """``hub.broker.connection`` takes a connection over once it is open: reading and asking are its own from then on."""
    source = inspect.getsource(AIOKafkaConnection)
    for name in ("_requests", "_read_task", "_protocol", "_writer", "_last_action", "_client_id"):
        assert f"self.{name}" in source
    assert "(correlation_id, request_struct, fut)" in source
    assert list(inspect.signature(AIOKafkaConnection.close).parameters) == ["self", "reason", "exc"]
    assert list(inspect.signature(AIOKafkaConnection._handle_frame).parameters) == ["self", "resp"]
    assert issubclass(AIOKafkaProtocol, asyncio.streams.FlowControlMixin)
    assert "self._paused = False" in inspect.getsource(asyncio.streams.FlowControlMixin.__init__)


def test_the_client_keeps_its_connections_by_node_and_group() -> None:
    """Any group that can be hashed is a connection of its own; a new one is given to nobody before ``_get_conn`` returns."""
    source = inspect.getsource(AIOKafkaClient._get_conn)
    assert "conn_id = (node_id, group)" in source
    assert source.rstrip().endswith("return self._conns[conn_id]")
    assert list(inspect.signature(AIOKafkaClient._get_conn).parameters) == ["self", "node_id", "group", "no_hint"]
    assert "_request_timeout_ms" in inspect.getsource(AIOKafkaClient.__init__)
