"""The strict decoder against any bytes, and against another library's encoder."""

import io
from typing import Any

import fastavro
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_kit import ROW, VEHICLE, framed, schema_of

from hub.exchange.reference.decode import Decoded, Rejected, compile_decoder
from hub.model.framing import HEADER_BYTES, frame_header
from hub.model.source_schema import read_schema

ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}
FIXED = {"type": "fixed", "name": "F", "size": 3}
VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "boolean": ("boolean", st.booleans()),
    "int": ("int", st.integers(-(2**31), 2**31 - 1)),
    "long": ("long", st.integers(-(2**63), 2**63 - 1)),
    "float": ("float", st.floats(width=32, allow_nan=False)),
    "double": ("double", st.floats(allow_nan=False)),
    "bytes": ("bytes", st.binary(max_size=100)),
    "string": ("string", st.text(max_size=100)),
    "enum": (ENUM, st.sampled_from(["a", "b", "c"])),
    "fixed": (FIXED, st.binary(min_size=3, max_size=3)),
}
ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Two cores are shared with a broker: how long an example takes says nothing here."""
HEADER = frame_header(7)


@st.composite
def schemas_with_rows(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    """Draw a schema of up to eight fields of any type, and values that fit."""
    types, values, named = [], [], set()
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=8)):
        declared, strategy = VALUES[name]
        kind = declared["name"] if isinstance(declared, dict) and name in named else declared
        named.add(name)
        null = draw(st.sampled_from([None, 0, 1]))
        types.append(kind if null is None else ["null", kind] if null == 0 else [kind, "null"])
        values.append(draw(strategy if null is None else st.none() | strategy))
    return schema_of(*types), values


def outcome_of(schema: dict[str, Any], value: bytes) -> Decoded | None:
    """Return what is decoded, None where the value is refused; anything else that happens fails the test."""
    try:
        return compile_decoder(read_schema(schema))(value)
    except Rejected:
        return None


def encode(schema: dict[str, Any], values: list[Any]) -> bytes:
    """Return the framed value, written by fastavro."""
    return framed({f"f{place}": value for place, value in enumerate(values)}, schema)


@ANY_PACE
@given(drawn=schemas_with_rows())
def test_what_another_library_writes_is_read_the_same(drawn: tuple[dict[str, Any], list[Any]]) -> None:
    """The oracle is fastavro's encoder."""
    schema, values = drawn

    found = outcome_of(schema, encode(schema, values))

    assert found is not None
    assert found.values == values


@ANY_PACE
@given(drawn=schemas_with_rows())
def test_the_bytes_of_each_field_stand_where_they_are_said_to_stand(drawn: tuple[dict[str, Any], list[Any]]) -> None:
    """``keep`` copies by these places: each field, written alone, must be what is copied."""
    schema, values = drawn
    value = encode(schema, values)
    named: dict[str, Any] = {}

    found = outcome_of(schema, value)

    assert found is not None
    for place, field in enumerate(schema["fields"]):
        for kind in field["type"] if isinstance(field["type"], list) else [field["type"]]:
            if isinstance(kind, dict):
                named[kind["name"]] = kind
        alone = io.BytesIO()
        parsed = fastavro.parse_schema(_with_names(field["type"], named))
        fastavro.schemaless_writer(alone, parsed, values[place])
        assert value[found.ends[place] : found.ends[place + 1]] == alone.getvalue()


def _with_names(kind: Any, named: dict[str, Any]) -> Any:
    if isinstance(kind, list):
        return [_with_names(branch, named) for branch in kind]
    return named.get(kind, kind) if isinstance(kind, str) else kind


@ANY_PACE
@given(drawn=schemas_with_rows(), body=st.binary(max_size=200))
def test_random_bytes_are_read_or_refused_and_nothing_else(drawn: tuple[dict[str, Any], list[Any]], body: bytes) -> None:
    """Law 9."""
    schema, _ = drawn

    found = outcome_of(schema, HEADER + body)

    assert found is None or found.ends[-1] == HEADER_BYTES + len(body)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """Draw a schema, and a valid value with bytes changed, put in, taken out or cut off."""
    schema, values = draw(schemas_with_rows())
    body = bytearray(encode(schema, values)[HEADER_BYTES:])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        act = draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        if act == "insert":
            body.insert(place, draw(st.integers(0, 255)))
        elif act == "cut":
            del body[place:]
        elif place < len(body) and act == "change":
            body[place] = draw(st.integers(0, 255))
        elif place < len(body):
            del body[place]
    return schema, HEADER + bytes(body)


@settings(ANY_PACE, max_examples=500)
@given(drawn=mutations())
def test_bytes_that_are_accepted_are_the_only_ones_for_their_values(drawn: tuple[dict[str, Any], bytes]) -> None:
    """Strict: writing the values again gives the same bytes, so nothing can hide in an encoding."""
    schema, value = drawn

    found = outcome_of(schema, value)

    if found is not None and not any(item != item for item in found.values):  # noqa: PLR0124 (NaN is unlike itself)
        assert encode(schema, found.values) == value


@ANY_PACE
@given(cut=st.integers(min_value=0))
def test_a_record_that_is_cut_anywhere_is_refused(cut: int) -> None:
    """Its last field is a boolean, so no shorter body is whole."""
    value = framed(ROW)
    kept = HEADER_BYTES + cut % (len(value) - HEADER_BYTES)

    assert outcome_of(VEHICLE, value[:kept]) is None
