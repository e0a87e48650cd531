"""A town hall for tests of the control plane: a hub on the shared broker, led in this process, with small schemas and files."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer
from sqlalchemy import select

from hub.agreements.repair import PlanKeeper
from hub.app import Hub
from hub.broker.plan_log import LogEntry, PlanLog
from hub.catalogue.registry import fingerprint
from hub.catalogue.tables import schemas
from hub.model.entry import Kind, decode_body
from hub.model.names import Names
from hub.model.records import PlanEntry, decode_plan_entry
from hub.settings import BrokerSettings, ServeSettings, Settings
from hub.state import initialise
from hub.store.engine import writing
from hub.store.tables import acts

VEHICLE: dict[str, Any] = {
    "type": "record",
    "name": "Vehicle",
    "namespace": "registry",
    "fields": [
        {"name": "plate", "type": "string", "identifier": "plate", "grade": "L2"},
        {"name": "class", "type": "string"},
        {"name": "phone", "type": ["null", "string"], "default": None, "grade": "L3", "personal": True},
    ],
}
DATASET = "vehicle-registry/vehicles"
ENTRY = f"""\
apiVersion: cityhub/v1
kind: Dataset
dataset: {DATASET}
title: 车辆
accountable_person: wang-lei
sharing: conditional
schema: vehicle-registry/vehicle/v1.avsc
partitions: 2
"""
AGREEMENT = """\
apiVersion: cityhub/v1
kind: Agreement
id: parking-vehicles
provider: vehicle-registry
consumer: parking-office
dataset: vehicle-registry/vehicles
purpose: enforcement
legal_basis: "浙政发〔2012〕41号 三(四)"
valid_until: 2050-12-31
tariff: per-record@1
rows: {all: [{field: class, eq: passenger}]}
fields: [plate, {name: phone, mask: {keep_last: 4}}]
"""


def hall_settings(*, bootstrap: str, names: Names, state: Path, port: int = 0) -> Settings:
    """Return settings of a hub of its own on the shared broker."""
    return Settings(
        state=state,
        scope=names.scope,
        topics_prefix=names.prefix,
        broker=BrokerSettings(bootstrap=bootstrap),
        serve=ServeSettings(port=port),
    )


class Hall:
    """A hub that leads in this process."""

    def __init__(self, settings: Settings, *, watch: bool = True, adopt_plan: bool = False) -> None:
        """Make keys and tables, read and repair hub.plan, and watch it unless told not to."""
        initialise(settings)
        self.hub = Hub(settings)
        self.keeper: PlanKeeper = self.hub.take_over(adopt_plan=adopt_plan)
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self.keeper.watch, args=(self._stop,))
        if watch:
            self._watcher.start()

    @property
    def names(self) -> Names:
        """Names of this hub."""
        return self.hub.names

    def open_dataset(self, schema: dict[str, Any] | None = None, entry: str = ENTRY) -> None:
        """Apply and publish a dataset."""
        control, officer = self.hub.control, self.hub.officer
        change = control.datasets.apply(entry, file="d.yaml", schema=json.dumps(schema or VEHICLE), actor=officer)
        control.datasets.publish(change.dataset, actor=officer)

    def open_old_dataset(self) -> str:
        """Open a dataset as it was before identifier kinds were a closed list: ``citizen`` of its key and its plates; return the entry."""
        entry = ENTRY + "key_identifier: x-citizen\n"
        schema = {**VEHICLE, "fields": [{**VEHICLE["fields"][0], "identifier": "citizen"}, *VEHICLE["fields"][1:]]}
        self.open_dataset(VEHICLE, entry)
        with writing(self.hub.engine) as connection:
            row = self.hub.catalogue.require(connection, DATASET)
            self.hub.catalogue.put(connection, msgspec.structs.replace(row.entry, key_identifier="citizen"), at_ms=0)
            connection.execute(schemas.update().values(text=json.dumps(schema), fingerprint=fingerprint(json.dumps(schema))))
        return entry.replace("x-citizen", "citizen")

    def sign(self, text: str = AGREEMENT) -> str:
        """Apply and sign an agreement; return its id."""
        change = self.hub.control.agreements.apply(text, file="a.yaml", actor=self.hub.officer)
        return self.hub.control.agreements.sign(change.id, actor=self.hub.officer).id

    def log(self) -> list[LogEntry]:
        """Return hub.plan as it stands."""
        with PlanLog(self.hub.settings.bootstrap, self.names.plan) as reading:
            return reading.read_all()

    def last(self, key: str) -> tuple[LogEntry, PlanEntry]:
        """Return the last record of a key in hub.plan."""
        at = next(at for at in reversed(self.log()) if at.key == key.encode())
        return at, decode_plan_entry(at.value or b"")

    def body(self, key: str) -> Any:
        """Return the last body of a key in hub.plan."""
        entry = self.last(key)[1]
        return decode_body(Kind(entry.kind), entry.body)

    def intrude(self, key: str, value: bytes | None) -> None:
        """Append a record to hub.plan as a stranger would."""
        producer = KafkaProducer(bootstrap_servers=self.hub.settings.bootstrap, acks="all")
        producer.send(self.names.plan, key=key.encode(), value=value).get(15)
        producer.close()

    def acts(self) -> list[tuple[str, str, str]]:
        """Return (act, object, outcome) of every row, in order."""
        with self.hub.engine.begin() as connection:
            rows = connection.execute(select(acts.c.act, acts.c.object_id, acts.c.outcome).order_by(acts.c.seq))
            return [(row.act, row.object_id, row.outcome) for row in rows]

    def close(self) -> None:
        """End the watch and close the hub."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join(timeout=15)
        self.hub.close()


def until(condition: Any, *, within_s: float = 20) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)
