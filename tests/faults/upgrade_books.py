"""What an upgrade may not change, and what its controls change: bills, acts, entries of hub.plan, the version of the store."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from crew import Failure
from stage import Stage, Terms

from hub.broker.admin import Admin

STORE: Final = "hub.sqlite3"
PROOF: Final = "ch-hub-proof"
ANSWER_S: Final = 20.0
POSTED_WITHIN_S: Final = 180.0
CONSUME_S: Final = 1.0
GROUP: Final = "upgrade-checker"


def store_version(here: Stage) -> int:
    """Return the version that the database of the state folder notes."""
    with sqlite3.connect(f"file:{here.folder / STORE}?mode=ro", uri=True) as store:
        return int(store.execute("SELECT version FROM store_version WHERE part = 'hub'").fetchone()[0])


def bills(here: Stage, consumers: Sequence[str], months: Sequence[str], *, state: Path | None = None) -> dict[str, str]:
    """Return the bills of consumers, as the bytes that are compared, by consumer and month; of a copied ``state`` where one is told."""
    found = {}
    for consumer in consumers:
        for month in months:
            words = ("bill", "preview", "--consumer", consumer, "--period", month)
            code, told = here.call(*words, **({"CITYHUB_STATE": str(state)} if state is not None else {}))
            if code != 0:
                raise Failure(f"`cityhub bill preview` of {consumer} ended with {code}")
            found[f"{consumer} {month}"] = json.dumps(told["bill"], ensure_ascii=False, sort_keys=True)
    return found


def backup(here: Stage, name: str) -> Path:
    """Copy keys and database of the state folder into one beside it, and return the copy."""
    copy = here.folder / name
    shutil.copytree(here.folder / "keys", copy / "keys")
    with sqlite3.connect(here.folder / STORE) as store, sqlite3.connect(copy / STORE) as kept:
        store.backup(kept)
    (copy / STORE).chmod(0o600)
    copy.chmod(0o700)
    return copy


def acts(here: Stage) -> list[dict[str, str]]:
    """Return what stands in the record of acts."""
    with sqlite3.connect(f"file:{here.folder / STORE}?mode=ro", uri=True) as store:
        store.row_factory = sqlite3.Row
        return [{key: str(row[key]) for key in row.keys()} for row in store.execute("SELECT * FROM acts ORDER BY seq")]  # noqa: SIM118


def unproven(here: Stage) -> tuple[int, int]:
    """Return how many objects of hub.plan have a newest entry without the hub's proof, and how many objects there are."""
    newest: dict[bytes, bool] = {}
    for key, headers in _records(here, here.names.plan, 0):
        newest[key] = any(name == PROOF for name, _ in headers)
    return sum(not proven for proven in newest.values()), len(newest)


def wait_posted(here: Stage, consumer: str, month: str, **environment: str) -> None:
    """Return when the collector has read hub.usage as far as it reaches now; ``environment``: of a hub with another state folder."""
    with Admin(here.broker.bootstrap, client_id="upgrade") as admin:
        ends = {str(place.partition): end for place, end in admin.end_offsets(_usage(here, admin)).items()}
    deadline = time.monotonic() + POSTED_WITHIN_S
    while time.monotonic() < deadline:
        code, told = here.call("bill", "preview", "--consumer", consumer, "--period", month, **environment)
        if code == 0 and all(told["usage_read_to"].get(number, 0) >= end for number, end in ends.items()):
            return
    raise Failure("the collector does not come to the end of hub.usage")


# -- controls: what is broken after the play, and must be found --------------------------------------------------------


def double(here: Stage, terms: Terms) -> None:
    """Append a record of a share topic once more, as an exchange would that lost its position."""
    topic = here.names.share(consumer=terms.consumer, agreement=terms.id)
    consumer = Consumer({"bootstrap.servers": here.broker.bootstrap, "group.id": GROUP, "isolation.level": "read_committed"})
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        found = next(message for message in iter(lambda: consumer.poll(ANSWER_S), None) if message.error() is None)
    finally:
        consumer.close()
    producer = Producer({"bootstrap.servers": here.broker.bootstrap})
    producer.produce(topic, found.value(), partition=0)
    producer.flush(ANSWER_S)


def drop(here: Stage, terms: Terms) -> None:
    """Delete the first record of a share topic, as if it had not been delivered."""
    topic = here.names.share(consumer=terms.consumer, agreement=terms.id)
    admin = AdminClient({"bootstrap.servers": here.broker.bootstrap})
    for done in admin.delete_records([TopicPartition(topic, 0, 1)]).values():
        done.result(ANSWER_S)


def bill(here: Stage, terms: Terms) -> None:
    """Bill one record of an agreement's history twice."""
    with sqlite3.connect(here.folder / STORE) as store:
        changed = store.execute(
            "UPDATE usage_hour SET delivered = delivered + 1000, offsets = offsets + 1000 WHERE rowid ="
            " (SELECT rowid FROM usage_hour WHERE agreement_id = ? AND delivered > 0 LIMIT 1)",
            (terms.id,),
        ).rowcount
    if changed != 1:
        raise Failure(f"the ledger has no row of {terms.id}")


CONTROLS: Final[Mapping[str, Callable[[Stage, Terms], None]]] = {"double": double, "drop": drop, "bill": bill}


def _usage(here: Stage, admin: Admin) -> list[Any]:
    from hub.model.names import TopicPartition as Place  # noqa: PLC0415 - the name is librdkafka's here

    return [Place(here.names.usage, number) for number in range(admin.partitions(here.names.usage))]


def _records(here: Stage, topic: str, number: int) -> list[tuple[bytes, list[tuple[str, bytes]]]]:
    """Return key and headers of every committed record of a partition."""
    consumer = Consumer({"bootstrap.servers": here.broker.bootstrap, "group.id": GROUP, "enable.partition.eof": True})
    found: list[tuple[bytes, list[tuple[str, bytes]]]] = []
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise Failure(f"{topic} could not be read")
            if message.error() is not None:
                return found
            found.append((message.key() or b"", message.headers() or []))
    finally:
        consumer.close()
