"""What a lane makes of answers that go wrong in the middle of a step. The broker here is a few lines: see ``lane_rig``."""

import asyncio
import io
import json
import struct
import uuid
from collections.abc import Callable, Sequence

import msgspec
import pytest
import structlog
from kernel_kit import LANE, NOW, TOPIC_ID, batch_at, chunk_of, plan_of, terms, vehicle
from lane_rig import NAMES, NO_ANSWER, LaneRig

from hub.broker.batches import build_batches, read_records, stamp
from hub.broker.transactions import Refusal
from hub.exchange import kernel
from hub.exchange.lane import Lane
from hub.exchange.observer import Observer
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict
from hub.model.lifecycle import State
from hub.model.names import TopicPartition
from hub.settings import ExchangeSettings

SHARE = "share.parking-office.parking"
STRANGE = 42
ILLEGAL_GENERATION = 22


def _chunk(count: int = 3) -> Chunk:
    return chunk_of(batch_at(100, [(None, vehicle())] * count), first_offset=100, next_offset=100 + count)


async def _until(true: Callable[[], bool], *, within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - the lane tells nobody
            await asyncio.sleep(0.01)


async def _run(rig: LaneRig, true: Callable[[], bool]) -> None:
    running = asyncio.create_task(rig.lane.run())
    try:
        await _until(lambda: true() or running.done())
    finally:
        rig.lane.stop()
        await running


def test_a_step_is_delivered_and_metered_once() -> None:
    """The control of this file: with nothing wrong the rig carries a step across."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    assert rig.kafka.delivered(SHARE) == 3
    assert [(step.first_offset, step.next_offset) for step in rig.kafka.usage()] == [(100, 103)]


def test_a_step_that_the_kernel_ends_early_is_followed_by_the_rest_without_asking_the_broker_again() -> None:
    """A small batch may hold gigabytes: each step takes its bound of them, and the chain has no hole."""
    plan = plan_of(terms("parking", "plate"), step_plain_bytes_max=10_000)
    rig = LaneRig(plan, append_ms=NOW)
    rig.give_when_sought(_chunk(900))
    asyncio.run(_run(rig, lambda: rig.lane.next_offset == 1000))
    spans = [(step.first_offset, step.next_offset, step.records) for step in rig.kafka.usage()]
    assert len(spans) > 2
    assert [first for first, _, _ in spans] == [100, *(end for _, end, _ in spans[:-1])]
    assert sum(records for _, _, records in spans) == rig.kafka.delivered(SHARE) == 900
    assert rig.flow.sought == [100]


def test_an_abort_that_may_not_have_happened_is_never_followed_by_a_commit() -> None:
    """The first try of a step stands in the open transaction: committing the second commits both, twice delivered and billed."""
    rig = LaneRig(plan_of(terms("parking", "plate", valid_from_ms=1)), append_ms=NOW)
    rig.kafka.answers["EndTxn"] = [STRANGE]  # the clock is not known yet, so the first try is decided again
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    assert rig.kafka.asked.count("InitProducerId") == 2
    assert [(step.first_offset, step.next_offset) for step in rig.kafka.usage()] == [(100, 103)]
    assert rig.kafka.delivered(SHARE) == 3


async def _refused(rig: LaneRig, change: Callable[[], None], true: Callable[[], bool]) -> None:
    """Run the lane; once it stands idle, ``change`` the world and let a broker refuse its place."""
    running = asyncio.create_task(rig.lane.run())
    await _until(lambda: rig.flow.sought == [100])
    change()
    rig.lane.look_around()
    try:
        await _until(true)
    finally:
        rig.lane.stop()
        await running


def test_a_topic_created_again_under_a_running_lane_stops_it() -> None:
    """Between two metadata refreshes no rebalance tells: the offsets of the new topic are those of other records."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    again = {LANE.topic: uuid.uuid4()}
    asyncio.run(_refused(rig, lambda: rig.kafka.topics.update(again), lambda: rig.lane.fault is not None))
    assert rig.lane.fault is not None
    assert rig.lane.fault.code == "HUB-LANE-002"
    assert rig.kafka.committed == []
    assert rig.flow.sought == [100]


def test_a_lane_asks_for_the_records_of_its_positions_topic_and_no_other() -> None:
    """The name alone would do for whichever topic has it at the moment."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    asyncio.run(_run(rig, lambda: rig.flow.sought == [100]))
    assert rig.flow.topic_id == TOPIC_ID


def test_a_log_that_was_cut_below_the_lane_stops_it() -> None:
    """Records that were delivered are gone from the source: to go on would number others with their offsets."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)

    def cut() -> None:
        rig.kafka.end = 50

    asyncio.run(_refused(rig, cut, lambda: rig.lane.fault is not None))
    assert rig.lane.fault is not None
    assert rig.lane.fault.code == "HUB-LANE-003"


def test_offsets_that_retention_took_under_an_idle_lane_are_counted_lost_at_once() -> None:
    """No record comes to tell: the broker refuses the offset, and that is enough."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)

    def overtake() -> None:
        rig.kafka.begin = 120

    asyncio.run(_refused(rig, overtake, lambda: bool(rig.kafka.usage())))
    (step,) = rig.kafka.usage()
    assert (step.first_offset, step.next_offset, step.records, step.lost) == (100, 120, 0, 20)
    assert rig.flow.sought == [100, 120]


def test_a_refusal_that_nothing_explains_is_asked_again() -> None:
    """A broker that has not heard of a topic yet, or of its end: the lane neither stops nor spins."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    asyncio.run(_refused(rig, lambda: None, lambda: rig.flow.sought == [100, 100]))
    assert rig.lane.fault is None


def test_a_chunk_that_does_not_follow_is_asked_for_again() -> None:
    """A left-over from before the lane began here: it is not taken, and what is due comes."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)

    async def stray() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: rig.flow.sought == [100])
        rig.give_when_sought(_chunk())
        rig.lane.take(chunk_of(batch_at(110, [(None, vehicle())]), first_offset=110, next_offset=111))
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(stray())
    assert [(step.first_offset, step.next_offset) for step in rig.kafka.usage()] == [(100, 103)]
    assert rig.flow.sought == [100, 100]


def test_a_usage_topic_without_append_time_stops_the_lane() -> None:
    """Held against no time every term is over: all would be denied, and it would look right."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=-1)
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: rig.lane.fault is not None))
    assert rig.lane.fault is not None
    assert rig.lane.fault.code == "HUB-LANE-008"
    assert rig.kafka.committed == []


def test_a_request_without_answer_starts_the_lane_anew() -> None:
    """The read of the position is asked again, and the step is carried across once."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    rig.kafka.answers["OffsetFetch"] = [NO_ANSWER]
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    assert rig.kafka.delivered(SHARE) == 3


@pytest.mark.parametrize("member", [(-1, ""), (1, "member")])
def test_a_lane_that_the_group_has_refused_fences_nobody_until_the_group_has_it_again(member: tuple[int, str]) -> None:
    """A zombie that took its id up again and again would fence the owner each time; as no member it would even commit."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    rig.kafka.answers["TxnOffsetCommit"] = [ILLEGAL_GENERATION]
    rig.give_when_sought(_chunk())

    async def refused_then_rejoined() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: "TxnOffsetCommit" in rig.kafka.asked)
        rig.flow.member = member
        await asyncio.sleep(0.3)
        assert rig.kafka.asked.count("InitProducerId") == 1
        rig.flow.member = (2, "member")
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(refused_then_rejoined())
    assert rig.kafka.delivered(SHARE) == 3


def test_a_kernel_that_drops_a_record_uncounted_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conservation is held before the commit: what the transport counted and the kernel did not stops the lane."""
    right = kernel.run

    def dropping(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
        verdict = right(plan, chunks, source, moment)
        (entry,) = verdict.entries
        short = msgspec.structs.replace(entry, delivered=entry.delivered - 1)
        return msgspec.structs.replace(verdict, records=verdict.records - 1, entries=(short,))

    monkeypatch.setattr(kernel, "run", dropping)
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: rig.lane.fault is not None))
    assert rig.lane.fault is not None
    assert rig.lane.fault.code == "HUB-LANE-006"
    assert rig.kafka.committed == []


def test_nothing_commits_while_the_leader_of_hub_plan_does_not_answer() -> None:
    """A right may have been taken away meanwhile; once it answers, the step is decided anew and committed once."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    rig.give_when_sought(_chunk())

    def silent() -> None:
        rig.intake.age = rig.context.settings.plan_fresh_s + 1

    async def silent_between_decision_and_commit() -> None:
        rig.kafka.answers["Produce"] = [silent]
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: "EndTxn" in rig.kafka.asked)
        await asyncio.sleep(0.3)
        assert rig.kafka.committed == []
        rig.intake.age = 0.0
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(silent_between_decision_and_commit())
    assert rig.kafka.delivered(SHARE) == 3


TOLLS = "share.parking-office.tolls"


def _two(*, wait_s: float = 0.0) -> LaneRig:
    return LaneRig(plan_of(terms("parking", "plate"), terms("tolls", "plate")), append_ms=NOW, wait_s=wait_s)


@pytest.mark.parametrize("code", [17, 44, 87])
def test_a_share_partition_that_refuses_for_longer_than_the_wait_is_denied_and_holds_nobody(code: int) -> None:
    """Invalid topic, against a policy, invalid record: as the topic is set, none of these passes by itself."""
    rig = _two()
    rig.kafka.refusing[TOLLS] = code
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    parking, tolls = rig.kafka.usage()[0].entries
    assert (parking.delivered, parking.denied) == (3, 0)
    assert (tolls.delivered, tolls.denied, tolls.denied_by) == (0, 3, "undeliverable")
    assert rig.kafka.delivered(TOLLS) == 0


@pytest.mark.parametrize("code", [17, 44, 87])
def test_within_the_wait_nothing_is_denied_and_the_lane_says_what_it_waits_for(code: int) -> None:
    """Serve mends a topic within seconds: a record that was denied meanwhile would be lost to its consumer for good."""
    rig = _two(wait_s=60)
    rig.kafka.refusing[TOLLS] = code
    rig.give_when_sought(_chunk())

    async def refused_then_mended() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: rig.lane.fault is not None)
        assert rig.lane.fault is not None
        assert rig.lane.fault.code == "HUB-LANE-014"
        assert rig.kafka.committed == []
        del rig.kafka.refusing[TOLLS]
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(refused_then_mended())
    assert [entry.delivered for entry in rig.kafka.usage()[0].entries] == [3, 3]


@pytest.mark.parametrize("code", [19, 20, 29])
def test_a_refusal_that_may_pass_is_never_final(code: int) -> None:
    """A wrong ACL for a minute, or a replica that is away, must not cost a record: the lane waits, however long."""
    rig = _two()
    context = msgspec.structs.replace(rig.context, settings=ExchangeSettings(step_ms=1, transaction_timeout_ms=200))
    rig.lane = Lane(LANE, context=context)
    rig.kafka.refusing[TOLLS] = code
    rig.give_when_sought(_chunk())

    async def refused_then_mended() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: rig.lane.fault is not None)
        assert rig.lane.fault is not None
        assert rig.lane.fault.code == "HUB-LANE-013"
        assert rig.kafka.committed == []
        del rig.kafka.refusing[TOLLS]
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(refused_then_mended())
    assert [(entry.delivered, entry.denied) for entry in rig.kafka.usage()[0].entries] == [(3, 0), (3, 0)]


@pytest.mark.parametrize("width", [200, 500, 5_000])
def test_a_share_topic_that_takes_small_batches_only_gets_every_record_in_small_batches(width: int) -> None:
    """Down to records alone; the other agreements keep their batches."""
    rig = _two()
    rig.kafka.widths[TOLLS] = width
    rig.give_when_sought(_chunk(300))
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    assert [(entry.delivered, entry.denied) for entry in rig.kafka.usage()[0].entries] == [(300, 0), (300, 0)]
    assert rig.kafka.delivered(TOLLS) == rig.kafka.delivered(SHARE) == 300
    sizes = [len(data) for topic, _, data in rig.kafka.committed if topic == TOLLS]
    assert max(sizes) <= width
    assert sum(topic == SHARE for topic, *_ in rig.kafka.committed) == 1


def test_only_the_record_that_fits_in_no_batch_is_denied() -> None:
    """Its neighbours are the consumer's; the count says that one is missing, and the step still conserves every offset."""
    rig = _two()
    rig.kafka.widths[TOLLS] = 400
    rows: list[tuple[bytes | None, bytes | None]] = [(None, vehicle()), (None, vehicle(plate="X" * 600)), (None, vehicle())]
    rig.give_when_sought(chunk_of(batch_at(100, rows), first_offset=100, next_offset=103))
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    parking, tolls = rig.kafka.usage()[0].entries
    assert (parking.delivered, parking.denied) == (3, 0)
    assert (tolls.delivered, tolls.denied, tolls.denied_by) == (2, 1, "undeliverable")
    assert rig.kafka.delivered(TOLLS) == 2
    values = [row.value or b"" for topic, _, data in rig.kafka.committed if topic == TOLLS for row in read_records(data)]
    assert tolls.bytes_delivered == sum(map(len, values))


def test_a_record_that_fits_in_no_batch_is_waited_for_first() -> None:
    """Serve sets the topic's bound back within seconds: then it is delivered like any other."""
    rig = _two(wait_s=60)
    rig.kafka.widths[TOLLS] = 400
    rows: list[tuple[bytes | None, bytes | None]] = [(None, vehicle()), (None, vehicle(plate="X" * 600))]
    rig.give_when_sought(chunk_of(batch_at(100, rows), first_offset=100, next_offset=102))

    async def narrow_then_mended() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: rig.lane.fault is not None)
        assert rig.lane.fault is not None
        assert rig.lane.fault.code == "HUB-LANE-014"
        rig.kafka.widths.clear()
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(narrow_then_mended())
    assert [(entry.delivered, entry.denied) for entry in rig.kafka.usage()[0].entries] == [(2, 0), (2, 0)]


def test_after_the_wait_the_next_steps_do_not_wait_again_until_the_partition_takes_records() -> None:
    """One consumer's lost topic holds the others once, not at every step."""
    rig = _two()
    place = TopicPartition(TOLLS, LANE.partition)
    rig.kafka.refusing[TOLLS] = 87
    rig.give_when_sought(_chunk())
    asyncio.run(_run(rig, lambda: bool(rig.kafka.usage())))
    assert dict(rig.context.undeliverables.denied) == {place: 87}
    asyncio.run(rig.context.undeliverables.probe())
    assert rig.context.undeliverables.of(rig.intake.now, LANE.partition) == frozenset()
    rig.context.undeliverables.meet({place: Refusal(87)})
    assert rig.context.undeliverables.of(rig.intake.now, LANE.partition) == {"tolls"}
    assert rig.context.undeliverables.of(rig.intake.now, LANE.partition + 1) == frozenset()


@pytest.mark.parametrize("topic", [NAMES.usage, "quarantine.vehicle-registry.vehicles"])
@pytest.mark.parametrize(("refusal", "code", "told"), [(44, "HUB-LANE-008", "cityhub serve"), (29, "HUB-LANE-013", "ACLs or replicas")])
def test_a_usage_or_quarantine_topic_that_refuses_stops_the_lane(topic: str, refusal: int, code: str, told: str) -> None:
    """Without the meter nothing is delivered, and a bad record is not dropped; serve makes no topic again that is there."""
    rig = LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW)
    rig.kafka.refusing[topic] = refusal
    bad = chunk_of(batch_at(100, [(None, vehicle()), (None, b"bad")]), first_offset=100, next_offset=102)
    rig.give_when_sought(bad)
    asyncio.run(_run(rig, lambda: rig.lane.fault is not None))
    assert rig.lane.fault is not None
    assert (rig.lane.fault.code, told in rig.lane.fault.fix) == (code, True)
    assert rig.kafka.committed == []


def test_suspending_the_agreement_whose_topic_refuses_lets_the_others_go_on() -> None:
    """What may pass is never final: all wait, and this is the way on that the fix names."""
    rig = _two()
    rig.kafka.refusing[TOLLS] = 29
    rig.give_when_sought(_chunk())

    async def suspended() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: rig.lane.fault is not None)
        assert rig.lane.fault is not None
        assert "cityhub agreement suspend tolls" in rig.lane.fault.fix
        assert rig.kafka.committed == []
        plan = plan_of(terms("parking", "plate"), terms("tolls", "plate"), states={"tolls": State.SUSPENDED})
        rig.intake.now = msgspec.structs.replace(plan, plan_offset=rig.intake.now.plan_offset + 1)
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(suspended())
    assert [(entry.agreement_id, entry.delivered, entry.denied) for entry in rig.kafka.usage()[0].entries] == [
        ("parking", 3, 0),
        ("tolls", 0, 3),
    ]


def test_the_text_of_an_unexpected_error_is_not_logged() -> None:
    """It may quote a record: the type alone is told."""
    out = io.StringIO()
    structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(out))
    try:
        Observer().lane_restarts(LANE, why=KeyError("浙A12345"))
    finally:
        structlog.reset_defaults()
    assert json.loads(out.getvalue())["reason"] == "KeyError"


def _spoilt(rig: LaneRig, settings: ExchangeSettings) -> LaneRig:
    rig.lane = Lane(LANE, context=msgspec.structs.replace(rig.context, settings=settings))
    return rig


@pytest.mark.parametrize(("bad", "stops"), [(90, True), (89, False)])
def test_a_lane_stops_at_the_bound_of_quarantined_records_and_not_one_before(bad: int, stops: bool) -> None:  # noqa: FBT001 - a case
    """Nothing of the step that would cross it is committed: nothing is lost, a person decides."""
    settings = ExchangeSettings(step_ms=1, quarantine_stop_records=100, quarantine_stop_share=0.9)
    rig = _spoilt(LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW), settings)
    rows: list[tuple[bytes | None, bytes | None]] = [(None, b"bad")] * bad + [(None, vehicle())] * (100 - bad)
    rig.give_when_sought(chunk_of(batch_at(100, rows), first_offset=100, next_offset=200))
    asyncio.run(_run(rig, lambda: rig.lane.fault is not None or bool(rig.kafka.usage())))
    assert (rig.lane.fault is not None and rig.lane.fault.code == "HUB-LANE-015") == stops
    assert bool(rig.kafka.committed) != stops


def test_a_short_run_of_bad_records_is_quarantined_like_any_other() -> None:
    """99 of 99 are below the bound of 100; and 0 means never."""
    for records, count in ((100, 99), (0, 200)):
        settings = ExchangeSettings(step_ms=1, quarantine_stop_records=records)
        rig = _spoilt(LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW), settings)
        rig.give_when_sought(chunk_of(batch_at(100, [(None, b"bad")] * count), first_offset=100, next_offset=100 + count))
        asyncio.run(_run(rig, lambda rig=rig: bool(rig.kafka.usage())))
        assert rig.lane.fault is None
        assert rig.kafka.usage()[0].entries[0].quarantined == count


def test_one_batch_that_cannot_be_opened_counts_as_one_however_many_records_it_claims() -> None:
    """Any publisher can send one: it must not stop a partition for all its consumers."""
    settings = ExchangeSettings(step_ms=1, quarantine_stop_records=100)
    rig = _spoilt(LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW), settings)
    rig.give_when_sought(chunk_of(_unreadable(100, 200), batch_at(300, [(None, vehicle())]), first_offset=100, next_offset=301))
    asyncio.run(_run(rig, lambda: rig.lane.fault is not None or bool(rig.kafka.usage())))
    assert rig.lane.fault is None
    assert (rig.kafka.usage()[0].entries[0].quarantined, rig.kafka.usage()[0].entries[0].delivered) == (200, 1)


def test_as_many_batches_that_cannot_be_opened_as_the_bound_says_stop_the_lane() -> None:
    """An encrypted topic is batch after batch of them."""
    settings = ExchangeSettings(step_ms=1, quarantine_stop_records=20)
    rig = _spoilt(LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW), settings)
    batches = [_unreadable(100 + 10 * at, 10) for at in range(20)]
    rig.give_when_sought(chunk_of(*batches, first_offset=100, next_offset=300))
    asyncio.run(_run(rig, lambda: rig.lane.fault is not None or bool(rig.kafka.usage())))
    assert rig.lane.fault is not None
    assert (rig.lane.fault.code, rig.kafka.committed) == ("HUB-LANE-015", [])


def _unreadable(at: int, count: int) -> bytes:
    """Return a batch whose records are no records, with a CRC that is right: as an encrypting client would send it."""
    built = build_batches([(None, vehicle())] * count, bytes_max=1_000_000, timestamp_ms=NOW)[0].data
    torn = bytearray(bytes(built[:61]) + b"\xff" * (len(built) - 61))
    return struct.pack(">q", at) + bytes(stamp(bytes(torn), producer_id=-1, epoch=-1, sequence=-1, transactional=False))[8:]


@pytest.mark.parametrize("what", ["a hiccup", "another agreement's change"])
def test_what_is_no_act_about_its_records_lets_a_spoilt_lane_stand(what: str) -> None:
    """Else each would quarantine up to another bound of them."""
    settings = ExchangeSettings(step_ms=1, quarantine_stop_records=100)
    rig = _spoilt(LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW), settings)
    rig.give_when_sought(chunk_of(batch_at(100, [(None, b"bad")] * 60), first_offset=100, next_offset=160))
    rig.give_when_sought(chunk_of(batch_at(160, [(None, b"bad")] * 60), first_offset=160, next_offset=220))

    async def run() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: bool(rig.kafka.usage()))
        rig.flow.at_hand[160]()
        await _until(lambda: rig.lane.fault is not None)
        await asyncio.sleep(0.3)  # it has looked how things stand
        if what == "a hiccup":
            rig.kafka.answers["OffsetFetch"] = [STRANGE]
        else:
            rig.intake.now = msgspec.structs.replace(rig.intake.now, plan_offset=rig.intake.now.plan_offset + 5)
        await asyncio.sleep(2.5)
        rig.lane.stop()
        await running

    asyncio.run(run())
    assert rig.lane.fault is not None
    assert (rig.lane.fault.code, len(rig.kafka.usage())) == ("HUB-LANE-015", 1)


def test_another_position_lets_a_spoilt_lane_go_on() -> None:
    """Control of the above: this is the way on that the fix names."""
    settings = ExchangeSettings(step_ms=1, quarantine_stop_records=100)
    rig = _spoilt(LaneRig(plan_of(terms("parking", "plate")), append_ms=NOW), settings)
    rig.give_when_sought(chunk_of(batch_at(100, [(None, b"bad")] * 100), first_offset=100, next_offset=200))
    rig.give_when_sought(chunk_of(batch_at(200, [(None, vehicle())] * 3), first_offset=200, next_offset=203))

    async def adopted() -> None:
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: rig.lane.fault is not None)
        assert rig.kafka.offset is not None
        rig.kafka.offset = (200, rig.kafka.offset[1])
        await _until(lambda: bool(rig.kafka.usage()))
        rig.lane.stop()
        await running

    asyncio.run(adopted())
    assert rig.lane.fault is None
    assert rig.kafka.delivered(SHARE) == 3


def test_a_second_trouble_with_a_share_partition_is_told_with_its_own_offsets() -> None:
    """Months lie between them, and what was delivered meanwhile was not lost."""
    rig = _two()
    observer = rig.context.observer

    async def twice() -> None:
        rig.kafka.refusing[TOLLS] = 87
        rig.give_when_sought(_chunk())
        running = asyncio.create_task(rig.lane.run())
        await _until(lambda: len(rig.kafka.usage()) == 1)
        assert "offsets 100 to 102" in observer.denied_offsets(LANE, "tolls")
        rig.kafka.refusing.clear()
        await rig.context.undeliverables.probe()
        for at, refusing in ((103, False), (106, True)):
            if refusing:
                rig.kafka.refusing[TOLLS] = 87
            rig.flow.at_hand[at] = lambda at=at: rig.lane.take(_chunk_at(at))  # type: ignore[misc] - each its own
            rig.flow.at_hand[at]()
            await _until(lambda at=at: rig.kafka.usage()[-1].first_offset == at)  # type: ignore[misc]
        rig.lane.stop()
        await running

    asyncio.run(twice())
    assert [step.entries[1].denied for step in rig.kafka.usage()] == [3, 0, 3]
    assert "offsets 106 to 108" in observer.denied_offsets(LANE, "tolls")
    observer.lane_ended(LANE)
    assert "offsets" not in observer.denied_offsets(LANE, "tolls")


def _chunk_at(at: int) -> Chunk:
    return chunk_of(batch_at(at, [(None, vehicle())] * 3), first_offset=at, next_offset=at + 3)
