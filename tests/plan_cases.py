"""Plans drawn at random, and the schemas of their records: for comparing the kernels, and for the seeds of the fuzzer."""

from typing import Any, Final, NamedTuple

from avro_cases import Drawn, drawn_schemas, fits, grants_for, rules_for
from hypothesis import assume
from hypothesis import strategies as st
from kernel_kit import NOW, plan_of, terms

from hub.exchange.plan import Plan
from hub.exchange.verdict import Moment
from hub.model.agreement import Agreement
from hub.model.lifecycle import State

IDS: Final = ("b", "a", "d", "c", "e", "f")
SMALL: Final = (
    {},
    {},
    {},
    {"record_bytes_max": 40},
    {"batch_bytes_max": 2_000},
    {"step_plain_bytes_max": 9_000},
    {"step_quarantined_max": 20},
)


class Case(NamedTuple):
    """One plan, and what its records are made of."""

    plan: Plan
    schemas: dict[int, dict[str, Any]]
    moment: Moment
    seed: int


@st.composite
def agreements_on(draw: st.DrawFn, case: Drawn) -> list[Agreement]:
    """Draw one to six agreements that fit; rules and grants come twice, as they do in a city."""
    grants = [found for found in (draw(grants_for(case)) for _ in range(draw(st.integers(1, 3)))) if found]
    rules = [None, *(draw(rules_for(case)) for _ in range(draw(st.integers(0, 3))))]
    assume(grants)
    made = [
        terms(
            agreement_id,
            *draw(st.sampled_from(grants)),
            rows=draw(st.sampled_from(rules)),
            key=draw(st.sampled_from(["drop", "keep", "pseudonym"])),
            consumer=draw(st.sampled_from(["parking-office", "tax-office"])),
            valid_until_ms=draw(st.sampled_from([NOW + 1] * 5 + [NOW])),
        )
        for agreement_id in IDS[: draw(st.integers(1, len(IDS)))]
    ]
    assume(all(fits(case, agreement) for agreement in made))
    return made


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a plan over one writer schema, or two with the second unknown to some agreements."""
    case = draw(drawn_schemas())
    agreements = draw(agreements_on(case))
    schemas = {7: case.schema}
    without: list[tuple[str, int]] = []
    if draw(st.integers(0, 3)) == 0:
        schemas[8] = {**case.schema, "fields": [*case.schema["fields"], {"name": "added", "type": "string"}]}
        without = [(agreement.id, 8) for agreement in agreements if draw(st.booleans())]
    states = {agreement.id: draw(st.sampled_from([State.ACTIVE] * 6 + [State.SUSPENDED])) for agreement in agreements}
    limits = draw(st.sampled_from(SMALL)) | {"output_codec": draw(st.sampled_from(["none", "source", "lz4", "zstd", "gzip", "snappy"]))}
    plan = plan_of(
        *agreements, schemas=schemas, states=states, without=without, key_identifier=draw(st.sampled_from(["other", "plate"])), **limits
    )
    undeliverable = frozenset(draw(st.sampled_from([(), (), (), ("a",)])))
    return Case(plan, schemas, Moment(now_ms=NOW, undeliverable=undeliverable), draw(st.integers(0, 2**32)))
