"""Write a store as a hub of some commit makes and fills it, for the tests of the upgrade: tables, rows, keys that prove them, figures.

Run it once, at the commit that the store is to be of, with that commit's `hub` and `tests` on the path:

    PYTHONPATH=<checkout>:<checkout>/tests python tests/stores/write.py COMMIT > tests/stores/<version>.json

It calls the product for all that it writes but the rows of the catalogue, whose words mean nothing here.
"""

import inspect
import json
import sys
import tempfile
from pathlib import Path

import msgspec
import sqlalchemy as sa
from ledger_steps import NOON_MS, SCOPE, TOPIC, TOPIC_ID, Writer, entry, log_of
from ledger_town import agreement

from hub.ledger.books import Stretch, open_positions, post
from hub.ledger.periods import Period
from hub.ledger.preview import preview
from hub.ledger.show import show_chains, show_use
from hub.ledger.tariffs import released_tariffs
from hub.model.dataset import DatasetEntry
from hub.model.entry import AgreementBody, Kind, encode_body
from hub.model.lifecycle import State
from hub.model.records import PlanEntry, encode_plan_entry
from hub.model.signing import sign_entry
from hub.store import tables
from hub.store.acts import Act, Actor, new_ulid, record_act
from hub.store.engine import METADATA, open_engine
from hub.store.keys import create_keys, load_officer_key

HOUR_MS = 3_600_000
OFFICER = Actor(person_id="li-wei", org_id="city-hub")
PERIOD = "2026-11"


def main(commit: str) -> None:
    """Print the store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_keys(folder / "keys", epoch=1, comment="fixture")
        engine = open_engine(f"sqlite:///{folder / 'hub.sqlite3'}")
        tables.create_tables(engine)
        fill(engine, load_officer_key(folder / "keys"))
        terms = {(one.id, one.version): one for one in AGREEMENTS}
        bills = {
            consumer: preview(engine, scope=SCOPE, consumer=consumer, period=Period.parse(PERIOD), terms=terms, tariffs=released_tariffs())
            for consumer in ("harbour", "airport-office")
        }
        made = {
            "commit": commit,
            "scope": SCOPE,
            "period": PERIOD,
            "ddl": {"sqlite": sqlite_ddl(engine), "postgresql": postgresql_ddl()},
            "rows": rows(engine),
            "trust_keys": (folder / "keys" / "trust.keys").read_text(encoding="utf-8"),
            "figures": {
                "hours": msgspec.to_builtins(show_use(engine, scope=SCOPE, agreement=None, by_hour=True)),
                "chains": msgspec.to_builtins(show_chains(engine, scope=SCOPE, held_only=False)),
                "bills": {consumer: msgspec.to_builtins(bill.bill, str_keys=True) for consumer, bill in bills.items()},
            },
        }
        engine.dispose()
    json.dump(made, sys.stdout, indent=1, ensure_ascii=False, sort_keys=False)
    sys.stdout.write("\n")


AGREEMENTS = (
    agreement(consumer="airport-office"),
    agreement(consumer="airport-office", version=2),
    agreement("harbour-delays", consumer="harbour"),
)


def fill(engine: sa.Engine, key: object) -> None:
    """Put something into every table that this commit has and this script knows."""
    signs = {"key": key} if "key" in inspect.signature(record_act).parameters else {}
    with engine.begin() as connection:
        catalogue(connection)
        for number, terms in enumerate(AGREEMENTS):
            act = Act(verb="sign.agreement", object_type="agreement", object_id=terms.id, object_version=terms.version)
            for outcome in ("intended", "done"):
                record_act(
                    connection, act, actor=OFFICER, scope=SCOPE, outcome=outcome, correlation_id=f"C{number}", reason="签署", **signs
                )
            sign(connection, terms, key, revision=terms.version)
        later(connection)
    open_positions(engine, scope=SCOPE, usage_topic_id="usage-topic", partitions=range(4))
    lanes = [Writer(partition=number) for number in range(2)]
    steps, times = [], []
    for number in range(12):
        lane = lanes[number % 2]
        used = [entry(delivered=10 + number, filtered=5), entry("harbour-delays", delivered=7, denied=8 + number)]
        steps.append(lane.next(*used) if number < 8 else lane.next(entry(version=2, delivered=3 * number)))
        times.append(NOON_MS + number * HOUR_MS)
    log = log_of(steps, times=times)
    log.append_value(b"no usage step", key=None, at_ms=NOON_MS)
    post(engine, Stretch("usage-topic", 0, 0, len(log.records), log.records), scope=SCOPE)


def catalogue(connection: sa.Connection) -> None:
    """Write a dataset with two versions of a schema."""
    known = {"scope": SCOPE, "since_ms": NOON_MS}
    words = {"title": "航班", "accountable_person": "li-wei", "sharing": "unconditional", "schema": "transport/flight/v1.avsc"}
    text = msgspec.json.encode(DatasetEntry(dataset="transport/flights", **words)).decode()
    connection.execute(tables.datasets.insert().values(dataset="transport/flights", entry=text, state="published", **known))
    for number in (1, 2):
        text = json.dumps({"type": "record", "name": "Flight", "fields": [{"name": f"f{n}", "type": "long"} for n in range(number)]})
        row = {"scope": SCOPE, "schema_id": number, "fingerprint": f"{number:064x}", "text": text}
        connection.execute(tables.schemas.insert().values(**row))
        version = {"subject": f"{TOPIC}-value", "version": number, "schema_id": number, **known}
        connection.execute(tables.subject_versions.insert().values(**version))


def sign(connection: sa.Connection, terms: object, key: object, *, revision: int) -> None:
    """Store a version of an agreement, signed; the versions before it have ended."""
    body = AgreementBody(state=State.ACTIVE, terms=terms, share_topic="share.x.y", key_epoch=1, output_schema_ids={}, since_ms=0)
    made = sign_entry(PlanEntry(Kind.AGREEMENT, terms.id, revision, SCOPE, encode_body(body), "", b""), key)
    stored = {"scope": SCOPE, "kind": str(made.kind), "object_id": terms.id, "revision": revision, "value": encode_plan_entry(made)}
    connection.execute(tables.plan_entries.insert().values(**stored, appended_offset=revision, correlation_id=new_ulid()))
    whole = (tables.agreements.c.scope == SCOPE, tables.agreements.c.agreement_id == terms.id)
    connection.execute(tables.agreements.update().where(*whole).values(state="ended"))
    row = {"dataset": terms.dataset, "consumer": terms.consumer, "terms": msgspec.json.encode(terms).decode(), "state": "active"}
    place = {"scope": SCOPE, "agreement_id": terms.id, "version": terms.version}
    connection.execute(tables.agreements.insert().values(**place, **row, file_name="a.yaml", file_text="协议", since_ms=0))


def later(connection: sa.Connection) -> None:
    """Write what came with version two, where this commit has it."""
    made = METADATA.tables
    if "schema_forms" in made:
        connection.execute(made["schema_forms"].insert(), [{"scope": SCOPE, "schema_id": n, "form": f"{n:064x}"} for n in (1, 2)])
    if "withdrawals" in made:
        row = {"scope": SCOPE, "correlation_id": "C9", "agreement_id": "harbour-delays", "version": 1, "act": "suspend.agreement"}
        connection.execute(made["withdrawals"].insert().values(**row, plan_offset=7, answer='{"partitions":[]}', at_ms=NOON_MS))
    if "dataset_topics" in made:
        row = {"scope": SCOPE, "topic_id": str(TOPIC_ID), "dataset": "transport/flights", "topic": TOPIC, "since_ms": NOON_MS}
        connection.execute(made["dataset_topics"].insert().values(**row))
    if "topics_seen" in made:
        connection.execute(made["topics_seen"].insert().values(scope=SCOPE, topic="share.x.y", topic_id=str(TOPIC_ID)))
    if "usage_loss" in made:
        lost = {"usage_partition": 3, "number": 1}
        row = {"loss_id": "L1", "old_topic_id": "old-topic", "usage_topic_id": "usage-topic", "lost_from": 2, "lost_to": 4, "position": 3}
        connection.execute(
            made["usage_loss"].insert().values(scope=SCOPE, **lost, **row, correlation_id="C8", at_ms=NOON_MS, base=b"\0\x01")
        )
        chain = {"topic_id": "another", "source_partition": 0, "pass_id": "live", "after_step": 0, "after_offset": 0}
        bridge = {"step": 2, "first_offset": 9, "prev_hash": "0" * 64, "usage_offset": 4}
        connection.execute(made["usage_bridge"].insert().values(scope=SCOPE, **lost, **chain, **bridge))
        place = {"share_topic": "share.x.z", "share_partition": 0}
        connection.execute(made["deliveries_unmetered"].insert().values(scope=SCOPE, **place, room=9, records=4))


def sqlite_ddl(engine: sa.Engine) -> list[str]:
    """Return the statements that made the tables, indexes and triggers, as SQLite keeps them."""
    order = "CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 ELSE 3 END, rowid"
    with engine.connect() as connection:
        return list(connection.scalars(sa.text(f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY {order}")))  # noqa: S608


def postgresql_ddl() -> list[str]:
    """Return the statements that this commit would make its tables with in PostgreSQL."""
    made: list[str] = []
    mock = sa.create_mock_engine("postgresql://", lambda what, *_, **__: made.append(str(what.compile(dialect=mock.dialect)).strip()))
    METADATA.create_all(mock, checkfirst=False)
    return made


def rows(engine: sa.Engine) -> dict[str, list[dict[str, object]]]:
    """Return every row, bytes as hexadecimal; tables before those that point to them."""
    with engine.connect() as connection:
        return {
            table.name: [
                {name: {"hex": value.hex()} if isinstance(value, bytes) else value for name, value in row._mapping.items()}
                for row in connection.execute(sa.select(table))
            ]
            for table in METADATA.sorted_tables
        }


if __name__ == "__main__":
    main(sys.argv[1])
