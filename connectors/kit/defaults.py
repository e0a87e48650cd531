"""Defaults of a schema on the wire: what fills a field that the source has no column for. Never a value that nobody wrote.

A default is of the union's first branch, or null where the union knows null (Avro to 1.11, and from 1.12). One that is no value of
its type is none: the field then has no default that can be taken. Source: Apache Avro 1.12 specification, records and JSON encoding.
"""

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from connectors.kit.values import zigzag
from hub.model.field_types import FieldType
from hub.model.source_schema import SourceField

VALUES_MAX: Final = 100_000
"""Of one default: a few bytes of a schema can ask for millions."""
_WHOLE_BITS: Final = {"int": 31, "long": 63}
_FLOATING: Final = {"float": struct.Struct("<f").pack, "double": struct.Struct("<d").pack}
_EXACT: Final = 2**53


def default_bytes(field: SourceField) -> bytes | None:
    """Return the bytes of the field's default; None where it has none that is a value of its type."""
    if "default" not in field.declared:
        return None
    try:
        return _Defaults().of(field.type, field.declared["default"])
    except _NoValueError:
        return None


class _NoValueError(Exception):
    """A default that is no value of its type."""


class _Defaults:
    """Writes one default."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def of(self, kind: FieldType, value: Any) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise _NoValueError
        if kind.base == "union":
            return self._of_union(kind, value)
        if kind.null_branch is None:
            return self._of_type(kind, value)
        if value is None:
            return zigzag(kind.null_branch)
        if kind.null_branch == 0:
            raise _NoValueError
        return zigzag(0) + self._of_type(kind, value)

    def _of_union(self, kind: FieldType, value: Any) -> bytes:
        if value is None and kind.null_branch is not None:
            return zigzag(kind.null_branch)
        return zigzag(0) + self._of_type(kind.branches[0], value)

    def _of_type(self, kind: FieldType, value: Any) -> bytes:
        if kind.base == "array" and isinstance(value, list):
            return zigzag(len(value)) + b"".join(self.of(kind.element, item) for item in value) + (b"\x00" if value else b"")
        if kind.base == "map" and isinstance(value, Mapping):
            items = b"".join(_text(key) + self.of(kind.element, item) for key, item in value.items())
            return zigzag(len(value)) + items + (b"\x00" if value else b"")
        if kind.base == "record" and isinstance(value, Mapping):
            return self._of_record(kind, value)
        return _plain(kind, value)

    def _of_record(self, kind: FieldType, value: Mapping[str, Any]) -> bytes:
        if set(value) - {field.name for field in kind.fields}:
            raise _NoValueError
        return b"".join(self.of(field.type, self._of_field(field, value)) for field in kind.fields)

    def _of_field(self, field: SourceField, value: Mapping[str, Any]) -> Any:
        if field.name in value:
            return value[field.name]
        if "default" not in field.declared:
            raise _NoValueError
        return field.declared["default"]


def _plain(kind: FieldType, value: Any) -> bytes:
    if kind.base == "null" and value is None:
        return b""
    if kind.base == "boolean" and isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    if isinstance(value, str):
        return _from_text(kind, value)
    if _is_number(value, int) and kind.base in _WHOLE_BITS and -(2 ** _WHOLE_BITS[kind.base]) <= value < 2 ** _WHOLE_BITS[kind.base]:
        return zigzag(value)
    if _is_number(value, int | float) and kind.base in _FLOATING:
        return _number(kind.base, value)
    raise _NoValueError


def _from_text(kind: FieldType, value: str) -> bytes:
    if kind.base == "string":
        return _text(value)
    if kind.base == "enum" and value in kind.symbols:
        return zigzag(kind.symbols.index(value))
    if kind.base in {"bytes", "fixed"}:
        return _bytes(kind, value)
    raise _NoValueError


def _is_number(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _number(base: str, value: float) -> bytes:
    if isinstance(value, int) and abs(value) > _EXACT:
        raise _NoValueError
    try:
        packed = _FLOATING[base](value)
    except (OverflowError, struct.error):
        raise _NoValueError from None
    if not math.isfinite(value):
        raise _NoValueError
    return packed


def _text(value: str) -> bytes:
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise _NoValueError from None
    return zigzag(len(raw)) + raw


def _bytes(kind: FieldType, value: str) -> bytes:
    """Bytes stand in JSON as text of code points 0 to 255."""
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        raise _NoValueError from None
    if kind.base == "fixed" and len(raw) != kind.size:
        raise _NoValueError
    return raw if kind.base == "fixed" else zigzag(len(raw)) + raw
