"""Rows of types and transforms: what is delivered of a value, and what no value of a type can become."""

from collections.abc import Iterator
from typing import Any

from row_words import (
    ALIKE,
    DATE,
    DURATION,
    ENUM,
    FIXED,
    FIXED_MONEY,
    FIXED_UUID,
    ID,
    INF,
    INTS,
    LOCAL_MS,
    LOCAL_NS,
    LOCAL_US,
    MONEY,
    NAN,
    NAN_WITH_BITS,
    NULL,
    PEOPLE,
    PERSON,
    STAMP_MS,
    STAMP_NS,
    STAMP_US,
    TAGS,
    TEXTS,
    TIME_MS,
    TIME_US,
    UNITS,
    UUID,
    encode,
    grant,
    money,
)

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
    (STAMP_NS, [0, -1, 1_800_000_000_000_000_000, 2**63 - 1, -(2**63)]),
    (LOCAL_MS, [0]),
    (LOCAL_US, [0]),
    (LOCAL_NS, [0, -1, 2**63 - 1]),
    (UUID, [ID]),
    (MONEY, [money(0), money(1250), money(-1), b"\x00\x00\x01"]),
    (FIXED_MONEY, [money(-2, 4)]),
    # 13 months, 2 days and 3 milliseconds, little-endian; and bytes that are no duration, which nobody looks at
    (DURATION, [bytes.fromhex("0d0000000200000003000000"), b"\xff" * 12]),
    (FIXED_UUID, [bytes.fromhex(ID.replace("-", "")), bytes(16)]),
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
    yield {"type": "null", "source": "", "grants": [grant()], "delivered": ""}


# transforms.json: type × transform × null. Refused ones name the place in the agreement.

CONSTANTS = [
    ("withheld", "string", "107769746868656c64"),
    (True, "boolean", "01"),
    (0, "int", "00"),
    (-1, "long", "01"),
    ("9223372036854775807", "long", "feffffffffffffffff01"),
    (1.5, "float", "0000c03f"),
    (1.5, "double", "000000000000f83f"),
]
# 2026-11-24T08:30:15, and where each unit around it begins, in seconds: in Shanghai, which is eight hours earlier in UTC; as it stands.
BEGINS = {
    "Shanghai": {
        "second": 1_795_480_215,
        "minute": 1_795_480_200,
        "hour": 1_795_478_400,
        "day": 1_795_449_600,
        "month": 1_793_462_400,
        "quarter": 1_790_784_000,
        "year": 1_767_196_800,
    },
    "local": {
        "second": 1_795_509_015,
        "minute": 1_795_509_000,
        "hour": 1_795_507_200,
        "day": 1_795_478_400,
        "month": 1_793_491_200,
        "quarter": 1_790_812_800,
        "year": 1_767_225_600,
    },
    "clock": {"second": 30_615, "minute": 30_600, "hour": 28_800},
}
# Units of each type in a second, and as many of them as .123456789 is.
FINE = [
    ("Shanghai", STAMP_MS, 1_000, 123),
    ("Shanghai", STAMP_US, 1_000_000, 123_456),
    ("Shanghai", STAMP_NS, 1_000_000_000, 123_456_789),
    ("local", LOCAL_MS, 1_000, 123),
    ("local", LOCAL_US, 1_000_000, 123_456),
    ("local", LOCAL_NS, 1_000_000_000, 123_456_789),
    ("clock", TIME_MS, 1_000, 123),
    ("clock", TIME_US, 1_000_000, 123_456),
]
CHANGED: list[tuple[Any, Any, dict[str, Any], Any, Any]] = [
    ("string", "13800138000", grant("mask", keep_last=4), "string", "*******8000"),
    ("string", "ab", grant("mask", keep_first=1, keep_last=1), "string", "**"),
    ("string", "", grant("mask"), "string", ""),
    ("string", "a😀浙", grant("mask", keep_first=2), "string", "a😀*"),
    (ENUM, "green", grant("mask", keep_first=1), "string", "g****"),
    (UUID, ID, grant("prefix", characters=8), "string", "11111111"),
    (UUID, ID, grant("mask", keep_last=4), "string", "********************************1111"),
    (UUID, ID, grant("truncate", characters=13), "string", "11111111-1111"),
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
    # numbers are the decimals that were written, and so are steps
    *(
        (kind, number, grant("truncate", step=0.1), kind, number)
        for kind in ("double", "float")
        for number in (36.3, 36.9, 37.4, 0.3, -0.3)
    ),
    ("double", 36.55, grant("truncate", step=0.1), "double", 36.5),
    ("float", 36.55, grant("truncate", step="0.1"), "float", 36.5),
    ("double", -0.05, grant("truncate", step="0.1"), "double", -0.1),
    ("double", 120.19, grant("truncate", step="0.01"), "double", 120.19),
    ("double", 120.19, grant("truncate", step="0.25"), "double", 120.0),
    ("double", 0.1 + 0.2, grant("truncate", step="0.1"), "double", 0.3),
    ("double", 5e-324, grant("truncate", step="0.1"), "double", 0.0),
    ("double", -5e-324, grant("truncate", step="0.1"), "double", -0.1),
    ("double", 1e308, grant("truncate", step=0.1), "double", 1e308),
    ("double", -1.7976931348623157e308, grant("truncate", step="9" + 75 * "0"), "double", -1.7976931348623157e308),
    ("double", 123456789012345678.0, grant("truncate", step="0.001"), "double", 123456789012345680.0),
    ("double", 1e23, grant("truncate", step="70000000000000000000000"), "double", 7e22),
    # 9.8 as a float is another number than as a double, and both were written as 9.8
    ("float", 9.8, grant("truncate", step="0.2"), "float", 9.8),
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
    # 00:00 of 1988-06-01 in summer time (+09:00): that day, its month; the quarter began in standard time, as the year did
    (STAMP_MS, 581_094_000_000, grant("truncate", to="day"), STAMP_MS, 581_094_000_000),
    (STAMP_MS, 581_094_000_000, grant("truncate", to="month"), STAMP_MS, 581_094_000_000),
    (STAMP_MS, 581_094_000_000, grant("truncate", to="quarter"), STAMP_MS, 575_827_200_000),
    (STAMP_MS, 581_094_000_000, grant("truncate", to="year"), STAMP_MS, 567_964_800_000),
    (STAMP_MS, 581_093_999_999, grant("truncate", to="month"), STAMP_MS, 578_415_600_000),
    # 00:00 of 1985-06-03, before summer times came again; of 1990-09-15, its last day; of 1992-06-04, behind all
    (STAMP_MS, 486_576_000_000, grant("truncate", to="month"), STAMP_MS, 486_403_200_000),
    (STAMP_US, 653_324_400_000_000, grant("truncate", to="day"), STAMP_US, 653_324_400_000_000),
    (STAMP_NS, 653_324_400_000_000_000, grant("truncate", to="month"), STAMP_NS, 652_114_800_000_000_000),
    (STAMP_MS, 707_587_200_000, grant("truncate", to="month"), STAMP_MS, 707_328_000_000),
    # 1986-09-14 had the hour from 01:00 twice: either is an hour of its own, of one day; 1988-04-17 had none from 02:00
    (STAMP_MS, 527_013_000_000, grant("truncate", to="hour"), STAMP_MS, 527_011_200_000),
    (STAMP_MS, 527_016_600_000, grant("truncate", to="hour"), STAMP_MS, 527_014_800_000),
    (STAMP_MS, 527_016_600_000, grant("truncate", to="day"), STAMP_MS, 527_007_600_000),
    (STAMP_MS, 577_216_800_001, grant("truncate", to="hour"), STAMP_MS, 577_216_800_000),
    # June 1940 began at 01:00, when clocks showed 24:00 of the last of May; of 1940-06-14 20:00
    (STAMP_MS, -932_472_000_000, grant("truncate", to="month"), STAMP_MS, -933_667_200_000),
    # 1890-06-01 08:05:43 by mean time (+08:05:43): the second, minute, hour, day and year began 43 seconds before a minute in UTC
    (STAMP_MS, -2_511_475_199_999, grant("truncate", to="second"), STAMP_MS, -2_511_475_200_000),
    (STAMP_MS, -2_511_475_200_000, grant("truncate", to="minute"), STAMP_MS, -2_511_475_243_000),
    (STAMP_MS, -2_511_475_200_000, grant("truncate", to="hour"), STAMP_MS, -2_511_475_543_000),
    (STAMP_MS, -2_511_475_200_000, grant("truncate", to="day"), STAMP_MS, -2_511_504_343_000),
    (STAMP_MS, -2_511_475_200_000, grant("truncate", to="year"), STAMP_MS, -2_524_550_743_000),
    (LOCAL_MS, 86_399_999, grant("truncate", to="day"), LOCAL_MS, 0),
    (LOCAL_MS, 581_094_000_000, grant("truncate", to="day"), LOCAL_MS, 581_040_000_000),
    (LOCAL_US, -1, grant("truncate", to="day"), LOCAL_US, -86_400_000_000),
    *(
        (kind, BEGINS[where]["second"] * per_second + beyond, grant("truncate", to=unit), kind, second * per_second)
        for where, kind, per_second, beyond in FINE
        for unit, second in BEGINS[where].items()
    ),
    # the last nanosecond of 1969: 07:59:59 of the first of January in Shanghai; and the last of 1969 there
    (LOCAL_NS, -1, grant("truncate", to="second"), LOCAL_NS, -1_000_000_000),
    (LOCAL_NS, -1, grant("truncate", to="year"), LOCAL_NS, -365 * 86_400 * 1_000_000_000),
    (STAMP_NS, -1, grant("truncate", to="second"), STAMP_NS, -1_000_000_000),
    (STAMP_NS, -1, grant("truncate", to="year"), STAMP_NS, -28_800_000_000_000),
    (STAMP_NS, -28_800_000_000_001, grant("truncate", to="month"), STAMP_NS, (-31 * 86_400 - 28_800) * 1_000_000_000),
    (STAMP_NS, -28_800_000_000_001, grant("truncate", to="year"), STAMP_NS, (-365 * 86_400 - 28_800) * 1_000_000_000),
    # the last nanosecond of a long is of 2262-04-11T23:47:16, day 106,751; 2262-04-01 is 106,741 and 2262-01-01 is 106,651
    (STAMP_NS, 2**63 - 1, grant("truncate", to="second"), STAMP_NS, 9_223_372_036_000_000_000),
    (STAMP_NS, 2**63 - 1, grant("truncate", to="day"), STAMP_NS, (106_752 * 86_400 - 28_800) * 1_000_000_000),
    (STAMP_NS, 2**63 - 1, grant("truncate", to="month"), STAMP_NS, (106_741 * 86_400 - 28_800) * 1_000_000_000),
    (STAMP_NS, 2**63 - 1, grant("truncate", to="year"), STAMP_NS, (106_651 * 86_400 - 28_800) * 1_000_000_000),
    (LOCAL_NS, 2**63 - 1, grant("truncate", to="day"), LOCAL_NS, 106_751 * 86_400 * 1_000_000_000),
    # the first is of 1677-09-21T00:12:43, day -106,752; 1677-10-01 is -106,742 and 1677-10-31 is -106,712
    (LOCAL_NS, -(2**63) + 854_775_808, grant("truncate", to="second"), LOCAL_NS, -9_223_372_036_000_000_000),
    (LOCAL_NS, -106_712 * 86_400 * 1_000_000_000, grant("truncate", to="quarter"), LOCAL_NS, -106_742 * 86_400 * 1_000_000_000),
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
    ("double", 0.3, grant("bucket", width=0.1), "string", "[0.3,0.4)"),
    ("double", -0.3, grant("bucket", width="0.1"), "string", "[-0.3,-0.2)"),
    ("float", 36.3, grant("bucket", width="0.1"), "string", "[36.3,36.4)"),
    # as near to .2 as to .3, and written with the even digit
    ("double", 562949953421312.25, grant("bucket", width="0.1"), "string", "[562949953421312.2,562949953421312.3)"),
    ("float", 2097152.25, grant("bucket", width="0.1"), "string", "[2097152.2,2097152.3)"),
    ("double", 0.1, grant("bucket", edges=["0.10000000000000000001"]), "string", "<0.10000000000000000001"),
    ("double", 0.1, grant("bucket", edges=["0.09999999999999999999"]), "string", ">=0.09999999999999999999"),
    ("float", 0.1, grant("bucket", edges=["0.1000000001"]), "string", "<0.1000000001"),
    ("float", 0.1, grant("bucket", edges=[0.1]), "string", ">=0.1"),
    (MONEY, money(1299), grant("bucket", width="12.50"), "string", "[12.5,25)"),
    (MONEY, money(-1), grant("bucket", edges=["-0.01", "0"]), "string", "[-0.01,0)"),
    (FIXED_MONEY, money(1299, 4), grant("bucket", width="12.50"), "string", "[12.5,25)"),
    (FIXED_MONEY, money(-1, 4), grant("bucket", edges=["-0.01", "0"]), "string", "[-0.01,0)"),
    ("long", -1, grant("bucket", edges=[0, 2**53 - 1]), "string", "<0"),
    ("long", 2**53 - 1, grant("bucket", edges=[0, 2**53 - 1]), "string", ">=9007199254740991"),
    ("float", 2.75, grant("bucket", width=0.5), "string", "[2.5,3)"),
]
FAILED: list[tuple[Any, Any, dict[str, Any], str]] = [
    ("double", NAN, grant("bucket", edges=[0]), "transform_failed"),
    ("double", NAN, grant("bucket", width=1), "transform_failed"),
    ("double", INF, grant("bucket", width=1), "transform_failed"),
    ("double", 1e300, grant("bucket", width=1), "transform_failed"),
    ("float", -3.4e38, grant("truncate", step=1e38), "transform_failed"),
    ("int", -(2**31), grant("truncate", step=1000), "transform_failed"),
    ("long", -(2**63), grant("truncate", step=1000), "transform_failed"),
    (DATE, -(2**31), grant("truncate", to="year"), "transform_failed"),
    (STAMP_US, -(2**63), grant("truncate", to="day"), "transform_failed"),
    (STAMP_NS, -(2**63), grant("truncate", to="second"), "transform_failed"),
    (STAMP_NS, -(2**63), grant("truncate", to="hour"), "transform_failed"),
    (STAMP_NS, -(2**63), grant("truncate", to="day"), "transform_failed"),
    (LOCAL_NS, -(2**63), grant("truncate", to="second"), "transform_failed"),
    (LOCAL_NS, -106_712 * 86_400 * 1_000_000_000, grant("truncate", to="year"), "transform_failed"),
    (LOCAL_NS, -(2**63), grant("truncate", to="month"), "transform_failed"),
    (FIXED_MONEY, money(-(2**31), 4), grant("truncate", step=10), "transform_failed"),
]


def changed_rows() -> Iterator[dict[str, Any]]:
    """Yield each row required, and nullable in either order; null stays null."""
    for kind, value, given, out, want in CHANGED:
        yield {"type": kind, "source": encode(kind, value), "grants": [given], "delivered": encode(out, want)}
        for wrap in (lambda inner: ["null", inner], lambda inner: [inner, "null"]):
            source, target = wrap(kind), wrap(out)
            yield {"type": source, "source": encode(source, value), "grants": [given], "delivered": encode(target, want)}
            yield {"type": source, "source": encode(source, NULL), "grants": [given], "delivered": encode(target, NULL)}
    for kind, value, _ in ALIKE:
        for source in (kind, ["null", kind], [kind, "null"]):
            yield {"type": source, "source": encode(source, value), "grants": [grant("nullify")], "delivered": "00"}
        for source in (["null", kind], [kind, "null"]):
            yield {"type": source, "source": encode(source, NULL), "grants": [grant("nullify")], "delivered": "00"}
        for constant, avro_type, wanted in CONSTANTS:
            given = grant("constant", value=constant, avro_type=avro_type)
            yield {"type": kind, "source": encode(kind, value), "grants": [given], "delivered": wanted}
            yield {"type": ["null", kind], "source": encode(["null", kind], NULL), "grants": [given], "delivered": wanted}
    yield {"type": "null", "source": "", "grants": [grant("nullify")], "delivered": ""}
    yield {"type": "null", "source": "", "grants": [grant("constant", value=0, avro_type="int")], "delivered": "00"}
    for kind, value, given, code in FAILED:
        yield {"type": kind, "source": encode(kind, value), "grants": [given], "quarantined": code}


def refused_rows() -> Iterator[dict[str, Any]]:
    """Yield transforms that fit no value of a type."""
    fits = (
        (grant("mask"), {"text", "enum"}),
        (grant("prefix", characters=1), {"text", "enum"}),
        (grant("pseudonym", identifier="name"), {"text"}),
        (grant("bucket", width=1), {"number"}),
        (grant("truncate", characters=1), {"text"}),
        (grant("truncate", step=1), {"number"}),
        (grant("truncate", to="year"), set(UNITS)),
    )
    for kind, sort in [*((kind, sort) for kind, _, sort in ALIKE), ("null", "other"), (PERSON, "record"), (PEOPLE, "record")]:
        for given, sorts in fits:
            if sort not in sorts:
                place = "fields[0].name" if sort == "record" else f"fields[0].{given['transform']}"
                yield {"type": kind, "grants": [given], "refused": place}
        for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year"):
            if unit not in UNITS.get(sort, (unit,)):
                yield {"type": kind, "grants": [grant("truncate", to=unit)], "refused": "fields[0].truncate.to"}
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
