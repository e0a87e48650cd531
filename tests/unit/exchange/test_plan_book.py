"""What a worker believes of hub.plan: never an older right than the newest entry that this hub made, and nothing of a stranger's."""

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kernel_kit import MASTER, SCOPE, VEHICLE, WRITER, terms

from hub.exchange.plan import DEFAULT_LIMITS, Plan
from hub.exchange.plan_book import PlanBook
from hub.model.entry import (
    LEVEL,
    AgreementBody,
    Body,
    DatasetBody,
    Head,
    KeysBody,
    Kind,
    SchemaBody,
    decode_body,
    encode_body,
    read_head,
)
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.output_schema import output_schema
from hub.model.plan_proof import HEADER, plan_proof
from hub.model.pseudonym import check_value
from hub.model.records import PlanEntry, decode_plan_entry, encode_plan_entry
from hub.model.signing import key_id_of, sign_entry

OFFICER, UNKNOWN = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1")
TERMS = terms("parking", "plate")
OUTPUT = 1000
VEHICLES, DRIVERS = "dept.vehicle-registry.vehicles", "dept.vehicle-registry.drivers"


def dataset(name: str = "vehicles", **changes: Any) -> DatasetBody:
    """Return the body of a dataset."""
    values = {"topic": f"dept.vehicle-registry.{name}", "quarantine_topic": "q", "partitions": 4, "schema_ids": (WRITER,)}
    return DatasetBody(dataset=f"vehicle-registry/{name}", **(values | changes))


def agreement(**changes: Any) -> AgreementBody:
    """Return the body of an active agreement on vehicles."""
    values = {"state": State.ACTIVE, "share_topic": "s", "key_epoch": 1, "output_schema_ids": {str(WRITER): OUTPUT}, "since_ms": 0}
    return AgreementBody(terms=TERMS, **(values | changes))


SUSPENDED = agreement(state=State.SUSPENDED)


class Book:
    """A plan book in which two datasets are published, and one agreement on the first is active at revision 1."""

    def __init__(self) -> None:
        """Append what a hub would."""
        self.alarms: list[HubError] = []
        trust = {key_id_of(OFFICER.public_key()): OFFICER.public_key()}
        self.book = PlanBook(scope=SCOPE, trust=trust, master_keys={1: MASTER}, limits=DEFAULT_LIMITS, alarm=self.alarms.append)
        self.end = 0
        self.append(Kind.KEYS, "1", KeysBody(key_epoch=1, check_value=check_value(MASTER)))
        self.append(Kind.SCHEMA, str(WRITER), SchemaBody(schema_id=WRITER, schema=json.dumps(VEHICLE)))
        self.append(Kind.SCHEMA, str(OUTPUT), SchemaBody(schema_id=OUTPUT, schema=output_schema(TERMS, VEHICLE, key_epoch=1)))
        self.append(Kind.DATASET, "vehicle-registry/vehicles", dataset())
        self.append(Kind.DATASET, "vehicle-registry/drivers", dataset("drivers"))
        self.append(Kind.AGREEMENT, "parking", agreement())
        assert (self.alarms, self.state) == ([], State.ACTIVE)

    def append(self, kind: str, object_id: str, body: Body | str, *, revision: int = 1, **how: Any) -> bool:
        """Append an entry; ``signer``, ``scope``, ``proof`` (of the hub) and ``change`` (of the signed entry) as said."""
        text = body if isinstance(body, str) else encode_body(body)
        entry = PlanEntry(kind, object_id, revision, how.get("scope", SCOPE), text, "", b"")
        signed = msgspec.structs.replace(sign_entry(entry, how.get("signer", OFFICER)), **how.get("change", {}))
        return self.append_value(encode_plan_entry(signed), key=f"{kind}/{object_id}".encode(), proof=how.get("proof"))

    def append_value(self, value: bytes, *, key: bytes, proof: bool | bytes | None = None) -> bool:
        """Append a record, with the hub's proof of it, or with another header, or with none."""
        made = plan_proof(MASTER, scope=SCOPE, epoch=1, key=key, value=value) if proof is True else proof
        changed = self.book.apply(value, offset=self.end, key=key, headers=[(HEADER, made)] if made else [])
        self.end += 1
        self.book.compile()
        return changed

    @property
    def state(self) -> State | str:
        """State of the agreement in the plan of vehicles, or the code that its dataset stands still by."""
        return self.of(VEHICLES)

    def of(self, topic: str) -> State | str:
        """State of the first agreement of a topic's plan, or the code that it stands still by."""
        stopped = self.book.stopped.get(topic)
        if stopped is not None:
            with pytest.raises(HubError, match=stopped.code):
                self.book.plan(topic)
            return stopped.code
        plan: Plan = self.book.plan(topic)
        return plan.agreements[0].state if plan.agreements else "none"

    @property
    def codes(self) -> list[str]:
        """Codes of the alarms."""
        return [alarm.code for alarm in self.alarms]


class Untouched(dict[bytes, Any]):
    """Entries that nobody may look at."""

    def __iter__(self) -> Any:
        """Refuse."""
        raise AssertionError

    values = items = keys = __contains__ = __len__ = get = __iter__


def test_a_signed_suspension_is_obeyed() -> None:
    """The control of all others: an entry of the trusted key, newer, readable."""
    book = Book()
    assert book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=2)
    assert (book.state, book.codes) == (State.SUSPENDED, [])


STRANGERS: dict[str, tuple[dict[str, Any], str]] = {
    "unsigned": ({"change": {"signature": b""}}, "HUB-KEY-003"),
    "bad signature": ({"change": {"signature": bytes(64)}}, "HUB-KEY-003"),
    "another body under the signature": ({"change": {"body": encode_body(agreement(since_ms=9))}}, "HUB-KEY-003"),
    "unknown key": ({"signer": UNKNOWN}, "HUB-KEY-004"),
    "unknown key with a proof that is none": ({"signer": UNKNOWN, "proof": bytes(36)}, "HUB-KEY-004"),
    "unknown key with the proof of another record": (
        {"signer": UNKNOWN, "proof": plan_proof(MASTER, scope=SCOPE, epoch=1, key=b"agreement/parking", value=b"other")},
        "HUB-KEY-004",
    ),
    "other scope": ({"scope": "440300"}, "HUB-PLAN-002"),
    "other scope and unknown key with a proof": ({"scope": "440300", "signer": UNKNOWN, "proof": True}, "HUB-KEY-004"),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_anybody_could_have_written_changes_nothing_and_stops_nobody(stranger: str) -> None:
    """Whoever reaches the topic can neither give a right, nor take one, nor stop a city."""
    how, code = STRANGERS[stranger]
    book = Book()
    assert not book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=9, **how)
    assert (book.state, book.of(DRIVERS), book.codes) == (State.ACTIVE, "none", [code])


@pytest.mark.parametrize("value", [b"", b"\x00\x01", bytes(200), b"\x00" + (b"\xff" * 40)])
def test_a_record_that_is_no_entry_and_carries_no_proof_stops_nobody(value: bytes) -> None:
    """Nonsense is a stranger's, also under the key of an object that there is."""
    book = Book()
    assert not book.append_value(value, key=b"agreement/parking")
    assert (book.state, book.codes) == (State.ACTIVE, ["HUB-PLAN-002"])


@pytest.mark.parametrize("how", [{"signer": UNKNOWN}, {"change": {"signature": b""}}])
def test_a_newer_entry_of_this_hub_whose_signature_is_refused_stops_its_dataset(how: dict[str, Any]) -> None:
    """Serve signs with a key that this worker was not given: what it withdraws must not go on being delivered."""
    book = Book()
    assert book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=2, proof=True, **how)
    assert book.state in {"HUB-KEY-004", "HUB-KEY-003"}
    assert (book.of(DRIVERS), len(book.alarms)) == ("none", 1)
    assert book.append(Kind.AGREEMENT, "parking", agreement(since_ms=5), revision=3)
    assert (book.state, len(book.alarms)) == (State.ACTIVE, 1)


def members(body: Body) -> dict[str, Any]:
    """Return the members of a body."""
    found: dict[str, Any] = json.loads(encode_body(body))
    return found


UNREAD: dict[str, tuple[str, str, str, set[str]]] = {
    "an unknown member": (Kind.AGREEMENT, "parking", json.dumps(members(SUSPENDED) | {"quota": 3}), {VEHICLES}),
    "a newer level": (Kind.AGREEMENT, "parking", json.dumps(members(SUSPENDED) | {"level": LEVEL + 1}), {VEHICLES}),
    "a newer level and an unknown member": (
        Kind.AGREEMENT,
        "parking",
        json.dumps(members(SUSPENDED) | {"level": LEVEL + 1, "quota": 3}),
        {VEHICLES},
    ),
    "a level that is none": (Kind.AGREEMENT, "parking", json.dumps(members(SUSPENDED) | {"level": 0}), {VEHICLES}),
    "terms in another place": (Kind.AGREEMENT, "parking", json.dumps({"level": 2, "dataset": "vehicle-registry/vehicles"}), {VEHICLES}),
    "a new agreement": (Kind.AGREEMENT, "another", json.dumps(members(SUSPENDED) | {"quota": 3}), {VEHICLES}),
    "a dataset whose body is none": (Kind.DATASET, "vehicle-registry/vehicles", "[]", {VEHICLES}),
    "an unknown kind that names a dataset": ("embargo", "e", json.dumps({"dataset": "vehicle-registry/drivers"}), {DRIVERS}),
    "an unknown kind that names none": ("embargo", "e", "{}", {VEHICLES, DRIVERS}),
    "a body without a head": (Kind.AGREEMENT, "parking", "nonsense", {VEHICLES, DRIVERS}),
    "a body of another type": (Kind.AGREEMENT, "parking", "[1]", {VEHICLES, DRIVERS}),
    "a head of other types": (Kind.AGREEMENT, "parking", json.dumps({"dataset": 1, "terms": []}), {VEHICLES, DRIVERS}),
    "keys": (Kind.KEYS, "1", json.dumps({"level": LEVEL + 1}), {VEHICLES, DRIVERS}),
}


@pytest.mark.parametrize("unread", UNREAD)
def test_a_newer_entry_that_cannot_be_read_stops_what_it_names_or_everything(unread: str) -> None:
    """It may have taken a right away: the older one is never kept, and a newer entry that can be read lets all go on."""
    kind, object_id, body, stops = UNREAD[unread]
    book = Book()
    assert book.append(kind, object_id, body, revision=2)
    assert set(book.book.stopped) == stops
    assert {topic for topic in (VEHICLES, DRIVERS) if str(book.of(topic)).startswith("HUB-PLAN-")} == stops
    assert book.append(kind, object_id, body, revision=2)
    assert len(book.alarms) == 1
    if object_id == "parking":
        assert book.append(kind, object_id, SUSPENDED, revision=3)
        assert (book.state, dict(book.book.stopped)) == (State.SUSPENDED, {})


def test_a_record_of_this_hub_in_a_form_that_is_not_known_stops_everything_until_its_object_is_told_anew() -> None:
    """Not even the dataset can be read."""
    book = Book()
    assert book.append_value(b"\x00\x00\x00\xff\xff of a later hub", key=b"agreement/parking", proof=True)
    assert (book.state, book.of(DRIVERS)) == ("HUB-PLAN-002", "HUB-PLAN-002")
    assert book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=2)
    assert (book.state, book.of(DRIVERS)) == (State.SUSPENDED, "none")


def test_what_was_known_before_a_form_that_is_not_known_does_not_come_into_force_again() -> None:
    """The record may have taken the right away: the older entry again, or another of its revision, lifts no stop."""
    book = Book()
    for _ in range(2):
        assert book.append_value(b"\x00\x00\x00\xff\xff of a later hub", key=b"agreement/parking", proof=True)
    assert book.append(Kind.AGREEMENT, "parking", agreement())
    assert (book.state, book.of(DRIVERS)) == ("HUB-PLAN-002", "HUB-PLAN-002")
    assert not book.append(Kind.AGREEMENT, "parking", agreement(since_ms=1))
    assert (book.state, book.codes) == ("HUB-PLAN-002", ["HUB-PLAN-002", "HUB-PLAN-001"])
    assert book.append(Kind.AGREEMENT, "parking", agreement(since_ms=1), revision=2)
    assert (book.state, book.of(DRIVERS)) == (State.ACTIVE, "none")


def test_an_entry_that_names_another_dataset_stops_also_the_one_of_the_right_that_is_known() -> None:
    """The right that stands may be what it takes away."""
    book = Book()
    moved = members(SUSPENDED) | {"terms": members(SUSPENDED)["terms"] | {"dataset": "vehicle-registry/drivers"}, "quota": 3}
    assert book.append(Kind.AGREEMENT, "parking", json.dumps(moved), revision=2)
    assert (book.state, book.of(DRIVERS)) == ("HUB-PLAN-002", "HUB-PLAN-002")
    assert book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=3)
    assert (book.state, book.of(DRIVERS)) == (State.SUSPENDED, "none")


def test_asking_for_a_plan_looks_at_no_other_entry_while_some_stand_still() -> None:
    """Each lane asks once a second, and before each step: with 2,000 datasets known, a look at each is time of the deliveries."""
    book = Book()
    assert book.append(Kind.AGREEMENT, "parking", json.dumps(members(SUSPENDED) | {"quota": 3}), revision=2)
    book.book._known, book.book._halting = Untouched(), Untouched()
    assert (book.state, book.of(DRIVERS), set(book.book.topics)) == ("HUB-PLAN-002", "none", {VEHICLES, DRIVERS})


def test_a_change_of_one_agreement_looks_at_the_agreements_of_its_dataset_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of datasets each signing cost the worker a look at everything that stands in hub.plan."""
    book = Book()
    known, looked_at = book.book._known, list[str]()
    agreements = known.agreements
    monkeypatch.setattr(known, "agreements", lambda dataset: looked_at.append(dataset) or agreements(dataset))

    assert book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=2)

    assert (book.state, book.codes) == (State.SUSPENDED, [])
    assert set(looked_at) == {TERMS.dataset}
    looked_at.clear()
    book.book.compile()
    assert looked_at == []


def test_a_dataset_that_stands_still_does_not_go_on_by_an_older_entry_appended_again() -> None:
    """Neither by the one that was believed before, nor by one between the two."""
    book = Book()
    book.append(Kind.AGREEMENT, "parking", json.dumps(members(SUSPENDED) | {"quota": 3}), revision=4)
    assert book.append(Kind.AGREEMENT, "parking", agreement())
    assert book.state == "HUB-PLAN-002"
    assert not book.append(Kind.AGREEMENT, "parking", agreement(since_ms=1), revision=3)
    assert not book.append(Kind.AGREEMENT, "parking", "nonsense", revision=3)
    assert (book.state, book.codes) == ("HUB-PLAN-002", ["HUB-PLAN-002", "HUB-PLAN-001", "HUB-PLAN-001"])
    assert book.append(Kind.AGREEMENT, "parking", agreement(since_ms=1), revision=4)
    assert book.state is State.ACTIVE


def test_no_older_right_is_in_force_between_the_entry_that_frees_a_dataset_and_its_plan() -> None:
    """Compiling takes a while, in a thread of its own, and lanes ask meanwhile."""
    book = Book()
    book.append(Kind.AGREEMENT, "parking", "{}", revision=2)
    entry = sign_entry(PlanEntry(Kind.AGREEMENT, "parking", 3, SCOPE, encode_body(SUSPENDED), "", b""), OFFICER)
    assert book.book.apply(encode_plan_entry(entry), offset=book.end, key=b"agreement/parking")
    assert book.state == "HUB-PLAN-002"
    book.book.compile()
    assert book.state is State.SUSPENDED


@pytest.mark.parametrize("revision", [1, 2])
@pytest.mark.parametrize("body", [agreement(since_ms=7), "nonsense"])
def test_an_entry_that_is_not_newer_is_refused_whatever_it_says(revision: int, body: Body | str) -> None:
    """An older right appended again gives it to nobody, and one that cannot be read stops nobody: it is superseded already."""
    book = Book()
    book.append(Kind.AGREEMENT, "parking", SUSPENDED, revision=2)
    assert not book.append(Kind.AGREEMENT, "parking", body, revision=revision)
    assert not book.append(Kind.AGREEMENT, "parking", body, revision=revision, signer=UNKNOWN, proof=True)
    assert (book.state, book.codes) == (State.SUSPENDED, ["HUB-PLAN-001", "HUB-PLAN-001"])


def test_the_same_entry_again_moves_the_plan_offset_and_nothing_else() -> None:
    """A worker that started after compaction and one that did not must agree on the offset."""
    book = Book()
    before = book.book.plan(VEHICLES).plan_offset
    assert book.append(Kind.AGREEMENT, "parking", agreement())
    assert (book.book.plan(VEHICLES).plan_offset, before, book.codes) == (6, 5, [])


def test_what_stands_still_is_told_without_plans() -> None:
    """`cityhub exchange status` asks so, and compiles nothing."""
    book = Book()
    book.append(Kind.AGREEMENT, "parking", "nonsense", revision=2)
    other = PlanBook(scope=SCOPE, trust={}, master_keys={1: MASTER}, limits=DEFAULT_LIMITS, alarm=lambda _: None)
    other._known, other._halting = book.book._known, dict(book.book._halting)
    other._datasets, other._stops = book.book._datasets, book.book._stops
    other.settle()
    assert (set(other.stopped), other.key_fault) == ({VEHICLES, DRIVERS}, None)
    other._superseded = {b"agreement/parking"}
    other.settle()
    assert not other.stopped


def test_a_schema_whose_newer_entry_cannot_be_read_is_no_schema() -> None:
    """The agreement that delivers by it is denied; the dataset whose records are written by it stands still."""
    book = Book()
    assert book.append(Kind.SCHEMA, str(OUTPUT), "{}", revision=2)
    assert (book.state, set(book.book.refused), set(book.book.stopped)) == (State.SUSPENDED, {"parking"}, set())
    assert book.append(Kind.SCHEMA, str(WRITER), "{}", revision=2)
    assert (book.state, book.of(DRIVERS)) == ("HUB-PLAN-002", "HUB-PLAN-002")


def test_an_agreement_that_cannot_be_compiled_is_told_once_and_taken_up_when_it_can() -> None:
    """It costs itself; what it lacked may come by an entry of another object."""
    book = Book()
    other = agreement(output_schema_ids={str(WRITER): 1001}, since_ms=1)
    assert book.append(Kind.AGREEMENT, "parking", other, revision=2)
    assert (book.state, list(book.book.refused), book.codes) == (State.SUSPENDED, ["parking"], ["HUB-PLAN-002"])
    assert book.append(Kind.AGREEMENT, "parking", other, revision=2)
    assert len(book.alarms) == 1
    assert book.append(Kind.SCHEMA, "1001", SchemaBody(schema_id=1001, schema=output_schema(TERMS, VEHICLE, key_epoch=1)))
    assert (book.state, dict(book.book.refused)) == (State.ACTIVE, {})


@pytest.mark.parametrize("master_keys", [{}, {1: bytes(32)}, {2: MASTER}])
def test_no_plan_is_given_under_other_master_keys(master_keys: dict[int, bytes]) -> None:
    """Every pseudonym would be another one: not only when a lane begins, also when keys change while it runs."""
    book = Book()
    other = PlanBook(scope=SCOPE, trust={}, master_keys=master_keys, limits=DEFAULT_LIMITS, alarm=lambda _: None)
    other._keys, other._known = other._keys._replace(trust=book.book._keys.trust), book.book._known
    other.compile()
    with pytest.raises(HubError, match="HUB-KEY-002"):
        other.plan(VEHICLES)
    assert other.key_fault is not None
    assert book.book.key_fault is None


def test_bodies_of_level_1_are_written_as_before_there_were_levels() -> None:
    """Workers of an older hub read them; a higher level they refuse, as they must."""
    assert "level" not in members(agreement())
    assert members(agreement(level=2))["level"] == 2
    assert decode_body(Kind.AGREEMENT, json.dumps(members(SUSPENDED) | {"level": 1})) == SUSPENDED


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ('{"level": 3, "dataset": "a/b", "new": {}}', Head(3, frozenset({"a/b"}))),
        ('{"terms": {"dataset": "a/b"}, "dataset": "c/d"}', Head(1, frozenset({"a/b", "c/d"}))),
        ('{"level": true}', Head(None, frozenset())),
        ('{"level": "2", "dataset": "a/b"}', Head(None, frozenset({"a/b"}))),
        ("[" * 100_000, Head(None, frozenset())),
    ],
)
def test_a_head_is_read_as_far_as_it_goes(text: str, head: Head) -> None:
    """Whatever else stands in the body."""
    assert read_head(text) == head


def test_what_the_tests_sign_is_what_the_hub_reads() -> None:
    """Else every refusal above would be for another reason."""
    entry = sign_entry(PlanEntry(Kind.KEYS, "1", 1, SCOPE, "{}", "", b""), UNKNOWN)
    assert decode_plan_entry(encode_plan_entry(entry)) == entry
