"""The verdict on one share partition, case by case: what was metered, what was counted, what earlier checks know."""

import pytest

from hub.broker.committed import Counted, Span
from hub.ledger.deliveries import NOTHING, Compared, Metered, Verified, compare
from hub.model.names import TopicPartition

PLACE = TopicPartition("share.airline.airline-delays", 0)
TOPIC_ID = "topic-1"


def verdict(
    *,
    metered: int,
    after: int | None = None,
    between: tuple[int, ...] = (),
    records: int,
    met: bool | None = None,
    begin: int | None = None,
    end: int = 1_000,
    still_open: int = 0,
    known: Verified = NOTHING,
    topic_id: str = TOPIC_ID,
    lost_room: int = 0,
) -> Compared:
    """Return the verdict; ``met`` defaults to whether the count is what was metered before."""
    expected = metered - known.metered
    first = known.next_offset if known.share_topic_id == topic_id else 0
    met_at = 990 if (records == expected if met is None else met) else None
    found = Counted(Span(PLACE, first, expected), first if begin is None else begin, end, records, still_open, met_at)
    last = metered if after is None else after
    told = Metered(metered, last, frozenset({*between, last}))
    return compare(found, known=known, topic_id=topic_id, metered=told, lost_room=lost_room)


def test_equal_counts_are_verified() -> None:
    """The next check begins behind them."""
    assert verdict(metered=100, records=100) == Compared(100, Verified(TOPIC_ID, 990, 100, 100), 0, None)


def test_a_later_check_adds_to_what_is_known() -> None:
    """Known: 100 metered, of which 90 could be counted."""
    known = Verified(TOPIC_ID, 50, metered=100, counted=90)

    assert verdict(metered=130, records=30, known=known) == Compared(120, Verified(TOPIC_ID, 990, 130, 120), 10, None)


@pytest.mark.parametrize(("records", "found"), [(99, "99 delivered"), (101, "101 delivered"), (0, "0 delivered")])
def test_other_counts_differ(records: int, found: str) -> None:
    """By one is enough."""
    result = verdict(metered=100, records=records)

    assert result.difference == ("100 metered", found)
    assert result.verified is None


def test_deliveries_that_went_on_meanwhile_are_no_difference() -> None:
    """140 at the end, of steps that brought 120, 140 and 170."""
    result = verdict(metered=100, after=170, between=(120, 140, 170), records=140, met=True)

    assert (result.difference, result.verified) == (None, Verified(TOPIC_ID, 990, 100, 100))


def test_a_count_that_no_step_ends_at_differs() -> None:
    """139 is between two steps: one of their records is missing."""
    assert verdict(metered=100, after=170, between=(120, 140, 170), records=139, met=True).difference is not None


def test_a_count_that_never_stood_at_what_was_metered_differs() -> None:
    """It passed from 99 to 119."""
    assert verdict(metered=100, after=170, between=(120, 140, 170), records=140, met=False).difference is not None


def test_more_than_was_metered_differs_whatever_retention_took() -> None:
    """Retention only takes."""
    assert verdict(metered=100, records=101, begin=500).difference == ("100 metered", "101 delivered")


def test_retention_leaves_what_it_took_unverifiable() -> None:
    """And what remains is verified."""
    assert verdict(metered=100, records=80, begin=25) == Compared(80, Verified(TOPIC_ID, 1_000, 100, 80), 20, None)


def test_retention_cannot_have_taken_more_records_than_offsets() -> None:
    """19 offsets are gone, 20 records are missing."""
    assert verdict(metered=100, records=80, begin=19).difference == ("100 metered", "80 delivered")


def test_a_topic_made_again_may_have_lost_any_number() -> None:
    """What earlier checks counted stays counted."""
    known = Verified("topic-0", 60, metered=50, counted=50)

    assert verdict(metered=100, records=20, known=known) == Compared(70, Verified(TOPIC_ID, 1_000, 100, 70), 30, None)


@pytest.mark.parametrize("changes", [{"still_open": 5}, {"after": 120}])
def test_what_is_unsettled_is_left_to_the_next_check(changes: dict[str, int]) -> None:
    """With records missing it cannot be told which step the end of the log belongs to."""
    result = verdict(metered=100, records=80, begin=25, **changes)

    assert (result.difference, result.verified) == (None, None)


def test_a_log_that_ends_before_what_was_verified_differs() -> None:
    """Deliveries that were there are gone from the end: no retention does that."""
    known = Verified(TOPIC_ID, 60, metered=50, counted=50)

    assert verdict(metered=50, records=0, known=known, end=40).difference is not None


def test_usage_that_shrank_differs() -> None:
    """Less is metered than an earlier check has counted."""
    known = Verified(TOPIC_ID, 60, metered=50, counted=50)

    assert verdict(metered=40, records=0, known=known).difference == ("40 metered", "50 delivered")


@pytest.mark.parametrize("more", [0, 1, 20])
def test_deliveries_whose_steps_were_lost_are_settled_once(more: int) -> None:
    """As many as were lost at most; from then on the count is exact."""
    known = Verified(TOPIC_ID, 50, metered=100, counted=90)

    result = verdict(metered=130, records=30 + more, known=known, lost_room=20)

    assert result == Compared(120 + more, Verified(TOPIC_ID, 1_000, 130 + more, 120 + more), 10, None, more)


def test_more_than_were_lost_is_a_difference() -> None:
    """By one is enough."""
    result = verdict(metered=100, records=121, lost_room=20)

    assert (result.difference, result.verified, result.unmetered) == (("100 metered", "121 delivered"), None, None)


def test_fewer_than_were_metered_is_a_difference_where_steps_were_lost_too() -> None:
    """A loss of steps takes no delivery away."""
    assert verdict(metered=100, records=99, lost_room=20).difference == ("100 metered", "99 delivered")


def test_what_a_check_had_verified_may_have_lost_its_steps() -> None:
    """120 were metered and counted, then the steps of 15 were lost: 105 are metered now, and nothing came since."""
    known = Verified(TOPIC_ID, 50, metered=120, counted=120)

    result = verdict(metered=105, records=0, known=known, lost_room=15)

    assert result == Compared(120, Verified(TOPIC_ID, 1_000, 120, 120), 0, None, 15)
    assert verdict(metered=105, records=0, known=known, lost_room=14).difference == ("105 metered", "120 delivered")


@pytest.mark.parametrize(("after", "still_open"), [(170, 0), (100, 1)])
def test_nothing_is_settled_while_deliveries_go_on(after: int, still_open: int) -> None:
    """Which of them lost their steps can be told where nothing is open and nothing came meanwhile."""
    result = verdict(metered=100, after=after, between=(after,), records=110, still_open=still_open, lost_room=20)

    assert (result.difference, result.verified, result.unmetered) == (None, None, None)
