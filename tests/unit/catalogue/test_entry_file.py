"""Dataset entries: who answers for the data, and what may not enter."""

import pytest

from hub.catalogue.entry_file import parse_dataset_entry
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
