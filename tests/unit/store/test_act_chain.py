"""What was recorded is what stands there: every change, gap, insertion and rewritten tail is found, and nothing that is well is."""

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from hub.agreements import anchoring
from hub.agreements.anchoring import ActAnchor
from hub.agreements.anchoring import verify as verify_acts
from hub.model.errors import HubError
from hub.model.signing import key_id_of
from hub.store.act_anchor import AnchorFile, make_anchor, read_anchor, write_anchor
from hub.store.act_chain import PAGE_ROWS, Link, Walked, walk
from hub.store.acts import Act, Actor, link_of, new_ulid, record_act
from hub.store.engine import open_engine
from hub.store.tables import act_signatures, acts
from hub.store.upgrade import upgrade

SCOPE = "330100"
OFFICER = Actor(person_id="li-wei", org_id="city-hub")
KEY = Ed25519PrivateKey.generate()
TRUST = {key_id_of(KEY.public_key()): KEY.public_key()}
ROWS, ANCHORED = 40, 33
CORRUPTIONS, CLEAN_RUNS = 1_000, 100


def store(folder: Path) -> Engine:
    """Open the store of a folder, made where it is missing."""
    folder.mkdir(exist_ok=True)
    opened = open_engine(f"sqlite:///{folder / 'hub.sqlite3'}")
    upgrade(opened)
    return opened


def record(engine: Engine, number: int, *, key: Ed25519PrivateKey | None = KEY) -> None:
    """Record one act."""
    act = Act(verb="suspend.agreement", object_type="agreement", object_id=f"a-{number}", object_version=1, before_hash="b", after_hash="c")
    with engine.begin() as connection:
        record_act(connection, act, actor=OFFICER, scope=SCOPE, outcome="done", correlation_id=new_ulid(), reason="why", key=key)


def record_some(engine: Engine, number: int) -> None:
    """Record three acts."""
    for _ in range(3):
        record(engine, number)


def duty(engine: Engine, folder: Path) -> ActAnchor:
    """Return the duty that anchors, with its copy in the folder alone."""
    return ActAnchor(engine=engine, scope=SCOPE, key=KEY, trust=TRUST, places={"in the state folder": AnchorFile(folder)})


def verify(engine: Engine, folder: Path) -> Walked:
    """Verify as the command does."""
    text = AnchorFile(folder).read()
    assert text is not None
    anchor = read_anchor(text, scope=SCOPE, trust=TRUST, where="in the state folder")
    return walk(engine, trust=TRUST, signed_after=anchor.seq, anchors=[anchor])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store of 40 acts, 33 of them anchored, that nobody has open."""
    folder = tmp_path_factory.mktemp("recorded")
    engine = store(folder)
    anchor = duty(engine, folder)
    anchor.open()
    for number in range(1, ROWS + 1):
        record(engine, number)
        if number == ANCHORED:
            anchor.follow()
    engine.dispose()
    return folder


@pytest.fixture
def engine(tmp_path: Path, recorded: Path) -> Iterator[Engine]:
    """Give a copy of it, with no trigger in the way."""
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    opened = store(tmp_path)
    _without_triggers(opened)
    yield opened
    opened.dispose()


def _without_triggers(engine: Engine) -> None:
    with engine.begin() as connection:
        for verb in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS acts_no_{verb}")


def rows(connection: Connection) -> list[dict[str, Any]]:
    """Return every act."""
    return [dict(row) for row in connection.execute(sa.select(acts).order_by(acts.c.seq)).mappings()]


def put(connection: Connection, wanted: list[dict[str, Any]]) -> None:
    """Let the acts be ``wanted``."""
    connection.execute(acts.delete())
    connection.execute(acts.insert(), wanted)


def hashed(wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows numbered and linked anew, as somebody would who knows how."""
    before = "0" * 64
    for seq, row in enumerate(wanted, start=1):
        row |= {"seq": seq, "prev_hash": before}
        row["hash"] = before = link_of(row)
    return wanted


def _value(column: Any, chance: random.Random, old: Any) -> Any:
    if column.name == "outcome":
        return chance.choice([word for word in ("intended", "done", "refused", "failed") if word != old])
    if column.name == "seq":
        return chance.choice([-3, 0, 10**6 + chance.randrange(10**6)])
    if column.name == "object_version":
        return chance.choice([None, 2, 99])
    if column.nullable and chance.random() < 0.3:
        return None
    return f"{chance.getrandbits(100):026X}"


def change_a_column(connection: Connection, chance: random.Random) -> None:
    """Any column of any row."""
    row, column = chance.choice(rows(connection)), chance.choice(list(acts.columns))
    value = _value(column, chance, row[column.name])
    connection.execute(acts.update().where(acts.c.seq == row["seq"]).values({column.name: value}))


def take_out(connection: Connection, chance: random.Random) -> None:
    """One row, or some in a row, not the last."""
    first = chance.randrange(1, ROWS - 3)
    connection.execute(acts.delete().where(acts.c.seq.between(first, first + chance.randrange(3))))


def cut_the_tail(connection: Connection, chance: random.Random) -> None:
    """From somewhere before the anchor."""
    connection.execute(acts.delete().where(acts.c.seq >= chance.randrange(1, ANCHORED + 1)))


def cut_and_number_anew(connection: Connection, chance: random.Random) -> None:
    """Let a row go, and the rest be linked as if it had never been."""
    kept = rows(connection)
    kept.pop(chance.randrange(ROWS - 1))
    put(connection, hashed(kept))


def put_in_between(connection: Connection, chance: random.Random) -> None:
    """Put in a row that nobody recorded, the rest linked anew."""
    found = rows(connection)
    at = chance.randrange(ROWS)
    put(connection, hashed([*found[:at], {**found[at], "act_id": new_ulid(), "object_id": "forged"}, *found[at:]]))


def put_at_the_end(connection: Connection, chance: random.Random) -> None:
    """Put a row behind the last, well linked, with no signature or another's."""
    found, act_id = rows(connection), new_ulid()
    put(connection, hashed([*found, {**chance.choice(found), "act_id": act_id}]))
    if chance.random() < 0.5:
        stolen = connection.execute(sa.select(act_signatures).limit(1)).one()
        connection.execute(act_signatures.insert().values(act_id=act_id, key_id=stolen.key_id, signature=stolen.signature))


def swap(connection: Connection, chance: random.Random) -> None:
    """Two rows change places, links and all or numbers alone."""
    found = rows(connection)
    one, other = sorted(chance.sample(range(ROWS), 2))
    found[one], found[other] = found[other], found[one]
    if chance.random() < 0.5:
        hashed(found)
    else:
        for seq, row in enumerate(found, start=1):
            row["seq"] = seq
    put(connection, found)


def write_the_tail_anew(connection: Connection, chance: random.Random) -> None:
    """Change a row, and reckon its hash and all that follow again."""
    found = rows(connection)
    at = chance.randrange(ROWS)
    found[at]["object_id"] = "forged"
    put(connection, hashed(found))


def take_a_signature(connection: Connection, chance: random.Random) -> None:
    """Behind the anchor no act stands without one."""
    act_id = rows(connection)[chance.randrange(ANCHORED, ROWS)]["act_id"]
    connection.execute(act_signatures.delete().where(act_signatures.c.act_id == act_id))


KINDS: tuple[Callable[[Connection, random.Random], None], ...] = (
    change_a_column,
    change_a_column,
    take_out,
    cut_the_tail,
    cut_and_number_anew,
    put_in_between,
    put_at_the_end,
    swap,
    write_the_tail_anew,
    take_a_signature,
)


def test_a_thousand_corruptions_are_found(engine: Engine, tmp_path: Path) -> None:
    """Each on a store that was sound before it, and each named by the first row that does not hold."""
    chance = random.Random(16)
    missed = []
    with engine.begin() as connection:
        sound, signatures = rows(connection), [dict(row) for row in connection.execute(sa.select(act_signatures)).mappings()]
    for number in range(CORRUPTIONS):
        kind = KINDS[number % len(KINDS)]
        with engine.begin() as connection:
            kind(connection, chance)
            left = connection.scalar(sa.select(sa.func.count()).select_from(act_signatures))
            touched = rows(connection) != sound or left != len(signatures)
        found = verify(engine, tmp_path)
        if touched and (found.broken is None or not found.broken.what):
            missed.append((number, kind.__name__))
        with engine.begin() as connection:
            put(connection, sound)
            connection.execute(act_signatures.delete())
            connection.execute(act_signatures.insert(), signatures)
        assert touched or kind is change_a_column
    assert missed == []
    assert verify(engine, tmp_path).broken is None


def test_the_first_bad_row_is_named(engine: Engine, tmp_path: Path) -> None:
    """By its number and its id."""
    with engine.begin() as connection:
        act_id = rows(connection)[11]["act_id"]
        connection.execute(acts.update().where(acts.c.seq.in_([12, 20])).values(actor_person_id="somebody-else"))

    broken = verify(engine, tmp_path).broken

    assert broken is not None
    assert (broken.seq, broken.act_id) == (12, act_id)


def test_a_cut_tail_names_what_is_gone(engine: Engine, tmp_path: Path) -> None:
    """What is left is well linked: only the anchor knows."""
    with engine.begin() as connection:
        connection.execute(acts.delete().where(acts.c.seq > 30))

    broken = verify(engine, tmp_path).broken

    assert walk(engine, trust=TRUST).broken is None
    assert broken is not None
    assert broken.what.startswith("acts 31 to 33 are gone")


def test_a_hundred_clean_runs_raise_no_alarm(tmp_path: Path) -> None:
    """Acts by two threads while the duty anchors and somebody verifies, the store opened anew each time, sometimes a kill between."""
    alarms = []
    for run in range(CLEAN_RUNS):
        engine = store(tmp_path)
        anchor = duty(engine, tmp_path)
        anchor.open()
        writers = [threading.Thread(target=record_some, args=(engine, run)) for _ in range(2)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            anchor.follow()
            alarms += [found for found in [verify(engine, tmp_path).broken] if found is not None]
        for writer in writers:
            writer.join()
        if run % 3:
            anchor.follow()
        alarms += [trouble for trouble in [anchor.trouble()] if trouble is not None]
        alarms += [found for found in [verify(engine, tmp_path).broken, anchor.check().broken] if found is not None]
        engine.dispose()
    assert alarms == []


def test_a_walk_holds_one_page_at_a_time(tmp_path: Path) -> None:
    """However many acts there are; progress is told page by page."""
    engine = store(tmp_path)
    with engine.begin() as connection:
        for number in range(2 * PAGE_ROWS + 1):
            act = Act(verb="x", object_type="agreement", object_id=str(number))
            record_act(connection, act, actor=OFFICER, scope=SCOPE, outcome="done", correlation_id="C")
    told: list[int] = []

    assert walk(engine, trust=TRUST, tell=told.append).head.seq == 2 * PAGE_ROWS + 1
    assert told == [PAGE_ROWS, 2 * PAGE_ROWS, 2 * PAGE_ROWS + 1]
    engine.dispose()


def test_acts_of_an_older_hub_have_no_signatures_and_are_anchored_as_they_are(tmp_path: Path) -> None:
    """From the first anchor on every act is signed."""
    engine = store(tmp_path)
    record(engine, 1, key=None)
    anchor = duty(engine, tmp_path)
    anchor.open()
    assert verify(engine, tmp_path).broken is None

    record(engine, 2, key=None)

    anchor.follow()
    assert "HUB-ACTS-001" in (anchor.trouble() or "")
    engine.dispose()


def test_an_anchor_never_moves_over_a_cut_tail(engine: Engine, tmp_path: Path) -> None:
    """The duty says what is gone and leaves the anchor as the proof of it, also where acts are recorded again meanwhile."""
    anchor = duty(engine, tmp_path)
    anchor.open()
    anchor.follow()
    before = AnchorFile(tmp_path).read()
    with engine.begin() as connection:
        connection.execute(acts.delete().where(acts.c.seq > 35))

    anchor.follow()
    for number in range(10):
        record(engine, number)
    anchor.follow()

    assert "acts 36 to 40 are gone" in (anchor.trouble() or "")
    assert AnchorFile(tmp_path).read() == before


def test_lost_acts_are_named_in_an_act_and_anchored_anew(engine: Engine, tmp_path: Path) -> None:
    """The way on after an older backup was restored."""
    with engine.begin() as connection:
        connection.execute(acts.delete().where(acts.c.seq > 20))
    anchor = duty(engine, tmp_path)
    anchor.open()

    lost = anchor.lost()
    record(engine, 1)
    anchor.renew()

    assert lost is not None
    assert "act 33" in lost
    assert anchor.trouble() is None
    assert verify(engine, tmp_path).broken is None


def test_what_is_broken_in_itself_is_never_anchored_anew(engine: Engine, tmp_path: Path) -> None:
    """A changed act is no lost one."""
    with engine.begin() as connection:
        connection.execute(acts.update().where(acts.c.seq == 5).values(reason=None))
    with pytest.raises(HubError) as refusal:
        duty(engine, tmp_path).lost()
    assert refusal.value.code == "HUB-ACTS-001"


@pytest.mark.parametrize("text", ["", "{}", "x" * 10_000, "[1]"])
def test_an_anchor_that_nobody_signed_is_refused(text: str) -> None:
    """Whoever may write to Kafka can put anything there."""
    with pytest.raises(HubError) as refusal:
        read_anchor(text, scope=SCOPE, trust=TRUST, where="in Kafka")
    assert refusal.value.code == "HUB-ACTS-002"


def test_an_anchor_of_a_stranger_or_another_scope_is_refused() -> None:
    """A good signature of the wrong key, and the right key's word about another hub."""
    stranger = make_anchor(scope=SCOPE, seq=1, link="0", key=Ed25519PrivateKey.generate())
    elsewhere = make_anchor(scope="330200", seq=1, link="0", key=KEY)
    for anchor in (stranger, elsewhere):
        with pytest.raises(HubError):
            read_anchor(write_anchor(anchor), scope=SCOPE, trust=TRUST, where="in Kafka")


def test_an_anchor_fits_into_kafkas_metadata() -> None:
    """Brokers take 4,096 bytes."""
    text = write_anchor(make_anchor(scope="330100000000", seq=2**62, link="f" * 64, key=KEY))
    assert len(text) < 4_000
    assert Link(2**62, "f" * 64) == Link(2**62, read_anchor(text, scope="330100000000", trust=TRUST, where="").hash)


def test_the_copy_in_the_state_folder_is_its_owners_alone(engine: Engine, tmp_path: Path) -> None:
    """Whole or not at all, and no file of a half write is left."""
    assert oct(AnchorFile(tmp_path).path.stat().st_mode)[-3:] == "600"
    assert [path.name for path in tmp_path.glob("acts*")] == ["acts.anchor"]


class Unreadable:
    """A place whose disk does not answer, the first ``times``."""

    def __init__(self, times: int, stop: threading.Event) -> None:
        """Set ``stop`` once it has answered."""
        self.times, self.stop = times, stop
        self.asked: list[str] = []

    def read(self) -> str | None:
        """Fail, then say that there is nothing."""
        self.asked.append("read")
        if len(self.asked) <= self.times:
            raise OSError(5, "Input/output error")
        self.stop.set()
        return None

    def write(self, _text: str) -> None:
        """Take it."""


def test_a_place_that_cannot_be_read_is_a_fault_of_that_copy_alone(engine: Engine, tmp_path: Path) -> None:
    """The other copy still holds, and the verification says which one was not read."""
    places: dict[str, Any] = {"in the state folder": AnchorFile(tmp_path), "in Kafka": Unreadable(9, threading.Event())}
    found = verify_acts(engine, scope=SCOPE, trust=TRUST, places=places)
    assert (found.code, found.anchored, len(found.notes)) == (None, ANCHORED, 1)
    assert "in Kafka cannot be read: Input/output error" in found.notes[0]
    ActAnchor(engine=engine, scope=SCOPE, key=KEY, trust=TRUST, places=places).open()


def test_the_duty_goes_on_whatever_fails(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ended in silence would anchor nothing more, and every check of health would be well."""
    stop = threading.Event()
    monkeypatch.setattr(anchoring, "ACTS_ANCHOR_EVERY_S", 0.0)
    broken: Any = {"in Kafka": Unreadable(0, stop)}
    anchor = ActAnchor(engine=engine, scope=SCOPE, key=KEY, trust=TRUST, places=broken)
    tries = iter([MemoryError(), KeyError("x")])
    check = anchor.check

    def fails_twice() -> Walked:
        for error in tries:
            raise error
        return check()

    monkeypatch.setattr(anchor, "check", fails_twice)
    anchor.run(stop)
    assert broken["in Kafka"].asked == ["read"]


def test_acts_that_an_older_hub_recorded_behind_the_anchor_are_not_told_as_missing(engine: Engine, tmp_path: Path) -> None:
    """They are there; what they lack is a signature."""
    record(engine, 1, key=None)
    anchor = duty(engine, tmp_path)
    anchor.open()
    lost = anchor.lost() or ""
    assert "act 41 stands without a valid signature" in lost
    assert "does not have" not in lost
