"""What an officer reads before accepting a loss of hub.usage."""

import pytest

from hub.cli.ledger import print_loss


@pytest.mark.parametrize(
    ("stands_at", "lacks", "said"),
    [
        (200, [False, False], "every step that is gone was posted"),
        (200, [False, True], "steps that were not posted may be lost"),
        (50, [False], "steps that were not posted may be lost"),
    ],
)
def test_posted_is_said_only_where_no_chain_may_lack_steps(
    capsys: pytest.CaptureFixture[str], stands_at: int, lacks: list[bool], said: str
) -> None:
    """A chain that was held below the cut has steps there that nobody posted, though the collector went on."""
    row = {"chain": "id/0", "source": "dept-0", "last_step": 4, "next_offset": 60, "last_metered_at": "", "lane_at": 90}
    part = {"usage_partition": 0, "how": "cut", "old_topic_id": "old", "topic_id": "old", "lost_from": 0, "lost_to": 100}
    part |= {"ledger_stands_at": stands_at, "goes_on_at": 200, "delivered_posted": 7}

    print_loss({"loss": "0" * 12, "accepted": False, "partitions": [part | {"chains": [row | {"may_lack_steps": one} for one in lacks]}]})

    assert said in capsys.readouterr().err
