"""Manifests: YAML files of ``apiVersion: cityhub/v1``, read so that every fault is named with its line at once.

Scalars follow the core schema of YAML 1.2, not 1.1: ``no`` and ``2027-12-31`` are text, and a number with a leading zero is
refused because YAML 1.1 would read it as octal and a region code would lose its zero. Anchors, aliases and tags are refused:
an alias can stand for a billion nodes. Nothing here does I/O: the text is an argument.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
import yaml

from hub.model.errors import HubError, Problem

API_VERSION: Final = "cityhub/v1"
MANIFEST_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 48
INTEGER_MAX: Final = 2**53
"""Canonical JSON (RFC 8785) has no larger integers."""
TEXT_CHARACTERS_MAX: Final = 2_000

_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+\Z")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_QUOTED = re.compile(r"""'.*'|".*"|\(.*\)""")
"""The library's messages quote what they found, which may be a value."""
_NUMBER_MAX: Final = 1e308
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

Scalar: TypeAlias = str | int | float | bool | None


class Node(msgspec.Struct, frozen=True):
    """One value of a manifest: where it stands, and what it is."""

    value: Scalar | Mapping[str, "Node"] | tuple["Node", ...]
    line: int
    path: str
    """As ``rows.all[0].eq``; empty for the whole document."""

    @property
    def kind(self) -> str:
        """What it is, in words for people."""
        value = self.value
        if isinstance(value, bool):
            return "true or false"
        if value is None:
            return "nothing"
        if isinstance(value, Mapping):
            return "a mapping"
        if isinstance(value, tuple):
            return "a list"
        return "text" if isinstance(value, str) else "a number"


class Faults:
    """Collects every fault of one file."""

    def __init__(self, file: str) -> None:
        """Start with none; ``file`` is the name shown to people."""
        self.file = file
        self.found: list[Problem] = []

    def add(self, at: Node, message: str, fix: str, *, key: str | None = None) -> None:
        """Note one fault at a node, or at the absent ``key`` under it."""
        path = at.path if key is None else _under(at.path, key)
        self.found.append(Problem(f"{self.file}:{at.line}", path, message, fix))

    def refuse(self, code: str, what: str) -> None:
        """Raise ``code`` with all faults in the order of their lines, if there is any."""
        if not self.found:
            return
        ordered = tuple(sorted(self.found, key=lambda problem: int(problem.where.rpartition(":")[2])))
        noun = "fault" if len(ordered) == 1 else "faults"
        raise HubError(code, f"{what} `{self.file}` has {len(ordered)} {noun}", "mend each of them", problems=ordered)


def read_manifest(text: str, *, faults: Faults) -> Node:
    """Read YAML into nodes; what cannot be read becomes faults and, where nothing is left, an empty mapping."""
    empty = Node({}, 1, "")
    if len(text.encode()) > MANIFEST_BYTES_MAX:
        faults.add(empty, "file is too large", f"keep it within {MANIFEST_BYTES_MAX} bytes")
        return empty
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        faults.add(
            Node(None, line, ""),
            f"not readable as YAML: {_QUOTED.sub('...', error.problem or 'syntax error')}",
            "mend the syntax of this line",
        )
        return empty
    except (yaml.YAMLError, RecursionError, ValueError):
        faults.add(empty, "not readable as YAML", "write plain UTF-8 text, nested less deeply")
        return empty
    if not isinstance(root, yaml.MappingNode):
        faults.add(empty, "holds no mapping", "write `key: value` lines")
        return empty
    return _Reader(faults).node(root, "", 0)


class Form:
    """Reads the keys of one mapping; each reading method notes a fault and returns a stand-in where the value is not fit."""

    def __init__(self, node: Node, faults: Faults) -> None:
        """Read from ``node``; a node that is no mapping is a fault and reads as empty."""
        self.node = node
        self.faults = faults
        self.values: Mapping[str, Node] = {}
        if isinstance(node.value, Mapping):
            self.values = node.value
        else:
            faults.add(node, f"is {node.kind}, not a mapping", "write `key: value` pairs")

    def head(self, kind: str) -> None:
        """Hold ``apiVersion`` and ``kind``."""
        self.choice("apiVersion", (API_VERSION,))
        self.choice("kind", (kind,))

    def known(self, keys: Iterable[str], *, later: Mapping[str, str] | None = None) -> None:
        """Refuse every other key, with the nearest known one; ``later`` names keys whose effect is not built yet."""
        allowed = tuple(keys)
        soon = later or {}
        for key, node in self.values.items():
            if key in allowed:
                continue
            if key in soon:
                self.faults.add(node, f"`{key}` comes later: this hub would not act on it", soon[key])
                continue
            near = difflib.get_close_matches(key, [*allowed, *soon], n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(allowed))}"
            self.faults.add(node, "unknown key", hint)

    def missing(self, key: str, fix: str) -> None:
        """Note that a required key is absent."""
        self.faults.add(self.node, "is missing", fix, key=key)

    def text(self, key: str, *, required: bool = True, fix: str = "", characters_max: int = TEXT_CHARACTERS_MAX) -> str | None:
        """Return non-empty text; None where it is absent or not fit."""
        node = self.values.get(key)
        if node is None:
            if required:
                self.missing(key, fix or f"add `{key}: ...`")
            return None
        if not isinstance(node.value, str):
            self.faults.add(node, f"is {node.kind}, not text", fix or "write it in quotes")
            return None
        value = node.value.strip()
        if not value or len(value) > characters_max or any(ord(letter) < ord(" ") for letter in value.replace("\n", " ")):
            self.faults.add(node, "is empty, too long, or has control characters", f"write 1 to {characters_max} characters")
            return None
        return value

    def choice(self, key: str, choices: Sequence[str], *, default: str | None = None) -> str | None:
        """Return one of ``choices``; ``default`` where it is absent, which is a fault where there is no default."""
        node = self.values.get(key)
        shown = " | ".join(choices)
        if node is None:
            if default is None:
                self.missing(key, f"write `{key}: {shown}`")
            return default
        if node.value not in choices:
            near = difflib.get_close_matches(str(node.value), choices, n=1) if isinstance(node.value, str) else []
            hint = f"did you mean `{near[0]}`?" if near and len(choices) > 1 else f"write `{key}: {shown}`"
            self.faults.add(node, "is not one of the allowed values", hint)
            return default
        return str(node.value)

    def integer(self, key: str, *, default: int, least: int, most: int) -> int:
        """Return an integer within bounds, ``default`` where it is absent."""
        node = self.values.get(key)
        if node is None:
            return default
        if isinstance(node.value, bool) or not isinstance(node.value, int) or not least <= node.value <= most:
            self.faults.add(node, f"is not a whole number from {least} to {most}", f"write `{key}: {default}` or leave it out")
            return default
        return node.value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false, ``default`` where it is absent."""
        node = self.values.get(key)
        if node is None:
            return default
        if not isinstance(node.value, bool):
            self.faults.add(node, f"is {node.kind}, not true or false", "write `true` or `false`, without quotes")
            return default
        return node.value

    def items(self, key: str) -> tuple[Node, ...] | None:
        """Return the items of a list that must be there and not be empty."""
        node = self.values.get(key)
        if node is None:
            return None
        if not isinstance(node.value, tuple) or not node.value:
            self.faults.add(
                node, f"is {node.kind if not isinstance(node.value, tuple) else 'empty'}, not a list of items", "write `[a, b]`"
            )
            return None
        return node.value


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


class _Reader:
    """Turns composed YAML nodes into ``Node``; a node met twice is an alias."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.met: set[int] = set()

    def node(self, raw: yaml.Node, path: str, depth: int) -> Node:
        line = raw.start_mark.line + 1
        here = Node(None, line, path)
        if id(raw) in self.met:
            self.faults.add(here, "is an alias", "write the value out: anchors and aliases are not allowed")
            return here
        self.met.add(id(raw))
        if depth > DEPTH_MAX:
            self.faults.add(here, "is nested too deeply", f"keep within {DEPTH_MAX} levels")
            return here
        if isinstance(raw, yaml.MappingNode) and raw.tag == "tag:yaml.org,2002:map":
            return Node(self._mapping(raw, path, depth), line, path)
        if isinstance(raw, yaml.SequenceNode) and raw.tag == "tag:yaml.org,2002:seq":
            return Node(tuple(self.node(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(raw.value)), line, path)
        if isinstance(raw, yaml.ScalarNode):
            return Node(self._scalar(raw, here), line, path)
        self.faults.add(here, "has a tag", "write the plain value: tags are not allowed")
        return here

    def _mapping(self, raw: yaml.MappingNode, path: str, depth: int) -> dict[str, Node]:
        out: dict[str, Node] = {}
        for key_node, value_node in raw.value:
            at = Node(None, key_node.start_mark.line + 1, path)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                self.faults.add(at, "has a key that is no text", "write simple keys; merges are not allowed")
                continue
            key = str(key_node.value)
            if key in out:
                self.faults.add(at, "stands here twice", f"keep one `{key}`", key=key)
                continue
            value = self.node(value_node, _under(path, key), depth + 1)
            out[key] = msgspec.structs.replace(value, line=at.line) if not isinstance(value.value, Mapping | tuple) else value
        return out

    def _scalar(self, raw: yaml.ScalarNode, here: Node) -> Scalar:
        text = str(raw.value)
        if not raw.tag.startswith("tag:yaml.org,2002:"):
            self.faults.add(here, "has a tag", "write the plain value: tags are not allowed")
        if raw.style is not None:
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        return self._number(text, here) if _NUMBER.match(text) else text

    def _number(self, text: str, here: Node) -> int | float | str:
        if _LEADING_ZERO.match(text):
            self.faults.add(here, "is a number with a leading zero", 'put it in quotes, as "0123", so that no zero is lost')
            return text
        if _INTEGER.match(text):
            return self._integer(text, here)
        number = float(text)
        if abs(number) > _NUMBER_MAX:
            self.faults.add(here, "is a number out of range", "put it in quotes if it is text")
        return number

    def _integer(self, text: str, here: Node) -> int:
        number = int(text) if len(text) <= len(str(INTEGER_MAX)) + 1 else INTEGER_MAX + 1
        if abs(number) > INTEGER_MAX:
            self.faults.add(
                here, "is a whole number beyond 2^53", "put it in quotes if it is an identifier; numbers end at 9007199254740992"
            )
            return 0
        return number
