"""Many records at little cost: values, damage and batches from one seed, where drawing each by Hypothesis would be slow.

Values are written by fastavro, which is not the hub's encoder. Pools hold the values at which kernels have gone wrong.
"""

import io
import math
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import fastavro
from kernel_kit import NOW

from hub.broker.batches import build_batches
from hub.model.framing import HEADER_BYTES, frame_header

Record: TypeAlias = tuple[bytes | None, bytes | None]
Make: TypeAlias = Callable[[random.Random], Any]

INTS: Final = (0, 1, -1, 2, 3, 4, 7, 63, 64, -64, -65, 1000, 8191, 8192, 2**31 - 1, -(2**31))
LONGS: Final = (*INTS, 2**31, 2**53, 2**53 + 1, 1_800_000_000_000, -62_135_596_800_000, 2**62, 2**63 - 1, -(2**63))
DOUBLES: Final = (0.0, -0.0, 1.0, 3.0, -2.5, 0.1, 7.0, 1e300, -1e300, 5e-324, 2.0**53, 1e19, math.inf, -math.inf, math.nan)
FLOATS: Final = (0.0, -0.0, 1.0, 3.0, -2.5, 0.5, 7.0, 2.0**24, 3.4028234663852886e38, math.inf, -math.inf, math.nan)
TEXTS: Final = ("", "a", "b", "ab", "abc", "c", "浙A12345", "张三", "x" * 40, "é" * 33, "a\u0301b", "\U0001f600", " a ", "Ａ１", "x" * 300)
UNITS: Final = (b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x00\x80", b"\x03\xe8", b"\xff" * 12, b"\x7f" + b"\xff" * 15)
KEYS: Final = (None, None, "浙A12345".encode(), b"a", b"key", b"", b"\xff", "é".encode() * 40)


def value_maker(kind: Any, *, named: dict[str, Any] | None = None) -> Make:
    """Return the function that makes values of an Avro type (JSON), as fastavro takes them."""
    known = {} if named is None else named
    if isinstance(kind, list):
        branches = [value_maker(branch, named=known) for branch in kind]
        return lambda rng: rng.choice(branches)(rng)
    if isinstance(kind, str):
        return known[kind] if kind in known else _PRIMITIVES[kind]
    if kind.get("logicalType") == "decimal":
        return _decimal(kind)
    return _compound(kind, known) if kind["type"] in {"record", "enum", "fixed", "array", "map"} else _PRIMITIVES[kind["type"]]


def _compound(kind: Mapping[str, Any], known: dict[str, Any]) -> Make:
    if kind["type"] in {"record", "enum", "fixed"}:
        known[kind["name"]] = made = _named(kind, known)
        return made
    inner = value_maker(kind["items" if kind["type"] == "array" else "values"], named=known)
    if kind["type"] == "array":
        return lambda rng: [inner(rng) for _ in range(_few(rng))]
    return lambda rng: {rng.choice(TEXTS): inner(rng) for _ in range(_few(rng))}


def _named(kind: Mapping[str, Any], known: dict[str, Any]) -> Make:
    if kind["type"] == "enum":
        return lambda rng: rng.choice(kind["symbols"])
    if kind["type"] == "fixed":
        return lambda rng: rng.randbytes(kind["size"])
    fields = [(field["name"], value_maker(field["type"], named=known)) for field in kind["fields"]]
    return lambda rng: {name: make(rng) for name, make in fields}


def _decimal(kind: Mapping[str, Any]) -> Make:
    """Make unscaled bytes: fastavro writes them as they are where the schema's logical type is taken off."""
    if kind["type"] == "fixed":
        return lambda rng: rng.randbytes(kind["size"])
    return lambda rng: rng.choice(UNITS) if rng.random() < 0.7 else rng.randbytes(rng.randint(1, 12))


def _few(rng: random.Random) -> int:
    return rng.choice((0, 0, 1, 1, 2, 3, 5))


def _pool(pool: Sequence[Any], other: Make) -> Make:
    return lambda rng: rng.choice(pool) if rng.random() < 0.7 else other(rng)


def _text(rng: random.Random) -> str:
    return "".join(rng.choice("abcXYZ 019.·-浙三é\u0301ß") for _ in range(rng.randint(0, 24)))


_PRIMITIVES: Final[Mapping[str, Make]] = {
    "null": lambda _rng: None,
    "boolean": lambda rng: rng.random() < 0.5,
    "int": _pool(INTS, lambda rng: rng.randint(-(2**31), 2**31 - 1)),
    "long": _pool(LONGS, lambda rng: rng.randint(-(2**63), 2**63 - 1)),
    "float": _pool(FLOATS, lambda rng: struct.unpack("<f", rng.randbytes(4))[0]),
    "double": _pool(DOUBLES, lambda rng: struct.unpack("<d", rng.randbytes(8))[0]),
    "bytes": lambda rng: rng.randbytes(rng.randint(0, 12)),
    "string": _pool(TEXTS, _text),
}


def plain(kind: Any) -> Any:
    """Return a type without its logical types: fastavro then writes the raw values that a producer of any kind may send."""
    if isinstance(kind, list):
        return [plain(branch) for branch in kind]
    if isinstance(kind, Mapping):
        return {name: plain(part) for name, part in kind.items() if name not in {"logicalType", "precision", "scale"}}
    return kind


def body_maker(schema: Mapping[str, Any]) -> Callable[[random.Random], bytes]:
    """Return the function that makes whole bodies of ``schema``, its nulls, branches and edges well mixed."""
    make = value_maker(schema)
    parsed = fastavro.parse_schema(plain(schema))

    def body(rng: random.Random) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, make(rng))
        return out.getvalue()

    return body


def damaged(rng: random.Random, value: bytes) -> bytes:
    """Return a framed value with a few bytes of its body changed, put in, taken out or cut off."""
    body = bytearray(value[HEADER_BYTES:])
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(body))
        act = rng.randrange(6)
        if act == 0:
            body.insert(place, rng.randrange(256))
        elif act == 1:
            del body[place:]
        elif act == 2:
            del body[place : place + 1]
        elif act == 3:
            body[place:place] = rng.choice(
                (b"\x80", b"\x80\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x01", b"\xfe\xff\xff\x7f")
            )
        elif place < len(body):
            body[place] = rng.randrange(256)
    return value[:HEADER_BYTES] + bytes(body)


def records(rng: random.Random, count: int, *, bodies: Mapping[int, Callable[[random.Random], bytes]]) -> list[Record]:
    """Return records under the writer schemas of ``bodies``: most whole, some damaged, tombstones, strange framing."""
    writers = list(bodies)
    out: list[Record] = []
    while len(out) < count:
        writer = writers[0] if rng.random() < 0.8 else rng.choice(writers)
        value: bytes | None = frame_header(writer) + bodies[writer](rng)
        for _ in range(rng.choice((1, 1, 2, 4))):
            kind = rng.randrange(40)
            if kind < 8:
                out.append((rng.choice(KEYS), damaged(rng, value or b"")))
            elif kind == 8:
                out.append((rng.choice(KEYS), None))
            elif kind == 9:
                out.append((rng.choice(KEYS), rng.choice((b"", b"\x00\x00", b"\x01" + (value or b"")[1:], frame_header(99) + b"\x00"))))
            else:
                out.append((rng.choice(KEYS), value))
    return out[:count]


def message_sets(rng: random.Random, rows: Sequence[Record], *, first_offset: int, codec: int) -> list[tuple[bytes, int, int]]:
    """Return chunks as (bytes, first offset, next offset): batches of any size, offsets left out between some of them."""
    chunks: list[tuple[bytes, int, int]] = []
    data, begin, offset, place = b"", first_offset, first_offset, 0
    while place < len(rows):
        size = rng.choice((1, 2, 7, 63, 64, 65, 200, 1_000))
        for built in build_batches(rows[place : place + size], bytes_max=4_000_000, timestamp_ms=NOW - 5, codec=codec):
            data += struct.pack(">q", offset) + built.data[8:]
            offset += built.records
        place += size
        if rng.random() < 0.2:
            offset += rng.randint(1, 5)
        if rng.random() < 0.3 or place >= len(rows):
            chunks.append((data, begin, offset))
            data, begin = b"", offset
    return chunks
