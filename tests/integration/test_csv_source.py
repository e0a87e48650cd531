"""The source of CSV files on the real broker: conformance, and what is its own (files, headers, encodings, positions)."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from csv_rig import DATASET, FLIGHTS, CsvRig, decode

from connectors.kit import verbs
from connectors.kit.access import HubAccess
from connectors.kit.conformance import ROWS, SourceConformance, _hold_each_once
from connectors.kit.contract import Definition, TakeUp
from connectors.kit.publisher import Publisher
from connectors.kit.records import Outgoing
from hub.broker.admin import Admin
from hub.broker.topics import dept_topic
from hub.model.errors import HubError
from hub.model.names import Names

pytestmark = pytest.mark.broker
HEADER = "序号,号牌\n"


@pytest.fixture
def rig(names: Names, admin: Admin, tmp_path: Path) -> Iterator[CsvRig]:
    """Give a connector of the test's own on the shared broker."""
    built = CsvRig(names=names, admin=admin, folder=tmp_path)
    yield built
    built.close()


@pytest.mark.timeout(400)
class TestCsvFileSource(SourceConformance):
    """Promises that every source keeps."""


class Died(BaseException):
    """Stands for a kill in a process that has to go on."""


class PositionApart(Publisher):
    """A broken build: commits the records, and only then, apart from them, the position. Dies once in between."""

    died = False

    def publish(self, records: Sequence[Outgoing], metadata: str, *, settle: Callable[[], None]) -> None:
        """Publish as it must not be done."""
        self._producer.begin_transaction()
        sent = [self._producer.send(self._topic, row.value, None, [("ch-source-id", row.source_id)], row.partition) for row in records]
        for future in sent:
            future.get(20)
        self._producer.commit_transaction()
        if not PositionApart.died:
            PositionApart.died = True
            raise Died
        super().publish((), metadata, settle=settle)


class BrokenAccess(HubAccess, frozen=True, kw_only=True):
    """Gives the broken publisher."""

    def publisher(self, definition: Definition) -> Publisher:
        """Return it."""
        sound = super().publisher(definition)
        return PositionApart(self.bootstrap, topic=sound._topic, group=sound._group, transactional_id=sound._transactional_id)


def test_control_a_position_outside_the_transaction_doubles_rows_and_is_caught(rig: CsvRig) -> None:
    """The suite's check fails on a build that is broken where it matters."""
    rig.drop(range(ROWS), name="first")
    access = BrokenAccess(**{name: getattr(rig.access(), name) for name in HubAccess.__struct_fields__})
    with pytest.raises(Died):
        rig.publish(access=access)
    rig.publish(access=access)
    with pytest.raises(AssertionError, match="0 rows lost, 100 doubled"):
        _hold_each_once(rig.published(), range(ROWS))


def rows_of(rig: CsvRig) -> list[int]:
    """Return the numbers published, sorted."""
    return sorted(record.row for record in rig.published())


def test_a_foreign_partitioner_sends_each_key_where_the_source_sent_it(rig: CsvRig) -> None:
    """A department may mix its own producer with ours; order by key holds only if both agree."""
    rig.file.write_text(rig.file.read_text() + "key: [plate]\n")
    rig.put("a.csv", HEADER + "".join(f"{number},浙A{number:05}\n" for number in range(64)))
    rig.publish()
    ours = {message.key(): message.partition() for message in rig.read()}
    theirs: dict[bytes, int] = {}
    producer = Producer({"bootstrap.servers": rig.admin.bootstrap, "partitioner": "murmur2_random"})
    for key in ours:
        producer.produce(rig.topic, key=key, value=b"x", on_delivery=lambda _, sent: theirs.update({sent.key(): sent.partition()}))
    producer.flush(30)
    assert ours == theirs
    assert len(set(ours.values())) > 1


def test_a_record_has_frame_key_source_id_and_the_partition_of_its_row(rig: CsvRig) -> None:
    """Whatever reads the topic sees Confluent framing and nothing of ours but one header."""
    rig.put("a.csv", HEADER + "7,浙A00007\n8,\n")
    rig.publish()
    first, second = sorted(rig.read(), key=lambda message: message.partition())
    assert [message.partition() for message in (first, second)] == [0, 1]
    assert first.value()[:5] == b"\x00\x00\x00\x00\x01"
    assert decode(first, FLIGHTS) == {"number": 7, "plate": "浙A00007"}
    assert decode(second, FLIGHTS) == {"number": 8, "plate": None}
    assert first.key() is None
    ((name, source_id),) = first.headers()
    assert name == "ch-source-id"
    assert source_id.decode().endswith(":0")


def test_a_bad_row_is_set_aside_with_its_line_and_without_its_value(rig: CsvRig) -> None:
    """The rest goes on; the report can be sent to anyone, the rows cannot."""
    rig.put("a.csv", HEADER + '1,a\n"x\ny",b\nsecret-12,c\n4,d,e\n5,f\n')
    summary = rig.publish()
    (file,) = summary.files
    assert (file.rows, file.published, file.set_aside) == (5, 2, 3)
    assert rows_of(rig) == [1, 5]
    report = Path(str(file.report))
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    assert [(line["row"], line["line"], line["last_line"], line["column"], line["reason"]) for line in lines] == [
        (1, 3, 4, "序号", "not_a_whole_number"),
        (2, 5, 5, "序号", "not_a_whole_number"),
        (3, 6, 6, None, "column_count"),
    ]
    assert "secret" not in report.read_text(encoding="utf-8")
    aside = report.with_suffix(".csv")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert aside.read_text(encoding="utf-8") == HEADER + '"x\ny",b\nsecret-12,c\n4,d,e\n'


def test_rejects_stand_in_the_report_once_whatever_is_killed(rig: CsvRig) -> None:
    """The report is written before the commit that counts it, and cut back to the position at the next start."""
    rig.put("a.csv", HEADER + "".join(f"{'x' if number % 10 == 0 else number},p\n" for number in range(250)))
    for point, visit in (("connector.before_commit", 1), ("connector.after_commit", 1), ("connector.before_commit", 1)):
        rig.kill_at(point, visit=visit)
    assert rig.run() == 0
    (file,) = rig.summaries()[-1]["files"]
    assert (file["rows"], file["published"], file["set_aside"]) == (250, 225, 25)
    reported = [json.loads(line)["row"] for line in Path(file["report"]).read_text(encoding="utf-8").splitlines()]
    assert reported == list(range(0, 250, 10))
    assert len(Path(file["report"]).with_suffix(".csv").read_text(encoding="utf-8").splitlines()) == 1 + 25
    assert len(rig.published()) == 225


def test_mended_rows_can_be_dropped_in_again(rig: CsvRig) -> None:
    """What was set aside is a CSV file with its header: mend it, drop it."""
    rig.put("a.csv", HEADER + "1,a\nzwei,b\n3,c\n")
    (file,) = rig.publish().files
    aside = Path(str(file.report)).with_suffix(".csv")
    rig.put("mended.csv", aside.read_text(encoding="utf-8").replace("zwei", "2"))
    rig.publish()
    assert rows_of(rig) == [1, 2, 3]


def test_a_gb18030_file_arrives_as_the_text_that_it_is(rig: CsvRig) -> None:
    """Registers of departments are GBK or GB18030 more often than not."""
    rig.put("a.csv", "序号,号牌\r\n1,浙A镕㐀𠮷\r\n".encode("gb18030"))
    rig.publish()
    (message,) = rig.read()
    assert decode(message, FLIGHTS)["plate"] == "浙A镕㐀𠮷"


def test_a_refused_file_does_not_hold_the_others_and_is_moved_with_its_reason(rig: CsvRig) -> None:
    """A file in no known encoding and one with a foreign header are refused whole; nothing of them is published."""
    rig.file.write_text(rig.file.read_text() + "rejected: rejected\ndone: done\n")
    rig.put("a.csv", b"\xff\xff\xff,b\n1,a\n")
    rig.put("b.csv", "序号,号牌,电话\n1,a,2\n")
    rig.put("c.csv", HEADER + "3,c\n")
    summary = rig.publish()
    assert [(file.input, file.outcome, file.code) for file in summary.files] == [
        ("a.csv", "refused", "HUB-CONN-002"),
        ("b.csv", "refused", "HUB-CONN-003"),
        ("c.csv", "published", None),
    ]
    assert rows_of(rig) == [3]
    assert sorted(path.name for path in (rig.folder / "rejected").iterdir()) == ["a.csv", "a.csv.why.json", "b.csv", "b.csv.why.json"]
    assert [path.name for path in (rig.folder / "done").iterdir()] == ["c.csv"]
    assert list(rig.inbox.iterdir()) == []


def test_a_kill_between_commit_and_move_to_done_publishes_nothing_twice(rig: CsvRig) -> None:
    """The file is found seen before, and moved then."""
    rig.file.write_text(rig.file.read_text() + "done: done\n")
    rig.put("a.csv", HEADER + "1,a\n")
    rig.kill_at("connector.after_commit", visit=1)
    assert [path.name for path in rig.inbox.iterdir()] == ["a.csv"]
    (file,) = rig.publish().files
    assert file.outcome == "seen_before"
    assert [path.name for path in (rig.folder / "done").iterdir()] == ["a.csv"]
    assert rows_of(rig) == [1]


def test_a_file_appended_to_while_it_is_being_read_stops_the_run(rig: CsvRig) -> None:
    """Nothing of the transaction under way is committed; what is behind the last commit is not guessed."""
    path = rig.put("a.csv", HEADER + "".join(f"{number},p\n" for number in range(250)))
    rig.kill_at("connector.after_commit", visit=1)
    with path.open("a", encoding="utf-8") as file:
        file.write("250,p\n")
    with pytest.raises(HubError) as raised:
        rig.publish()
    assert raised.value.code == "HUB-CONN-006"
    assert "behind row 100" in raised.value.message
    assert len(rig.published()) == 100


def test_the_rest_of_a_changed_file_can_be_given_up(rig: CsvRig) -> None:
    """A way on, where the file as it was cannot be had any more: the next file is published."""
    path = rig.put("a.csv", HEADER + "".join(f"{number},p\n" for number in range(250)))
    rig.kill_at("connector.after_commit", visit=1)
    path.unlink()
    rig.put("b.csv", HEADER + "999,p\n")
    files = rig.publish(take_up=TakeUp.GIVE_UP_REST).files
    assert [(file.input, file.outcome, file.rows) for file in files] == [("a.csv", "given_up", 100), ("b.csv", "published", 1)]
    assert rows_of(rig) == [*range(100), 999]


def test_a_file_that_changes_before_its_first_commit_is_taken_as_it_is_then(rig: CsvRig) -> None:
    """The journal may be one entry ahead of the position; that entry is taken back."""
    path = rig.put("a.csv", HEADER + "1,a\n")
    rig.kill_at("connector.before_commit", visit=1)
    path.write_text(HEADER + "1,a\n2,b\n", encoding="utf-8")
    rig.publish()
    assert rows_of(rig) == [1, 2]


def test_a_renamed_file_is_found_again_by_its_content(rig: CsvRig) -> None:
    """A file is known by what it holds."""
    path = rig.put("a.csv", HEADER + "".join(f"{number},p\n" for number in range(250)))
    rig.kill_at("connector.after_commit", visit=1)
    path.rename(rig.inbox / "z.csv")
    rig.publish()
    assert rows_of(rig) == list(range(250))


def test_the_schema_of_a_file_stays_the_one_that_it_was_begun_with(rig: CsvRig) -> None:
    """A new schema version in the middle of a file must not split it into two shapes."""
    rig.put("a.csv", HEADER + "".join(f"{number},p\n" for number in range(250)))
    rig.kill_at("connector.after_commit", visit=1)
    rig.registry.schemas[2] = {**FLIGHTS, "fields": [*FLIGHTS["fields"], {"name": "note", "type": "string", "default": ""}]}
    rig.put("b.csv", HEADER + "250,p\n")
    rig.publish()
    ids = sorted((decode(message, rig.registry.schemas[message.value()[4]])["number"], message.value()[4]) for message in rig.read())
    assert ids == [(number, 1) for number in range(250)] + [(250, 2)]


def _recreate(rig: CsvRig) -> None:
    rig.admin.delete_topics([rig.topic])
    rig.admin.create_topics([dept_topic(rig.names, "transport/flights", partitions=4, replication=1)])


def test_a_topic_created_again_under_its_name_stops_the_source(rig: CsvRig) -> None:
    """Its offsets went with it; the journal remembers the topic's id. `--anew` is the way on."""
    rig.put("a.csv", HEADER + "1,a\n")
    rig.publish()
    _recreate(rig)
    with pytest.raises(HubError) as raised:
        rig.publish()
    assert raised.value.code == "HUB-CONN-005"
    assert rig.publish(take_up=TakeUp.ANEW).published == 1
    assert rows_of(rig) == [1]
    path = "/v1/connectors/flights/anew"
    assert rig.registry.acts == [(path, {"dataset": "transport/flights"}), (f"{path}/ACT", {"outcome": "done"})]


def test_without_serve_nothing_is_published_anew(rig: CsvRig) -> None:
    """It changes what counts, so it is recorded before it takes effect, or not done; and nobody waits two minutes to hear that."""
    rig.put("a.csv", HEADER + "1,a\n")
    rig.publish()
    _recreate(rig)
    rig.registry.close()
    with pytest.raises(HubError) as raised:
        rig.publish(take_up=TakeUp.ANEW)
    assert raised.value.code == "HUB-SERVE-001"
    assert "cityhub serve" in raised.value.fix
    assert rows_of(rig) == []


def test_publishing_anew_is_refused_while_the_position_can_be_used(rig: CsvRig) -> None:
    """It would publish every row a second time."""
    rig.put("a.csv", HEADER + "1,a\n")
    rig.publish()
    with pytest.raises(HubError) as raised:
        rig.publish(take_up=TakeUp.ANEW)
    assert raised.value.code == "HUB-CONN-010"
    assert rows_of(rig) == [1]
    assert rig.registry.acts == []


@pytest.mark.parametrize("loss", ["journal", "older journal", "position"])
def test_a_lost_half_of_position_and_journal_stops_the_source(rig: CsvRig, loss: str) -> None:
    """Either alone would publish files twice, or leave some out."""
    rig.put("a.csv", HEADER + "1,a\n")
    rig.publish()
    journal = rig.state / "connectors" / "flights" / "files.json"
    before = journal.read_bytes()
    rig.put("b.csv", HEADER + "2,b\n")
    rig.publish()
    if loss == "position":
        client = rig.admin._client
        client.delete_groups([rig.names.connector_group(connector="flights", source_partition="all")])
    elif loss == "journal":
        journal.unlink()
    else:
        journal.write_bytes(before)
    with pytest.raises(HubError) as raised:
        rig.publish()
    assert raised.value.code == "HUB-CONN-005"
    assert rows_of(rig) == [1, 2]


def test_two_runs_on_one_state_folder_are_refused(rig: CsvRig) -> None:
    """They would fence each other in turns."""
    rig.drop(range(150), name="a")
    process = rig.start(CITYHUB_FAILPOINT="connector.before_commit@1=sleep:20")
    lock = rig.state / "connectors" / "flights" / "files.json"
    while not lock.exists() and process.poll() is None:
        time.sleep(0.02)
    with pytest.raises(HubError) as raised:
        rig.publish()
    process.kill()
    process.wait()
    assert raised.value.code == "HUB-CONN-009"


def test_check_names_every_fault_and_preview_publishes_nothing(rig: CsvRig) -> None:
    """Before a first run, a person wants to see what would come of it."""
    rig.put("a.csv", HEADER + "1,a\nx,b\n")
    rig.put("b.csv", "序好,号牌\n1,a\n")
    findings = {found.check: found for found in verbs.check(rig.definition(), rig.access())}
    assert {name: found.ok for name, found in findings.items()} == {
        "connector file": True,
        "broker": True,
        "topic": True,
        "schema": True,
        "files": True,
        "file a.csv": True,
        "file b.csv": False,
    }
    assert "did you mean `序号`?" in findings["file b.csv"].detail
    rows = verbs.preview(rig.definition(), rig.access(), rows_max=5)
    assert [(row.row, row.line, row.record, row.fault, row.column) for row in rows] == [
        (0, 2, {"number": 1, "plate": "a"}, None, None),
        (1, 3, None, "not_a_whole_number", "序号"),
    ]
    assert rig.read() == []


def test_the_command_line_prints_one_json_object_and_exits_by_its_code(rig: CsvRig) -> None:
    """Scripts read stdout and the exit code, nothing else."""
    rig.put("a.csv", HEADER + "1,a\n")
    assert rig.run() == 0
    rig.put("b.csv", b"\xff\xff")
    assert rig.run() == 2
    first, second = rig.summaries()
    assert (first["rows"], first["published"], first["set_aside"]) == (1, 1, 0)
    assert [file["outcome"] for file in second["files"]] == ["seen_before", "refused"]


def test_a_dataset_that_has_no_topic_is_told_with_the_one_that_was_meant(rig: CsvRig) -> None:
    """And the fix is a command that can be copied."""
    rig.file.write_text(rig.file.read_text(encoding="utf-8").replace(DATASET, "transport/flight"), encoding="utf-8")
    with pytest.raises(HubError, match="HUB-BROKER-009") as raised:
        rig.publish()
    assert (
        raised.value.fix == "did you mean `transport/flights`? Else publish the dataset first: `cityhub dataset publish transport/flight`"
    )


def test_files_that_are_as_they_were_are_counted_and_not_listed(rig: CsvRig) -> None:
    """A folder keeps every file that it ever had."""
    for name in ("a.csv", "b.csv"):
        rig.put(name, HEADER + f"1,{name}\n")
    assert rig.run() == 0
    rig.put("c.csv", HEADER + '2,"c\nd"\n')
    words = [sys.executable, "-m", "hub.cli", "connector", "run", str(rig.file), "--once"]
    found = subprocess.run(words, env=rig.environment, capture_output=True, text=True, check=True, timeout=120)
    assert "2 files are as they were published before" in found.stderr
    assert "c.csv" in found.stdout
    assert "a.csv" not in found.stdout


def test_one_bad_row_too_many_ends_the_run_with_a_code_of_its_own(rig: CsvRig) -> None:
    """A handled failure, exit code 1: not the usage error of a file that is refused."""
    rig.file.write_text(rig.file.read_text(encoding="utf-8") + "rejects_max: 1\n", encoding="utf-8")
    rig.put("a.csv", HEADER + "1,a\nx,b\n2,c\ny,d\n3,e\n")
    assert rig.run() == 1
    assert "HUB-CONN-012" in rig.log()
    assert rows_of(rig) == [1, 2]


def test_no_value_of_a_row_reaches_log_output_or_journal(rig: CsvRig) -> None:
    """Law 7: values stand in the topic, and in the rows set aside."""
    word = "ZHEJIANG-TELLTALE"
    rig.put("a.csv", HEADER + f"1,{word}\n{word},b\n3,{word},{word}\n")
    assert rig.run() == 0
    everything = [path for path in rig.folder.rglob("*") if path.is_file() and path.parent != rig.inbox]
    holders = {path.suffix for path in everything if word.encode() in path.read_bytes()}
    assert holders == {".csv"}


def test_metrics_and_health_are_served_while_it_runs(rig: CsvRig) -> None:
    """A source that stands still must be seen from outside."""
    rig.put("a.csv", HEADER + "1,a\nx,b\n")
    environment: dict[str, Any] = {"CITYHUB_FAILPOINT": "connector.after_commit@1=sleep:3"}
    process = rig.start("--metrics-port", "0", **environment)
    while "http://127.0.0.1" not in rig.log() and process.poll() is None:
        time.sleep(0.02)
    url = rig.log().split("metrics: ")[1].split("/readyz")[0]
    while (ready := httpx.get(f"{url}/readyz", trust_env=False)).status_code != 200 and process.poll() is None:
        time.sleep(0.02)
    assert ready.text == "ready\n"
    assert "cityhub_rows_total" in httpx.get(f"{url}/metrics", trust_env=False).text
    assert process.wait(timeout=60) == 0
    assert os.environ.get("CITYHUB_LOG_STRICT") == "1"
