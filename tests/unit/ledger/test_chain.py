"""A chain moves by its own steps only; whatever else comes holds it and costs nobody else anything."""

import dataclasses

import msgspec
import pytest
from ledger_steps import NOON_MS, SCOPE, TOPIC_ID, Log, LogRecord, Writer, entry, log_of

from hub.ledger.chain import HOUR_MS, Break, Chain, ChainId, Held, Reading, Refusal, follow, read_step
from hub.model.errors import HubError
from hub.model.records import encode_usage_step
from hub.model.usage import UsageStep, chain_hash


def reading(record: LogRecord) -> Reading:
    """Return the usage step that ``record`` is."""
    found = read_step(record, scope=SCOPE)
    assert isinstance(found, Reading)
    return found


def after(*records: LogRecord) -> Chain:
    """Return a new chain after ``records``."""
    chain = Chain()
    for record in records:
        chain = follow(chain, reading(record))
    return chain


def broken(step: UsageStep, /, **changes: object) -> LogRecord:
    """Return a record of ``step`` with something wrong in it."""
    return Log().append(msgspec.structs.replace(step, **changes))


def test_a_chain_opens_at_step_one_with_a_zero_hash_at_any_offset() -> None:
    """A dataset is published when its topic already stands at some offset."""
    writer = Writer(next_offset=700)

    chain = after(Log().append(writer.next(entry(delivered=3))))

    assert (chain.step, chain.next_offset, chain.held) == (1, 703, None)


def test_the_head_is_the_hash_of_the_framed_value() -> None:
    """The lane writes it so; anything else would hold every chain."""
    writer = Writer()
    record = Log().append(writer.next(entry(delivered=3)))

    assert record.value is not None
    assert after(record).head == chain_hash(record.value) == writer.head


def test_steps_that_continue_move_the_chain() -> None:
    """The ordinary case."""
    writer = Writer()

    chain = after(*log_of(writer.next(entry(delivered=5, filtered=2)) for _ in range(4)).records)

    assert (chain.step, chain.next_offset) == (4, 28)


def test_metering_time_never_goes_back_within_a_chain() -> None:
    """Broker clocks step back; the hour of a step must not depend on it."""
    writer = Writer()
    log = log_of([writer.next(entry(delivered=1)), writer.next(entry(delivered=1))], times=(NOON_MS, NOON_MS - 2 * HOUR_MS))

    assert after(*log.records).metered_ms == NOON_MS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"first_offset": 6, "records": 4}, Break.GAP),
        ({"first_offset": 4, "records": 6}, Break.OVERLAP),
        ({"step": 3}, Break.STEP),
        ({"step": 1}, Break.STEP),
        ({"prev_hash": bytes(32)}, Break.HASH),
        ({"records": 6}, Break.CONSERVATION),
        ({"entries": (entry(delivered=4),)}, Break.CONSERVATION),
        ({"entries": (entry(delivered=6, filtered=-1),)}, Break.ENTRIES),
        ({"entries": (entry(delivered=5), entry(delivered=5, version=2))}, Break.ENTRIES),
        ({"entries": (entry("No Slug", delivered=5),)}, Break.ENTRIES),
        ({"entries": (msgspec.structs.replace(entry(delivered=5), bytes_source=2**60),)}, Break.ENTRIES),
        ({"records": -5, "gaps": 10}, Break.ENTRIES),
    ],
)
def test_a_step_that_does_not_continue_holds_the_chain(changes: dict[str, object], reason: Break) -> None:
    """Each way a step can be wrong has its own word, so that whoever is called knows where to look."""
    writer = Writer()
    first = Log().append(writer.next(entry(delivered=5)))
    second = broken(writer.next(entry(delivered=5)), **changes)

    chain = after(first, second)

    assert chain.held == Held(second.offset, reason)
    assert (chain.step, chain.next_offset) == (1, 5)


def test_a_chain_that_does_not_begin_at_its_first_step_is_held() -> None:
    """The beginning of hub.usage is missing: nothing may be billed as if it were whole."""
    writer = Writer()
    writer.next(entry(delivered=1))

    assert after(Log().append(writer.next(entry(delivered=1)))).held == Held(0, Break.OPENING)


def test_a_held_chain_stays_where_it_is() -> None:
    """Even the step that would have continued it waits for `ledger resume`, else order is lost."""
    writer = Writer()
    first, missing, last = (writer.next(entry(delivered=1)) for _ in range(3))
    log = log_of([first, last, missing])

    chain = after(*log.records)

    assert (chain.step, chain.held) == (1, Held(1, Break.GAP))


def test_a_step_without_the_brokers_append_time_holds_its_chain() -> None:
    """A worker's clock must not decide the hour and the price."""
    record = dataclasses.replace(Log().append(Writer().next(entry(delivered=1))), timestamp_type=0)

    assert after(record).held == Held(0, Break.CLOCK)


def test_a_chain_stays_in_one_partition_of_the_usage_topic() -> None:
    """Order between two partitions is nobody's."""
    writer = Writer()
    first = Log(partition=0).append(writer.next(entry(delivered=1)))
    second = Log(partition=1).append(writer.next(entry(delivered=1)))

    assert after(first, second).held == Held(0, Break.PARTITION)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Refusal.UNREADABLE),
        (b"", Refusal.UNREADABLE),
        (b"\0\0\0\0\1abc", Refusal.UNREADABLE),
        (encode_usage_step(Writer().next(entry(delivered=1)))[:-3], Refusal.UNREADABLE),
        (encode_usage_step(Writer().next(entry(delivered=1))) + b"x", Refusal.UNREADABLE),
        (encode_usage_step(Writer(scope="110000").next(entry(delivered=1))), Refusal.SCOPE),
        (encode_usage_step(Writer(pass_id="p" * 41).next(entry(delivered=1))), Refusal.UNREADABLE),
    ],
)
def test_a_record_that_is_no_usage_step_of_this_hub_is_refused(value: bytes | None, reason: Refusal) -> None:
    """It is counted and alarmed; the partition goes on."""
    record = Log().append_value(value, key=Writer().next().key)

    assert read_step(record, scope=SCOPE) is reason


def test_a_record_under_another_key_is_refused() -> None:
    """The key decides the partition, and with it the order of the chain."""
    step = Writer().next(entry(delivered=1))

    assert read_step(Log().append_value(encode_usage_step(step), key=b"other"), scope=SCOPE) is Refusal.KEY


def test_a_chain_id_reads_what_it_writes() -> None:
    """Operators copy it from `ledger show` into `ledger resume`."""
    for chain_id in (ChainId(str(TOPIC_ID), 3), ChainId(str(TOPIC_ID), 3, "backfill-1")):
        assert ChainId.parse(str(chain_id)) == chain_id


@pytest.mark.parametrize("text", ["", "dept.transport.flights-3", f"{TOPIC_ID}", f"{TOPIC_ID}/x"])
def test_what_is_no_chain_id_is_refused(text: str) -> None:
    """With the way to find one."""
    with pytest.raises(HubError, match="HUB-LEDGER-005"):
        ChainId.parse(text)
