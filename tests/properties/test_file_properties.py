"""Whatever is sent as a file or a schema: an answer with a code, never a crash, and never a value in it."""

import json
from collections.abc import Callable
from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hub.agreements.file import parse_agreement
from hub.catalogue.entry_file import parse_dataset_entry
from hub.catalogue.gate import check_schema
from hub.catalogue.registry import fingerprint
from hub.model.errors import HubError

PHONE = "13800001111"
AGREEMENT = """\
apiVersion: cityhub/v1
kind: Agreement
id: parking-vehicles
provider: vehicle-registry
consumer: parking-office
dataset: vehicle-registry/vehicles
purpose: enforcement
legal_basis: law
valid_until: 2027-12-31
tariff: per-record@1
rows: {all: [{field: class, eq: "13800001111"}]}
fields: [plate]
"""
LINES = AGREEMENT.splitlines()
NOISE = st.sampled_from(
    ["", "  ", "- ", "{", "}", "[", "]", ": ", "&a ", "*a", "!!int ", "'", '"', "|\n ", "0x1f", "1e999", "null", "\t", "\ufeff"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
avro_words = st.sampled_from(["record", "enum", "fixed", "array", "map", "null", "int", "bytes", "string", "A", "decimal", ""])
avro_keys = st.sampled_from(
    ["type", "name", "fields", "items", "values", "symbols", "size", "namespace", "default", "logicalType", "precision", "scale", "grade"]
)
avro_like = st.recursive(
    avro_words | st.integers(-2, 60) | json_values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(avro_keys, inner, max_size=5),
    max_leaves=25,
)


def refusal_of(read: Callable[[], object]) -> HubError | None:
    """Return what is refused, None where nothing is; anything else that is raised is a crash."""
    try:
        read()
    except HubError as refusal:
        return refusal
    return None


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered(text: str) -> None:
    """A file is read or refused."""
    for read in (parse_agreement, parse_dataset_entry):
        refusal_of(partial(read, text, file="f.yaml"))


@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.integers(0, 60), NOISE), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_spoilt_agreement_is_answered_without_its_values(cuts: list[tuple[int, int, str]]) -> None:
    """Slips of the pen in a real file: the refusal names lines and fields, not what rows are compared with."""
    lines = list(LINES)
    for line, at, noise in cuts:
        lines[line] = lines[line][:at] + noise + lines[line][at:]
    refusal = refusal_of(lambda: parse_agreement("\n".join(lines), file="f.yaml"))
    if refusal is not None:
        assert refusal.code == "HUB-AGREE-001"
        assert all(problem.where.startswith("f.yaml:") for problem in refusal.problems)
        assert not any(PHONE in problem.message + problem.fix for problem in refusal.problems)


@given(avro_like)
@example({"type": "record", "name": "A", "fields": [{"name": "a", "type": {"type": "array", "items": "A"}}]})
@settings(max_examples=400, deadline=None)
def test_any_schema_is_answered_by_the_gate(schema: object) -> None:
    """What passes has a fingerprint."""
    text = json.dumps({"type": "record", "name": "A", "fields": schema} if isinstance(schema, list) else schema)
    refusal = refusal_of(lambda: check_schema(text, where="s"))
    if refusal is None:
        assert fingerprint(text)
    else:
        assert refusal.code in {"HUB-SCHEMA-001", "HUB-SCHEMA-002"}
