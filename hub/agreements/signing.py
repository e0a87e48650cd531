"""What a signature puts into hub.plan, made before the write lock is taken: compiling and signing take long.

The agreement's entry is the commit point. Where it does not fit into one batch with its output schemas, these are told first, by
themselves: they change nothing until an agreement names them, and signing goes on with what is left.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection

from hub.agreements.desk import now_ms
from hub.agreements.outputs import Wanted, compile_entries
from hub.agreements.publisher import Staged
from hub.agreements.shelf import AgreementRow
from hub.agreements.wiring import Wiring
from hub.catalogue.datasets import CatalogueRow
from hub.catalogue.registry import Foreseen
from hub.model.entry import AgreementBody, plan_key
from hub.model.errors import HubError
from hub.model.lifecycle import Act, State, next_state


class SignatureInputs(NamedTuple):
    """What a signature rests on."""

    versions: tuple[AgreementRow, ...]
    dataset: CatalogueRow
    writer_ids: tuple[int, ...]
    next_id: int


class Signed(NamedTuple):
    """A signature, checked and signed, before anything of it stands."""

    body: AgreementBody
    at_ms: int
    replaced: tuple[AgreementRow, ...]
    foreseen: tuple[Foreseen, ...]
    schemas: tuple[Staged, ...]
    entries: tuple[Staged, ...]
    """The schemas, then the agreement."""


class Signing:
    """Looks at what a draft's signature rests on, and makes its entries; for ``Desk.settled``."""

    def __init__(
        self, wiring: Wiring, draft: AgreementRow, *, require_signable: Callable[[Connection, AgreementRow], object], correlation_id: str
    ) -> None:
        """Sign ``draft``."""
        self._w = wiring
        self._draft = draft
        self._require_signable = require_signable
        self._correlation_id = correlation_id

    def look(self, connection: Connection) -> SignatureInputs:
        """Return what the signature rests on now."""
        w = self._w
        terms = self._draft.terms
        writers = w.registry.versions(connection, w.names.dept_subject(terms.dataset))
        return SignatureInputs(
            w.shelf.require(connection, terms.id),
            w.catalogue.require(connection, terms.dataset),
            tuple(writer.schema_id for writer in writers),
            w.registry.next_id(connection),
        )

    def check(self, connection: Connection, seen: SignatureInputs) -> Signed:
        """Compile and sign; HUB-AGREE-003 where the draft is another by now."""
        w = self._w
        terms = self._draft.terms
        newest = seen.versions[-1]
        next_state(newest.state, Act.SIGN, agreement_id=terms.id)
        if newest.terms != terms:
            fix = "read the draft again, then sign it"
            raise HubError("HUB-AGREE-003", f"the draft of agreement `{terms.id}` was changed while it was being signed", fix)
        self._require_signable(connection, newest)
        replaced = tuple(row for row in seen.versions if row.live)
        at_ms = now_ms()
        writers = w.registry.versions(connection, w.names.dept_subject(terms.dataset))
        compiled = compile_entries(w, connection, [Wanted(AgreementRow(terms, State.ACTIVE, at_ms))], writers=writers)
        drafts = compiled.drafts(narrows=terms.dataset if replaced else None)
        known = w.publisher.newest_revisions(connection, [plan_key(draft.kind, draft.object_id) for draft in drafts])
        entries = w.publisher.sign(drafts, known, correlation_id=self._correlation_id)
        return Signed(compiled.bodies[0], at_ms, replaced, compiled.foreseen, entries[:-1], entries)
