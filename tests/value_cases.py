"""Single values of every type with conditions and grants that may fit: encoded by the rules of Avro, close to where answers turn."""

import math
import random
import struct
from typing import Any, NamedTuple

from hypothesis import strategies as st

from hub.model.agreement import Bucket, Condition, Grant, Prefix, Scalar, Truncate
from hub.model.field_types import PER_SECOND, FieldType, SourceField, SourceSchema
from hub.model.granted import Leaf
from hub.model.operands import UnfitOperand, operand
from hub.model.shanghai import STANDARD_FROM, SUMMERS
from hub.model.terms import _operands
from hub.model.transforms import UNITS, in_units, unfit

INT_BITS = {"int": 32, "long": 64}
LETTERS = "aZ09 -.·*żĄ路张é\U0001f600\U00020000\x00"
SYMBOLS = ("NONE", "bus", "goods", "张三", "ż", "a", "ab", "abc")
WORDS = (
    "",
    "a",
    "ab",
    "abc",
    "JFK",
    "LGA",
    "浙A12345",
    "goods",
    "abcdefgh",
    "abcdefghi",
    "abcdefghijklmnop",
    "abcdefghijklmnopq",
    "路" * 9,
)
NUMBERS: tuple[float, ...] = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    2.5,
    1e-310,
    5e-324,
    1e308,
    -1e308,
    2.0**53,
    2.0**53 + 2,
    3.4028234663852886e38,
    1e-40,
)
DECIMALS = ("0", "0.10", "-12.5", "12.345", "9" * 76, "-" + "9" * 30 + ".5", "0." + "0" * 75 + "1", "-0.01", "128", "-128")


class Case(NamedTuple):
    """Values of one type, encoded, beside what is asked or made of them."""

    kind: FieldType
    values: list[bytes]


def schema_of_value(kind: FieldType) -> SourceSchema:
    """Return the schema of a record that holds one value."""
    return SourceSchema("R", None, (SourceField("value", kind, None, {}),), {})


def _logical(base: str, *names: str) -> list[FieldType]:
    return [FieldType(base=base), *(FieldType(base=base, logical=name) for name in names)]


_DECIMALS = st.one_of(
    st.builds(lambda scale: FieldType(base="bytes", logical="decimal", scale=scale), st.integers(0, 76)),
    st.builds(
        lambda size, scale: FieldType(base="fixed", logical="decimal", size=size, scale=scale), st.integers(1, 32), st.integers(0, 9)
    ),
)
KINDS = st.one_of(
    st.sampled_from(_logical("int", "date", "time-millis")),
    st.sampled_from(
        _logical(
            "long",
            "time-micros",
            *(f"{zone}timestamp-{unit}" for zone in ("", "local-") for unit in ("millis", "micros", "nanos")),
        )
    ),
    st.sampled_from([FieldType(base="int"), FieldType(base="long")]),
    st.sampled_from(_logical("string", "uuid")),
    st.sampled_from([FieldType(base="float"), FieldType(base="double"), FieldType(base="boolean")]),
    st.builds(lambda count: FieldType(base="enum", symbols=(*SYMBOLS, *(f"S{place}" for place in range(count)))), st.integers(0, 120)),
    _DECIMALS,
)

_WHOLE = st.one_of(
    st.integers(-5, 60),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.builds(str, st.integers(-(2**64), 2**64) | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**31, -(2**31)])),
)
_FLOATING = st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-4, 4).map(lambda number: number / 2)
_TIMES = st.sampled_from(
    [
        *("2024-02-29", "1969-12-31T23:59:59.999", "2026-11-24T08:30:00+08:00", "08:30", "23:59:59.999999", "1970-01-01"),
        *("2026-11-24T08:30:15.123456789", "2262-04-11T23:47:16.854775807", "9999-12-31T23:59:59", "0001-01-01"),
    ]
)
_TEXTS = st.sampled_from(WORDS) | st.sampled_from(SYMBOLS) | st.text(LETTERS, max_size=40) | st.text(max_size=5)


def scalars(kind: FieldType) -> st.SearchStrategy[Scalar]:
    """Return operands that may fit ``kind``."""
    if kind.base in {"string", "enum"}:
        return _TEXTS
    if kind.base == "boolean":
        return st.booleans()
    if kind.logical == "decimal":
        return st.one_of(st.sampled_from(DECIMALS), _WHOLE, _FLOATING)
    if kind.base in {"float", "double"}:
        return st.one_of(_FLOATING, st.integers(-(2**53), 2**53))
    return st.one_of(_WHOLE, _TIMES) if kind.logical else st.one_of(_WHOLE, _FLOATING)


@st.composite
def conditions(draw: st.DrawFn, kind: FieldType) -> Condition | None:
    """Return a condition that fits ``kind``, or None."""
    operators = ["eq", "neq", "gt", "gteq", "lt", "lteq", "startsWith"]
    name = draw(st.sampled_from([*operators, "isAnyOf", "isNoneOf"]))
    one = scalars(kind)
    value = draw(one if name in operators else st.lists(one, min_size=1, max_size=12).map(tuple))
    found = Condition("value", name, value)
    return None if any(_operands(found, kind, "")) else found


@st.composite
def grants(draw: st.DrawFn, kind: FieldType) -> Grant | None:
    """Return a transform of values of ``kind`` that is no pseudonym, or None."""
    one = scalars(kind)
    characters = st.integers(1, 12) | st.sampled_from([64, 1000])
    units = st.sampled_from(UNITS.get(str(kind.logical), ("day",)))
    floating = kind.base in {"float", "double"}
    written = st.sampled_from(["0.1", "0.25", "1", "10", "3", "1000000007", "9" * 40, "0.0000001"]) if floating or kind.scale else one
    positive = st.one_of(st.integers(1, 2000), st.integers(1, 2**53 - 1), written, one)
    edges = st.lists(st.one_of(one, st.integers(-50, 50), written), min_size=1, max_size=8)
    numeric = st.one_of(
        st.builds(lambda step: Grant("value", "truncate", parameters=Truncate(step=step)), positive),
        st.builds(lambda width: Grant("value", "bucket", parameters=Bucket(width=width)), positive),
        st.builds(lambda ends: Grant("value", "bucket", parameters=Bucket(edges=_grown(ends, kind))), edges),
        st.builds(lambda ends: Grant("value", "bucket", parameters=_named(_grown(ends, kind))), edges),
    )
    kept = st.integers(0, 9) | st.sampled_from([63, 64, 1000])
    textual = st.one_of(
        st.builds(lambda first, last: Grant("value", "mask", keep_first=first, keep_last=last), kept, kept),
        st.builds(lambda count: Grant("value", "prefix", parameters=Prefix(characters=count)), characters),
        st.builds(lambda count: Grant("value", "truncate", parameters=Truncate(characters=count)), characters),
    )
    timely = st.builds(lambda unit: Grant("value", "truncate", parameters=Truncate(to=unit)), units)
    chosen = textual if kind.base in {"string", "enum"} else timely if kind.logical in UNITS else numeric
    found: Grant = draw(chosen)
    return None if any(unfit(Leaf(found, None), kind)) else found


def _named(edges: tuple[Any, ...]) -> Bucket:
    return Bucket(edges=edges, labels=tuple(f"{'路' * (place % 40)}{place}" for place in range(len(edges) + 1)))


def _grown(edges: list[Any], kind: FieldType) -> tuple[Any, ...]:
    """Return edges in an order in which they may grow."""
    found: dict[Any, Any] = {}
    for edge in edges:
        try:
            found.setdefault(in_units(edge, kind), edge)
        except UnfitOperand:
            continue
    return tuple(found[key] for key in sorted(found))


def values_of(kind: FieldType, seed: int, *, around: tuple[Any, ...], count: int) -> list[bytes]:
    """Return ``count`` encoded values of ``kind``; many of them near ``around``, the operands or parameters as they stand."""
    rng = random.Random(seed)
    near = [found for value in around if (found := _as_value(value, kind)) is not None]
    return [_one(kind, rng, near) for _ in range(count)]


def _as_value(value: Any, kind: FieldType) -> Any:
    try:
        return operand(value, kind=kind)
    except UnfitOperand:
        return None


def _one(kind: FieldType, rng: random.Random, near: list[Any]) -> bytes:
    if kind.logical == "decimal":
        return _decimal(kind, rng, near)
    if kind.base in INT_BITS:
        old = str(kind.logical).startswith("timestamp") and rng.randrange(2)
        return varint(_instant(str(kind.logical), rng) if old else _whole(INT_BITS[kind.base], rng, near))
    if kind.base in {"float", "double"}:
        return _floating(kind, rng, near)
    if kind.base == "enum":
        return varint(rng.randrange(len(kind.symbols)))
    if kind.base == "boolean":
        return bytes([rng.randrange(2)])
    encoded = _text(rng, near).encode()
    return varint(len(encoded)) + encoded


def _whole(bits: int, rng: random.Random, near: list[Any]) -> int:
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    way = rng.randrange(4)
    if near and way < 2:
        found = math.floor(rng.choice(near)) * rng.choice((1, 1, 1, -1, 2, 3)) + rng.randint(-2, 2)
    elif way == 2:
        found = rng.choice((least, most, 0)) + rng.randint(-3, 3)
    else:
        found = rng.getrandbits(rng.randint(1, bits)) * rng.choice((1, -1))
    return min(max(found, least), most)


def _instant(logical: str, rng: random.Random) -> int:
    """Return a timestamp near to where Shanghai's clock was set, or anywhere before it was set for the last time."""
    per_second = PER_SECOND[logical.rpartition("-")[2]]
    change = rng.choice([STANDARD_FROM, *(instant for summer in SUMMERS for instant in summer)])
    second = change + rng.randint(-90_000, 90_000) if rng.randrange(2) else rng.randint(-3_000_000_000, 700_000_000)
    return second * per_second + rng.choice((0, 0, 1, -1, rng.randrange(per_second)))


def _decimal(kind: FieldType, rng: random.Random, near: list[Any]) -> bytes:
    size = kind.size or rng.randint(1, 32)
    units = _whole(8 * size, rng, near)
    if kind.base == "fixed":
        return units.to_bytes(size, "big", signed=True)
    shortest = (units if units >= 0 else ~units).bit_length() // 8 + 1
    length = rng.choice((shortest, size, 32))
    return varint(length) + units.to_bytes(length, "big", signed=True)


def _floating(kind: FieldType, rng: random.Random, near: list[Any]) -> bytes:
    pattern, size = ("<f", 4) if kind.base == "float" else ("<d", 8)
    way = rng.randrange(6)
    if way == 0:
        return rng.randbytes(size)
    if way > 3:
        return struct.pack(pattern, _as_written(rng, digits=7 if size == 4 else 16))
    number = rng.choice(near) if near and way == 1 else rng.choice((*NUMBERS, math.inf, -math.inf, math.nan))
    number = number * rng.choice((1, 1, -1, 2, 3, 0.5)) if way < 3 else rng.uniform(-100, 100)
    number = math.nextafter(number, rng.choice((math.inf, -math.inf))) if rng.randrange(3) == 0 else number
    try:
        return struct.pack(pattern, number)
    except OverflowError:
        return struct.pack(pattern, math.copysign(math.inf, number))


def _as_written(rng: random.Random, *, digits: int) -> float:
    """Return a number of some decimals, or one that lies as near to one decimal as to another, or a power of two."""
    way = rng.randrange(4)
    if way == 0:
        return float(2 ** rng.randint(-100, 100) * rng.choice((1, -1)))
    if way == 1:
        return rng.choice((1, -1)) * (2 ** (49 if digits > 7 else 21) + rng.randrange(1 << 12) / 4)
    units = rng.randrange(10 ** rng.randint(1, digits))
    return float(f"{rng.choice(('', '-'))}{units}e{-rng.randint(0, digits)}")


def _text(rng: random.Random, near: list[Any]) -> str:
    way = rng.randrange(4)
    text: str = rng.choice(near) if near and way < 2 else rng.choice(WORDS)
    if way in {1, 2}:
        text += rng.choice(LETTERS) * rng.randint(0, 2)
    return text if way < 3 else "".join(rng.choices(LETTERS, k=rng.choice((0, 1, 2, 7, 8, 16, 17, 63, 64, 70))))


def varint(number: int) -> bytes:
    """Return a zigzag varint, written apart from the hub's own."""
    raw = number * 2 if number >= 0 else -number * 2 - 1
    groups = [raw >> shift & 0x7F for shift in range(0, max(raw.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
