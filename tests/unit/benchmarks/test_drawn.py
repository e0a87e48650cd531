"""Drawn agreements: every seed gives some that the hub takes, and the benchmark's own reckoning of rules is the reference's."""

import itertools

import pytest
from benchmarks.drawn import decoded, draw, holds
from benchmarks.job import KEY_IDENTIFIER, SCHEMA, dataset
from benchmarks.records import Source, make_source

from hub.agreements.file import parse_agreement
from hub.exchange.reference.authorise import compile_rule
from hub.model.source_schema import read_schema
from hub.model.terms import check_terms


@pytest.fixture(scope="module")
def source() -> Source:
    """Return some records."""
    return make_source(2_000, schema_id=1)


@pytest.mark.parametrize("seed", range(12))
def test_what_a_seed_draws_fits_the_schema(source: Source, seed: int) -> None:
    """A line of the table must not depend on luck with the seed."""
    for one in draw(seed, 5, source.partitions[0]):
        terms = parse_agreement(one.file(dataset("none")), file="drawn.yaml").agreement
        assert check_terms(terms, SCHEMA, key_identifier=KEY_IDENTIFIER) == ()


def test_a_seed_draws_the_same_again(source: Source) -> None:
    """A figure can be measured again by its seed."""
    files = [[one.file(dataset("none")) for one in draw(7, 5, source.partitions[0])] for _ in range(2)]
    assert files[0] == files[1]
    assert files[0] != [one.file(dataset("none")) for one in draw(8, 5, source.partitions[0])]


@pytest.mark.parametrize(
    ("rule", "truth"),
    [
        ({"field": "a", "gt": 1}, None),
        ({"not": {"field": "a", "gt": 1}}, None),
        ({"all": [{"field": "a", "gt": 1}, {"field": "b", "eq": 2}]}, None),
        ({"all": [{"field": "a", "gt": 1}, {"field": "b", "eq": 3}]}, False),
        ({"any": [{"field": "a", "gt": 1}, {"field": "b", "eq": 2}]}, True),
        ({"any": [{"field": "a", "gt": 1}, {"field": "b", "eq": 3}]}, None),
        ({"field": "a", "isNull": True}, True),
    ],
)
def test_null_is_unknown(rule: dict[str, object], truth: object) -> None:
    """Three-valued logic, by hand."""
    assert holds(rule, {"a": None, "b": 2}) is truth


def test_the_reckoning_of_drawn_rules_is_the_references(source: Source) -> None:
    """Written twice on purpose: a count that both get wrong in the same way is not likely."""
    schema = read_schema(SCHEMA)
    for seed in range(15):
        for one in draw(seed, 3, source.partitions[0]):
            rule = parse_agreement(one.file(dataset("none")), file="drawn.yaml").agreement.rows
            assert rule is not None
            test = compile_rule(rule, schema)
            for row in itertools.islice(source.partitions[1], 20):
                record = decoded(row.value)
                values = [list(value.values()) if isinstance(value, dict) else value for value in record.values()]
                assert (test(values) is True) == (holds(one.rows, record) is True)
