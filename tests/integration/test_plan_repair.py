"""hub.plan says what SQL says, whatever a crash or a stranger left in it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hall import AGREEMENT, DATASET, VEHICLE, Hall, hall_settings, until
from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPartition
from sqlalchemy import select

from hub.agreements.publisher import Publisher
from hub.broker.embedded import EmbeddedBroker
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.names import Names, TopicPartition
from hub.model.records import decode_plan_entry, encode_plan_entry
from hub.observe import metrics
from hub.settings import Settings
from hub.store.keys import create_keys
from hub.store.tables import acts, agreements, plan_entries

pytestmark = pytest.mark.broker
KEY = "agreement/parking-vehicles"


@pytest.fixture
def settings(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Settings:
    """Give settings of a hub of its own."""
    return hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state")


@pytest.fixture
def hall(settings: Settings) -> Iterator[Hall]:
    """Give a hub with a signed agreement."""
    built = Hall(settings)
    built.open_dataset()
    built.sign()
    yield built
    built.close()


def alarms(code: str) -> float:
    """Return how often an alarm was raised in this process."""
    found: float = metrics.PLAN_ALARMS.labels(code=code)._value.get()  # type: ignore[attr-defined]  # prometheus_client's own tests read it so
    return found


def test_an_old_entry_appended_again_is_met_with_the_newest(hall: Hall) -> None:
    """Compaction would keep the old one only: a worker that starts later would deliver under it."""
    old = hall.last(KEY)[0].value
    hall.hub.control.agreements.suspend("parking-vehicles", actor=hall.hub.officer)
    newest = hall.last(KEY)[0].value
    before = alarms("HUB-PLAN-001")
    hall.intrude(KEY, old)
    until(lambda: hall.last(KEY)[0].value == newest)
    assert alarms("HUB-PLAN-001") == before + 1


@pytest.mark.parametrize("stranger", ["unsigned", "unknown key", "nonsense", "tombstone", "other scope"])
def test_an_entry_that_no_trusted_key_signed_is_met_with_the_newest(hall: Hall, stranger: str) -> None:
    """Whoever can write to the topic still cannot change a right, not even by deleting it."""
    newest = hall.last(KEY)[0].value or b""
    entry = decode_plan_entry(newest)
    values = {
        "unsigned": encode_plan_entry(msgspec.structs.replace(entry, revision=9, signature=b"")),
        "unknown key": encode_plan_entry(msgspec.structs.replace(entry, revision=9, key_id="0" * 16)),
        "nonsense": b"\x00\x01",
        "tombstone": None,
        "other scope": encode_plan_entry(msgspec.structs.replace(entry, scope="440300")),
    }
    end = len(hall.log())
    hall.intrude(KEY, values[stranger])
    until(lambda: len(hall.log()) > end + 1)
    assert hall.last(KEY)[0].value == newest


def test_a_stranger_under_a_key_of_no_object_is_alarmed_and_nothing_else(hall: Hall) -> None:
    """There is nothing to append again, and workers refuse it."""
    before = alarms("HUB-PLAN-002")
    hall.intrude("agreement/unheard-of", b"nonsense")
    until(lambda: alarms("HUB-PLAN-002") == before + 1)
    assert hall.hub.control.desk.closed is None


def test_what_was_stored_and_not_appended_is_appended_at_the_next_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between SQL and the append: the act is finished, fenced, and recorded as done."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()

    def crash(*_: object, **__: object) -> int:
        raise HubError("HUB-BROKER-010", "the process died here", "")

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "append", crash)
        with pytest.raises(HubError):
            first.hub.control.agreements.suspend("parking-vehicles", actor=first.hub.officer)
    assert first.body(KEY).state is State.ACTIVE
    assert first.acts()[-1] == ("suspend.agreement", "parking-vehicles", "intended")
    first.close()
    second = Hall(settings, watch=False)
    try:
        assert second.body(KEY).state is State.SUSPENDED
        assert second.acts()[-1] == ("suspend.agreement", "parking-vehicles", "done")
    finally:
        second.close()


def test_an_append_whose_outcome_is_not_known_is_finished_by_the_watch(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call failed, the right is taken all the same: nobody has to ask twice."""
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "append", lambda *_, **__: (_ for _ in ()).throw(HubError("HUB-BROKER-010", "no answer", "")))
        with pytest.raises(HubError):
            hall.hub.control.agreements.suspend("parking-vehicles", actor=hall.hub.officer)
    until(lambda: hall.acts()[-1] == ("suspend.agreement", "parking-vehicles", "done"))
    assert hall.body(KEY).state is State.SUSPENDED


def test_an_act_that_was_intended_and_left_no_entry_has_failed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash while topics were being made: nothing was published, the act says so, and doing it again works."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    change = first.hub.control.agreements.apply(AGREEMENT, file="a.yaml", actor=first.hub.officer)
    with monkeypatch.context() as patched:
        patched.setattr(type(first.hub.admin), "create_topics", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            first.hub.control.agreements.sign(change.id, actor=first.hub.officer)
    first.close()
    second = Hall(settings, watch=False)
    try:
        assert second.acts()[-1] == ("sign.agreement", change.id, "failed")
        assert second.hub.control.agreements.sign(change.id, actor=second.hub.officer).state is State.ACTIVE
    finally:
        second.close()


def test_a_restored_backup_takes_no_change_until_it_is_repaired(settings: Settings) -> None:
    """SQL behind hub.plan would reuse revisions and schema ids."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    first.close()
    backup = settings.state.with_name("backup")
    shutil.copytree(settings.state, backup)
    later = Hall(settings, watch=False)
    later.hub.control.agreements.suspend("parking-vehicles", actor=later.hub.officer)
    later.close()
    restored = Hall(settings.model_copy(update={"state": backup}), watch=False)
    try:
        end = len(restored.log())
        with pytest.raises(HubError) as refusal:
            restored.hub.control.agreements.end("parking-vehicles", actor=restored.hub.officer)
        assert refusal.value.code == "HUB-SERVE-003"
        assert len(restored.log()) == end
    finally:
        restored.close()


def test_a_hub_plan_whose_records_were_all_deleted_is_filled_again_while_serve_leads(settings: Settings) -> None:
    """Nobody who reads at its end sees it, and a worker that restarted found no key and took no lane until serve was restarted."""
    hall = Hall(settings)
    try:
        hall.open_dataset()
        hall.sign()
        place = KafkaPartition(hall.names.plan, 0)
        before = {at.key for at in hall.log()}
        client = KafkaAdminClient(bootstrap_servers=settings.bootstrap)
        hall.hub.admin.alter_topic_config(place.topic, {"cleanup.policy": "compact,delete"})
        client.delete_records({place: hall.hub.admin.end_offsets([TopicPartition(*place)])[TopicPartition(*place)]})
        client.close()
        assert hall.hub.admin.begin_offsets([TopicPartition(*place)])[TopicPartition(*place)] >= len(before)

        until(lambda: {at.key for at in hall.log()} == before)
    finally:
        hall.close()


def test_the_way_on_after_a_restored_backup_is_to_adopt_what_hub_plan_says(settings: Settings) -> None:
    """States, terms and schemas come back; ids go on above the largest; the act names the officer."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.close()
    backup = settings.state.with_name("backup")
    shutil.copytree(settings.state, backup)
    later = Hall(settings, watch=False)
    later.sign()
    later.hub.control.agreements.suspend("parking-vehicles", actor=later.hub.officer)
    outputs = later.body(KEY).output_schema_ids
    later.close()
    restored = Hall(settings.model_copy(update={"state": backup}), watch=False, adopt_plan=True)
    try:
        officer, control = restored.hub.officer, restored.hub.control
        assert ("adopt.plan", restored.names.plan, "done") in restored.acts()
        assert control.agreements.resume("parking-vehicles", actor=officer).state is State.ACTIVE
        assert restored.last(KEY)[1].revision == 3
        assert restored.body(KEY).output_schema_ids == outputs
        wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "b", "type": "string", "default": ""}]}
        subject = restored.names.dept_subject(DATASET)
        assert control.schemas.register(subject=subject, schema=json.dumps(wider), actor=officer).schema_id == 3
    finally:
        restored.close()


def test_a_lost_database_is_made_again_from_hub_plan(settings: Settings) -> None:
    """With the keys and the topic nothing that delivers is lost; the catalogue's words are, and say so."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    first.close()
    for file in settings.state.glob("hub.sqlite3*"):
        file.unlink()
    again = Hall(settings, watch=False, adopt_plan=True)
    try:
        (row,) = again.hub.control.datasets.entries()
        assert (row.entry.dataset, row.published, row.entry.title) == (DATASET, True, "(lost with the database)")
        change = again.hub.control.agreements.suspend("parking-vehicles", actor=again.hub.officer)
        assert (change.state, len(change.partitions)) == (State.SUSPENDED, 2)
    finally:
        again.close()


def test_every_signed_version_comes_back_from_hub_plan(settings: Settings) -> None:
    """Use under an earlier version is billed by that version, also after the database was lost altogether."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    first.sign(AGREEMENT.replace("tariff:", "version: 2\ntariff:").replace("keep_last: 4", "keep_last: 2"))
    first.hub.control.agreements.suspend("parking-vehicles", actor=first.hub.officer)
    before = first.hub.signed_terms()
    first.close()
    for file in settings.state.glob("hub.sqlite3*"):
        file.unlink()

    again = Hall(settings, watch=False, adopt_plan=True)

    try:
        found = again.hub.signed_terms()
        assert (before.differences, found.differences) == ((), ())
        assert found.terms == before.terms
        rows = again.hub.control.agreements.versions("parking-vehicles")
        assert [(row.terms.version, row.state) for row in rows] == [(1, State.ENDED), (2, State.SUSPENDED)]
    finally:
        again.close()


def test_versions_that_an_earlier_adoption_left_out_are_brought_back(settings: Settings) -> None:
    """They stand in hub.plan and not in the database; what the newest says stays as it is."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    first.sign(AGREEMENT.replace("tariff:", "version: 2\ntariff:"))
    with first.hub.engine.begin() as connection:
        connection.execute(agreements.delete().where(agreements.c.version == 1))
        connection.execute(plan_entries.delete().where(plan_entries.c.kind == "agreement", plan_entries.c.revision == 1))
    first.close()

    again = Hall(settings, watch=False, adopt_plan=True)

    try:
        rows = again.hub.control.agreements.versions("parking-vehicles")
        assert [(row.terms.version, row.state) for row in rows] == [(1, State.ENDED), (2, State.ACTIVE)]
        assert again.hub.signed_terms().differences == ()
    finally:
        again.close()


def test_versions_that_compaction_took_are_named_in_the_act_of_adoption(settings: Settings) -> None:
    """Nobody can bring them back, so nobody shall think that they are there."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    first.sign(AGREEMENT.replace("tariff:", "version: 2\ntariff:"))
    plan, end = first.names.plan, first.log()[-1].offset + 1
    first.hub.admin.alter_topic_config(plan, {"cleanup.policy": "compact,delete"})
    client = KafkaAdminClient(bootstrap_servers=settings.bootstrap)
    client.delete_records({KafkaPartition(plan, 0): end})
    client.close()
    first.hub.admin.alter_topic_config(plan, {"cleanup.policy": "compact"})
    first.close()
    Hall(settings, watch=False).close()  # appends the newest of every object again: what compaction would have left
    for file in settings.state.glob("hub.sqlite3*"):
        file.unlink()

    again = Hall(settings, watch=False, adopt_plan=True)

    try:
        with again.hub.engine.begin() as connection:
            told = connection.scalars(select(acts.c.reason).where(acts.c.act == "adopt.plan", acts.c.outcome == "done")).one()
        assert "does not hold any more: parking-vehicles version 1" in told
    finally:
        again.close()


def test_an_emptied_hub_plan_is_filled_again(settings: Settings) -> None:
    """SQL holds every signed entry; lanes stop by themselves and wait for an officer."""
    first = Hall(settings, watch=False)
    first.open_dataset()
    first.sign()
    values = {at.key: at.value for at in first.log()}
    first.hub.admin.delete_topics([first.names.plan])
    first.close()
    second = Hall(settings, watch=False)
    try:
        assert {at.key: at.value for at in second.log()} == values
        assert second.hub.control.agreements.suspend("parking-vehicles", actor=second.hub.officer).state is State.SUSPENDED
    finally:
        second.close()


def test_another_master_key_is_refused(hall: Hall) -> None:
    """Pseudonyms would change for everyone, silently."""
    folder = hall.hub.settings.state / "other-keys"
    create_keys(folder, epoch=1, comment="other")
    other = (folder / "master-1.key").read_bytes()
    with pytest.raises(HubError) as refusal:
        hall.hub.control.publish_keys({1: other}, actor=hall.hub.officer)
    assert refusal.value.code == "HUB-KEY-002"
    assert hall.body(f"dataset/{DATASET}").dataset == DATASET
