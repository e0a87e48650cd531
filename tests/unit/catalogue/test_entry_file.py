"""Dataset entries: who answers for the data, and what may not enter."""

import pytest

from hub.catalogue.entry_file import parse_dataset_entry, schema_path
from hub.model.errors import HubError

ENTRY = """\
apiVersion: cityhub/v1
kind: Dataset
dataset: transport/flights
title: 航班
accountable_person: li-wei
sharing: conditional
schema: transport/flight/v1.avsc
"""


def refusal_of(text: str) -> HubError:
    """Return what the reader refuses."""
    with pytest.raises(HubError) as refusal:
        parse_dataset_entry(text, file="d.yaml")
    return refusal.value


def test_the_required_keys_make_an_entry() -> None:
    """What is left out has a default."""
    entry = parse_dataset_entry(ENTRY, file="d.yaml")
    assert (entry.dataset, entry.partitions, entry.secrecy, entry.level) == ("transport/flights", 4, "none", "general")


@pytest.mark.parametrize("secrecy", ["work_secret", "state_secret"])
def test_secret_data_is_refused_at_the_door_whatever_else_is_wrong(secrecy: str) -> None:
    """Both levels: this network is not for them."""
    refusal = refusal_of(ENTRY.replace("title: 航班\n", "") + f"secrecy: {secrecy}\n")
    assert refusal.code == "HUB-DATASET-002"
    assert refusal.problems[0].where == "d.yaml:7"


def test_data_that_is_not_shared_names_its_basis() -> None:
    """Refusing to share needs a law."""
    text = ENTRY.replace("conditional", "not_shared")
    assert [problem.field for problem in refusal_of(text).problems] == ["sharing_basis"]
    assert parse_dataset_entry(text + "sharing_basis: 某条例 第九条\n", file="d.yaml").sharing == "not_shared"


def test_every_fault_is_listed_at_once() -> None:
    """A steward mends a file in one go."""
    text = "kind: Datset\ndataset: flights\ntitel: x\nsharing: maybe\nschema: ../../etc/passwd\npartitions: 0\nsecrecy: some\n"
    fields = {problem.field for problem in refusal_of(text).problems}
    absent = {"apiVersion", "title", "accountable_person"}
    assert fields == absent | {"kind", "dataset", "titel", "sharing", "schema", "partitions", "secrecy"}


@pytest.mark.parametrize(
    ("kind", "passes"), [("plate", True), ("x-aircraft", True), ("aircraft", False), ("plates", False), ("号牌", False)]
)
def test_the_key_identifier_is_one_of_the_list_or_ones_own(kind: str, passes: bool) -> None:  # noqa: FBT001 - a column of the table
    """A misspelt kind would make pseudonyms that join with nobody's; what the dataset has already may stay."""
    text = ENTRY + f"key_identifier: {kind}\n"
    if passes:
        assert parse_dataset_entry(text, file="d.yaml").key_identifier == kind
    else:
        (found,) = refusal_of(text).problems
        assert (found.where, found.field, "`x-`" in found.fix) == ("d.yaml:8", "key_identifier", True)
        assert parse_dataset_entry(text, file="d.yaml", kind_kept={"transport/flights": kind}.get).key_identifier == kind


def test_the_schema_path_is_read_from_an_entry_that_has_other_faults() -> None:
    """So that the schema is judged in the same round."""
    assert schema_path(ENTRY.replace("title", "titel")) == "transport/flight/v1.avsc"
    assert [schema_path(text) for text in ("", "{", "schema: [a]", "schema: ../../etc/passwd", "- a")] == [None] * 5
