"""Types of fields as the exchange knows them: what stands on the wire, and what a rule compares.

A type is a tree: records have fields, arrays and maps one inner type, general unions their branches. The union of null and one
other type is that type with a ``null_branch``. A named type that a schema refers to twice is one value, shared: how many
types the tree has written out is bounded where it is read. Source: Apache Avro 1.12 specification.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
CONTAINERS: Final = ("record", "array", "map")
LOGICAL: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "uuid": ("string",),
    "decimal": ("bytes", "fixed"),
}
"""Logical types that rules understand, with the types that they stand on. Others are carried as their base type."""
PER_SECOND: Final[Mapping[str, int]] = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}
"""How many units of a logical time make a second, by the last word of its name."""
DECIMAL_PRECISION_MAX: Final = 76
DECIMAL_BYTES_MAX: Final = 32
"""Holds every decimal of the precision above; a longer encoding is refused when it is read."""


class FieldType(msgspec.Struct, frozen=True, kw_only=True):
    """The type of one field, element or branch."""

    base: str
    """One of ``PRIMITIVES`` or ``CONTAINERS``, ``fixed``, ``enum``, or ``union``: any union but that of null and one other type."""
    logical: str | None = None
    """One of ``LOGICAL``, where it stands on its own base type."""
    null_branch: int | None = None
    """Index of null in the field's union; None where the field is no union, or one without null."""
    symbols: tuple[str, ...] = ()
    size: int = 0
    """Bytes of a fixed."""
    scale: int = 0
    """Digits behind the point of a decimal."""
    full_name: str | None = None
    """Of a record, enum or fixed; without a dot where it has no namespace."""
    definition: Any = None
    """The type's own JSON: of a named type its definition, also where the field only refers to it."""
    fields: tuple["SourceField", ...] = ()
    """Of a record."""
    inner: "FieldType | None" = None
    """Of an array's items or a map's values."""
    branches: tuple["FieldType", ...] = ()
    """Of a ``union``: every branch in the schema's order, null among them."""

    @property
    def nullable(self) -> bool:
        """Tell whether null is a value of the field."""
        return self.null_branch is not None or self.base == "null"

    @property
    def element(self) -> "FieldType":
        """The type of an array's items or a map's values."""
        if self.inner is None:
            raise AssertionError(self.base)
        return self.inner


class SourceField(msgspec.Struct, frozen=True):
    """One field of a record."""

    name: str
    type: FieldType
    identifier: str | None
    """The identifier kind that the schema declares."""
    declared: Mapping[str, Any]
    """The field's JSON as registered."""


class SourceSchema(msgspec.Struct, frozen=True):
    """A writer schema whose every field can be carried."""

    name: str
    namespace: str | None
    fields: tuple[SourceField, ...]
    declared: Mapping[str, Any]
    """The schema's JSON as registered."""

    def field(self, name: str) -> SourceField | None:
        """Return the field of that name, None where there is none."""
        return next((field for field in self.fields if field.name == name), None)

    @property
    def record(self) -> FieldType:
        """The type of the whole record."""
        return FieldType(base="record", fields=self.fields, definition=self.declared)


def parts_of(kind: FieldType) -> Iterator[FieldType]:
    """Yield the types directly inside ``kind``."""
    yield from (field.type for field in kind.fields)
    yield from kind.branches
    if kind.inner is not None:
        yield kind.inner


def without_null(kind: FieldType) -> FieldType:
    """Return the type of the values that are not null."""
    return kind if kind.null_branch is None or kind.base == "union" else msgspec.structs.replace(kind, null_branch=None)


def holds_record(kind: FieldType) -> bool:
    """Tell whether a record stands anywhere in ``kind``."""
    return kind.base == "record" or any(holds_record(part) for part in parts_of(kind))


def type_words(kind: FieldType) -> str:
    """Return what a type is, for messages: ``of type int``, ``date on int``, ``an array``."""
    if kind.base in _WORDS:
        return _WORDS[kind.base]
    return f"{kind.logical} on {kind.base}" if kind.logical else f"of type {kind.base}"


_WORDS: Final = {"record": "a record", "array": "an array", "map": "a map", "union": "a union of several types"}
