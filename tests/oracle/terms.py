"""Agreement files as the reckoning reads them: row rules, three-valued, and what becomes of each granted field and of the key.

Only what the demo's agreements say is known here; anything else is an error, never a guess.
"""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from identity import Pseudonyms
from source import Field, Row, Value, write_value

Truth = bool | None
Rule = Callable[[Row], Truth]
Transform = Callable[[Value], Value]

COMPARE = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "isAnyOf": lambda value, listed: value in listed,
    "isNoneOf": lambda value, listed: value not in listed,
    "startsWith": str.startswith,
}


class Terms:
    """One agreement, ready to be asked row by row."""

    def __init__(self, raw: dict[str, Any], fields: list[Field], pseudonyms: Callable[[str], Pseudonyms], *, key: str) -> None:
        """Read the parts of an agreement file; ``pseudonyms`` gives those of an identifier kind."""
        self.id: str = raw["id"]
        self.consumer: str = raw["consumer"]
        self.dataset: str = raw["dataset"]
        self.allows: Rule = read_rule(raw["rows"]) if "rows" in raw else (lambda _row: True)
        granted = {item if isinstance(item, str) else item["name"]: item for item in raw["fields"]}
        by_name = {field.name: field for field in fields}
        if not granted.keys() <= by_name.keys():
            raise ValueError(f"{self.id}: grants fields that are not in the source")
        self._plan = [
            (field.name, field.nullable, _transform(granted[field.name], field, pseudonyms)) for field in fields if field.name in granted
        ]
        self._key_name = key
        self._key = _key_transform(raw.get("key", "drop"), by_name[key], pseudonyms)

    def body(self, row: Row) -> bytes:
        """Return the Avro body of what is delivered for ``row``."""
        return b"".join(write_value(transform(row[name]), nullable=nullable) for name, nullable, transform in self._plan)

    def key(self, row: Row) -> bytes | None:
        """Return the key of what is delivered for ``row``."""
        found = self._key(row[self._key_name])
        return None if found is None else str(found).encode()


def read_agreements(folder: Path) -> list[dict[str, Any]]:
    """Return the agreement files of a folder by id."""
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("**/*.yaml"))]
    return sorted((raw for raw in found if raw["kind"] == "Agreement"), key=lambda raw: raw["id"])


def read_rule(raw: dict[str, Any]) -> Rule:
    """Return a row rule as a function; its answer None is "unknown"."""
    if "all" in raw:
        return _all([read_rule(inner) for inner in raw["all"]])
    if "any" in raw:
        return _any([read_rule(inner) for inner in raw["any"]])
    if "not" in raw:
        inner = read_rule(raw["not"])
        return lambda row: None if (truth := inner(row)) is None else not truth
    (name,) = raw.keys() - {"field"}
    field, operand = raw["field"], raw[name]
    if name == "isNull":
        return lambda row: (row[field] is None) == operand
    compare = COMPARE[name]
    return lambda row: None if (value := row[field]) is None else bool(compare(value, operand))


def _all(rules: list[Rule]) -> Rule:
    def decide(row: Row) -> Truth:
        truths = [rule(row) for rule in rules]
        return False if False in truths else None if None in truths else True

    return decide


def _any(rules: list[Rule]) -> Rule:
    def decide(row: Row) -> Truth:
        truths = [rule(row) for rule in rules]
        return True if True in truths else None if None in truths else False

    return decide


def _transform(grant: str | dict[str, Any], field: Field, pseudonyms: Callable[[str], Pseudonyms]) -> Transform:
    if isinstance(grant, str):
        return lambda value: value
    rest = {name: given for name, given in grant.items() if name != "name"}
    if rest.keys() == {"mask"}:
        return _mask(**rest["mask"])
    if rest.keys() == {"pseudonym"} and not rest["pseudonym"] and field.identifier:
        of = pseudonyms(field.identifier).of
        return lambda value: None if value is None else of(str(value))
    raise ValueError(f"field {field.name}: the reckoning does not know {sorted(rest)}")


def _mask(keep_first: int = 0, keep_last: int = 0) -> Transform:
    def mask(value: Value) -> Value:
        if value is None:
            return None
        text = str(value)
        hidden = len(text) - keep_first - keep_last
        if hidden <= 0:
            return "*" * len(text)
        return text[:keep_first] + "*" * hidden + text[len(text) - keep_last :]

    return mask


def _key_transform(rule: str, field: Field, pseudonyms: Callable[[str], Pseudonyms]) -> Transform:
    if rule == "drop":
        return lambda _value: None
    if rule == "pseudonym":
        return _transform({"name": field.name, "pseudonym": {}}, field, pseudonyms)
    raise ValueError(f"the reckoning does not know key rule {rule}")
