"""Whether terms fit this hub as it stands: its datasets and their schemas, its tariffs, its identifier kinds, the time.

One list for all of it, so that a file is mended in one round; of a file that has faults of form, what can be judged beside them.
"""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from hub.agreements.file import AgreementReading
from hub.agreements.meanings import mixed_kinds
from hub.agreements.outputs import findings
from hub.agreements.wiring import Wiring
from hub.catalogue.annotations import kinds_in
from hub.catalogue.registry import Registered
from hub.model.agreement import Agreement
from hub.model.dataset import DatasetEntry
from hub.model.errors import Problem
from hub.model.identifiers import is_identifier_kind, kind_fix


def fit_problems(w: Wiring, connection: Connection, terms: Agreement, entry: DatasetEntry, *, at_ms: int) -> tuple[Problem, ...]:
    """Return what stands between terms and a dataset that is known; ``where`` is left to the file."""
    writers = w.registry.versions(connection, w.names.dept_subject(terms.dataset))
    out = [*findings(terms, entry, writers), *mixed_kinds(terms, writers), *_kinds(w, connection, terms, writers)]
    if terms.tariff is not None and not w.knows_tariff(terms.tariff):
        out.append(Problem("", "tariff", "has no price in this hub", "name one that has, such as `per-record@1`"))
    if terms.valid_until_ms is not None and terms.valid_until_ms <= at_ms:
        out.append(Problem("", "valid_until", "lies in the past", "write a later day: nothing would ever be delivered"))
    return tuple(out)


def judged(w: Wiring, connection: Connection, reading: AgreementReading, *, at_ms: int) -> tuple[Problem, ...]:
    """Return what can be told of a file beside its faults of form; nothing where there are none, or where it names no dataset."""
    terms = reading.partial
    if terms is None or not reading.faulty:
        return ()
    row = w.catalogue.find(connection, terms.dataset)
    if row is None:
        return (Problem("", "dataset", "is not known", "apply its entry first: `cityhub dataset apply FILE`"),)
    return fit_problems(w, connection, terms, row.entry, at_ms=at_ms)


def _kinds(w: Wiring, connection: Connection, terms: Agreement, writers: Sequence[Registered]) -> list[Problem]:
    """Tell identifier kinds that are no kinds; those of the dataset's schemas and of versions before stay, as pseudonyms depend on them."""
    doubtful = [
        (place, grant.identifier)
        for place, grant in enumerate(terms.fields)
        if grant.identifier is not None and not is_identifier_kind(grant.identifier)
    ]
    if not doubtful:
        return []
    kept = {grant.identifier for row in w.shelf.versions(connection, terms.id) for grant in row.terms.fields}
    kept |= {kind for writer in writers for kind in kinds_in(json.loads(writer.schema))}
    return [
        Problem("", f"fields[{place}].pseudonym.identifier", "is no identifier kind", kind_fix(kind))
        for place, kind in doubtful
        if kind not in kept
    ]
