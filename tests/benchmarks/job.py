"""The job that every contender does: the records, and what each of N consumers may have of them.

A traffic observation has 14 fields. Of each record an agreement grants six, to those rows whose district is one of ten (of twenty)
and whose age is 18 or more, which 41 % are. The citizen's id becomes a pseudonym, the name is masked, the time is cut to the
day, the record key is kept.
"""

import dataclasses
import json
import random
from collections.abc import Mapping
from typing import Any, Final, Protocol

import yaml

SEED: Final = 20_261_124
PROVIDER: Final = "traffic"
PURPOSE: Final = "planning"
PARTITIONS: Final = 16
AGREEMENTS_MAX: Final = 50
AGE_MIN: Final = 18
KEEP_FIRST: Final = 3
KEEP_LAST: Final = 2
DISTRICTS_GRANTED: Final = 10
DISTRICTS: Final = (
    "Shangcheng",
    "Gongshu",
    "West Lake",
    "Binjiang",
    "Xiaoshan",
    "Yuhang",
    "Linping",
    "Qiantang",
    "Fuyang",
    "Lin'an",
    "Tonglu County",
    "Chun'an County",
    "Jiande",
    "Deqing County",
    "Anji County",
    "Haining",
    "Tongxiang",
    "Zhuji",
    "Kēqiáo",
    "上虞区",
)
VEHICLES: Final = ("CAR", "TRUCK", "BIKE", "BUS", "MOTOR", "OTHER")
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "record",
    "name": "TrafficObservation",
    "namespace": "dept.traffic",
    "doc": "One passage of one person's vehicle at one sensor.",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "citizen_id", "type": "string", "grade": "L3", "personal": True, "identifier": "x-citizen"},
        {"name": "full_name", "type": "string", "grade": "L3", "personal": True},
        {"name": "email", "type": ["null", "string"], "default": None, "grade": "L3", "personal": True},
        {"name": "phone", "type": ["null", "string"], "default": None, "grade": "L3", "personal": True, "identifier": "phone"},
        {"name": "age", "type": "int", "grade": "L2"},
        {"name": "district", "type": "string"},
        {"name": "sensor_id", "type": "string", "identifier": "x-sensor"},
        {"name": "vehicle", "type": {"type": "enum", "name": "Vehicle", "symbols": list(VEHICLES)}},
        {"name": "plate", "type": ["null", "string"], "default": None, "grade": "L3", "identifier": "plate"},
        {"name": "speed_kmh", "type": ["null", "double"], "default": None},
        {"name": "toll_cents", "type": "long"},
        {"name": "observed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "position",
            "type": {
                "type": "record",
                "name": "Position",
                "fields": [
                    {"name": "lat", "type": "double"},
                    {"name": "lon", "type": "double"},
                    {"name": "heading", "type": ["null", "int"], "default": None},
                ],
            },
        },
    ],
}
FIELDS_OF_THE_JOB: Final = ("citizen_id", "full_name", "age", "district", "vehicle", "speed_kmh", "observed_at")
"""What the job looks at: the narrowest record that it can be done on."""
GRANTED: Final = ("citizen_id", "full_name", "district", "vehicle", "speed_kmh", "observed_at")
KEY_IDENTIFIER: Final = "x-sensor"


class Row(Protocol):
    """What a rule of the job looks at."""

    @property
    def age(self) -> int:
        """Years."""

    @property
    def district(self) -> str:
        """Where it was seen."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """What one consumer may have: told once for the hub, for the peers and for the oracle."""

    number: int
    districts: tuple[str, ...]

    @property
    def id(self) -> str:
        """Id of the agreement; the hub's plan is in the order of ids."""
        return f"observations-{self.number:02}"

    @property
    def consumer(self) -> str:
        """Who receives."""
        return f"consumer-{self.number:02}"

    def admits(self, one: Row) -> bool:
        """Tell whether a row may cross."""
        return one.age >= AGE_MIN and one.district in self.districts

    def file(self, dataset: str) -> str:
        """Return the agreement file."""
        return agreement_file(
            self,
            dataset,
            key="keep",
            rows={"all": [{"field": "district", "isAnyOf": list(self.districts)}, {"field": "age", "gteq": AGE_MIN}]},
            fields=[
                {"name": "citizen_id", "pseudonym": {}},
                {"name": "full_name", "mask": {"keep_first": KEEP_FIRST, "keep_last": KEEP_LAST}},
                "district",
                "vehicle",
                "speed_kmh",
                {"name": "observed_at", "truncate": {"to": "day"}},
            ],
        )


def terms(count: int) -> tuple[Terms, ...]:
    """Return the first ``count`` agreements of the job."""
    dice = random.Random(SEED)
    every = [Terms(number, tuple(sorted(dice.sample(DISTRICTS, DISTRICTS_GRANTED)))) for number in range(AGREEMENTS_MAX)]
    return tuple(every[:count])


def dataset(codec: str, *, size: str = "") -> str:
    """Return the dataset whose source topic is compressed by ``codec``: each is a topic of its own."""
    return f"{PROVIDER}/observations{size}" + ("" if codec == "none" else f"-{codec}")


def dataset_entry(name: str, *, partitions: int = PARTITIONS) -> str:
    """Return the dataset's entry file."""
    entry = {
        "apiVersion": "cityhub/v1",
        "kind": "Dataset",
        "dataset": name,
        "title": "卡口观测",
        "accountable_person": "chen-jing",
        "sharing": "conditional",
        "condition": "benchmark",
        "schema": f"{name}/v1.avsc",
        "key_identifier": KEY_IDENTIFIER,
        "partitions": partitions,
    }
    return yaml.safe_dump(entry, allow_unicode=True, sort_keys=False)


def agreement_file(who: Terms, name: str, *, key: str, rows: Mapping[str, Any] | None, fields: list[Any]) -> str:
    """Return an agreement file of ``who`` on dataset ``name``."""
    told: dict[str, Any] = {
        "apiVersion": "cityhub/v1",
        "kind": "Agreement",
        "id": who.id,
        "provider": PROVIDER,
        "consumer": who.consumer,
        "dataset": name,
        "purpose": PURPOSE,
        "legal_basis": "benchmark",
        "valid_until": "2049-12-31",
        "tariff": "per-record@1",
        "key": key,
        "fields": fields,
    }
    if rows is not None:
        told["rows"] = dict(rows)
    return yaml.safe_dump(told, allow_unicode=True, sort_keys=False)


def narrow_schema() -> dict[str, Any]:
    """Return a writer schema that has only what the job looks at."""
    return {**SCHEMA, "fields": [field for field in SCHEMA["fields"] if field["name"] in FIELDS_OF_THE_JOB]}


def wide_schema() -> dict[str, Any]:
    """Return the writer schema with one more field, which nobody is granted."""
    return {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "remarks", "type": "string"}]}


def schema_text(schema: Mapping[str, Any] = SCHEMA) -> str:
    """Return a writer schema as it is registered."""
    return json.dumps(schema, ensure_ascii=False)
