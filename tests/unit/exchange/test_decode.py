"""The strict decoder: what is no record is refused with its code, quickly, and nothing else happens."""

import struct
import time
from typing import Any

import pytest
from kernel_kit import ROW, VEHICLE, framed, schema_of

from hub.exchange.reference.decode import Decoded, Rejected, compile_decoder
from hub.model.reasons import Reject
from hub.model.source_schema import read_schema

HEADER = b"\x00\x00\x00\x00\x07"
ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}
FIXED = {"type": "fixed", "name": "F", "size": 4}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}


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
        ("null", b"", None),
        ("boolean", b"\x00", False),
        ("boolean", b"\x01", True),
        ("int", b"\x00", 0),
        ("int", b"\x01", -1),
        ("int", b"\xfe\xff\xff\xff\x0f", 2**31 - 1),
        ("int", b"\xff\xff\xff\xff\x0f", -(2**31)),
        ("long", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2**63 - 1),
        ("long", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -(2**63)),
        ("float", struct.pack("<f", 1.5), 1.5),
        ("double", struct.pack("<d", -1.5), -1.5),
        ("bytes", b"\x04\xff\x00", b"\xff\x00"),
        ("string", b"\x00", ""),
        ("string", b"\x06" + "浙".encode(), "浙"),
        ("string", b"\x80\x01" + b"a" * 64, "a" * 64),
        (ENUM, b"\x04", "c"),
        (FIXED, b"abcd", b"abcd"),
        (["null", "string"], b"\x00", None),
        (["null", "string"], b"\x02\x02a", "a"),
        (["string", "null"], b"\x02", None),
        (["string", "null"], b"\x00\x02a", "a"),
        (["null", ENUM], b"\x02\x02", "b"),
        (MONEY, b"\x04\x04\xe2", 1250),
        (MONEY, b"\x02\xff", -1),
        ({**FIXED, "logicalType": "decimal", "precision": 4}, b"\xff\xff\xff\xfe", -2),
        ({"type": "int", "logicalType": "date"}, b"\x02", 1),
    ],
)
def test_a_value_is_read_and_its_bytes_are_known(kind: Any, body: bytes, value: Any) -> None:
    """``keep`` copies the bytes of a field, so their place is as much a result as the value."""
    found = decode(body + b"\x02", kind, "int")

    assert found.values == [value, 1]
    assert found.ends == [5, 5 + len(body), 6 + len(body)]


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("boolean", b"\x02", Reject.VALUE_INVALID),
        ("boolean", b"\xff", Reject.VALUE_INVALID),
        ("int", b"\x80\x00", Reject.VALUE_INVALID),
        ("int", b"\x80\x80\x80\x80\x10", Reject.VALUE_INVALID),
        ("int", b"\x81\x80\x80\x80\x10", Reject.VALUE_INVALID),
        ("long", b"\xff" * 9 + b"\x02", Reject.VALUE_INVALID),
        ("long", b"\xff" * 10 + b"\x01", Reject.VALUE_INVALID),
        ("long", b"\x80" * 100_000 + b"\x01", Reject.VALUE_INVALID),
        ("string", b"\x01", Reject.VALUE_INVALID),
        ("string", b"\x02\xff", Reject.VALUE_INVALID),
        ("string", b"\x06\xed\xa0\x80", Reject.VALUE_INVALID),
        ("string", b"\x04\xc0\x80", Reject.VALUE_INVALID),
        (ENUM, b"\x06", Reject.VALUE_INVALID),
        (ENUM, b"\x01", Reject.VALUE_INVALID),
        (["null", "int"], b"\x04\x00", Reject.VALUE_INVALID),
        (["null", "int"], b"\x01\x00", Reject.VALUE_INVALID),
        (["null", "int"], b"\x82\x00\x00", Reject.VALUE_INVALID),
        (MONEY, b"\x00", Reject.VALUE_INVALID),
        (MONEY, b"\x42" + b"\x01" * 33, Reject.LIMIT),
        ("int", b"\x80", Reject.TRUNCATED),
        ("int", b"", Reject.TRUNCATED),
        ("float", b"\x00\x00\x00", Reject.TRUNCATED),
        ("double", b"\x00" * 7, Reject.TRUNCATED),
        ("string", b"\x04a", Reject.TRUNCATED),
        ("bytes", b"\x04a", Reject.TRUNCATED),
        (FIXED, b"abc", Reject.TRUNCATED),
        (["null", "int"], b"", Reject.TRUNCATED),
        (["null", "int"], b"\x02", Reject.TRUNCATED),
        ("null", b"\x00", Reject.TRAILING),
        ("int", b"\x02\x00", Reject.TRAILING),
        ("string", b"\x02ab", Reject.TRAILING),
    ],
)
def test_what_is_no_value_of_its_type_is_refused_with_its_code(kind: Any, body: bytes, code: Reject) -> None:
    """Fastavro takes most of these; a consumer in another language would not."""
    assert code_of(body, kind) is code


@pytest.mark.parametrize("kind", ["string", "bytes"])
def test_a_body_that_claims_a_billion_bytes_costs_nothing(kind: str) -> None:
    """Lengths are held against the rest of the body before anything is allocated."""
    claim = b"\x80\xa8\xd6\xb9\x07"
    began = time.perf_counter()

    codes = {code_of(claim + b"x" * 20, kind) for _ in range(1_000)}

    assert codes == {Reject.TRUNCATED}
    assert time.perf_counter() - began < 1


def test_a_refusal_carries_no_value() -> None:
    """Law 7: a refusal may be logged."""
    with pytest.raises(Rejected) as refused:
        decode(b"\x10" + "浙A1234".encode()[:7] + b"\xff", "string")

    assert refused.value.args == (Reject.VALUE_INVALID,)


def test_a_whole_record_is_read_as_another_library_wrote_it() -> None:
    """The example of the other tests."""
    found = compile_decoder(read_schema(VEHICLE))(framed(ROW))

    assert dict(zip(ROW, found.values, strict=True)) == ROW
