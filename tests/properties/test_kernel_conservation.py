"""Law 3, laws 1 and 2 beside it: over any plan, records, position and moment, against a second reckoning in plain Python."""

import io
import itertools
from typing import Any, NamedTuple

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_kit import (
    NOW,
    ROW,
    VEHICLE,
    WRITER,
    batch_at,
    chunk_of,
    delivered,
    framed,
    plan_of,
    read_body,
    source_at,
    terms,
)

from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Verdict
from hub.model import agreement as words
from hub.model.agreement import All, Condition, Grant, Not, Rule
from hub.model.framing import frame_header
from hub.model.lifecycle import State
from hub.model.output_schema import output_schema
from hub.model.usage import UsageStep, check_conservation

pytestmark = pytest.mark.usefixtures("each_kernel")
Record = tuple[bytes | None, bytes | None]
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ROWS = st.fixed_dictionaries(
    {
        "plate": st.sampled_from(["浙A12345", "浙B54321", "浙a·12345", "no"]),
        "model": st.none() | st.text(max_size=10),
        "class": st.sampled_from(["passenger", "goods", "bus"]),
        "owner_id": st.none() | st.sampled_from(["11010519491231002X", "110105491231002", "11010519491231002x", "nobody"]),
        "phone": st.none() | st.just("13800138000"),
        "region": st.sampled_from(["330106", "330108"]),
        "seats": st.none() | st.integers(-5, 60),
        "weight": st.floats(allow_nan=True),
        "first_registered": st.integers(0, 30_000),
        "taxed": st.booleans(),
    }
)
CONDITIONS = st.one_of(
    st.builds(Condition, st.just("seats"), st.sampled_from(["gt", "lt", "neq"]), st.integers(-5, 60)),
    st.builds(Condition, st.just("model"), st.sampled_from(["neq", "gteq"]), st.just("a")),
    st.builds(Condition, st.just("seats"), st.sampled_from(["eq", "neq", "gt", "gteq", "lt", "lteq"]), st.integers(-5, 60)),
    st.builds(Condition, st.just("weight"), st.sampled_from(["neq", "gt", "lteq"]), st.floats(-10, 10)),
    st.builds(Condition, st.just("region"), st.sampled_from(["eq", "startsWith"]), st.sampled_from(["330106", "3301"])),
    st.builds(Condition, st.just("class"), st.sampled_from(["isAnyOf", "isNoneOf"]), st.just(("bus", "goods"))),
    st.builds(Condition, st.sampled_from(["model", "seats", "plate"]), st.just("isNull"), st.booleans()),
)
RULES: st.SearchStrategy[Rule] = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(words.Any, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
GRANTS = [
    Grant("plate"),
    Grant("plate", "pseudonym"),
    Grant("model"),
    Grant("model", "mask", keep_first=1),
    Grant("class"),
    Grant("class", "mask", keep_last=2),
    Grant("owner_id", "pseudonym"),
    Grant("phone", "mask", keep_last=4),
    Grant("seats"),
    Grant("weight"),
    Grant("taxed"),
]


class Case(NamedTuple):
    """One call of the kernel."""

    plan: Plan
    records: list[Record]
    chunks: list[Chunk]
    position: int
    moment: Moment


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to four agreements in any state and term."""
    ids = draw(st.sampled_from([["a", "b"], ["a", "b", "c"], ["d", "a", "c", "b"], ["a"], []]))
    agreements = [
        terms(
            agreement_id,
            *draw(st.lists(st.sampled_from(GRANTS), min_size=1, max_size=6, unique_by=lambda grant: grant.name)),
            rows=draw(st.none() | RULES),
            key=draw(st.sampled_from(["drop", "drop", "keep", "pseudonym"])),
            valid_until_ms=draw(st.sampled_from([NOW + 1, NOW + 1, NOW + 1, NOW])),
        )
        for agreement_id in ids
    ]
    states = {agreement_id: draw(st.sampled_from([State.ACTIVE] * 4 + [State.SUSPENDED])) for agreement_id in ids}
    return plan_of(*agreements, states=states, record_bytes_max=draw(st.sampled_from([900_000] * 4 + [20])))


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Draw a vehicle, a tombstone, or poison, under any key."""
    key = draw(st.none() | st.sampled_from(["浙A12345".encode()] * 4 + [b"", b"\xff", b"key"]))
    kind = draw(st.sampled_from(["vehicle"] * 8 + ["tombstone", "cut", "longer", "bytes", "unknown"]))
    value = framed(draw(ROWS))
    return key, {
        "vehicle": value,
        "tombstone": None,
        "cut": value[:-1],
        "longer": value + b"\x00",
        "bytes": draw(st.binary(max_size=20)),
        "unknown": frame_header(99) + value[5:],
    }[kind]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a chunk or two of several batches, and a position that may lie inside."""
    held = draw(st.lists(records(), min_size=4, max_size=12))
    cuts = sorted({0, len(held), *draw(st.lists(st.integers(0, len(held)), max_size=3))})
    batches = [batch_at(100 + low, held[low:high]) for low, high in itertools.pairwise(cuts)]
    split = draw(st.integers(0, len(batches)))
    middle = 100 + cuts[split]
    chunks = [
        chunk_of(*batches[:split], first_offset=100, next_offset=middle),
        chunk_of(*batches[split:], first_offset=middle, next_offset=100 + len(held)),
    ]
    position = draw(st.just(100) | st.integers(100, 100 + len(held)))
    undeliverable = frozenset(draw(st.sampled_from([(), (), (), ("a",)])))
    return Case(draw(plans()), held, chunks, position, Moment(now_ms=NOW, undeliverable=undeliverable))


def run(case: Case) -> Verdict:
    """Run the kernel."""
    return kernel.run(case.plan, case.chunks, source_at(case.position), case.moment)


@SETTINGS
@given(case=cases())
def test_every_offset_has_one_disposition_for_every_agreement(case: Case) -> None:
    """Law 3, by the check that the lane makes before it commits."""
    verdict = run(case)

    check_conservation(_step(case, verdict))
    assert [entry.agreement_id for entry in verdict.entries] == [agreement.id for agreement in case.plan.agreements]
    for agreement, entry in zip(case.plan.agreements, verdict.entries, strict=True):
        out = delivered(verdict, agreement.share_topic)
        assert entry.delivered == len(out)
        assert entry.bytes_delivered == sum(len(key or b"") + len(value or b"") for key, value in out)
        mine = [record for record in verdict.quarantined if record.agreement_id in {None, agreement.id}]
        assert entry.quarantined == (0 if entry.denied_by else len(mine))
    for_all = [record.first_offset for record in verdict.quarantined if record.agreement_id is None]
    assert len(for_all) == len(set(for_all))


@SETTINGS
@given(case=cases())
def test_each_agreement_receives_the_rows_and_fields_of_a_second_reckoning(case: Case) -> None:
    """Laws 1 and 2: rows by a plain evaluator, fields read by fastavro, in the order of the offsets."""
    verdict = run(case)

    for agreement, entry in zip(case.plan.agreements, verdict.entries, strict=True):
        out = [value for _, value in delivered(verdict, agreement.share_topic) if value is not None]
        refused = {record.first_offset for record in verdict.quarantined if record.agreement_id in {None, agreement.id}}
        has_right = agreement.state is State.ACTIVE and agreement.terms.in_term(NOW) and agreement.id not in case.moment.undeliverable
        assert (entry.denied == 0) or not has_right
        wanted = [
            row
            for offset, row in _readable(case)
            if has_right and offset not in refused and (agreement.terms.rows is None or _truth(agreement.terms.rows, row) is True)
        ]
        schema = output_schema(agreement.terms, VEHICLE, key_epoch=1)
        assert len(out) == len(wanted)
        for row, value in zip(wanted, out, strict=True):
            assert _shown(read_body(value, schema)) == _shown(_granted(agreement.terms.fields, row, value, schema))


@SETTINGS
@given(case=cases(), data=st.data())
def test_a_chunk_with_any_byte_changed_stops_nothing(case: Case, data: st.DataObject) -> None:
    """Bit rot on a disk: the batch is set aside, and conservation holds between kernel and agreements."""
    chunk = case.chunks[data.draw(st.integers(0, 1))]
    if not chunk.data:
        return
    place = data.draw(st.integers(8, len(chunk.data) - 1))
    rotten = chunk.data[:place] + bytes((chunk.data[place] ^ data.draw(st.integers(1, 255)),)) + chunk.data[place + 1 :]

    verdict = kernel.run(
        case.plan, [chunk_of(rotten, first_offset=100, next_offset=chunk.next_offset)], source_at(case.position), case.moment
    )

    assert {entry.accounted for entry in verdict.entries} <= {verdict.records}


def _step(case: Case, verdict: Verdict) -> UsageStep:
    end = case.chunks[-1].next_offset
    return UsageStep(
        scope="330100",
        source_topic=case.plan.topic,
        source_topic_id=source_at(0).topic_id,
        source_partition=2,
        step=1,
        first_offset=case.position,
        next_offset=end,
        records=verdict.records,
        gaps=0,
        lost=0,
        plan_offset=case.plan.plan_offset,
        worker_id="test",
        prev_hash=bytes(32),
        entries=verdict.entries,
    )


def _readable(case: Case) -> list[tuple[int, dict[str, Any]]]:
    """Return offset and row of every record that fastavro reads to its last byte."""
    found = []
    for place, (_, value) in enumerate(case.records):
        if value is None or value[:5] != frame_header(WRITER) or 100 + place < case.position:
            continue
        source = io.BytesIO(value[5:])
        try:
            row = fastavro.schemaless_reader(source, fastavro.parse_schema(VEHICLE), None)
        except (EOFError, IndexError, ValueError):
            continue
        if not source.read():
            assert isinstance(row, dict)
            found.append((100 + place, row))
    return found


def _truth(rule: Rule, row: dict[str, Any]) -> bool | None:
    """Evaluate a rule the slow way: every part first, then Kleene's minimum and maximum with unknown in the middle."""
    if isinstance(rule, Condition):
        return _compare(rule, row[rule.field])
    if isinstance(rule, Not):
        return _from_rank(2 - _rank(_truth(rule.rule, row)))
    ranks = [_rank(_truth(part, row)) for part in rule.rules]
    return _from_rank(min(ranks) if isinstance(rule, All) else max(ranks))


def _rank(truth: bool | None) -> int:  # noqa: FBT001 (a truth value is what it is)
    return {False: 0, None: 1, True: 2}[truth]


def _from_rank(rank: int) -> bool | None:
    return (False, None, True)[rank]


def _compare(rule: Condition, value: Any) -> bool | None:  # noqa: PLR0911 (a table of operators)
    if rule.operator == "isNull":
        return (value is None) == rule.value
    if value is None:
        return None
    wanted: Any = rule.value
    if rule.operator in {"isAnyOf", "isNoneOf"}:
        return any(value == item for item in wanted) == (rule.operator == "isAnyOf")
    if rule.operator == "startsWith":
        return str(value)[: len(wanted)] == wanted
    if rule.operator in {"eq", "neq"}:
        return bool(value == wanted) == (rule.operator == "eq")
    if rule.operator in {"gt", "gteq"}:
        return bool(value > wanted or (rule.operator == "gteq" and value == wanted))
    return bool(value < wanted or (rule.operator == "lteq" and value == wanted))


def _granted(grants: tuple[Grant, ...], row: dict[str, Any], out: bytes, schema: str) -> dict[str, Any]:
    """Return what a row becomes; a pseudonym is taken from the output, and only held to be one."""
    shown = read_body(out, schema)
    made: dict[str, Any] = {}
    for grant in grants:
        value = row[grant.name]
        if value is None or grant.transform == "keep":
            made[grant.name] = value
        elif grant.transform == "mask":
            kept = grant.keep_first + grant.keep_last
            made[grant.name] = "".join(
                char if kept < len(value) and (place < grant.keep_first or place >= len(value) - grant.keep_last) else "*"
                for place, char in enumerate(value)
            )
        else:
            assert len(shown[grant.name]) == 26
            assert shown[grant.name] != value
            made[grant.name] = shown[grant.name]
    return made


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Return a row that can be compared although NaN is unlike itself."""
    return {name: repr(value) for name, value in sorted(row.items())}


def test_the_example_is_a_case() -> None:
    """The strategies above are about this schema; a field added there must be thought of here."""
    assert set(ROW) == {field["name"] for field in VEHICLE["fields"]}
