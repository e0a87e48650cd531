"""`docs/reference/shapes.md` on dataset entries, agreements, money and acts: each table is held against the part that decides it."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
import yaml
from reference_pages import ROOT, code, column, hold_table, modules, read_table

from hub.agreements import file as agreement_file
from hub.agreements import file_grants, file_rules, withdrawals
from hub.agreements.file import parse_agreement
from hub.agreements.outside_acts import ANEW
from hub.catalogue import annotations, datasets, entry_file
from hub.catalogue.entry_file import parse_dataset_entry
from hub.ledger import rating, tariffs
from hub.model import agreement, dataset, money, pseudonym
from hub.model.errors import HubError
from hub.model.lifecycle import NARROWING, TRANSITIONS, State
from hub.model.lifecycle import Act as Step
from hub.model.names import share_namespace
from hub.model.output_schema import output_schema
from hub.store.engine import METADATA
from hub.store.tables import acts

PAGE: Final = "shapes.md"
TEXT: Final = (ROOT / "docs/reference" / PAGE).read_text(encoding="utf-8")
HEAD: Final = ("apiVersion", "kind")


def _example(kind: str) -> dict[str, Any]:
    """Return the first manifest of README of a kind, or the demo's."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    blocks.append((ROOT / "deploy/demo/datasets/flights.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = next(read for text in blocks if (read := yaml.safe_load(text)).get("kind") == kind)
    return found


def _is_read(parse: Callable[..., object], manifest: Mapping[str, Any]) -> bool:
    try:
        parse(json.dumps(manifest, default=str), file="example.yaml")
    except HubError:
        return False
    return True


def _required(parse: Callable[..., object], manifest: Mapping[str, Any]) -> set[str]:
    """Return the keys without which a manifest is refused: asked of the code, not read from it."""
    assert _is_read(parse, manifest)
    return {key for key in manifest if not _is_read(parse, {name: value for name, value in manifest.items() if name != key})}


# Dataset entries


_CHOICES: Final = {
    "sharing": dataset.SHARING,
    "secrecy": dataset.SECRECY,
    "level": dataset.LEVELS,
    "retention_class": entry_file.RETENTION_CLASSES,
    "authoritative_source": ("true", "false"),
}


@pytest.mark.golden
def test_keys_of_a_dataset_entry_are_those_of_the_code() -> None:
    """Which are needed is asked of the code, with the demo's entry."""
    required = _required(parse_dataset_entry, _example("Dataset"))
    rows = [
        (code(key), "yes" if key in required else "no", " ".join(map(code, _CHOICES.get(key, ()))) or "text")
        for key in entry_file._KNOWN
        if key not in HEAD
    ]
    numbers = {code("partitions"): f"1 to {entry_file.PARTITIONS_MAX}"}
    hold_table(PAGE, "Dataset entries", ((key, needed, numbers.get(key, values)) for key, needed, values in rows))
    assert required >= {"apiVersion", "kind", "dataset", "sharing"}


def test_states_of_a_dataset_are_those_of_the_code() -> None:
    """And of the database, which holds them apart."""
    assert f"`{datasets.APPLIED}` until `cityhub dataset publish`, then `{datasets.PUBLISHED}`" in TEXT
    held = _checked("datasets", "state")
    assert held == {datasets.APPLIED, datasets.PUBLISHED}
    fixed = {row[0].strip("`") for row in read_table(PAGE, "Dataset entries").rows if "fixed once published" in row[-1]}
    assert fixed == set(datasets._FIXED_ONCE_PUBLISHED)


def _checked(table: str, name: str) -> set[str]:
    """Return the words that a CHECK of a table allows in a column."""
    texts = [str(getattr(part, "sqltext", "")) for part in METADATA.tables[table].constraints]
    (found,) = [text for text in texts if text.startswith(f"{name} IN")]
    return set(re.findall(r"'(\w+)'", found))


def test_properties_of_fields_are_those_of_the_code() -> None:
    """The table stands in `docs/schemas.md`, and `docs/reference/shapes.md` points to it."""
    text = (ROOT / "docs/schemas.md").read_text(encoding="utf-8")
    properties, kinds = re.findall(r"^\|---\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    named = {word for line in properties.splitlines() for word in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == {*annotations._PROPERTIES, "identifier"}
    assert [line.split("`")[1] for line in kinds.splitlines()] == [*pseudonym.KINDS, "x-…"]
    assert all(word in properties for word in annotations.ROLES)
    assert dataset.GRADES == ("L1", "L2", "L3", "L4")
    assert "`L1` … `L4`" in properties


# Agreements


def _default(key: str, terms: agreement.Agreement) -> str:
    value = getattr(terms, f"{key}_ms" if key.startswith("valid_") else key)
    if key == "payer" and value == terms.consumer:
        return "the consumer"
    return "none" if value is None else code(value)


@pytest.mark.golden
def test_keys_of_an_agreement_file_are_those_of_the_code() -> None:
    """Which are needed, and what is taken where one is left out, is asked of the code, with README's agreement."""
    manifest = _example("Agreement")
    required = _required(parse_agreement, manifest)
    terms = parse_agreement(json.dumps({key: manifest[key] for key in required}, default=str), file="example.yaml").agreement
    rows = [
        (code(key), "yes" if key in required else "no", "–" if key in required else _default(key, terms))
        for key in agreement_file._KNOWN
        if key not in HEAD
    ]
    hold_table(PAGE, "Agreement files", rows)


@pytest.mark.golden
def test_words_of_an_agreement_are_those_of_the_code() -> None:
    """Transforms, operators, key rules; and what a file may not say yet."""
    words = {
        "transform": ("`fields`", agreement.TRANSFORMS),
        "operator": ("a condition in `rows`", agreement.OPERATORS),
        "group": ("`rows`", file_rules._GROUPS),
        "key rule": ("`key`", agreement.KEY_RULES),
        "refused until it is built": ("the file", agreement_file._LATER),
        "transform that comes later": ("`fields`", file_grants._LATER),
    }
    rows = ((word, of, " ".join(map(code, values))) for word, (of, values) in words.items())
    hold_table(PAGE, "Words of an agreement", rows)
    bounds = (file_rules.RULE_DEPTH_MAX, file_rules.CONDITIONS_MAX, file_rules.LIST_VALUES_MAX)
    assert "at most {} levels, {} conditions and {:,} values in a list".format(*bounds) in TEXT


@pytest.mark.golden
def test_the_life_of_an_agreement_is_that_of_the_code() -> None:
    """A diagram that is drawn by hand goes wrong in silence."""
    rows = []
    for state in State:
        moves = [f"`{act}` → {after}" for (before, act), after in TRANSITIONS.items() if before is state]
        rows.append((str(state), " · ".join(moves) or "none"))
    hold_table(PAGE, "Life of an agreement", rows)
    assert _checked("agreements", "state") == set(State)


def test_withdrawals_are_shown_as_the_page_says() -> None:
    """What an officer reads while a withdrawal is on its way."""
    assert {verb.partition(".")[0] for verb in withdrawals._SHOWN} == {*NARROWING, Step.SIGN}
    assert all(f"`{shown}`" in TEXT for shown in withdrawals._SHOWN.values())


def test_output_schemas_are_as_the_page_says() -> None:
    """Name, namespace, properties and the types of transformed fields."""
    manifest = _example("Agreement")
    grants = (
        agreement.Grant("kept"),
        agreement.Grant("masked", "mask", keep_last=1),
        agreement.Grant("gone", "nullify"),
        agreement.Grant("cut", "truncate", parameters=agreement.Truncate(step=10)),
    )
    base = {key: manifest[key] for key in ("id", "provider", "consumer", "dataset", "purpose", "legal_basis", "tariff")}
    whole = agreement.Agreement(**base, valid_until_ms=1, payer=base["consumer"], fields=grants)
    source = {
        "type": "record",
        "name": "R",
        "namespace": "dept.a",
        "fields": [
            {"name": "masked", "type": ["null", "string"], "identifier": "phone"},
            {"name": "kept", "type": "string", "identifier": "plate"},
            {"name": "gone", "type": "int"},
            {"name": "cut", "type": "int"},
            {"name": "unseen", "type": "int"},
        ],
    }
    made = json.loads(output_schema(whole, source, key_epoch=1))
    assert made["name"] == "R"
    assert made["namespace"] == share_namespace(consumer=base["consumer"], agreement=base["id"]) == "share.parking_office.parking_vehicles"
    assert {key for key in made if f"`{key}`" in TEXT} >= {"agreement", "agreement_version", "key_epoch"}
    assert [field["name"] for field in made["fields"]] == ["masked", "kept", "gone", "cut"]
    assert [field["type"] for field in made["fields"]] == [["null", "string"], "string", ["null", "int"], "int"]
    assert ["identifier" in field for field in made["fields"]] == [False, True, False, False]
    told = [word for row in read_table(PAGE, "Output schemas").rows for word in re.findall(r"`(\w+)`", row[0])]
    assert sorted(told) == sorted(agreement.TRANSFORMS)


# Money and acts


@pytest.mark.golden
def test_charge_bases_are_those_of_the_code() -> None:
    """And the page says of each whether it is collected."""
    hold_table(PAGE, "Charge bases", ((code(basis), "yes" if basis in rating.COLLECTED else "no") for basis in agreement.CHARGE_BASES))


@pytest.mark.golden
def test_keys_of_the_tariff_book_are_those_of_the_code() -> None:
    """What a release writes, once."""
    hold_table(PAGE, "The tariff book", ((code(key),) for key in tariffs._FIELDS))
    assert f"{money.MICRO:,} to the fen" in TEXT
    assert [money.round_to_fen(half * money.MICRO // 2) for half in (1, 3)] == [0, 2]


@pytest.mark.golden
def test_columns_of_an_act_are_those_of_the_table() -> None:
    """In the order in which they are hashed."""
    hold_table(PAGE, "Acts", ((code(name.name),) for name in acts.columns))
    (row,) = [row for row in read_table(PAGE, "Acts").rows if row[0] == "`outcome`"]
    assert set(re.findall(r"`(\w+)`", row[1])) == _checked("acts", "outcome")


def _verbs() -> Iterator[str]:
    """Yield the verbs that the source gives to acts."""
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.keyword) and node.arg == "verb" and isinstance(node.value, ast.Constant):
                yield node.value.value
    yield ANEW
    yield from (f"{step}.agreement" for step in Step)


@pytest.mark.golden
def test_verbs_of_acts_are_those_of_the_code() -> None:
    """An auditor who reads a verb finds what it means."""
    verbs = sorted(set(_verbs()))
    assert {"publish.dataset", "sign.agreement", "adopt.position"} <= set(verbs)
    hold_table(PAGE, "Verbs of acts", ((code(verb),) for verb in verbs))
    assert column(PAGE, "Verbs of acts") == verbs
