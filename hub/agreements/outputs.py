"""What an agreement delivers under each writer schema: findings of its terms, and output schemas with their ids."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from hub.agreements.publisher import Draft
from hub.agreements.shelf import AgreementRow
from hub.agreements.wiring import Wiring
from hub.catalogue.registry import Foreseen, Registered
from hub.model.agreement import Agreement
from hub.model.dataset import DatasetEntry
from hub.model.entry import AgreementBody, Kind, SchemaBody, plan_key
from hub.model.errors import Problem
from hub.model.output_schema import output_schema
from hub.model.terms import check_terms


def findings(terms: Agreement, entry: DatasetEntry, versions: Sequence[Registered]) -> tuple[Problem, ...]:
    """Return what stands between terms and any writer schema of their dataset; each finding once, ``where`` left to the file."""
    out: dict[tuple[str, str], Problem] = {}
    for version in versions:
        for fault in check_terms(terms, version.schema, key_identifier=entry.key_identifier):
            out.setdefault((fault.field, fault.message), Problem("", fault.field, fault.message, fault.fix))
    return tuple(out.values())


class Wanted(msgspec.Struct, frozen=True):
    """An agreement whose entry is to be made anew."""

    row: AgreementRow
    known: Mapping[str, int] = {}
    """Output schema ids by writer schema id that stay as they are."""


class Compiled(msgspec.Struct, frozen=True):
    """Entries of agreements, and what must be registered and stand in hub.plan before them."""

    bodies: tuple[AgreementBody, ...]
    schemas: tuple[Draft, ...]
    """Entries of schemas that hub.plan does not carry yet, each once."""
    foreseen: tuple[Foreseen, ...]

    def drafts(self, *, narrows: str | None) -> list[Draft]:
        """Return the entries in the order of appending: schemas before the agreements that name them."""
        return [*self.schemas, *(Draft(Kind.AGREEMENT, body.terms.id, body, narrows=narrows) for body in self.bodies)]


def compile_entries(
    w: Wiring,
    connection: Connection,
    wanted: Sequence[Wanted],
    *,
    writers: Sequence[Registered],
    candidate: tuple[str, str] | None = None,
) -> Compiled:
    """Return the entries of ``wanted`` under ``writers`` and the ``candidate`` (subject and schema of a writer to be registered).

    Nothing is written: ``connection`` may be one that reads. What is ``foreseen`` begins with the candidate.
    """
    (new_writer, *_) = w.registry.foresee(connection, [candidate]) if candidate is not None else (None,)
    under = [*writers, *((new_writer.registered,) if new_writer is not None else ())]
    asked = [
        (number, writer, output_schema(one.row.terms, writer.schema, key_epoch=w.key_epoch))
        for number, one in enumerate(wanted)
        for writer in under
        if str(writer.schema_id) not in one.known
    ]
    subjects = [w.names.share_subject(consumer=one.row.terms.consumer, agreement=one.row.terms.id) for one in wanted]
    registrations = [*((candidate,) if candidate is not None else ()), *((subjects[number], text) for number, _, text in asked)]
    foreseen = w.registry.foresee(connection, registrations)
    output_ids = [dict(one.known) for one in wanted]
    for (number, writer, _), output in zip(asked, foreseen[len(registrations) - len(asked) :], strict=True):
        output_ids[number][str(writer.schema_id)] = output.registered.schema_id
    bodies = tuple(
        AgreementBody(
            state=one.row.state,
            terms=one.row.terms,
            share_topic=w.names.share(consumer=one.row.terms.consumer, agreement=one.row.terms.id),
            key_epoch=w.key_epoch,
            output_schema_ids=ids,
            since_ms=one.row.since_ms,
        )
        for one, ids in zip(wanted, output_ids, strict=True)
    )
    texts = {one.registered.schema_id: one.registered.schema for one in foreseen}
    return Compiled(bodies, schema_drafts(w, connection, texts), foreseen)


def schema_drafts(w: Wiring, connection: Connection, texts: Mapping[int, str]) -> tuple[Draft, ...]:
    """Return entries for the schemas that hub.plan does not carry yet."""
    carried = w.publisher.newest_revisions(connection, [plan_key(Kind.SCHEMA, str(schema_id)) for schema_id in texts])
    return tuple(
        Draft(Kind.SCHEMA, str(schema_id), SchemaBody(schema_id=schema_id, schema=text))
        for schema_id, text in sorted(texts.items())
        if plan_key(Kind.SCHEMA, str(schema_id)) not in carried
    )
