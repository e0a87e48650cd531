"""The gate: what a schema must be before any record of it may enter the hub. Static, bounded, every fault at once.

Decoders of Avro can be led into deep recursion, into lists of a billion items that take no bytes, and into quadratic decimals
(DESIGN part 10): a schema that allows one of these is refused, so that no record can. What the exchange cannot carry is
refused here too, with its path, rather than at the first record.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import fastavro
import rfc8785
from fastavro.schema import SchemaParseException, UnknownType

from hub.model.dataset import GRADES
from hub.model.errors import HubError, Problem
from hub.model.names import is_slug
from hub.model.terms import unsupported_schema

SCHEMA_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 32
FIELDS_MAX: Final = 1_000
DECIMAL_PRECISION_MAX: Final = 38
ROLES: Final = ("subject", "region", "event_time", "source_id")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NAMED: Final = ("record", "error", "enum", "fixed")


def check_schema(text: str, *, where: str) -> Mapping[str, Any]:
    """Return the schema's JSON; HUB-SCHEMA-001 when it is no Avro record, HUB-SCHEMA-002 lists what the gate refuses."""
    raw = _load(text)
    _refuse("HUB-SCHEMA-001", where, _shape_faults(raw, "", 0))
    try:
        fastavro.parse_schema(json.loads(text))
    except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HubError(
            "HUB-SCHEMA-001", f"schema of `{where}` is not valid Avro: {_words(error)}", "see the Avro 1.12 specification"
        ) from error
    try:
        rfc8785.dumps(raw)
    except rfc8785.CanonicalizationError as error:
        fix = "keep whole numbers within 2^53; write larger defaults of a field as text"
        raise HubError("HUB-SCHEMA-002", f"schema of `{where}` holds a number that canonical JSON cannot hold", fix) from error
    faults = [*_Widths(raw).faults(), *_properties(raw)]
    _refuse("HUB-SCHEMA-002", where, iter(faults))
    carried = ((path, message, "write it in another way: see README, schemas") for path, message in unsupported_schema(raw))
    _refuse("HUB-SCHEMA-002", where, carried)
    return raw


Fault = tuple[str, str, str]


def _refuse(code: str, where: str, faults: Iterator[Fault]) -> None:
    problems = tuple(Problem(where, path, message, fix) for path, message, fix in faults)
    if problems:
        noun = "fault" if len(problems) == 1 else "faults"
        raise HubError(code, f"schema of `{where}` has {len(problems)} {noun}", "mend each of them", problems=problems)


def _load(text: str) -> dict[str, Any]:
    size = len(text.encode())
    if size > SCHEMA_BYTES_MAX:
        raise HubError("HUB-SCHEMA-002", f"schema has {size} bytes", f"keep it within {SCHEMA_BYTES_MAX}")
    try:
        raw = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise HubError("HUB-SCHEMA-001", "schema is not readable as JSON", "send a JSON object, each key once") from error
    if not isinstance(raw, dict) or raw.get("type") != "record":
        raise HubError("HUB-SCHEMA-001", "schema is no record", "the records of a dataset are Avro records at the top")
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key stands twice")
    return out


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _shape_faults(node: Any, path: str, depth: int) -> Iterator[Fault]:
    """Bound the nesting and hold the shapes that the walks below rely on."""
    if depth > DEPTH_MAX:
        yield path, "is nested too deeply", f"keep types within {DEPTH_MAX} levels"
        return
    if isinstance(node, list):
        for number, branch in enumerate(node):
            yield from _shape_faults(branch, f"{path}[{number}]", depth + 1)
        return
    if not isinstance(node, dict):
        if not isinstance(node, str):
            yield path, "is no type", "write a type name, a list of types or an object with `type`"
        return
    kind = node.get("type")
    if isinstance(kind, dict | list):
        yield from _shape_faults(kind, _join(path, "type"), depth + 1)
    elif kind in {"record", "error"}:
        yield from _record_shape(node, path, depth)
    elif kind in {"array", "map"}:
        inner = "items" if kind == "array" else "values"
        yield from _shape_faults(node.get(inner), _join(path, inner), depth + 1)
    elif not isinstance(kind, str):
        yield path, "has no type", "add `type`"


def _record_shape(node: Mapping[str, Any], path: str, depth: int) -> Iterator[Fault]:
    fields = node.get("fields")
    if not isinstance(fields, list) or not fields or len(fields) > FIELDS_MAX:
        yield _join(path, "fields"), "is no list of fields", f"declare 1 to {FIELDS_MAX} fields"
        return
    names: set[str] = set()
    for number, field in enumerate(fields):
        here = _join(path, f"fields[{number}]")
        name = field.get("name") if isinstance(field, dict) else None
        if not isinstance(name, str) or _NAME.match(name) is None:
            yield here, "is no field with an Avro name", "write `name` of letters, digits and underscores, and `type`"
            continue
        if name in names:
            yield here, f"field `{name}` stands twice", "keep one of the two"
        names.add(name)
        yield from _shape_faults(field.get("type"), _join(here, "type"), depth + 1)


class _Widths:
    """Walks every type once: recursion, lists of items that take no bytes, decimals without bound."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.zero_width: dict[str, bool] = {}
        self.open: list[str] = []
        self.found: list[Fault] = []

    def faults(self) -> list[Fault]:
        self._is_zero(self.root, "", None)
        return self.found

    def _is_zero(self, node: Any, path: str, space: str | None) -> bool:
        """Tell whether every value of the type takes no bytes, noting faults on the way."""
        if isinstance(node, list):
            for number, branch in enumerate(node):
                self._is_zero(branch, f"{path}[{number}]", space)
            return False
        if isinstance(node, str):
            return self._named(node, path, space)
        kind = node["type"]
        if isinstance(kind, dict | list):
            return self._is_zero(kind, _join(path, "type"), space)
        if kind in {"array", "map"}:
            self._container(node, kind, path, space)
            return False
        self._decimal(node, path)
        if kind not in _NAMED:
            return self._named(kind, path, space)
        return self._definition(node, kind, path, space)

    def _named(self, name: str, path: str, space: str | None) -> bool:
        for full in (_full(name, space), name):
            if full in self.open:
                self.found.append((path, f"type `{name}` contains itself", "flatten it: a record must have a bounded depth"))
                return False
            if full in self.zero_width:
                return self.zero_width[full]
        return name == "null"

    def _container(self, node: Mapping[str, Any], kind: str, path: str, space: str | None) -> None:
        inner = "items" if kind == "array" else "values"
        zero = self._is_zero(node[inner], _join(path, inner), space)
        if zero and kind == "array":
            self.found.append(
                (_join(path, inner), "items take no bytes", "give them a type with a value: five bytes could claim a billion")
            )

    def _definition(self, node: Mapping[str, Any], kind: str, path: str, space: str | None) -> bool:
        full = _full(str(node.get("name", "")), str(node["namespace"]) if node.get("namespace") is not None else space)
        zero = False
        if kind == "fixed":
            zero = node.get("size") == 0
        elif kind != "enum":
            inner = full.rpartition(".")[0] or None
            self.open.append(full)
            widths = [
                self._is_zero(field["type"], _join(path, f"fields[{number}].type"), inner) for number, field in enumerate(node["fields"])
            ]
            self.open.pop()
            zero = all(widths)
        self.zero_width[full] = zero
        return zero

    def _decimal(self, node: Mapping[str, Any], path: str) -> None:
        if node.get("logicalType") != "decimal":
            return
        precision, scale = node.get("precision"), node.get("scale", 0)
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (precision, scale))
        if not whole or not 1 <= precision <= DECIMAL_PRECISION_MAX or not 0 <= scale <= precision:  # type: ignore[operator]  # whole
            fix = f"give `precision` from 1 to {DECIMAL_PRECISION_MAX} and `scale` from 0 to it"
            self.found.append((path, "is a decimal without bounds", fix))


def _properties(root: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield faults of the field properties of SHAPES at any depth, and titles that two fields of the whole share."""
    for path, field in _fields(root, ""):
        for key, (fits, fix) in _PROPERTIES.items():
            if key in field and not fits(field[key]):
                yield f"{path}.{key}", f"`{key}` of field `{field['name']}` is not valid", fix
    titles: dict[str, str] = {}
    for number, field in enumerate(root["fields"]):
        path, name = f"fields[{number}]", field["name"]
        title = field.get("title")
        if isinstance(title, str) and title in titles:
            yield f"{path}.title", f"fields `{titles[title]}` and `{name}` have one title", "titles are column names: give each its own"
        elif isinstance(title, str):
            titles[title] = name


def _fields(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every field that is declared in a type, with its place."""
    if isinstance(node, list):
        for number, branch in enumerate(node):
            yield from _fields(branch, f"{path}[{number}]")
    elif isinstance(node, dict):
        for number, field in enumerate(node.get("fields", ())):
            here = _join(path, f"fields[{number}]")
            yield here, field
            yield from _fields(field["type"], _join(here, "type"))
        for key in ("type", "items", "values"):
            yield from _fields(node.get(key), _join(path, key))


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


_PROPERTIES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "grade": (lambda value: value in GRADES, f"write one of {', '.join(GRADES)}"),
    "identifier": (lambda value: isinstance(value, str) and is_slug(value), "write a kind such as `plate` or `resident-id`"),
    "role": (lambda value: value in ROLES, f"write one of {', '.join(ROLES)}"),
    "personal": (_is_flag, "write true or false, without quotes"),
    "sensitive": (_is_flag, "write true or false, without quotes"),
    "title": (_is_text, "write some text or leave it out"),
    "standard_ref": (_is_text, "write the standard, or `local`"),
}


def _full(name: str, space: str | None) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{text[:1].lower()}{text[1:200]}" if isinstance(error, SchemaParseException | UnknownType) else "a part has the wrong shape"
