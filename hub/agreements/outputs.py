"""What an agreement delivers under each writer schema: findings of its terms, and output schemas with their ids."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from hub.agreements.publisher import Draft
from hub.agreements.wiring import Wiring
from hub.catalogue.registry import Registered
from hub.model.agreement import Agreement
from hub.model.dataset import DatasetEntry
from hub.model.entry import AgreementBody, Kind, SchemaBody
from hub.model.errors import Problem
from hub.model.lifecycle import State
from hub.model.output_schema import output_schema
from hub.model.terms import check_terms


def findings(terms: Agreement, entry: DatasetEntry, versions: Sequence[Registered]) -> tuple[Problem, ...]:
    """Return what stands between terms and any writer schema of their dataset; each finding once, ``where`` left to the file."""
    out: dict[tuple[str, str], Problem] = {}
    for version in versions:
        for fault in check_terms(terms, version.schema, key_identifier=entry.key_identifier):
            out.setdefault((fault.field, fault.message), Problem("", fault.field, fault.message, fault.fix))
    return tuple(out.values())


class Compiled(msgspec.Struct, frozen=True):
    """An agreement's entry, and the schema entries that must stand in hub.plan with it."""

    body: AgreementBody
    schemas: tuple[Draft, ...]

    def drafts(self, *, narrows: str | None) -> list[Draft]:
        """Return the entries in the order of appending: schemas before the agreement that names them."""
        return [*self.schemas, Draft(Kind.AGREEMENT, self.body.terms.id, self.body, narrows=narrows)]


def compile_entry(
    w: Wiring, connection: Connection, terms: Agreement, *, state: State, writers: Sequence[Registered], at_ms: int
) -> Compiled:
    """Register the output schema of each writer schema and return the agreement's entry."""
    subject = w.names.share_subject(consumer=terms.consumer, agreement=terms.id)
    output_ids: dict[str, int] = {}
    texts: dict[int, str] = {}
    for writer in writers:
        text = output_schema(terms, writer.schema, key_epoch=w.key_epoch)
        registered = w.registry.register(connection, subject=subject, schema=text, at_ms=at_ms)
        output_ids[str(writer.schema_id)] = registered.schema_id
        texts[registered.schema_id] = registered.schema
    body = AgreementBody(
        state=state,
        terms=terms,
        share_topic=w.names.share(consumer=terms.consumer, agreement=terms.id),
        key_epoch=w.key_epoch,
        output_schema_ids=output_ids,
        since_ms=at_ms,
    )
    return Compiled(body, schema_drafts(w, connection, texts))


def schema_drafts(w: Wiring, connection: Connection, texts: Mapping[int, str]) -> tuple[Draft, ...]:
    """Return entries for the schemas that hub.plan does not carry yet."""
    return tuple(
        Draft(Kind.SCHEMA, str(schema_id), SchemaBody(schema_id=schema_id, schema=text))
        for schema_id, text in sorted(texts.items())
        if w.publisher.newest_of(connection, Kind.SCHEMA, str(schema_id)) is None
    )
