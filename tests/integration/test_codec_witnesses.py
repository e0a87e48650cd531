"""What we write in every codec is read by librdkafka and by Java's console consumer, from a real broker's log, record by record.

Batches of a builder, as the command line and the control plane append them, and those that a kernel has delivered, in transactions as a
lane writes them. The broker itself is the first witness: it decompresses and checks a batch before it takes it.
"""

import asyncio
import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
from kernel_kit import NOW, chunk_of, plan_of, sealed, source_at, terms, vehicle
from kernels import Kernel, kernels
from town import Town

from hub.broker.admin import Admin
from hub.broker.batches import build_batches, headers, read_records, stamp
from hub.broker.codecs import NAMES
from hub.broker.embedded import EmbeddedBroker, check_java
from hub.broker.requests import Coordinators, open_client
from hub.broker.topics import TopicSpec, share_topic
from hub.broker.transactions import Output, Transaction
from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Verdict
from hub.model.agreement import Condition, Grant, Not

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
SEVERAL = 3
BETWEEN, BEHIND = "<|between|>", "<|behind|>"
"""Between and behind what Java prints: Avro may hold a tabulator or an end of line."""
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


CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4, "source": 3}
"""What a plan may say of its output, by the codec that comes of it; the source is compressed with lz4."""


@pytest.mark.parametrize("run", kernels())
def test_what_a_kernel_delivers_in_every_codec_is_read_by_librdkafka_and_by_java(
    run: Kernel, town: Town, admin: Admin, broker: EmbeddedBroker
) -> None:
    """Its batches are not those of a builder: compressed while they are written, with hints where fields begin, stamped in place."""
    share = share_topic(town.names, consumer="parking-office", agreement="parking", partitions=len(CODECS), replication=1)
    admin.create_topics([share])
    chunks = _chunks()
    verdicts = {wanted: _decided(run, _plan(wanted), chunks) for wanted in CODECS}
    truths = [_decided(reference.run, _plan(wanted), chunks) for wanted in CODECS]

    asyncio.run(_deliver(town, share.name, [_batches(verdict) for verdict in verdicts.values()]))

    assert all(len(_batches(verdict)) > SEVERAL for verdict in verdicts.values())
    in_log = {wanted: _codecs_in_log(broker, share.name, partition) for partition, wanted in enumerate(CODECS)}
    assert all({codec} <= in_log[wanted] <= {codec, 0} for wanted, codec in CODECS.items()), in_log  # 0: what would not shrink, markers
    rows = {partition: _rows_of(truth) for partition, truth in enumerate(truths)}
    assert _by_librdkafka(town, share.name, partitions=len(CODECS)) == rows
    assert _by_java(broker, share.name, records=sum(map(len, rows.values())), partitions=len(CODECS)) == rows


def _plan(wanted: str) -> Plan:
    """Return a plan of one agreement whose records are copied, changed and left out in part."""
    fields = ("plate", "model", "class", Grant("owner_id", "pseudonym"), Grant("phone", "mask", keep_last=4), "region", "weight")
    few = Not(Condition("region", "eq", "330706"))
    return plan_of(terms("parking", *fields, rows=few, key="keep"), batch_bytes_max=BYTES_MAX, output_codec=wanted)


def _chunks() -> list[Chunk]:
    """Return chunks of one batch each: small records, and some that fill a block of lz4 or will not shrink.

    The region is one of a few that begin alike, so that a match of the field before it ends some bytes inside it.
    """
    rng = random.Random(1)
    rows: list[Row] = []
    for number in range(3_000):
        model = "".join(rng.choice(WORDS) + rng.randbytes(3).hex() for _ in range(number % 20)) if number % 7 else None
        row = vehicle(plate=f"浙A{number:05}", model=model, weight=rng.random(), region=f"33{rng.randrange(20):02}06")
        rows.append((None if number % 9 == 0 else f"key-{number % 50}".encode(), row))
    rows.insert(300, (b"large", vehicle(model="浙A" * 40_000)))
    rows.insert(900, (b"noise", vehicle(model=rng.randbytes(50_000).hex())))
    rows.append((b"last", vehicle(model=rng.randbytes(100_000).hex())))
    found, first = [], 100
    for built in build_batches(rows, bytes_max=BYTES_MAX, timestamp_ms=NOW, codec=3):
        data = struct.pack(">q", first) + built.data[8:]
        found.append(chunk_of(data, first_offset=first, next_offset=first + built.records))
        first += built.records
    return found


def _decided(run: Kernel, plan: Plan, chunks: Sequence[Chunk]) -> Verdict:
    return run(plan, chunks, source_at(100), Moment(now_ms=NOW))


def _batches(verdict: Verdict) -> Sequence[Any]:
    (batches,) = verdict.deliveries.values()
    return batches


def _rows_of(verdict: Verdict) -> list[Row]:
    return [(row.key, row.value) for batch in _batches(verdict) for row in read_records(sealed(batch))]


async def _deliver(town: Town, topic: str, by_partition: Sequence[Sequence[Any]]) -> None:
    """Write each partition's batches as a lane does: stamped where they lie, in a transaction of its own id."""
    client = await open_client(town.admin.bootstrap, client_id="witness")
    try:
        transaction = Transaction(client, Coordinators(client), transactional_id=topic, group=town.names.exchange_group, timeout_ms=20_000)
        await transaction.initialise()
        for partition, batches in enumerate(by_partition):
            await transaction.produce([Output(topic, partition, batch.data, batch.records) for batch in batches])
        await transaction.end(commit=True)
    finally:
        await client.close()


def _by_librdkafka(town: Town, topic: str, *, partitions: int = len(NAMES)) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {partition: [] for partition in range(partitions)}
    for message in town.read(topic, partitions=partitions):
        found[message.partition()].append((message.key(), message.value()))
    return found


def _by_java(broker: EmbeddedBroker, topic: str, *, records: int, partitions: int = len(NAMES)) -> dict[int, list[Row]]:
    command = [
        check_java(),
        "-Xmx256m",
        "-Dlog4j2.level=ERROR",
        "-cp",
        f"{broker.libs}/*",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
    ]
    command += ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning", "--max-messages", str(records)]
    command += ["--timeout-ms", "30000", "--isolation-level", "read_committed"]
    shown = {"print.partition": "true", "print.key": "true", "key.separator": BETWEEN, "line.separator": BEHIND}
    for name, value in shown.items():
        command += ["--formatter-property", f"{name}={value}"]
    ran = subprocess.run(command, capture_output=True, timeout=JAVA_TIMEOUT_S, check=True)
    found: dict[int, list[Row]] = {partition: [] for partition in range(partitions)}
    for line in ran.stdout.split(BEHIND.encode())[:-1]:
        partition, key, value = line.split(BETWEEN.encode())
        found[int(partition.removeprefix(b"Partition:"))].append((None if key == b"null" else key, None if value == b"null" else value))
    return found


def _codecs_in_log(broker: EmbeddedBroker, topic: str, partition: int) -> set[int]:
    log = (broker.folder / "kafka" / "data" / f"{topic}-{partition}" / ("0" * 20 + ".log")).read_bytes()
    return {header.codec for _, _, header in headers(log)}
