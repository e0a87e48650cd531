"""Terms against a writer schema: everything in an agreement that does not fit, at once, each with its place in the file.

The control plane reports the faults with file and line (HUB-AGREE-005); an agreement that has none compiles. An agreement must
fit every writer schema of its dataset. Also told here: which schemas the exchange cannot carry at all (the gate asks).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from hub.model.agreement import KEY_RULES, LIST_OPERATORS, OPERATORS, TRANSFORMS, Agreement, All, Condition, Every, Grant, Not, Rule
from hub.model.field_types import FieldType, SourceSchema, holds_record, type_words
from hub.model.granted import Leaf
from hub.model.operands import UnfitOperand, comparable, operand
from hub.model.paths import NoPlace, Path, Place, find_place, leaves, parse_path
from hub.model.source_schema import read_schema, unsupported_schema
from hub.model.transforms import unfit

__all__ = ["TermsFault", "check_terms", "fitting_branches", "unsupported_schema"]

RULE_DEPTH_MAX: Final = 32
RULE_CONDITIONS_MAX: Final = 1_000
RULE_VALUES_MAX: Final = 10_000
"""Values of one isAnyOf or isNoneOf."""
LEAVES_SHOWN_MAX: Final = 12
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


def fitting_branches(rule: Condition, kind: FieldType) -> tuple[bool, ...]:
    """Tell of each branch of a general union whether ``rule`` can be asked of its values; of the others it is unknown."""
    return tuple(branch.base != "null" and not any(_operands(rule, branch, "")) for branch in kind.branches)


def _grants(grants: tuple[Grant, ...], source: SourceSchema) -> Iterator[TermsFault]:
    if not grants:
        yield TermsFault("fields", "no field is granted", "name at least one field")
    seen: set[Path] = set()
    for place, grant in enumerate(grants):
        path = f"fields[{place}]"
        try:
            found = find_place(grant.name, source)
        except NoPlace as refusal:
            yield TermsFault(f"{path}.name", str(refusal), refusal.fix)
            continue
        if any(_overlap(found.path, other) for other in seen):
            yield TermsFault(f"{path}.name", f"field `{grant.name}` is granted twice", "name each field once")
        seen.add(found.path)
        if grant.transform not in TRANSFORMS:
            yield TermsFault(path, f"`{grant.transform}` is no transform", f"use one of: {', '.join(TRANSFORMS)}")
        elif holds_record(found.type):
            yield _whole_record(f"{path}.name", grant.name, found.type)
        else:
            yield from _transform(grant, found, f"{path}.{grant.transform}")


def _overlap(one: Path, other: Path) -> bool:
    """Tell whether one path lies within the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _whole_record(path: str, name: str, kind: FieldType) -> TermsFault:
    """Refuse a grant of a record as a whole: a field that its schema gains later would be in it, granted by nobody (law 2)."""
    found = leaves(kind, name)
    message = f"field `{name}` is {type_words(kind)} with records in it, and granting those whole would grant what they hold later"
    if found == (name,):
        return TermsFault(path, message, "ask the provider to give each kind of record a field of its own, and grant its fields")
    shown = ", ".join(f"`{leaf}`" for leaf in found[:LEAVES_SHOWN_MAX])
    return TermsFault(path, message, f"grant its fields: {shown}{' and so on' if len(found) > LEAVES_SHOWN_MAX else ''}")


def _transform(grant: Grant, place: Place, path: str) -> Iterator[TermsFault]:
    for name, message, fix in unfit(Leaf(grant, grant.identifier or place.field.identifier), place.type):
        about_field = not name and not message.startswith("`")
        yield TermsFault(f"{path}.{name}" if name else path, f"field `{grant.name}` {message}" if about_field else message, fix)


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
        elif isinstance(rule, Every):
            yield from _every(rule, path)
            stack.append((rule.rule, f"{path}.every", depth + 1))
        else:
            word = "all" if isinstance(rule, All) else "any"
            if not rule.rules:
                yield TermsFault(f"{path}.{word}", f"`{word}` holds no rule", "name at least one, or leave it out")
            stack.extend((inner, f"{path}.{word}[{place}]", depth + 1) for place, inner in reversed(list(enumerate(rule.rules))))


def _every(rule: Every, path: str) -> Iterator[TermsFault]:
    try:
        elements = {"[]", "{}"} & set(parse_path(rule.rule.field))
    except NoPlace:
        return
    if not elements:
        fix = "name elements, as `codes[]`, or write the condition without `every`"
        yield TermsFault(f"{path}.every", f"`{rule.rule.field}` is one value, and `every` is about elements", fix)


def _condition(rule: Condition, source: SourceSchema, path: str) -> Iterator[TermsFault]:
    found = None
    try:
        found = find_place(rule.field, source)
    except NoPlace as refusal:
        yield TermsFault(f"{path}.field", str(refusal), refusal.fix)
    if rule.operator not in OPERATORS:
        yield TermsFault(path, f"`{rule.operator}` is no operator", f"use one of: {', '.join(OPERATORS)}")
        return
    if found is None:
        return
    if found.type.base == "union" and rule.operator != "isNull":
        if not any(fitting_branches(rule, found.type)):
            shown = ", ".join(type_words(branch) for branch in found.type.branches)
            message = f"field `{rule.field}` is a union, and `{rule.operator}` with this value fits none of its types"
            yield TermsFault(f"{path}.{rule.operator}", message, f"its types: {shown}")
        return
    yield from _operands(rule, found.type, f"{path}.{rule.operator}")


def _operands(rule: Condition, kind: FieldType, path: str) -> Iterator[TermsFault]:
    if rule.operator == "isNull":
        if not isinstance(rule.value, bool):
            yield TermsFault(path, "`isNull` asks for true or false", "write `isNull: true` or `isNull: false`")
        return
    if not comparable(kind):
        fix = "name its elements, as `codes[]` or `tags{}`" if kind.base in {"array", "map"} else "only `isNull` can be asked of it"
        yield TermsFault(path, f"field `{rule.field}` is {type_words(kind)}", fix)
        return
    if rule.operator == "startsWith" and (kind.base not in {"string", "enum"}):
        yield TermsFault(path, f"field `{rule.field}` is {type_words(kind)}: `startsWith` is for text", "compare it with gteq and lt")
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
            yield TermsFault(where, f"field `{rule.field}` is {type_words(kind)}: the value does not fit", str(refusal))


def _key(rule: str, key_identifier: str | None) -> Iterator[TermsFault]:
    if rule not in KEY_RULES:
        yield TermsFault("key", f"`{rule}` is no key rule", f"use one of: {', '.join(KEY_RULES)}")
    elif rule != "drop" and key_identifier is None:
        yield TermsFault(
            "key",
            f"the dataset declares no identifier kind for its record key, so the key cannot be granted as `{rule}`",
            "write `key: drop`, or ask the provider to declare `key_identifier`",
        )
