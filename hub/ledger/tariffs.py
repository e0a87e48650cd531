"""The tariff book: the released tariffs, read from ``tariffs.yaml``, and which version prices an hour of use."""

import difflib
import re
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import yaml

from hub.ledger.periods import Period
from hub.model.errors import HubError, Problem
from hub.model.names import is_slug
from hub.model.tariff import Tariff

FILE: Final = "tariffs.yaml"
PRICE_MAX_MICRO_FEN: Final = 10**12
"""¥10,000 a record: more is a slip of the pen."""
_REFERENCE: Final = re.compile(r"(?P<name>[a-z][a-z0-9-]*)(@(?P<version>[1-9][0-9]{0,5}))?\Z")


class Dated(msgspec.Struct, frozen=True):
    """A tariff version and the hour from which its bare name means it."""

    tariff: Tariff
    from_hour: int


class TariffBook:
    """Every released tariff version."""

    def __init__(self, versions: Iterable[Dated]) -> None:
        """Keep them by name, versions ascending."""
        self._by_name: dict[str, dict[int, Dated]] = {}
        for dated in sorted(versions, key=lambda found: (found.tariff.name, found.tariff.version)):
            self._by_name.setdefault(dated.tariff.name, {})[dated.tariff.version] = dated

    @property
    def ids(self) -> tuple[str, ...]:
        """Every ``name@version``, in order."""
        return tuple(dated.tariff.id for versions in self._by_name.values() for dated in versions.values())

    def check(self, reference: str) -> None:
        """Raise HUB-LEDGER-004, with the nearest there is, unless ``reference`` names a tariff: ``name@n`` or ``name``."""
        found = _REFERENCE.match(reference)
        versions = self._by_name.get(found["name"]) if found else None
        if found is None or versions is None or (found["version"] and int(found["version"]) not in versions):
            near = difflib.get_close_matches(reference, [*self.ids, *self._by_name], n=1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(self.ids)}"
            raise HubError("HUB-LEDGER-004", f"there is no tariff `{reference}`", hint)

    def at(self, reference: str, *, hour: int) -> Tariff:
        """Return what ``reference`` means at ``hour``: ``name@n`` that version for ever, ``name`` the version in force then."""
        self.check(reference)
        name, _, version = reference.partition("@")
        versions = self._by_name[name]
        if version:
            return versions[int(version)].tariff
        in_force = [dated for dated in versions.values() if dated.from_hour <= hour]
        if not in_force:
            raise HubError("HUB-LEDGER-004", f"no version of tariff `{name}` was in force then", f"name a version: `{name}@1`")
        return max(in_force, key=lambda dated: (dated.from_hour, dated.tariff.version)).tariff


@cache
def released_tariffs() -> TariffBook:
    """Return the tariffs that this build carries."""
    text = files("hub.ledger").joinpath(FILE).read_text(encoding="utf-8")
    return read_tariffs(text, where=FILE)


def read_tariffs(text: str, *, where: str) -> TariffBook:
    """Read a tariff file strictly; HUB-CONF-001 lists every fault at once."""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError:
        raise HubError("HUB-CONF-001", f"`{where}` is no YAML", "mend the file") from None
    rows = loaded.get("tariffs") if isinstance(loaded, dict) and set(loaded) == {"tariffs"} else None
    if not isinstance(rows, list):
        raise HubError("HUB-CONF-001", f"`{where}` holds no list `tariffs`", "write `tariffs:` and one entry per version")
    problems: list[Problem] = []
    found: list[Dated] = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        faults = list(_faults(row))
        if not faults:
            dated = _dated(row)
            faults = [("version", "twice in this file", "a version is released once")] if dated.tariff.id in seen else []
            seen.add(dated.tariff.id)
            found.append(dated)
        problems += [Problem(where, f"tariffs[{number}].{field}".rstrip("."), message, fix) for field, message, fix in faults]
    if problems:
        raise HubError("HUB-CONF-001", f"`{where}` has {len(problems)} faults", "mend each of them", problems=tuple(problems))
    return TariffBook(found)


def _whole(value: Any, top: int, *, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= top


_FIELDS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "name": (lambda value: isinstance(value, str) and is_slug(value), "lower-case letters, digits and dashes"),
    "version": (lambda value: _whole(value, 999_999, least=1), "a whole number from 1"),
    "from": (lambda value: isinstance(value, date) and value.day == 1, "the first day of a month, such as 2026-01-01"),
    "title": (lambda value: isinstance(value, str) and value != "", "a text"),
    "unit_price_micro_fen": (lambda value: _whole(value, PRICE_MAX_MICRO_FEN), "a whole number of micro-fen, at most ¥10,000"),
}


def _faults(row: Any) -> Iterable[tuple[str, str, str]]:
    if not isinstance(row, dict):
        yield "", "not a mapping", "write `name`, `version`, `from`, `title` and `unit_price_micro_fen`"
        return
    for key in row:
        if key not in _FIELDS:
            near = difflib.get_close_matches(str(key), _FIELDS, n=1)
            yield str(key), "unknown key", f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(_FIELDS)}"
    for field, (good, expected) in _FIELDS.items():
        if field not in row:
            yield field, "missing", expected
        elif not good(row[field]):
            yield field, "not valid", expected


def _dated(row: dict[str, Any]) -> Dated:
    tariff = Tariff(name=row["name"], version=row["version"], unit_price_micro_fen=row["unit_price_micro_fen"], title=row["title"])
    month = Period.parse(f"{row['from'].year:04d}-{row['from'].month:02d}")
    return Dated(tariff, month.hours.start)
