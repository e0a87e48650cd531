"""What hub.broker relies on in aiokafka's record code and in kafka-python's administrator: fails first when a pin moves."""

import inspect
import threading

import pytest
from aiokafka.record._crecords import cutil
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from kafka.admin import KafkaAdminClient
from kafka.net.compat import KafkaNetClient


def test_crc32c_is_castagnolis() -> None:
    """The check value of RFC 3720; the compiled function, for the pure one is a thousand times slower."""
    assert cutil.crc32c_cython(b"123456789") == 0xE3069283
    assert cutil.crc32c_cython(memoryview(bytearray(b"\0" * 32))) == 0x8A9136AA


def test_record_code_is_compiled() -> None:
    """Pure Python would build 20 times slower without a word."""
    assert "_crecords" in DefaultRecordBatchBuilder.__module__


def test_the_builder_takes_its_first_record_whatever_its_size_and_refuses_the_one_over_the_limit() -> None:
    """Batches are cut by the first rule, and RecordTooLarge is found by the second."""
    builder = DefaultRecordBatchBuilder(2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=100)

    assert builder.append(0, timestamp=1, key=None, value=b"x" * 200, headers=[]) is not None
    assert builder.size() == 61 + 200 + 9
    assert builder.append(1, timestamp=1, key=None, value=b"x", headers=[]) is None
    assert len(builder.build()) == 61 + 200 + 9


def test_the_administrator_takes_the_maker_of_its_client() -> None:
    """So that thread and sockets can be closed when its own connecting fails."""
    assert KafkaAdminClient.DEFAULT_CONFIG["kafka_client"] is KafkaNetClient
    made: list[KafkaNetClient] = []

    def remembered(**config: object) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        return made[-1]

    with pytest.raises(Exception, match="bootstrap"):
        KafkaAdminClient(bootstrap_servers="127.0.0.1:9", client_id="contract", bootstrap_timeout_ms=200, kafka_client=remembered)
    assert [thread for thread in threading.enumerate() if thread.name == "kafka-io-contract"]
    made[0].close()
    assert not [thread for thread in threading.enumerate() if thread.name == "kafka-io-contract"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("create_topics", {"new_topics", "timeout_ms", "raise_errors"}),
        ("describe_topics", {"topics"}),
        ("delete_topics", {"topics", "timeout_ms"}),
        ("list_partition_offsets", {"topic_partition_specs", "isolation_level", "timeout_ms"}),
        ("list_group_offsets", {"group_specs"}),
        ("list_transactions", set()),
        ("describe_configs", {"config_resources", "config_filter"}),
        ("alter_configs", {"config_resources"}),
        ("get_broker_version_data", {"broker_id"}),
        ("describe_features", set()),
    ],
)
def test_the_administrator_has_the_calls_that_are_used(name: str, parameters: set[str]) -> None:
    """kafka-python 3 is young."""
    assert parameters <= set(inspect.signature(getattr(KafkaAdminClient, name)).parameters)
