"""The embedded broker as a user meets it: started, stopped, killed, started twice, left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from kafka.admin import UpdateFeatureType

from hub.broker.admin import Admin
from hub.broker.batches import UnreadableBatch, headers, read_records
from hub.broker.codecs import NAMES, available
from hub.broker.embedded import EmbeddedBroker
from hub.broker.embedded_files import ARCHIVE_NAME
from hub.broker.ports import is_free
from hub.broker.topics import TopicSpec
from hub.model.errors import HubError

pytestmark = pytest.mark.broker
LOOPBACK = "0100007F"
LISTENING = "0A"
STARTER = """
import sys, time
from pathlib import Path
from hub.broker.embedded import EmbeddedBroker
broker = EmbeddedBroker(folder=Path(sys.argv[1]), heap_mb=256)
broker.start()
print(broker.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """Start a broker of this module's own, for it is killed.

    Its folder has a Chinese name with a space and a comma, and holds the remains of a formatting that was killed.
    """
    folder = tmp_path_factory.mktemp("own") / "城市, 交换"
    (folder / "kafka.draft" / "data").mkdir(parents=True)
    (folder / "kafka.draft" / "data" / "meta.properties").write_text("cut")
    with EmbeddedBroker(folder=folder, heap_mb=384) as running:
        yield running


def _make(broker: EmbeddedBroker, name: str, **config: str) -> None:
    with Admin(broker.bootstrap) as admin:
        admin.create_topics([TopicSpec(name=name, partitions=1, replication=1, config=config)])


def _produce(broker: EmbeddedBroker, topic: str, numbers: Iterable[int]) -> set[int]:
    """Produce as a foreign client does; returns what was acknowledged."""
    acknowledged: set[int] = set()

    def told(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.add(int(message.value() or b""))

    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "delivery.timeout.ms": 5000, "linger.ms": 1, "log_level": 0})
    for number in numbers:
        producer.produce(topic, str(number).encode(), partition=0, on_delivery=told)
        producer.poll(0)
    producer.flush(10)
    return acknowledged


def _while_it_runs(broker: EmbeddedBroker, first: int) -> Iterator[int]:
    """Count on until the broker is gone, not faster than a client can send."""
    number = first
    while broker.pid is not None:
        yield number
        number += 1
        if number % 1_000 == 0:
            time.sleep(0.01)


def _read(broker: EmbeddedBroker, topic: str) -> list[int]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "none", "enable.auto.commit": False})
    with contextlib.closing(consumer):
        place = TopicPartition(topic, 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        found: list[int] = []
        deadline = time.monotonic() + 20
        while len(found) < end and time.monotonic() < deadline:
            found += [int(message.value() or b"") for message in consumer.consume(1000, timeout=1) if message.error() is None]
    return found


def _ended_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_it_listens_on_this_machine_alone_and_on_its_two_ports(own: EmbeddedBroker) -> None:
    """Nothing is protected yet: nothing may be reached from outside."""
    sockets = {str(link.readlink()) for link in Path(f"/proc/{own.pid}/fd").iterdir() if link.is_symlink()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{own.pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and f"socket:[{columns[9]}]" in sockets:
                listening.append(columns[1].split(":"))

    ports = json.loads((own.folder / "ports.json").read_text())
    assert {address for address, _ in listening} == {LOOPBACK}
    assert {int(port, 16) for _, port in listening} == {ports["port"], ports["controller_port"]}


def test_no_topic_makes_itself(own: EmbeddedBroker) -> None:
    """A deleted output topic must stay gone, and a typing error must not become a topic."""
    producer = Producer({"bootstrap.servers": own.bootstrap, "allow.auto.create.topics": True, "message.timeout.ms": 2000})
    errors: list[KafkaError | None] = []
    with contextlib.suppress(KafkaException):
        producer.produce("misspelt", b"x", on_delivery=lambda error, _: errors.append(error))
        producer.flush(5)

    assert all(errors)
    with Admin(own.bootstrap) as admin:
        assert admin.topic_ids(["misspelt"]) == {}


def test_a_second_start_on_the_folder_is_refused_and_names_the_broker(own: EmbeddedBroker) -> None:
    """By our own lock, before Java runs; the first one does not notice."""
    again = EmbeddedBroker(folder=own.folder)
    for second in (again.start, own.start):
        with pytest.raises(HubError) as caught:
            second()
        assert caught.value.code == "HUB-BROKER-003"
        assert f"process {own.pid}," in caught.value.message
        assert f"by process {os.getpid()}" in caught.value.message
    again.stop()
    own.wait_ready(timeout_s=5)


def test_an_older_transaction_protocol_is_refused(own: EmbeddedBroker) -> None:
    """A cluster of new brokers that still runs transaction.version 1 is as good as an old one (KIP-890)."""
    with Admin(own.bootstrap) as admin:
        assert "EndTxn v5" in admin.check_version()
        admin._client.update_features({"transaction.version": (UpdateFeatureType.SAFE_DOWNGRADE, 1)})
        with pytest.raises(HubError) as caught:
            _until_refused(admin.check_version)
        admin._client.update_features({"transaction.version": 2})

    assert caught.value.code == "HUB-BROKER-002"
    assert "kafka-features.sh" in caught.value.fix


def _until_refused(check: Callable[[], object]) -> None:
    """Ask for up to 10 s: a change of the cluster's features takes some milliseconds to be seen."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        check()
        time.sleep(0.05)


def test_batches_of_every_codec_in_its_log_are_read_or_named(own: EmbeddedBroker) -> None:
    """What a foreign producer wrote, as the broker keeps it: the bytes that the kernel is given."""
    _make(own, "codecs")
    for codec in NAMES.values():
        producer = Producer({"bootstrap.servers": own.bootstrap, "compression.type": codec, "linger.ms": 50})
        for number in range(20):
            producer.produce("codecs", f"{codec}-{number}-{'x' * 50}".encode(), key=b"k", partition=0, headers={"ch-source-id": b"7"})
        producer.flush(10)
    log = (own.folder / "kafka" / "data" / "codecs-0" / ("0" * 20 + ".log")).read_bytes()

    read: list[str] = []
    missing: dict[int, str] = {}
    for start, end, header in headers(log):
        name = NAMES[header.codec]
        try:
            rows = read_records(log[start:end])
        except UnreadableBatch as error:
            missing[header.codec] = error.code
            read += [name] * header.records
            continue
        assert [row.offset for row in rows] == list(range(header.base_offset, header.base_offset + header.records))
        assert all((row.key, row.headers) == (b"k", (("ch-source-id", b"7"),)) for row in rows)
        assert all((row.value or b"").startswith(f"{name}-".encode()) for row in rows)
        read += [name] * len(rows)
    assert read == [name for name in NAMES.values() for _ in range(20)]
    assert missing == dict.fromkeys(set(NAMES) - available(), "codec-missing")


def test_after_kill_9_nothing_acknowledged_is_lost_and_the_ports_are_the_same(own: EmbeddedBroker) -> None:
    """Killed while a producer writes; every acknowledged record is there afterwards, in order, once."""
    _make(own, "killed")
    bootstrap, killed = own.bootstrap, own.pid
    assert killed is not None
    acknowledged = _produce(own, "killed", range(5_000))
    timer = threading.Timer(0.3, os.kill, (killed, signal.SIGKILL))
    timer.start()
    acknowledged |= _produce(own, "killed", _while_it_runs(own, 5_000))
    timer.join()
    assert own.pid is None

    began = time.monotonic()
    own.start()
    took_s = time.monotonic() - began

    found = _read(own, "killed")
    assert own.bootstrap == bootstrap
    assert len(acknowledged) >= 5_000
    assert acknowledged <= set(found)
    assert found == sorted(set(found))
    assert took_s < 30, f"{took_s:.1f} s"


def test_sigterm_stops_it_cleanly_and_frees_its_ports(own: EmbeddedBroker) -> None:
    """As systemd or a person would; ``stop`` is the same and may follow."""
    pid = own.pid
    assert pid is not None
    port = int(own.bootstrap.rpartition(":")[2])

    os.kill(pid, signal.SIGTERM)

    assert _ended_within(pid, 20)
    assert (own.folder / "kafka" / "data" / ".kafka_cleanshutdown").exists()
    assert is_free(port)
    own.stop()
    own.stop()
    own.start()
    assert own.pid not in {None, pid}


def test_a_start_that_fails_names_the_last_error_and_leaves_nothing(own: EmbeddedBroker) -> None:
    """Its log is long: the one line that matters is shown, with the path for the rest."""
    own.stop()
    meta = own.folder / "kafka" / "metadata" / "meta.properties"
    good = meta.read_text()
    meta.write_text("version=1\n")

    with pytest.raises(HubError) as caught:
        own.start()
    meta.write_text(good)

    assert caught.value.code == "HUB-BROKER-007"
    assert re.search(r"stopped by itself: `[^`]*(Error|Exception)", caught.value.message)
    assert str(own.log) in caught.value.fix
    assert own.pid is None
    own.start()


def test_it_outlives_the_thread_that_started_it(own: EmbeddedBroker) -> None:
    """The kernel's leash is tied to a thread: ours must not be the caller's."""
    own.stop()
    starter = threading.Thread(target=own.start)
    starter.start()
    starter.join()

    time.sleep(0.5)

    own.wait_ready(timeout_s=5)
    assert own.pid is not None
    assert not _ended_within(own.pid, 0.1)


def test_it_ends_with_a_starter_that_was_killed_and_the_next_start_waits_for_that(tmp_path: Path) -> None:
    """Nothing is left behind by a demo or a test that dies, and Ctrl-C in the terminal reaches the starter alone.

    The second start meets an archive of classes that is none: it costs time and nothing else.
    """
    libs = tmp_path / "libs"
    libs.mkdir()
    for jar in EmbeddedBroker(folder=tmp_path).libs.glob("*.jar"):
        (libs / jar.name).symlink_to(jar)
    (libs / ARCHIVE_NAME).write_text("no archive")
    command = [sys.executable, "-c", STARTER, str(tmp_path / "broker")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert os.getsid(pid) == pid, "a session of its own"
        starter.kill()
    began = time.monotonic()

    with EmbeddedBroker(folder=tmp_path / "broker", heap_mb=256, libs=libs) as taken_over:
        assert taken_over.pid not in {None, pid}
        assert _ended_within(pid, 0.1), "dead; whoever inherits it may ask for it later"
    assert time.monotonic() - began < 60
    assert (tmp_path / "broker" / "kafka" / "data" / ".kafka_cleanshutdown").exists()


def test_a_start_that_takes_too_long_leaves_no_process_and_no_lock(tmp_path: Path) -> None:
    """A bound on every wait."""
    broker = EmbeddedBroker(folder=tmp_path / "broker", start_timeout_s=0.3)
    with pytest.raises(HubError) as caught:
        broker.start()

    assert caught.value.code == "HUB-BROKER-007"
    assert broker.pid is None
    holders = [
        link for link in Path("/proc").glob("[0-9]*/fd/*") if link.is_symlink() and _points_to(link, tmp_path / "broker" / "broker.lock")
    ]
    assert holders == []


def _points_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:
        return False
