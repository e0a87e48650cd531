"""The verbs check, discover and preview: what they ask of the hub and of the source."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro

from connectors.kit.access import HubAccess
from connectors.kit.contract import Definition, Discovery, Finding, Previewed, SourceType
from connectors.kit.definition import source_type
from hub.model.errors import HubError
from hub.model.framing import HEADER_BYTES
from hub.model.normal_form import normal_form
from hub.model.source_schema import SourceSchema


def check(definition: Definition, access: HubAccess) -> Iterator[Finding]:
    """Try everything that ``run`` will need, one finding each; nothing is written."""
    source = open_source(definition)
    yield Finding(check="connector file", ok=True, detail=definition.file)
    try:
        with access.target(definition) as target:
            yield Finding(check="broker", ok=True, detail=access.bootstrap)
            yield Finding(check="topic", ok=True, detail=f"{target.topic}, {target.partitions} partitions")
            try:
                writer = target.schemas.latest()
            except HubError as error:
                yield finding("schema", error)
                yield from source.check(None)
                return
            yield Finding(check="schema", ok=True, detail=f"id {writer.id}, {len(writer.schema.fields)} fields")
            yield from source.check(target)
    except HubError as error:
        yield finding("topic" if error.code == "HUB-BROKER-009" else "broker", error)
        yield from source.check(None)


def discover(definition: Definition, *, rows_max: int) -> Discovery:
    """Look at the source and propose a schema; asks nothing of the hub."""
    return open_source(definition).discover(rows_max=rows_max)


def preview(definition: Definition, access: HubAccess, *, rows_max: int) -> Sequence[Previewed]:
    """Encode the first rows as ``run`` would; publishes nothing."""
    with access.target(definition) as target:
        return open_source(definition).preview(target, rows_max=rows_max)


def open_source(definition: Definition) -> SourceType:
    """Return the source of a connector file."""
    return source_type(definition.type)(definition)


def finding(check: str, error: HubError) -> Finding:
    """Return what failed, with its code and every problem."""
    parts = [f"{problem.field}: {problem.message} ({problem.fix})" for problem in error.problems]
    return Finding(check=check, ok=False, detail="; ".join([error.message, *parts]), code=error.code, fix=error.fix)


def decoded(value: bytes, schema: SourceSchema) -> dict[str, Any]:
    """Read a record back as any consumer would, with an Avro library that did not write it."""
    found = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), fastavro.parse_schema(normal_form(schema.declared)), None)
    if not isinstance(found, dict):
        raise TypeError("a record is read back as fields")
    return {name: item if item is None or isinstance(item, bool | int | float | str) else str(item) for name, item in found.items()}
