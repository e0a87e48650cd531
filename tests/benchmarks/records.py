"""The records: the same for everyone, from a fixed seed, made once and repeated with other ids and times.

``BASE`` observations are made one by one and encoded by fastavro. More than that are copies: copy ``k`` of an observation has
another ``event_id`` and a later ``observed_at``, patched into its bytes, and is equal otherwise. Copies of one observation are
hundreds of batches apart, so that no codec sees both. Every record of a sensor is in one partition, by Java's default partitioner,
in the order of the copies; so the record at any offset of any partition is known without reading the topic.
"""

import dataclasses
import io
import itertools
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import cramjam
import fastavro
from aiokafka.partitioner import murmur2
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.job import DISTRICTS, PARTITIONS, SCHEMA, SEED, VEHICLES
from hub.broker import batches
from hub.model.framing import HEADER_BYTES, frame_header

BASE: Final = 200_000
SENSORS: Final = 5_000
PERSONS: Final = 100_000
BATCH_BYTES: Final = 128 * 1024
"""What a producer that is set up for throughput sends at most in one batch."""
BEGIN_MS: Final = 1_790_000_000_000
STEP_MS_MAX: Final = 200
COPY_MS: Final = BASE * STEP_MS_MAX // 2
TIME_BYTES: Final = 6
"""An Avro long of a time between 2004 and 2039, in milliseconds, has six bytes."""
_GROUP_AT: Final = HEADER_BYTES + 1 + 24
_GROUP: Final = 12
"""Characters of the last group of an id, which tells observation and copy."""
_FIRST: Final = ("Wang", "Li", "Zhang", "Liu", "Chen", "Yang", "Zhao", "Huáng", "Zhōu", "Wu", "Xú", "Sun", "Ma", "Zhu", "Hu", "O")
_LAST: Final = ("Xiaoming", "Wei", "Jing", "Guoqiang", "Měilíng", "Yan", "Zhiyuan", "Lì", "Jianguo", "Na", "Yǔtóng", "Bo")
CODECS: Final = {"none": 0, "lz4": 3, "zstd": 4}
_LZ4_LEVEL: Final = 1
"""The fast one, which Java's and librdkafka's producers take by default."""
_ZSTD_LEVEL: Final = 3
_LENGTH_AT: Final = 8
_CODEC_AT: Final = 22


class Observation(NamedTuple):
    """One base observation: its framed value, and what the oracle must know of it."""

    key: bytes
    value: bytes
    id_at: int
    """Where the last group of ``event_id`` stands in the value; -1 where it has none."""
    time_at: int
    """Where ``observed_at`` stands."""
    observed_ms: int
    age: int
    district: str


class Shape(NamedTuple):
    """What a record looks like on the wire: the job's own, narrower, or with remarks that nobody is granted."""

    name: str
    schema: Mapping[str, Any]
    remarks: int = 0
    """Characters of ``remarks``."""
    plain: bool = False
    """Short ids, half of the speeds not known."""


JOB_SHAPE: Final = Shape("", SCHEMA)


class Batch(NamedTuple):
    """A record batch ready to be produced: base offset 0, no producer id."""

    data: bytes
    records: int
    plain_bytes: int
    """Keys and values in it."""


class Grantee(Protocol):
    """Who receives some of the rows. Whether a row crosses may not depend on what differs between its copies."""

    @property
    def id(self) -> str:
        """Id of the agreement."""

    def admits(self, one: Observation) -> bool:
        """Tell whether a row may cross."""


@dataclasses.dataclass(frozen=True)
class Source:
    """All records of one source topic."""

    records: int
    schema_id: int
    partitions: Sequence[Sequence[Observation]]
    """Base observations by partition, in order."""
    shape: Shape = JOB_SHAPE
    base: int = BASE
    """So many observations are made one by one; where there are more, the others are copies of all of them."""
    _admitted: dict[tuple[Grantee, int], list[int]] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def copies(self) -> int:
        """How often the base is there."""
        return max(1, self.records // self.base)

    @property
    def value_bytes(self) -> float:
        """Mean size of a value, framing included."""
        sizes = [len(one.value) for one in itertools.chain.from_iterable(self.partitions)]
        return sum(sizes) / len(sizes)

    def count(self, partition: int) -> int:
        """Return how many records a partition has."""
        return len(self.partitions[partition]) * self.copies

    def at(self, partition: int, offset: int) -> tuple[Observation, int]:
        """Return the base observation at an offset, and which copy of it stands there."""
        base = self.partitions[partition]
        return base[offset % len(base)], offset // len(base)

    def row(self, partition: int, offset: int) -> tuple[bytes, bytes]:
        """Return key and value at an offset."""
        one, copy = self.at(partition, offset)
        return one.key, value_of(one, copy, number=offset)

    def admitted(self, who: Grantee, partition: int) -> list[int]:
        """Return for each place of a partition's base how many before it ``who`` receives, and at the end how many of all."""
        found = self._admitted.get((who, partition))
        if found is None:
            found = list(itertools.accumulate((who.admits(one) for one in self.partitions[partition]), initial=0))
            self._admitted[who, partition] = found
        return found

    def delivered(self, who: Grantee) -> list[int]:
        """Return by partition how many records ``who`` receives."""
        return [self.copies * self.admitted(who, partition)[-1] for partition in range(len(self.partitions))]

    def batches(self, codec: str, *, timestamp_ms: int, batch_bytes: int = BATCH_BYTES) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (partition, batches), copy after copy, so that little is in memory at once."""
        for copy in range(self.copies):
            for partition, base in enumerate(self.partitions):
                begin = copy * len(base)
                rows = ((one.key, value_of(one, copy, number=begin + place)) for place, one in enumerate(base))
                yield partition, build(rows, codec=codec, timestamp_ms=timestamp_ms, batch_bytes=batch_bytes)


def make_source(records: int, *, schema_id: int, shape: Shape = JOB_SHAPE, base: int = BASE) -> Source:
    """Make a source of ``records``: any number up to ``base``, beyond it a multiple of ``base``."""
    if records > base and records % base:
        message = f"{records} records: beyond {base} it must be a multiple of it"
        raise ValueError(message)
    partitions: list[list[Observation]] = [[] for _ in range(PARTITIONS)]
    for observation in itertools.islice(_observations(schema_id, shape), min(records, base)):
        partitions[partition_of(observation.key)].append(observation)
    return Source(records, schema_id, partitions, shape, base)


def partition_of(key: bytes, partitions: int = PARTITIONS) -> int:
    """Return the partition that Java's default partitioner chooses."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def value_of(one: Observation, copy: int, *, number: int) -> bytes:
    """Return the value of a copy: another id, a later time. Copy 0 is the base itself."""
    if copy == 0:
        return one.value
    value, at = one.value, one.time_at
    time = _long(one.observed_ms + copy * COPY_MS)
    if one.id_at < 0:
        return b"%b%b%b" % (value[:at], time, value[at + TIME_BYTES :])
    return b"%b%012x%b%b%b" % (value[: one.id_at], number, value[one.id_at + _GROUP : at], time, value[at + TIME_BYTES :])


def build(rows: Iterator[tuple[bytes, bytes]], *, codec: str, timestamp_ms: int, batch_bytes: int = BATCH_BYTES) -> list[Batch]:
    """Return batches of at most ``batch_bytes`` before compression."""
    out: list[Batch] = []
    builder, count, plain = _builder(batch_bytes), 0, 0
    for key, value in rows:
        if builder.append(count, timestamp=timestamp_ms, key=key, value=value, headers=[]) is None:
            out.append(Batch(_compressed(bytes(builder.build()), codec), count, plain))
            builder, count, plain = _builder(batch_bytes), 0, 0
            builder.append(0, timestamp=timestamp_ms, key=key, value=value, headers=[])
        count += 1
        plain += len(key) + len(value)
    if count:
        out.append(Batch(_compressed(bytes(builder.build()), codec), count, plain))
    return out


def _builder(batch_bytes: int) -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(
        2, CODECS["none"], is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=batch_bytes
    )


def _compressed(batch: bytes, codec: str) -> bytes:
    """Return the same batch, its records compressed as producers do by default."""
    if codec == "none":
        return batch
    plain = batch[batches.HEADER_BYTES :]
    if codec == "lz4":
        compressor = cramjam.lz4.Compressor(level=_LZ4_LEVEL, content_checksum=False, block_linked=False)
        compressor.compress(plain)
        small = bytes(compressor.finish())
    else:
        small = bytes(cramjam.zstd.compress(plain, level=_ZSTD_LEVEL))
    head = bytearray(batch[: batches.HEADER_BYTES])
    struct.pack_into(">i", head, _LENGTH_AT, batches.HEADER_BYTES - _LENGTH_AT - 4 + len(small))
    head[_CODEC_AT] |= CODECS[codec]
    return bytes(batches.stamp(bytes(head) + small, producer_id=-1, epoch=-1, sequence=-1, transactional=False))


def _long(number: int) -> bytes:
    """Return a non-negative number as an Avro long."""
    raw, out = number << 1, bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


class _Person(NamedTuple):
    citizen_id: str
    full_name: str
    email: str | None
    phone: str | None
    age: int
    district: str
    plate: str | None


def _persons(dice: random.Random, *, plain: bool) -> list[_Person]:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    out = []
    for _ in range(PERSONS):
        first, last = dice.choice(_FIRST), dice.choice(_LAST)
        out.append(
            _Person(
                citizen_id=f"H{dice.randrange(10**7):07}" if plain else f"HZ{dice.randrange(10**9):09}",
                full_name=f"{last} {first}",
                email=f"{first}.{last}{dice.randrange(90)}@mail.example".lower() if dice.random() < 0.6 else None,
                phone=f"+86139{dice.randrange(10**8):08}" if dice.random() < 0.7 else None,
                age=dice.randrange(1, 95),
                district=dice.choice(DISTRICTS),
                plate=f"ZA{dice.choice(letters)}{dice.randrange(10**5):05}" if dice.random() < 0.85 else None,
            )
        )
    return out


def _observations(schema_id: int, shape: Shape) -> Iterator[Observation]:
    dice = random.Random(SEED)
    persons = _persons(dice, plain=shape.plain)
    schema = fastavro.parse_schema(dict(shape.schema))
    names = {field["name"] for field in shape.schema["fields"]}
    text = _remarks(shape.remarks)
    head = frame_header(schema_id)
    at_ms = BEGIN_MS
    for number in itertools.count():
        person = persons[dice.randrange(PERSONS)]
        sensor = f"S{dice.randrange(SENSORS):05}"
        at_ms += dice.randrange(STEP_MS_MAX)
        ids = f"{dice.getrandbits(80):020x}"
        record = {
            **person._asdict(),
            "event_id": f"{ids[:8]}-{ids[8:12]}-{ids[12:16]}-{ids[16:20]}-{number:012x}",
            "sensor_id": sensor,
            "vehicle": VEHICLES[int(dice.random() ** 2 * len(VEHICLES))],
            "speed_kmh": round(dice.gauss(60, 20), 1) if dice.random() < (0.5 if shape.plain else 0.9) else None,
            "toll_cents": dice.randrange(2_000),
            "observed_at": at_ms,
            "position": {"lat": 30 + dice.random(), "lon": 120 + dice.random(), "heading": dice.randrange(360) if number % 2 else None},
            "remarks": next(text),
        }
        out = io.BytesIO(head)
        out.seek(HEADER_BYTES)
        fastavro.schemaless_writer(out, schema, {name: value for name, value in record.items() if name in names})
        value = out.getvalue()
        id_at = _GROUP_AT if "event_id" in names else -1
        yield Observation(sensor.encode(), value, id_at, value.index(_long(at_ms)), at_ms, person.age, person.district)


def _remarks(characters: int) -> Iterator[str]:
    """Yield text of so many characters, words from a pool: it compresses as text does."""
    dice = random.Random(SEED + 1)
    pool = " ".join("".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(200_000 if characters else 0))
    while True:
        begin = dice.randrange(len(pool) - characters) if characters else 0
        yield pool[begin : begin + characters]
