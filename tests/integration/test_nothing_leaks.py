"""No personal value outside source, share and quarantine topics: 520 of them are planted, and everything that was written is searched.

They stand where people paste them: in cells and keys, where headings should stand, in file names, in subjects, paths and queries, in
schemas and files that are refused. Searched are the state folder byte by byte (logs, database, broker, journals), what the connector
said, health and metrics; in every form that a value takes on its way.
"""

import base64
import http.client
import json
import random
import sqlite3
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from up_rig import House, until

pytestmark = pytest.mark.timeout(900)
"""Twenty commands and a thousand requests, on a machine that may be busy."""
PLACES: Final = {
    "cells": 150,
    "headings": 60,
    "keys": 40,
    "file names": 40,
    "subjects": 50,
    "paths": 60,
    "queries": 40,
    "schemas": 30,
    "files": 30,
    "letters": 20,
}
"""How many values are planted where: 520."""
HEAD_BYTES: Final = 6
"""The shortest form, a name of three letters in GB18030 or UTF-16."""
LETTERS: Final = (
    '"She said "no way\n{}\nend of letter" ',
    '"She said "no way\n{}\nend of letter"\t',
    '"She said "no", and\n{}\nend of letter"',
    '"She said "no way\n{}\nreally,""',
    ' "She said\n{}\nend of letter"',
)
"""Cells with a misplaced quote, of which no line is a row."""
SCHEMA: Final = {
    "type": "record",
    "name": "Resident",
    "namespace": "dept.civil_affairs",
    "fields": [
        {"name": "id", "type": "string", "title": "证件号", "identifier": "resident-id", "grade": "L3"},
        {"name": "name", "type": "string", "title": "姓名", "grade": "L3"},
        {"name": "age", "type": ["null", "int"], "title": "年龄", "default": None, "grade": "L1"},
    ],
}
ENTRY: Final = """\
apiVersion: cityhub/v1
kind: Dataset
dataset: civil-affairs/residents
title: residents
accountable_person: chen-jing
sharing: conditional
partitions: 2
schema: civil-affairs/residents/v1.avsc
"""
AGREEMENT: Final = """\
apiVersion: cityhub/v1
kind: Agreement
id: residents-study
provider: civil-affairs
consumer: research-office
dataset: civil-affairs/residents
purpose: study
legal_basis: "政务数据共享条例（国务院令第809号）"
valid_until: 2049-12-31
tariff: per-record@1
fields: [{name: id, pseudonym: {}}, name, age]
"""
SOURCE: Final = """\
apiVersion: cityhub/v1
kind: Source
name: residents
type: csv-file
dataset: civil-affairs/residents
folder: inbox
rejected: rejected
settle_s: 0
key: [id]
row_characters_max: 200
"""


def draw() -> dict[str, list[str]]:
    """Return the values by place: numbers in one row and in groups, passports, e-mail addresses, names in Chinese and in letters."""
    drawn = random.Random(16)
    kinds = (
        lambda: _resident_id(f"33010619{drawn.randrange(50, 99)}{drawn.randrange(10, 13)}{drawn.randrange(10, 29)}", drawn.randrange(1000)),
        lambda: f"1{drawn.randrange(3, 10)}{drawn.randrange(10**9):09}",
        lambda: f"1{drawn.randrange(3, 10)}{drawn.randrange(10)} {drawn.randrange(10**4):04} {drawn.randrange(10**4):04}",
        lambda: f"{drawn.choice('EG')}{drawn.randrange(10**8):08}",
        lambda: f"zhang.{drawn.randrange(10**6)}@example.com",
        lambda: "".join(chr(drawn.randrange(0x4E00, 0x9FA6)) for _ in range(3)),
        lambda: "".join(drawn.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(5)) + f" {drawn.choice('AEIOU') * 3}{drawn.randrange(100)}",
    )
    found = {place: [kinds[number % len(kinds)]() for number in range(count)] for place, count in PLACES.items()}
    assert len({value for values in found.values() for value in values}) == sum(PLACES.values())
    return found


def _resident_id(day: str, serial: int) -> str:
    """Return an identity number: place and day of birth, serial, check digit (GB 11643)."""
    number = f"{day}{serial:03}"
    total = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(number))
    return number + "10X98765432"[total % 11]


def forms(value: str) -> Iterator[bytes]:
    """Yield what a value looks like on disk: in each encoding, quoted for URLs and JSON, and in base64 wherever it begins."""
    for encoding in ("utf-8", "gb18030", "utf-16-le", "utf-16-be"):
        yield value.encode(encoding)
    quoted = urllib.parse.quote(value, safe="")
    yield from (quoted.encode(), quoted.lower().encode(), urllib.parse.quote_plus(value).encode())
    yield json.dumps(value)[1:-1].encode()
    for encoding in ("utf-8", "gb18030"):
        raw = value.encode(encoding)
        for before in range(3):
            text = base64.b64encode(b"\0" * before + raw)
            whole = len(raw) + before
            yield text[-(-8 * before // 6) : whole * 8 // 6]


class Sweep:
    """Searches bytes for any form of any value."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        """Prepare every form."""
        self._heads: dict[bytes, list[tuple[bytes, str]]] = {}
        for place, planted in values.items():
            for value in planted:
                for form in set(forms(value)):
                    assert len(form) >= HEAD_BYTES
                    self._heads.setdefault(form[:HEAD_BYTES], []).append((form, f"{place}: {value}"))

    def of(self, raw: bytes) -> set[str]:
        """Return the values that stand in ``raw``, each with its place."""
        heads = self._heads
        found = set()
        for at in range(len(raw) - HEAD_BYTES + 1):
            for form, name in heads.get(raw[at : at + HEAD_BYTES], ()):
                if raw.startswith(form, at):
                    found.add(name)
        return found

    def below(self, folder: Path) -> dict[str, set[str]]:
        """Return what was found, by file; the topics that may hold values, and rows set aside for their owner, are left out."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and not _may_hold_values(path, folder):
                raw = path.read_bytes().strip(b"\0")
                if values := self.of(raw):
                    found[str(path.relative_to(folder))] = values
        return found


def _may_hold_values(path: Path, state: Path) -> bool:
    parts = path.relative_to(state).parts
    if parts[:2] == ("broker", "kafka") and any(part.startswith(("dept.", "share.", "quarantine.")) for part in parts):
        return True
    if len(parts) == 4 and parts[0] == "connectors" and parts[2] == "rejects" and path.suffix == ".csv":
        chain = [path, *list(path.parents)[: len(parts)]]
        assert [stat.S_IMODE(one.stat().st_mode) & 0o077 for one in chain] == [0] * len(chain), "rows set aside are their owner's alone"
        return True
    return False


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a hub of its own that is up, and leave it down."""
    built = House(tmp_path_factory.mktemp("sweep"))
    found = built.call("up", "--background")
    assert found.returncode == 0, found.stderr
    yield built
    built.call("down")


class Said(NamedTuple):
    """What a process or a page answered."""

    who: str
    text: str


class City:
    """A hub whose people paste values where they do not belong."""

    def __init__(self, house: House, folder: Path) -> None:
        """Open a dataset and an agreement."""
        self.house, self.folder = house, folder
        self.said: list[Said] = []
        schema = folder / "avro_schemas" / "civil-affairs" / "residents" / "v1.avsc"
        schema.parent.mkdir(parents=True)
        schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        for name, text in (("dataset.yaml", ENTRY), ("agreement.yaml", AGREEMENT), ("source.yaml", SOURCE)):
            (folder / name).write_text(text, encoding="utf-8")
        for words in (
            ("dataset", "apply", str(folder / "dataset.yaml")),
            ("dataset", "publish", "civil-affairs/residents"),
            ("agreement", "apply", str(folder / "agreement.yaml")),
            ("agreement", "sign", "residents-study"),
        ):
            found = house.call(*words)
            assert found.returncode == 0, found.stderr

    def run(self, *words: str) -> int:
        """Run a command, and keep what it said."""
        found = self.house.call(*words)
        self.said.append(Said(" ".join(words[:2]), found.stdout + found.stderr))
        return found.returncode

    def ask(self, method: str, path: str, body: str | None = None, *, port: int | None = None, kind: str = "application/json") -> int:
        """Send a request; what is answered to the one who asks is not kept anywhere."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.house.ports[2], timeout=60)
        connection.request(method, path, None if body is None else body.encode(), {"content-type": kind} if body else {})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def page(self, path: str, *, port: int) -> str:
        """Keep a page that anybody may look at."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        self.said.append(Said(path, text))
        return text

    # -- what people do ------------------------------------------------------------------------------------------------

    def drop_files(self, values: dict[str, list[str]]) -> None:
        """Put CSV files there: good and bad rows, rows where headings should stand, cells over the bound, odd names."""
        cells, keys, headings, names, letters = (iter(values[place]) for place in ("cells", "keys", "headings", "file names", "letters"))
        good = [f"{next(keys)},{next(cells)},3" for _ in range(30)]
        bad = [f"{next(keys)},{next(cells)},{next(cells)}" for _ in range(10)]
        self._put("a-rows.csv", "证件号,姓名,年龄", [*good, *bad])
        letter = "\n".join(f"{next(cells)},{next(cells)},1" for _ in range(20))
        broken = f'x,"he said "{next(cells)}" and\n{next(cells)},{next(cells)},2\nmore",3'
        self._put("b-letters.csv", "证件号,姓名,年龄", [f'x,"{letter}",3', broken])
        for number, letter in enumerate(LETTERS):
            inside = "\n".join(f"{next(letters)},1,{next(letters)}" for _ in range(2))
            self._put(f"b-misplaced-{number}.csv", "证件号,年龄,姓名", ["x,1,y", f"x,2,{letter.format(inside)}", "x,3,fine"])
        self._put("c-no-header.csv", ",".join(next(headings) for _ in range(20)), [f"{next(cells)},a,1" for _ in range(10)])
        self._put("d-more.csv", "证件号,姓名,年龄," + ",".join(next(headings) for _ in range(20)), ["x,y,1" + "," * 20])
        self._put("e-nothing-fits.csv", ",".join(next(headings) for _ in range(20)), [])
        for number, name in enumerate(names):
            self._put(f"{name}.csv", "证件号,姓名,年龄" if number % 2 else "x,y", [f"{number},{next(cells)},1"])

    def _put(self, name: str, header: str, rows: list[str]) -> None:
        (self.inbox / name).write_text("\n".join([header, *rows, ""]), encoding="utf-8")

    def misuse_the_api(self, values: dict[str, list[str]]) -> None:
        """Ask for things by values that name nothing."""
        schema = json.dumps({"schema": json.dumps(SCHEMA)})
        quote = urllib.parse.quote
        for number, value in enumerate(values["subjects"]):
            subject = quote(value if number % 3 else f"dept.civil-affairs.{value}-value", safe="")
            self.ask("POST", f"/subjects/{subject}/versions", schema)
            self.ask("POST", f"/subjects/{subject}", schema)
            self.ask("GET", f"/subjects/{subject}/versions/latest")
            self.ask("POST", f"/compatibility/subjects/{subject}/versions/latest", schema)
        for value in map(quote, values["paths"]):
            for step in ("sign", "suspend", value):
                self.ask("POST", f"/v1/agreements/{value}/{step}")
            self.ask("POST", f"/v1/datasets/{value}/{value}/publish")
            self.ask("POST", f"/v1/lanes/{value}-0/adopt?at=0")
            for path in (f"/v1/{value}", f"/{value}", f"/schemas/ids/{value}", f"/v1/datasets/{value}/x", f"/livez/{value}"):
                self.ask("GET", path)
                self.ask("GET", path, port=self.house.ports[3])
        for value in map(quote, values["queries"]):
            for path in ("/v1/agreements", "/subjects", "/v1/lanes", "/readyz", "/v1/acts"):
                self.ask("GET", f"{path}?{value}={value}&limit={value}&at={value}")
            self.ask("POST", f"/v1/agreements/residents-study/suspend?dry_run={value}")
            self.ask("GET", f"/readyz?verbose={value}", port=self.house.ports[3])

    def send_what_is_refused(self, values: dict[str, list[str]]) -> None:
        """Register schemas and apply files that hold values, and cannot be taken."""
        for number, value in enumerate(values["schemas"]):
            fields = ({"name": value, "type": "string"}, {"name": "f", "type": "int", "default": value}, {"name": "f", "type": value})
            field = fields[number % 3]
            schema = json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], field]})  # type: ignore[misc]
            assert self.ask("POST", "/subjects/dept.civil-affairs.residents-value/versions", json.dumps({"schema": schema})) >= 400
            assert self.ask("POST", "/v1/schemas", json.dumps({"dataset": "civil-affairs/residents", "schema": schema})) >= 400
        for number, value in enumerate(values["files"]):
            rule = f"rows: {{all: [{{field: id, {value}: 1}}]}}"
            line = [f"id: {value}", f"fields: ['{value}']", rule, f"'{value}: [", f"tariff: {value}"]
            text = f"{AGREEMENT.replace('residents-study', 'other-study')}{line[number % 5]}\n"
            sent = json.dumps({"text": text, "file": f"{value}.yaml"})
            assert self.ask("POST", "/v1/agreements", sent) >= 400
            assert self.ask("POST", "/v1/datasets", sent) >= 400


@pytest.fixture(scope="module")
def values() -> dict[str, list[str]]:
    """Give the values, by place."""
    return draw()


@pytest.fixture(scope="module")
def city(house: House, values: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> City:
    """Have everything happen, and the hub stopped."""
    city = City(house, tmp_path_factory.mktemp("people"))
    city.drop_files(values)
    source = str(city.folder / "source.yaml")
    city.run("connector", "check", source)
    assert city.run("connector", "run", source, "--once", "--json") == 2
    city.run("connector", "check", source, "--json")
    assert city.run("connector", "run", source, "--once") == 0
    city.misuse_the_api(values)
    city.send_what_is_refused(values)
    for value in values["paths"][:2]:
        city.run("agreement", "sign", value)
        city.run("exchange", "adopt", f"{value}-0", "--at", "0")
    serve, worker = house.ports[2], house.ports[3]
    until(lambda: "cityhub_quarantined_total{" in city.page("/metrics", port=worker))
    for path in ("/metrics", "/readyz?verbose", "/v1/acts", "/v1/openapi.json"):
        city.page(path, port=serve)
    house.call("exchange", "status")
    house.call("ledger", "check")
    city.run("doctor", "--json")
    city.run("acts", "list", "--json")
    assert house.call("down").returncode == 0
    return city


def test_no_planted_value_is_in_what_the_processes_wrote(city: City, values: dict[str, list[str]]) -> None:
    """Logs, database, broker, journals and reports, byte by byte."""
    assert Sweep(values).below(city.house.state) == {}


def test_no_planted_value_is_in_what_the_processes_said(city: City, values: dict[str, list[str]]) -> None:
    """The connector's errors and summaries, metrics, health, acts, and the reasons beside refused files."""
    reasons = [Said("why", path.read_text(encoding="utf-8")) for path in (city.folder / "rejected").glob("*.why.json")]
    assert len(reasons) >= 20
    sweep = Sweep(values)
    assert {said.who: found for said in [*city.said, *reasons] if (found := sweep.of(said.text.encode()))} == {}


def test_the_values_did_pass_where_they_may(city: City, values: dict[str, list[str]]) -> None:
    """The other side of the zero: they stand in the source topic, in rows set aside, and the acts of their refusals in the database."""
    sweep = Sweep(values)
    data = city.house.state / "broker" / "kafka" / "data"
    logs = {path: sweep.of(path.read_bytes().strip(b"\0")) for path in data.rglob("*.log")}
    for kind in ("dept.", "share.", "quarantine."):
        assert any(found for path, found in logs.items() if path.parent.name.startswith(kind)), kind
    assert any(sweep.of(path.read_bytes()) for path in city.house.state.glob("connectors/*/rejects/*.csv"))
    with sqlite3.connect(city.house.state / "hub.sqlite3") as store:
        (refused,) = store.execute("select count(*) from acts where outcome = 'refused'").fetchone()
    assert refused > 200


def test_no_line_of_a_letter_passed_at_all(city: City, values: dict[str, list[str]]) -> None:
    """They stand where their owner mends them, and in no topic, those of the dataset and the agreement neither."""
    planted = set(values["letters"])
    data = city.house.state / "broker" / "kafka" / "data"
    found = {name for path in data.rglob("*.log") for name in Sweep(values).of(path.read_bytes().strip(b"\0"))}
    assert found
    assert {name for name in found if name.startswith("letters: ")} == set()
    aside = "".join(path.read_text(encoding="utf-8-sig") for path in city.house.state.glob("connectors/*/rejects/*.csv"))
    assert {value for value in planted if value in aside} == planted


def test_a_leak_would_be_found(city: City, values: dict[str, list[str]], tmp_path: Path) -> None:
    """Positive control: one value in each form, in a log, in a database, in a file of a topic that may hold none."""
    sweep = Sweep(values)
    for place, planted in values.items():
        value = planted[2]
        for number, form in enumerate(forms(value)):
            folder = tmp_path / f"{place}-{number}" / "logs"
            folder.mkdir(parents=True)
            (folder / "serve.log").write_bytes(b'{"event": "x", "reason": "' + form + b'"}\n')
            assert sweep.below(folder.parent) == {"logs/serve.log": {f"{place}: {value}"}}
    state = city.house.state
    value = values["cells"][0]
    with sqlite3.connect(state / "hub.sqlite3") as store:
        store.execute("create table leak (reason text)")
        store.execute("insert into leak values (?)", (value,))
    store.close()
    log = state / "broker" / "kafka" / "data" / "hub.usage-0" / "leak.log"
    log.write_text(value, encoding="utf-8")
    assert set(sweep.below(state)) >= {"hub.sqlite3", str(log.relative_to(state))}
