"""The grants of an agreement file: fields by their paths, each with at most one transform and its parameters.

A transform is one entry of ``_READERS``; which types it fits is ``hub.model.transforms``' part.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hub.model.agreement import TRANSFORMS, Bucket, Constant, Grant, Number, Prefix, Truncate
from hub.model.manifest import Faults, Form, Node
from hub.model.names import is_slug
from hub.model.paths import PATH_FIX, is_path
from hub.model.transforms import CHARACTERS_MAX, CONSTANT_TYPES, EDGES_MAX

FIELDS_MAX: Final = 1_000
_LATER: Final = dict.fromkeys(("token", "round"), f"use one of {', '.join(TRANSFORMS)}, or leave the field out")
_SLUG_FIX: Final = "write a kind such as `plate` or `resident-id`"
_NUMBER_FIX: Final = 'write a number, as text where it must be exact: "0.10"'


def read_grants(form: Form) -> tuple[tuple[int, Grant], ...]:
    """Read ``fields``, each with its place in the list; faults are noted, and what has one is left out."""
    if "fields" not in form.values:
        form.missing("fields", "list what is granted, as `fields: [plate, {name: owner_id, pseudonym: {}}]`")
        return ()
    items = form.items("fields") or ()
    if len(items) > FIELDS_MAX:
        form.faults.add(form.values["fields"], "has too many fields", f"grant at most {FIELDS_MAX}")
        return ()
    out: list[tuple[int, Grant]] = []
    met: set[str] = set()
    for place, item in enumerate(items):
        grant = _grant(item, form.faults)
        if grant is None:
            continue
        if grant.name in met:
            form.faults.add(item, "is granted twice", "keep one of the two")
        met.add(grant.name)
        out.append((place, grant))
    return tuple(out)


def is_field(node: Node, name: str, faults: Faults) -> bool:
    """Tell whether ``name`` can name a field of a schema, noting the fault where it cannot."""
    if name == "*":
        faults.add(node, "grants everything", "name each field: what is not named stays invisible")
        return False
    if not is_path(name):
        faults.add(node, "is no field name", PATH_FIX)
        return False
    return True


def _grant(item: Node, faults: Faults) -> Grant | None:
    if isinstance(item.value, str):
        return Grant(item.value) if is_field(item, item.value, faults) else None
    if not isinstance(item.value, Mapping):
        faults.add(item, f"is {item.kind}, not a field", "write a field name, or `{name: phone, mask: {keep_last: 4}}`")
        return None
    form = Form(item, faults)
    before = len(faults.found)
    form.known(("name", *TRANSFORMS), later=_LATER)
    name = form.text("name", fix="write `{name: <field>, <transform>: {}}`")
    given = [key for key in form.values if key in TRANSFORMS]
    if len(given) > 1:
        faults.add(item, "has more than one transform", f"give one of {', '.join(TRANSFORMS)}")
    if name is None or not is_field(form.values["name"], name, faults) or len(faults.found) > before:
        return None
    return _transform(name, given[0], form.values[given[0]], faults) if given else Grant(name)


def _transform(name: str, transform: str, node: Node, faults: Faults) -> Grant | None:
    before = len(faults.found)
    grant = _READERS[transform](name, Form(node, faults))
    return grant if len(faults.found) == before else None


def _keep(name: str, form: Form) -> Grant:
    form.known(())
    return Grant(name)


def _mask(name: str, form: Form) -> Grant:
    form.known(("keep_first", "keep_last"))
    first = form.integer("keep_first", default=0, least=0, most=CHARACTERS_MAX)
    last = form.integer("keep_last", default=0, least=0, most=CHARACTERS_MAX)
    return Grant(name, "mask", keep_first=first, keep_last=last)


def _pseudonym(name: str, form: Form) -> Grant:
    form.known(("identifier",))
    kind = form.text("identifier", required=False)
    if kind is not None and not is_slug(kind):
        form.faults.add(form.values["identifier"], "is no identifier", _SLUG_FIX)
    return Grant(name, "pseudonym", identifier=kind)


def _truncate(name: str, form: Form) -> Grant:
    form.known(("to", "step", "characters"))
    if len(form.values) != 1:
        fix = "write `{to: month}` for dates and times, `{step: 100}` for numbers, `{characters: 20}` for text"
        form.faults.add(form.node, "takes exactly one of `to`, `step`, `characters`", fix)
    found = Truncate(
        to=form.text("to", required=False),
        step=_number(form, "step"),
        characters=_characters(form) if "characters" in form.values else None,
    )
    return Grant(name, "truncate", parameters=found)


def _bucket(name: str, form: Form) -> Grant:
    form.known(("width", "edges", "labels"))
    if ("width" in form.values) == ("edges" in form.values):
        form.faults.add(form.node, "takes a width or edges", "write `{width: 10}` or `{edges: [18, 60]}`")
    edges = [_as_number(item, form.faults) for item in (form.items("edges") or ())[: EDGES_MAX + 1]]
    labels = [_as_label(item, form.faults) for item in (form.items("labels") or ())[: EDGES_MAX + 2]]
    found = Bucket(
        width=_number(form, "width"),
        edges=tuple(edge for edge in edges if edge is not None),
        labels=tuple(label for label in labels if label is not None),
    )
    return Grant(name, "bucket", parameters=found)


def _prefix(name: str, form: Form) -> Grant:
    form.known(("characters",))
    if "characters" not in form.values:
        form.missing("characters", "write `prefix: {characters: 4}`")
        return Grant(name)
    return Grant(name, "prefix", parameters=Prefix(characters=_characters(form)))


def _nullify(name: str, form: Form) -> Grant:
    form.known(())
    return Grant(name, "nullify")


def _constant(name: str, form: Form) -> Grant:
    form.known(("value", "type"))
    node = form.values.get("value")
    if node is None:
        form.missing("value", "write `constant: {value: withheld}`")
        return Grant(name)
    value = node.value
    if not isinstance(value, str | int | float | bool):
        form.faults.add(node, f"is {node.kind}, not a value", "write text, a number, true or false; for null use `nullify`")
        return Grant(name)
    usual = "boolean" if isinstance(value, bool) else {str: "string", int: "long", float: "double"}[type(value)]
    avro_type = form.choice("type", CONSTANT_TYPES, default=usual) or usual
    return Grant(name, "constant", parameters=Constant(value=value, avro_type=avro_type))


_READERS: Final[Mapping[str, Callable[[str, Form], Grant]]] = {
    "keep": _keep,
    "mask": _mask,
    "pseudonym": _pseudonym,
    "truncate": _truncate,
    "bucket": _bucket,
    "prefix": _prefix,
    "nullify": _nullify,
    "constant": _constant,
}


def _characters(form: Form) -> int:
    node = form.values["characters"]
    if isinstance(node.value, bool) or not isinstance(node.value, int) or not 1 <= node.value <= CHARACTERS_MAX:
        form.faults.add(node, f"is not a whole number from 1 to {CHARACTERS_MAX}", "write `characters: 4`")
        return 1
    return node.value


def _number(form: Form, key: str) -> Number | None:
    node = form.values.get(key)
    return None if node is None else _as_number(node, form.faults)


def _as_number(node: Node, faults: Faults) -> Number | None:
    if isinstance(node.value, str | int | float) and not isinstance(node.value, bool):
        return node.value
    faults.add(node, f"is {node.kind}, not a number", _NUMBER_FIX)
    return None


def _as_label(node: Node, faults: Faults) -> str | None:
    if isinstance(node.value, str):
        return node.value
    faults.add(node, f"is {node.kind}, not text", "write it in quotes")
    return None
