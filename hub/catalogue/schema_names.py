"""Names in schemas by Avro's rule, so that whatever the gate takes, the parsers of every language read.

Names of types, fields, symbols and aliases are ASCII letters, digits and underscores and begin with no digit; a namespace is such
names with dots between. Python's and Java's libraries take more, those in Go, JavaScript and Rust do not, and a name cannot be
changed later. Source: Apache Avro 1.12 specification, "Names" and "Aliases".
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from hub.model.field_types import PRIMITIVES
from hub.model.normal_form import NAMED, names_of

Fault = tuple[str, str, str]
"""Path, what is wrong there, how to mend it."""
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
ORDERS: Final = ("ascending", "descending", "ignore")
DEPTH_MAX: Final = 96
"""Of what is walked for names: three levels for each that a type may have; what is deeper is refused for its depth."""
_NAME_FIX: Final = "write letters of A to Z, digits and underscores, beginning with no digit"
_SPACE_FIX: Final = "write names of letters, digits and underscores with dots between, such as `dept.vehicle_registry`"
_ALIAS_FIX: Final = "name each earlier name once, and no name of another field of the record"


def is_full_name(text: Any) -> bool:
    """Tell whether ``text`` is one Avro name, or several with dots between."""
    return isinstance(text, str) and all(NAME.match(part) for part in text.split("."))


def name_faults(schema: Any, *, known: Collection[str]) -> Iterator[Fault]:
    """Yield every name that Avro forbids, but those in ``known``: names of versions registered before this rule was held."""
    for path, node, space in declarations(schema, "", ""):
        if space is None:
            yield from _field(node, path, known)
        else:
            yield from _definition(node, path, space, known)
            yield from _shared_aliases(_list(node.get("fields")), path)


def names_in(schema: Any) -> frozenset[str]:
    """Return every name, namespace, symbol and alias that a schema holds."""
    out: set[str] = set()
    for _, node, _ in declarations(schema, "", ""):
        listed = [*_list(node.get("symbols")), *_list(node.get("aliases")), node.get("name"), node.get("namespace")]
        out.update(text for text in listed if isinstance(text, str))
    return frozenset(out)


def declarations(node: Any, path: str, space: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Yield each definition of a named type with the namespace around it, and each field with None; whatever has no shape is left out."""
    if depth > DEPTH_MAX:
        return
    if isinstance(node, list):
        for number, branch in enumerate(node):
            yield from declarations(branch, f"{path}[{number}]", space, depth + 1)
        return
    if not isinstance(node, Mapping):
        return
    inside = space
    if node.get("type") in NAMED:
        yield path, node, space
        inside = names_of(node, space)[1]
    for number, field in enumerate(_list(node.get("fields"))):
        if isinstance(field, Mapping):
            here = join(path, f"fields[{number}]")
            yield here, field, None
            yield from declarations(field.get("type"), f"{here}.type", inside, depth + 1)
    for key in ("type", "items", "values"):
        yield from declarations(node.get(key), join(path, key), inside, depth + 1)


def join(path: str, key: str) -> str:
    """Return the path of ``key`` under ``path``."""
    return f"{path}.{key}" if path else key


def _definition(node: Mapping[str, Any], path: str, space: str, known: Collection[str]) -> Iterator[Fault]:
    name, namespace = node.get("name"), node.get("namespace")
    if not _allowed(name, known):
        yield join(path, "name"), f"the {node['type']} has a name that Avro forbids", _NAME_FIX
    elif names_of(node, space)[0] in PRIMITIVES:
        yield join(path, "name"), "is the name of a primitive type", "give it another name, or a namespace"
    if namespace not in (None, "") and not _allowed(namespace, known):
        yield join(path, "namespace"), "is no namespace that Avro allows", _SPACE_FIX
    aliases = node.get("aliases", [])
    if not isinstance(aliases, list) or not all(_allowed(alias, known) for alias in aliases) or len(set(aliases)) < len(aliases):
        yield join(path, "aliases"), "holds what is no name that Avro allows, or one twice", _ALIAS_FIX
    if node["type"] == "enum":
        yield from _symbols(node, path, known)
    yield from _doc(node, path)


def _symbols(node: Mapping[str, Any], path: str, known: Collection[str]) -> Iterator[Fault]:
    symbols = _list(node.get("symbols"))
    for number, symbol in enumerate(symbols):
        if not _allowed(symbol, known) or "." in symbol:
            yield join(path, f"symbols[{number}]"), "is no symbol that Avro allows", _NAME_FIX
    if "default" in node and node["default"] not in symbols:
        yield join(path, "default"), "is no symbol of its enum", "write one of the enum's symbols, or leave it out"


def _field(field: Mapping[str, Any], path: str, known: Collection[str]) -> Iterator[Fault]:
    aliases = field.get("aliases", [])
    if not isinstance(aliases, list) or not all(_allowed(alias, known) and "." not in alias for alias in aliases):
        yield f"{path}.aliases", "holds what is no name that Avro allows", _ALIAS_FIX
    if "order" in field and field["order"] not in ORDERS:
        yield f"{path}.order", "is no order that Avro knows", f"write one of {', '.join(ORDERS)}, or leave it out"
    yield from _doc(field, path)


def _shared_aliases(fields: list[Any], path: str) -> Iterator[Fault]:
    """Yield fields of one record that have an alias which is a name or alias of that record already.

    Whose value a reader takes under such a name depends on the reader.
    """
    taken = {field["name"] for field in fields if isinstance(field, Mapping) and isinstance(field.get("name"), str)}
    for number, field in enumerate(fields):
        for alias in _list(field.get("aliases")) if isinstance(field, Mapping) else ():
            if isinstance(alias, str) and alias in taken:
                yield join(path, f"fields[{number}].aliases"), "holds a name that the record has already", _ALIAS_FIX
                break
            taken |= {alias} if isinstance(alias, str) else set()


def _doc(node: Mapping[str, Any], path: str) -> Iterator[Fault]:
    if not isinstance(node.get("doc", ""), str):
        yield join(path, "doc"), "is no text", "write it in quotes"


def _allowed(text: Any, known: Collection[str]) -> bool:
    return is_full_name(text) or (isinstance(text, str) and text in known)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
