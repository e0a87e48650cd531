"""Each word that an agreement may say has rows: who adds a transform, operator, unit or kind without rows sees it here.

What is asked of a word is what its meaning needs: a transform something delivered, something delivered of null and a fault; an operator
all three truths (``isNull`` is never unknown); a kind and a key rule something delivered and something set aside.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from hub.model.agreement import KEY_RULES, OPERATORS, TRANSFORMS
from hub.model.pseudonym import KINDS
from hub.model.transforms import CONSTANT_TYPES, UNITS

FOLDER: Final = Path(__file__).parent
NUMBERS: Final = ("int", "long", "float", "double", "decimal on bytes", "decimal on fixed")
RULES: Final = ("all", "any", "not", "every", *OPERATORS)


def words() -> Iterator[tuple[str, ...]]:
    """Yield what rows must be about: the word, and what became of a value there."""
    for transform in TRANSFORMS:
        yield from ((transform, outcome) for outcome in ("delivered", "delivered null", "refused"))
    yield from (("truncate", "to", kind, unit) for kind, units in UNITS.items() for unit in units)
    for how in (("truncate", "step"), ("bucket", "width"), ("bucket", "edges")):
        yield from ((*how, kind) for kind in NUMBERS)
    yield from (("truncate", "characters"), ("bucket", "labels"))
    yield from (("constant", kind) for kind in CONSTANT_TYPES)
    yield from ((word, truth) for word in RULES for truth in "TFU" if (word, truth) != ("isNull", "U"))
    yield from (("kind", kind, outcome) for kind in (*KINDS, "one's own") for outcome in ("delivered", "quarantined"))
    yield from (("key", rule, outcome) for rule in KEY_RULES for outcome in ("delivered", "suppressed"))
    yield from (("key", rule, "quarantined") for rule in KEY_RULES if rule != "drop")


def rows() -> list[dict[str, Any]]:
    """Return every row of the table."""
    return [row for file in sorted(FOLDER.glob("*.json")) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]


def said(table: Iterable[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """Return what the rows of a table are about."""
    return {word for row in table for word in (*_of_grants(row), *_of_rule(row), *_of_key(row))}


def _outcome(row: Mapping[str, Any]) -> str:
    return next((word for word in ("delivered", "quarantined", "suppressed", "filtered", "refused") if word in row), "")


def _of_grants(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    outcome, kind = _outcome(row), row.get("type")
    for grant in row.get("grants", ()):
        transform, given = grant.get("transform", "keep"), grant.get("parameters", {})
        yield transform, outcome
        if outcome == "delivered" and _holds_null(row):
            yield transform, "delivered null"
        if outcome == "delivered":
            yield from ((transform, name, _number(kind)) for name in given)
            yield from ((transform, name) for name in given)
            yield transform, "to", str(kind.get("logicalType") if isinstance(kind, dict) else kind), str(given.get("to"))
            yield transform, str(given.get("avro_type"))
        identifier = str(grant.get("identifier"))
        yield "kind", identifier if identifier in KINDS else "one's own", outcome


def _holds_null(row: Mapping[str, Any]) -> bool:
    """Tell whether the row's one value is the null of its union."""
    kind = row.get("type")
    return isinstance(kind, list) and "null" in kind and row["source"] == f"{2 * kind.index('null'):02x}"


def _number(kind: Any) -> str:
    return f"decimal on {kind['type']}" if isinstance(kind, dict) and kind.get("logicalType") == "decimal" else str(kind)


def _of_rule(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if "truth" in row:
        yield from ((word, row["truth"]) for word in _rule_words(row["rows"]))


def _rule_words(rule: Mapping[str, Any]) -> Iterator[str]:
    if rule["type"] == "condition":
        yield rule["operator"]
        return
    yield rule["type"]
    inner = [rule["rule"]] if "rule" in rule else rule["rules"]
    yield from (word for part in inner for word in _rule_words(part))


def _of_key(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    if "key_rule" in row:
        yield "key", row["key_rule"], _outcome(row)


def missing(wanted: Iterable[tuple[str, ...]], table: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the words that no row is about."""
    found = said(table)
    return [word for word in wanted if word not in found]


def test_every_word_of_an_agreement_has_rows() -> None:
    """What no row says, no kernel is held to."""
    assert missing(words(), rows()) == []


@pytest.mark.parametrize("word", ["bucket", "startsWith", "every", "phone", "month", "pseudonym"])
def test_a_word_without_rows_is_seen(word: str) -> None:
    """The check can fail: without the rows that say the word, and for a word that nobody wrote rows for."""
    silent = [row for row in rows() if f'"{word}"' not in json.dumps(row)]

    assert any(word in lacking for lacking in missing(words(), silent))
    assert missing([("hash", "delivered"), ("matches", "T")], rows()) == [("hash", "delivered"), ("matches", "T")]
