"""The checker of the fault tests: what stands in Kafka, reckoned again by somebody who knows none of the hub's code.

    python tests/faults/checker.py manifest.json

Reads every topic by librdkafka (read_committed), works out from the source topics what each agreement must have received, and
prints one JSON object: ``lost``, ``duplicated``, ``reordered``, ``unauthorised``, ``unmetered``, ``chain_breaks`` (each must be 0),
``records``, ``quarantined``, ``steps``, ``workers``, ``months`` of account, ``bill_fen`` by agreement. What it found wrong goes to
stderr, counts and offsets only. Exits 5 when a figure that must be 0 is not. Needs confluent-kafka and fastavro; imports
nothing of the hub's.

Theory of operation. Plan, usage, quarantine and committed offsets are small and read by this process. Source and share topics are
not: each partition of a dataset is checked apart, by one of two processes, its source first, then its share topics, as they stream by.
"""

import contextlib
import json
import multiprocessing
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import fastavro
from chain import Chain
from due import MUST_BE_ZERO, Comparison, Due, Report, SourceRows, Terms, check_rows, count_in
from foreign import Kafka, Read, Value, decode
from rows import MAKERS, schema

EXIT_INTEGRITY: Final = 5
PROCESSES: Final = 2
MICRO: Final = 1_000_000
PLAN_ENTRY, USAGE_STEP, QUARANTINED = 2_000_000_001, 2_000_000_002, 2_000_000_003
SCHEMAS: Final = Path(__file__).resolve().parents[2] / "avro_schemas" / "hub"
FIELDS: Final = sorted(field["name"] for field in schema("Passage")["fields"])
UNREADABLE: Final = (ValueError, KeyError, EOFError, IndexError)
Place: TypeAlias = tuple[str, int]
"""A partition of a source topic."""


class Side(NamedTuple):
    """What the first process has read about one partition before its records are looked at."""

    place: Place
    chain: Chain | None
    quarantined: Counter[tuple[str, int]]
    """Agreement and source offset."""
    below: int | None
    """Only source records below this offset count; None: all."""


class Found(NamedTuple):
    """What checking one partition came to; ``rows`` is None where not all of it counts."""

    place: Place
    figures: Counter[str]
    rows: SourceRows | None
    records: int
    delivered: dict[str, int]


class Partition:
    """One partition of a dataset: its source, what is due of it, and what was delivered, quarantined and metered."""

    def __init__(self, side: Side, *, told: Mapping[str, Any], manifest: Mapping[str, Any], schemas: Mapping[int, Any]) -> None:
        """``told`` is what the manifest says of the dataset."""
        self._side, self._schemas = side, schemas
        self._place = f"{side.place[0]}-{side.place[1]}"
        self._report = Report()
        self._terms = read_terms(told, manifest)
        self._due = {terms.id: Due() for terms in self._terms}
        self._offsets = Due().offsets
        self._rows = SourceRows(told, make=MAKERS[told["rows"]], seed=manifest["seed"], report=self._report)

    def check(self, kafka: Kafka) -> Found:
        """Read everything of the partition and return what was found."""
        self._read_source(kafka)
        delivered = {terms.id: self._check_delivery(terms, kafka) for terms in self._terms}
        self._check_quarantine()
        if self._side.chain is None:
            self._report.wrong("unmetered", f"{self._place} has no chain", times=len(self._offsets))
        else:
            check_steps(self._side.chain, self._offsets, self._due, self._report)
        rows = self._rows if self._side.below is None else None
        return Found(self._side.place, self._report.figures, rows, len(self._offsets), delivered)

    def _read_source(self, kafka: Kafka) -> None:
        topic, number = self._side.place
        with contextlib.closing(kafka.stream(topic, [number])) as records:
            for _, record in records:
                if self._side.below is not None and record.offset >= self._side.below:
                    break
                try:
                    value = decode(record.value, self._schemas)
                except UNREADABLE:
                    value = {}
                if sorted(value) != FIELDS:
                    self._report.wrong("lost", f"{self._place} offset {record.offset} is no row")
                    continue
                self._offsets.append(record.offset)
                if self._side.below is None:
                    self._rows.take(self._place, value)
                for terms in self._terms:
                    if not terms.ended(number, record.offset):
                        self._due[terms.id].add(record.offset, value, terms)

    def _check_delivery(self, terms: Terms, kafka: Kafka) -> int:
        """Hold what was delivered under one agreement against what is due, and against what was metered; returns its records."""
        place = f"{terms.topic}-{self._side.place[1]}"
        comparison = Comparison(place, self._due[terms.id], self._report)
        there = size = 0
        for _, record in kafka.stream(terms.topic, [self._side.place[1]]):
            there += 1
            size += len(record.key or b"") + len(record.value or b"")
            if record.key is not None or record.headers:
                self._report.wrong("unauthorised", f"{place} offset {record.offset} has a key or headers")
            try:
                value = decode(record.value, self._schemas)
            except UNREADABLE as error:
                self._report.wrong("unauthorised", f"{place} offset {record.offset}: {type(error).__name__}")
                continue
            comparison.take(value)
        comparison.end()
        steps = self._side.chain.steps if self._side.chain is not None else []
        entries = [entry for step in steps for entry in step["entries"] if entry["agreement_id"] == terms.id]
        metered = sum(entry["delivered"] for entry in entries)
        self._report.wrong("unmetered", f"{place}: {metered} metered, {there} delivered", times=abs(metered - there))
        if metered == there and size != sum(entry["bytes_delivered"] for entry in entries):
            self._report.wrong("unmetered", f"{place}: bytes delivered are not those metered")
        return there

    def _check_quarantine(self) -> None:
        due = Counter((terms_id, offset) for terms_id, due in self._due.items() for offset in due.quarantined)
        got = self._side.quarantined
        self._report.wrong("lost", f"{self._place}: records missing in quarantine", times=sum((due - got).values()))
        self._report.wrong("duplicated", f"{self._place}: records too many in quarantine", times=sum((got - due).values()))


def check_steps(chain: Chain, offsets: Any, due: Mapping[str, Due], report: Report) -> None:
    """Hold every step's counts against what its offsets hold."""
    for step in chain.steps:
        span = range(step["first_offset"], step["next_offset"])
        place = f"{chain.place} step {step['step']}"
        records = count_in(offsets, span)
        if records != step["records"] or step["lost"]:
            report.wrong("unmetered", f"{place}: {step['records']} records metered, {records} there, {step['lost']} lost")
        entries = {entry["agreement_id"]: entry for entry in step["entries"]}
        for agreement_id, of_agreement in due.items():
            entry = entries.get(agreement_id, Counter())
            for name, due_offsets in (("delivered", of_agreement.offsets), ("quarantined", of_agreement.quarantined)):
                count = count_in(due_offsets, span)
                report.wrong("unmetered", f"{place} {agreement_id}: {entry[name]} {name}, due {count}", times=abs(entry[name] - count))


def read_terms(told: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Terms]:
    """Return the agreements on a dataset."""
    master = Path(manifest["master_key"]).read_bytes()
    return [Terms(one, scope=manifest["scope"], master=master, epoch=manifest["key_epoch"]) for one in told["agreements"]]


def check_partitions(manifest: Mapping[str, Any], written: Mapping[int, str], sides: Sequence[Side]) -> list[Found]:
    """Check partitions one after the other; what a process of its own does. ``written``: schemas by id."""
    schemas = {number: fastavro.parse_schema(json.loads(text)) for number, text in written.items()}
    datasets = {told["topic"]: told for told in manifest["datasets"]}
    with Kafka(manifest["bootstrap"]) as kafka:
        return [Partition(side, told=datasets[side.place[0]], manifest=manifest, schemas=schemas).check(kafka) for side in sides]


class Checker:
    """Everything that a manifest names."""

    def __init__(self, manifest: Mapping[str, Any], kafka: Kafka) -> None:
        """Nothing is read yet."""
        self._told = manifest
        self._kafka = kafka
        self._datasets: Mapping[str, Any] = {told["topic"]: told for told in manifest["datasets"]}
        self._report = Report()
        self._hub_schemas = {number: fastavro.parse_schema(json.loads(path.read_text("utf-8"))) for number, path in _hub_schemas()}

    def run(self) -> dict[str, Any]:
        """Return the figures."""
        began = time.monotonic()
        ends = {(topic, number): end for topic in self._datasets for number, end in self._kafka.ends(topic).items()}
        chains, quarantined = self._read_chains(), self._read_quarantine()
        set_aside = sum(sum(found.values()) for found in quarantined.values())
        self._check_positions(chains, ends)
        self._check_strangers()
        sides = [Side(place, chains.get(place), quarantined.pop(place, Counter()), self._below(place)) for place in ends]
        self._report.wrong("duplicated", "quarantined records of nowhere", times=sum(sum(found.values()) for found in quarantined.values()))
        read_by = time.monotonic()
        found = self._check_apart(sorted(sides, key=lambda side: -ends[side.place]))
        told = f"{read_by - began:.1f} s for plan, usage, quarantine and positions, {time.monotonic() - read_by:.1f} s for the records"
        print(f"checker: {told}", file=sys.stderr)
        for topic in self._datasets if self._told["complete"] else ():
            check_rows((one.rows for one in found if one.place[0] == topic and one.rows is not None), report=self._report)
        for one in found:
            self._report.figures.update(one.figures)
        delivered: Counter[str] = Counter()
        for one in found:
            delivered.update(one.delivered)
        steps = [step for chain in chains.values() for step in chain.steps]
        return {
            "records": sum(one.records for one in found),
            "steps": len(steps),
            "workers": len({step["worker_id"] for step in steps}),
            "delivered": dict(delivered),
            "quarantined": set_aside,
            **{name: self._report.figures[name] for name in MUST_BE_ZERO},
            "months": sorted({month for chain in chains.values() for month in chain.months}),
            "bill_fen": {terms.id: bill(terms, chains) for told in self._datasets.values() for terms in read_terms(told, self._told)},
        }

    def _check_apart(self, sides: Sequence[Side]) -> list[Found]:
        """Check every partition, shared out to the processes."""
        written = self._read_schemas()
        with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
            shares = [pool.submit(check_partitions, self._told, written, sides[at::PROCESSES]) for at in range(PROCESSES)]
            return [found for share in shares for found in share.result()]

    def _read_schemas(self) -> dict[int, str]:
        found = {}
        for _, record in self._kafka.stream(self._told["plan_topic"]):
            entry = self._decode(record, PLAN_ENTRY)
            if entry["kind"] == "schema":
                body = json.loads(entry["body"])
                found[int(body["schema_id"])] = body["schema"]
        return found

    def _decode(self, record: Read, schema_id: int) -> Value:
        return decode(record.value, {schema_id: self._hub_schemas[schema_id]})

    def _check_strangers(self) -> None:
        """Nothing may stand in a share topic of an agreement that nobody signed, nor in a partition that the source has not."""
        mine = {terms.topic: topic for topic, told in self._datasets.items() for terms in read_terms(told, self._told)}
        for topic in self._kafka.topics():
            if topic.startswith(f"{self._told['prefix']}share."):
                known = self._kafka.ends(mine[topic]) if topic in mine else {}
                strange = [number for number in self._kafka.ends(topic) if number not in known]
                found = sum(1 for _ in self._kafka.stream(topic, strange)) if strange else 0
                self._report.wrong("unauthorised", f"{topic}: nobody signed its agreement", times=found)

    def _read_quarantine(self) -> dict[Place, Counter[tuple[str, int]]]:
        found: dict[Place, Counter[tuple[str, int]]] = defaultdict(Counter)
        for topic, told in self._datasets.items():
            for _, record in self._kafka.stream(told["quarantine_topic"]):
                value = self._decode(record, QUARANTINED)
                found[topic, value["source_partition"]][value["agreement_id"], value["first_offset"]] += 1
        return found

    def _read_chains(self) -> dict[Place, Chain]:
        chains: dict[Place, Chain] = {}
        for _, record in self._kafka.stream(self._told["usage_topic"]):
            step = self._decode(record, USAGE_STEP)
            topic, number = step["source_topic"], step["source_partition"]
            if topic not in self._datasets or step["pass"] != "live":  # noqa: S105 - a pass over a topic
                self._report.wrong("chain_breaks", f"a step of {topic}, pass {step['pass']}")
                continue
            if (topic, number) not in chains:
                chains[topic, number] = Chain(f"{topic}-{number}", str(step["source_topic_id"]))
            chains[topic, number].follow(step, record, self._report)
        return chains

    def _check_positions(self, chains: Mapping[Place, Chain], ends: Mapping[Place, int]) -> None:
        self._positions = self._kafka.committed(self._told["group"])
        for place, chain in chains.items():
            offset, metadata = self._positions[place]
            end = ends.get(place) if self._told["complete"] else None
            chain.check_position(offset, metadata, end=end, report=self._report)

    def _below(self, place: Place) -> int | None:
        return None if self._told["complete"] else self._positions[place][0]


def _hub_schemas() -> Iterable[tuple[int, Path]]:
    return (
        (PLAN_ENTRY, SCHEMAS / "plan-entry/v1.avsc"),
        (USAGE_STEP, SCHEMAS / "usage-step/v1.avsc"),
        (QUARANTINED, SCHEMAS / "quarantined/v1.avsc"),
    )


def bill(terms: Terms, chains: Mapping[Place, Chain]) -> int:
    """Return what the metered deliveries of an agreement cost, rounded once a month and price."""
    months: Counter[tuple[str, int]] = Counter()
    for chain in chains.values():
        for step, month in zip(chain.steps, chain.months, strict=True):
            for entry in step["entries"]:
                if entry["agreement_id"] == terms.id:
                    months[month, terms.price_of(entry["agreement_version"])] += entry["delivered"]
    return sum(_to_fen(count * price) for (_, price), count in months.items())


def _to_fen(micro_fen: int) -> int:
    """Round half to even."""
    whole, rest = divmod(micro_fen, MICRO)
    return whole + (2 * rest > MICRO or (2 * rest == MICRO and whole % 2 == 1))


def main() -> int:
    """Print the figures of the manifest named on the command line."""
    manifest = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    with Kafka(manifest["bootstrap"]) as kafka:
        report = Checker(manifest, kafka).run()
    print(json.dumps(report))
    return EXIT_INTEGRITY if any(report[name] for name in MUST_BE_ZERO) else 0


if __name__ == "__main__":
    raise SystemExit(main())
