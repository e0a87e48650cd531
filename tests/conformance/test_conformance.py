"""Every kernel passes every row of the table. Kernels stand in ``tests/kernels.py``; a row is one line of a file here.

A rule's truth is seen from outside: what is delivered under the rule is true, what is delivered under its ``not`` is false, and
what is delivered under neither is unknown.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from kernel_kit import NOW, batch_at, chunk_of, delivered, plan_of, source_at, terms
from kernels import Kernel, kernels

from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.agreement import Agreement, Grant, Not, Rule
from hub.model.errors import HubError
from hub.model.framing import frame_header
from hub.model.terms import check_terms

FOLDER: Final = Path(__file__).parent
ROWS: Final = [
    pytest.param(row, id=f"{file.stem}-{number}")
    for file in sorted(FOLDER.glob("*.json"))
    for number, row in enumerate(json.loads(file.read_text(encoding="utf-8"))["rows"])
]
WRITER: Final = 7


def schema_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the writer schema: the row's fields, or its type as field f."""
    return {"type": "record", "name": "R", "fields": list(row.get("fields", [{"name": "f", "type": row.get("type")}]))}


def terms_of_row(row: Mapping[str, Any]) -> Agreement:
    """Return terms as a signed body would have them."""
    grants = msgspec.convert(row.get("grants", [{"name": "marker"}]), tuple[Grant, ...])
    rows = None if "rows" not in row else msgspec.convert(row["rows"], Rule)
    return terms("parking", *grants, rows=rows, key=row.get("key_rule", "drop"))


def decide(kernel: Kernel, agreement: Agreement, schema: Mapping[str, Any], row: Mapping[str, Any]) -> Verdict:
    """Run a kernel on the row's one record."""
    plan = plan_of(agreement, schemas={WRITER: schema}, key_identifier=row.get("key_identifier"))
    key = None if "key" not in row else bytes.fromhex(row["key"])
    value = None if row["source"] is None else frame_header(WRITER) + bytes.fromhex(row["source"])
    chunk = chunk_of(batch_at(100, [(key, value)]), first_offset=100, next_offset=101)
    return kernel(plan, [chunk], source_at(100), Moment(now_ms=NOW))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kernel", kernels())
def test_a_kernel_gives_what_the_table_says(kernel: Kernel, row: dict[str, Any]) -> None:
    """The table is the meaning; where a kernel differs from it, the kernel is wrong."""
    if "refused" in row:
        assert_refused(row)
    elif "truth" in row:
        assert truth_of(kernel, row) == row["truth"]
    else:
        assert outcome_of(kernel, row) == wanted_of(row)


def assert_refused(row: dict[str, Any]) -> None:
    """Hold that terms do not compile, that one fault says where, and that it says what to write instead."""
    schema = schema_of_row(row)
    schema["fields"].append({"name": "marker", "type": "null"})
    agreement = terms_of_row(row)
    faults = check_terms(agreement, schema, key_identifier=row.get("key_identifier"))
    assert [fault.field for fault in faults] == [row["refused"]]
    assert all(fault.message and fault.fix for fault in faults)
    with pytest.raises(HubError, match=r"do not fit|not in the schema") as refused:
        plan_of(agreement, schemas={WRITER: schema}, key_identifier=row.get("key_identifier"))
    assert refused.value.code == "HUB-AGREE-005"


def truth_of(kernel: Kernel, row: dict[str, Any]) -> str:
    """Return T, F or U."""
    schema = schema_of_row(row)
    schema["fields"].append({"name": "marker", "type": "null"})
    agreement = terms_of_row(row)
    assert agreement.rows is not None
    found = ""
    for rule, letter in ((agreement.rows, "T"), (Not(agreement.rows), "F")):
        verdict = decide(kernel, msgspec.structs.replace(agreement, rows=rule), schema, row)
        assert not verdict.quarantined
        found += letter if verdict.entries[0].delivered else ""
    return found or "U"


def wanted_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the row says of the one record; where it says nothing of a delivered key, there is none."""
    if "delivered" in row:
        return {"delivered": row["delivered"], "delivered_key": row.get("delivered_key")}
    return {key: row[key] for key in ("quarantined", "filtered", "suppressed") if key in row}


def outcome_of(kernel: Kernel, row: dict[str, Any]) -> dict[str, Any]:
    """Return the delivered body and key, or the code, or that the record is filtered or suppressed."""
    verdict = decide(kernel, terms_of_row(row), schema_of_row(row), row)
    if verdict.quarantined:
        return {"quarantined": verdict.quarantined[0].code}
    for disposition in ("filtered", "suppressed"):
        if getattr(verdict.entries[0], disposition):
            return {disposition: True}
    ((key, out),) = delivered(verdict)
    return {"delivered": None if out is None else out[5:].hex(), "delivered_key": None if key is None else key.hex()}


def _without_rules(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    return reference.run(_with_terms(plan, rows=None), chunks, source, moment)


def _without_transforms(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    kept = tuple(Grant(grant.name) for grant in plan.agreements[0].terms.fields)
    return reference.run(_with_terms(plan, fields=kept), chunks, source, moment)


def _without_keys(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    return reference.run(_with_terms(plan, key="drop"), chunks, source, moment)


def _with_terms(plan: Plan, **changes: Any) -> Plan:
    (agreement,) = plan.agreements
    changed = msgspec.structs.replace(agreement, terms=msgspec.structs.replace(agreement.terms, **changes))
    return msgspec.structs.replace(plan, agreements=(changed,))


@pytest.mark.parametrize(
    ("broken", "tables"),
    [
        (_without_rules, {"operators", "logic", "elements", "keys"}),
        (_without_transforms, {"transforms", "nested", "pseudonyms", "keys"}),
        (_without_keys, {"keys"}),
    ],
)
def test_a_kernel_that_is_wrong_fails_the_table(broken: Kernel, tables: set[str]) -> None:
    """A table that no kernel can fail says nothing."""
    failed = set()
    for param in ROWS:
        (row,) = param.values
        table = str(param.id).rpartition("-")[0]
        if "truth" in row:
            fails = truth_of(broken, row) != row["truth"]
        else:
            fails = "refused" not in row and outcome_of(broken, row) != wanted_of(row)
        failed |= {table} if fails else set()
    assert failed == tables
