"""What this hub appended to hub.plan and a worker cannot obey stops the dataset: no record more under the older right."""

import json
import shutil
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from town import EPOCH, FLIGHT, Town, encode, flight, terms, wait_until

from hub.broker.batches import build_batches
from hub.exchange.status import lane_statuses, told_by_workers
from hub.model.entry import AgreementBody, Kind, encode_body
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.model.plan_proof import HEADER, plan_proof
from hub.model.records import PlanEntry, encode_plan_entry
from hub.model.signing import key_id_of, sign_entry
from hub.store.keys import create_keys, load_master_keys, load_officer_key

pytestmark = pytest.mark.broker
DATASET = "transport/flights"
FRESH = {"CITYHUB_EXCHANGE__METRICS_PORT": "0"}


class Street:
    """A dataset of one partition with two agreements, and what is appended to hub.plan about the first."""

    def __init__(self, town: Town) -> None:
        """Publish, agree, send ten records."""
        self.town = town
        self.schema_id = town.schema(DATASET, FLIGHT)
        self.topic = town.publish(DATASET, partitions=1)
        self.body: AgreementBody = town.agree(terms("all"), partitions=1)
        self.send(range(10))

    def send(self, numbers: range) -> None:
        """Produce records."""
        self.town.produce(self.topic, [(0, None, encode(self.schema_id, FLIGHT, flight(number))) for number in numbers])

    def append(self, text: str, *, key: Ed25519PrivateKey | None = None, proof: bool = False, revision: int = 2) -> None:
        """Append a revision of the agreement's entry, signed with ``key`` or the officer's, with the hub's proof where said."""
        folder = self.town.folder / "keys"
        bare = PlanEntry(Kind.AGREEMENT, "all", revision, self.town.names.scope, text, "", b"")
        value = encode_plan_entry(sign_entry(bare, key or load_officer_key(folder)))
        headers = []
        if proof:
            master = load_master_keys(folder)[EPOCH]
            made = plan_proof(master, scope=self.town.names.scope, epoch=EPOCH, key=b"agreement/all", value=value)
            headers = [(HEADER, made)]
        row = (b"agreement/all", value, headers) if headers else (b"agreement/all", value)
        (batch,) = build_batches([row], bytes_max=900_000, timestamp_ms=0)
        self.town.gate.append(self.town.names.plan, 0, batch.data)

    def suspended(self) -> str:
        """Return the body of the suspended agreement."""
        return encode_body(msgspec.structs.replace(self.body, state=State.SUSPENDED))

    def delivered(self) -> int:
        """Return how many records the consumer has."""
        return len(self.town.shared("all", partitions=1))

    def offset(self) -> int:
        """Return where the lane stands."""
        return self.town.positions(self.topic, partitions=1)[0][0]

    def fence(self) -> None:
        """Fence the lane, as a withdrawal does."""
        self.town.gate.fence([TopicPartition(self.topic, 0)], names=self.town.names)


def ready(town: Town) -> str:
    """Return what /readyz?verbose of the last worker says."""
    line = next(line for line in town.log().splitlines() if "health and metrics" in line)
    url = f"http://127.0.0.1:{json.loads(line)['port']}/readyz?verbose"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        return error.read().decode()


def test_a_suspension_of_a_newer_hub_is_not_passed_over(town: Town) -> None:
    """Serve is updated before its workers: what they cannot read may end a right, so that they stop and say so."""
    street = Street(town)
    with town.worker(**FRESH):
        town.wait_done(street.topic, partitions=1)
        street.append(json.dumps(json.loads(street.suspended()) | {"level": 2, "quota": 3}))
        street.fence()
        street.send(range(10, 20))
        wait_until(lambda: "lane stopped" in town.log() and "HUB-PLAN-004" in ready(town), within_s=30, what=town.log)
        assert (street.delivered(), street.offset()) == (10, 10)
        assert "[-]datasets 1 stand still: " in ready(town)
        street.append(street.suspended(), revision=3)
        town.wait_done(street.topic, partitions=1)
        wait_until(lambda: ready(town).endswith("\nready\n"), within_s=10, what=lambda: ready(town))
    assert street.delivered() == 10


def test_a_suspension_signed_with_a_key_that_workers_were_not_given_stops_the_dataset_until_they_trust_it(town: Town) -> None:
    """The officer's key was lost and made anew: the lanes stand, and go on by themselves once trust.keys has the new one."""
    street = Street(town)
    other = town.folder / "other"
    create_keys(other, epoch=EPOCH, comment="anew")
    key = load_officer_key(other)
    with town.worker(**FRESH):
        town.wait_done(street.topic, partitions=1)
        street.append(street.suspended(), key=key, proof=True)
        street.fence()
        street.send(range(10, 20))
        wait_until(lambda: "lane stopped" in town.log() and "HUB-KEY-004" in ready(town), within_s=30, what=town.log)
        assert (street.delivered(), street.offset()) == (10, 10)
        with (town.folder / "keys" / "trust.keys").open("a", encoding="utf-8") as out:
            out.write((other / "trust.keys").read_text(encoding="utf-8"))
        town.wait_done(street.topic, partitions=1)
        wait_until(lambda: ready(town).endswith("\nready\n"), within_s=10, what=lambda: ready(town))
    assert street.delivered() == 10
    assert key_id_of(key.public_key()) in (town.folder / "keys" / "trust.keys").read_text(encoding="utf-8")


def test_a_stranger_who_writes_a_suspension_stops_nobody(town: Town) -> None:
    """Without a proof of the hub anybody could have written it: the same entry as above, and deliveries go on."""
    street = Street(town)
    with town.worker(**FRESH):
        street.append(street.suspended(), key=Ed25519PrivateKey.generate())
        street.append("nonsense", key=Ed25519PrivateKey.generate(), revision=9)
        street.fence()
        street.send(range(10, 20))
        town.wait_done(street.topic, partitions=1)
        assert town.log().count("HUB-KEY-004") >= 2
    assert street.delivered() == 20


def test_a_worker_with_a_wrong_master_key_takes_lanes_by_itself_once_it_is_restored(town: Town) -> None:
    """Nobody has to find the process and end it."""
    street = Street(town)
    file, kept = town.folder / "keys" / f"master-{EPOCH}.key", town.folder / "kept.key"
    shutil.copy2(file, kept)
    file.write_bytes(bytes(32))
    with town.worker(**FRESH):
        wait_until(lambda: "worker takes no lane" in town.log() and "HUB-KEY-002" in ready(town), within_s=30, what=town.log)
        assert street.offset() == 0
        _put(kept, file)
        town.wait_done(street.topic, partitions=1)
        _put(kept.with_name("absent"), file, content=bytes(32))
        wait_until(lambda: "[-]keys HUB-KEY-002" in ready(town), within_s=10, what=lambda: ready(town))
        street.send(range(10, 20))
        wait_until(lambda: "lane stopped" in town.log(), within_s=30, what=town.log)
        assert street.offset() == 10
        _put(kept, file)
        town.wait_done(street.topic, partitions=1)
    assert street.delivered() == 20


def told(town: Town, street: Street) -> tuple[str | None, bool]:
    """Return what `exchange status` names the lane with, and whether that lane goes on."""
    (row,) = told_by_workers(lane_statuses(town.admin, names=town.names, topics=[street.topic]), admin=town.admin, names=town.names)
    return row.code, row.goes_on


def _put(source: Path, file: Path, *, content: bytes | None = None) -> None:
    """Put a key in place as an officer does: a new file of mode 0600 under the same name."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(source.read_bytes() if content is None else content)
    draft.chmod(0o600)
    draft.replace(file)


def test_an_agreement_that_a_worker_cannot_compile_costs_itself_and_no_other(town: Town) -> None:
    """Its output schema is not what its terms give here, as where serve and worker are of different versions."""
    street = Street(town)
    other = town.agree(terms("other"), partitions=1)
    broken = msgspec.structs.replace(other, output_schema_ids={str(street.schema_id): street.schema_id})
    town.append([town.entry(Kind.AGREEMENT, "other", broken)])
    with town.worker(**FRESH):
        town.wait_done(street.topic, partitions=1)
        assert "[-]agreements 1 are denied: other: HUB-AGREE-005" in ready(town)
        wait_until(lambda: told(town, street) == ("HUB-AGREE-005", True), within_s=20)
        (step,) = town.usage()
        assert [(entry.agreement_id, entry.delivered, entry.denied) for entry in step.entries] == [("all", 10, 0), ("other", 0, 10)]
        town.append([town.entry(Kind.AGREEMENT, "other", other)])
        street.send(range(10, 12))
        town.wait_done(street.topic, partitions=1)
        wait_until(lambda: told(town, street) == (None, False), within_s=20)
    assert (street.delivered(), len(town.shared("other", partitions=1))) == (12, 2)
