"""The form that a record takes: only what is granted, and of that no more than was agreed."""

import struct
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from kernel_kit import (
    MASTER,
    NOW,
    ROW,
    SCOPE,
    VEHICLE,
    chunk_of,
    decide,
    delivered,
    framed,
    plan_of,
    read_body,
    schema_of,
    source_at,
    terms,
    vehicle,
)

from hub.exchange import kernel
from hub.exchange.plan import Plan
from hub.exchange.reference.transforms import mask_text
from hub.exchange.verdict import Moment
from hub.model.agreement import Condition, Grant
from hub.model.framing import schema_id_of
from hub.model.output_schema import output_schema
from hub.model.pseudonym import derive_key, pseudonym
from hub.model.reasons import Reject

pytestmark = pytest.mark.usefixtures("each_kernel")
KEY = "浙A12345".encode()


def expected_pseudonym(kind: str, normal: str) -> str:
    """Return the pseudonym for the consumer and purpose of the test's terms."""
    return pseudonym(derive_key(MASTER, scope=SCOPE, consumer="parking-office", purpose="enforcement", kind=kind, epoch=1), normal)


def row_of(value: bytes, *fields: str | Grant) -> dict[str, Any]:
    """Return the one delivered row, read by fastavro with the output schema."""
    agreement = terms("parking", *fields)
    ((_, out),) = delivered(decide(plan_of(agreement), (KEY, value)))
    assert out is not None
    return read_body(out, output_schema(agreement, VEHICLE, key_epoch=1))


def test_a_denied_field_is_absent_not_null() -> None:
    """Law 2: the consumer cannot even tell that it was there."""
    assert row_of(vehicle(), "region", "plate") == {"plate": "浙A12345", "region": "330106"}


def test_everything_granted_is_the_body_as_it_came() -> None:
    """Byte for byte: nothing is encoded anew."""
    value = vehicle()

    ((_, out),) = delivered(decide(plan_of(terms("parking", *ROW)), (KEY, value)))

    assert out is not None
    assert out[5:] == value[5:]
    assert schema_id_of(out) == 1007


def test_a_nan_keeps_its_payload() -> None:
    """A reader and writer in between may change it; copied bytes do not."""
    body = struct.pack("<Q", 0x7FF4_0000_0000_BEEF)
    plan = plan_of(terms("parking", "f0"), schemas={7: schema_of("double", "int")})

    ((_, out),) = delivered(decide(plan, (None, b"\x00\x00\x00\x00\x07" + body + b"\x02")))

    assert out is not None
    assert out[5:] == body


@pytest.mark.parametrize(
    ("text", "keep_first", "keep_last", "masked"),
    [
        ("13800138000", 0, 4, "*******8000"),
        ("13800138000", 3, 4, "138****8000"),
        ("13800138000", 3, 0, "138********"),
        ("13800138000", 0, 0, "***********"),
        ("王小明", 1, 0, "王**"),
        ("abcd", 0, 4, "****"),
        ("abcd", 2, 2, "****"),
        ("abcd", 0, 9, "****"),
        ("abcd", 1, 2, "a*cd"),
        ("", 0, 4, ""),
    ],
)
def test_a_mask_hides_every_character_but_the_kept_ones_and_all_where_they_cover_it(
    text: str, keep_first: int, keep_last: int, masked: str
) -> None:
    """A short value must not come through whole."""
    assert mask_text(text, keep_first=keep_first, keep_last=keep_last) == masked


def test_masked_fields_are_text_and_null_stays_null() -> None:
    """In either order of the union, for enums too."""
    grants = (Grant("class", "mask", keep_first=1), Grant("phone", "mask", keep_last=4), Grant("owner_id", "mask"))

    assert row_of(vehicle(), *grants) == {"class": "p********", "owner_id": "*" * 18, "phone": "*******8000"}
    assert row_of(vehicle(phone=None, owner_id=None), *grants) == {"class": "p********", "owner_id": None, "phone": None}


def test_a_long_masked_value_has_the_length_of_its_text() -> None:
    """Lengths over 63 take two bytes and more."""
    for length in (63, 64, 8_191, 8_192):
        assert row_of(vehicle(model="x" * length), Grant("model", "mask", keep_last=2)) == {"model": "*" * (length - 2) + "xx"}


def test_a_pseudonym_is_that_of_the_normal_form_under_the_declared_kind() -> None:
    """Two spellings of one identifier are one person."""
    for text in ("11010519491231002X", "110105491231002", " 110105-19491231-002x"):
        assert row_of(vehicle(owner_id=text), Grant("owner_id", "pseudonym")) == {
            "owner_id": expected_pseudonym("resident-id", "11010519491231002X")
        }
    assert row_of(vehicle(owner_id=None), Grant("owner_id", "pseudonym")) == {"owner_id": None}


def test_the_grant_overrules_the_declared_kind() -> None:
    """Then the value is taken as it is."""
    assert row_of(vehicle(plate="n 1"), Grant("plate", "pseudonym", identifier="berth")) == {"plate": expected_pseudonym("berth", "n 1")}


def test_one_value_has_one_pseudonym_however_often_it_comes() -> None:
    """Remembered pseudonyms are the same as computed ones."""
    plan = plan_of(terms("parking", Grant("plate", "pseudonym")))

    records = delivered(decide(plan, *[(None, vehicle())] * 3))

    assert len({value for _, value in records}) == 1


def test_an_identifier_that_is_none_is_quarantined_for_that_agreement_only() -> None:
    """The other agreement shows the field as it is."""
    plan = plan_of(terms("parking", "owner_id"), terms("tax", Grant("owner_id", "pseudonym")))

    verdict = decide(plan, (KEY, vehicle(owner_id="not an id")))

    assert [(entry.agreement_id, entry.delivered, entry.quarantined) for entry in verdict.entries] == [("parking", 1, 0), ("tax", 0, 1)]
    assert [(record.agreement_id, record.code) for record in verdict.quarantined] == [("tax", Reject.IDENTIFIER_INVALID)]


def key_plan(rule: str, **changes: Any) -> Plan:
    """Return a plan whose agreement has the key rule."""
    return plan_of(terms("parking", "plate", key=rule, **changes))


@pytest.mark.parametrize(
    ("rule", "key", "out"),
    [
        ("drop", KEY, None),
        ("drop", b"\xff", None),
        ("keep", KEY, KEY),
        ("keep", None, None),
        ("pseudonym", KEY, expected_pseudonym("plate", "浙A12345").encode()),
        ("pseudonym", "浙a·12345".encode(), expected_pseudonym("plate", "浙A12345").encode()),
        ("pseudonym", None, None),
    ],
)
def test_the_record_key_follows_its_rule(rule: str, key: bytes | None, out: bytes | None) -> None:
    """Law 2: the key is a field too, and dropped unless it is granted."""
    assert [found for found, _ in delivered(decide(key_plan(rule), (key, vehicle())))] == [out]


@pytest.mark.parametrize(
    ("rule", "key", "code"),
    [
        ("keep", b"\xff\xfe", Reject.VALUE_INVALID),
        ("pseudonym", b"\xff\xfe", Reject.VALUE_INVALID),
        ("pseudonym", b"", Reject.IDENTIFIER_INVALID),
        ("pseudonym", b"no plate", Reject.IDENTIFIER_INVALID),
    ],
)
def test_a_key_that_is_not_what_was_declared_is_quarantined(rule: str, key: bytes, code: Reject) -> None:
    """Whatever bytes a department uses as a key, they do not travel unread."""
    verdict = decide(key_plan(rule), (key, vehicle()))

    assert delivered(verdict) == []
    assert [(record.agreement_id, record.code) for record in verdict.quarantined] == [("parking", code)]


def test_headers_never_travel() -> None:
    """Connectors write ``ch-source-id`` there; ``delivered`` fails where an output record has any header."""
    builder = DefaultRecordBatchBuilder(2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 20)
    builder.append(0, timestamp=NOW, key=KEY, value=vehicle(), headers=[("ch-source-id", b"registry:7")])
    chunk = chunk_of(bytes(builder.build()), first_offset=0, next_offset=1)
    plan = key_plan("keep")

    verdict = kernel.run(plan, [chunk], source_at(0), Moment(now_ms=NOW))

    assert [key for key, _ in delivered(verdict)] == [KEY]
    assert b"ch-source-id" not in bytes(verdict.deliveries["share.parking-office.parking"][0].data)


@pytest.mark.parametrize(
    ("rule", "rows", "key", "out"),
    [
        ("keep", None, KEY, [(KEY, None)]),
        ("pseudonym", None, KEY, [(expected_pseudonym("plate", "浙A12345").encode(), None)]),
        ("drop", None, KEY, []),
        ("keep", None, None, []),
        ("keep", Condition("region", "eq", "330106"), KEY, []),
        ("keep", Condition("region", "isNull", value=True), KEY, []),
    ],
)
def test_a_tombstone_is_delivered_where_its_key_is_granted_and_no_row_rule_applies(
    rule: str, rows: Condition | None, key: bytes | None, out: list[tuple[bytes, None]]
) -> None:
    """Else suppressed: under a rule nobody can tell whether the record was ever shown."""
    verdict = decide(key_plan(rule, rows=rows), (key, None))

    assert delivered(verdict) == out
    (entry,) = verdict.entries
    assert (entry.delivered, entry.suppressed) == (len(out), 1 - len(out))
    assert verdict.quarantined == ()


def test_a_tombstone_whose_key_is_no_identifier_is_quarantined() -> None:
    """As any record would be."""
    verdict = decide(key_plan("pseudonym"), (b"no plate", None))

    assert [(record.code, record.key, record.value) for record in verdict.quarantined] == [(Reject.IDENTIFIER_INVALID, b"no plate", None)]


def test_a_field_of_an_older_writer_schema_takes_its_own_place() -> None:
    """Each writer schema has its own form; a chunk may mix them."""
    older = {**VEHICLE, "fields": list(reversed(VEHICLE["fields"]))}
    agreement = terms("parking", "plate", "seats")
    plan = plan_of(agreement, schemas={7: VEHICLE, 3: older})

    records = delivered(decide(plan, (KEY, vehicle()), (KEY, framed(ROW, older, writer=3))))

    outputs = {1007: output_schema(agreement, VEHICLE, key_epoch=1), 1003: output_schema(agreement, older, key_epoch=1)}
    rows = [(schema_id_of(value), read_body(value, outputs[schema_id_of(value) or 0])) for _, value in records if value is not None]
    assert rows == [(1007, {"plate": "浙A12345", "seats": 5}), (1003, {"plate": "浙A12345", "seats": 5})]
