"""Terms as signed bodies hold them: what was signed yesterday is read tomorrow, and nothing is read in part."""

import msgspec
import pytest

from hub.model.agreement import Agreement, Bucket, Condition, Constant, Every, Grant, Rule, Truncate

YESTERDAY = b"""{"charge_basis":"shadow","consumer":"c","dataset":"p/d","fields":[{"identifier":null,"keep_first":0,"keep_last":4,
"name":"phone","transform":"mask"}],"id":"a","key":"drop","legal_basis":"l","payer":"c","provider":"p","purpose":"u",
"represented_org":null,"rows":{"rules":[{"field":"x","operator":"eq","type":"condition","value":1}],"type":"all"},"scenario":null,
"service_item_code":null,"start":"now","tariff":"t@1","valid_from_ms":null,"valid_until_ms":1,"version":1}"""


def test_a_body_that_was_signed_before_there_were_parameters_is_read() -> None:
    """Released encodings never change."""
    found = msgspec.json.decode(YESTERDAY, type=Agreement)

    assert found.fields == (Grant("phone", "mask", keep_last=4),)


@pytest.mark.parametrize(
    "grant",
    [
        Grant("a", "truncate", parameters=Truncate(step="0.10")),
        Grant("a", "bucket", parameters=Bucket(edges=(1, "2.5"), labels=("x", "y", "z"))),
        Grant("a[].b", "constant", parameters=Constant(value=True, avro_type="boolean")),
    ],
)
def test_grants_are_read_as_they_were_written(grant: Grant) -> None:
    """Each kind of parameters has its tag."""
    assert msgspec.json.decode(msgspec.json.encode(grant), type=Grant) == grant


def test_every_is_a_rule_of_its_own() -> None:
    """A worker that does not know it refuses the body; a member of a condition would be passed over by it."""
    rule = Every(Condition("a[]", "eq", 1))

    assert msgspec.json.decode(msgspec.json.encode(rule), type=Rule) == rule


@pytest.mark.parametrize("place", [b'"transform":"mask"', b'"type":"condition"', b'"type":"all"', b'"start":"now"'])
def test_a_member_that_is_not_known_is_refused_wherever_it_stands(place: bytes) -> None:
    """A worker never acts on terms that it understands in part."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(YESTERDAY.replace(place, place + b',"soon":1'), type=Agreement)
