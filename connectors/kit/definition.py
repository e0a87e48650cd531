"""Connector files: ``kind: Source``, read with every fault at once (HUB-CONN-001); ``init`` writes one to start from."""

import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from connectors.kit.contract import POLICIES, POLICIES_LATER, Definition, Setting, SourceType
from hub.model.errors import HubError, Problem
from hub.model.manifest import Faults, Form, read_manifest
from hub.model.names import dataset_parts, is_slug

ENTRY_POINTS: Final = "cityhub.sources"
NAME_CHARACTERS_MAX: Final = 40
PORT_MAX: Final = 65_535

HEAD: Final = (
    Setting(key="apiVersion", kind="text", help="version of this file's form", required=True, example="cityhub/v1"),
    Setting(key="kind", kind="text", help="a source moves data into the hub", required=True, example="Source"),
    Setting(key="name", kind="name", help="of the connector; never used again for another one", required=True),
    Setting(key="type", kind="text", help="which type of source", required=True),
    Setting(key="dataset", kind="name", help="the dataset it publishes, `<org>/<dataset>`", required=True),
    Setting(
        key="policy", kind="freeze | discard_value", help="columns that the schema does not know: refuse, or leave out", default="freeze"
    ),
    Setting(key="metrics_port", kind="port", help="of /livez, /readyz and /metrics on 127.0.0.1; 0 takes a free one", default="0"),
)


def source_types() -> Mapping[str, type[SourceType]]:
    """Return every installed type of source by its name."""
    return {point.name: point.load() for point in sorted(entry_points(group=ENTRY_POINTS))}


def source_type(name: str) -> type[SourceType]:
    """Return one type; HUB-CONN-001 where it is not installed."""
    known = source_types()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise HubError("HUB-CONN-001", f"`{name}` is no type of source", f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}")


def load_definition(path: Path) -> Definition:
    """Read a connector file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        fix = "give the path of a connector file in UTF-8; `cityhub connector init TYPE` writes one"
        raise HubError("HUB-CONN-001", f"`{path}` cannot be read", fix, problems=(Problem(str(path), "", "cannot be read", fix),)) from None
    return parse_definition(text, file=str(path), folder=path.absolute().parent, types=source_types())


def parse_definition(text: str, *, file: str, folder: Path, types: Mapping[str, type[SourceType]]) -> Definition:
    """Read the text of a connector file; HUB-CONN-001 lists every fault with its line. Relative paths start at ``folder``."""
    faults = Faults(file)
    root = read_manifest(text, faults=faults)
    form = Form(root, faults)
    values: dict[str, Any] = _head(form, types) if root.value else {}
    kind = types.get(values.get("type") or "")
    if kind is not None:
        form.known([setting.key for setting in (*HEAD, *kind.SETTINGS)])
        values["settings"] = kind.read_settings(form, folder=folder)
    faults.refuse("HUB-CONN-001", "connector file")
    return Definition(file=file, **values)


def template(kind: type[SourceType], *, name: str, dataset: str) -> str:
    """Return a connector file that ``init`` writes: what is required as lines, the rest as comments with their defaults."""
    given = {"name": name, "type": kind.TYPE, "dataset": dataset}
    return "\n".join(
        ["# see `cityhub connector spec " + kind.TYPE + "`", *(_line(setting, given) for setting in (*HEAD, *kind.SETTINGS)), ""]
    )


def _line(setting: Setting, given: Mapping[str, str]) -> str:
    value = given.get(setting.key) or setting.example
    if value is not None:
        return f"{setting.key}: {value}"
    return f"# {setting.key}: {setting.default or '...'}   # {setting.help}"


def _head(form: Form, types: Mapping[str, type[SourceType]]) -> dict[str, Any]:
    form.head("Source")
    return {
        "name": _name(form),
        "type": form.choice("type", tuple(types)),
        "dataset": _dataset(form),
        "policy": _policy(form),
        "metrics_port": form.integer("metrics_port", default=0, least=0, most=PORT_MAX) if "metrics_port" in form.values else None,
    }


def _name(form: Form) -> str | None:
    fix = "write lower-case letters, digits and dashes, at most 40, beginning with a letter"
    value = form.text("name", fix=fix)
    if value is not None and not is_slug(value):
        form.faults.add(form.values["name"], "is no name of a connector", fix)
    return value


def _dataset(form: Form) -> str | None:
    value = form.text("dataset", fix="write `dataset: <org>/<dataset>`")
    if value is not None:
        try:
            dataset_parts(value)
        except HubError as error:
            form.faults.add(form.values["dataset"], "is no dataset name", error.fix)
    return value


def _policy(form: Form) -> str | None:
    node = form.values.get("policy")
    if node is not None and node.value in POLICIES_LATER:
        form.faults.add(node, f"`{node.value}` comes later: this build would not act on it", f"write one of {' | '.join(POLICIES)}")
        return None
    return form.choice("policy", POLICIES, default="freeze")
