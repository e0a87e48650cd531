"""The checker of the fault tests: what stands in Kafka, reckoned again by somebody who knows none of the hub's code.

    python tests/faults/checker.py manifest.json

Reads every topic by librdkafka (read_committed), works out from the source topic what each agreement must have received, and
prints one JSON object: ``lost``, ``duplicated``, ``reordered``, ``unauthorised``, ``unmetered``, ``chain_breaks`` (each must be 0),
``records``, ``steps``, ``workers``, ``months`` of account, ``bill_fen`` by agreement. What it found wrong goes to stderr, counts and
offsets only. Exits 5 when a figure that must be 0 is not. Needs confluent-kafka and fastavro; imports nothing of the hub's.
"""

import base64
import bisect
import hashlib
import hmac
import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro
from foreign import OFFSETS_TOPIC, Kafka, Read, Value, decode
from rows import SCHEMA, row

EXIT_INTEGRITY: Final = 5
FINDINGS_MAX: Final = 40
MICRO: Final = 1_000_000
SHANGHAI: Final = timezone(timedelta(hours=8))
PLAN_ENTRY, USAGE_STEP, QUARANTINED = 2_000_000_001, 2_000_000_002, 2_000_000_003
MUST_BE_ZERO: Final = ("lost", "duplicated", "reordered", "unauthorised", "unmetered", "chain_breaks")
SCHEMAS: Final = Path(__file__).resolve().parents[2] / "avro_schemas" / "hub"


class Expected(NamedTuple):
    """What an agreement must receive of one partition, in order, and which source offsets must be quarantined for it."""

    offsets: list[int]
    records: list[Value]
    quarantined: list[int]


class Report:
    """The figures, and the first things that were found wrong."""

    def __init__(self) -> None:
        """Begin with nothing wrong."""
        self.figures: Counter[str] = Counter(dict.fromkeys(MUST_BE_ZERO, 0))
        self._told = 0

    def wrong(self, figure: str, what: str, *, times: int = 1) -> None:
        """Count a finding and say what it is, the first few times."""
        if times <= 0:
            return
        self.figures[figure] += times
        self._told += 1
        if self._told <= FINDINGS_MAX:
            print(f"checker: {figure} {times}: {what}", file=sys.stderr)


# -- what must have been delivered -----------------------------------------------------------------------------------------


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return HKDF-SHA-256 of 32 bytes without salt (RFC 5869)."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), info + b"\x01", "sha256")


class Terms:
    """One agreement as the manifest tells it, and the form in which it must receive a row."""

    def __init__(self, told: Mapping[str, Any], *, scope: str, master: bytes, epoch: int) -> None:
        """Derive the key of its pseudonyms."""
        self.id: str = told["id"]
        self.topic: str = told["share_topic"]
        self.active: bool = told["state"] == "active"
        self.price_micro_fen: int = told["unit_price_micro_fen"]
        self._where: Mapping[str, Any] | None = told["where"]
        self._fields: Mapping[str, Mapping[str, Any]] = told["fields"]
        parts = [part.encode() for part in ("cityhub/pseudonym/v1", scope, told["consumer"], told["purpose"], "plate", str(epoch))]
        self._key = hkdf(master, b"".join(len(part).to_bytes(2, "big") + part for part in parts))

    def wants(self, record: Value) -> bool:
        """Tell whether the row rule is true."""
        return self._where is None or all(record[field] == value for field, value in self._where.items())

    def form(self, record: Value) -> Value | None:
        """Return what must arrive, None where the record must be quarantined."""
        out: Value = {}
        for field, rule in self._fields.items():
            value = record[field]
            if value is not None and "mask" in rule:
                last = rule["mask"]["keep_last"]
                value = "*" * (len(value) - last) + value[-last:]
            elif value is not None and "pseudonym" in rule:
                value = self._pseudonym(value)
                if value is None:
                    return None
            out[field] = value
        return out

    def _pseudonym(self, plate: str) -> str | None:
        normal = unicodedata.normalize("NFKC", plate).strip().upper().replace(" ", "")
        if not any(char.isdigit() for char in normal):
            return None
        return base64.b32encode(hmac.digest(self._key, normal.encode(), "sha256")[:16]).decode().rstrip("=").lower()


def expect(terms: Terms, source: list[tuple[int, Value]]) -> Expected:
    """Return what must follow from a partition of the source topic."""
    expected = Expected([], [], [])
    for offset, record in source if terms.active else ():
        if not terms.wants(record):
            continue
        formed = terms.form(record)
        if formed is None:
            expected.quarantined.append(offset)
        else:
            expected.offsets.append(offset)
            expected.records.append(formed)
    return expected


# -- comparisons -----------------------------------------------------------------------------------------------------------


def check_source(found: Mapping[int, list[tuple[int, Value]]], *, seed: int, records: int, report: Report) -> None:
    """Hold the source topic against the rows that were sent: each once, as it was, in order."""
    seen: Counter[int] = Counter()
    for partition, rows_ in found.items():
        top = -1
        for _, record in rows_:
            number = record["number"]
            seen[number] += 1
            if seen[number] == 1 and record != row(seed, number):
                report.wrong("lost", f"source row {number} is not as it was sent")
            if number < top and seen[number] == 1:
                report.wrong("reordered", f"source partition {partition}: row {number} after {top}")
            top = max(top, number)
    missing = [number for number in range(records) if not seen[number]]
    report.wrong("lost", f"rows {missing[:5]}… never reached the source topic", times=len(missing))
    extra = sum(count - 1 for count in seen.values() if count > 1)
    report.wrong("duplicated", "rows stand in the source topic more than once", times=extra)
    report.wrong("duplicated", "source rows that nobody sent", times=sum(1 for number in seen if number >= records))


def compare(place: str, expected: list[Value], delivered: list[Value], report: Report) -> None:
    """Hold what was delivered against what must be: nothing missing, doubled, out of order, in another form, or without a right."""
    wanted = Counter(record["number"] for record in expected)
    form = {record["number"]: record for record in expected}
    rank = {record["number"]: at for at, record in enumerate(expected)}
    got = Counter(record.get("number") for record in delivered)
    missing = [number for number, count in wanted.items() if got[number] < count]
    report.wrong("lost", f"{place}: rows {missing[:5]}…", times=sum((wanted - got).values()))
    doubled = {number: count - wanted[number] for number, count in got.items() if wanted[number] and count > wanted[number]}
    report.wrong("duplicated", f"{place}: rows {list(doubled)[:5]}…", times=sum(doubled.values()))
    top, seen = -1, set()
    for record in delivered:
        number = record.get("number")
        if number not in rank:
            report.wrong("unauthorised", f"{place}: row {number} was not granted")
            continue
        if record != form[number]:
            report.wrong("unauthorised", f"{place}: row {number} is in another form than granted: fields {sorted(record)}")
        if number not in seen and rank[number] < top:
            report.wrong("reordered", f"{place}: row {number}")
        seen.add(number)
        top = max(top, rank[number])


class Chain:
    """The usage steps of one source partition, followed by hash, step number and offset."""

    def __init__(self, partition: int, topic_id: str) -> None:
        """Begin at offset 0 with the zero hash."""
        self.partition, self.topic_id = partition, topic_id
        self.steps: list[Value] = []
        self.months: list[str] = []
        """Month of account of each step: by append time, never earlier than the step before."""
        self.step, self.next_offset, self.head = 0, 0, bytes(32)
        self._metered_ms = 0

    def follow(self, step: Value, record: Read, report: Report) -> None:
        """Take the next step; after a break go on from there, so that each break counts once."""
        wrong = []
        if step["step"] != self.step + 1:
            wrong.append(f"step {step['step']} after {self.step}")
        if step["first_offset"] != self.next_offset:
            wrong.append(f"begins at {step['first_offset']}, due {self.next_offset}")
        if step["prev_hash"] != self.head:
            wrong.append("hash of the step before is another")
        if str(step["source_topic_id"]) != self.topic_id:
            wrong.append("topic id changed")
        span = step["next_offset"] - step["first_offset"]
        sides = [step["records"] + step["gaps"] + step["lost"]]
        names = ("delivered", "filtered", "denied", "suppressed", "quarantined")
        sides += [sum(entry[name] for name in names) + step["gaps"] + step["lost"] for entry in step["entries"]]
        if any(side != span for side in sides):
            wrong.append(f"conservation: {sides} is not {span}")
        if wrong:
            report.wrong("chain_breaks", f"partition {self.partition} step {step['step']}: {'; '.join(wrong)}")
        self.steps.append(step)
        self.step, self.next_offset, self.head = step["step"], step["next_offset"], hashlib.sha256(record.value or b"").digest()
        self._metered_ms = max(self._metered_ms, record.appended_ms)
        self.months.append(datetime.fromtimestamp(self._metered_ms / 1000, SHANGHAI).strftime("%Y-%m"))

    def check_position(self, offset: int, metadata: str, *, end: int | None, report: Report) -> None:
        """Hold the chain's end against the lane's committed position and the end of the source."""
        position = f"1;{self.topic_id};{self.step};"
        if offset != self.next_offset or not metadata.startswith(position) or self.head.hex() not in metadata:
            report.wrong("chain_breaks", f"partition {self.partition}: position {offset} is not the chain's end {self.next_offset}")
        if end is not None and self.next_offset != end:
            report.wrong("unmetered", f"partition {self.partition}: metered to {self.next_offset}, the source ends at {end}")


def check_steps(chain: Chain, source: list[tuple[int, Value]], expected: Mapping[str, Expected], report: Report) -> None:
    """Hold every step's counts against what its offsets hold."""
    offsets = [offset for offset, _ in source]
    for step in chain.steps:
        span = range(step["first_offset"], step["next_offset"])
        place = f"partition {chain.partition} step {step['step']}"
        records = _count(offsets, span)
        if records != step["records"] or step["lost"]:
            report.wrong("unmetered", f"{place}: {step['records']} records metered, {records} there, {step['lost']} lost")
        entries = {entry["agreement_id"]: entry for entry in step["entries"]}
        for agreement_id, due in expected.items():
            entry = entries.get(agreement_id, Counter())
            for name, due_offsets in (("delivered", due.offsets), ("quarantined", due.quarantined)):
                count = _count(due_offsets, span)
                report.wrong("unmetered", f"{place} {agreement_id}: {entry[name]} {name}, due {count}", times=abs(entry[name] - count))


def _count(offsets: list[int], span: range) -> int:
    return bisect.bisect_left(offsets, span.stop) - bisect.bisect_left(offsets, span.start)


# -- the whole -------------------------------------------------------------------------------------------------------------


class Checker:
    """Everything that a manifest names."""

    def __init__(self, manifest: Mapping[str, Any], kafka: Kafka) -> None:
        """Read hub.plan for the schemas that frames name."""
        self._told = manifest
        self._kafka = kafka
        topics = {manifest[name] for name in ("topic", "plan_topic", "usage_topic", "quarantine_topic")} | {OFFSETS_TOPIC}
        kafka.load(sorted(topics | {topic for topic in kafka.topics() if topic.startswith(f"{manifest['prefix']}share.")}))
        self._report = Report()
        master = Path(manifest["master_key"]).read_bytes()
        self._terms = [Terms(told, scope=manifest["scope"], master=master, epoch=manifest["key_epoch"]) for told in manifest["agreements"]]
        self._hub_schemas = {number: fastavro.parse_schema(json.loads(path.read_text("utf-8"))) for number, path in _hub_schemas()}
        self._schemas = self._read_schemas()

    def run(self) -> dict[str, Any]:
        """Return the figures."""
        source = {number: self._decode_source(found) for number, found in self._kafka.read(self._told["topic"]).items()}
        if self._told["complete"]:
            check_source(source, seed=self._told["seed"], records=self._told["records"], report=self._report)
        else:
            positions = self._kafka.committed(self._told["group"], self._told["topic"])
            source = {number: [at for at in rows_ if at[0] < positions[number][0]] for number, rows_ in source.items()}
        expected = {number: {terms.id: expect(terms, rows_) for terms in self._terms} for number, rows_ in source.items()}
        delivered = {terms.id: self._check_deliveries(terms, expected) for terms in self._terms}
        self._check_strangers()
        self._check_quarantine(expected)
        chains = self._read_chains()
        self._check_chains(chains, source, expected)
        self._check_sums(chains, delivered)
        steps = [step for chain in chains.values() for step in chain.steps]
        return {
            "records": sum(map(len, source.values())),
            "steps": len(steps),
            "workers": len({step["worker_id"] for step in steps}),
            "delivered": {terms.id: sum(len(rows_) for rows_ in delivered[terms.id].values()) for terms in self._terms},
            **{name: self._report.figures[name] for name in MUST_BE_ZERO},
            "months": sorted({month for chain in chains.values() for month in chain.months}),
            "bill_fen": {terms.id: _bill(terms, chains) for terms in self._terms},
        }

    def _read_schemas(self) -> dict[int, Any]:
        found = {}
        for records in self._kafka.read(self._told["plan_topic"]).values():
            for record in records:
                entry = self._decode_hub(record.value, PLAN_ENTRY)
                if entry["kind"] == "schema":
                    body = json.loads(entry["body"])
                    found[int(body["schema_id"])] = fastavro.parse_schema(json.loads(body["schema"]))
        return found

    def _decode_hub(self, framed: bytes | None, schema_id: int) -> Value:
        return decode(framed, {schema_id: self._hub_schemas[schema_id]})

    def _decode_source(self, records: list[Read]) -> list[tuple[int, Value]]:
        found = []
        for record in records:
            value = decode(record.value, self._schemas)
            if sorted(value) != sorted(field["name"] for field in SCHEMA["fields"]):
                self._report.wrong("lost", f"source offset {record.offset} is no passage")
                continue
            found.append((record.offset, value))
        return found

    def _check_deliveries(self, terms: Terms, expected: Mapping[int, Mapping[str, Expected]]) -> dict[int, list[Read]]:
        found = self._kafka.read(terms.topic)
        for number, records in found.items():
            values = []
            for record in records:
                try:
                    values.append(decode(record.value, self._schemas))
                except (ValueError, KeyError, EOFError) as error:
                    self._report.wrong("unauthorised", f"{terms.topic}-{number} offset {record.offset}: {type(error).__name__}")
                if record.key is not None or record.headers:
                    self._report.wrong("unauthorised", f"{terms.topic}-{number} offset {record.offset} has a key or headers")
            compare(f"{terms.topic}-{number}", expected[number][terms.id].records if number in expected else [], values, self._report)
        return found

    def _check_strangers(self) -> None:
        """Nothing may stand in a share topic of an agreement that nobody signed."""
        mine = {terms.topic for terms in self._terms}
        for topic in self._kafka.topics():
            if topic.startswith(f"{self._told['prefix']}share.") and topic not in mine:
                found = sum(map(len, self._kafka.read(topic).values()))
                self._report.wrong("unauthorised", f"{topic}: nobody signed its agreement", times=found)

    def _check_quarantine(self, expected: Mapping[int, Mapping[str, Expected]]) -> None:
        due = Counter(
            (number, terms_id, offset) for number, by in expected.items() for terms_id, e in by.items() for offset in e.quarantined
        )
        got: Counter[tuple[int, str, int]] = Counter()
        for records in self._kafka.read(self._told["quarantine_topic"]).values():
            for record in records:
                value = self._decode_hub(record.value, QUARANTINED)
                got[value["source_partition"], value["agreement_id"], value["first_offset"]] += 1
        self._report.wrong("lost", "records missing in quarantine", times=sum((due - got).values()))
        self._report.wrong("duplicated", "records too many in quarantine", times=sum((got - due).values()))

    def _read_chains(self) -> dict[int, Chain]:
        chains: dict[int, Chain] = {}
        for records in self._kafka.read(self._told["usage_topic"]).values():
            for record in records:
                step = self._decode_hub(record.value, USAGE_STEP)
                if step["source_topic"] != self._told["topic"] or step["pass"] != "live":  # noqa: S105 - a pass over a topic
                    self._report.wrong("chain_breaks", f"a step of {step['source_topic']}, pass {step['pass']}")
                    continue
                number = step["source_partition"]
                chain = chains.setdefault(number, Chain(number, str(step["source_topic_id"])))
                chain.follow(step, record, self._report)
        return chains

    def _check_chains(
        self, chains: Mapping[int, Chain], source: Mapping[int, list[tuple[int, Value]]], expected: Mapping[int, Mapping[str, Expected]]
    ) -> None:
        topic = self._told["topic"]
        positions = self._kafka.committed(self._told["group"], topic)
        ends = self._kafka.ends(topic) if self._told["complete"] else {}
        for number, rows_ in source.items():
            chain = chains.get(number)
            if chain is None:
                self._report.wrong("unmetered", f"partition {number} has no chain", times=len(rows_))
                continue
            offset, metadata = positions[number]
            chain.check_position(offset, metadata, end=ends.get(number), report=self._report)
            check_steps(chain, rows_, expected[number], self._report)

    def _check_sums(self, chains: Mapping[int, Chain], delivered: Mapping[str, Mapping[int, list[Read]]]) -> None:
        """Hold usage against deliveries, records and bytes."""
        for terms_id, found in delivered.items():
            for number, records in found.items():
                steps = chains[number].steps if number in chains else []
                entries = [entry for step in steps for entry in step["entries"] if entry["agreement_id"] == terms_id]
                metered = sum(entry["delivered"] for entry in entries)
                there = len(records)
                self._report.wrong("unmetered", f"{terms_id}-{number}: {metered} metered, {there} delivered", times=abs(metered - there))
                size = sum(len(record.key or b"") + len(record.value or b"") for record in records)
                if metered == there and size != sum(entry["bytes_delivered"] for entry in entries):
                    self._report.wrong("unmetered", f"{terms_id}-{number}: bytes delivered are not those metered")


def _hub_schemas() -> Iterable[tuple[int, Path]]:
    return (
        (PLAN_ENTRY, SCHEMAS / "plan-entry/v1.avsc"),
        (USAGE_STEP, SCHEMAS / "usage-step/v1.avsc"),
        (QUARANTINED, SCHEMAS / "quarantined/v1.avsc"),
    )


def _bill(terms: Terms, chains: Mapping[int, Chain]) -> int:
    """Return what the metered deliveries of an agreement cost, rounded once a month."""
    months: Counter[str] = Counter()
    for chain in chains.values():
        for step, month in zip(chain.steps, chain.months, strict=True):
            months[month] += sum(entry["delivered"] for entry in step["entries"] if entry["agreement_id"] == terms.id)
    return sum(_to_fen(count * terms.price_micro_fen) for count in months.values())


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
