"""All of Avro through the kernel: over random schemas, terms and records, whole or damaged, against another library."""

import contextlib
import io
import itertools
import json
import warnings
from typing import Any

import avro.errors
import avro.schema
import fastavro
from avro_cases import Drawn, drawn_schemas, fits, grants_for, rules_for
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kernel_kit import batch_at, chunk_of, delivered, framed, plan_of, source_at, terms

from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.exchange.reference.decode import Decoded, Rejected, compile_decoder
from hub.exchange.verdict import Moment, Verdict
from hub.model.agreement import Agreement, Grant
from hub.model.framing import HEADER_BYTES
from hub.model.granted import Each, Granted, Leaf, granted_of
from hub.model.output_schema import output_schema
from hub.model.source_schema import read_schema

SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
NOW = 1_800_000_000_000


def decide(plan: Plan, values: list[bytes]) -> Verdict:
    """Run the kernel on one batch."""
    chunk = chunk_of(batch_at(0, [(None, value) for value in values]), first_offset=0, next_offset=len(values))
    return kernel.run(plan, [chunk], source_at(0), Moment(now_ms=NOW))


@st.composite
def whole_plans(draw: st.DrawFn) -> tuple[Drawn, Agreement]:
    """Draw a schema with rows, and terms that fit it."""
    case = draw(drawn_schemas())
    grants = draw(grants_for(case))
    assume(grants)
    agreement = terms("parking", *grants, rows=draw(rules_for(case)))
    assume(fits(case, agreement))
    return case, agreement


@SETTINGS
@given(drawn=whole_plans())
def test_what_is_delivered_is_read_by_its_output_schema_to_the_last_byte(drawn: tuple[Drawn, Agreement]) -> None:
    """By two libraries' schema parsers, another library's reader, and the strict decoder itself."""
    case, agreement = drawn
    text = output_schema(agreement, case.schema, key_epoch=1)
    _parse_elsewhere(text)
    parsed = fastavro.parse_schema(json.loads(text))
    decode = compile_decoder(read_schema(text))

    verdict = decide(plan_of(agreement, schemas={7: case.schema}), [framed(row, case.schema) for row in case.rows])

    for _, value in delivered(verdict):
        assert value is not None
        decode(value)
        source = io.BytesIO(value[HEADER_BYTES:])
        _read_raw(source, parsed)
        assert source.read() == b""
    (entry,) = verdict.entries
    assert entry.accounted == len(case.rows)


def _parse_elsewhere(text: str) -> None:
    """Parse with Apache's library, which warns of logical types that it does not know."""
    with warnings.catch_warnings(action="ignore", category=avro.errors.IgnoredLogicalType):
        avro.schema.parse(text)


def _read_raw(source: io.BytesIO, parsed: Any) -> None:
    """Read with logical types left alone: dates of the year -5,000,000 are no Python dates, and any text may call itself a uuid."""
    fastavro.schemaless_reader(source, _without_logical(parsed), None)


def _without_logical(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_logical(item) for item in node]
    if isinstance(node, dict):
        return {key: _without_logical(value) for key, value in node.items() if not key.startswith("__") and key != "logicalType"}
    return node


@SETTINGS
@given(case=drawn_schemas())
def test_everything_kept_is_what_another_library_writes_by_the_output_schema(case: Drawn) -> None:
    """The leaves of each row, written anew by fastavro."""
    grants = tuple(grant for grant in map(Grant, case.leaves()) if fits(case, terms("parking", grant)))
    assume(grants)
    agreement = terms("parking", *grants)
    text = output_schema(agreement, case.schema, key_epoch=1)
    granted = granted_of(case.source, grants)

    verdict = decide(plan_of(agreement, schemas={7: case.schema}), [framed(row, case.schema) for row in case.rows])

    wanted = [framed(_projected(row, granted, case.source.record), json.loads(text), writer=1007) for row in case.rows]
    assert [value for _, value in delivered(verdict)] == wanted


def _projected(value: Any, granted: Granted, kind: Any) -> Any:
    if value is None or isinstance(granted, Leaf):
        return value
    if isinstance(granted, Each):
        if isinstance(value, dict):
            return {key: _projected(item, granted.inner, kind.inner) for key, item in value.items()}
        return [_projected(item, granted.inner, kind.inner) for item in value]
    fields = {kind.fields[place].name: (part, kind.fields[place].type) for place, part in granted.fields}
    return {name: _projected(value[name], part, inner) for name, (part, inner) in fields.items()}


@SETTINGS
@given(drawn=whole_plans(), data=st.data())
def test_a_damaged_record_costs_itself_only(drawn: tuple[Drawn, Agreement], data: st.DataObject) -> None:
    """Law 9 and law 3: bytes changed, put in, taken out or cut; the records around it are delivered as if it were not there."""
    case, agreement = drawn
    plan = plan_of(agreement, schemas={7: case.schema})
    whole = [framed(row, case.schema) for row in case.rows]
    damaged = _damaged(data, whole[0])

    alone = decide(plan, whole)
    verdict = decide(plan, [*whole, damaged, *whole])

    (entry,) = verdict.entries
    assert entry.accounted == verdict.records == 2 * len(whole) + 1
    ours = 2 * alone.entries[0].delivered
    assert entry.delivered in {ours, ours + 1}
    assert [value for _, value in delivered(verdict)][: ours // 2] == [value for _, value in delivered(alone)]


def _damaged(data: st.DataObject, value: bytes) -> bytes:
    body = bytearray(value[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        act = data.draw(st.sampled_from(["change", "insert", "remove", "cut"]))
        if act == "insert":
            body.insert(place, data.draw(st.integers(0, 255)))
        elif act == "cut":
            del body[place:]
        elif place < len(body):
            body[place : place + 1] = b"" if act == "remove" else bytes((data.draw(st.integers(0, 255)),))
    return value[:HEADER_BYTES] + bytes(body)


@SETTINGS
@given(case=drawn_schemas(), body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(case: Drawn, body: bytes) -> None:
    """Only one exception may come out of the decoder."""
    value = framed(case.rows[0], case.schema)[:HEADER_BYTES] + body
    decode = compile_decoder(case.source)
    found: Decoded | None = None
    with contextlib.suppress(Rejected):
        found = decode(value)
    assert found is None or found.ends[-1] == len(value)


@SETTINGS
@given(case=drawn_schemas(), data=st.data())
def test_what_is_not_granted_changes_nothing(case: Drawn, data: st.DataObject) -> None:
    """Law 2: two records that differ only in what is not granted are the same to the consumer, bytes and all."""
    fields = [field.name for field in case.source.fields]
    kept = data.draw(st.sets(st.sampled_from(fields), min_size=1))
    grants = [grant for grant in map(Grant, case.leaves()) if grant.name.split(".")[0].rstrip("[]{}") in kept]
    grants = [grant for grant in grants if fits(case, terms("parking", grant))]
    assume(grants)
    plan = plan_of(terms("parking", *grants), schemas={7: case.schema})

    for one, other in itertools.pairwise(case.rows):
        mixed = {name: one[name] if name in kept else other[name] for name in fields}
        ((_, first), (_, second)) = delivered(decide(plan, [framed(one, case.schema), framed(mixed, case.schema)]))
        assert first == second
