"""The strict decoder on arrays, maps, records and unions: values, blocks and limits."""

import time
from typing import Any

import pytest
from kernel_kit import schema_of

from hub.exchange.reference.decode import ITEMS_MAX, RECORD_BYTES_MAX, Decoded, Rejected, compile_decoder
from hub.exchange.reference.encode import varint
from hub.model.reasons import Reject
from hub.model.source_schema import read_schema

HEADER = b"\x00\x00\x00\x00\x07"
INTS = {"type": "array", "items": "int"}
TAGS = {"type": "map", "values": "int"}
PAIR = {"type": "record", "name": "P", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"]}]}
QUICK_S = 2.0
"""For a thousand refusals on a machine that is busy; a billion items would take minutes."""


def decode(body: bytes, *types: Any) -> Decoded:
    """Read a body of a record with fields of the types."""
    return compile_decoder(read_schema(schema_of(*types)))(HEADER + body)


def code_of(body: bytes, *types: Any) -> Reject:
    """Return why a body is refused."""
    with pytest.raises(Rejected) as refused:
        decode(body, *types)
    return refused.value.code


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        (INTS, b"\x00", []),
        (INTS, b"\x04\x02\x04\x00", [1, 2]),
        (INTS, b"\x02\x02\x02\x04\x00", [1, 2]),
        (INTS, b"\x03\x04\x02\x04\x00", [1, 2]),
        (TAGS, b"\x00", {}),
        (TAGS, b"\x04\x02b\x02\x02a\x04\x00", {"b": 1, "a": 2}),
        (PAIR, b"\x02\x02\x02x", [1, "x"]),
        (["null", PAIR], b"\x00", None),
        (["null", PAIR], b"\x02\x02\x00", [1, None]),
        (["int", "null", "string"], b"\x00\x0a", (0, 5)),
        (["int", "null", "string"], b"\x02", None),
        (["int", "null", "string"], b"\x04\x02x", (2, "x")),
        (["string"], b"\x00\x02x", (0, "x")),
        ({"type": "array", "items": PAIR}, b"\x02\x02\x00\x00", [[1, None]]),
        ({"type": "array", "items": INTS}, b"\x04\x00\x02\x02\x00\x00", [[], [1]]),
    ],
)
def test_a_nested_value_is_read_and_its_bytes_are_known(kind: Any, body: bytes, value: Any) -> None:
    """In one block or in several, with or without their size."""
    found = decode(body + b"\x02", kind, "int")

    assert found.values == [value, 1]
    assert found.ends == [5, 5 + len(body), 6 + len(body)]


@pytest.mark.parametrize("claim", [10**9, 2**62, -(10**9), -(2**63), ITEMS_MAX + 1])
@pytest.mark.parametrize("kind", [INTS, TAGS, {"type": "array", "items": PAIR}])
def test_a_list_that_claims_a_billion_items_costs_nothing(claim: int, kind: Any) -> None:
    """Counts are held against the limit before the first item is read."""
    body = varint(claim) + (varint(20) if claim < 0 else b"") + b"\x00" * 20
    began = time.perf_counter()

    codes = {code_of(body, kind) for _ in range(100)}

    assert codes == {Reject.LIMIT}
    assert time.perf_counter() - began < QUICK_S


def test_a_list_has_as_many_items_as_the_limit_and_not_one_more() -> None:
    """In one block, or in as many blocks as items: a chain of blocks is no way round."""
    each = b"\x02\x00"
    assert len(decode(varint(ITEMS_MAX) + b"\x00" * ITEMS_MAX + b"\x00", INTS).values[0]) == ITEMS_MAX
    assert len(decode(each * ITEMS_MAX + b"\x00", INTS).values[0]) == ITEMS_MAX
    assert code_of(varint(ITEMS_MAX + 1) + b"\x00" * ITEMS_MAX + b"\x00\x00", INTS) is Reject.LIMIT
    assert code_of(each * (ITEMS_MAX + 1) + b"\x00", INTS) is Reject.LIMIT


def test_a_count_beyond_the_rest_of_the_body_is_refused_before_any_item() -> None:
    """Every item takes a byte at least."""
    assert code_of(varint(21) + b"\x00" * 20, INTS) is Reject.TRUNCATED


@pytest.mark.parametrize("items", ["null", {"type": "record", "name": "Z", "fields": [{"name": "z", "type": "null"}]}])
def test_items_that_take_no_bytes_have_no_decoder(items: Any) -> None:
    """Five bytes could claim a billion of them; a worker does not rely on the gate for it."""
    with pytest.raises(Exception, match="HUB-AGREE-005"):
        read_schema(schema_of({"type": "array", "items": items}))


def test_an_empty_block_ends_the_list_also_where_it_says_its_size() -> None:
    """A chain of empty blocks is no list: what follows the first is of the next field."""
    assert decode(b"\x00\x00", INTS, INTS).values == [[], []]
    assert code_of(b"\x00\x00", INTS) is Reject.TRAILING


@pytest.mark.parametrize("size", [b"\x00", b"\x04", b"\x01"])
def test_the_size_of_a_block_must_be_right(size: bytes) -> None:
    """A reader that skips by it would end elsewhere."""
    assert code_of(b"\x01" + size + b"\x02" + b"\x00", INTS) in {Reject.VALUE_INVALID, Reject.TRUNCATED}


@pytest.mark.parametrize("body", [b"\x04\x02a\x00\x02a\x02\x00", b"\x02\x02a\x00\x02\x02a\x02\x00"])
def test_a_map_that_holds_a_key_twice_is_refused(body: bytes) -> None:
    """Readers do not agree which of the two counts, so a rule and a consumer might not."""
    assert code_of(body, TAGS) is Reject.VALUE_INVALID


def test_a_record_is_as_long_as_the_limit_and_not_one_byte_more() -> None:
    """A compressed batch can hold a record of any length."""
    length = RECORD_BYTES_MAX - len(HEADER) - 3
    assert len(decode(varint(length) + b"x" * length, "string").values[0]) == length
    assert code_of(varint(length + 1) + b"x" * (length + 1), "string") is Reject.LIMIT


def test_the_deepest_schema_is_read() -> None:
    """32 levels, each a list of one item."""
    kind: Any = "int"
    for _ in range(31):
        kind = {"type": "array", "items": kind}

    found = decode(b"\x02" * 31 + b"\x0a" + b"\x00" * 31, kind).values[0]

    for _ in range(31):
        (found,) = found
    assert found == 5
