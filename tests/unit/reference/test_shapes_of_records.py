"""`docs/reference/shapes.md` on records, bodies, positions and counts: each table is held against the part that decides it."""

import json
import re
import typing
import uuid
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Any, get_args, get_origin

import msgspec
import pytest
from reference_pages import ROOT, code, column, hold_table, read_table

from connectors.kit import positions
from hub.broker.batches import read_records
from hub.exchange import adopt
from hub.exchange.reference.quarantine import set_aside
from hub.exchange.standing import Standing, read_standing
from hub.exchange.verdict import Source
from hub.exchange.writing import _quarantine
from hub.model.agreement import Agreement
from hub.model.entry import LEVEL, AgreementBody, DatasetBody, KeysBody, Kind, SchemaBody, signing_bytes
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.pseudonym import check_value, derive_key, normal_form, pseudonym
from hub.model.reasons import FAULT_OF, DeniedBy, Fault, Reject
from hub.model.records import QUARANTINED_VALUE_BYTES_MAX, PlanEntry, Quarantined
from hub.model.usage import POSITION_BYTES_MAX, Position, UsageEntry, UsageStep
from hub.observe.metrics import DISPOSITIONS
from hub.store.act_anchor import Anchor

PAGE = "shapes.md"
TEXT = (ROOT / "docs/reference" / PAGE).read_text(encoding="utf-8")
RECORDS = {"Plan entries": "plan-entry", "Usage steps": "usage-step", "Quarantined records": "quarantined"}
BODIES: dict[Kind, type[msgspec.Struct]] = {
    Kind.KEYS: KeysBody,
    Kind.SCHEMA: SchemaBody,
    Kind.DATASET: DatasetBody,
    Kind.AGREEMENT: AgreementBody,
}
PLACE_KEPT = "place kept"


def _raw(record: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("avro_schemas").joinpath(f"hub/{record}/v1.avsc").read_text(encoding="utf-8"))
    return found


def _avro(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_avro(branch) for branch in kind)
    if not isinstance(kind, Mapping):
        return str(kind)
    if kind["type"] == "enum":
        return f"one of {' '.join(code(symbol) for symbol in kind['symbols'])}"
    if kind["type"] == "array":
        return f"array of `{kind['items']['name']}`"
    if kind["type"] == "fixed":
        return f"{kind['size']} bytes"
    return f"{kind['type']} ({kind['logicalType']})" if "logicalType" in kind else str(kind["type"])


def _avro_rows(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(code(field["name"]), _avro(field["type"])) for field in schema["fields"]]


@pytest.mark.golden
def test_every_record_of_the_hub_has_its_schema_id_and_file() -> None:
    """Who reads the hub's records without its registry begins here."""
    found = {path.parent.name for path in (ROOT / "avro_schemas/hub").glob("*/v*.avsc")}
    assert found == set(RECORDS.values()), "a record of the hub is not on the page"
    raws = {record: _raw(record) for record in RECORDS.values()}
    rows = [
        (code(f"{raw['namespace']}.{raw['name']}"), f"{raw['cityhub.schema_id']:,}", code(f"avro_schemas/hub/{record}/v1.avsc"))
        for record, raw in raws.items()
    ]
    hold_table(PAGE, "Framing", rows)


@pytest.mark.golden
@pytest.mark.parametrize("heading", RECORDS)
def test_fields_of_a_record_are_those_of_its_released_schema(heading: str) -> None:
    """Names, order and types, as they stand in the bytes."""
    hold_table(PAGE, heading, _avro_rows(_raw(RECORDS[heading])))


@pytest.mark.golden
def test_fields_of_a_usage_entry_are_those_of_its_released_schema() -> None:
    """The part that bills are made of."""
    (entries,) = [field["type"]["items"] for field in _raw("usage-step")["fields"] if field["name"] == "entries"]
    hold_table(PAGE, "Usage entries", _avro_rows(entries))
    assert set(column(PAGE, "Usage entries")) == set(UsageEntry.__struct_fields__)


def test_values_of_the_model_have_the_fields_of_the_page() -> None:
    """Schema and struct say the same: `pass` is a word of Python's and has another name there."""
    assert set(column(PAGE, "Usage steps")) == {"pass" if name == "pass_id" else name for name in UsageStep.__struct_fields__}
    assert set(column(PAGE, "Quarantined records")) == set(Quarantined.__struct_fields__)


def _json(kind: Any) -> str:
    if get_origin(kind) is typing.Annotated:
        return _json(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return f"list of {_json(get_args(kind)[0])}s"
    if get_origin(kind) is dict:
        return f"object of {_json(get_args(kind)[1])}s"
    if type(None) in get_args(kind):
        return _json(next(part for part in get_args(kind) if part is not type(None)))
    return {int: "whole number", str: "text", Agreement: "object", State: "state"}[kind]


@pytest.mark.golden
@pytest.mark.parametrize("kind", Kind)
def test_members_of_a_body_are_those_of_its_struct(kind: Kind) -> None:
    """Unknown members are refused, so the list is exact."""
    hints = typing.get_type_hints(BODIES[kind], include_extras=True)
    rows = [
        (code(field.name), _json(hints[field.name]), "yes" if field.required else "no") for field in msgspec.structs.fields(BODIES[kind])
    ]
    hold_table(PAGE, f"Body of `{kind}`", rows)


def test_the_level_of_bodies_is_the_one_that_the_page_names() -> None:
    """A second level must be told here."""
    assert LEVEL == 1
    assert "level 1, the only one there is" in TEXT
    assert "`cityhub/key-check/v1`" in TEXT
    assert len(check_value(bytes(32))) == 64


def test_a_signature_covers_what_the_page_says() -> None:
    """Whoever verifies an entry without the hub's code goes by this."""
    fields = ("dataset", "a/b", 7, "330100", "{}", "a1b2c3d4e5f60718")
    covered = b""
    for field in fields:
        part = field.to_bytes(8, "big") if isinstance(field, int) else field.encode()
        covered += len(part).to_bytes(4, "big") + part
    assert signing_bytes(PlanEntry(*fields, signature=b"")) == covered
    assert column(PAGE, "Plan entries") == list(PlanEntry.__struct_fields__)
    assert "Each is its length in 4 big-endian bytes and its bytes; `revision` is 8 big-endian bytes." in TEXT.replace("\n", " ")


# Counts and codes


@pytest.mark.golden
def test_dispositions_are_those_that_are_counted() -> None:
    """Their sum over an entry and its step is the span of offsets: conservation, law 3."""
    rows = [(code(name), "entry") for name in DISPOSITIONS] + [(code(name), "step") for name in ("gaps", "lost")]
    hold_table(PAGE, "Dispositions", rows)
    ones = UsageEntry("a", 1, **dict.fromkeys(DISPOSITIONS, 1))
    assert ones.accounted == len(DISPOSITIONS)


@pytest.mark.golden
def test_missing_rights_are_those_of_the_code_and_of_the_schema() -> None:
    """What an entry says in `denied_by`."""
    hold_table(PAGE, "Missing rights", ((code(word),) for word in DeniedBy))
    field = next(row for row in read_table(PAGE, "Usage entries").rows if row[0] == "`denied_by`")
    assert re.findall(r"`(\w+)`", field[1]) == list(DeniedBy)


@pytest.mark.golden
def test_codes_of_quarantine_are_those_of_the_code_each_with_its_fault() -> None:
    """They are in records and metrics, and never change their meaning."""
    hold_table(PAGE, "Codes of quarantine", ((code(reason), FAULT_OF[reason].value) for reason in Reject))
    field = next(row for row in read_table(PAGE, "Quarantined records").rows if row[0] == "`fault`")
    assert re.findall(r"`(\w+)`", field[1]) == list(Fault)


def _unused(kind: type[StrEnum]) -> Iterator[str]:
    """Yield the members that no code but their own table names."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "hub").rglob("*.py") if path.name != "reasons.py"]
    for member in kind:
        if not any(re.search(rf"\b{kind.__name__}\.{member.name}\b", text) for text in sources):
            yield member.value


@pytest.mark.parametrize(("kind", "heading", "known"), [(DeniedBy, "Missing rights", "state"), (Reject, "Codes of quarantine", "framing")])
def test_words_that_nothing_gives_are_places_kept_and_no_others(kind: type[StrEnum], heading: str, known: str) -> None:
    """A word that is told as if it happened sends people looking for it; one that happens must be told."""
    kept = {row[0].strip("`") for row in read_table(PAGE, heading).rows if row[-1].startswith(PLACE_KEPT)}
    assert known not in kept
    assert set(_unused(kind)) == kept
    assert [fault for fault in Fault if fault not in FAULT_OF.values()] == ["consumer"]
    assert "The fault `consumer` is a place kept." in TEXT


def test_a_quarantined_record_has_the_key_and_the_bounds_of_the_page() -> None:
    """By the key a record is found again at its source."""
    topic_id = uuid.UUID(int=10)
    source = Source(TopicPartition("dept.a.b", 3), topic_id, 0)
    large = bytes(QUARANTINED_VALUE_BYTES_MAX + 1)
    kept = set_aside(source, first_offset=7, next_offset=8, code=Reject.FRAMING, key=large, value=large)
    assert (kept.key, kept.value, kept.value_length) == (None, None, len(large))
    (output,) = _quarantine((kept,), topic="quarantine.a.b", partition=3)
    (row,) = read_records(bytes(output.data))
    assert row.key == f"{topic_id}/3/7".encode()
    assert "`<source topic id>/<partition>/<first offset>`" in TEXT
    assert "null where it is over 64 KiB" in TEXT


# Positions and pseudonyms


def test_examples_of_positions_are_read_by_the_code() -> None:
    """And have the parts that their form names, no more and no fewer."""
    forms = {row[0]: (row[1].strip("`"), row[2].strip("`")) for row in read_table(PAGE, "Positions").rows}
    assert set(forms) == {"lane", "source", "standing of a lane", "anchor of the acts"}
    form, example = forms["lane"]
    found = Position.parse(offset=1200, metadata=example, lane="a-0")
    assert found.metadata == example
    assert form.split(";")[1:] == ["<topic id>", "<step>", "<plan offset>", "<plan from>", "<chain head>"]
    assert example.split(";")[2:5] == [str(found.step), str(found.plan_offset), str(found.plan_from)]
    form, example = forms["source"]
    held = positions.read_position(example)
    assert positions.write_position(held.position, topic_id=held.topic_id) == example
    standing = read_standing(forms["standing of a lane"][1])
    assert standing is not None
    assert all(f"`{name}" in forms["standing of a lane"][0] for name in Standing.__struct_fields__)
    anchor = msgspec.json.decode(forms["anchor of the acts"][1], type=Anchor)
    assert all(f"`{name}" in forms["anchor of the acts"][0] for name in anchor.__struct_fields__)
    assert POSITION_BYTES_MAX == positions.POSITION_BYTES_MAX == 4_000
    assert f"`{adopt.ADOPTER}`" in TEXT


def test_pseudonyms_of_the_page_are_those_of_the_code() -> None:
    """Worked examples, so that another implementation can be tried against them."""
    rows = read_table(PAGE, "Pseudonyms").rows
    assert len(rows) > 1
    for consumer, purpose, kind, value, shown in ([cell.strip("`") for cell in row] for row in rows):
        key = derive_key(bytes([7]) * 32, scope="330100", consumer=consumer, purpose=purpose, kind=kind, epoch=1)
        assert shown == pseudonym(key, normal_form(kind, value)), kind
