"""The control plane on a real broker: what is published, in which order, and what a revocation answers."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, Hall, hall_settings

from hub.broker.embedded import EmbeddedBroker
from hub.broker.requests import Coordinators, open_client
from hub.broker.transactions import Fenced, Transaction
from hub.model.entry import Kind, decode_body
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.names import Names, TopicPartition
from hub.model.records import decode_plan_entry
from hub.model.signing import verify_entry
from hub.model.usage import ZERO_HASH, Position
from hub.store.act_chain import walk
from hub.store.keys import load_trust_keys

pytestmark = pytest.mark.broker
LANES = [TopicPartition("", 0), TopicPartition("", 1)]


@pytest.fixture
def hall(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Hall]:
    """Give a hub that leads."""
    built = Hall(hall_settings(bootstrap=broker.bootstrap, names=names, state=tmp_path / "state"))
    yield built
    built.close()


def lanes(hall: Hall) -> list[TopicPartition]:
    """Return the dataset's lanes."""
    return [TopicPartition(hall.names.dept(DATASET), partition) for partition in range(2)]


def move_lane(hall: Hall, lane: TopicPartition, position: Position) -> None:
    """Commit a position as a worker would."""
    hall.hub.connections.gate.open({lane: position}, names=hall.names)


def position_of(hall: Hall, lane: TopicPartition) -> Position:
    """Return where a lane stands."""
    offset, metadata = hall.hub.admin.committed(hall.names.exchange_group, [lane])[lane]
    return Position.parse(offset=offset, metadata=metadata, lane=str(lane))


def test_every_entry_is_signed_by_a_trusted_key_and_keys_come_first(hall: Hall) -> None:
    """A worker can check the keys before anything else, and trusts nothing unsigned."""
    hall.open_dataset()
    hall.sign()
    entries = [decode_plan_entry(at.value or b"") for at in hall.log()]
    trust = load_trust_keys(hall.hub.settings.keys_folder)
    for entry in entries:
        verify_entry(entry, trust)
    assert [(entry.kind, entry.object_id, entry.revision) for entry in entries] == [
        ("keys", "1", 1),
        ("schema", "1", 1),
        ("dataset", DATASET, 1),
        ("schema", "2", 1),
        ("agreement", "parking-vehicles", 1),
    ]


def test_a_published_dataset_has_its_topics_and_an_open_lane_for_each_partition(hall: Hall) -> None:
    """A lane that finds no position must stop: publishing is what opens it."""
    hall.open_dataset()
    topic, quarantine = hall.names.dept(DATASET), hall.names.quarantine(DATASET)
    ids = hall.hub.admin.topic_ids([topic, quarantine])
    assert set(ids) == {topic, quarantine}
    for lane in lanes(hall):
        assert position_of(hall, lane) == Position(offset=0, topic_id=ids[topic], step=0, plan_offset=0, plan_from=0, head=ZERO_HASH)


def test_publishing_again_after_a_crash_leaves_positions_alone(hall: Hall) -> None:
    """Resetting a lane would deliver everything twice."""
    control, officer = hall.hub.control, hall.hub.officer
    control.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(VEHICLE), actor=officer)
    with hall.hub.engine.begin() as connection:
        entry = hall.hub.catalogue.require(connection, DATASET).entry
    control.datasets._make_topics(entry)
    topic_id = hall.hub.admin.topic_ids([hall.names.dept(DATASET)])[hall.names.dept(DATASET)]
    moved = Position(offset=7, topic_id=topic_id, step=3, plan_offset=0, plan_from=2, head=bytes(range(32)))
    move_lane(hall, lanes(hall)[0], moved)
    control.datasets.publish(DATASET, actor=officer)
    assert position_of(hall, lanes(hall)[0]) == moved
    assert position_of(hall, lanes(hall)[1]).step == 0


def test_publishing_twice_changes_nothing(hall: Hall) -> None:
    """The second answer is `exists`."""
    hall.open_dataset()
    before = len(hall.log())
    assert hall.hub.control.datasets.publish(DATASET, actor=hall.hub.officer).outcome == "exists"
    assert len(hall.log()) == before


def test_a_suspension_fences_the_lanes_before_it_answers(hall: Hall) -> None:
    """Law 6: a transaction that was open under the older plan cannot commit any more once the call has returned."""
    hall.open_dataset()
    agreement_id = hall.sign()
    lane = lanes(hall)[0]

    async def scenario() -> None:
        client = await open_client(hall.hub.settings.bootstrap, client_id="old-worker")
        try:
            worker = Transaction(
                client,
                Coordinators(client),
                transactional_id=hall.names.transactional_id(lane),
                group=hall.names.exchange_group,
                timeout_ms=10_000,
            )
            await worker.initialise()
            before = position_of(hall, lane)
            await worker.commit_offset(lane, 500, before.metadata)
            change = await asyncio.to_thread(hall.hub.control.agreements.suspend, agreement_id, actor=hall.hub.officer)
            with pytest.raises(Fenced):
                await worker.end(commit=True)
            assert [answer.source_offset for answer in change.partitions] == [0, 0]
        finally:
            await client.close()

    asyncio.run(scenario())
    assert position_of(hall, lane).offset == 0


def test_a_suspension_answers_where_the_older_plan_ended(hall: Hall) -> None:
    """A lane that works under the new plan already says since when; any other stands at its committed offset."""
    hall.open_dataset()
    agreement_id = hall.sign()
    topic_id = position_of(hall, lanes(hall)[0]).topic_id
    plan_end = len(hall.log())
    newer = Position(offset=90, topic_id=topic_id, step=5, plan_offset=plan_end, plan_from=70, head=ZERO_HASH)
    older = Position(offset=40, topic_id=topic_id, step=2, plan_offset=plan_end - 1, plan_from=10, head=ZERO_HASH)
    move_lane(hall, lanes(hall)[0], newer)
    move_lane(hall, lanes(hall)[1], older)
    change = hall.hub.control.agreements.suspend(agreement_id, actor=hall.hub.officer)
    assert change.plan_offset == plan_end
    assert [answer.source_offset for answer in change.partitions] == [70, 40]
    assert [answer.share_end_offset for answer in change.partitions] == [1, 1]  # behind the marker of the signing
    assert hall.body("agreement/parking-vehicles").state is State.SUSPENDED


def test_an_agreement_goes_through_its_life(hall: Hall) -> None:
    """Signed, suspended, resumed, ended; the last entry stays in hub.plan."""
    hall.open_dataset()
    agreement_id = hall.sign()
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    states = [acts.suspend(agreement_id, actor=officer), acts.resume(agreement_id, actor=officer), acts.end(agreement_id, actor=officer)]
    assert [change.state for change in states] == [State.SUSPENDED, State.ACTIVE, State.ENDED]
    assert [bool(change.partitions) for change in states] == [True, False, True]
    entry = hall.last("agreement/parking-vehicles")[1]
    assert entry.revision == 4
    assert decode_body(Kind.AGREEMENT, entry.body).state is State.ENDED  # type: ignore[union-attr]  # an agreement's


def test_a_deleted_share_topic_does_not_keep_a_right_alive(hall: Hall) -> None:
    """The answer says that the topic is gone; the right has ended all the same."""
    hall.open_dataset()
    agreement_id = hall.sign()
    hall.hub.admin.delete_topics([hall.names.share(consumer="parking-office", agreement=agreement_id)])
    change = hall.hub.control.agreements.suspend(agreement_id, actor=hall.hub.officer)
    assert [answer.share_end_offset for answer in change.partitions] == [None, None]


def test_a_share_topic_has_met_a_transaction_before_its_first_delivery(hall: Hall) -> None:
    """The broker's first work for a topic is paid at signing: a withdrawal behind the first delivery must not wait for it."""
    hall.open_dataset()
    topic = hall.names.share(consumer="parking-office", agreement=hall.sign())
    shares = [TopicPartition(topic, lane.partition) for lane in lanes(hall)]
    assert hall.hub.admin.end_offsets(shares) == dict.fromkeys(shares, 1)  # a marker, which no reader is handed


def test_suspensions_that_arrive_together_all_answer(hall: Hall) -> None:
    """They may share a fence; none may miss one."""
    hall.open_dataset()
    ids = [hall.sign(AGREEMENT.replace("parking-vehicles", f"parking-{number}")) for number in range(6)]
    answers: list[Any] = []

    def suspend(agreement_id: str) -> None:
        answers.append(hall.hub.control.agreements.suspend(agreement_id, actor=hall.hub.officer))

    threads = [threading.Thread(target=suspend, args=(agreement_id,)) for agreement_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(answer.id for answer in answers) == sorted(ids)
    assert all(len(answer.partitions) == 2 for answer in answers)


def test_a_new_version_takes_the_place_of_the_old_one_and_is_fenced(hall: Hall) -> None:
    """Its terms may be narrower."""
    hall.open_dataset()
    hall.sign()
    narrower = AGREEMENT.replace("fields: [plate, {name: phone, mask: {keep_last: 4}}]", "fields: [plate]\nversion: 2")
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    acts.apply(narrower, file="a.yaml", actor=officer)
    change = acts.sign("parking-vehicles", actor=officer)
    assert (change.version, len(change.partitions)) == (2, 2)
    assert hall.body("agreement/parking-vehicles").terms.version == 2
    assert [row.state for row in acts.versions("parking-vehicles")] == [State.ENDED, State.ACTIVE]


def test_a_signed_version_never_changes_its_terms(hall: Hall) -> None:
    """The same again is nothing new; anything else names what differs."""
    hall.open_dataset()
    hall.sign()
    acts, officer = hall.hub.control.agreements, hall.hub.officer
    assert acts.apply(AGREEMENT, file="a.yaml", actor=officer).outcome == "exists"
    with pytest.raises(HubError) as refusal:
        acts.apply(AGREEMENT.replace("enforcement", "research"), file="a.yaml", actor=officer)
    assert refusal.value.code == "HUB-AGREE-003"
    assert [(problem.where, problem.field) for problem in refusal.value.problems] == [("a.yaml:7", "purpose")]


def test_terms_that_do_not_fit_the_schema_are_reported_on_the_lines_of_the_file(hall: Hall) -> None:
    """All of them at once, before anything is stored."""
    hall.open_dataset()
    text = AGREEMENT.replace("fields: [plate,", "fields: [colour,").replace("{field: class,", "{field: klass,")
    with pytest.raises(HubError) as refusal:
        hall.hub.control.agreements.apply(text, file="a.yaml", actor=hall.hub.officer)
    assert refusal.value.code == "HUB-AGREE-005"
    assert {problem.where for problem in refusal.value.problems} == {"a.yaml:11", "a.yaml:12"}
    assert hall.hub.control.agreements.entries() == ()


def test_a_tariff_without_a_price_is_refused(hall: Hall) -> None:
    """Use that nobody can bill must not begin."""
    hall.open_dataset()
    with pytest.raises(HubError) as refusal:
        hall.hub.control.agreements.apply(AGREEMENT.replace("per-record@1", "per-recrd@1"), file="a.yaml", actor=hall.hub.officer)
    assert [problem.field for problem in refusal.value.problems] == ["tariff"]


def test_a_dataset_that_is_not_shared_takes_no_agreement(hall: Hall) -> None:
    """不予共享 means that."""
    hall.open_dataset(entry=ENTRY.replace("conditional", "not_shared") + "sharing_basis: 某条例 第九条\n")
    with pytest.raises(HubError) as refusal:
        hall.hub.control.agreements.apply(AGREEMENT, file="a.yaml", actor=hall.hub.officer)
    assert refusal.value.code == "HUB-AGREE-006"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (ENTRY.replace("partitions: 2", "partitions: 4"), "HUB-DATASET-004"),
        (ENTRY + "key_identifier: plate\n", "HUB-DATASET-004"),
        (ENTRY.replace("conditional", "not_shared") + "sharing_basis: 某条例 第九条\n", "HUB-AGREE-006"),
    ],
)
def test_what_lanes_and_agreements_rely_on_cannot_change_under_them(hall: Hall, entry: str, code: str) -> None:
    """Partitions and keys of a published dataset stay; sharing ends only after its agreements."""
    hall.open_dataset()
    hall.sign()
    with pytest.raises(HubError) as refusal:
        hall.hub.control.datasets.apply(entry, file="d.yaml", schema=json.dumps(VEHICLE), actor=hall.hub.officer)
    assert refusal.value.code == code


def test_the_words_about_a_published_dataset_may_change(hall: Hall) -> None:
    """Another person may become accountable."""
    hall.open_dataset()
    changed = ENTRY.replace("wang-lei", "chen-jing")
    change = hall.hub.control.datasets.apply(changed, file="d.yaml", schema=json.dumps(VEHICLE), actor=hall.hub.officer)
    assert (change.outcome, change.state) == ("changed", "published")


def test_an_entry_does_not_register_another_schema_by_the_way(hall: Hall) -> None:
    """A new version is an act of its own, checked against the agreements."""
    hall.open_dataset()
    other = {**VEHICLE, "fields": VEHICLE["fields"][:2]}
    with pytest.raises(HubError) as refusal:
        hall.hub.control.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(other), actor=hall.hub.officer)
    assert refusal.value.code == "HUB-DATASET-004"


def test_an_agreement_on_a_dataset_that_is_not_published_waits(hall: Hall) -> None:
    """A draft may be stored; signing says what is missing."""
    hall.hub.control.datasets.apply(ENTRY, file="d.yaml", schema=json.dumps(VEHICLE), actor=hall.hub.officer)
    with pytest.raises(HubError) as refusal:
        hall.sign()
    assert (refusal.value.code, refusal.value.fix) == ("HUB-DATASET-005", f"`cityhub dataset publish {DATASET}`")


def test_an_agreement_whose_term_is_over_is_not_signed(hall: Hall) -> None:
    """It would deny every record from the first."""
    hall.open_dataset()
    with pytest.raises(HubError) as refusal:
        hall.sign(AGREEMENT.replace("2050-12-31", "2020-12-31"))
    assert refusal.value.code == "HUB-AGREE-005"


def test_a_new_writer_schema_is_in_hub_plan_with_all_that_follows_from_it(hall: Hall) -> None:
    """Before its id is answered: schema, dataset, and each live agreement with its output schema."""
    hall.open_dataset()
    hall.sign()
    subject = hall.names.dept_subject(DATASET)
    wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "colour", "type": "string", "default": ""}]}
    found = hall.hub.control.schemas.register(subject=subject, schema=json.dumps(wider), actor=hall.hub.officer)
    assert (found.version, found.new) == (2, True)
    assert hall.body(f"dataset/{DATASET}").schema_ids == (1, found.schema_id)
    outputs = hall.body("agreement/parking-vehicles").output_schema_ids
    assert outputs == {"1": 2, str(found.schema_id): 2}, "a field that nobody was granted changes no output"
    assert hall.hub.control.schemas.register(subject=subject, schema=json.dumps(wider), actor=hall.hub.officer).new is False


def test_a_writer_schema_that_takes_a_granted_field_away_is_refused(hall: Hall) -> None:
    """The agreement would not compile any more."""
    hall.open_dataset()
    hall.sign()
    without = {**VEHICLE, "fields": [field for field in VEHICLE["fields"] if field["name"] != "phone"]}
    with pytest.raises(HubError) as refusal:
        hall.hub.control.schemas.register(subject=hall.names.dept_subject(DATASET), schema=json.dumps(without), actor=hall.hub.officer)
    assert refusal.value.code == "HUB-SCHEMA-004"
    assert refusal.value.problems[0].where == "agreement parking-vehicles"


def test_all_that_is_wrong_with_an_agreement_is_told_in_one_round(hall: Hall) -> None:
    """Form, schema, tariff, identifier kinds and the time: not one after the other, and not at signing only."""
    hall.open_dataset()
    fields = "fields: [{name: plate, pseudonym: {identifier: plat}}, {name: colour}, {name: class, truncate: {to: decade}}"
    wrong = (
        AGREEMENT.replace("fields: [plate", fields)
        .replace("2050", "2020")
        .replace("per-record@1", "by-weight@9")
        .replace("eq:", "gt: 1, eq:")
    )
    with pytest.raises(HubError) as refusal:
        hall.hub.control.agreements.apply(wrong, file="a.yaml", actor=hall.hub.officer)
    assert refusal.value.code == "HUB-AGREE-001"
    told = {problem.field for problem in refusal.value.problems}
    expected = {"rows.all[0]", "fields[0].pseudonym.identifier", "fields[1].name", "fields[2].truncate", "tariff", "valid_until"}
    assert told == expected
    assert all(problem.where.startswith("a.yaml:") for problem in refusal.value.problems)
    with pytest.raises(HubError) as refusal:
        hall.hub.control.agreements.apply(wrong.replace("gt: 1, eq:", "eq:"), file="a.yaml", actor=hall.hub.officer)
    assert refusal.value.code == "HUB-AGREE-005"
    assert {problem.field for problem in refusal.value.problems} == expected - {"rows.all[0]"}
    with pytest.raises(HubError) as refusal:
        hall.hub.control.agreements.apply(wrong.replace("vehicles", "cars"), file="a.yaml", actor=hall.hub.officer)
    assert {problem.field for problem in refusal.value.problems} == {"dataset", "rows.all[0]"}


def test_faults_of_an_entry_and_of_its_schema_are_told_in_one_round(hall: Hall) -> None:
    """Both are mended before the next try."""
    wrong = json.dumps({**VEHICLE, "fields": [{**VEHICLE["fields"][0], "grade": "L9"}]})
    with pytest.raises(HubError) as refusal:
        hall.hub.control.datasets.apply(ENTRY.replace("title", "titel"), file="d.yaml", schema=wrong, actor=hall.hub.officer)
    assert refusal.value.code == "HUB-DATASET-001"
    assert {"titel", "title", "fields[0].grade"} == {problem.field for problem in refusal.value.problems}


def test_kinds_from_before_the_list_was_closed_may_stay(hall: Hall) -> None:
    """A key's kind cannot change once records are there, and pseudonyms depend on a field's."""
    old = hall.open_old_dataset()
    control, officer = hall.hub.control, hall.hub.officer
    assert control.datasets.apply(old, file="d.yaml", schema=None, actor=officer).outcome == "exists"
    with pytest.raises(HubError) as refusal:
        control.datasets.apply(old.replace("vehicles", "cars"), file="d.yaml", schema=None, actor=officer)
    assert [problem.field for problem in refusal.value.problems] == ["key_identifier"]
    hall.sign(AGREEMENT.replace("fields: [plate,", "fields: [{name: plate, pseudonym: {identifier: citizen}},"))


def test_a_writer_schema_that_changes_what_a_granted_field_is_is_refused_with_the_agreements_name(hall: Hall) -> None:
    """Its pseudonyms would change without a word. A version of the agreement that names the kind is the way on."""
    hall.open_dataset()
    hall.sign(AGREEMENT.replace("fields: [plate,", "fields: [{name: plate, pseudonym: {}},"))
    subject, officer = hall.names.dept_subject(DATASET), hall.hub.officer
    plate, kind, phone = VEHICLE["fields"]
    changed = json.dumps({**VEHICLE, "fields": [{**plate, "identifier": "phone"}, kind, phone]})
    for dry_run in (True, False):
        with pytest.raises(HubError) as refusal:
            hall.hub.control.schemas.register(subject=subject, schema=changed, actor=officer, dry_run=dry_run)
        assert refusal.value.code == "HUB-SCHEMA-004"
        assert [problem.where for problem in refusal.value.problems] == ["agreement parking-vehicles"]
    named = AGREEMENT.replace("fields: [plate,", "fields: [{name: plate, pseudonym: {identifier: plate}},") + "version: 2\n"
    hall.sign(named)
    assert hall.hub.control.schemas.register(subject=subject, schema=changed, actor=officer).version == 2


def test_an_older_version_registered_again_stays_an_older_version(hall: Hall) -> None:
    """The answer says which one is the newest: that is what producers go on with."""
    hall.open_dataset()
    subject, officer = hall.names.dept_subject(DATASET), hall.hub.officer
    wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "colour", "type": "string", "default": ""}]}
    new = hall.hub.control.schemas.register(subject=subject, schema=json.dumps(wider), actor=officer)
    again = hall.hub.control.schemas.register(subject=subject, schema=json.dumps(VEHICLE), actor=officer)
    assert [(found.version, found.new, found.newest) for found in (new, again)] == [(2, True, 2), (1, False, 2)]


def test_a_subject_of_no_dataset_takes_no_schema(hall: Hall) -> None:
    """Nobody can smuggle a topic in through the registry."""
    with pytest.raises(HubError) as refusal:
        hall.hub.control.schemas.register(subject="anything-value", schema=json.dumps(VEHICLE), actor=hall.hub.officer)
    assert refusal.value.code == "HUB-SCHEMA-005"


def test_every_act_is_recorded_before_its_effect_and_refusals_too(hall: Hall) -> None:
    """Law 8."""
    hall.open_dataset()
    agreement_id = hall.sign()
    with pytest.raises(HubError):
        hall.hub.control.agreements.resume(agreement_id, actor=hall.hub.officer)
    with pytest.raises(HubError):
        hall.hub.control.agreements.end("nobody", actor=hall.hub.officer)
    with pytest.raises(HubError):
        hall.hub.control.agreements.apply("nonsense", file="a.yaml", actor=hall.hub.officer)
    assert hall.acts() == [
        ("publish.keys", "1", "intended"),
        ("publish.keys", "1", "done"),
        ("apply.dataset", DATASET, "intended"),
        ("apply.dataset", DATASET, "done"),
        ("publish.dataset", DATASET, "intended"),
        ("publish.dataset", DATASET, "done"),
        ("apply.agreement", agreement_id, "intended"),
        ("apply.agreement", agreement_id, "done"),
        ("sign.agreement", agreement_id, "intended"),
        ("sign.agreement", agreement_id, "done"),
        ("resume.agreement", agreement_id, "refused"),
        ("end.agreement", "nobody", "refused"),
        ("apply.agreement", "(file)", "refused"),
    ]
    assert walk(hall.hub.engine, trust=load_trust_keys(hall.hub.settings.keys_folder), signed_after=0).broken is None


def test_a_dry_run_leaves_no_trace(hall: Hall) -> None:
    """Neither in SQL nor in hub.plan."""
    hall.open_dataset()
    agreement_id = hall.sign()
    acts, log = hall.acts(), hall.log()
    control, officer = hall.hub.control, hall.hub.officer
    assert control.agreements.suspend(agreement_id, actor=officer, dry_run=True).outcome == "would be suspended"
    draft = AGREEMENT.replace("parking-vehicles", "other")
    assert control.agreements.apply(draft, file="a.yaml", actor=officer, dry_run=True).outcome == "would be drafted"
    assert control.datasets.publish(DATASET, actor=officer, dry_run=True).outcome == "exists"
    with pytest.raises(HubError):
        control.agreements.resume(agreement_id, actor=officer, dry_run=True)
    assert (hall.acts(), hall.log()) == (acts, log)
