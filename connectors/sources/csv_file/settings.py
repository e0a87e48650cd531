"""The settings of a source of CSV files."""

from pathlib import Path
from typing import Final

import msgspec

from connectors.kit.contract import Setting
from connectors.sources.csv_file.encoding import ENCODINGS
from hub.model.manifest import Form, Node

FILES_MAX: Final = 1_000
NULL_VALUES_MAX: Final = 100
ROW_CHARACTERS_MAX: Final = 65_536
ROW_CHARACTERS_CEILING: Final = 800_000
SETTLE_S_MAX: Final = 3_600
REJECTS_MAX: Final = 10_000
REJECTS_CEILING: Final = 1_000_000
REJECTS_MB_MAX: Final = 256
REJECTS_MB_CEILING: Final = 102_400
DOUBT_LINES_MAX: Final = 100
"""A row set aside that has more lines stops the run, where they may be rows: behind a misplaced quote, or more than is held."""
PATTERN: Final = "*.csv"
TAB: Final = "tab"

SETTINGS: Final = (
    Setting(key="folder", kind="path", help="folder whose files are taken in the order of their names; or give `files`", example="inbox"),
    Setting(key="files", kind="list of paths", help="files taken in this order; instead of `folder`"),
    Setting(key="pattern", kind="text", help="which names in the folder; without it `*.csv` and `*.CSV`; none with a dot in front"),
    Setting(key="delimiter", kind="one character, or `tab`", help="between the columns", default='","'),
    Setting(key="null_values", kind="list of texts", help="texts that mean null, where the field knows null", default='[""]'),
    Setting(key="key", kind="list of one field", help="field whose text is the record's key; without it rows take turns", default="[]"),
    Setting(key="encoding", kind=" | ".join(ENCODINGS), help="of the files; without it: mark, else UTF-8, else GB18030, else refused"),
    Setting(key="done", kind="path", help="folder that files are moved to once they are published"),
    Setting(key="rejected", kind="path", help="folder that files are moved to that cannot be read at all"),
    Setting(key="settle_s", kind="seconds", help="a file is taken when nothing was written to it for so long", default="1"),
    Setting(key="row_characters_max", kind="number", help="a longer row is set aside", default=str(ROW_CHARACTERS_MAX)),
    Setting(
        key="rejects_max",
        kind="number",
        help="rows set aside of one file; one more stops the run with exit code 1",
        default=str(REJECTS_MAX),
    ),
    Setting(
        key="rejects_mb_max",
        kind="MiB",
        help="of all rows set aside in the connector's state folder; what is over it stops the run with exit code 1",
        default=str(REJECTS_MB_MAX),
    ),
)


class CsvSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A source of CSV files, as its file says."""

    folder: Path | None
    files: tuple[Path, ...]
    pattern: str | None
    """None where the connector file names none."""
    delimiter: str
    null_values: frozenset[str]
    key: str | None
    encoding: str | None
    done: Path | None
    rejected: Path | None
    settle_s: int
    row_characters_max: int
    rejects_max: int
    rejects_mb_max: int


def read_settings(form: Form, *, folder: Path) -> CsvSettings:
    """Read the keys of ``SETTINGS``; faults go to the form."""
    if ("folder" in form.values) == ("files" in form.values):
        form.missing("folder", "give one of `folder: <path>` and `files: [<path>, ...]`")
    return CsvSettings(
        folder=_path(form, "folder", folder),
        files=tuple(folder / text for text in _texts(form, "files", most=FILES_MAX)),
        pattern=_pattern(form),
        delimiter=_delimiter(form),
        null_values=frozenset(_texts(form, "null_values", most=NULL_VALUES_MAX) if "null_values" in form.values else [""]),
        key=_key(form),
        encoding=form.choice("encoding", ENCODINGS) if "encoding" in form.values else None,
        done=_path(form, "done", folder),
        rejected=_path(form, "rejected", folder),
        settle_s=form.integer("settle_s", default=1, least=0, most=SETTLE_S_MAX),
        row_characters_max=form.integer("row_characters_max", default=ROW_CHARACTERS_MAX, least=1, most=ROW_CHARACTERS_CEILING),
        rejects_max=form.integer("rejects_max", default=REJECTS_MAX, least=0, most=REJECTS_CEILING),
        rejects_mb_max=form.integer("rejects_mb_max", default=REJECTS_MB_MAX, least=1, most=REJECTS_MB_CEILING),
    )


def _path(form: Form, key: str, folder: Path) -> Path | None:
    text = form.text(key, required=False, fix=f"write `{key}: <path>`, from this file's folder on")
    return None if text is None else folder / text


def _texts(form: Form, key: str, *, most: int) -> tuple[str, ...]:
    node = form.values.get(key)
    if node is None:
        return ()
    items = node.value
    if not isinstance(items, tuple) or len(items) > most:
        form.faults.add(node, f"is no list of at most {most} texts", "write `[a, b]`")
        return ()
    return tuple(text for item in items if (text := _text(form, item)) is not None)


def _text(form: Form, item: Node) -> str | None:
    if isinstance(item.value, str):
        return item.value
    form.faults.add(item, f"is {item.kind}, not text", "write it in quotes")
    return None


def _pattern(form: Form) -> str | None:
    pattern = form.text("pattern", required=False)
    if pattern is not None and "/" in pattern:
        form.faults.add(form.values["pattern"], "reaches into other folders", "write a pattern of names, as `*.csv`")
    return pattern


def _delimiter(form: Form) -> str:
    node = form.values.get("delimiter")
    if node is None:
        return ","
    if node.value == TAB:
        return "\t"
    if isinstance(node.value, str) and len(node.value) == 1 and node.value not in '"\r\n':
        return node.value
    form.faults.add(node, "is no delimiter", 'write one character in quotes, as `";"`, or `tab`')
    return ","


def _key(form: Form) -> str | None:
    node = form.values.get("key")
    if node is None or node.value == ():
        return None
    fields = (node.value,) if isinstance(node.value, str) else tuple(_texts(form, "key", most=FILES_MAX))
    if len(fields) > 1:
        form.faults.add(node, "names more than one field", "name one field: keys of several come later")
    return fields[0] if fields else None
