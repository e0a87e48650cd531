"""The row rules of an agreement file: a small tree of ODRL operators, bounded in depth and size."""

from typing import Final

from hub.agreements.file_grants import is_field
from hub.model.agreement import LIST_OPERATORS, OPERATORS, All, Any, Condition, Every, Not, Rule, Scalar
from hub.model.manifest import Faults, Form, Node

RULE_DEPTH_MAX: Final = 16
CONDITIONS_MAX: Final = 500
LIST_VALUES_MAX: Final = 5_000
_GROUPS: Final = ("all", "any", "not", "every")
_SHAPE: Final = "write `{all: [...]}`, `{any: [...]}`, `{not: ...}` or one condition such as `{field: class, eq: passenger}`"
_ORDERED: Final = ("gt", "gteq", "lt", "lteq")


def read_rule(node: Node, faults: Faults) -> Rule | None:
    """Read the tree under ``rows``; None when any part of it is a fault."""
    return _Rules(faults).rule(node, 0)


class _Rules:
    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.conditions = 0

    def rule(self, node: Node, depth: int) -> Rule | None:
        if depth > RULE_DEPTH_MAX:
            self.faults.add(node, "is nested too deeply", f"keep rules within {RULE_DEPTH_MAX} levels")
            return None
        if not isinstance(node.value, dict) or not node.value:
            self.faults.add(node, f"is {node.kind}, not a rule", _SHAPE)
            return None
        groups = [key for key in node.value if key in _GROUPS]
        if not groups:
            return self._condition(node)
        if len(node.value) > 1:
            self.faults.add(node, f"mixes `{groups[0]}` with other keys", "put each rule into one group of its own")
            return None
        return self._group(groups[0], node.value[groups[0]], depth)

    def _group(self, group: str, node: Node, depth: int) -> Rule | None:
        if group == "not":
            inner = self.rule(node, depth + 1)
            return None if inner is None else Not(inner)
        if group == "every":
            return self._every(node)
        if not isinstance(node.value, tuple) or not node.value:
            fix = "an empty `all` would let every record pass and an empty `any` none: leave `rows` out, or name the conditions"
            self.faults.add(node, "needs a list of at least one rule", fix)
            return None
        rules = [self.rule(item, depth + 1) for item in node.value]
        whole = tuple(rule for rule in rules if rule is not None)
        if len(whole) < len(rules):
            return None
        return All(whole) if group == "all" else Any(whole)

    def _every(self, node: Node) -> Every | None:
        if not isinstance(node.value, dict) or any(key in _GROUPS for key in node.value):
            fix = "write one condition, as `{every: {field: codes[], startsWith: 3301}}`, and put groups around it"
            self.faults.add(node, "is no condition, and `every` holds exactly one", fix)
            return None
        inner = self._condition(node)
        return None if inner is None else Every(inner)

    def _condition(self, node: Node) -> Condition | None:
        self.conditions += 1
        if self.conditions == CONDITIONS_MAX + 1:
            self.faults.add(node, f"is one condition more than {CONDITIONS_MAX}", "use `isAnyOf` with a list of values")
        if self.conditions > CONDITIONS_MAX:
            return None
        before = len(self.faults.found)
        form = Form(node, self.faults)
        form.known(("field", *OPERATORS, *_GROUPS))
        field = form.text("field", fix="write `field: <name of a source field>`")
        given = [key for key in form.values if key in OPERATORS]
        if len(given) != 1:
            self.faults.add(node, f"has {len(given)} operators", f"give exactly one of {', '.join(OPERATORS)}")
        elif len(self.faults.found) == before and field is not None and is_field(form.values["field"], field, self.faults):
            return self._operand(field, given[0], form.values[given[0]])
        return None

    def _operand(self, field: str, operator: str, node: Node) -> Condition | None:
        if operator in LIST_OPERATORS:
            values = self._values(node)
            return None if values is None else Condition(field, operator, values)
        value = node.value
        if operator == "isNull":
            fits, want = isinstance(value, bool), "`true` or `false`"
        elif operator == "startsWith":
            fits, want = isinstance(value, str) and value != "", "some text"
        elif operator in _ORDERED:
            fits, want = isinstance(value, str | int | float) and not isinstance(value, bool), "a number or text"
        else:
            fits, want = isinstance(value, str | int | float | bool), "one value; for an absent one use `isNull: true`"
        if not fits:
            self.faults.add(node, f"is {node.kind}, which `{operator}` does not take", f"give {want}")
            return None
        return Condition(field, operator, value)  # type: ignore[arg-type]  # narrowed by the table above

    def _values(self, node: Node) -> tuple[Scalar, ...] | None:
        if not isinstance(node.value, tuple) or not node.value or len(node.value) > LIST_VALUES_MAX:
            self.faults.add(node, "needs a list of values", f"write 1 to {LIST_VALUES_MAX} values, as `[a, b]`")
            return None
        out: list[Scalar] = []
        for item in node.value:
            if not isinstance(item.value, str | int | float | bool):
                self.faults.add(item, f"is {item.kind}, not a value", "give text, a number, true or false")
                return None
            if _family(item.value) != _family(node.value[0].value):
                self.faults.add(item, f"is {item.kind}, unlike the first value", "give values of one type; quote codes that are text")
                return None
            out.append(item.value)
        return tuple(out)


def _family(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"
