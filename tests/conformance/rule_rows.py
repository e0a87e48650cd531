"""Rows of operators and rules: of which values a condition is true, false or unknown, and which conditions mean nothing."""

from collections.abc import Iterator
from typing import Any

from row_words import (
    ALIKE,
    DATE,
    ENUM,
    FIXED_MONEY,
    ID,
    INF,
    INTS,
    LOCAL_MS,
    LOCAL_NS,
    LOCAL_US,
    MIXED,
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
    UUID,
    encode,
    every,
    money,
    when,
)

# operators.json: type × operator × null. T true, F false, U unknown.

# A value below, at and above the operand, for every operator.
ORDER = {"eq": "FTF", "neq": "TFT", "gt": "FFT", "gteq": "FTT", "lt": "TFF", "lteq": "TTF", "isAnyOf": "FTF", "isNoneOf": "TFT"}
ORDERED: list[tuple[Any, tuple[Any, Any, Any], Any]] = [
    ("int", (4, 5, 6), 5),
    ("long", (2**53, 2**53 + 1, 2**53 + 2), "9007199254740993"),
    ("float", (0.0999999940395355, 0.1, 0.1000000089406967), 0.1),
    ("double", (0.09999999999999999, 0.1, 0.10000000000000002), 0.1),
    ("string", ("浙", "浙A", "浙B"), "浙A"),
    # symbols by code point, whatever their place
    (ENUM, ("blue", "green", "red"), "green"),
    (UUID, (f"{ID[:-1]}0", ID, f"{ID[:-1]}2"), ID),
    (DATE, (20_780, 20_781, 20_782), "2026-11-24"),
    (TIME_MS, (30_599_999, 30_600_000, 30_600_001), "08:30"),
    (TIME_US, (30_600_000_249, 30_600_000_250, 30_600_000_251), "08:30:00.00025"),
    (STAMP_MS, (1_795_480_215_122, 1_795_480_215_123, 1_795_480_215_124), "2026-11-24T08:30:15.123"),
    (STAMP_US, (1_795_480_215_123_455, 1_795_480_215_123_456, 1_795_480_215_123_457), "2026-11-24T00:30:15.123456Z"),
    (
        STAMP_NS,
        (1_795_480_215_123_456_788, 1_795_480_215_123_456_789, 1_795_480_215_123_456_790),
        "2026-11-24T08:30:15.123456789+08:00",
    ),
    (LOCAL_MS, (1_795_509_015_122, 1_795_509_015_123, 1_795_509_015_124), "2026-11-24T08:30:15.123"),
    (LOCAL_US, (1_795_509_015_123_455, 1_795_509_015_123_456, 1_795_509_015_123_457), "2026-11-24T08:30:15.123456"),
    (LOCAL_NS, (1_795_509_015_123_456_788, 1_795_509_015_123_456_789, 1_795_509_015_123_456_790), "2026-11-24 08:30:15.123456789"),
    (MONEY, (money(1249), money(1250), money(1251)), "12.50"),
    (FIXED_MONEY, (money(-2, 4), money(-1, 4), money(0, 4)), "-0.01"),
]
OPERATORS: list[tuple[Any, Any, str, str, Any]] = [
    ("boolean", True, "T", "eq", True),
    ("boolean", False, "F", "eq", True),
    ("boolean", False, "T", "neq", True),
    ("boolean", True, "T", "isAnyOf", [True, False]),
    ("boolean", True, "F", "neq", True),
    ("boolean", False, "F", "isAnyOf", [True]),
    ("boolean", True, "F", "isNoneOf", [True]),
    ("boolean", False, "T", "isNoneOf", [True]),
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
    ("double", NAN, "T", "isNull", False),
    ("double", NAN_WITH_BITS, "T", "isNull", False),
    *(("float", NAN, truth, operator, 1.0) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTFFFF", strict=True)),
    ("float", NAN, "F", "isAnyOf", [1.0]),
    ("float", NAN, "T", "isNoneOf", [1.0]),
    ("float", NAN, "F", "isNull", True),
    ("float", NAN, "T", "isNull", False),
    *(("float", INF, truth, operator, 1.0) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTTTFF", strict=True)),
    *(("float", -INF, truth, operator, 1.0) for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTFFTT", strict=True)),
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
    (ENUM, "red", "F", "startsWith", "gr"),
    (ENUM, "red", "F", "isAnyOf", ["pink"]),
    (ENUM, "red", "T", "isNoneOf", ["pink"]),
    (UUID, ID, "T", "startsWith", "1111"),
    (UUID, ID, "F", "startsWith", "2"),
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
    # nanoseconds of our time lie beyond 2^53: the raw integer is text; what no long of them reaches is beyond every value
    (STAMP_NS, 1_795_480_215_123_456_789, "T", "eq", "1795480215123456789"),
    (STAMP_NS, 1_795_480_215_123_456_788, "F", "eq", "1795480215123456789"),
    (STAMP_NS, 0, "T", "eq", "1970-01-01T08:00:00"),
    (STAMP_NS, 0, "T", "eq", 0),
    (STAMP_NS, -1, "T", "eq", "1970-01-01T07:59:59.999999999"),
    (LOCAL_NS, -1, "T", "lt", "1970-01-01"),
    *(
        (STAMP_NS, 2**63 - 1, truth, operator, "9999-12-31")
        for operator, truth in zip(("eq", "neq", "gt", "gteq", "lt", "lteq"), "FTFFTT", strict=True)
    ),
    (STAMP_NS, 2**63 - 1, "F", "isAnyOf", ["9999-12-31"]),
    (STAMP_NS, 2**63 - 1, "T", "isNoneOf", ["9999-12-31"]),
    (LOCAL_NS, -(2**63), "T", "gt", "0001-01-01T00:00:00"),
    (LOCAL_NS, -(2**63), "F", "lteq", "0001-01-01T00:00:00"),
    # zeros behind the last digit that a field has are no finer time
    (STAMP_MS, 1, "T", "eq", "1970-01-01T08:00:00.001000000"),
    (TIME_US, 30_600_000_001, "T", "eq", "08:30:00.000001000"),
    (MONEY, money(1250), "T", "eq", "12.50"),
    (MONEY, money(1250), "T", "eq", 12.5),
    (MONEY, b"\x00\x00\x04\xe2", "T", "eq", "12.50"),
    (MONEY, money(1250), "F", "eq", "12.501"),
    (MONEY, money(1250), "T", "lt", "12.501"),
    (MONEY, money(-1), "T", "lt", 0),
    (FIXED_MONEY, money(-1, 4), "T", "isAnyOf", ["-0.01"]),
    *((kind, value, "F", "isNull", True) for kind, value, _ in ALIKE),
    *((kind, value, "T", "isNull", False) for kind, value, _ in ALIKE),
]


def operator_rows() -> Iterator[dict[str, Any]]:
    """Yield each row required and nullable; of null every operator but isNull is unknown."""
    for kind, values, operand in ORDERED:
        for operator, truths in ORDER.items():
            rule = when(operator, [operand] if operator in {"isAnyOf", "isNoneOf"} else operand)
            for value, truth in zip(values, truths, strict=True):
                yield {"type": kind, "source": encode(kind, value), "rows": rule, "truth": truth}
            for union in (["null", kind], [kind, "null"]):
                yield {"type": union, "source": encode(union, values[1]), "rows": rule, "truth": truths[1]}
                yield {"type": union, "source": encode(union, NULL), "rows": rule, "truth": "U"}
    yield {"type": "null", "source": "", "rows": when("isNull", True), "truth": "T"}
    yield {"type": "null", "source": "", "rows": when("isNull", False), "truth": "F"}
    for kind, value, truth, operator, operand in OPERATORS:
        rule = when(operator, operand)
        yield {"type": kind, "source": encode(kind, value), "rows": rule, "truth": truth}
        for union in (["null", kind], [kind, "null"]):
            yield {"type": union, "source": encode(union, value), "rows": rule, "truth": truth}
            of_null = "U" if operator != "isNull" else "T" if operand else "F"
            yield {"type": union, "source": encode(union, NULL), "rows": rule, "truth": of_null}


def unfit_rows() -> Iterator[dict[str, Any]]:
    """Yield conditions that mean nothing, each with its place."""
    for kind, sort in [*((kind, sort) for kind, _, sort in ALIKE), ("null", "other"), (PERSON, "other"), (PEOPLE, "other")]:
        for operator in ORDER if sort == "other" else ("gt", "gteq", "lt", "lteq") if sort == "boolean" else ():
            yield {
                "type": kind,
                "rows": when(operator, ["x"] if operator in {"isAnyOf", "isNoneOf"} else "x"),
                "refused": f"rows.{operator}",
            }
        if sort not in {"text", "enum"}:
            yield {"type": kind, "rows": when("startsWith", "1"), "refused": "rows.startsWith"}
    for kind, operator, operand, place in (
        ("int", "eq", "five", "rows.eq"),
        ("int", "eq", [5], "rows.eq"),
        ("int", "isAnyOf", 5, "rows.isAnyOf"),
        ("int", "isAnyOf", [5, "five"], "rows.isAnyOf[1]"),
        ("int", "like", 5, "rows"),
        ("string", "eq", None, "rows.eq"),
        ("string", "isNull", "yes", "rows.isNull"),
        (DATE, "eq", "2026-02-30", "rows.eq"),
        (TIME_MS, "eq", "08:30:00.0001", "rows.eq"),
        (TIME_US, "eq", "08:30:00.0000001", "rows.eq"),
        (STAMP_MS, "eq", "2026-11-24T08:30:00.0001", "rows.eq"),
        (STAMP_US, "eq", "2026-11-24T08:30:00.000000001", "rows.eq"),
        (STAMP_NS, "eq", "2026-11-24T08:30:00.0000000001", "rows.eq"),
        (STAMP_NS, "eq", 2**53, "rows.eq"),
        (LOCAL_NS, "eq", "2026-11-24T08:30:00Z", "rows.eq"),
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
        yield {"type": kind, "rows": when("isNull", True, field), "refused": "rows.field"}
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
