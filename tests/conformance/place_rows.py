"""Rows of grants inside records, arrays, maps and unions, and of bytes that are no record."""

from collections.abc import Iterator
from typing import Any

from row_words import ENUM, FIXED, INTS, MONEY, NAME, NAMES, NULL, PEOPLE, PERSON, TAGS, TEXTS, encode, grant

# nested.json: grants inside records, arrays, maps and unions.

CITY = {"type": "record", "name": "City", "fields": [{"name": "zip", "type": "string"}, {"name": "area", "type": "int"}]}
HOME = {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", CITY]}, {"name": "door", "type": "string"}]}
ZIP = {"type": "record", "name": "City", "fields": [{"name": "zip", "type": "string"}]}
HOME_ZIP = {"type": "record", "name": "Home", "fields": [{"name": "city", "type": ["null", ZIP]}]}
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
        NAMES,
        [{"name": "a"}, {"name": "b"}],
    ),
    (PEOPLE, [{"name": "abc", "age": 5}], [grant("mask", "f[].name", keep_first=1)], NAMES, [{"name": "a**"}]),
    (
        {"type": "map", "values": PERSON},
        {"k": {"name": "a", "age": 1}},
        [grant(name="f{}.name")],
        NAMES_BY,
        {"k": {"name": "a"}},
    ),
    (
        HOME,
        {"city": {"zip": "310000", "area": 9}, "door": "1"},
        ZIP_2,
        HOME_ZIP,
        {"city": {"zip": "31"}},
    ),
    (HOME, {"city": None, "door": "1"}, ZIP_2, HOME_ZIP, {"city": None}),
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
