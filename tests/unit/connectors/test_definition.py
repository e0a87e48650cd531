"""Connector files: every fault at once, with line, field and fix."""

from pathlib import Path
from typing import Any

import pytest

from connectors.kit.contract import Definition
from connectors.kit.definition import parse_definition, source_type, source_types, template
from hub.model.errors import HubError

HEAD = "apiVersion: cityhub/v1\nkind: Source\nname: cars\ntype: csv-file\ndataset: vehicle-registry/cars\n"


def parsed(text: str) -> Definition:
    """Read a connector file of this folder."""
    return parse_definition(text, file="cars.yaml", folder=Path("/etc/hub"), types=source_types())


def faults(text: str) -> list[tuple[str, str, str]]:
    """Return where, field and message of every fault."""
    with pytest.raises(HubError) as raised:
        parsed(text)
    assert raised.value.code == "HUB-CONN-001"
    return [(problem.where, problem.field, problem.message) for problem in raised.value.problems]


def test_the_type_is_found_by_its_entry_point() -> None:
    """The hub never imports a source."""
    assert source_types()["csv-file"].TYPE == "csv-file"
    with pytest.raises(HubError) as raised:
        source_type("csv-fiel")
    assert raised.value.fix == "did you mean `csv-file`?"


def test_a_short_file_has_the_defaults_and_paths_from_its_own_folder() -> None:
    """Five lines and a folder are enough."""
    found = parsed(HEAD + "folder: inbox\n")
    settings: Any = found.settings
    assert (found.policy, found.metrics_port, settings.folder, settings.delimiter) == ("freeze", None, Path("/etc/hub/inbox"), ",")
    assert (settings.null_values, settings.key, settings.encoding, settings.pattern) == (frozenset({""}), None, None, None)


def test_every_key_can_be_given() -> None:
    """And is read as it is written."""
    text = """policy: discard_value
metrics_port: 0
files: [a.csv, /data/b.csv]
delimiter: tab
null_values: ["", NA, "0"]
key: [plate]
encoding: gb18030
done: done
rejected: bad
settle_s: 5
row_characters_max: 100
"""
    settings: Any = parsed(HEAD + text).settings
    assert settings.files == (Path("/etc/hub/a.csv"), Path("/data/b.csv"))
    assert (settings.delimiter, settings.null_values, settings.key, settings.encoding) == (
        "\t",
        frozenset({"", "NA", "0"}),
        "plate",
        "gb18030",
    )
    assert (settings.done, settings.rejected, settings.settle_s, settings.row_characters_max) == (
        Path("/etc/hub/done"),
        Path("/etc/hub/bad"),
        5,
        100,
    )


def test_null_values_may_be_none_at_all() -> None:
    """Then every text is a value."""
    settings: Any = parsed(HEAD + "folder: inbox\nnull_values: []\n").settings
    assert settings.null_values == frozenset()


def test_every_fault_is_named_at_once_with_its_line() -> None:
    """Also those of the type's own keys."""
    text = """apiVersion: cityhub/v2
kind: Source
name: Cars!
type: csv-file
dataset: cars
policy: evolve
metrics_port: 70000
folder: inbox
files: [1]
patern: "*.txt"
delimiter: ",,"
null_values: NA
key: [a, b]
encoding: latin-1
settle_s: -1
row_characters_max: 0
"""
    found = faults(text)
    assert [(where, field) for where, field, _ in found] == [
        ("cars.yaml:1", "apiVersion"),
        ("cars.yaml:1", "folder"),
        ("cars.yaml:3", "name"),
        ("cars.yaml:5", "dataset"),
        ("cars.yaml:6", "policy"),
        ("cars.yaml:7", "metrics_port"),
        ("cars.yaml:9", "files[0]"),
        ("cars.yaml:10", "patern"),
        ("cars.yaml:11", "delimiter"),
        ("cars.yaml:12", "null_values"),
        ("cars.yaml:13", "key"),
        ("cars.yaml:14", "encoding"),
        ("cars.yaml:15", "settle_s"),
        ("cars.yaml:16", "row_characters_max"),
    ]


def test_policies_that_come_later_are_refused_and_not_ignored() -> None:
    """A policy that is not acted upon would be a promise broken in silence."""
    for policy in ("evolve", "discard_row"):
        ((_, _, message),) = faults(HEAD + f"folder: a\npolicy: {policy}\n")
        assert message == f"`{policy}` comes later: this build would not act on it"


def test_an_unknown_type_is_one_fault() -> None:
    """Its keys are not judged by another type's."""
    assert [field for _, field, _ in faults(HEAD.replace("csv-file", "csv_file") + "anything: 1\n")] == ["type"]


def test_what_init_writes_is_read_without_a_fault() -> None:
    """A file to start from starts."""
    text = template(source_types()["csv-file"], name="cars", dataset="vehicle-registry/cars")
    assert parsed(text).name == "cars"
    lines = [line for line in text.splitlines() if not line.startswith("# see") and ": ..." not in line]
    every_default = "\n".join(line.removeprefix("# ").split("   #")[0] for line in lines)
    assert parsed(every_default).settings == parsed(text).settings
