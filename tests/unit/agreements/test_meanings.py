"""Under a live agreement no granted field comes to mean something else: another identifier kind, another field's values."""

import json
from typing import Any

import pytest
from kernel_kit import terms

from hub.agreements.meanings import Meanings, mixed_kinds
from hub.catalogue.registry import Registered
from hub.model.agreement import All, Condition, Every, Grant, Not

OWNER = {"name": "owner", "type": "string", "identifier": "resident-id", "default": ""}
PHONE = {"name": "phone", "type": "string", "identifier": "phone", "default": ""}
NOTE = {"name": "note", "type": "string", "default": ""}


def record(*fields: Any) -> str:
    """Return a schema with these fields, also inside a record and in the elements of an array."""
    inner = {"type": "record", "name": "I", "fields": list(fields)}
    holders = [
        {"name": "in", "type": ["null", inner], "default": None},
        {"name": "list", "type": {"type": "array", "items": "I"}, "default": []},
    ]
    return json.dumps({"type": "record", "name": "R", "fields": [*fields, *holders]})


def changed(candidate: str, *fields: str | Grant, earlier: tuple[str, ...], rows: Any = None) -> list[tuple[str, str]]:
    """Return path and message of everything that would mean something else."""
    versions = [Registered("s", number, number, text) for number, text in enumerate(earlier, 1)]
    return [(found.field, found.message) for found in Meanings(candidate, versions).changed(terms("a-1", *fields, rows=rows))]


V1 = record(OWNER, PHONE, NOTE)


@pytest.mark.parametrize("place", ["", "in.", "list[]."])
@pytest.mark.parametrize("kind", ["phone", "x-owner", None])
def test_a_pseudonymised_field_keeps_its_identifier_kind(place: str, kind: str | None) -> None:
    """Else the consumer's pseudonyms change from one record to the next, without a word."""
    other = {key: value for key, value in {**OWNER, "identifier": kind}.items() if value is not None}
    found = changed(record(other, PHONE, NOTE), Grant(f"{place}owner", "pseudonym"), earlier=(V1,))
    assert [path for path, _ in found] == ["fields[0]"]
    assert "`resident-id`" in found[0][1]


def test_an_agreement_that_names_the_kind_itself_is_not_touched_by_the_schemas() -> None:
    """The way on: a new version of the agreement."""
    other = record({**OWNER, "identifier": "phone"}, PHONE, NOTE)
    assert changed(other, Grant("owner", "pseudonym", identifier="resident-id"), earlier=(V1,)) == []


def test_a_field_that_is_granted_as_it_is_does_not_become_another_identifier() -> None:
    """Who may see a phone may not see a resident id; a kind that is added or left out changes no value."""
    assert changed(record(OWNER, {**PHONE, "identifier": "resident-id"}, NOTE), "phone", earlier=(V1,))
    assert changed(record(OWNER, {**PHONE, "identifier": "resident-id"}, NOTE), Grant("phone", "mask", keep_last=4), earlier=(V1,))
    assert changed(record(OWNER, PHONE, {**NOTE, "identifier": "name"}), "note", earlier=(V1,)) == []
    without = record(OWNER, {key: value for key, value in PHONE.items() if key != "identifier"}, NOTE)
    assert changed(without, "phone", earlier=(V1,)) == []
    assert changed(record(OWNER, {**PHONE, "identifier": "resident-id"}, NOTE), "phone", earlier=(V1, without))
    for transform in ("nullify", "constant"):
        assert changed(record(OWNER, {**PHONE, "identifier": "resident-id"}, NOTE), Grant("phone", transform), earlier=(V1,)) == []


@pytest.mark.parametrize("place", ["", "in.", "list[]."])
def test_a_field_does_not_take_over_the_values_of_another_by_an_alias(place: str) -> None:
    """Swapped, or with the other gone: readers find another value under the name that was granted."""
    swapped = record({**OWNER, "aliases": ["phone"]}, {**PHONE, "aliases": ["owner"]}, NOTE)
    taken = record({**NOTE, "aliases": ["phone"]}, OWNER)
    assert [path for path, _ in changed(swapped, f"{place}owner", f"{place}phone", earlier=(V1,))] == ["fields[0]", "fields[1]"]
    assert [path for path, _ in changed(taken, f"{place}note", earlier=(V1,))] == ["fields[0]"]
    assert [path for path, _ in changed(taken, f"{place}note", earlier=(V1, record(OWNER, NOTE)))] == ["fields[0]"]


def test_what_a_rule_asks_about_is_held_too() -> None:
    """The rows that are delivered depend on it."""
    taken = record({**NOTE, "aliases": ["phone"]}, OWNER)
    rule = All((Not(Condition("note", "eq", "x")), Every(Condition("list[].note", "eq", "x"))))
    assert [path for path, _ in changed(taken, "owner", earlier=(V1,), rows=rule)] == ["rows", "rows"]


def test_the_kind_that_was_declared_last_counts() -> None:
    """Of a subject whose versions disagree already, what holds now may stay."""
    second = record({**OWNER, "identifier": "phone"}, PHONE, NOTE)
    wider = record({**OWNER, "identifier": "phone"}, PHONE, NOTE, {"name": "more", "type": "string", "default": ""})
    assert changed(wider, Grant("owner", "pseudonym"), earlier=(V1, second)) == []


def test_what_changes_nothing_is_not_told() -> None:
    """New fields, aliases of names that never were, fields that nobody names."""
    new = record(OWNER, {**PHONE, "aliases": ["telephone"]}, {"name": "more", "type": "string", "default": "", "aliases": ["note2"]}, NOTE)
    assert changed(new, "owner", "phone", Grant("in.owner", "pseudonym"), "list[].note", earlier=(V1,)) == []
    assert changed(record({**OWNER, "identifier": "phone"}, PHONE, NOTE), "note", "nowhere.at.all", earlier=(V1,)) == []


def test_an_agreement_on_versions_that_disagree_names_the_kind_itself() -> None:
    """Signed as it is, one person would have a pseudonym for each version that a record was written by."""
    versions = [Registered("s", 1, 1, V1), Registered("s", 2, 2, record({**OWNER, "identifier": "phone"}, PHONE, NOTE))]
    mixed = terms("a-1", "note", Grant("owner", "pseudonym"), Grant("in.owner", "pseudonym"), Grant("phone", "pseudonym"))
    found = mixed_kinds(mixed, versions)
    assert [problem.field for problem in found] == ["fields[1].pseudonym", "fields[2].pseudonym"]
    assert "`resident-id`, `phone`" in found[0].message
    assert mixed_kinds(terms("a-1", Grant("owner", "pseudonym", identifier="phone"), "in.owner"), versions) == ()
    assert mixed_kinds(mixed, versions[:1]) == ()
