"""The readers of record batches that there are here, by name: each takes the same batches, and refuses the rest by the same code."""

import contextlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import pytest

from hub.broker.batches import UnreadableBatch, read_records

Row: TypeAlias = tuple[int, bytes | None, bytes | None]
"""Offset, key and value of a record."""
Reader: TypeAlias = Callable[[bytes], list[Row]]
"""Returns the records of one whole batch, or raises UnreadableBatch."""


def _reference(batch: bytes) -> list[Row]:
    return [(row.offset, row.key, row.value) for row in read_records(batch)]


def _readers() -> Mapping[str, Reader]:
    found: dict[str, Reader] = {"reference": _reference}
    with contextlib.suppress(ImportError):
        found["native"] = _with_codes(importlib.import_module("hub.exchange._native").read_records)
    return found


def _with_codes(native: Reader) -> Reader:
    """Let the native reader, which raises the bare code, refuse as the reference does."""

    def read(batch: bytes) -> list[Row]:
        try:
            return native(batch)
        except ValueError as refusal:
            raise UnreadableBatch(str(refusal)) from None

    return read


READERS: Final = _readers()
NAMES: Final = ("reference", "native")


def readers() -> list[Any]:
    """Return a parameter for each reader; one that was not built is skipped, and says so."""
    return [pytest.param(READERS.get(name), id=name, marks=_marks(name)) for name in NAMES]


def _marks(name: str) -> list[Any]:
    return [] if name in READERS else [pytest.mark.skip(reason="the native kernel was not built: `make native`")]


def code_of(read: Reader, batch: bytes) -> str:
    """Return why a batch is refused."""
    with pytest.raises(UnreadableBatch) as caught:
        read(batch)
    return caught.value.code
