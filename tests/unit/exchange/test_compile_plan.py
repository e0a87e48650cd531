"""The plan compiler proves what a kernel relies on, and refuses the rest."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from kernel_kit import MASTER, NOW, SCOPE, VEHICLE, WRITER, decide, plan_of, terms, vehicle

from hub.exchange.plan import Plan, compile_plan
from hub.model.agreement import Agreement, Condition, Grant
from hub.model.entry import AgreementBody, DatasetBody
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.output_schema import output_schema
from hub.model.pseudonym import derive_key
from hub.model.reasons import DeniedBy

DATASET = DatasetBody(
    dataset="vehicle-registry/vehicles", topic="t", quarantine_topic="q", partitions=4, schema_ids=(WRITER,), key_identifier="plate"
)


def body_of(agreement: Agreement, **changes: Any) -> AgreementBody:
    """Return the body of an active agreement whose output schema has id 1000."""
    values: dict[str, Any] = {
        "state": State.ACTIVE,
        "terms": agreement,
        "share_topic": "s",
        "key_epoch": 1,
        "output_schema_ids": {str(WRITER): 1000},
        "since_ms": 0,
    }
    return AgreementBody(**(values | changes))


def compiled(*agreements: AgreementBody, schemas: dict[int, str]) -> Plan:
    """Return the plan of agreements beside the writer schema."""
    return compile_plan(
        dataset=DATASET,
        agreements=agreements,
        schemas={WRITER: json.dumps(VEHICLE)} | schemas,
        master_keys={1: MASTER},
        scope=SCOPE,
        plan_offset=1,
    )


def refusal_of(agreement: Agreement, *, output: str | None = None, **changes: Any) -> HubError:
    """Return why this agreement is refused; ``output`` replaces the registered output schema."""
    plan = compiled(body_of(agreement, **changes), schemas={} if output is None else {1000: output})
    assert [(found.id, found.state, found.output_ids) for found in plan.agreements] == [(agreement.id, State.SUSPENDED, {})]
    return plan.refused[agreement.id]


def test_an_agreement_that_cannot_be_compiled_costs_itself_and_no_other() -> None:
    """Its records are counted and denied, and no kernel looks at its terms; what others are granted goes on."""
    good, bad = terms("good", "plate"), terms("bad", "plate", Grant("owner_id", "pseudonym"), rows=Condition("colour", "eq", 1))
    outputs = {1000: output_schema(good, VEHICLE, key_epoch=1), 1001: "{}"}
    plan = compiled(body_of(good), body_of(bad, output_schema_ids={str(WRITER): 1001}, share_topic="bad"), schemas=outputs)
    assert set(plan.refused) == {"bad"}
    verdict = decide(plan, (b"key", vehicle()), (b"key", None))
    assert [(entry.agreement_id, entry.denied, entry.delivered, entry.denied_by) for entry in verdict.entries] == [
        ("bad", 2, 0, DeniedBy.STATE),
        ("good", 0, 1, None),
    ]
    assert set(verdict.deliveries) == {"s"}


def test_agreements_stand_in_order_of_their_ids_whatever_the_order_of_hub_plan() -> None:
    """Usage entries follow the plan's order: every worker must write the same."""
    plan = plan_of(terms("zebra", "plate"), terms("alpha", "plate"))

    assert [agreement.id for agreement in plan.agreements] == ["alpha", "zebra"]


def test_only_active_and_suspended_agreements_of_the_dataset_are_planned() -> None:
    """Ended: no longer in the plan, so nothing is metered for it."""
    states = {"a": State.ACTIVE, "b": State.SUSPENDED, "c": State.ENDED, "d": State.DRAFT}
    agreements = [terms(agreement_id, "plate") for agreement_id in states]

    plan = plan_of(*agreements, terms("e", "plate", dataset="vehicle-registry/drivers"), states=states)

    assert [agreement.id for agreement in plan.agreements] == ["a", "b"]


def test_terms_are_asked_at_the_moment_given() -> None:
    """The kernel has no clock; ``valid_until`` is exclusive."""
    plan = plan_of(terms("a", "plate"), terms("b", "plate", valid_from_ms=NOW + 1, valid_until_ms=NOW + 5))

    assert plan.in_term(NOW) == (True, False)
    assert plan.in_term(NOW + 1) == (False, True)
    assert plan.in_term(NOW + 5) == (False, False)


@given(
    now=st.integers(0, 12),
    later=st.integers(0, 12),
    spans=st.lists(st.tuples(st.none() | st.integers(0, 10), st.integers(0, 12)), max_size=4),
)
def test_whether_terms_agree_at_two_times_is_told_as_the_terms_tell_it(now: int, later: int, spans: list[tuple[int | None, int]]) -> None:
    """Asked before each commit: also across a border, and across two that undo each other."""
    planned = [terms(f"a{number}", "plate", valid_from_ms=begin, valid_until_ms=end) for number, (begin, end) in enumerate(spans)]
    plan = plan_of(*planned)
    assert plan.same_terms(now, later) == (plan.in_term(now) == plan.in_term(later))


def test_pseudonym_keys_are_those_of_consumer_purpose_and_kind() -> None:
    """For fields and for the record key; none that is not needed."""
    plan = plan_of(terms("a", Grant("owner_id", "pseudonym"), "plate", key="pseudonym"))

    keys = plan.agreements[0].pseudonym_keys

    assert keys == {
        kind: derive_key(MASTER, scope=SCOPE, consumer="parking-office", purpose="enforcement", kind=kind, epoch=1)
        for kind in ("plate", "resident-id")
    }


def test_a_plan_never_shows_its_keys() -> None:
    """A plan may end up in a log line or a traceback."""
    plan = plan_of(terms("a", Grant("owner_id", "pseudonym")))
    key = plan.agreements[0].pseudonym_keys["resident-id"]

    assert repr(key) not in repr(plan)
    assert "pseudonym_keys" not in repr(plan)


def test_terms_that_do_not_fit_are_refused_with_every_fault() -> None:
    """A signed agreement was checked before; this holds when the check was of an older version."""
    refused = refusal_of(terms("a", "plate", rows=Condition("colour", "eq", 1), key="hash"), output="{}")

    assert refused.code == "HUB-AGREE-005"
    assert [problem.field for problem in refused.problems] == ["rows.field", "key"]


def test_an_output_schema_wider_than_the_terms_is_refused() -> None:
    """Law 2 holds also against a registry that was tampered with."""
    narrow, wide = terms("a", "plate"), terms("a", "plate", "owner_id")

    refused = refusal_of(narrow, output=output_schema(wide, VEHICLE, key_epoch=1))

    assert refused.code == "HUB-AGREE-005"


def test_an_output_schema_is_the_same_however_the_registry_wrote_it() -> None:
    """Registries keep schemas as parsed JSON; spaces and order of members mean nothing."""
    agreement = terms("a", "plate")
    respelled = json.dumps(json.loads(output_schema(agreement, VEHICLE, key_epoch=1)), indent=2, sort_keys=True)

    plan = compile_plan(
        dataset=DATASET,
        agreements=[body_of(agreement)],
        schemas={WRITER: json.dumps(VEHICLE), 1000: respelled},
        master_keys={},
        scope=SCOPE,
        plan_offset=1,
    )

    assert plan.agreements[0].output_ids == {WRITER: 1000}


def test_a_schema_that_is_not_in_hub_plan_is_refused() -> None:
    """Schemas travel in hub.plan: a missing one means that it was emptied or cut."""
    assert refusal_of(terms("a", "plate")).code == "HUB-PLAN-002"


def test_a_missing_master_key_is_refused_where_a_pseudonym_needs_it() -> None:
    """An agreement without pseudonyms needs none."""
    agreement = terms("a", Grant("plate", "pseudonym"))

    refused = refusal_of(agreement, output=output_schema(agreement, VEHICLE, key_epoch=2), key_epoch=2)

    assert refused.code == "HUB-KEY-002"


def test_an_agreement_may_lack_an_output_schema_for_a_writer_schema() -> None:
    """Its terms need not fit that schema; records under it are quarantined for this agreement alone."""
    grown = {**VEHICLE, "fields": [field for field in VEHICLE["fields"] if field["name"] != "seats"]}

    plan = plan_of(terms("a", "seats"), schemas={7: VEHICLE, 8: grown}, without=[("a", 8)])

    assert plan.agreements[0].output_ids == {7: 1007}
    assert sorted(plan.writers) == [7, 8]


def test_plans_are_equal_only_to_themselves() -> None:
    """What a kernel derives from a plan is kept by identity and dies with it."""
    plan = plan_of(terms("a", "plate"))

    assert plan == plan  # noqa: PLR0124 (identity is what is asked)
    assert plan != plan_of(terms("a", "plate"))
    assert len({plan, msgspec.structs.replace(plan)}) == 2


def test_what_the_plan_before_has_proven_holds_for_the_same_terms_and_schemas_alone() -> None:
    """Thousands of agreements are not held against every schema for each change of one; another text, or other terms, are."""
    good = terms("good", "plate")
    output = output_schema(good, VEHICLE, key_epoch=1)

    def after(body: AgreementBody, text: str, before: Plan | None) -> Plan:
        schemas = {WRITER: json.dumps(VEHICLE), 1000: text}
        return compile_plan(
            dataset=DATASET, agreements=[body], schemas=schemas, master_keys={1: MASTER}, scope=SCOPE, plan_offset=2, before=before
        )

    first = after(body_of(good), output, None)
    assert first.refused == {}
    suspended = after(body_of(good, state=State.SUSPENDED), output, first)
    assert (suspended.refused, suspended.agreements[0].state) == ({}, State.SUSPENDED)
    assert suspended.agreements[0].proven == first.agreements[0].proven
    assert set(after(body_of(good), "{}", first).refused) == {"good"}
    assert set(after(body_of(terms("good", "plate", "class")), output, first).refused) == {"good"}
    assert set(after(body_of(good, key_epoch=2), output, first).refused) == {"good"}
    repaired = after(body_of(good), output, after(body_of(good), "{}", first))
    assert repaired.refused == {}


def test_an_agreement_is_taken_from_the_plan_before_where_nothing_that_it_follows_from_has_changed() -> None:
    """With thousands of agreements a change of one costs that one; whatever another follows from, and changed, makes it anew."""
    one, other = terms("one", "plate"), terms("other", "plate", Grant("owner_id", "pseudonym"))
    bodies = [body_of(one), body_of(other)]
    texts = {WRITER: json.dumps(VEHICLE), 1000: output_schema(one, VEHICLE, key_epoch=1), 1001: output_schema(other, VEHICLE, key_epoch=1)}
    bodies[1] = msgspec.structs.replace(bodies[1], output_schema_ids={str(WRITER): 1001})

    def after(before: Plan | None, *, dataset: DatasetBody = DATASET, key: bytes = MASTER, **changes: Any) -> Plan:
        return compile_plan(
            dataset=dataset,
            agreements=changes.get("bodies", bodies),
            schemas=changes.get("schemas", texts),
            master_keys={1: key},
            scope=SCOPE,
            plan_offset=2,
            before=before,
        )

    first = after(None)
    assert first.refused == {}
    moved = after(first, bodies=[msgspec.structs.replace(bodies[0], state=State.SUSPENDED), bodies[1]])
    assert [found.state for found in moved.agreements] == [State.SUSPENDED, State.ACTIVE]
    assert [moved.agreements[1] is first.agreements[1], moved.agreements[0] is first.agreements[0]] == [True, False]
    assert after(first, key=bytes(32)).agreements[1].pseudonym_keys != first.agreements[1].pseudonym_keys
    assert set(after(first, schemas=texts | {1000: "{}"}).refused) == {"one"}
    spaced = after(first, schemas=texts | {WRITER: json.dumps(VEHICLE, indent=1)})
    assert not {*spaced.agreements} & {*first.agreements}
    rekeyed = after(first, dataset=msgspec.structs.replace(DATASET, key_identifier=None))
    assert not {*rekeyed.agreements} & {*first.agreements}
    assert after(first, dataset=msgspec.structs.replace(DATASET, schema_ids=())).agreements[0].output_ids == {}
