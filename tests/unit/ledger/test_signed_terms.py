"""A bill is rated by what was signed: whatever is changed in SQL is found and named, and no bill is made of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from ledger_town import agreement
from signed_agreements import officer_key, sign_into
from sqlalchemy import Connection, Engine

from hub.ledger.signed_terms import SignedTerms, read_signed_terms
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.store.engine import open_engine, reading, writing
from hub.store.keys import load_trust_keys
from hub.store.tables import agreements, plan_entries
from hub.store.upgrade import upgrade

SCOPE = "330100"


@pytest.fixture
def engine(store_url: str, tmp_path: Path) -> Iterator[Engine]:
    """Give a store with two versions of one agreement and one of another."""
    opened = open_engine(store_url)
    upgrade(opened)
    key = officer_key(tmp_path)
    sign_into(opened, agreement(), scope=SCOPE, key=key)
    sign_into(opened, agreement(version=2), scope=SCOPE, key=key)
    sign_into(opened, agreement(version=2), scope=SCOPE, key=key, state=State.SUSPENDED)
    sign_into(opened, agreement("other", consumer="harbour"), scope=SCOPE, key=key)
    yield opened
    opened.dispose()


def read(engine: Engine, folder: Path) -> SignedTerms:
    """Read what was signed, as a bill does."""
    with reading(engine) as connection:
        return read_signed_terms(connection, scope=SCOPE, trust=load_trust_keys(folder / "keys"))


def test_every_signed_version_is_rated_by_what_was_signed(engine: Engine, tmp_path: Path) -> None:
    """And nothing differs where nobody changed anything."""
    found = read(engine, tmp_path)

    assert sorted(found.terms) == [("airline-delays", 1), ("airline-delays", 2), ("other", 1)]
    assert found.differences == ()
    assert found.require_sound() is found.terms


def forge_terms(**members: Any) -> Callable[[Connection], object]:
    """Return what changes terms in the table of agreements."""

    def forge(connection: Connection) -> None:
        terms = msgspec.structs.replace(agreement(version=2), **members)
        where = (agreements.c.agreement_id == terms.id, agreements.c.version == 2)
        connection.execute(agreements.update().where(*where).values(terms=msgspec.json.encode(terms).decode()))

    return forge


def column(**values: Any) -> Callable[[Connection], object]:
    """Return what changes columns of an agreement's row."""
    return lambda connection: connection.execute(agreements.update().where(agreements.c.version == 2).values(**values))


def entry(**values: Any) -> Callable[[Connection], object]:
    """Return what changes columns of the newest entry."""
    newest = (plan_entries.c.object_id == "airline-delays", plan_entries.c.revision == 3)
    return lambda connection: connection.execute(plan_entries.update().where(*newest).values(**values))


FORGED = {
    "tariff": (forge_terms(tariff="per-record@2"), "`tariff`"),
    "charge basis": (forge_terms(charge_basis="free"), "`charge_basis`"),
    "payer": (forge_terms(payer="harbour"), "`payer`"),
    "term": (forge_terms(valid_until_ms=1), "`valid_until_ms`"),
    "version": (forge_terms(version=7), "`version`"),
    "consumer in the terms": (forge_terms(consumer="harbour"), "`consumer`"),
    "consumer's column": (column(consumer="harbour"), "consumer"),
    "dataset's column": (column(dataset="a/b"), "dataset"),
    "state": (column(state="active"), "state active"),
    "state taken back to a draft": (column(state="draft"), "state draft"),
    "terms that are none": (column(terms="{}"), "cannot be read"),
    "a row is gone": (lambda connection: connection.execute(agreements.delete().where(agreements.c.version == 1)), "none in the database"),
    "an ended version made live": (
        lambda connection: connection.execute(agreements.update().where(agreements.c.version == 1).values(state="active")),
        "state active",
    ),
    "an entry of another revision": (entry(revision=9), "about something else"),
    "an entry under another agreement": (entry(object_id="nobody"), "about something else"),
    "bytes of an entry": (entry(value=b"\0" * 40), "cannot be read"),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_was_changed_is_named_and_makes_no_bill(engine: Engine, tmp_path: Path, name: str) -> None:
    """Agreement and member, never the value; and what is rated by is still what was signed."""
    forge, told = FORGED[name]
    before = read(engine, tmp_path).terms
    with writing(engine) as connection:
        forge(connection)

    found = read(engine, tmp_path)

    assert any(told in difference.found for difference in found.differences), found.differences
    assert {difference.agreement_id for difference in found.differences} <= {"airline-delays", "other", "nobody"}
    assert all(before[key] == terms for key, terms in found.terms.items())
    with pytest.raises(HubError) as refusal:
        found.require_sound()
    assert (refusal.value.code, int(refusal.value.entry.exit)) == ("HUB-LEDGER-008", 5)


def test_an_entry_whose_body_was_changed_is_not_signed_any_more(engine: Engine, tmp_path: Path) -> None:
    """One byte of a price is enough."""
    with writing(engine) as connection:
        row = connection.execute(sa.select(plan_entries).where(plan_entries.c.revision == 3)).one()
        forged = row.value.replace(b"per-record@1", b"per-record@9")
        assert forged != row.value
        connection.execute(plan_entries.update().where(plan_entries.c.revision == 3).values(value=forged))

    (difference, *_) = read(engine, tmp_path).differences

    assert "HUB-KEY-003" in difference.found


def test_an_entry_by_a_key_that_is_not_trusted_is_no_terms(engine: Engine, tmp_path: Path) -> None:
    """Who may write to the database has no key of ours."""
    sign_into(engine, agreement(version=3, tariff="per-record@1"), scope=SCOPE, key=officer_key(tmp_path / "stranger"))

    found = read(engine, tmp_path)

    assert ("airline-delays", 3) not in found.terms
    assert "trust.keys does not hold" in found.differences[0].found


def test_a_key_that_was_taken_out_of_trust_keys_is_told_apart_from_forgery(engine: Engine, tmp_path: Path) -> None:
    """Nothing was changed: the retired line is put back, and every bill is made again."""
    trust = tmp_path / "keys" / "trust.keys"
    before = trust.read_text()
    fresh = officer_key(tmp_path / "next")
    trust.write_text((tmp_path / "next" / "keys" / "trust.keys").read_text())
    sign_into(engine, agreement("third", consumer="port"), scope=SCOPE, key=fresh)

    with pytest.raises(HubError) as refusal:
        read(engine, tmp_path).require_sound()
    assert refusal.value.code == "HUB-KEY-004"
    assert "keep the lines of earlier officers' keys" in refusal.value.fix
    assert before.split()[0] in refusal.value.message
    assert {problem.field for problem in refusal.value.problems} == {"airline-delays", "other"}

    trust.write_text(before + trust.read_text())
    assert len(read(engine, tmp_path).require_sound()) == 4


def test_forgery_is_told_as_such_also_where_a_key_is_missing(engine: Engine, tmp_path: Path) -> None:
    """The worse of the two comes first."""
    sign_into(engine, agreement("third"), scope=SCOPE, key=officer_key(tmp_path / "stranger"))
    with writing(engine) as connection:
        connection.execute(agreements.update().where(agreements.c.agreement_id == "other").values(consumer="airline"))

    with pytest.raises(HubError) as refusal:
        read(engine, tmp_path).require_sound()
    assert refusal.value.code == "HUB-LEDGER-008"


def test_drafts_have_no_entry_and_are_no_difference(engine: Engine, tmp_path: Path) -> None:
    """Neither has a draft that was ended before it was signed."""
    with writing(engine) as connection:
        for version, state in ((3, "draft"), (4, "ended")):
            terms = msgspec.json.encode(agreement(version=version)).decode()
            row = {"dataset": "transport/flights", "consumer": "airline", "terms": terms, "state": state, "since_ms": 0}
            place = {"scope": SCOPE, "agreement_id": "airline-delays", "version": version}
            connection.execute(agreements.insert().values(**place, **row, file_name="a", file_text=""))

    found = read(engine, tmp_path)

    assert found.differences == ()
    assert ("airline-delays", 3) not in found.terms
