"""Agreement files: officers see every fault at once, with its line and how to mend it."""

from pathlib import Path

import pytest

from hub.agreements.file import AgreementReading, parse_agreement
from hub.model.agreement import All, Condition, Grant
from hub.model.errors import HubError, Problem

GOLDEN = Path(__file__).parents[2] / "golden" / "agreements"
EXAMPLE = """\
apiVersion: cityhub/v1
kind: Agreement
id: parking-vehicles
provider: vehicle-registry
consumer: parking-office
dataset: vehicle-registry/vehicles
purpose: enforcement
legal_basis: "浙政发〔2012〕41号 三(四)"
valid_until: 2027-12-31
tariff: per-record@1
rows: {all: [{field: class, eq: passenger}, {field: region, isAnyOf: ["330106", "330108"]}]}
fields: [plate, model, {name: owner_id, pseudonym: {}}, {name: phone, mask: {keep_last: 4}}]
"""


def faults_of(text: str) -> tuple[Problem, ...]:
    """Return what the reader refuses."""
    with pytest.raises(HubError) as refusal:
        parse_agreement(text, file="a.yaml")
    assert refusal.value.code == "HUB-AGREE-001"
    return refusal.value.problems


def test_the_example_of_the_readme_is_a_valid_agreement() -> None:
    """This file, and no more, is what an officer has to write."""
    agreement = parse_agreement(EXAMPLE, file="a.yaml").agreement
    assert agreement.id == "parking-vehicles"
    assert agreement.fields == (
        Grant("plate"),
        Grant("model"),
        Grant("owner_id", "pseudonym"),
        Grant("phone", "mask", keep_last=4),
    )
    assert agreement.rows == All((Condition("class", "eq", "passenger"), Condition("region", "isAnyOf", ("330106", "330108"))))


def test_what_is_left_out_has_the_careful_default() -> None:
    """No key, the consumer pays, the charge is shown and not collected."""
    agreement = parse_agreement(EXAMPLE, file="a.yaml").agreement
    assert (agreement.version, agreement.payer, agreement.key, agreement.start, agreement.charge_basis) == (
        1,
        "parking-office",
        "drop",
        "now",
        "shadow",
    )


def test_a_bare_date_ends_the_term_at_midnight_after_that_day_in_shanghai() -> None:
    """2027-12-31 is included whole: the term ends, exclusively, at 2028-01-01 00:00 +08:00."""
    assert parse_agreement(EXAMPLE, file="a.yaml").agreement.valid_until_ms == 1_830_268_800_000


def test_a_bare_date_begins_the_term_at_midnight_before_that_day_in_shanghai() -> None:
    """2027-01-01 00:00 +08:00."""
    agreement = parse_agreement(EXAMPLE + "valid_from: 2027-01-01\n", file="a.yaml").agreement
    assert agreement.valid_from_ms == 1_798_732_800_000


@pytest.mark.parametrize("time", ["2027-12-31T18:00", "2027-12-31T18:00+08:00", "2027-12-31T10:00:00Z"])
def test_a_time_is_shanghai_time_unless_it_says_otherwise(time: str) -> None:
    """Three ways to write one moment."""
    text = EXAMPLE.replace("2027-12-31", f"'{time}'")
    assert parse_agreement(text, file="a.yaml").agreement.valid_until_ms == 1_830_247_200_000


def test_every_fault_is_listed_at_once_with_line_field_and_fix() -> None:
    """An officer mends a file in one go, not fault by fault; the listing is for human eyes."""
    found = faults_of((GOLDEN / "faulty.yaml").read_text(encoding="utf-8"))
    listing = "".join(f"{fault.where}  {fault.field or '(file)'}: {fault.message}\n    fix: {fault.fix}\n" for fault in found)
    assert listing == (GOLDEN / "faulty.txt").read_text(encoding="utf-8")


def test_a_misspelt_key_is_met_with_the_right_one() -> None:
    """`tarif` is refused, not ignored."""
    found = faults_of(EXAMPLE.replace("tariff", "tarif"))
    assert any(fault.field == "tarif" and fault.fix == "did you mean `tariff`?" for fault in found)


@pytest.mark.parametrize("key", ["quota", "obligations", "parties", "split", "tests", "signatures", "region_scope", "subject_visibility"])
def test_a_term_that_nothing_enforces_yet_is_refused(key: str) -> None:
    """A quota that is signed and not enforced would be a lie."""
    found = faults_of(EXAMPLE + f"{key}: {{}}\n")
    assert [fault.field for fault in found] == [key]
    assert "comes later" in found[0].message


def test_an_empty_all_is_refused_because_it_would_let_everything_pass() -> None:
    """Vacuous truth must not grant rows."""
    found = faults_of(EXAMPLE.replace("all: [{field: class, eq: passenger}, ", "all: [], any: [{field: class, eq: passenger}, "))
    assert found
    assert faults_of(EXAMPLE[: EXAMPLE.index("rows:")] + "rows: {all: []}\nfields: [plate]\n")[0].field == "rows.all"


@pytest.mark.parametrize(("number", "fits"), [(2**53, True), (2**53 + 1, False), (-(2**53), True), (-(2**53) - 1, False), (10**400, False)])
def test_integers_end_at_two_to_the_53(number: int, fits: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """Canonical JSON cannot hold larger ones, so a signature could not either."""
    text = EXAMPLE.replace("{field: class, eq: passenger}", f"{{field: weight, eq: {number}}}")
    if fits:
        assert parse_agreement(text, file="a.yaml").agreement.rows is not None
    else:
        assert [fault.field for fault in faults_of(text)] == ["rows.all[0].eq"]


def test_an_unquoted_code_does_not_lose_its_leading_zero() -> None:
    """YAML 1.1 would read 0330106 as octal."""
    found = faults_of(EXAMPLE.replace("eq: passenger", "eq: 0330106"))
    assert "leading zero" in found[0].message


def test_words_that_old_yaml_took_for_booleans_stay_text() -> None:
    """`no` is a country code as often as it is a denial."""
    agreement = parse_agreement(EXAMPLE.replace("eq: passenger", "eq: no"), file="a.yaml").agreement
    assert isinstance(agreement.rows, All)
    assert agreement.rows.rules[0] == Condition("class", "eq", "no")


def test_no_value_of_the_file_stands_in_a_fault() -> None:
    """Row values may be personal data: a refusal names fields, never what they were compared with."""
    found = faults_of(EXAMPLE.replace("{field: class, eq: passenger}", "{field: phone, eq: '13800001111', neq: '13800001111'}"))
    assert "13800001111" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- b",
        "a: [1, 2",
        "\x00",
        "[" * 5000,
        "a: &x [*x]",
        "x: " + "9" * 300_000,
        "a: &a [1]\nb: [*a, *a]\n",
        "? [a]\n: b\n",
        "<<: {a: 1}\n",
        "a: !!python/object:os.system x",
    ],
)
def test_no_text_crashes_the_reader(text: str) -> None:
    """Whatever is sent, the answer is a list of faults."""
    assert faults_of(text)


def test_the_provider_owns_the_dataset() -> None:
    """One department cannot grant another's data."""
    found = faults_of(EXAMPLE.replace("provider: vehicle-registry", "provider: transport"))
    assert [fault.field for fault in found] == ["dataset"]


def test_a_finding_about_a_field_is_put_on_its_line() -> None:
    """The schema's findings come later, but on the lines of the file."""
    parsed = parse_agreement(EXAMPLE, file="a.yaml")
    assert parsed.locate("rows.all[1].field") == "a.yaml:11"
    assert parsed.locate("fields[2].pseudonym.unknown") == "a.yaml:12"
    assert parsed.locate("nowhere") == "a.yaml:1"


def test_what_is_found_beside_faults_of_form_is_told_on_its_own_line_in_the_same_round() -> None:
    """Grants with faults are left out of what is judged, so that the places of the others differ from those in the file."""
    text = (
        EXAMPLE.replace("tariff:", "tarif:").replace("fields: [", "fields:\n- {name: a, blur: {}}\n- plate\n- b\n").partition("plate, ")[0]
    )
    reading = AgreementReading(text, file="a.yaml")
    assert reading.faulty
    assert reading.partial is not None
    assert [grant.name for grant in reading.partial.fields] == ["plate", "b"]
    beside = [
        Problem("", field, "beside", "") for field in ("fields[1].name", "fields[0]", "fields", "tariff", "valid_until", "rows.all[0].eq")
    ]
    with pytest.raises(HubError) as refusal:
        reading.finish(beside)
    found = {problem.field: int(problem.where.rpartition(":")[2]) for problem in refusal.value.problems if problem.message == "beside"}
    lines = text.splitlines()
    assert {field: lines[line - 1].strip().partition(":")[0] for field, line in found.items()} == {
        "fields[2].name": "- b",
        "fields[1]": "- plate",
        "valid_until": "valid_until",
        "rows.all[0].eq": "rows",
    }, "what form told of `fields` as a whole and of `tariff` is not told twice"
    assert refusal.value.code == "HUB-AGREE-001"
    assert {"tarif", "fields[0].blur"} <= {problem.field for problem in refusal.value.problems}
