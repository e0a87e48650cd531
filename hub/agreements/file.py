"""Agreement files: from the YAML that officers write to checked terms, every fault at once with file, line, field and fix.

Only the shape is checked here. Whether the terms fit a dataset's schema is ``hub.model.terms``' part, whose findings
``AgreementFile.locate`` puts back on the lines of the file. Told in docs/reference/shapes.md "Agreement files".
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from hub.agreements.file_grants import read_grants
from hub.agreements.file_rules import read_rule
from hub.model.agreement import CHARGE_BASES, KEY_RULES, Agreement
from hub.model.errors import HubError, Problem
from hub.model.manifest import Faults, Form, Node, read_manifest
from hub.model.names import dataset_parts, is_slug
from hub.model.times import TIME_FIX, begin_ms, end_ms

VERSION_MAX: Final = 1_000_000
_SLUG_FIX: Final = "lower-case letters, digits and dashes, at most 40, beginning with a letter"
_TARIFF = re.compile(r"[a-z][a-z0-9-]{0,39}(@[1-9][0-9]{0,8})?\Z")
_GRANT = re.compile(r"fields\[(\d+)\]")
_SLUGS: Final = ("id", "provider", "consumer")
_KNOWN: Final = (
    "apiVersion",
    "kind",
    "id",
    "version",
    "provider",
    "consumer",
    "payer",
    "represented_org",
    "dataset",
    "purpose",
    "legal_basis",
    "scenario",
    "service_item_code",
    "valid_from",
    "valid_until",
    "start",
    "tariff",
    "charge_basis",
    "rows",
    "fields",
    "key",
)
_LATER_FIX: Final = "leave it out for now: a term that is not enforced must not be signed"
_LATER: Final = dict.fromkeys(
    ("quota", "region_scope", "obligations", "subject_visibility", "split", "parties", "tests", "signatures"), _LATER_FIX
)


class AgreementFile(msgspec.Struct, frozen=True):
    """The terms of a file that was read without a fault, and where each of them stands."""

    agreement: Agreement
    file: str
    text: str
    lines: Mapping[str, int]
    """Line by path, as ``rows.all[0].eq``."""

    def locate(self, path: str) -> str:
        """Return ``file:line`` of a path, or of the nearest one above it."""
        return f"{self.file}:{_line_of(path, self.lines)}"

    def refuse(self, code: str, findings: tuple[Problem, ...]) -> None:
        """Raise ``code`` with findings whose ``where`` is filled in from their field paths, if there are any."""
        if not findings:
            return
        placed = tuple(msgspec.structs.replace(found, where=self.locate(found.field)) for found in findings)
        noun = "fault" if len(placed) == 1 else "faults"
        raise HubError(code, f"agreement `{self.agreement.id}` has {len(placed)} {noun}", "mend each of them", problems=placed)


class AgreementReading:
    """A file as far as it could be read: whole terms, or faults of form and the terms that can be judged beside them."""

    def __init__(self, text: str, *, file: str) -> None:
        """Read ``text``; faults are kept until ``finish``."""
        self._text = text
        self._faults = Faults(file)
        self._root = read_manifest(text, faults=self._faults)
        self._terms: dict[str, Any] = {}
        self._places: tuple[int, ...] = ()
        if self._root.value:
            self._terms, self._places = _terms(Form(self._root, self._faults), self._faults)

    @property
    def faulty(self) -> bool:
        """Tell whether the file has faults of form."""
        return bool(self._faults.found)

    @property
    def partial(self) -> Agreement | None:
        """What was read of the terms, with None for what was not; None where not even the dataset could be read."""
        return Agreement(**self._terms) if self._terms.get("dataset") else None

    def finish(self, beside: Sequence[Problem] = ()) -> AgreementFile:
        """Return the file; HUB-AGREE-001 lists every fault of form, and with them what was found ``beside``, in terms of ``partial``."""
        lines = dict(_lines(self._root))
        if not self.faulty:
            return AgreementFile(Agreement(**self._terms), self._faults.file, self._text, lines)
        told = [fault.field for fault in self._faults.found]
        for found in beside:
            path = self._path_in_file(found.field)
            if not any(_within(path, other) or _within(other, path) for other in told):
                where = f"{self._faults.file}:{_line_of(path, lines)}"
                self._faults.found.append(msgspec.structs.replace(found, field=path, where=where))
        self._faults.refuse("HUB-AGREE-001", "agreement file")
        raise AssertionError("a faulty file is refused")

    def _path_in_file(self, path: str) -> str:
        """Grants with faults are not in ``partial``, so that the places of those behind them differ."""
        found = _GRANT.match(path)
        return path if found is None else f"fields[{self._places[int(found[1])]}]{path[found.end() :]}"


def parse_agreement(text: str, *, file: str) -> AgreementFile:
    """Read an agreement file; HUB-AGREE-001 lists every fault."""
    return AgreementReading(text, file=file).finish()


def _terms(form: Form, faults: Faults) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return what the file says of the terms, None for what it does not say well, and where in its list each grant stands."""
    form.head("Agreement")
    form.known(_KNOWN, later=_LATER)
    grants = read_grants(form)
    terms: dict[str, Any] = {key: _slug(form, key) for key in _SLUGS}
    terms |= {
        "dataset": _dataset(form, provider=terms["provider"]),
        "purpose": form.text("purpose", fix="name what the data is used for, as `purpose: enforcement`", characters_max=200),
        "legal_basis": form.text("legal_basis", fix="cite the law or document that allows the sharing"),
        "valid_from_ms": _time(form, "valid_from", begin_ms, required=False),
        "valid_until_ms": _time(form, "valid_until", end_ms, required=True),
        "tariff": _tariff(form),
        "fields": tuple(grant for _, grant in grants),
        "rows": read_rule(form.values["rows"], faults) if "rows" in form.values else None,
        **_optional(form),
    }
    terms["payer"] = terms["payer"] or terms["consumer"]
    _start(form)
    begin, end = terms["valid_from_ms"], terms["valid_until_ms"]
    if begin is not None and end is not None and begin >= end:
        faults.add(form.values["valid_until"], "lies before `valid_from`", "let the term end after it begins")
    return terms, tuple(place for place, _ in grants)


def _slug(form: Form, key: str, *, required: bool = True) -> str | None:
    value = form.text(key, required=required, fix=f"write `{key}:` with {_SLUG_FIX}")
    if value is not None and not is_slug(value):
        form.faults.add(form.values[key], "is no identifier", f"use {_SLUG_FIX}")
    return value


def _dataset(form: Form, *, provider: str | None) -> str | None:
    value = form.text("dataset", fix="write `dataset: <org>/<dataset>`")
    if value is None:
        return None
    try:
        org, _ = dataset_parts(value)
    except HubError as error:
        form.faults.add(form.values["dataset"], "is no dataset name", error.fix)
        return value
    if provider is not None and org != provider:
        form.faults.add(form.values["dataset"], "belongs to another organisation than `provider`", f"write `provider: {org}`")
    return value


def _time(form: Form, key: str, read: Callable[[str], int], *, required: bool) -> int | None:
    text = form.text(key, required=required, fix=TIME_FIX)
    if text is None:
        return None
    try:
        return read(text)
    except ValueError:
        form.faults.add(form.values[key], "is no time", TIME_FIX)
        return None


def _start(form: Form) -> None:
    node = form.values.get("start")
    if node is not None and node.value != "now":
        form.faults.add(node, "other starts than `now` come later", "write `start: now` or leave it out")


def _tariff(form: Form) -> str | None:
    value = form.text("tariff", fix="write `tariff: per-record@1`")
    if value is not None and _TARIFF.match(value) is None:
        form.faults.add(form.values["tariff"], "is no tariff", "write `name@version`, as `per-record@1`")
    return value


def _optional(form: Form) -> dict[str, object]:
    return {
        "version": form.integer("version", default=1, least=1, most=VERSION_MAX),
        "payer": _slug(form, "payer", required=False),
        "represented_org": _slug(form, "represented_org", required=False),
        "scenario": form.text("scenario", required=False),
        "service_item_code": form.text("service_item_code", required=False, characters_max=100),
        "charge_basis": form.choice("charge_basis", CHARGE_BASES, default="shadow"),
        "key": form.choice("key", KEY_RULES, default="drop"),
    }


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))


def _line_of(path: str, lines: Mapping[str, int]) -> int:
    """Return the line of a path, or of the nearest one above it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 1)


def _lines(node: Node) -> Iterator[tuple[str, int]]:
    yield node.path, node.line
    if isinstance(node.value, Mapping):
        for inner in node.value.values():
            yield from _lines(inner)
    elif isinstance(node.value, tuple):
        for inner in node.value:
            yield from _lines(inner)
