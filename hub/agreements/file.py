"""Agreement files: from the YAML that officers write to checked terms, every fault at once with file, line, field and fix.

Only the shape is checked here. Whether the terms fit a dataset's schema is ``hub.model.terms``' part, whose findings
``AgreementFile.locate`` puts back on the lines of the file. Source: SHAPES "Agreement".
"""

import re
from collections.abc import Callable, Iterator, Mapping
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
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.file}:{self.lines.get(path, 1)}"

    def refuse(self, code: str, findings: tuple[Problem, ...]) -> None:
        """Raise ``code`` with findings whose ``where`` is filled in from their field paths, if there are any."""
        if not findings:
            return
        placed = tuple(msgspec.structs.replace(found, where=self.locate(found.field)) for found in findings)
        noun = "fault" if len(placed) == 1 else "faults"
        raise HubError(code, f"agreement `{self.agreement.id}` has {len(placed)} {noun}", "mend each of them", problems=placed)


def parse_agreement(text: str, *, file: str) -> AgreementFile:
    """Read an agreement file; HUB-AGREE-001 lists every fault."""
    faults = Faults(file)
    root = read_manifest(text, faults=faults)
    agreement = _terms(Form(root, faults), faults) if root.value else None
    faults.refuse("HUB-AGREE-001", "agreement file")
    if agreement is None:  # pragma: no cover - every None above notes its fault
        raise HubError("HUB-AGREE-001", f"agreement file `{file}` cannot be read", "compare it with the example in README")
    return AgreementFile(agreement, file, text, dict(_lines(root)))


def _terms(form: Form, faults: Faults) -> Agreement | None:
    form.head("Agreement")
    form.known(_KNOWN, later=_LATER)
    terms: dict[str, Any] = {key: _slug(form, key) for key in _SLUGS}
    terms |= {
        "dataset": _dataset(form, provider=terms["provider"]),
        "purpose": form.text("purpose", fix="name what the data is used for, as `purpose: enforcement`", characters_max=200),
        "legal_basis": form.text("legal_basis", fix="cite the law or document that allows the sharing"),
        "valid_from_ms": _time(form, "valid_from", begin_ms, required=False),
        "valid_until_ms": _time(form, "valid_until", end_ms, required=True),
        "tariff": _tariff(form),
        "fields": read_grants(form),
        "rows": read_rule(form.values["rows"], faults) if "rows" in form.values else None,
        **_optional(form),
    }
    terms["payer"] = terms["payer"] or terms["consumer"]
    _start(form)
    begin, end = terms["valid_from_ms"], terms["valid_until_ms"]
    if begin is not None and end is not None and begin >= end:
        faults.add(form.values["valid_until"], "lies before `valid_from`", "let the term end after it begins")
    return None if faults.found else Agreement(**terms)


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


def _lines(node: Node) -> Iterator[tuple[str, int]]:
    yield node.path, node.line
    if isinstance(node.value, Mapping):
        for inner in node.value.values():
            yield from _lines(inner)
    elif isinstance(node.value, tuple):
        for inner in node.value:
            yield from _lines(inner)
