"""The oracle's own parts, held against published vectors: an oracle that is wrong in the same way as the hub proves nothing."""

import argparse
import copy
import io
import json
from pathlib import Path

import fastavro
import pytest
from identity import Pseudonyms, base32, hkdf_sha256, hmac_sha256, murmur2, partition_of
from read import Stream as ReadStream
from read import differences
from reckon import reckon
from source import write_value, zigzag
from terms import read_rule

ROOT = Path(__file__).resolve().parents[2]
HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)
FLIGHTS = (
    "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z",
    "2013,1,1,848,600,168,1001,950,71,AA,731,N619AA,JFK,DFW,151,1389,6,0,2013-01-01T11:00:00Z",
    "2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,NA,JFK,RDU,NA,416,16,30,2013-01-01T21:00:00Z",
)
PLANES = (
    "tailnum,year,type,manufacturer,model,engines,seats,speed,engine",
    "N14228,1999,Fixed wing multi engine,BOEING,737-824,2,149,NA,Turbo-fan",
)


@pytest.mark.parametrize(
    ("key", "message", "mac"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
)
def test_hmac_gives_the_vectors_of_rfc_4231(key: bytes, message: bytes, mac: str) -> None:
    """Cases 1, 2 and 6: a short key, a text key, and a key longer than a block."""
    assert hmac_sha256(key, message).hex() == mac


def test_hkdf_gives_the_vectors_of_rfc_5869() -> None:
    """Case 1 has salt and info; case 3 has neither, as the hub's key derivation has no salt."""
    first = hkdf_sha256(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), length=42)
    third = hkdf_sha256(b"\x0b" * 22, info=b"", length=42)
    assert first.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert third.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"


@pytest.mark.parametrize(
    ("raw", "text"), [(b"f", "my"), (b"fo", "mzxq"), (b"foo", "mzxw6"), (b"foob", "mzxw6yq"), (b"foobar", "mzxw6ytboi")]
)
def test_base32_gives_the_vectors_of_rfc_4648(raw: bytes, text: str) -> None:
    """In lower case and without padding."""
    assert base32(raw) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_the_vectors_of_kafka_s_own_test(text: str, found: int) -> None:
    """Source: ``UtilsTest.testMurmur2`` of Apache Kafka, in Java's signed ints."""
    assert murmur2(text.encode()) == found & 0xFFFFFFFF


def test_record_without_key_stands_at_its_row_number_modulo_partitions() -> None:
    """Rows are counted from 0, keyed rows included."""
    assert [partition_of(None, row=row, partitions=4) for row in (0, 5, 7)] == [0, 1, 3]


@pytest.mark.parametrize(("number", "raw"), [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (-64, "7f"), (64, "8001"), (-65, "8101")])
def test_ints_are_written_as_the_avro_specification_shows(number: int, raw: str) -> None:
    """The table of the specification's section on binary encoding."""
    assert zigzag(number).hex() == raw


def test_values_are_read_back_by_a_foreign_avro_reader() -> None:
    """Nulls, text beyond ASCII and large longs, one after the other."""
    fields = [{"name": f"f{at}", "type": kind} for at, kind in enumerate((["null", "string"], ["null", "int"], "string", "long"))]
    body = b"".join(write_value(value, nullable=at < 2) for at, value in enumerate((None, -7, "杭州", 1_357_034_400_000)))
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    assert fastavro.schemaless_reader(io.BytesIO(body), schema, None) == {"f0": None, "f1": -7, "f2": "杭州", "f3": 1_357_034_400_000}


@pytest.mark.parametrize(
    ("rule", "truth"),
    [
        ({"field": "delay", "gteq": 15}, None),
        ({"not": {"field": "delay", "gteq": 15}}, None),
        ({"field": "delay", "neq": 15}, None),
        ({"field": "delay", "isNull": True}, True),
        ({"any": [{"field": "delay", "gteq": 15}, {"field": "origin", "eq": "JFK"}]}, True),
        ({"any": [{"field": "delay", "gteq": 15}, {"field": "origin", "eq": "LGA"}]}, None),
        ({"all": [{"field": "delay", "gteq": 15}, {"field": "origin", "eq": "JFK"}]}, None),
        ({"all": [{"field": "delay", "gteq": 15}, {"field": "origin", "eq": "LGA"}]}, False),
        ({"field": "origin", "isAnyOf": ["EWR", "JFK"]}, True),
        ({"field": "origin", "startsWith": "L"}, False),
    ],
)
def test_null_makes_a_comparison_unknown(rule: dict, truth: bool | None) -> None:  # noqa: FBT001 (a column of the table)
    """Three-valued logic as in SQL; unknown does not let a record pass."""
    assert read_rule(rule)({"delay": None, "origin": "JFK"}) is truth


def test_pseudonym_depends_on_consumer_purpose_and_kind() -> None:
    """The same aircraft has another name in front of each consumer."""
    common = {"scope": "330100", "epoch": 1}
    made = {
        Pseudonyms(bytes(32), consumer=consumer, purpose=purpose, kind=kind, **common).of("N14228")
        for consumer in ("a", "b")
        for purpose in ("p", "q")
        for kind in ("k", "l")
    }
    assert len(made) == 8
    assert {len(one) for one in made} == {26}


def test_pseudonyms_are_those_of_the_golden_vectors() -> None:
    """The vectors were computed apart from the hub and from this oracle, which knows no normal form but trimming."""
    golden = json.loads((ROOT / "tests/golden/pseudonyms.json").read_text(encoding="utf-8"))
    common = {name: golden[name] for name in ("scope", "consumer", "purpose")} | {"epoch": golden["key_epoch"]}
    known = [one for one in golden["vectors"] if one.get("normal") == one["text"].strip()]
    assert len(known) >= 5
    for one in known:
        assert Pseudonyms(bytes.fromhex(golden["master_key"]), kind=one["kind"], **common).of(one["text"]) == one["pseudonym"]


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    """Three flights, one aircraft, the demo's own agreements, a master key of zeros."""
    (tmp_path / "flights.csv").write_text("\n".join((HEADER, *FLIGHTS, "")), encoding="utf-8")
    (tmp_path / "planes.csv").write_text("\n".join((*PLANES, "")), encoding="utf-8")
    (tmp_path / "master.key").write_bytes(bytes(32))
    return argparse.Namespace(
        data=tmp_path,
        agreements=ROOT / "deploy/demo/agreements",
        schemas=ROOT / "avro_schemas",
        master_key=tmp_path / "master.key",
        key_epoch=1,
        scope="330100",
        partitions=4,
        records=None,
        walk="delay-cover",
    )


def test_reckoning_of_three_flights_is_what_a_person_finds_by_hand(options: argparse.Namespace) -> None:
    """The second flight is 168 minutes late from JFK; the third was cancelled and has no tail number."""
    found = reckon(options)
    assert {one["id"]: (one["delivered"], one["filtered"]) for one in found["agreements"]} == {
        "aircraft-research": (1, 0),
        "delay-cover": (2, 1),
        "flight-research": (3, 0),
        "jfk-delays": (1, 2),
    }
    assert found["published"]["transport/flights"]["records"] == 3
    assert found["walk"]["line"] == 3
    assert found["walk"]["delivered_places"]["delay-cover"] == 0


@pytest.mark.parametrize("records", [0, 1, 2])
def test_limit_cuts_the_flights_and_leaves_the_aircraft(options: argparse.Namespace, records: int) -> None:
    """A quick run publishes the first flights only."""
    options.records = records
    published = reckon(options)["published"]
    assert published["transport/flights"]["records"] == records
    assert published["vehicle-registry/aircraft"]["records"] == 1


def as_read(expected: dict) -> dict:
    """Return the reading of topics that hold exactly what was reckoned."""
    extra = {"schema_ids": [2], "unframed": 0, "with_headers": 0}
    return {
        one["id"]: [{**partition, **extra} for partition in one["partitions"]] for one in json.loads(json.dumps(expected["agreements"]))
    }


def test_comparison_finds_every_kind_of_difference(options: argparse.Namespace) -> None:
    """The positive control of the comparison: each falsified figure is named, and only it."""
    expected = reckon(options)
    assert differences(expected, as_read(expected)) == []
    for name, falsified in {"records": 9, "bodies_sha256": "00", "keys_sha256": "00", "unframed": 1, "with_headers": 1}.items():
        read = copy.deepcopy(as_read(expected))
        read["jfk-delays"][2][name] = falsified
        (only,) = differences(expected, read)
        assert only.startswith("jfk-delays partition 2")
        assert name in only


def test_comparison_finds_partitions_that_are_missing_or_too_many(options: argparse.Namespace) -> None:
    """A share topic with other partitions than reckoned differs."""
    expected = reckon(options)
    read = as_read(expected)
    read["delay-cover"].pop(1)
    read["flight-research"].append({**read["flight-research"][0], "partition": 4})
    assert differences(expected, read) == [
        "delay-cover partition 1: is not there",
        "flight-research partition 4: is not in the reckoning",
    ]


def test_reader_counts_what_is_no_framed_record() -> None:
    """A tombstone, a body without framing and a record with headers each show."""
    stream = ReadStream()
    stream.add(None, None, None)
    stream.add(None, b"\x01\x00\x00\x00\x07", None)
    stream.add(None, b"\x00\x00\x00\x00\x07\x02", [("trace", b"1")])
    report = stream.report(0)
    assert (report["records"], report["unframed"], report["with_headers"], report["schema_ids"]) == (3, 2, 1, [7])
