"""The checker of the fault tests can fail: each of its figures is held against data that is wrong in just that way."""

import ast
import hashlib
import sys
from pathlib import Path
from typing import Any

from chain import Chain
from checker import bill, check_steps
from due import MUST_BE_ZERO, Comparison, Due, Report, SourceRows, Terms, check_rows
from foreign import Read
from rows import row

HERE = Path(__file__).parent
TOPIC_ID = "2b982392-723f-44c4-8267-a227c18fe810"


def _records(*numbers: int) -> list[dict[str, Any]]:
    return [{"number": number, "plate": f"p{number}"} for number in numbers]


def _compared(delivered: list[dict[str, Any]]) -> dict[str, int]:
    report, due = Report(), Due()
    for offset, record in enumerate(_records(1, 2, 3, 4)):
        due.deliver(offset, record)
    comparison = Comparison("a place", due, report)
    for record in delivered:
        comparison.take(record)
    comparison.end()
    return _found(report)


def _found(report: Report) -> dict[str, int]:
    return {name: count for name, count in report.figures.items() if count}


def test_the_checker_knows_none_of_the_hubs_code() -> None:
    """A checker that shares code with what it checks shares its faults."""
    own = {"checker", "chain", "due", "foreign", "rows"}
    allowed = {"confluent_kafka", "fastavro"} | own | sys.stdlib_module_names
    for name in own:
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))):
            names = [found.name for found in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            assert {found.split(".")[0] for found in names} <= allowed, name


def test_what_is_delivered_as_it_must_be_is_not_reported() -> None:
    """The baseline of the tests below."""
    assert _compared(_records(1, 2, 3, 4)) == {}


def test_a_missing_record_is_lost() -> None:
    """`lost`."""
    assert _compared(_records(1, 2, 4)) == {"lost": 1}


def test_a_record_twice_is_duplicated_and_not_reordered() -> None:
    """`duplicated`."""
    assert _compared(_records(1, 2, 3, 1, 2, 4)) == {"duplicated": 2}


def test_a_record_behind_a_later_one_is_reordered() -> None:
    """`reordered`."""
    assert _compared(_records(1, 3, 2, 4)) == {"reordered": 1}


def test_a_record_that_was_not_granted_or_in_another_form_is_unauthorised() -> None:
    """`unauthorised`: a row that the rule filters, a field too many, a value in clear."""
    wider = [{**record, "phone": "1"} for record in _records(4)]
    clear = [{"number": 3, "plate": "clear"}]
    assert _compared([*_records(1, 2), *clear, *wider, *_records(9)]) == {"unauthorised": 3}


def _source(partitions: list[list[dict[str, Any]]], *, writers: list[list[int]]) -> dict[str, int]:
    report = Report()
    parts = []
    for records in partitions:
        parts.append(SourceRows({"writers": writers}, make=row, seed=7, report=report))
        for record in records:
            parts[-1].take("a place", record)
    check_rows(parts, report=report)
    return _found(report)


def test_rows_that_a_writer_lost_doubled_or_moved_are_seen_in_the_source() -> None:
    """Each once, as it was, in order within its partition; rows of another writer may come between."""
    rows = {number: dict(row(7, number)) for number in range(8)}

    assert _source([[rows[0], rows[2]], [rows[1], rows[3]]], writers=[[0, 4]]) == {}
    assert _source([[rows[2], rows[0], rows[3], rows[1]]], writers=[[0, 2], [2, 4]]) == {}
    found = _source([[rows[0], rows[3], rows[2]], [rows[5], rows[5]]], writers=[[0, 6]])
    assert found == {"lost": 2, "duplicated": 1, "reordered": 1}
    assert _source([[rows[0], rows[1] | {"note": "another"}], [rows[1]]], writers=[[0, 2]]) == {"lost": 1, "duplicated": 1}
    assert _source([[rows[0], rows[7]], [rows[7]]], writers=[[0, 1]]) == {"duplicated": 1}


def _step(number: int, first: int, behind: int, prev_hash: bytes, **entry: int) -> dict[str, Any]:
    counts = dict.fromkeys(("delivered", "filtered", "denied", "suppressed", "quarantined"), 0) | entry
    return {
        "step": number,
        "source_topic_id": TOPIC_ID,
        "first_offset": first,
        "next_offset": behind,
        "records": behind - first,
        "gaps": 0,
        "lost": 0,
        "prev_hash": prev_hash,
        "entries": [{"agreement_id": "a", "bytes_delivered": 0, **counts}],
    }


def _followed(*steps: tuple[dict[str, Any], bytes]) -> tuple[Chain, Report]:
    chain, report = Chain("a place", TOPIC_ID), Report()
    for step, framed in steps:
        chain.follow(step, Read(0, None, framed, False, 1_795_000_000_000), report)
    return chain, report


def test_a_chain_that_repeats_skips_or_forges_a_step_is_broken() -> None:
    """`chain_breaks`: by number and offset, by hash, by conservation; each break counts once."""
    first, second = (_step(1, 0, 10, bytes(32), delivered=10), b"1"), (_step(2, 10, 20, hashlib.sha256(b"1").digest(), delivered=10), b"2")
    forged = (_step(2, 10, 20, bytes(32), delivered=10), b"2")
    leaking = (_step(2, 10, 20, hashlib.sha256(b"1").digest(), delivered=9), b"2")
    third = (_step(3, 20, 30, hashlib.sha256(b"2").digest(), filtered=10), b"3")

    assert _found(_followed(first, second, third)[1]) == {}
    assert _found(_followed(first, first, second, third)[1]) == {"chain_breaks": 1}
    assert _found(_followed(first, third)[1]) == {"chain_breaks": 1}
    assert _found(_followed(first, forged, third)[1]) == {"chain_breaks": 1}
    assert _found(_followed(first, leaking, third)[1]) == {"chain_breaks": 1}


def test_a_position_that_is_not_the_chains_end_is_a_break_and_a_rest_of_the_source_is_unmetered() -> None:
    """The lane's position and the chain say the same, and reach the end."""
    chain, report = _followed((_step(1, 0, 10, bytes(32), delivered=10), b"1"))

    chain.check_position(10, f"1;{TOPIC_ID};1;5;0;{hashlib.sha256(b'1').hexdigest()}", end=10, report=report)
    assert _found(report) == {}
    chain.check_position(9, f"1;{TOPIC_ID};1;5;0;{hashlib.sha256(b'1').hexdigest()}", end=12, report=report)
    assert _found(report) == {"chain_breaks": 1, "unmetered": 1}


def test_a_step_that_counts_other_than_its_offsets_hold_is_unmetered() -> None:
    """`unmetered`: by records, and by deliveries of each agreement."""
    chain, report = _followed((_step(1, 0, 10, bytes(32), delivered=8, filtered=2), b"1"))
    source = range(10)
    granted, narrower = Due(), Due()
    granted.offsets.extend(range(8))
    narrower.offsets.extend(range(6))
    narrower.quarantined.append(6)

    check_steps(chain, source, {"a": granted}, report)
    assert _found(report) == {}
    check_steps(chain, source[:9], {"a": narrower}, report)
    assert _found(report) == {"unmetered": 1 + 2 + 1}


def test_every_figure_of_the_checker_has_its_control_here() -> None:
    """A figure added to the checker needs a test that shows it can be other than 0."""
    assert set(MUST_BE_ZERO) == {"lost", "duplicated", "reordered", "unauthorised", "unmetered", "chain_breaks"}


def _terms(**told: Any) -> Terms:
    base = {"id": "a", "share_topic": "s", "state": "active", "unit_price_micro_fen": 300_000, "where": None, "fields": {"number": {}}}
    return Terms({**base, "consumer": "c", "purpose": "p", **told}, scope="330100", master=bytes(32), epoch=1)


def test_a_right_ends_in_each_partition_at_the_offset_that_was_answered() -> None:
    """What an answer says is due up to it and not behind it; where none was given everything is due."""
    ended = _terms(ends={"0": 5})
    assert [ended.ended(0, 4), ended.ended(0, 5), ended.ended(1, 9), _terms().ended(0, 9)] == [False, True, False, False]


def test_each_version_of_an_agreement_is_billed_by_its_own_tariff() -> None:
    """A version that had another tariff is not billed by that of the newest, and each is rounded once a month."""
    step = _step(1, 0, 10, bytes(32))
    step["entries"] = [{**step["entries"][0], "agreement_version": version, "delivered": 5, "filtered": 5} for version in (1, 2)]
    chain, _ = _followed((step, b"1"))
    assert bill(_terms(earlier_prices={"1": 1_000_000}), {("t", 0): chain}) == 5 + 2
