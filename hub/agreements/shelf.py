"""The shelf of agreements: every version of their terms in SQL, with its state."""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hub.agreements.file import AgreementFile, parse_agreement
from hub.model.agreement import Agreement
from hub.model.errors import HubError, Problem
from hub.model.lifecycle import State
from hub.model.times import shown_end, shown_time
from hub.model.written import identifier
from hub.store.tables import agreements

LIVE = (State.ACTIVE, State.SUSPENDED)


class AgreementRow(msgspec.Struct, frozen=True):
    """One version of an agreement."""

    terms: Agreement
    state: State
    since_ms: int
    file_name: str = ""
    file_text: str = ""

    @property
    def live(self) -> bool:
        """Tell whether it stands in the plan."""
        return self.state in LIVE

    def file(self) -> AgreementFile:
        """Read the file again, so that findings can be put on its lines."""
        return parse_agreement(self.file_text, file=self.file_name)


class Shelf:
    """Keeps the agreements of one scope."""

    def __init__(self, *, scope: str) -> None:
        """Keep agreements of ``scope``."""
        self.scope = scope

    def versions(self, connection: Connection, agreement_id: str) -> tuple[AgreementRow, ...]:
        """Return every version, oldest first."""
        wanted = self._all().where(agreements.c.agreement_id == agreement_id).order_by(agreements.c.version)
        return tuple(_row(row) for row in connection.execute(wanted))

    def require(self, connection: Connection, agreement_id: str) -> tuple[AgreementRow, ...]:
        """Return every version; HUB-AGREE-002 where there is none."""
        found = self.versions(connection, agreement_id)
        if not found:
            fix = "`cityhub agreement list` shows those that are"
            raise HubError("HUB-AGREE-002", f"agreement `{identifier(agreement_id)}` is not known", fix)
        return found

    def current(self, connection: Connection, agreement_id: str) -> AgreementRow:
        """Return the version that stands in the plan, else the newest one; HUB-AGREE-002 where there is none."""
        found = self.require(connection, agreement_id)
        return next((row for row in found if row.live), found[-1])

    def all(self, connection: Connection) -> tuple[AgreementRow, ...]:
        """Return every version of every agreement, sorted by id and version."""
        wanted = self._all().order_by(agreements.c.agreement_id, agreements.c.version)
        return tuple(_row(row) for row in connection.execute(wanted))

    def live_on(self, connection: Connection, dataset: str) -> tuple[AgreementRow, ...]:
        """Return the active and suspended agreements on ``dataset``, sorted by id."""
        wanted = self._all().where(agreements.c.dataset == dataset, agreements.c.state.in_([str(state) for state in LIVE]))
        return tuple(_row(row) for row in connection.execute(wanted.order_by(agreements.c.agreement_id)))

    def live_ids_on(self, connection: Connection, dataset: str) -> tuple[str, ...]:
        """Return the ids of the active and suspended agreements on ``dataset``, sorted."""
        live = (agreements.c.dataset == dataset, agreements.c.state.in_([str(state) for state in LIVE]))
        wanted = sa.select(agreements.c.agreement_id).where(agreements.c.scope == self.scope, *live)
        return tuple(connection.scalars(wanted.order_by(agreements.c.agreement_id)))

    def put_draft(self, connection: Connection, file: AgreementFile, *, at_ms: int) -> None:
        """Store a draft, in the place of a draft of the same version."""
        terms = file.agreement
        key = {"scope": self.scope, "agreement_id": terms.id, "version": terms.version}
        connection.execute(agreements.delete().where(*(agreements.c[name] == value for name, value in key.items())))
        row = {
            "dataset": terms.dataset,
            "consumer": terms.consumer,
            "terms": msgspec.json.encode(terms).decode(),
            "file_name": file.file,
            "state": str(State.DRAFT),
            "since_ms": at_ms,
        }
        connection.execute(agreements.insert().values(**key, **row, file_text=file.text))

    def set_state(self, connection: Connection, terms: Agreement, state: State, *, at_ms: int) -> None:
        """Move one version to ``state``."""
        where = (agreements.c.scope == self.scope, agreements.c.agreement_id == terms.id, agreements.c.version == terms.version)
        connection.execute(agreements.update().where(*where).values(state=str(state), since_ms=at_ms))

    def _all(self) -> sa.Select[Any]:
        return sa.select(agreements).where(agreements.c.scope == self.scope)


def agreement_view(row: AgreementRow) -> dict[str, Any]:
    """Return a version of an agreement as it is shown: its terms and its state, times also in Asia/Shanghai."""
    terms = msgspec.to_builtins(row.terms)
    return {**terms, "valid_until": shown_end(row.terms.valid_until_ms), "state": str(row.state), "since": shown_time(row.since_ms)}


def check_terms_kept(known: AgreementRow, terms: Agreement, *, where: AgreementFile) -> None:
    """Hold that a version that was signed is what it was; HUB-AGREE-003 names every term that differs."""
    different = [name for name in terms.__struct_fields__ if getattr(known.terms, name) != getattr(terms, name)]
    if different:
        fix = f"write `version: {known.terms.version + 1}`: the terms of a version never change"
        problems = tuple(
            Problem(where.locate(_file_key(name)), _file_key(name), "differs from the version that is known", fix) for name in different
        )
        raise HubError(
            "HUB-AGREE-003", f"agreement `{terms.id}` version {terms.version} is {known.state} with other terms", fix, problems=problems
        )


def _file_key(name: str) -> str:
    return name.removesuffix("_ms")


def _row(row: Any) -> AgreementRow:
    terms = msgspec.json.decode(row.terms, type=Agreement)
    return AgreementRow(terms, State(row.state), row.since_ms, row.file_name, row.file_text)
