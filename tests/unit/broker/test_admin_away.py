"""Administration without a broker: a coded error in time, and nothing left behind."""

import socket
import threading
import time

import pytest

from hub.broker.admin import Admin, Offsets, answers, judge_version
from hub.model.errors import HubError
from hub.model.names import TopicPartition


def _io_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kafka-io")]


def test_no_broker_is_told_in_time() -> None:
    """A person who forgot ``cityhub up`` is not to wait for half a minute."""
    began = time.monotonic()
    with pytest.raises(HubError) as caught:
        Admin("127.0.0.1:9", connect_within_ms=300)

    assert caught.value.code == "HUB-BROKER-001"
    assert "cityhub up" in caught.value.fix
    assert time.monotonic() - began < 3
    assert not answers("127.0.0.1:9")


def test_something_that_is_no_broker_leaves_no_thread_behind() -> None:
    """kafka-python's own connecting leaves a thread with sockets: a process that asks every second would drown."""
    before = _io_threads()
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(HubError) as caught:
        Admin(f"127.0.0.1:{mute.getsockname()[1]}", connect_within_ms=500)

    assert caught.value.code == "HUB-BROKER-001"
    assert _io_threads() == before


@pytest.mark.parametrize(
    ("end_txn", "level", "word"),
    [(4, 2, "EndTxn v4"), (0, 0, "EndTxn v0"), (5, 1, "transaction.version 1"), (5, 0, "transaction.version 0")],
)
def test_less_than_the_transaction_protocol_of_4_0_is_refused(end_txn: int, level: int, word: str) -> None:
    """Without KIP-890 a late request of one transaction may land in the next."""
    with pytest.raises(HubError) as caught:
        judge_version("somewhere:9092", end_txn=end_txn, transaction_level=level)

    assert caught.value.code == "HUB-BROKER-002"
    assert word in caught.value.message


def test_the_transaction_protocol_of_4_0_and_later_is_taken() -> None:
    """Newer ones speak it as well."""
    assert judge_version("somewhere:9092", end_txn=5, transaction_level=2) == "EndTxn v5, transaction.version 2"
    assert "v6" in judge_version("somewhere:9092", end_txn=6, transaction_level=3)


def test_an_offset_that_is_not_there_is_a_coded_error_and_get_gives_none() -> None:
    """Whoever asks for what must exist learns what is missing, not of a key error."""
    place = TopicPartition("t", 3)

    assert Offsets({place: 7})[place] == 7
    assert Offsets().get(place) is None
    with pytest.raises(HubError) as caught:
        _ = Offsets()[place]
    assert (caught.value.code, caught.value.message) == ("HUB-BROKER-009", "`t-3` does not exist")
