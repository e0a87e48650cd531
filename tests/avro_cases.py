"""Random Avro: schemas of every shape, values that fit, grants and rules that may fit. Values are written by fastavro."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from hypothesis import strategies as st
from kernel_kit import schema_of, terms

from hub.model import agreement as words
from hub.model.agreement import Agreement, All, Bucket, Condition, Constant, Every, Grant, Not, Prefix, Rule, Truncate
from hub.model.field_types import SourceSchema
from hub.model.paths import leaves
from hub.model.source_schema import read_schema
from hub.model.terms import check_terms

INT = st.integers(-(2**31), 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)
SIMPLE: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "boolean": ("boolean", st.booleans()),
    "int": ("int", INT),
    "long": ("long", LONG),
    "float": ("float", st.floats(width=32)),
    "double": ("double", st.floats()),
    "bytes": ("bytes", st.binary(max_size=8)),
    "string": ("string", st.text(max_size=8)),
    "date": ({"type": "int", "logicalType": "date"}, INT),
    "time": ({"type": "long", "logicalType": "time-micros"}, LONG),
    "stamp": ({"type": "long", "logicalType": "timestamp-millis"}, LONG),
    "local": ({"type": "long", "logicalType": "local-timestamp-micros"}, LONG),
    "nanos": ({"type": "long", "logicalType": "timestamp-nanos"}, LONG),
    "uuid": ({"type": "string", "logicalType": "uuid"}, st.text(max_size=8)),
    "money": ({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}, st.binary(min_size=1, max_size=12)),
}
UNIONS: list[tuple[list[Any], st.SearchStrategy[Any]]] = [
    (["int", "string"], INT | st.text(max_size=4)),
    (["null", "boolean", "string"], st.none() | st.booleans() | st.text(max_size=4)),
    (["bytes", "null", "double"], st.none() | st.binary(max_size=4) | st.floats()),
    (["string"], st.text(max_size=4)),
]
TRANSFORMS: list[Grant] = [
    Grant("x"),
    Grant("x", "mask", keep_first=1),
    Grant("x", "pseudonym", identifier="other"),
    Grant("x", "prefix", parameters=Prefix(characters=2)),
    Grant("x", "truncate", parameters=Truncate(characters=3)),
    Grant("x", "truncate", parameters=Truncate(step=7)),
    Grant("x", "truncate", parameters=Truncate(to="year")),
    Grant("x", "truncate", parameters=Truncate(to="hour")),
    Grant("x", "bucket", parameters=Bucket(edges=(-5, 0, 1000))),
    Grant("x", "bucket", parameters=Bucket(width=3)),
    Grant("x", "nullify"),
    Grant("x", "constant", parameters=Constant(value="c", avro_type="string")),
]
OPERANDS: list[tuple[str, Any]] = [
    *((operator, 3) for operator in ("eq", "neq", "gt", "gteq", "lt", "lteq")),
    ("eq", "a"),
    ("gt", "b"),
    ("startsWith", "a"),
    ("isAnyOf", (1, 2, 3)),
    ("isNoneOf", ("a", "b")),
    ("eq", True),
    ("isNull", True),
    ("isNull", False),
]


class Drawn(NamedTuple):
    """A writer schema and rows that fit it."""

    schema: dict[str, Any]
    source: SourceSchema
    rows: list[dict[str, Any]]

    def leaves(self) -> tuple[str, ...]:
        """Return every path that can be granted, and those of unions that hold records."""
        return leaves(self.source.record, "")


Typed: TypeAlias = tuple[Any, st.SearchStrategy[Any]]


@st.composite
def kinds(draw: st.DrawFn, names: Iterator[int], depth: int = 3) -> Typed:
    """Draw a type and the strategy of its values."""
    flat = ["simple", "enum", "fixed", "union"]
    shape = draw(st.sampled_from(flat + ["record", "array", "map", "nullable"] * 2 if depth else flat))
    if shape in flat:
        return draw(_flat(shape, names))
    if shape == "record":
        parts = [draw(kinds(names, depth - 1)) for _ in range(draw(st.integers(1, 3)))]
        fields = [{"name": f"m{place}", "type": kind} for place, (kind, _) in enumerate(parts)]
        values = {f"m{place}": value for place, (_, value) in enumerate(parts)}
        return {"type": "record", "name": f"N{next(names)}", "fields": fields}, st.fixed_dictionaries(values)
    inner, values_of = draw(kinds(names, depth - 1))
    if shape == "array":
        return {"type": "array", "items": inner}, st.lists(values_of, max_size=3)
    if shape == "map":
        return {"type": "map", "values": inner}, st.dictionaries(st.text(max_size=3), values_of, max_size=3)
    union = inner if isinstance(inner, list) else draw(st.sampled_from([["null", inner], [inner, "null"]]))
    return union, values_of if union is inner else st.none() | values_of


def _flat(shape: str, names: Iterator[int]) -> st.SearchStrategy[Typed]:
    if shape == "simple":
        return st.sampled_from([SIMPLE[name] for name in sorted(SIMPLE)])
    if shape == "union":
        return st.sampled_from([(list(branches), values) for branches, values in UNIONS])
    if shape == "enum":
        return st.just(({"type": "enum", "name": f"E{next(names)}", "symbols": ["a", "b", "c"]}, st.sampled_from(["a", "b", "c"])))
    return st.just(({"type": "fixed", "name": f"F{next(names)}", "size": 2}, st.binary(min_size=2, max_size=2)))


@st.composite
def drawn_schemas(draw: st.DrawFn) -> Drawn:
    """Draw a schema of up to four fields, and one to four rows."""
    names = itertools.count()
    parts = [draw(kinds(names)) for _ in range(draw(st.integers(1, 4)))]
    schema = schema_of(*(kind for kind, _ in parts))
    row = st.fixed_dictionaries({f"f{place}": value for place, (_, value) in enumerate(parts)})
    return Drawn(schema, read_schema(schema), draw(st.lists(row, min_size=1, max_size=4)))


@st.composite
def grants_for(draw: st.DrawFn, case: Drawn) -> tuple[Grant, ...]:
    """Draw grants of some leaves under any transform that fits; all kept where none is left."""
    found = []
    for path in draw(st.lists(st.sampled_from(case.leaves()), min_size=1, unique=True)):
        kind = draw(st.sampled_from(TRANSFORMS))
        on_elements = draw(st.sampled_from(["", "[]", "{}"]))
        for name in (path + on_elements, path):
            grant = Grant(name, kind.transform, kind.keep_first, identifier=kind.identifier, parameters=kind.parameters)
            if fits(case, terms("parking", grant)):
                found.append(grant)
                break
    return tuple(found)


@st.composite
def rules_for(draw: st.DrawFn, case: Drawn) -> Rule | None:
    """Draw a rule of conditions that fit; None where none does."""
    conditions: list[Rule] = []
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(case.leaves())) + draw(st.sampled_from(["", "[]", "{}"]))
        condition = Condition(path, *draw(st.sampled_from(OPERANDS)))
        rule: Rule = draw(st.sampled_from([condition, Every(condition)]))
        if fits(case, terms("parking", Grant("f0"), rows=rule), only="rows"):
            conditions.append(draw(st.sampled_from([rule, Not(rule)])))
    if not conditions:
        return None
    return draw(st.sampled_from([All(tuple(conditions)), words.Any(tuple(conditions))]))


def fits(case: Drawn, agreement: Agreement, *, only: str = "") -> bool:
    """Tell whether terms fit the schema, or their part that begins with ``only``."""
    return not [fault for fault in check_terms(agreement, case.schema, key_identifier=None) if fault.field.startswith(only)]
