"""What we write in every codec is read by librdkafka and by Java's console consumer, from a real broker's log, record by record.

The broker itself is the first witness: it decompresses and checks a batch before it takes it.
"""

import random
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from town import Town

from hub.broker.admin import Admin
from hub.broker.batches import build_batches, headers, stamp
from hub.broker.codecs import NAMES
from hub.broker.embedded import EmbeddedBroker, check_java
from hub.broker.topics import TopicSpec

try:
    import hub.exchange._native as native
except ImportError:
    native = None

pytestmark = pytest.mark.broker
Row: TypeAlias = tuple[bytes | None, bytes | None]
Build: TypeAlias = Callable[[Sequence[Row], int], list[bytes]]
BYTES_MAX = 300_000
NOW_MS = 1_790_000_000_000
JAVA_TIMEOUT_S = 90
WORDS = ("parking-lot-", "Hangzhou", "Ningbo", "停车场", "2026-09", "electric car", "****", "lorry")


def _in_python(rows: Sequence[Row], codec: int) -> list[bytes]:
    built = build_batches(rows, bytes_max=BYTES_MAX, timestamp_ms=NOW_MS, codec=codec)
    return [bytes(stamp(batch.data, producer_id=-1, epoch=-1, sequence=-1, transactional=False)) for batch in built]


def _natively(rows: Sequence[Row], codec: int) -> list[bytes]:
    built: list[tuple[Any, int]] = native.build_batches(list(rows), bytes_max=BYTES_MAX, timestamp_ms=NOW_MS, codec=codec)
    for batch, _ in built:
        batch.stamp(-1, -1, -1, False)
    return [bytes(batch) for batch, _ in built]


def _rows(codec: int) -> list[Row]:
    """Return records that make several batches, with blocks of lz4 that are full, stored, and cut by one large record."""
    rng = random.Random(codec)
    rows: list[Row] = []
    for number in range(4_000):
        key = None if number % 9 == 0 else f"key-{number % 50}".encode()
        value = None if number % 11 == 0 else "".join(rng.choice(WORDS) + rng.randbytes(3).hex() for _ in range(number % 20 + 1)).encode()
        rows.append((key, value))
    rows.insert(300, (b"large", ("浙A" * 40_000).encode()))
    rows.insert(900, (b"noise", rng.randbytes(50_000).hex().encode()))
    rows.append((b"last", rng.randbytes(100_000).hex().encode()))
    return rows


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(_in_python, id="in-python"),
        pytest.param(_natively, id="natively", marks=pytest.mark.skipif(native is None, reason="the native kernel is not built")),
    ],
)
def test_every_codec_is_read_by_librdkafka_and_by_java(build: Build, town: Town, admin: Admin, broker: EmbeddedBroker) -> None:
    """A consumer of a department uses any client."""
    topic = f"{town.names.prefix}witness"
    admin.create_topics([TopicSpec(name=topic, partitions=len(NAMES), replication=1, config={})])
    rows = {codec: _rows(codec) for codec in NAMES}

    for codec in NAMES:
        for batch in build(rows[codec], codec):
            town.gate.append(topic, codec, batch)

    in_log = {codec: _codecs_in_log(broker, topic, codec) for codec in NAMES}
    assert all({codec} <= found <= {codec, 0} for codec, found in in_log.items()), in_log
    assert _by_librdkafka(town, topic) == rows
    assert _by_java(broker, topic, records=sum(map(len, rows.values()))) == rows


def _by_librdkafka(town: Town, topic: str) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {codec: [] for codec in NAMES}
    for message in town.read(topic, partitions=len(NAMES)):
        found[message.partition()].append((message.key(), message.value()))
    return found


def _by_java(broker: EmbeddedBroker, topic: str, *, records: int) -> dict[int, list[Row]]:
    command = [
        check_java(),
        "-Xmx256m",
        "-Dlog4j2.level=ERROR",
        "-cp",
        f"{broker.libs}/*",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
    ]
    command += ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning", "--max-messages", str(records)]
    command += ["--timeout-ms", "30000"]
    for name in ("print.partition", "print.key"):
        command += ["--formatter-property", f"{name}=true"]
    ran = subprocess.run(command, capture_output=True, timeout=JAVA_TIMEOUT_S, check=True)
    found: dict[int, list[Row]] = {codec: [] for codec in NAMES}
    for line in ran.stdout.splitlines():
        partition, key, value = line.split(b"\t")
        found[int(partition.removeprefix(b"Partition:"))].append((None if key == b"null" else key, None if value == b"null" else value))
    return found


def _codecs_in_log(broker: EmbeddedBroker, topic: str, partition: int) -> set[int]:
    log = (broker.folder / "kafka" / "data" / f"{topic}-{partition}" / ("0" * 20 + ".log")).read_bytes()
    return {header.codec for _, _, header in headers(log)}
