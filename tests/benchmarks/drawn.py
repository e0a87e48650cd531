"""Agreements drawn from a seed: fields, transforms and rules that fit the job's schema, so that nothing is tuned to one plan.

The rules are reckoned here once more, on values that a library decodes, in SQL's three-valued logic: the hub's counts are held
against that. Rules ask for nothing that differs between copies of a record.
"""

import dataclasses
import io
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import fastavro

from benchmarks.job import DISTRICTS, SCHEMA, VEHICLES, Terms, agreement_file
from benchmarks.records import Observation
from hub.model.framing import HEADER_BYTES

FIELDS: Final = (3, 9)
CONDITIONS: Final = (1, 4)
ADMITTED: Final = (0.05, 0.95)
"""Share of the rows that a drawn rule admits of a sample; another is drawn where it is outside."""
SAMPLE: Final = 400
_SCHEMA: Final = fastavro.parse_schema(dict(SCHEMA))
Condition = dict[str, Any]


class _Draw(NamedTuple):
    dice: random.Random

    def among(self, *values: Any) -> Any:
        return self.dice.choice(values)

    def some(self, values: Sequence[Any], least: int = 2) -> list[Any]:
        return sorted(self.dice.sample(values, self.dice.randint(least, len(values) - 1)))


_TEXT: Final[tuple[Callable[[_Draw], dict[str, Any]], ...]] = (
    lambda _: {},
    lambda draw: {"mask": {"keep_first": draw.dice.randint(0, 4), "keep_last": draw.dice.randint(0, 4)}},
    lambda draw: {"prefix": {"characters": draw.dice.randint(1, 8)}},
    lambda draw: {"truncate": {"characters": draw.dice.randint(1, 12)}},
    lambda _: {"nullify": {}},
    lambda _: {"constant": {"value": "withheld"}},
)
_NUMBER: Final[tuple[Callable[[_Draw], dict[str, Any]], ...]] = (
    lambda _: {},
    lambda draw: {"truncate": {"step": draw.among(5, 10, 25)}},
    lambda draw: {"bucket": {"width": draw.among(5, 10, 20)}},
    lambda _: {"bucket": {"edges": [18, 40, 65], "labels": ["young", "middle", "older", "old"]}},
    lambda _: {"nullify": {}},
)
_IDENTIFIER: Final = (lambda _: {"pseudonym": {}}, *_TEXT)
_TRANSFORMS: Final[Mapping[str, Sequence[Callable[[_Draw], dict[str, Any]]]]] = {
    "event_id": _TEXT,
    "citizen_id": _IDENTIFIER,
    "full_name": _TEXT,
    "email": _TEXT,
    "phone": _IDENTIFIER,
    "age": _NUMBER,
    "district": _TEXT,
    "sensor_id": _IDENTIFIER,
    "vehicle": (lambda _: {}, lambda draw: {"prefix": {"characters": draw.dice.randint(1, 4)}}, lambda _: {"nullify": {}}),
    "plate": _IDENTIFIER,
    "speed_kmh": _NUMBER,
    "toll_cents": _NUMBER,
    "observed_at": (lambda _: {}, lambda draw: {"truncate": {"to": draw.among("second", "minute", "hour", "day", "month", "year")}}),
    "position.lat": (lambda _: {}, lambda _: {"truncate": {"step": "0.1"}}),
    "position.lon": (lambda _: {}, lambda _: {"truncate": {"step": "0.1"}}),
    "position.heading": (lambda _: {}, lambda _: {"bucket": {"width": 90}}),
}
_CONDITIONS: Final[Sequence[Callable[[_Draw], Condition]]] = (
    lambda draw: {"field": "age", draw.among("gt", "gteq", "lt", "lteq"): draw.dice.randint(10, 80)},
    lambda draw: {"field": "district", draw.among("isAnyOf", "isNoneOf"): draw.some(DISTRICTS)},
    lambda draw: {"field": "vehicle", draw.among("eq", "neq"): draw.among(*VEHICLES)},
    lambda draw: {"field": "vehicle", "isAnyOf": draw.some(VEHICLES)},
    lambda draw: {"field": "speed_kmh", draw.among("gteq", "lt"): draw.dice.randint(30, 90)},
    lambda draw: {"field": "toll_cents", draw.among("gteq", "lt"): draw.dice.randint(200, 1_800)},
    lambda draw: {"field": draw.among("email", "phone", "plate", "speed_kmh"), "isNull": draw.among(True, False)},
    lambda draw: {"field": "plate", "startsWith": draw.among("ZA", "ZAB", "ZAK")},
    lambda draw: {"field": "sensor_id", "startsWith": draw.among("S00", "S01", "S02")},
    lambda draw: {"field": "position.lat", draw.among("gteq", "lt"): draw.among(30.25, 30.5, 30.75)},
    lambda draw: {"field": "position.heading", draw.among("gteq", "lt"): draw.dice.randint(60, 300)},
)


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """One drawn agreement."""

    terms: Terms
    key: str
    fields: list[Any]
    rows: dict[str, Any]

    @property
    def id(self) -> str:
        """Id of the agreement."""
        return self.terms.id

    def file(self, dataset: str) -> str:
        """Return the agreement file."""
        return agreement_file(self.terms, dataset, key=self.key, rows=self.rows, fields=self.fields)

    def admits(self, one: Observation) -> bool:
        """Tell whether a row may cross: only where the rule is true, not where it is unknown."""
        return holds(self.rows, decoded(one.value)) is True


def draw(seed: int, count: int, sample: Sequence[Observation]) -> tuple[Drawn, ...]:
    """Return ``count`` agreements; each admits a fair share of ``sample``, so that there is something to deliver."""
    dice = random.Random(seed)
    out: list[Drawn] = []
    while len(out) < count:
        found = _one(len(out), _Draw(dice))
        share = sum(map(found.admits, sample[:SAMPLE])) / len(sample[:SAMPLE])
        if ADMITTED[0] <= share <= ADMITTED[1]:
            out.append(found)
    return tuple(out)


def holds(rule: Mapping[str, Any], record: Mapping[str, Any]) -> bool | None:
    """Return the truth of a rule of a record: None is unknown."""
    if "all" in rule:
        found = [holds(inner, record) for inner in rule["all"]]
        return False if False in found else None if None in found else True
    if "any" in rule:
        found = [holds(inner, record) for inner in rule["any"]]
        return True if True in found else None if None in found else False
    if "not" in rule:
        inner = holds(rule["not"], record)
        return None if inner is None else not inner
    value: Any = record
    for name in rule["field"].split("."):
        value = value[name]
    (operator, operand) = next((key, given) for key, given in rule.items() if key != "field")
    if operator == "isNull":
        return (value is None) is operand
    return None if value is None else _OPERATORS[operator](value, operand)


def decoded(value: bytes) -> Mapping[str, Any]:
    """Return a framed record's values."""
    source = io.BytesIO(value)
    source.seek(HEADER_BYTES)
    found: Mapping[str, Any] = fastavro.schemaless_reader(source, _SCHEMA, None)
    return found


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda value, operand: bool(value == operand),
    "neq": lambda value, operand: bool(value != operand),
    "gt": lambda value, operand: bool(value > operand),
    "gteq": lambda value, operand: bool(value >= operand),
    "lt": lambda value, operand: bool(value < operand),
    "lteq": lambda value, operand: bool(value <= operand),
    "isAnyOf": lambda value, operand: value in operand,
    "isNoneOf": lambda value, operand: value not in operand,
    "startsWith": lambda value, operand: bool(value.startswith(operand)),
}


def _one(number: int, draw: _Draw) -> Drawn:
    names = draw.dice.sample(sorted(_TRANSFORMS), draw.dice.randint(*FIELDS))
    fields = [{"name": name, **transform} if transform else name for name in names for transform in [draw.among(*_TRANSFORMS[name])(draw)]]
    conditions = [draw.among(*_CONDITIONS)(draw) for _ in range(draw.dice.randint(*CONDITIONS))]
    conditions = [{"not": one} if draw.dice.random() < 0.2 else one for one in conditions]
    rows = {draw.among("all", "any"): conditions}
    return Drawn(Terms(number, ()), draw.among("keep", "drop", "pseudonym"), fields, rows)
