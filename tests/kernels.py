"""The kernels that there are here, by name: each passes the conformance table and agrees with the reference."""

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest

from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict

Kernel = Callable[[Plan, Sequence[Chunk], Source, Moment], Verdict]


def _kernels() -> Mapping[str, Kernel]:
    found: dict[str, Kernel] = {"reference": reference.run}
    with contextlib.suppress(ImportError):
        found["native"] = importlib.import_module("hub.exchange.native").run
    return found


KERNELS: Final = _kernels()
NAMES: Final = ("reference", "native")


def kernels() -> list[Any]:
    """Return a parameter for each kernel; one that was not built is skipped, and says so."""
    return [pytest.param(KERNELS.get(name), id=name, marks=_marks(name)) for name in NAMES]


def kernel_names() -> list[Any]:
    """Return a parameter for the name of each kernel, likewise."""
    return [pytest.param(name, id=name, marks=_marks(name)) for name in NAMES]


def _marks(name: str) -> list[Any]:
    return [] if name in KERNELS else [pytest.mark.skip(reason="the native kernel was not built: `make native`")]
