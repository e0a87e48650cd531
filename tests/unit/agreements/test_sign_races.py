"""Two acts at once, and acts in an odd order: what is signed is what stands in the database, and an end is an end."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE

from hub.agreements import agreement_acts
from hub.agreements.control import ControlPlane
from hub.agreements.publisher import Draft
from hub.agreements.repair import Effects
from hub.agreements.wiring import Connections
from hub.agreements.withdrawals import agreement_views, kept_of, pending_of
from hub.broker.plan_log import LogEntry
from hub.model.entry import AgreementBody, Kind
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.names import Names
from hub.store.acts import Actor, new_ulid
from hub.store.engine import open_engine, reading, writing
from hub.store.tables import acts
from hub.store.upgrade import upgrade

OFFICER = Actor(person_id="wang-lei", org_id="vehicle-registry")
SECOND = AGREEMENT.replace("id: parking-vehicles", "id: parking-vehicles\nversion: 2")


class NoKafka:
    """Administration and gate of a cluster on which everything is there and nothing ever moves."""

    def __init__(self) -> None:
        """Count offsets of hub.plan."""
        self.offsets = itertools.count()
        self.answers = True
        self.while_topics_are_made: Callable[[], object] = lambda: None

    def topic_states(self, _specs: Any) -> dict[str, Any]:
        """Return none that is set otherwise."""
        return {}

    def create_topics(self, _specs: Any) -> None:
        """Take the time that this takes."""
        self.while_topics_are_made()

    def append_plan(self, _data: bytes, **_names: Names) -> int:
        """Return the next offset, where there is an answer."""
        if not self.answers:
            raise HubError("HUB-BROKER-010", "no answer", "wait")
        return next(self.offsets)

    def topic_ids(self, names: Any) -> dict[str, uuid.UUID]:
        """Return one id for all."""
        return dict.fromkeys(names, uuid.UUID(int=1))

    def partition_counts(self, names: Any) -> dict[str, int]:
        """Return two partitions for each topic."""
        return dict.fromkeys(names, 2)

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

    def touch(self, _topic: str, *, partitions: int, names: Names) -> None:
        """Meet a topic."""


class EmptyLog:
    """A hub.plan that holds nothing."""

    def read_all(self) -> list[LogEntry]:
        """Return nothing."""
        return []


@pytest.fixture
def kafka() -> NoKafka:
    """Give a cluster."""
    return NoKafka()


@pytest.fixture
def control(tmp_path: Path, kafka: NoKafka) -> Iterator[ControlPlane]:
    """Give a control plane with one published dataset and a draft."""
    engine = open_engine(f"sqlite:///{tmp_path}/hub.db")
    upgrade(engine)
    cluster: Any = kafka
    made = ControlPlane(
        engine=engine,
        names=Names(scope="330100"),
        connections=Connections(admin=cluster, revocation_admin=cluster, gate=cluster),
        officer_key=Ed25519PrivateKey.generate(),
        master_keys={1: bytes(32)},
        replication=1,
        knows_tariff=lambda _: True,
    )
    made.desk.open()
    made.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(VEHICLE), actor=OFFICER)
    made.datasets.publish(DATASET, actor=OFFICER)
    made.agreements.apply(AGREEMENT, file="a.yaml", actor=OFFICER)
    yield made
    engine.dispose()


def test_a_draft_that_is_changed_while_it_is_signed_is_not_signed(control: ControlPlane, kafka: NoKafka) -> None:
    """Else workers deliver by the terms that were read, and the ledger bills by those that stand in the database."""
    changed = AGREEMENT.replace("fields: [plate,", "fields: [plate, class,")
    kafka.while_topics_are_made = lambda: control.agreements.apply(changed, file="a.yaml", actor=OFFICER)
    with pytest.raises(HubError, match="HUB-AGREE-003"):
        control.agreements.sign("parking-vehicles", actor=OFFICER)
    assert [row.state for row in control.agreements.entries()] == [State.DRAFT]


def test_a_dataset_that_is_closed_while_an_agreement_is_signed_is_not_shared(control: ControlPlane, kafka: NoKafka) -> None:
    """The dataset had no live agreement a moment ago, so nothing refused its closing."""
    closed = ENTRY.replace("sharing: conditional", "sharing: not_shared\nsharing_basis: law")
    kafka.while_topics_are_made = lambda: control.datasets.apply(closed, file="d.yaml", schema=None, actor=OFFICER)
    with pytest.raises(HubError, match="HUB-AGREE-006"):
        control.agreements.sign("parking-vehicles", actor=OFFICER)
    assert [row.state for row in control.agreements.entries()] == [State.DRAFT]


def test_a_draft_of_an_ended_agreement_is_not_signed(control: ControlPlane) -> None:
    """Ended is for good: the next version that lay ready does not bring the right back."""
    control.agreements.sign("parking-vehicles", actor=OFFICER)
    control.agreements.apply(SECOND, file="a.yaml", actor=OFFICER)
    control.agreements.end("parking-vehicles", actor=OFFICER)
    with pytest.raises(HubError, match="HUB-AGREE-004"):
        control.agreements.sign("parking-vehicles", actor=OFFICER)
    assert [row.state for row in control.agreements.entries()] == [State.ENDED, State.DRAFT]


def test_a_new_version_takes_the_place_of_a_live_one(control: ControlPlane) -> None:
    """The control: version 1 ends by version 2, and version 3 follows that."""
    control.agreements.sign("parking-vehicles", actor=OFFICER)
    for text in (SECOND, SECOND.replace("version: 2", "version: 3")):
        control.agreements.apply(text, file="a.yaml", actor=OFFICER)
        control.agreements.sign("parking-vehicles", actor=OFFICER)
    assert [row.state for row in control.agreements.entries()] == [State.ENDED, State.ENDED, State.ACTIVE]


def test_a_schema_that_hub_plan_does_not_carry_yet_gives_no_id_away(control: ControlPlane, kafka: NoKafka) -> None:
    """A client that asks again gets the id of the first try: its records would be quarantined until repair has come."""
    wider = json.dumps({**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "colour", "type": ["null", "string"], "default": None}]})
    subject = Names(scope="330100").dept_subject(DATASET)
    kafka.answers = False
    for code in ("HUB-BROKER-010", "HUB-SCHEMA-006"):
        with pytest.raises(HubError, match=code):
            control.schemas.register(subject=subject, schema=wider, actor=OFFICER)
    kafka.answers = True
    empty: Any = EmptyLog()
    control.keeper(empty, {}, effects=Effects(adopted=lambda _lane, _at: False, chain_held=lambda _: None)).repair()
    assert control.schemas.register(subject=subject, schema=wider, actor=OFFICER).version == 2


def shown(control: ControlPlane) -> list[tuple[str, int]]:
    """Return the state that is shown of each version, and how often its right ended."""
    with reading(control.desk.engine) as connection:
        views = agreement_views(connection, control.agreements.entries(), scope="330100", agreement_id="parking-vehicles")
    return [(view["state"], len(view["withdrawals"])) for view in views]


def outcomes(control: ControlPlane) -> list[str]:
    """Return what became of suspensions."""
    with reading(control.desk.engine) as connection:
        return list(connection.scalars(sa.select(acts.c.outcome).where(acts.c.act == "suspend.agreement").order_by(acts.c.seq)))


def test_a_right_is_not_given_back_before_it_was_taken(control: ControlPlane, kafka: NoKafka) -> None:
    """Else the suspension is told as done, with the offset of the entry that gave the right back."""
    control.agreements.sign("parking-vehicles", actor=OFFICER)
    kafka.answers = False
    with pytest.raises(HubError, match="HUB-BROKER-010"):
        control.agreements.suspend("parking-vehicles", actor=OFFICER)
    control.agreements.apply(SECOND, file="a.yaml", actor=OFFICER)
    for widen in (control.agreements.resume, control.agreements.sign):
        with pytest.raises(HubError, match="HUB-BROKER-010"):
            widen("parking-vehicles", actor=OFFICER)
        with pytest.raises(HubError, match="HUB-SERVE-004"):
            widen("parking-vehicles", actor=OFFICER, dry_run=True)
    assert (shown(control), outcomes(control)) == ([("suspending", 0), ("draft", 0)], ["intended"])
    kafka.answers = True
    resumed = control.agreements.resume("parking-vehicles", actor=OFFICER)
    assert (shown(control), outcomes(control)) == ([("active", 1), ("draft", 0)], ["intended", "done"])
    with reading(control.desk.engine) as connection:
        (kept,) = kept_of(connection, scope="330100")
    assert resumed.plan_offset == kept.plan_offset + 1


def test_a_new_version_comes_behind_a_withdrawal_of_the_one_before(control: ControlPlane, kafka: NoKafka) -> None:
    """The signature carries the suspension out, then takes its place."""
    control.agreements.sign("parking-vehicles", actor=OFFICER)
    control.agreements.apply(SECOND, file="a.yaml", actor=OFFICER)
    kafka.answers = False
    with pytest.raises(HubError, match="HUB-BROKER-010"):
        control.agreements.suspend("parking-vehicles", actor=OFFICER)
    kafka.answers = True
    control.agreements.sign("parking-vehicles", actor=OFFICER)
    assert (shown(control), outcomes(control)) == ([("ended", 2), ("active", 0)], ["intended", "done"])


def test_a_suspension_that_a_resumption_overtook_has_failed_and_tells_no_offset(control: ControlPlane, kafka: NoKafka) -> None:
    """As a hub left it that gave the right back while the suspension had no outcome."""
    control.agreements.sign("parking-vehicles", actor=OFFICER)
    kafka.answers = False
    with pytest.raises(HubError, match="HUB-BROKER-010"):
        control.agreements.suspend("parking-vehicles", actor=OFFICER)
    kafka.answers = True
    wiring = control.agreements._w
    publisher = wiring.publisher
    with writing(control.desk.engine) as connection:
        body = publisher.body_of(connection, Kind.AGREEMENT, "parking-vehicles")
        assert isinstance(body, AgreementBody)
        back = Draft(Kind.AGREEMENT, "parking-vehicles", msgspec.structs.replace(body, state=State.ACTIVE))
        staged = publisher.stage(connection, [back], correlation_id=new_ulid())
        wiring.shelf.set_state(connection, body.terms, State.ACTIVE, at_ms=1)
        (pending,) = pending_of(connection, scope="330100")
    publisher.append(staged)
    with pytest.raises(HubError, match=r"HUB-SERVE-004.*overtaken"):
        wiring.withdrawals.join(pending)
    assert (shown(control), outcomes(control)) == ([("active", 0)], ["intended", "failed"])
    assert control.agreements.suspend("parking-vehicles", actor=OFFICER).outcome == "suspended"


def test_withdrawals_are_told_in_the_order_of_the_acts_and_the_list_tells_the_newest_of_each_version(
    control: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was set back between the two suspensions: asked again, the later one answers."""
    acts_of = control.agreements
    acts_of.sign("parking-vehicles", actor=OFFICER)
    first = acts_of.suspend("parking-vehicles", actor=OFFICER)
    acts_of.resume("parking-vehicles", actor=OFFICER)
    with monkeypatch.context() as patched:
        patched.setattr(agreement_acts, "now_ms", lambda: 1)
        second = acts_of.suspend("parking-vehicles", actor=OFFICER)
    assert acts_of.suspend("parking-vehicles", actor=OFFICER).plan_offset == second.plan_offset
    acts_of.apply(SECOND, file="a.yaml", actor=OFFICER)
    third = acts_of.sign("parking-vehicles", actor=OFFICER)
    fourth = acts_of.end("parking-vehicles", actor=OFFICER)
    told = []
    with reading(control.desk.engine) as connection:
        for which in ("parking-vehicles", None):
            views = agreement_views(connection, acts_of.entries(), scope="330100", agreement_id=which)
            told.append([[found["plan_offset"] for found in view["withdrawals"]] for view in views])
    assert told == [
        [[first.plan_offset, second.plan_offset, third.plan_offset], [fourth.plan_offset]],
        [[third.plan_offset], [fourth.plan_offset]],
    ]
