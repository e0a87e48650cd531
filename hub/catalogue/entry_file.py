"""Dataset entry files: the YAML that puts a dataset into the catalogue, every fault at once.

Told in docs/reference/shapes.md "Dataset entries".
"""

import re
from collections.abc import Callable
from typing import Any, Final

from hub.model.dataset import DEFAULT_PARTITIONS, LEVELS, SECRECY, SHARING, DatasetEntry
from hub.model.errors import HubError, Problem
from hub.model.identifiers import is_identifier_kind, kind_fix
from hub.model.manifest import Faults, Form, read_manifest
from hub.model.names import dataset_parts

PARTITIONS_MAX: Final = 64
RETENTION_CLASSES: Final = ("ops_180d", "impact_3y", "accounting_10y", "accounting_30y", "evidence_permanent", "payload_short")
SCHEMA_PATH: Final = re.compile(r"[a-z][a-z0-9-]{0,39}/[a-z][a-z0-9-]{0,39}/v[1-9][0-9]{0,5}\.avsc\Z")
_TEXTS: Final = ("resource_code", "abstract", "condition", "sharing_basis", "update_cycle", "quality")
_KNOWN: Final = (
    "apiVersion",
    "kind",
    "dataset",
    "title",
    "accountable_person",
    "sharing",
    "schema",
    "key_identifier",
    "partitions",
    "secrecy",
    "level",
    "authoritative_source",
    "retention_class",
    *_TEXTS,
)
_KEEP_OUT: Final = "keep it out: state secrets and work secrets are exchanged on other networks, under other rules"


def _no_kind(_dataset: str) -> str | None:
    return None


def parse_dataset_entry(text: str, *, file: str, kind_kept: Callable[[str], str | None] = _no_kind) -> DatasetEntry:
    """Read a dataset entry; HUB-DATASET-001 lists every fault, HUB-DATASET-002 refuses both levels of secrecy.

    ``kind_kept`` tells the key identifier that a dataset has already: one from before the list of kinds was closed may stay.
    """
    faults = Faults(file)
    root = read_manifest(text, faults=faults)
    form = Form(root, faults)
    secrecy = form.values.get("secrecy")
    if secrecy is not None and secrecy.value in SECRECY and secrecy.value != "none":
        problem = Problem(f"{file}:{secrecy.line}", "secrecy", "secret data may not enter the hub", _KEEP_OUT)
        raise HubError("HUB-DATASET-002", f"dataset entry `{file}` declares a secret", _KEEP_OUT, problems=(problem,))
    entry = _entry(form, kind_kept) if root.value else {}
    faults.refuse("HUB-DATASET-001", "dataset entry")
    return DatasetEntry(**entry)


def schema_path(text: str) -> str | None:
    """Return the schema path of an entry that may have faults elsewhere, None where it has none that is one."""
    value = Form(read_manifest(text, faults=Faults("")), Faults("")).values.get("schema")
    return value.value if value is not None and isinstance(value.value, str) and SCHEMA_PATH.match(value.value) else None


def _entry(form: Form, kind_kept: Callable[[str], str | None]) -> dict[str, Any]:
    form.head("Dataset")
    form.known(_KNOWN)
    entry: dict[str, Any] = {
        "dataset": _dataset(form),
        "title": form.text("title", fix="write the name that people know it by", characters_max=200),
        "accountable_person": form.text("accountable_person", fix="name the person who answers for the data", characters_max=80),
        "sharing": form.choice("sharing", SHARING),
        "schema": _schema(form),
        "key_identifier": form.text("key_identifier", required=False, characters_max=40),
        "partitions": form.integer("partitions", default=DEFAULT_PARTITIONS, least=1, most=PARTITIONS_MAX),
        "secrecy": form.choice("secrecy", SECRECY, default="none"),
        "level": form.choice("level", LEVELS, default="general"),
        "authoritative_source": form.flag("authoritative_source", default=False),
        "retention_class": form.choice("retention_class", RETENTION_CLASSES, default="payload_short"),
        **{key: form.text(key, required=False) for key in _TEXTS},
    }
    kind = entry["key_identifier"]
    if kind is not None and not is_identifier_kind(kind) and kind != kind_kept(entry["dataset"] or ""):
        form.faults.add(form.values["key_identifier"], "is no identifier kind", kind_fix(kind))
    if entry["sharing"] == "not_shared" and "sharing_basis" not in form.values:
        form.missing("sharing_basis", "cite the law or document that forbids the sharing")
    return entry


def _dataset(form: Form) -> str | None:
    value = form.text("dataset", fix="write `dataset: <org>/<dataset>`")
    if value is None:
        return None
    try:
        dataset_parts(value)
    except HubError as error:
        form.faults.add(form.values["dataset"], "is no dataset name", error.fix)
    return value


def _schema(form: Form) -> str | None:
    fix = "write the path under `avro_schemas`, as `schema: transport/flight/v1.avsc`"
    value = form.text("schema", fix=fix)
    if value is not None and SCHEMA_PATH.match(value) is None:
        form.faults.add(form.values["schema"], "is no schema path", fix)
    return value
