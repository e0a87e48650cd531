"""Writes the conformance table: rows that people wrote, as data with bytes that any kernel can be held to.

Run it from the project's folder after a change of the rows below, and look at the difference: ``python tests/conformance/write_table.py``.
What a row expects is written here by hand as a value; only its bytes are made by a library that is not ours (fastavro).
"""

import io
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro

HERE = Path(__file__).parent
NULL = object()
ENUM = {"type": "enum", "name": "E", "symbols": ["red", "green", "blue"]}
FIXED = {"type": "fixed", "name": "F", "size": 4}
DATE = {"type": "int", "logicalType": "date"}
TIME_MS = {"type": "int", "logicalType": "time-millis"}
TIME_US = {"type": "long", "logicalType": "time-micros"}
STAMP_MS = {"type": "long", "logicalType": "timestamp-millis"}
STAMP_US = {"type": "long", "logicalType": "timestamp-micros"}
LOCAL_MS = {"type": "long", "logicalType": "local-timestamp-millis"}
LOCAL_US = {"type": "long", "logicalType": "local-timestamp-micros"}
UUID = {"type": "string", "logicalType": "uuid"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
FIXED_MONEY = {"type": "fixed", "name": "M", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 2}
PERSON = {"type": "record", "name": "Person", "fields": [{"name": "name", "type": "string"}, {"name": "age", "type": ["null", "int"]}]}
INTS = {"type": "array", "items": "int"}
TEXTS = {"type": "array", "items": ["null", "string"]}
TAGS = {"type": "map", "values": "string"}
PEOPLE = {"type": "array", "items": PERSON}
MIXED = ["null", "int", "string", ENUM]
NAN, INF = math.nan, math.inf
NAN_WITH_BITS = struct.unpack("<d", bytes.fromhex("efcdab8967f5ffff"))[0]


def encode(kind: Any, value: Any) -> str:
    """Return the bytes of a value as another library writes them."""
    if isinstance(kind, list) and value is NULL:
        value = None
    out = io.BytesIO()
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {"f": value})
    return out.getvalue().hex()


def money(units: int, size: int | None = None) -> bytes:
    """Return the two's complement of a decimal."""
    return units.to_bytes(size or (units if units >= 0 else ~units).bit_length() // 8 + 1, "big", signed=True)


def grant(transform: str = "keep", name: str = "f", **parameters: Any) -> dict[str, Any]:
    """Return a grant as a signed body has it."""
    if transform in {"truncate", "bucket", "prefix", "constant"}:
        return {"name": name, "transform": transform, "parameters": {"type": transform, **parameters}}
    return {"name": name, "transform": transform, **parameters}


def when(operator: str, value: Any, field: str = "f") -> dict[str, Any]:
    """Return a condition as a signed body has it."""
    return {"type": "condition", "field": field, "operator": operator, "value": value}


def every(operator: str, value: Any, field: str) -> dict[str, Any]:
    """Return a condition on every element."""
    return {"type": "every", "rule": when(operator, value, field)}


# types.json: every type is kept byte for byte, null or not.

KEPT: list[tuple[Any, list[Any]]] = [
    ("boolean", [False, True]),
    ("int", [0, -1, 1, 63, 64, 2**31 - 1, -(2**31)]),
    ("long", [0, 2**63 - 1, -(2**63), 2**53 + 1]),
    ("float", [0.0, -0.0, 1.5, INF, -INF, NAN]),
    ("double", [0.0, -0.0, 0.1, INF, -INF, NAN, 5e-324]),
    ("bytes", [b"", b"\x00\xff"]),
    ("string", ["", "浙A12345", "😀", "a" * 64]),
    (ENUM, ["red", "blue"]),
    (FIXED, [b"\x00\x01\xfe\xff"]),
    (DATE, [0, -719_162, 20_781]),
    (TIME_MS, [0, 86_399_999]),
    (TIME_US, [0, 86_399_999_999]),
    (STAMP_MS, [0, -1, 1_800_000_000_000]),
    (STAMP_US, [0, -1, 1_800_000_000_000_000]),
    (LOCAL_MS, [0]),
    (LOCAL_US, [0]),
    (UUID, ["11111111-1111-4111-8111-111111111111"]),
    (MONEY, [money(0), money(1250), money(-1), b"\x00\x00\x01"]),
    (FIXED_MONEY, [money(-2, 4)]),
    (INTS, [[], [1, -1], list(range(70))]),
    (TEXTS, [[None], ["a", None, ""]]),
    (TAGS, [{}, {"": "x", "键": "值"}]),
    ({"type": "array", "items": {"type": "array", "items": "boolean"}}, [[[], [True]], [[]]]),
    ({"type": "map", "values": INTS}, [{"a": [], "b": [1]}]),
    (["int", "string"], [5, "five"]),
    (["string"], ["alone"]),
]


def kept_rows() -> Iterator[dict[str, Any]]:
    """Yield each value required, and nullable in either order; and null."""
    for kind, values in KEPT:
        unions = [["null", kind], [kind, "null"]] if not isinstance(kind, list) else [["null", *kind]]
        for value in values:
            for one in [kind, *unions]:
                yield {"type": one, "source": encode(one, value), "grants": [grant()], "delivered": encode(one, value)}
        for union in unions:
            yield {"type": union, "source": encode(union, NULL), "grants": [grant()], "delivered": encode(union, NULL)}


# transforms.json: type × transform × null. Refused ones name the place in the agreement.

TEXT_GRANTS = [grant("mask", keep_last=1), grant("pseudonym", identifier="name"), grant("prefix", characters=1)]
CHANGED: list[tuple[Any, Any, dict[str, Any], Any, Any]] = [
    ("string", "13800138000", grant("mask", keep_last=4), "string", "*******8000"),
    ("string", "ab", grant("mask", keep_first=1, keep_last=1), "string", "**"),
    ("string", "", grant("mask"), "string", ""),
    ("string", "a😀浙", grant("mask", keep_first=2), "string", "a😀*"),
    (ENUM, "green", grant("mask", keep_first=1), "string", "g****"),
    (UUID, "11111111-1111-4111-8111-111111111111", grant("prefix", characters=8), "string", "11111111"),
    ("string", "330106", grant("prefix", characters=4), "string", "3301"),
    ("string", "33", grant("prefix", characters=4), "string", "33"),
    ("string", "", grant("prefix", characters=1), "string", ""),
    ("string", "😀😀a", grant("prefix", characters=2), "string", "😀😀"),
    (ENUM, "blue", grant("prefix", characters=2), "string", "bl"),
    ("string", "杭州市西湖区", grant("truncate", characters=3), "string", "杭州市"),
    ("int", 0, grant("truncate", step=100), "int", 0),
    ("int", 199, grant("truncate", step=100), "int", 100),
    ("int", -1, grant("truncate", step=100), "int", -100),
    ("int", -100, grant("truncate", step=100), "int", -100),
    ("long", 2**63 - 1, grant("truncate", step=1000), "long", 2**63 - 808),
    ("double", 7.9, grant("truncate", step=2), "double", 6.0),
    ("double", -7.9, grant("truncate", step=2), "double", -8.0),
    ("double", -0.0, grant("truncate", step=2), "double", 0.0),
    ("double", INF, grant("truncate", step=2), "double", INF),
    ("double", NAN, grant("truncate", step=2), "double", NAN),
    ("double", NAN_WITH_BITS, grant("truncate", step=2), "double", NAN),
    ("float", -NAN, grant("truncate", step=2), "float", NAN),
    ("float", 2.75, grant("truncate", step=0.5), "float", 2.5),
    (MONEY, money(1299), grant("truncate", step="0.50"), MONEY, money(1250)),
    (MONEY, money(-1), grant("truncate", step=1), MONEY, money(-100)),
    (MONEY, b"\x00\x00\x64", grant("truncate", step=1), MONEY, money(100)),
    (FIXED_MONEY, money(1299, 4), grant("truncate", step=5), FIXED_MONEY, money(1000, 4)),
    # 2026-11-24 is day 20,781; 2026-11-01 is 20,758; 2026-10-01 is 20,727; 2026-01-01 is 20,454
    (DATE, 20_781, grant("truncate", to="month"), DATE, 20_758),
    (DATE, 20_781, grant("truncate", to="quarter"), DATE, 20_727),
    (DATE, 20_781, grant("truncate", to="year"), DATE, 20_454),
    # 2024-02-29 is 19,782 and 2024-02-01 is 19,754; 1969-12-31 is -1 and 1969-12-01 is -31; 0001-01-01 is -719,162
    (DATE, 19_782, grant("truncate", to="month"), DATE, 19_754),
    (DATE, -1, grant("truncate", to="month"), DATE, -31),
    (DATE, -719_162, grant("truncate", to="year"), DATE, -719_162),
    (DATE, -719_163, grant("truncate", to="year"), DATE, -719_528),
    (TIME_MS, 30_599_999, grant("truncate", to="hour"), TIME_MS, 28_800_000),
    (TIME_US, 30_599_999_999, grant("truncate", to="minute"), TIME_US, 30_540_000_000),
    # a day begins at 00:00 in Shanghai, which is 16:00 UTC of the day before
    (STAMP_MS, 0, grant("truncate", to="day"), STAMP_MS, -28_800_000),
    (STAMP_MS, 57_599_999, grant("truncate", to="day"), STAMP_MS, -28_800_000),
    (STAMP_MS, 57_600_000, grant("truncate", to="day"), STAMP_MS, 57_600_000),
    (STAMP_MS, 0, grant("truncate", to="year"), STAMP_MS, -28_800_000),
    (STAMP_MS, -1, grant("truncate", to="second"), STAMP_MS, -1_000),
    (STAMP_US, 3_599_999_999, grant("truncate", to="hour"), STAMP_US, 0),
    (STAMP_US, 20_781 * 86_400_000_000, grant("truncate", to="month"), STAMP_US, 20_758 * 86_400_000_000 - 28_800_000_000),
    (LOCAL_MS, 86_399_999, grant("truncate", to="day"), LOCAL_MS, 0),
    (LOCAL_US, -1, grant("truncate", to="day"), LOCAL_US, -86_400_000_000),
    ("int", 17, grant("bucket", edges=[18, 60]), "string", "<18"),
    ("int", 18, grant("bucket", edges=[18, 60]), "string", "[18,60)"),
    ("int", 60, grant("bucket", edges=[18, 60]), "string", ">=60"),
    ("int", 18, grant("bucket", edges=[18], labels=["minor", "成年"]), "string", "成年"),
    ("int", 25, grant("bucket", width=10), "string", "[20,30)"),
    ("int", -1, grant("bucket", width=10), "string", "[-10,0)"),
    ("long", 2**63 - 1, grant("bucket", width=10), "string", "[9223372036854775800,9223372036854775810)"),
    ("double", INF, grant("bucket", edges=[0]), "string", ">=0"),
    ("double", -0.0, grant("bucket", edges=[0]), "string", ">=0"),
    ("double", 0.25, grant("bucket", width=0.1), "string", "[0.2,0.3)"),
    ("float", 0.1, grant("bucket", edges=[0.1]), "string", ">=0.1"),
    (MONEY, money(1299), grant("bucket", width="12.50"), "string", "[12.5,25)"),
    (MONEY, money(-1), grant("bucket", edges=["-0.01", "0"]), "string", "[-0.01,0)"),
]
ALIKE = ["boolean", "int", "long", "float", "double", "bytes", "string", ENUM, FIXED, DATE, STAMP_MS, UUID, MONEY, INTS, TAGS]
ONE = [True, 1, 1, 1.5, 1.5, b"x", "x", "red", b"abcd", 1, 1, "11111111-1111-4111-8111-111111111111", money(1), [1], {"a": "b"}]
CONSTANTS = [("withheld", "string", "107769746868656c64"), (0, "int", "00"), (-1, "long", "01"), (True, "boolean", "01")]
FAILED: list[tuple[Any, Any, dict[str, Any], str]] = [
    ("double", NAN, grant("bucket", edges=[0]), "transform_failed"),
    ("double", NAN, grant("bucket", width=1), "transform_failed"),
    ("double", INF, grant("bucket", width=1), "transform_failed"),
    ("double", 1e300, grant("bucket", width=1), "transform_failed"),
    ("double", 1e308, grant("truncate", step=0.1), "transform_failed"),
    ("float", -3.4e38, grant("truncate", step=1e38), "transform_failed"),
    ("int", -(2**31), grant("truncate", step=1000), "transform_failed"),
    ("long", -(2**63), grant("truncate", step=1000), "transform_failed"),
    (DATE, -(2**31), grant("truncate", to="year"), "transform_failed"),
    (STAMP_US, -(2**63), grant("truncate", to="day"), "transform_failed"),
    (FIXED_MONEY, money(-(2**31), 4), grant("truncate", step=10), "transform_failed"),
    ("string", "bad", grant("pseudonym", identifier="resident-id"), "identifier_invalid"),
]


def changed_rows() -> Iterator[dict[str, Any]]:
    """Yield each row required, and nullable in either order; null stays null."""
    for kind, value, given, out, want in CHANGED:
        yield {"type": kind, "source": encode(kind, value), "grants": [given], "delivered": encode(out, want)}
        for wrap in (lambda inner: ["null", inner], lambda inner: [inner, "null"]):
            source, target = wrap(kind), wrap(out)
            yield {"type": source, "source": encode(source, value), "grants": [given], "delivered": encode(target, want)}
            yield {"type": source, "source": encode(source, NULL), "grants": [given], "delivered": encode(target, NULL)}
    for kind, value in zip(ALIKE, ONE, strict=True):
        for source in (kind, ["null", kind], [kind, "null"]):
            yield {"type": source, "source": encode(source, value), "grants": [grant("nullify")], "delivered": "00"}
        for constant, avro_type, wanted in (
            ("withheld", "string", "107769746868656c64"),
            (0, "int", "00"),
            (-1, "long", "01"),
            (True, "boolean", "01"),
        ):
            given = grant("constant", value=constant, avro_type=avro_type)
            yield {"type": kind, "source": encode(kind, value), "grants": [given], "delivered": wanted}
        given = grant("constant", value=1.5, avro_type="double")
        yield {"type": ["null", kind], "source": encode(["null", kind], NULL), "grants": [given], "delivered": encode("double", 1.5)}
    for kind, value, given, code in FAILED:
        yield {"type": kind, "source": encode(kind, value), "grants": [given], "quarantined": code}


def refused_rows() -> Iterator[dict[str, Any]]:
    """Yield transforms that fit no value of a type."""
    text = {"string", "uuid", "enum"}
    number = {"int", "long", "float", "double", "decimal"}
    fits = {
        "mask": text,
        "prefix": text,
        "pseudonym": text - {"enum"},
        "bucket": number,
        "truncate": (text - {"enum"}) | number | {"date", "timestamp-millis"},
    }
    given = {
        "mask": grant("mask"),
        "prefix": grant("prefix", characters=1),
        "pseudonym": grant("pseudonym", identifier="name"),
        "bucket": grant("bucket", width=1),
        "truncate": grant("truncate", characters=1),
    }
    for kind in [*ALIKE, "null", PERSON, PEOPLE]:
        name = kind if isinstance(kind, str) else kind.get("logicalType", kind["type"])
        for transform, kinds in fits.items():
            if name not in kinds:
                whole = kind in (PERSON, PEOPLE)
                yield {"type": kind, "grants": [given[transform]], "refused": "fields[0].name" if whole else f"fields[0].{transform}"}
    for kind in (PERSON, PEOPLE, ["null", "string", PERSON], {"type": "map", "values": ["null", PERSON]}):
        for one in (grant(), grant("nullify"), grant("constant", value="x", avro_type="string")):
            yield {"type": kind, "grants": [one], "refused": "fields[0].name"}
    yield from (
        {"type": kind, "grants": [one], "refused": place}
        for kind, one, place in (
            ("string", grant("truncate", to="day"), "fields[0].truncate"),
            ("string", grant("truncate", characters=0), "fields[0].truncate.characters"),
            ("string", grant("prefix", characters=1001), "fields[0].prefix.characters"),
            ("string", grant("pseudonym"), "fields[0].pseudonym"),
            (DATE, grant("truncate", to="day"), "fields[0].truncate.to"),
            (DATE, grant("truncate", step=1), "fields[0].truncate"),
            (TIME_MS, grant("truncate", to="day"), "fields[0].truncate.to"),
            (STAMP_MS, grant("truncate", to="fortnight"), "fields[0].truncate.to"),
            ("int", grant("truncate", step=0), "fields[0].truncate.step"),
            ("int", grant("truncate", step=-1), "fields[0].truncate.step"),
            ("int", grant("truncate", step=0.5), "fields[0].truncate.step"),
            (MONEY, grant("truncate", step="0.001"), "fields[0].truncate.step"),
            ("int", grant("bucket"), "fields[0].bucket"),
            ("int", grant("bucket", width=1, edges=[1]), "fields[0].bucket"),
            ("int", grant("bucket", edges=[2, 2]), "fields[0].bucket.edges"),
            ("int", grant("bucket", edges=[1.5]), "fields[0].bucket.edges"),
            ("int", grant("bucket", edges=["many"]), "fields[0].bucket.edges"),
            ("int", grant("bucket", edges=[1], labels=["one"]), "fields[0].bucket.labels"),
            ("int", grant("constant", value="x", avro_type="int"), "fields[0].constant.value"),
            ("int", grant("constant", value=2**31, avro_type="int"), "fields[0].constant.value"),
            ("int", grant("constant", value="x", avro_type="bytes"), "fields[0].constant.value"),
        )
    )


# operators.json: type × operator × null. T true, F false, U unknown.

OPERATORS: list[tuple[Any, Any, str, str, Any]] = [
    ("boolean", True, "T", "eq", True),
    ("boolean", False, "F", "eq", True),
    ("boolean", False, "T", "neq", True),
    ("boolean", True, "T", "isAnyOf", [True, False]),
    ("boolean", True, "F", "isNoneOf", [True]),
    *(("int", 5, truth, operator, 5) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "TFFTFT", strict=True)),
    *(("int", 4, truth, operator, 5) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTFFTT", strict=True)),
    *(("int", 6, truth, operator, 5) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTTTFF", strict=True)),
    ("int", 5, "F", "eq", 5.5),
    ("int", 5, "T", "lt", 5.5),
    ("int", 5, "T", "isAnyOf", [4, 5]),
    ("int", 5, "F", "isAnyOf", [4]),
    ("int", 5, "T", "isNoneOf", [4]),
    ("long", 2**53 + 1, "T", "eq", "9007199254740993"),
    ("long", 2**53 + 1, "F", "eq", "9007199254740992"),
    ("long", 2**53 + 1, "T", "gt", 9007199254740991),
    ("float", 0.1, "T", "eq", 0.1),
    ("float", 0.1, "T", "lteq", 0.1),
    ("double", 0.1, "T", "eq", 0.1),
    ("double", -0.0, "T", "eq", 0),
    ("double", INF, "T", "gt", 1e308),
    *(("double", NAN, truth, operator, 1.0) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTFFFF", strict=True)),
    ("double", NAN, "F", "isAnyOf", [1.0]),
    ("double", NAN, "T", "isNoneOf", [1.0]),
    ("double", NAN, "F", "isNull", True),
    ("float", NAN, "T", "neq", 1.0),
    ("string", "浙A", "T", "eq", "浙A"),
    ("string", "浙A", "T", "startsWith", "浙"),
    ("string", "", "F", "startsWith", "浙"),
    ("string", "浙", "T", "startsWith", "浙"),
    ("string", "b", "T", "gt", "a"),
    ("string", "B", "T", "lt", "a"),
    ("string", "😀", "T", "gt", "\uffff"),
    ("string", "a", "T", "isAnyOf", ["a", "b"]),
    ("string", "c", "T", "isNoneOf", ["a", "b"]),
    (ENUM, "green", "T", "eq", "green"),
    (ENUM, "green", "T", "startsWith", "gr"),
    (ENUM, "blue", "T", "lt", "red"),
    (ENUM, "red", "F", "isAnyOf", ["pink"]),
    (UUID, "11111111-1111-4111-8111-111111111111", "T", "startsWith", "1111"),
    (DATE, 20_781, "T", "eq", "2026-11-24"),
    (DATE, 20_781, "F", "lt", "2026-11-24"),
    (DATE, 20_781, "T", "gteq", 20_781),
    (TIME_MS, 30_600_000, "T", "eq", "08:30"),
    (TIME_US, 30_600_000_001, "T", "gt", "08:30:00"),
    (STAMP_MS, 0, "T", "eq", "1970-01-01T08:00:00"),
    (STAMP_MS, 0, "T", "eq", "1970-01-01T00:00:00Z"),
    (STAMP_US, -1, "T", "lt", "1970-01-01T00:00:00Z"),
    (LOCAL_MS, 0, "T", "eq", "1970-01-01T00:00:00"),
    (LOCAL_US, 1, "T", "gt", "1970-01-01T00:00:00"),
    (MONEY, money(1250), "T", "eq", "12.50"),
    (MONEY, money(1250), "T", "eq", 12.5),
    (MONEY, b"\x00\x00\x04\xe2", "T", "eq", "12.50"),
    (MONEY, money(1250), "F", "eq", "12.501"),
    (MONEY, money(1250), "T", "lt", "12.501"),
    (MONEY, money(-1), "T", "lt", 0),
    (FIXED_MONEY, money(-1, 4), "T", "isAnyOf", ["-0.01"]),
    *((kind, value, "F", "isNull", True) for kind, value in zip(ALIKE, ONE, strict=True)),
    *((kind, value, "T", "isNull", False) for kind, value in zip(ALIKE, ONE, strict=True)),
]


def operator_rows() -> Iterator[dict[str, Any]]:
    """Yield each row required and nullable; of null every operator but isNull is unknown."""
    for kind, value, truth, operator, operand in OPERATORS:
        rule = when(operator, operand)
        yield {"type": kind, "source": encode(kind, value), "rows": rule, "truth": truth}
        for union in (["null", kind], [kind, "null"]):
            yield {"type": union, "source": encode(union, value), "rows": rule, "truth": truth}
            of_null = "U" if operator != "isNull" else "T" if operand else "F"
            yield {"type": union, "source": encode(union, NULL), "rows": rule, "truth": of_null}


def unfit_rows() -> Iterator[dict[str, Any]]:
    """Yield conditions that mean nothing, each with its place."""
    for kind, operator, operand, place in (
        ("bytes", "eq", "x", "rows.eq"),
        (FIXED, "gt", "x", "rows.gt"),
        ("null", "eq", 1, "rows.eq"),
        (INTS, "eq", 1, "rows.eq"),
        (TAGS, "startsWith", "x", "rows.startsWith"),
        (PERSON, "eq", "x", "rows.eq"),
        ("boolean", "gt", True, "rows.gt"),
        ("int", "startsWith", "1", "rows.startsWith"),
        ("int", "eq", "five", "rows.eq"),
        ("int", "eq", [5], "rows.eq"),
        ("int", "isAnyOf", 5, "rows.isAnyOf"),
        ("int", "isAnyOf", [5, "five"], "rows.isAnyOf[1]"),
        ("int", "like", 5, "rows"),
        ("string", "eq", None, "rows.eq"),
        ("string", "isNull", "yes", "rows.isNull"),
        (DATE, "eq", "2026-02-30", "rows.eq"),
        (["null", "int", "string"], "eq", True, "rows.eq"),
        (["null", "int", "bytes"], "startsWith", "x", "rows.startsWith"),
    ):
        yield {"type": kind, "rows": when(operator, operand), "refused": place}
    for kind, field in (
        ("int", "f.x"),
        ("int", "f[]"),
        (INTS, "f{}"),
        (INTS, "f.x"),
        (TAGS, "f[]"),
        (PERSON, "f.nose"),
        (["int", PERSON], "f.name"),
    ):
        yield {"type": kind, "rows": when("isNull", operand := True, field), "refused": "rows.field"}
        assert operand
    yield {"type": "int", "rows": every("eq", 1, "f"), "refused": "rows.every"}


# logic.json: Kleene's tables. The fields t, f and u are 1, 0 and null; `eq: 1` makes them true, false and unknown.

KLEENE_ALL = {"TT": "T", "TF": "F", "TU": "U", "FF": "F", "FU": "F", "UU": "U"}
KLEENE_ANY = {"TT": "T", "TF": "T", "TU": "T", "FF": "F", "FU": "U", "UU": "U"}


def logic_rows() -> Iterator[dict[str, Any]]:
    """Yield all, any and not over every pair of truths, in both orders."""
    fields = [{"name": name, "type": ["null", "int"]} for name in "tfu"]
    atoms = {letter: when("eq", 1, letter.lower()) for letter in "TFU"}
    common = {"fields": fields, "source": "0202020000"}
    for word, table in (("all", KLEENE_ALL), ("any", KLEENE_ANY)):
        for pair, truth in table.items():
            for one, other in dict.fromkeys(((pair[0], pair[1]), (pair[1], pair[0]))):
                yield common | {
                    "rows": {"type": word, "rules": [atoms[one], atoms[other]]},
                    "truth": truth,
                    "about": f"{one} {word} {other}",
                }
    for letter, truth in zip("TFU", "FTU", strict=True):
        yield common | {"rows": {"type": "not", "rule": atoms[letter]}, "truth": truth, "about": f"not {letter}"}


# elements.json: conditions on what arrays, maps and nested records hold.

ELEMENTS: list[tuple[Any, Any, dict[str, Any], str]] = [
    (INTS, [], when("eq", 1, "f[]"), "F"),
    (INTS, [], every("eq", 1, "f[]"), "T"),
    (INTS, [], when("neq", 1, "f[]"), "F"),
    (INTS, [], when("isNull", False, "f[]"), "F"),
    (INTS, [2, 1], when("eq", 1, "f[]"), "T"),
    (INTS, [2, 1], when("neq", 1, "f[]"), "T"),
    (INTS, [1, 1], when("neq", 1, "f[]"), "F"),
    (INTS, [2, 1], every("eq", 1, "f[]"), "F"),
    (INTS, [1, 1], every("eq", 1, "f[]"), "T"),
    (INTS, [1], when("isNull", False, "f"), "T"),
    (TEXTS, ["a", None], when("eq", "a", "f[]"), "T"),
    (TEXTS, ["b", None], when("eq", "a", "f[]"), "U"),
    (TEXTS, ["a", None], every("eq", "a", "f[]"), "U"),
    (TEXTS, ["b", None], every("eq", "a", "f[]"), "F"),
    (TEXTS, ["b", None], when("isNull", True, "f[]"), "T"),
    (TEXTS, ["b"], when("isNull", True, "f[]"), "F"),
    (TEXTS, [None], every("isNull", True, "f[]"), "T"),
    ({"type": "array", "items": "double"}, [NAN], when("eq", 1.0, "f[]"), "F"),
    ({"type": "array", "items": "double"}, [NAN], every("neq", 1.0, "f[]"), "T"),
    (["null", INTS], NULL, when("eq", 1, "f[]"), "U"),
    (["null", INTS], NULL, every("eq", 1, "f[]"), "U"),
    (["null", INTS], NULL, when("isNull", True, "f[]"), "T"),
    (["null", INTS], NULL, when("isNull", True, "f"), "T"),
    (["null", INTS], [], when("isNull", True, "f"), "F"),
    (TAGS, {}, when("eq", "x", "f{}"), "F"),
    (TAGS, {"a": "y", "b": "x"}, when("eq", "x", "f{}"), "T"),
    (TAGS, {"x": "y"}, when("eq", "x", "f{}"), "F"),
    (TAGS, {"a": "y", "b": "x"}, every("startsWith", "x", "f{}"), "F"),
    ({"type": "array", "items": INTS}, [[], [1]], when("eq", 1, "f[][]"), "T"),
    ({"type": "array", "items": INTS}, [[], [1]], every("eq", 1, "f[][]"), "T"),
    ({"type": "array", "items": INTS}, [[]], when("eq", 1, "f[][]"), "F"),
    (PERSON, {"name": "a", "age": 30}, when("eq", "a", "f.name"), "T"),
    (PERSON, {"name": "a", "age": None}, when("gt", 18, "f.age"), "U"),
    (PERSON, {"name": "a", "age": None}, when("isNull", True, "f.age"), "T"),
    (["null", PERSON], NULL, when("eq", "a", "f.name"), "U"),
    (["null", PERSON], NULL, when("isNull", True, "f.name"), "T"),
    (["null", PERSON], NULL, when("isNull", False, "f.name"), "F"),
    (["null", PERSON], NULL, when("isNull", True, "f"), "T"),
    (PEOPLE, [{"name": "a", "age": 17}, {"name": "b", "age": None}], when("gteq", 18, "f[].age"), "U"),
    (PEOPLE, [{"name": "a", "age": 18}, {"name": "b", "age": None}], when("gteq", 18, "f[].age"), "T"),
    (PEOPLE, [{"name": "a", "age": 17}, {"name": "b", "age": None}], every("gteq", 18, "f[].age"), "F"),
    (PEOPLE, [{"name": "a", "age": 18}, {"name": "b", "age": None}], every("gteq", 18, "f[].age"), "U"),
    (PEOPLE, [], when("isNull", True, "f[].age"), "F"),
    (MIXED, 5, when("eq", 5), "T"),
    (MIXED, 6, when("eq", 5), "F"),
    (MIXED, 5, when("eq", "5"), "T"),
    (MIXED, "5", when("eq", 5), "U"),
    (MIXED, "5", when("eq", "5"), "T"),
    (MIXED, ("E", "red"), when("startsWith", "r"), "T"),
    (MIXED, 5, when("startsWith", "r"), "U"),
    (MIXED, 5, when("isNoneOf", ["r"]), "U"),
    (MIXED, "x", when("isNoneOf", ["r"]), "T"),
    (MIXED, NULL, when("eq", 5), "U"),
    (MIXED, NULL, when("isNull", True), "T"),
    (MIXED, "5", when("isNull", True), "F"),
    (["int", "double"], 1.5, when("gt", 1), "T"),
    (["int", "bytes"], b"x", when("gt", 1), "U"),
    ({"type": "array", "items": ["int", "string"]}, ["x", 5], when("eq", 5, "f[]"), "T"),
    ({"type": "array", "items": ["int", "string"]}, ["x", 6], when("eq", 5, "f[]"), "U"),
]


def element_rows() -> Iterator[dict[str, Any]]:
    """Yield the rows above."""
    for kind, value, rule, truth in ELEMENTS:
        yield {"type": kind, "source": encode(kind, value), "rows": rule, "truth": truth}


# nested.json: grants inside records, arrays, maps and unions.

CITY = {"type": "record", "name": "City", "fields": [{"name": "zip", "type": "string"}, {"name": "area", "type": "int"}]}
HOME = {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", CITY]}, {"name": "door", "type": "string"}]}
NAME = {"type": "record", "name": "Person", "fields": [{"name": "name", "type": "string"}]}
ZIP = {"type": "record", "name": "City", "fields": [{"name": "zip", "type": "string"}]}
HOME_ZIP = {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", ZIP]}]}
NAMES = {"type": "array", "items": NAME}
NAMES_BY = {"type": "map", "values": NAME}
ZIP_2 = [grant("prefix", "f.city.zip", characters=2)]
NESTED: list[tuple[Any, Any, list[dict[str, Any]], Any, Any]] = [
    (PERSON, {"name": "a", "age": 5}, [grant(name="f.name")], NAME, {"name": "a"}),
    (PERSON, {"name": "a", "age": 5}, [grant(name="f.age"), grant(name="f.name")], PERSON, {"name": "a", "age": 5}),
    (["null", PERSON], {"name": "a", "age": 5}, [grant(name="f.name")], ["null", NAME], {"name": "a"}),
    (["null", PERSON], NULL, [grant(name="f.name")], ["null", NAME], NULL),
    ([PERSON, "null"], NULL, [grant(name="f.name")], [NAME, "null"], NULL),
    (PEOPLE, [], [grant(name="f[].name")], NAMES, []),
    (
        PEOPLE,
        [{"name": "a", "age": 5}, {"name": "b", "age": None}],
        [grant(name="f[].name")],
        {"type": "array", "items": NAME},
        [{"name": "a"}, {"name": "b"}],
    ),
    (PEOPLE, [{"name": "abc", "age": 5}], [grant("mask", "f[].name", keep_first=1)], NAMES, [{"name": "a**"}]),
    (
        {"type": "map", "values": PERSON},
        {"k": {"name": "a", "age": 1}},
        [grant(name="f{}.name")],
        {"type": "map", "values": NAME},
        {"k": {"name": "a"}},
    ),
    (
        HOME,
        {"city": {"zip": "310000", "area": 9}, "door": "1"},
        [grant("prefix", "f.city.zip", characters=2)],
        {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", ZIP]}]},
        {"city": {"zip": "31"}},
    ),
    (
        HOME,
        {"city": None, "door": "1"},
        [grant("prefix", "f.city.zip", characters=2)],
        {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", ZIP]}]},
        {"city": None},
    ),
    (INTS, [1, 25, -3], [grant(name="f[]")], INTS, [1, 25, -3]),
    (INTS, [1, 25, -3], [grant("truncate", "f[]", step=10)], INTS, [0, 20, -10]),
    (INTS, [1, 25, -3], [grant("bucket", "f[]", edges=[0])], {"type": "array", "items": "string"}, [">=0", ">=0", "<0"]),
    (INTS, [1, 25], [grant("nullify", "f[]")], {"type": "array", "items": ["null", "int"]}, [None, None]),
    (INTS, [1, 25], [grant("constant", "f[]", value="x", avro_type="string")], {"type": "array", "items": "string"}, ["x", "x"]),
    (TEXTS, ["ab", None], [grant("mask", "f[]")], TEXTS, ["**", None]),
    (TAGS, {"a": "xyz"}, [grant("prefix", "f{}", characters=1)], TAGS, {"a": "x"}),
    ({"type": "array", "items": TAGS}, [{"a": "xyz"}, {}], [grant("mask", "f[]{}")], {"type": "array", "items": TAGS}, [{"a": "***"}, {}]),
    (["null", "string", ENUM], "abc", [grant("mask", keep_first=1)], ["null", "string"], "a**"),
    (["null", "string", ENUM], ("E", "red"), [grant("mask", keep_first=1)], ["null", "string"], "r**"),
    (["null", "string", ENUM], NULL, [grant("mask", keep_first=1)], ["null", "string"], NULL),
    (["string", "null", ENUM], NULL, [grant("prefix", characters=1)], ["string", "null"], NULL),
    (["string", ENUM], ("E", "red"), [grant("prefix", characters=1)], "string", "r"),
    (["string"], "abc", [grant("truncate", characters=1)], "string", "a"),
    (["int", "string"], "abc", [grant("nullify")], ["null", "int", "string"], NULL),
]


def nested_rows() -> Iterator[dict[str, Any]]:
    """Yield the rows above, blocks that other writers make, and grants that mean nothing."""
    for kind, value, given, out, want in NESTED:
        yield {"type": kind, "source": encode(kind, value), "grants": given, "delivered": encode(out, want)}
    blocks = "0202" + "0102" + "04" + "00"
    about = "an item in a block, then one in a block with its size in bytes, then the end: kept as it stands, written anew as one block"
    yield {"type": INTS, "source": blocks, "grants": [grant()], "delivered": blocks, "about": about}
    yield {"type": INTS, "source": blocks, "grants": [grant("truncate", "f[]", step=2)], "delivered": "04000400", "about": about}
    sized = "01" + "0a" + "026b" + "0261" + "0a" + "00"
    about = "a map whose only block is sized: the size of what is granted is another"
    people = {
        "type": "map",
        "values": {"type": "record", "name": "P", "fields": [{"name": "n", "type": "string"}, {"name": "a", "type": "int"}]},
    }
    yield {"type": people, "source": sized, "grants": [grant(name="f{}.n")], "delivered": "02026b026100", "about": about}
    for kind, given, place in (
        (PERSON, [grant(name="f.name"), grant(name="f.name")], "fields[1].name"),
        (INTS, [grant(name="f"), grant(name="f[]")], "fields[1].name"),
        (PERSON, [grant(name="f.nose")], "fields[0].name"),
        (PEOPLE, [grant(name="f.name")], "fields[0].name"),
        (INTS, [grant(name="f{}")], "fields[0].name"),
        ("int", [grant(name="f.x")], "fields[0].name"),
        (["int", PERSON], [grant(name="f.name")], "fields[0].name"),
        (["null", "string", "int"], [grant("mask")], "fields[0].mask"),
        (["int", "long"], [grant("truncate", step=1)], "fields[0].truncate"),
        (["int", "long"], [grant("bucket", width=1)], "fields[0].bucket"),
        (["string", ENUM], [grant("pseudonym", identifier="name")], "fields[0].pseudonym"),
    ):
        yield {"type": kind, "grants": given, "refused": place}


# wire.json: what is no record, with its code.

WIRE: list[tuple[Any, str, str]] = [
    ("boolean", "02", "value_invalid"),
    ("int", "", "truncated"),
    ("int", "8000", "value_invalid"),
    ("int", "8080808010", "value_invalid"),
    ("int", "0000", "trailing_bytes"),
    ("long", "ffffffffffffffffff02", "value_invalid"),
    ("long", "ffffffffffffffffffff01", "value_invalid"),
    ("float", "000000", "truncated"),
    ("double", "00", "truncated"),
    ("string", "01", "value_invalid"),
    ("string", "02ff", "value_invalid"),
    ("string", "06eda080", "value_invalid"),
    ("string", "80a8d6b907", "truncated"),
    ("bytes", "0461", "truncated"),
    (FIXED, "616263", "truncated"),
    (ENUM, "06", "value_invalid"),
    (ENUM, "01", "value_invalid"),
    (["null", "int"], "0400", "value_invalid"),
    (["null", "int"], "8000", "value_invalid"),
    (["int", "string", "null"], "06", "value_invalid"),
    (["int", "string", "null"], "01", "value_invalid"),
    (["int", "string", "null"], "8000", "value_invalid"),
    (["int", "string", "null"], "02", "truncated"),
    (MONEY, "00", "value_invalid"),
    (MONEY, "42" + "01" * 33, "limit_exceeded"),
    (INTS, "", "truncated"),
    (INTS, "0202", "truncated"),
    (INTS, "0602", "truncated"),
    (INTS, "068000", "truncated"),
    (INTS, "0000", "trailing_bytes"),
    (INTS, "80a8d6b907" + "00" * 20, "limit_exceeded"),
    (INTS, "ffffffffffffffffff01" + "0200", "limit_exceeded"),
    (INTS, "feffffffffffffffff01" + "0200", "limit_exceeded"),
    (INTS, "01" + "04" + "02" + "00", "value_invalid"),
    (INTS, "01" + "00" + "02" + "00", "value_invalid"),
    (INTS, "01" + "01" + "02" + "00", "value_invalid"),
    (INTS, "01" + "40" + "02" + "00", "truncated"),
    (INTS, "800000", "value_invalid"),
    (TAGS, "02" + "0261" + "0262" + "02" + "0261" + "0263" + "00", "value_invalid"),
    (TAGS, "04" + "0261" + "0262" + "0261" + "0262" + "00", "value_invalid"),
    (TAGS, "02" + "02ff" + "0262" + "00", "value_invalid"),
    (TAGS, "02" + "0261", "truncated"),
    (PERSON, "0261" + "04", "value_invalid"),
    (PERSON, "0261", "truncated"),
    (PEOPLE, "02" + "0261" + "00", "truncated"),
    ({"type": "array", "items": INTS}, "0280a8d6b90700", "limit_exceeded"),
]


def wire_rows() -> Iterator[dict[str, Any]]:
    """Yield the rows above, behind a grant of another field, so that what nobody asked for is read too."""
    for kind, source, code in WIRE:
        fields = [{"name": "other", "type": "null"}, {"name": "f", "type": kind}]
        yield {"fields": fields, "source": source, "grants": [grant(name="other")], "quarantined": code}


ABOUT = {
    "types": ("every type is kept byte for byte, null or not", kept_rows),
    "transforms": ("type × transform × null: the bytes, or the code of a value that has no such form", changed_rows),
    "refused": ("type × transform: agreements that do not compile, with the place of the fault", refused_rows),
    "operators": ("type × operator × null: T true, F false, U unknown", operator_rows),
    "unfit": ("conditions that do not compile, with the place of the fault", unfit_rows),
    "logic": ("all, any and not in three-valued logic", logic_rows),
    "elements": ("conditions on nested records, elements and union branches", element_rows),
    "nested": ("grants inside records, arrays, maps and unions", nested_rows),
    "wire": ("bytes that are no record, with their code", wire_rows),
}


def main() -> None:
    """Write one file per table."""
    for name, (about, rows) in ABOUT.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=True)}" for row in rows())
        (HERE / f"{name}.json").write_text(f'{{"about": {json.dumps(about)}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
