"""An officer's key that is lost, or another's, signs nothing: a withdrawal that no worker obeys must not be answered."""

from pathlib import Path

import msgspec
import pytest
from hall import Hall, hall_settings

from hub.app import Hub
from hub.broker.embedded import EmbeddedBroker
from hub.cli.checks import Status, run_check
from hub.model.errors import HubError
from hub.model.names import Names
from hub.model.plan_proof import is_proven
from hub.model.records import encode_plan_entry
from hub.model.signing import key_id_of, sign_entry
from hub.settings import Settings
from hub.state import initialise
from hub.store.keys import create_keys, load_master_keys, load_officer_key

pytestmark = pytest.mark.broker
KEY = "agreement/parking-vehicles"


@pytest.fixture
def settings(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Settings:
    """Give settings of a hub that has signed an agreement and is stopped."""
    made = hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state")
    hall = Hall(made, watch=False)
    hall.open_dataset()
    hall.sign()
    hall.close()
    return made


def other_officer(settings: Settings, tmp_path: Path) -> str:
    """Put another officer's key in place, trusted here; return its id."""
    other = tmp_path / "other"
    create_keys(other, epoch=1, comment="anew")
    (settings.keys_folder / "officer.key").write_bytes((other / "officer.key").read_bytes())
    with (settings.keys_folder / "trust.keys").open("a", encoding="utf-8") as out:
        out.write((other / "trust.keys").read_text(encoding="utf-8"))
    return key_id_of(load_officer_key(other).public_key())


def refusal(settings: Settings, **how: str) -> HubError:
    """Return why serve does not lead; hub.plan is as before."""
    with Hub(settings) as hub:
        before = [(at.offset, at.value) for at in hub.plan_log.read_all()]
        with pytest.raises(HubError) as refused:
            hub.take_over(**how)  # type: ignore[arg-type]  # one option
        assert [(at.offset, at.value) for at in hub.plan_log.read_all()] == before
    return refused.value


@pytest.mark.parametrize("lost", ["officer.key", "master-1.key", "trust.keys"])
def test_a_hub_whose_key_is_lost_does_not_begin_anew(settings: Settings, lost: str) -> None:
    """`serve --init` and `up` made another one, trusted it, answered withdrawals and were obeyed by nobody."""
    (settings.keys_folder / lost).unlink()
    with pytest.raises(HubError, match="HUB-KEY-001"):
        Hall(settings, watch=False)
    assert not (settings.keys_folder / lost).exists()


def test_another_officers_key_leads_only_when_an_officer_says_so(settings: Settings, tmp_path: Path) -> None:
    """Then it has signed something, and leads without a word from the next start on; the keys' check values stay what they were."""
    own = other_officer(settings, tmp_path)
    found = refusal(settings)
    assert found.code == "HUB-KEY-005"
    assert f"--lead-with-officer-key {own}" in found.fix
    assert refusal(settings, lead_with="0" * 16).code == "HUB-KEY-005"
    with Hub(settings) as hub:
        hub.take_over(lead_with=own)
    hall = Hall(settings, watch=False)
    try:
        at, entry = hall.last("keys/1")
        assert (entry.key_id, entry.revision) == (own, 2)
        assert hall.hub.control.agreements.suspend("parking-vehicles", actor=hall.hub.officer).partitions
        assert hall.last(KEY)[1].key_id == own
        assert at.key is not None
    finally:
        hall.close()


def test_a_hub_that_must_not_lead_makes_no_topic_and_sets_none_back(settings: Settings, tmp_path: Path) -> None:
    """Its list of what there must be may be wrong; the one that leads does both."""
    own = other_officer(settings, tmp_path)
    names = settings.names
    quarantine = names.quarantine("vehicle-registry/vehicles")
    with Hub(settings) as hub:
        hub.admin.delete_topics([quarantine])
        hub.admin.alter_topic_config(names.usage, {"max.message.bytes": "2000"})
        assert refusal(settings).code == "HUB-KEY-005"
        told = {flaw.topic: flaw.what for flaw in hub.upkeep.look()}
        assert told == {quarantine: "gone", names.usage: "max.message.bytes"}
        hub.take_over(lead_with=own)
        assert hub.upkeep.look() == ()


def test_a_new_state_folder_does_not_lead_the_plan_of_another_hub(settings: Settings, tmp_path: Path) -> None:
    """Its keys are new, its database is empty, and the cluster holds a hub of this very scope."""
    new = settings.model_copy(update={"state": tmp_path / "new"})
    assert initialise(new)
    assert refusal(new).code == "HUB-KEY-005"


def test_every_record_of_hub_plan_carries_the_hubs_proof(settings: Settings) -> None:
    """Also what repair appends again; a proof of another record, or under another key, is none."""
    hall = Hall(settings, watch=False)
    keys = load_master_keys(settings.keys_folder)
    try:
        hall.hub.admin.delete_topics([hall.names.plan])
        hall.hub.ensure_topics()
        hall.keeper.repair()
        log = hall.log()
        scope = hall.names.scope
        assert {at.key for at in log} >= {b"keys/1", b"schema/1", KEY.encode()}
        for at in log:
            assert is_proven(at.headers, master_keys=keys, scope=scope, key=at.key, value=at.value)
            assert not is_proven(at.headers, master_keys=keys, scope=scope, key=b"keys/2", value=at.value)
            assert not is_proven(at.headers, master_keys=keys, scope="440300", key=at.key, value=at.value)
            assert not is_proven(at.headers, master_keys={1: bytes(32)}, scope=scope, key=at.key, value=at.value)
    finally:
        hall.close()


def test_exchange_status_tells_what_hub_plan_stops(settings: Settings) -> None:
    """What workers of this hub's keys cannot obey, and keys that are not the hub's: never a line that looks well."""
    hall = Hall(settings, watch=False)
    try:
        assert [row.code for row in hall.hub.lanes()] == ["HUB-LANE-016", "HUB-LANE-016"]  # no worker runs
        entry = hall.last(KEY)[1]
        newer = msgspec.structs.replace(entry, revision=entry.revision + 1, body=entry.body.replace('{"', '{"level":2,"', 1))
        hall.intrude(KEY, encode_plan_entry(sign_entry(newer, load_officer_key(settings.keys_folder))))
        assert [row.code for row in hall.hub.lanes()] == ["HUB-PLAN-004", "HUB-PLAN-004"]
        master = settings.keys_folder / "master-1.key"
        kept = master.read_bytes()
        master.write_bytes(bytes(32))
        assert [row.code for row in hall.hub.lanes()] == ["HUB-KEY-002", "HUB-KEY-002"]
        master.write_bytes(kept)
    finally:
        hall.close()


def test_doctor_holds_the_master_key_against_what_a_trusted_key_signed(settings: Settings) -> None:
    """Whatever a stranger writes under the key of such an entry: neither believed, nor the end of doctor."""
    hall = Hall(settings, watch=False)
    try:
        entry = hall.last("keys/1")[1]
        hall.intrude("keys/1", b"nonsense")
        hall.intrude("keys/1", encode_plan_entry(msgspec.structs.replace(entry, revision=9, body="{}", signature=b"")))
        assert run_check("key check value", settings).status is Status.OK
        (settings.keys_folder / "master-1.key").write_bytes(bytes(32))
        found = run_check("key check value", settings)
        assert (found.status, "epoch 1" in found.detail, "backup" in found.fix) == (Status.FAILED, True, True)
    finally:
        hall.close()
