"""The files that the demo and the README use: they are read by the product's own readers and fit together."""

import csv
import json
from pathlib import Path

import pytest

from connectors.kit.definition import load_definition
from hub.agreements.file import parse_agreement
from hub.catalogue.entry_file import parse_dataset_entry
from hub.catalogue.gate import check_schema
from hub.ledger.tariffs import released_tariffs
from hub.model.dataset import GRADES
from hub.model.terms import check_terms

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "deploy" / "demo"
DATA = ROOT / "build" / "nycflights13"
ENTRIES = {
    entry.dataset: entry
    for entry in (parse_dataset_entry(file.read_text(encoding="utf-8"), file=file.name) for file in sorted(DEMO.glob("datasets/*.yaml")))
}
AGREEMENTS = [
    parse_agreement(file.read_text(encoding="utf-8"), file=file.name).agreement for file in sorted(DEMO.glob("agreements/*.yaml"))
]


def schema_text(dataset: str) -> str:
    """Return the schema of a dataset, as shipped."""
    return (ROOT / "avro_schemas" / ENTRIES[dataset].schema).read_text(encoding="utf-8")


@pytest.mark.parametrize("dataset", sorted(ENTRIES))
def test_schema_passes_the_gate_and_describes_every_field(dataset: str) -> None:
    """Each field has its grade and its Chinese title; the key's field says which identifier it is, as the entry does."""
    check_schema(schema_text(dataset), where=dataset)
    fields = json.loads(schema_text(dataset))["fields"]
    assert {field["grade"] for field in fields} <= set(GRADES)
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in field["title"]) for field in fields)
    (subject,) = [field for field in fields if field.get("role") == "subject"]
    assert subject["identifier"] == ENTRIES[dataset].key_identifier
    assert subject["personal"] is True


@pytest.mark.parametrize("agreement", AGREEMENTS, ids=lambda agreement: agreement.id)
def test_agreement_fits_its_dataset_and_has_a_price(agreement: object) -> None:
    """What the demo signs compiles, and what it meters can be billed."""
    terms = next(one for one in AGREEMENTS if one is agreement)
    assert check_terms(terms, schema_text(terms.dataset), key_identifier=ENTRIES[terms.dataset].key_identifier) == ()
    released_tariffs().check(terms.tariff)


def test_demo_has_three_consumers_of_whom_one_of_industry_pays() -> None:
    """Rows and fields, a pseudonymised tail number, a payer: what the issue asks for, kept by this test."""
    assert len({agreement.consumer for agreement in AGREEMENTS}) == 3
    assert [agreement.payer for agreement in AGREEMENTS if agreement.charge_basis == "service_contract"] == ["harbour-insurance"]
    transforms = {grant.transform for agreement in AGREEMENTS for grant in agreement.fields if grant.name == "tailnum"}
    assert transforms == {"mask", "pseudonym"}
    assert {agreement.dataset for agreement in AGREEMENTS} == set(ENTRIES)


def test_no_agreement_grants_a_tail_number_in_the_clear() -> None:
    """It leads to a person; also the record key is dropped or a pseudonym."""
    for agreement in AGREEMENTS:
        assert all(grant.transform != "keep" for grant in agreement.fields if grant.name == "tailnum")
        assert agreement.key in {"drop", "pseudonym"}


@pytest.mark.skipif(not DATA.exists(), reason="the demo's data is fetched by `make setup`")
@pytest.mark.parametrize("file", sorted(DEMO.glob("connectors/*.yaml")), ids=lambda file: file.stem)
def test_connector_file_leads_to_data_with_the_columns_of_the_schema(file: Path) -> None:
    """The path in the file, relative to it, is where `make setup` puts the data."""
    definition = load_definition(file)
    (data,) = definition.settings.files
    with data.open(encoding="utf-8", newline="") as lines:
        header = next(csv.reader(lines))
    assert header == [field["name"] for field in json.loads(schema_text(definition.dataset))["fields"]]
    assert definition.settings.key in header
