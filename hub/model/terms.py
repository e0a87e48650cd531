"""Terms against a writer schema: everything in an agreement that does not fit, at once, each with its place in the file.

The control plane reports the faults with file and line (HUB-AGREE-005); an agreement that has none compiles. An agreement must
fit every writer schema of its dataset. Also told here: which schemas the exchange cannot carry at all (the gate asks).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from hub.model.agreement import KEY_RULES, LIST_OPERATORS, OPERATORS, TRANSFORMS, Agreement, All, Condition, Grant, Not, Rule
from hub.model.operands import UnfitOperand, comparable, operand
from hub.model.source_schema import FieldType, SourceField, SourceSchema, read_schema, unsupported_schema

__all__ = ["TermsFault", "check_terms", "identifier_kind", "unsupported_schema"]

RULE_DEPTH_MAX: Final = 32
RULE_CONDITIONS_MAX: Final = 1_000
RULE_VALUES_MAX: Final = 10_000
"""Values of one isAnyOf or isNoneOf."""
MASK_CHARACTERS_MAX: Final = 1_000
ORDERED_OPERATORS: Final = ("gt", "gteq", "lt", "lteq")


class TermsFault(msgspec.Struct, frozen=True):
    """One fault of an agreement's terms."""

    field: str
    """Path in the agreement's file, as ``rows.all[1].eq``."""
    message: str
    fix: str


def check_terms(agreement: Agreement, source_schema: str | Mapping[str, Any], *, key_identifier: str | None) -> tuple[TermsFault, ...]:
    """Return every fault of ``agreement`` against one writer schema; empty when it compiles.

    ``key_identifier`` is the identifier kind that the dataset declares for the record key. HUB-AGREE-005 when the schema
    itself cannot be carried (the gate refuses such schemas at registration).
    """
    source = read_schema(source_schema)
    return (
        *_grants(agreement.fields, source),
        *(() if agreement.rows is None else _rules(agreement.rows, source)),
        *_key(agreement.key, key_identifier),
    )


def identifier_kind(grant: Grant, field: SourceField) -> str | None:
    """Return the identifier kind that a pseudonym of ``field`` is made for: the grant's own, else the schema's."""
    return grant.identifier or field.identifier


def _grants(grants: tuple[Grant, ...], source: SourceSchema) -> Iterator[TermsFault]:
    if not grants:
        yield TermsFault("fields", "no field is granted", "name at least one field")
    seen: set[str] = set()
    for place, grant in enumerate(grants):
        path = f"fields[{place}]"
        field = source.field(grant.name)
        if field is None:
            yield _unknown_field(f"{path}.name", grant.name, source)
            continue
        if grant.name in seen:
            yield TermsFault(f"{path}.name", f"field `{grant.name}` is granted twice", "name each field once")
        seen.add(grant.name)
        if grant.transform == "mask":
            yield from _mask(grant, field, f"{path}.mask")
        elif grant.transform == "pseudonym":
            yield from _pseudonym(grant, field, f"{path}.pseudonym")
        elif grant.transform not in TRANSFORMS:
            yield TermsFault(path, f"`{grant.transform}` is no transform", f"use one of: {', '.join(TRANSFORMS)}")


def _mask(grant: Grant, field: SourceField, path: str) -> Iterator[TermsFault]:
    if field.type.base not in {"string", "enum"}:
        yield TermsFault(
            path, f"field `{grant.name}` is {_words(field.type)}: only text and enums can be masked", "keep it, or leave it out"
        )
    for name, value in (("keep_first", grant.keep_first), ("keep_last", grant.keep_last)):
        if not 0 <= value <= MASK_CHARACTERS_MAX:
            yield TermsFault(f"{path}.{name}", f"`{name}` is out of range", f"write a number of characters from 0 to {MASK_CHARACTERS_MAX}")


def _pseudonym(grant: Grant, field: SourceField, path: str) -> Iterator[TermsFault]:
    if field.type.base != "string":
        yield TermsFault(path, f"field `{grant.name}` is {_words(field.type)}: only text has a pseudonym", "keep it, or leave it out")
    elif identifier_kind(grant, field) is None:
        yield TermsFault(
            path,
            f"field `{grant.name}` declares no identifier kind, and pseudonyms are made per kind",
            "write `pseudonym: {identifier: KIND}`, or ask the provider to declare it in the schema",
        )


def _rules(rows: Rule, source: SourceSchema) -> Iterator[TermsFault]:
    left = RULE_CONDITIONS_MAX
    stack: list[tuple[Rule, str, int]] = [(rows, "rows", 1)]
    while stack:
        rule, path, depth = stack.pop()
        left -= 1
        if depth > RULE_DEPTH_MAX or left < 0:
            yield TermsFault(
                path,
                f"the rule has more than {RULE_CONDITIONS_MAX} parts or is nested over {RULE_DEPTH_MAX} deep",
                "split the agreement, or use isAnyOf",
            )
            return
        if isinstance(rule, Condition):
            yield from _condition(rule, source, path)
        elif isinstance(rule, Not):
            stack.append((rule.rule, f"{path}.not", depth + 1))
        else:
            word = "all" if isinstance(rule, All) else "any"
            if not rule.rules:
                yield TermsFault(f"{path}.{word}", f"`{word}` holds no rule", "name at least one, or leave it out")
            stack.extend((inner, f"{path}.{word}[{place}]", depth + 1) for place, inner in reversed(list(enumerate(rule.rules))))


def _condition(rule: Condition, source: SourceSchema, path: str) -> Iterator[TermsFault]:
    field = source.field(rule.field)
    if field is None:
        yield _unknown_field(f"{path}.field", rule.field, source)
    if rule.operator not in OPERATORS:
        yield TermsFault(path, f"`{rule.operator}` is no operator", f"use one of: {', '.join(OPERATORS)}")
        return
    if field is not None:
        yield from _operands(rule, field.type, f"{path}.{rule.operator}")


def _operands(rule: Condition, kind: FieldType, path: str) -> Iterator[TermsFault]:
    if rule.operator == "isNull":
        if not isinstance(rule.value, bool):
            yield TermsFault(path, "`isNull` asks for true or false", "write `isNull: true` or `isNull: false`")
        return
    if not comparable(kind):
        yield TermsFault(path, f"field `{rule.field}` is {_words(kind)}", "only `isNull` can be asked of it")
        return
    if rule.operator == "startsWith" and (kind.base not in {"string", "enum"}):
        yield TermsFault(path, f"field `{rule.field}` is {_words(kind)}: `startsWith` is for text", "compare it with gteq and lt")
        return
    if rule.operator in ORDERED_OPERATORS and kind.base == "boolean":
        yield TermsFault(path, f"field `{rule.field}` is a boolean and has no order", "use `eq`")
        return
    listed = rule.operator in LIST_OPERATORS
    if listed != isinstance(rule.value, tuple):
        wanted = "a list" if listed else "one value"
        yield TermsFault(path, f"`{rule.operator}` asks for {wanted}", f"write {wanted}")
        return
    values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    if not 1 <= len(values) <= RULE_VALUES_MAX:
        yield TermsFault(path, f"`{rule.operator}` asks for 1 to {RULE_VALUES_MAX} values", "shorten the list, or leave the rule out")
        return
    for place, value in enumerate(values):
        try:
            operand(value, kind=kind)
        except UnfitOperand as refusal:
            where = f"{path}[{place}]" if listed else path
            yield TermsFault(where, f"field `{rule.field}` is {_words(kind)}: the value does not fit", str(refusal))


def _key(rule: str, key_identifier: str | None) -> Iterator[TermsFault]:
    if rule not in KEY_RULES:
        yield TermsFault("key", f"`{rule}` is no key rule", f"use one of: {', '.join(KEY_RULES)}")
    elif rule != "drop" and key_identifier is None:
        yield TermsFault(
            "key",
            f"the dataset declares no identifier kind for its record key, so the key cannot be granted as `{rule}`",
            "write `key: drop`, or ask the provider to declare `key_identifier`",
        )


def _unknown_field(path: str, name: str, source: SourceSchema) -> TermsFault:
    return TermsFault(
        path, f"field `{name}` is not in the schema `{source.name}`", f"its fields: {', '.join(f.name for f in source.fields)}"
    )


def _words(kind: FieldType) -> str:
    return f"{kind.logical} on {kind.base}" if kind.logical else f"of type {kind.base}"
