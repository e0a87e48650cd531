"""Moving a lane's position from outside: only from where it was seen to stand. The broker is a few lines: see ``lane_rig``."""

import asyncio
from typing import Any

import msgspec
import pytest
from kernel_kit import LANE, TOPIC_ID
from lane_rig import NAMES, TinyKafka

from hub.broker.fencing import Standing, move
from hub.broker.requests import Coordinators
from hub.broker.transactions import Transaction
from hub.model.errors import HubError
from hub.model.usage import ZERO_HASH, Position

HERE = Position(offset=100, topic_id=TOPIC_ID, step=4, plan_offset=0, plan_from=100, head=ZERO_HASH)


def _moved(kafka: Any, standing: Standing) -> None:
    transaction = Transaction(kafka, Coordinators(kafka), transactional_id="lane", group=NAMES.exchange_group, timeout_ms=10_000)
    asyncio.run(move(transaction, Coordinators(kafka), LANE, HERE, names=NAMES, standing=standing, outputs=()))


def _kafka(offset: Standing) -> TinyKafka:
    kafka = TinyKafka(append_ms=1, topics={})
    kafka.offset = offset
    return kafka


@pytest.mark.parametrize("standing", [None, (7, "anything")])
def test_a_lane_is_moved_from_where_it_stands(standing: Standing) -> None:
    """Also from nowhere: an expired offset is why a lane is adopted."""
    kafka = _kafka(standing)
    _moved(kafka, standing)
    assert kafka.offset == (100, HERE.metadata)


@pytest.mark.parametrize("seen", [None, (100, HERE.metadata)])
def test_a_lane_that_has_moved_on_meanwhile_is_left_alone(seen: Standing) -> None:
    """Adopting the end of the chain as it was read would go back behind a step: its records would be delivered again."""
    later = msgspec.structs.replace(HERE, offset=160, step=5)
    kafka = _kafka((later.offset, later.metadata))
    with pytest.raises(HubError, match="HUB-LANE-009"):
        _moved(kafka, seen)
    assert kafka.offset == (160, later.metadata)
