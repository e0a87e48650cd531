"""The bounds of one record, of its schema and of the rules on it: each kernel takes what lies at the bound, and refuses one past it.

The decoder's own tests hold the reference to them value by value. A kernel may look at a part in one way where it is granted, in
another where a rule asks for it, and in a third where it is only passed over: each must find the bound.
"""

from typing import Any, Final

import pytest
from kernel_kit import decide, delivered, framed, plan_of, schema_of, terms

from hub.broker.batches import HEADER_BYTES, RECORD_OVERHEAD_BYTES
from hub.exchange.plan import OUTPUT_BYTES_MAX, Plan
from hub.exchange.reference.decode import ITEMS_MAX, RECORD_BYTES_MAX
from hub.exchange.reference.encode import varint
from hub.model import agreement as words
from hub.model.agreement import All, Condition, Every, Not, Rule
from hub.model.field_types import DECIMAL_BYTES_MAX
from hub.model.reasons import Reject
from hub.model.source_schema import DEPTH_MAX, TYPES_MAX, unsupported_schema
from hub.model.terms import RULE_CONDITIONS_MAX, RULE_DEPTH_MAX, RULE_VALUES_MAX

pytestmark = pytest.mark.usefixtures("each_kernel")

HEADER: Final = b"\x00\x00\x00\x00\x07"
INTS: Final = {"type": "array", "items": "int"}
TAGS: Final = {"type": "map", "values": "int"}
TWO_LISTS: Final = {"type": "record", "name": "Two", "fields": [{"name": "x", "type": INTS}, {"name": "y", "type": INTS}]}
ROOMY: Final = {"record_bytes_max": 2 * RECORD_BYTES_MAX, "batch_bytes_max": 3 * RECORD_BYTES_MAX}
"""Output has bounds of its own, which must not be what refuses here."""


def plans(kind: Any, rule: Rule | None = None) -> list[Any]:
    """Return a parameter for each way in which a kernel comes by field ``f0`` of ``kind``; behind it stands a boolean, ``f1``."""
    schemas = {7: schema_of(kind, "boolean")}
    granted = ("f0.x", "f0.y") if kind == TWO_LISTS else ("f0",)
    ways = {"granted": terms("a", *granted), "passed over": terms("a", "f1")}
    if rule is not None:
        ways["asked"] = terms("a", "f1", rows=rule)
    return [pytest.param(plan_of(found, schemas=schemas, **ROOMY), id=way) for way, found in ways.items()]


def code_of(plan: Plan, body: bytes) -> Reject | None:
    """Return why the record of ``body`` is refused; None where it is delivered. A good record before and behind it always is."""
    good = framed({"f0": _GOOD[plan.writers[7].fields[0].type.base], "f1": False}, plan.writers[7].declared)
    verdict = decide(plan, (None, good), (None, HEADER + body + b"\x01"), (None, good))
    codes = [Reject(record.code) for record in verdict.quarantined]
    assert verdict.records == 3
    assert verdict.entries[0].delivered == 3 - len(codes) == len(delivered(verdict, "share.parking-office.a"))
    assert len(codes) <= 1
    return codes[0] if codes else None


_GOOD: Final[dict[str, Any]] = {"array": [0], "map": {"a": 0}, "record": {"x": [0], "y": [0]}, "string": "x", "bytes": b"\x01"}


@pytest.mark.parametrize("plan", plans(INTS, Every(Condition("f0[]", "eq", 0))))
def test_an_array_has_as_many_items_as_the_bound_and_not_one_more(plan: Plan) -> None:
    """In one block, or in as many blocks as items: a chain of blocks is no way round."""
    each = b"\x02\x00"

    assert code_of(plan, varint(ITEMS_MAX) + b"\x00" * ITEMS_MAX + b"\x00") is None
    assert code_of(plan, each * ITEMS_MAX + b"\x00") is None
    assert code_of(plan, varint(ITEMS_MAX + 1) + b"\x00" * (ITEMS_MAX + 1) + b"\x00") is Reject.LIMIT
    assert code_of(plan, each * (ITEMS_MAX + 1) + b"\x00") is Reject.LIMIT


@pytest.mark.parametrize("plan", plans(TAGS, Every(Condition("f0{}", "eq", 0))))
def test_a_map_has_as_many_entries_as_the_bound_and_not_one_more(plan: Plan) -> None:
    """Likewise; each key once."""
    entries = [b"\x0a%05d\x00" % place for place in range(ITEMS_MAX + 1)]
    at_bound, past_it = b"".join(entries[:-1]), b"".join(entries)

    assert code_of(plan, varint(ITEMS_MAX) + at_bound + b"\x00") is None
    assert code_of(plan, b"".join(b"\x02" + entry for entry in entries[:-1]) + b"\x00") is None
    assert code_of(plan, varint(ITEMS_MAX + 1) + past_it + b"\x00") is Reject.LIMIT
    assert code_of(plan, b"".join(b"\x02" + entry for entry in entries) + b"\x00") is Reject.LIMIT


@pytest.mark.parametrize("plan", plans(TWO_LISTS, Every(Condition("f0.y[]", "eq", 0))))
def test_each_list_has_the_bound_for_itself(plan: Plan) -> None:
    """The record's own bound holds them together."""
    full = varint(ITEMS_MAX) + b"\x00" * ITEMS_MAX + b"\x00"
    fuller = varint(ITEMS_MAX + 1) + b"\x00" * (ITEMS_MAX + 1) + b"\x00"

    assert code_of(plan, full + full) is None
    assert code_of(plan, full + fuller) is Reject.LIMIT


@pytest.mark.parametrize("plan", plans("string", Condition("f0", "startsWith", "x")))
def test_a_record_is_as_long_as_the_bound_and_not_one_byte_more(plan: Plan) -> None:
    """A compressed batch can hold a record of any length; framing counts."""
    length = RECORD_BYTES_MAX - len(HEADER) - 3 - 1
    assert len(HEADER + varint(length) + b"x" * length + b"\x01") == RECORD_BYTES_MAX

    assert code_of(plan, varint(length) + b"x" * length) is None
    assert code_of(plan, varint(length + 1) + b"x" * (length + 1)) is Reject.LIMIT


MONEY: Final = {"type": "bytes", "logicalType": "decimal", "precision": 76, "scale": 0}


@pytest.mark.parametrize("plan", plans(MONEY, Condition("f0", "gt", 0)))
def test_a_decimal_takes_as_many_bytes_as_the_bound_and_not_one_more(plan: Plan) -> None:
    """Readers downstream turn it into text in quadratic time."""
    assert code_of(plan, varint(DECIMAL_BYTES_MAX) + b"\x01" * DECIMAL_BYTES_MAX) is None
    assert code_of(plan, varint(DECIMAL_BYTES_MAX + 1) + b"\x01" * (DECIMAL_BYTES_MAX + 1)) is Reject.LIMIT


IN_A_BATCH: Final = HEADER_BYTES + RECORD_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("limits", "most"),
    [({}, OUTPUT_BYTES_MAX - IN_A_BATCH), ({"record_bytes_max": 1_000}, 1_000), ({"batch_bytes_max": 1_000}, 1_000 - IN_A_BATCH)],
)
def test_an_output_record_is_as_long_as_the_bound_and_not_one_byte_more(limits: dict[str, int], most: int) -> None:
    """By its own bound or by that of a batch, whichever is less; key and framing count."""
    plan = plan_of(terms("a", "f0", key="keep"), schemas={7: schema_of("string")}, **limits)
    length = most - len(b"key") - len(HEADER) - len(varint(most))

    at_bound = decide(plan, (b"key", HEADER + varint(length) + b"x" * length))
    past_it = decide(plan, (b"key", HEADER + varint(length + 1) + b"x" * (length + 1)), (b"key", HEADER + b"\x02x"))

    ((key, value),) = delivered(at_bound, "share.parking-office.a")
    assert len(key or b"") + len(value or b"") == most
    assert [record.code for record in past_it.quarantined] == [Reject.OUTPUT_TOO_LARGE]
    assert past_it.entries[0].delivered == 1


def in_array(kind: Any, body: bytes, _level: int) -> tuple[Any, bytes]:
    """Return an array of one item."""
    return {"type": "array", "items": kind}, b"\x02" + body + b"\x00"


def in_map(kind: Any, body: bytes, _level: int) -> tuple[Any, bytes]:
    """Return a map of one entry."""
    return {"type": "map", "values": kind}, b"\x02\x02a" + body + b"\x00"


def in_record(kind: Any, body: bytes, level: int) -> tuple[Any, bytes]:
    """Return a record of two fields, of which only the first leads deeper."""
    return {"type": "record", "name": f"N{level}", "fields": [{"name": "x", "type": kind}, {"name": "y", "type": "int"}]}, body + b"\x02"


def tower(wrap: Any, levels: int) -> tuple[Any, bytes]:
    """Return a type nested so many levels deep, and a value of it with a 5 at its bottom."""
    kind, body = "int", b"\x0a"
    for level in range(levels - 1):
        kind, body = wrap(kind, body, level)
    return kind, body


@pytest.mark.parametrize(("wrap", "step"), [(in_array, "[]"), (in_map, "{}"), (in_record, ".x")])
def test_the_deepest_schema_is_decided(wrap: Any, step: str) -> None:
    """Granted and asked down to its bottom; one level more is no schema that a plan may have."""
    kind, body = tower(wrap, DEPTH_MAX)
    path = "f0" + step * (DEPTH_MAX - 1)
    yes, no = (terms(name, path, rows=Condition(path, "eq", value)) for name, value in (("yes", 5), ("no", 6)))

    verdict = decide(plan_of(yes, no, schemas={7: schema_of(kind)}), (None, HEADER + body), (None, HEADER + body[:-1]))

    assert [(entry.agreement_id, entry.delivered, entry.filtered) for entry in verdict.entries] == [("no", 0, 1), ("yes", 1, 0)]
    assert [record.code for record in verdict.quarantined] == [Reject.TRUNCATED]
    ((_, value),) = delivered(verdict, "share.parking-office.yes")
    assert (value or b"")[5:] == (b"\x0a" if wrap is in_record else body)
    assert unsupported_schema(schema_of(kind)) == ()
    assert unsupported_schema(schema_of(tower(wrap, DEPTH_MAX + 1)[0])) != ()


def test_the_widest_schema_is_decided() -> None:
    """The record itself is a type too; one field more is no schema that a plan may have."""
    schema = schema_of(*["int"] * (TYPES_MAX - 1))
    plan = plan_of(terms("a", "f0", f"f{TYPES_MAX - 2}"), schemas={7: schema})

    verdict = decide(plan, (None, HEADER + b"\x02" * (TYPES_MAX - 2) + b"\x04"), (None, HEADER + b"\x02" * (TYPES_MAX - 2)))

    assert [(value or b"")[5:] for _, value in delivered(verdict, "share.parking-office.a")] == [b"\x02\x04"]
    assert [record.code for record in verdict.quarantined] == [Reject.TRUNCATED]
    assert unsupported_schema(schema_of(*["int"] * TYPES_MAX)) != ()


def deepest(wrap: Any, operator: str) -> Rule:
    """Return a rule of as many levels as it may have."""
    rule: Rule = Condition("f0", operator, 5)
    for _ in range(RULE_DEPTH_MAX - 1):
        rule = wrap(rule)
    return rule


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(deepest(Not, "neq"), id="not"),
        pytest.param(deepest(lambda rule: All((rule,)), "eq"), id="all"),
        pytest.param(deepest(lambda rule: words.Any((rule,)), "eq"), id="any"),
        pytest.param(words.Any(tuple(Condition("f0", "eq", number) for number in range(7 - RULE_CONDITIONS_MAX, 6))), id="conditions"),
        pytest.param(Condition("f0", "isAnyOf", tuple(range(6 - RULE_VALUES_MAX, 6))), id="values"),
    ],
)
def test_the_largest_rule_is_decided(rule: Rule) -> None:
    """As deep, of as many conditions or of as many values as terms may have (`tests/unit/model/test_terms.py` goes one past each)."""
    kind = schema_of("int")
    plan = plan_of(terms("a", "f0", rows=rule), schemas={7: kind})

    verdict = decide(plan, (None, framed({"f0": 5}, kind)), (None, framed({"f0": 6}, kind)))

    assert [(value or b"")[5:] for _, value in delivered(verdict, "share.parking-office.a")] == [b"\x0a"]
    assert verdict.entries[0].filtered == 1
