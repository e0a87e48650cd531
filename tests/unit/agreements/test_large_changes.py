"""Changes that take long or are large: what is refused is refused before anything stands, and nobody sees half of the rest."""

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE
from sqlalchemy import Engine, func, select

from hub.agreements import publisher
from hub.agreements.control import ControlPlane
from hub.agreements.repair import Effects
from hub.agreements.wiring import Connections
from hub.broker.plan_log import LogEntry
from hub.catalogue.registry import Registry
from hub.catalogue.told import Told
from hub.model.errors import HubError
from hub.model.names import Names
from hub.store.acts import Actor
from hub.store.engine import open_engine, reading
from hub.store.tables import plan_entries
from hub.store.upgrade import upgrade

OFFICER = Actor(person_id="wang-lei", org_id="vehicle-registry")
NAMES = Names(scope="330100")
SUBJECT = NAMES.dept_subject(DATASET)
WIDER = json.dumps({**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "colour", "type": ["null", "string"], "default": None}]})


class StillKafka:
    """A cluster on which everything is there and nothing moves; it keeps what is appended, and may hold an append."""

    def __init__(self) -> None:
        """Append at once."""
        self.offsets = itertools.count()
        self.batches: list[bytes] = []
        self.before_append: Any = lambda: None

    def append_plan(self, data: bytes, **_names: Names) -> int:
        """Take one batch."""
        self.before_append()
        self.batches.append(data)
        return next(self.offsets) * 1_000

    def partition_counts(self, topics: Any) -> dict[str, int]:
        """Return two for each."""
        return dict.fromkeys(topics, 2)

    def topic_states(self, _specs: Any) -> dict[str, Any]:
        """Return none that is set otherwise."""
        return {}

    def create_topics(self, _specs: Any) -> None:
        """Make nothing."""

    def touch(self, _topic: str, *, partitions: int, names: Names) -> None:
        """Write nothing."""

    def topic_ids(self, names: Any) -> dict[str, int]:
        """Return one id for all."""
        return dict.fromkeys(names, 1)

    def committed(self, _group: str, _lanes: Any) -> dict[Any, Any]:
        """Return no position."""
        return {}

    def begin_offsets(self, places: Any) -> dict[Any, int]:
        """Return the beginnings."""
        return dict.fromkeys(places, 0)

    end_offsets = begin_offsets

    def open(self, _positions: Any, *, names: Names) -> None:
        """Open lanes."""

    def fence(self, _lanes: Any, *, names: Names) -> None:
        """Fence lanes."""


class EmptyLog:
    """A hub.plan that holds nothing."""

    def read_all(self) -> list[LogEntry]:
        """Return nothing."""
        return []


@pytest.fixture
def kafka() -> StillKafka:
    """Give a cluster."""
    return StillKafka()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Give a database."""
    made = open_engine(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    upgrade(made)
    yield made
    made.dispose()


def plane(engine: Engine, kafka: StillKafka, *, most: int = 100) -> ControlPlane:
    """Return a control plane that leads, with a published dataset."""
    every: Any = kafka
    control = ControlPlane(
        engine=engine,
        names=NAMES,
        connections=Connections(admin=every, revocation_admin=every, gate=every),
        officer_key=Ed25519PrivateKey.generate(),
        master_keys={1: bytes(32)},
        replication=1,
        knows_tariff=lambda _: True,
        agreements_per_dataset_max=most,
    )
    control.desk.open()
    control.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(VEHICLE), actor=OFFICER)
    control.datasets.publish(DATASET, actor=OFFICER)
    return control


def sign(control: ControlPlane, number: int) -> None:
    """Apply and sign an agreement of its own id."""
    text = AGREEMENT.replace("id: parking-vehicles", f"id: parking-{number}")
    control.agreements.apply(text, file="a.yaml", actor=OFFICER)
    control.agreements.sign(f"parking-{number}", actor=OFFICER)


def ids(engine: Engine, subject: str = SUBJECT) -> list[int]:
    """Return the schema ids of a subject that may be shown."""
    with reading(engine) as connection:
        return [found.schema_id for found in Told(Registry(scope=NAMES.scope), NAMES).versions(connection, subject)]


def entries(engine: Engine) -> int:
    """Return how many entries SQL holds."""
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(plan_entries)) or 0


def test_an_id_is_shown_when_the_last_batch_of_its_change_was_acknowledged(
    engine: Engine, kafka: StillKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is lowered, so that a change of three agreements takes several batches; each is a moment in which others look."""
    control = plane(engine, kafka)
    for number in range(3):
        sign(control, number)
    monkeypatch.setattr(publisher, "CHANGE_BYTES_MAX", 2_600)
    before, told = ids(engine), len(kafka.batches)
    looked: list[list[int]] = []
    kafka.before_append = lambda: looked.append(ids(engine))
    registered = control.schemas.register(subject=SUBJECT, schema=WIDER, actor=OFFICER)
    assert len(kafka.batches) - told == len(looked) > 2
    assert looked == [before] * len(looked)
    assert ids(engine) == [*before, registered.schema_id]
    assert len(ids(engine, NAMES.share_subject(consumer="parking-office", agreement="parking-1"))) == 1, "colour is not granted"


def test_a_withdrawal_comes_between_the_batches_of_a_change_and_is_not_undone_by_it(
    engine: Engine, kafka: StillKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change has the agreement's entry signed as active already; what is appended in the end is the suspension."""
    control = plane(engine, kafka)
    for number in range(3):
        sign(control, number)
    monkeypatch.setattr(publisher, "CHANGE_BYTES_MAX", 2_600)
    done = threading.Event()

    def suspend() -> None:
        kafka.before_append = lambda: None
        threading.Thread(target=lambda: (control.agreements.suspend("parking-2", actor=OFFICER), done.set())).start()

    kafka.before_append = suspend
    registered = control.schemas.register(subject=SUBJECT, schema=WIDER, actor=OFFICER)
    assert done.wait(20)
    with reading(engine) as connection:
        wanted = select(plan_entries).where(plan_entries.c.object_id == "parking-2").order_by(plan_entries.c.revision)
        rows = connection.execute(wanted).all()
    offsets = [row.appended_offset for row in rows if row.appended_offset is not None]
    assert offsets == sorted(offsets), "revisions reach the log in their order"
    assert b'"state":"suspended"' in rows[-1].value
    assert f'"{registered.schema_id}":'.encode() in rows[-1].value, "and it names the new version"


def test_an_entry_that_no_batch_can_hold_is_refused_before_anything_stands(
    engine: Engine, kafka: StillKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused after SQL had committed, with a fix that nobody could follow."""
    control = plane(engine, kafka)
    sign(control, 1)
    before, known = entries(engine), ids(engine)
    monkeypatch.setattr(publisher, "CHANGE_BYTES_MAX", 1_000)
    with pytest.raises(HubError, match="HUB-PLAN-003"):
        control.schemas.register(subject=SUBJECT, schema=WIDER, actor=OFFICER)
    monkeypatch.undo()
    assert (entries(engine), ids(engine)) == (before, known)
    assert control.schemas.register(subject=SUBJECT, schema=WIDER, actor=OFFICER).new


def test_a_signature_under_many_versions_tells_the_schemas_first_and_the_agreement_last(
    engine: Engine, kafka: StillKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the agreement is a draft, for everybody."""
    control = plane(engine, kafka)
    fields = list(VEHICLE["fields"])
    for number in range(8):
        fields.append({"name": f"more_{number}", "type": ["null", "string"], "default": None})
        control.schemas.register(subject=SUBJECT, schema=json.dumps({**VEHICLE, "fields": fields, "doc": str(number)}), actor=OFFICER)
    monkeypatch.setattr(publisher, "CHANGE_BYTES_MAX", 2_600)
    told = len(kafka.batches)
    states: list[str] = []

    def look() -> None:
        with reading(engine) as connection:
            states.append(connection.exec_driver_sql("SELECT state FROM agreements").scalar_one())

    kafka.before_append = look
    sign(control, 1)
    assert len(kafka.batches) - told > 2
    assert states == [*["draft"] * (len(states) - 1), "active"]
    assert b"agreement/parking-1" in kafka.batches[-1]
    assert not any(b"agreement/parking-1" in batch for batch in kafka.batches[:-1])


def test_a_signature_that_stops_behind_its_schemas_has_not_taken_effect(
    engine: Engine, kafka: StillKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repair calls the act failed: the agreement is a draft still, and may be signed again."""
    control = plane(engine, kafka)
    fields = list(VEHICLE["fields"])
    for number in range(8):
        control.schemas.register(subject=SUBJECT, schema=json.dumps({**VEHICLE, "fields": fields, "doc": str(number)}), actor=OFFICER)
    monkeypatch.setattr(publisher, "CHANGE_BYTES_MAX", 2_600)

    def fail() -> None:
        raise HubError("HUB-BROKER-010", "no answer", "wait")

    kafka.before_append = fail
    with pytest.raises(HubError, match="HUB-BROKER-010"):
        sign(control, 1)
    kafka.before_append = lambda: None
    log: Any = EmptyLog()
    control.keeper(log, {}, effects=Effects(adopted=lambda _lane, _at: False, chain_held=lambda _: None)).repair()
    with reading(engine) as connection:
        last = connection.exec_driver_sql("SELECT outcome FROM acts WHERE act = 'sign.agreement' ORDER BY seq DESC").first()
    assert last is not None
    assert last[0] == "failed"
    assert control.agreements.sign("parking-1", actor=OFFICER).state == "active"


def test_a_dataset_has_as_many_agreements_as_a_usage_step_can_meter(engine: Engine, kafka: StillKafka) -> None:
    """At the bound, and one past it; a new version of a live one takes no further place, and an end makes room."""
    control = plane(engine, kafka, most=2)
    sign(control, 1)
    sign(control, 2)
    with pytest.raises(HubError, match="HUB-AGREE-007"):
        sign(control, 3)
    newer = AGREEMENT.replace("id: parking-vehicles", "id: parking-2\nversion: 2")
    control.agreements.apply(newer, file="a.yaml", actor=OFFICER)
    assert control.agreements.sign("parking-2", actor=OFFICER).version == 2
    control.agreements.end("parking-1", actor=OFFICER)
    assert control.agreements.sign("parking-3", actor=OFFICER).state == "active"
